"""Whose account is disabled or deleted because the person is gone, unassigned or out of scope. Pure.

And people whom the source has disabled while the rest of the row cannot be used: that needs nothing but the key.
"""

import numpy as np
import pandas as pd
import pyarrow as pa

from connectors.contract import Action, Kind
from connectors.errors import ErrorCode
from tasks.job import Removal
from tasks.keys import Rows, ascending, find, pick, texts
from tasks.ledger import REDACTED
from tasks.mapping import Held, Mask
from tasks.membership import is_among
from tasks.plan.blocks import Block, Cause, Situation, Wave
from tasks.scope import DISABLED_IN_SOURCE, NOT_ASSIGNED, asks_memberships


class Leavers:
    """Linked entries that are gone from the source, unassigned or out of scope."""

    def __init__(self, situation: Situation) -> None:
        s = self._s = situation
        self.held: list[Held] = []
        at = np.flatnonzero(~s.matches.link_is_used)
        anchors = texts(s.links.index.take(at))
        gone = find(anchors, texts(s.scoped.present.append(s.unreadable))) < 0
        outside = find(anchors, texts(s.scoped.out.index)) >= 0
        leaving = (gone | outside) & ~is_among(s.links.index.take(at), s.matches.released)
        at = at[leaving][ascending(anchors.filter(pa.array(leaving)))]
        row = s.matches.link_row[at]
        self.vanished = [str(anchor) for anchor in s.links.index.take(at[row < 0])]
        self._links, self._row = s.links.iloc[at[row >= 0]], row[row >= 0]
        why = pick(texts(s.scoped.out), find(texts(self._links.index), texts(s.scoped.out.index)))
        reason = pd.Series(why, dtype="str").fillna(Cause.GONE.value)
        known = {
            Cause.GONE.value: Cause.GONE,
            NOT_ASSIGNED: Cause.UNASSIGNED,
            DISABLED_IN_SOURCE: Cause.DISABLED,
        }
        filtered = Cause.NOT_A_MEMBER if asks_memberships(s.rules) else Cause.OUT_OF_SCOPE
        early = is_among(self._links.index, s.scoped.waiting)
        self._table = pd.DataFrame(
            {
                "anchor": pd.Series(self._links.index, dtype="str"),
                "target_id": self._links["target_id"].array,
                "label": self._links["label"].array,
                "reason": reason.array,
                "cause": [
                    Cause.NOT_DUE if waits else known.get(text, filtered)
                    for text, waits in zip(reason, early, strict=True)
                ],
            }
        )

    @property
    def reasons(self) -> "pd.Series[str]":
        """Why each of those who have an account should have none. Index: anchor."""
        return pd.Series(self._table["reason"].array, index=pd.Index(self._table["anchor"], dtype="str"), dtype="str")

    @property
    def ids(self) -> frozenset[str]:
        """Target ids of everybody leaving whom the job does not keep; a disabled person keeps memberships."""
        stays = self._policy(Removal.KEEP) | (self._table["cause"] == Cause.DISABLED).to_numpy(dtype=bool)
        return frozenset(self._table["target_id"][~stays])

    def blocks(self) -> list[Block]:
        """Disables and deletes."""
        disable, delete = (self._policy(removal) for removal in (Removal.DISABLE, Removal.DELETE))
        active = self._s.active(self._row)
        delete = delete | (disable & self._s.grace_is_over(self._links["state"], self._links["state_since"]))
        return [*self._disables(disable & active & ~delete), *self._deletes(delete)]

    def settled(self) -> pd.DataFrame:
        """Links of leavers whose account others have switched off already: from now on it counts as disabled.

        Columns as ``EntryPlan.settled``.
        """
        off = self._policy(Removal.DISABLE) & ~self._s.active(self._row)
        off &= (self._links["state"] != "disabled").to_numpy(dtype=bool)
        if self._s.switch is None or not off.any():
            return pd.DataFrame()
        links = self._links.loc[off, ["target_id", "label", "fingerprint"]]
        return links.assign(state="disabled", how="")[["target_id", "label", "state", "how", "fingerprint"]]

    def emptied(self) -> "pd.Series[str]":
        """Groups that end without being deleted: index target id, value anchor."""
        if self._s.desired.kind is not Kind.GROUP:
            return pd.Series(dtype="str")
        ending = self._table.loc[self._policy(Removal.DISABLE)]
        return pd.Series(ending["anchor"].array, index=pd.Index(ending["target_id"], dtype="str"), dtype="str")

    def _policy(self, removal: Removal) -> Mask:
        policy = self._s.deprovision
        chosen = {
            Cause.GONE: policy.deleted,
            Cause.UNASSIGNED: policy.unassigned,
            Cause.OUT_OF_SCOPE: policy.out_of_scope,
            Cause.NOT_A_MEMBER: policy.out_of_scope,
            Cause.DISABLED: policy.disabled,
            Cause.NOT_DUE: policy.out_of_scope,
        }
        return np.array([chosen[cause] is removal for cause in self._table["cause"]], dtype=bool)

    def _disables(self, mask: Mask) -> list[Block]:
        s, path = self._s, self._s.switch
        if s.desired.kind is Kind.GROUP or not mask.any() or not s.rules.actions.update:
            return []
        if path is None:
            self._hold(mask, "The target cannot disable accounts; set deprovision to delete or keep.")
            return []
        table = self._table.loc[mask].reset_index(drop=True).assign(state="disabled")
        flags = pd.Series([False] * len(table), dtype="boolean")
        return [
            Block(
                wave=Wave.DISABLE,
                kind=s.desired.kind,
                action=Action.DISABLE,
                table=table,
                after=pd.DataFrame({path: flags}),
                before=pd.DataFrame({path: flags.replace(False, True)}),
                touched=pd.DataFrame({path: np.ones(len(table), dtype=bool)}),
            )
        ]

    def _deletes(self, mask: Mask) -> list[Block]:
        s = self._s
        if not mask.any() or not s.rules.actions.delete:
            return []
        if not s.traits.does(s.desired.kind, Action.DELETE):
            self._hold(mask, "The target cannot delete accounts; set deprovision to disable or keep.")
            return []
        return [deletes_of(s, self._table.loc[mask].reset_index(drop=True), self._row[mask])]

    def _hold(self, mask: Mask, why: str) -> None:
        for position in np.flatnonzero(mask):
            anchor, label = str(self._table["anchor"].iloc[position]), str(self._table["label"].iloc[position])
            self.held.append(Held(self._s.desired.kind, anchor, ErrorCode.NOT_PERMITTED, why, label=label))


def deletes_of(s: Situation, table: pd.DataFrame, rows: Rows) -> Block:
    """Deletes, with what goes with the accounts (``rows`` of the target's frame), for the log and for an undo.

    A redacted attribute that is not known goes as well, whatever its value is.
    """
    mapped = sorted(path for path in s.existing.columns if path in s.desired.frame or path == s.switch)
    unseen = sorted((s.desired.redacted & set(s.desired.frame.columns)) - set(mapped))
    held_now = s.existing[mapped].iloc[rows].reset_index(drop=True)
    return Block(
        wave=Wave.DELETE,
        kind=s.desired.kind,
        action=Action.DELETE,
        table=table,
        before=held_now.assign(**{path: pd.Series(REDACTED, index=held_now.index, dtype="str") for path in unseen}),
        redacted=s.desired.redacted,
    )
