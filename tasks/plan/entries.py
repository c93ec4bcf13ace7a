"""All changes to the entries of one kind: creates, updates, leavers. Pure."""

from dataclasses import replace
from functools import partial

import numpy as np
import pandas as pd

from connectors.errors import ErrorCode
from tasks.job import Vanished
from tasks.keys import Rows, find, texts
from tasks.mapping import Held, Mask
from tasks.membership import is_among
from tasks.plan.blocks import STANDING, Block, Drifted, DriftKind, EntryPlan, Later, Situation, Standing
from tasks.plan.creates import create_entries
from tasks.plan.leavers import Leavers
from tasks.plan.people import People
from tasks.plan.references import order_creates
from tasks.plan.renames import order_renames
from tasks.plan.updates import settle_links, update_entries


def plan_entries(s: Situation, *, people: EntryPlan | None = None) -> EntryPlan:
    """All changes to entries of one kind.

    ``people``: for groups, the plan of the users that references point to; for users None, since they refer to each
    other.
    """
    has_account = s.matches.row >= 0
    rows = np.flatnonzero(has_account)
    accounts = pd.Series(
        s.desired.frame.index[has_account], index=s.existing.index.take(s.matches.row[rows]), dtype="str"
    )
    creatable = ~has_account & ~s.matches.blocked & ~s.desired.disabled & s.rules.actions.create
    deserted = s.matches.vanished & creatable if s.vanished is Vanished.LEAVE else np.zeros(len(creatable), dtype=bool)
    creates, exhausted = create_entries(s, np.flatnonzero(creatable & ~deserted))

    leavers = Leavers(s)
    own = _people(s, accounts, creates, leavers)
    owners, coming = (accounts, _created(creates)) if people is None else (people.accounts, people.coming)
    known_people = own if people is None else people.people
    reachable = pd.Index(owners.array, dtype="str").append(coming)
    s = replace(s, reachable=reachable)
    notes: list[Held] = []
    blocks: list[Block] = []
    if creates is not None:
        blocks = order_creates(_as_written(s, creates), reachable, notes, people=known_people)
    updates, unchanged, drifted = update_entries(s, rows, owners=owners, people=known_people, notes=notes)
    in_vain: list[Held] = []
    blocks = [*order_renames(s, [*blocks, *updates], notes, in_vain), *leavers.blocks()]
    held = [*s.desired.held, *s.matches.held, *exhausted, *in_vain, *leavers.held, *_deserted(s, deserted)]
    known = _known(s, accounts)
    return EntryPlan(
        kind=s.desired.kind,
        blocks=[block for block in blocks if len(block)],
        held=sorted(held, key=_order),
        notes=sorted([*notes, *_handed_over(s)], key=_order),
        unchanged=len(unchanged),
        settling=Later(partial(_settle, s, rows, unchanged, leavers)),
        dropped=sorted({*leavers.vanished, *s.matches.released}),
        population=_population(s),
        accounts=accounts,
        coming=_created(creates),
        known=known,
        labels=_labels(s),
        people=own,
        leaving=leavers.ids,
        emptied=leavers.emptied(),
        taken=dict(s.matches.taken),
        joining=_joining(s, creates),
        drifted=[*drifted, *_vanished(s, creatable & ~deserted)],
        unmanaged=Later(partial(_unmanaged, s, known)),
        passed_over=Later(partial(_passed_over, s)),
        wanted=Later(partial(_wanted, s)),
    )


def _people(s: Situation, accounts: "pd.Series[str]", creates: Block | None, leavers: Leavers) -> People:
    """How everybody stands: those in scope with an account now or soon, and those whose account is there besides."""
    besides = (s.matches.link_row >= 0) & ~s.matches.link_is_used
    linked = s.links.index[besides]
    linked = linked[~is_among(linked, s.matches.released)]
    return People(
        accounts=pd.Index(accounts.array, dtype="str").append(_created(creates)),
        linked=pd.Index(linked, dtype="str"),
        ending=leavers.reasons,
    )


def _wanted(s: Situation) -> pd.DataFrame:
    """The desired state of everybody in scope, as ``EntryPlan.wanted``."""
    frame = s.as_written(np.arange(len(s.desired.frame)))
    standing = np.where(s.desired.disabled, Standing.DISABLED.value, Standing.IN_SCOPE.value)
    return frame.assign(**{STANDING: pd.Series(standing, index=frame.index, dtype="str")})


def _passed_over(s: Situation) -> "pd.Series[str]":
    """Entries without an account that get none although nothing is wrong with them, and why."""
    outside = s.scoped.out[~is_among(s.scoped.out.index, texts(s.links.index))]
    skipped = s.desired.skipped[~is_among(s.desired.skipped, texts(s.links.index))]
    idle = (s.matches.row < 0) & (s.matches.link < 0) & ~s.matches.blocked
    disabled = idle & s.desired.disabled
    others = idle & ~disabled & (not s.rules.actions.create)
    anchors = s.desired.frame.index
    why = {"disabled in the source": anchors[disabled], "the job creates no accounts": anchors[others]}
    why["left out by a mapping (IgnoreObjectFlow)"] = skipped
    parts = [outside, *(pd.Series(reason, index=index, dtype="str") for reason, index in why.items() if len(index))]
    passed_over: pd.Series[str] = pd.concat(parts) if len(parts) > 1 else outside
    return passed_over


def _unmanaged(s: Situation, known: "pd.Series[str]") -> pd.Index:
    unknown = s.existing.index[~is_among(s.existing.index, texts(known.index))]
    return unknown[~unknown.isin(list(s.elsewhere(s.desired.kind, unknown.tolist())))]


def _created(creates: Block | None) -> pd.Index:
    return pd.Index(creates.table["anchor"] if creates is not None else [], dtype="str")


def _as_written(s: Situation, creates: Block) -> Block:
    """The creates with the desired state that they write, see ``Situation.as_written``."""
    rows = find(texts(creates.table["anchor"]), texts(s.desired.frame.index))
    return replace(creates, desired=s.as_written(rows).reset_index(drop=True))


def _deserted(s: Situation, deserted: Mask) -> list[Held]:
    """Entries whose account others have deleted, in a job that leaves it so."""
    why = "Its account was deleted in the target outside Provisor, and the job leaves it so (vanished: leave)."
    return [
        Held(s.desired.kind, str(anchor), ErrorCode.INVALID_ANCHOR, why, label=str(label))
        for anchor, label in zip(s.desired.frame.index[deserted], s.desired.labels[deserted], strict=True)
    ]


def _handed_over(s: Situation) -> list[Held]:
    """Accounts that go from an entry that has ended to a new one: said of both, since they may be two people."""
    notes: list[Held] = []
    for new, old in s.matches.taken.items():
        if new not in s.desired.frame.index or old not in s.links.index:
            continue
        label, before = str(s.desired.labels[new]), str(s.links["label"][old])
        row = int(np.flatnonzero(s.desired.frame.index == new)[0])
        how = s.matches.how[row] or "matched"
        to_new = f"It takes over the account of {old} ({before}), who has ended, {how}. Are both one person?"
        to_old = f"Its account now belongs to {new} ({label}), {how}. Are both one person?"
        notes.append(Held(s.desired.kind, new, ErrorCode.HANDED_OVER, to_new, label=label))
        notes.append(Held(s.desired.kind, old, ErrorCode.HANDED_OVER, to_old, label=before))
    return notes


def _vanished(s: Situation, recreated: Mask) -> list[Drifted]:
    """Linked accounts of entries in scope that are no longer in the target."""
    return [
        Drifted(
            s.desired.kind,
            str(s.desired.frame.index[row]),
            str(s.desired.labels.iloc[row]),
            DriftKind.DELETED,
            corrected=bool(recreated[row] or s.matches.row[row] >= 0),
        )
        for row in np.flatnonzero(s.matches.vanished).tolist()
    ]


def _settle(s: Situation, rows: Rows, unchanged: Rows, leavers: Leavers) -> pd.DataFrame:
    """Links to write before loading, as ``EntryPlan.settled``."""
    left = leavers.settled()
    settled = settle_links(s, rows, unchanged)
    return pd.concat([settled, left]) if len(left) else settled


def _joining(s: Situation, creates: Block | None) -> "dict[str, pd.Series[str]]":
    """Values that an account of those who get one could already have: of the matching rules, and chosen as unique."""
    if creates is None or creates.after is None:
        return {}
    anchors = texts(creates.table["anchor"])
    rows = find(anchors, texts(s.desired.frame.index))
    index = pd.Index(creates.table["anchor"], dtype="str")
    joining: dict[str, pd.Series[str]] = {}
    for rule, keys in zip(s.rules.matching, s.desired.keys, strict=True):
        joining[rule.target] = keys.iloc[rows].set_axis(index).dropna()
    for path in s.desired.candidates:
        chosen = creates.after[path].explode() if creates.after[path].dtype == object else creates.after[path]
        chosen = chosen.set_axis(index.take(chosen.index)).dropna().astype("str")
        joining[path] = pd.concat([joining[path], chosen]).drop_duplicates() if path in joining else chosen
    return joining


def _order(held: Held) -> tuple[str, str]:
    return held.anchor, held.reason


def _population(s: Situation) -> int:
    """Active accounts that the job owns, those it adopts now among them: a first cycle has no others."""
    rows = np.union1d(s.matches.link_row, s.matches.row)
    return int(s.active(rows[rows >= 0]).sum())


def _known(s: Situation, accounts: "pd.Series[str]") -> "pd.Series[str]":
    owned = np.zeros(len(s.existing), dtype=bool)
    owned[s.matches.row[s.matches.row >= 0]] = True
    link_row = s.matches.link_row
    elsewhere = s.links[(link_row < 0) | ~owned[link_row]] if len(owned) else s.links
    linked = pd.Series(elsewhere.index, index=pd.Index(elsewhere["target_id"], dtype="str"), dtype="str")
    known: pd.Series[str] = pd.concat([accounts, linked])
    return known


def _labels(s: Situation) -> "pd.Series[str]":
    earlier = s.links["label"][~s.matches.link_is_used]
    labels: pd.Series[str] = pd.concat([s.desired.labels, earlier])
    return labels
