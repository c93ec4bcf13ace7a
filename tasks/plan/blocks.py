"""The shape of a plan: changes as blocks of columns, and the situation they are worked out from.

Changes come as blocks: one action on one kind of entry, as frames, so that a million of them stay columns. Blocks are
ordered by wave and level; changes inside one block do not depend on each other.
"""

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import IntEnum, StrEnum
from typing import Generic, TypeVar

import numpy as np
import pandas as pd
import pyarrow as pa

from connectors.contract import Action, Attribute, Kind, Traits
from tasks.job import Deprovision, Drift, EntryRules, Vanished
from tasks.keys import Rows, texts
from tasks.mapping import Desired, Held, Mask, referenced_paths
from tasks.matching import Matches, Owners, owned_nowhere
from tasks.membership import is_among
from tasks.plan.compare import fingerprints
from tasks.plan.people import People
from tasks.plan.written import Recall, among, digests_of, rules_of
from tasks.scope import Scoped

ResultT = TypeVar("ResultT")


STANDING = "provisor:standing"
"""Column of ``EntryPlan.wanted`` that holds a ``Standing``; no attribute has such a name."""


class Standing(StrEnum):
    """How an entry stands in the desired state."""

    IN_SCOPE = "in scope"
    DISABLED = "disabled"
    HELD = "held"
    """In the source, but what it should be cannot be told: it could not be read or mapped."""


class Wave(IntEnum):
    """When a block is carried out: people, then groups, then memberships, removals last."""

    CREATE_USERS = 1
    UPDATE_USERS = 2
    SET_REFERENCES = 3
    GROUPS = 4
    ADD_MEMBERS = 5
    REMOVE_MEMBERS = 6
    DISABLE = 7
    DELETE = 8


class Cause(StrEnum):
    """Why something is taken away; guards judge by it."""

    GONE = "gone from the source"
    UNASSIGNED = "not assigned"
    OUT_OF_SCOPE = "out of scope"
    NOT_DUE = "not due yet"
    NOT_A_MEMBER = "out of scope, by a filter that looks at memberships"
    DISABLED = "disabled in the source"
    MEMBER_LEAVES = "the member is leaving"
    LEFT_GROUP = "no longer a member in the source"
    UNDONE = "taken back by an undo"


@dataclass(slots=True)
class Block:
    """Changes of one action on one kind of entry that do not depend on each other."""

    wave: Wave
    kind: Kind
    action: Action
    table: pd.DataFrame
    """One row per change, sorted by anchor. Columns: anchor, target_id (null on create), label, reason.

    On removals also cause; on updates state, what the link's will be; on membership changes members (lists of anchors,
    for people to read) and, where members are removed, member_ids (lists of target ids).
    """
    after: pd.DataFrame | None = None
    """Rows as ``table``; the attribute values to be. Reference columns hold the anchor of the referred entry."""
    before: pd.DataFrame | None = None
    """Rows as ``table``; what the target holds now; None on create."""
    touched: pd.DataFrame | None = None
    """Rows as ``table``, boolean: which attributes change; None: every attribute that is not null (create)."""
    desired: pd.DataFrame | None = None
    """Rows as ``table``; the entry's whole desired state, whose fingerprint is remembered when the change is done."""
    rules: Mapping[str, str] = field(default_factory=dict)
    """What the rules of the columns of ``desired`` say: see ``tasks.plan.written``."""
    withheld: frozenset[str] = frozenset()
    """Columns of ``desired`` that are not written with everything else: nothing is remembered of them."""
    references: frozenset[str] = frozenset()
    """Columns of ``after`` that hold anchors."""
    redacted: frozenset[str] = frozenset()
    """Columns whose values must not be shown."""
    known_by: tuple[str, ...] = ()
    """On create: columns of ``after`` by which the account can be found again, should the answer be lost."""
    level: int = 0
    """Order among blocks of the same wave: creates that others refer to come first."""

    def __len__(self) -> int:
        return len(self.table)

    def take(self, rows: Mask | slice) -> "Block":
        """The same block with some of its rows: a boolean mask or a slice of positions."""

        def part(frame: pd.DataFrame | None) -> pd.DataFrame | None:
            return None if frame is None else frame.iloc[rows].reset_index(drop=True)

        return replace(
            self,
            table=self.table.iloc[rows].reset_index(drop=True),
            after=part(self.after),
            before=part(self.before),
            touched=part(self.touched),
            desired=part(self.desired),
        )


class DriftKind(StrEnum):
    """What others did to an account that Provisor owns."""

    CHANGED = "changed outside Provisor"
    DELETED = "deleted outside Provisor"


@dataclass(frozen=True, slots=True)
class Drifted:
    """One account that is not as Provisor left it."""

    kind: Kind
    anchor: str
    label: str
    what: DriftKind
    attributes: tuple[str, ...] = ()
    corrected: bool = False
    """Whether the plan puts it right."""


class Later(Generic[ResultT]):
    """Work that is done when its result is first asked for: a plan that is only shown never asks."""

    def __init__(self, work: Callable[[], ResultT]) -> None:
        self._work: Callable[[], ResultT] | None = work

    def result(self) -> ResultT:
        """What the work gives; it is done once, and what it needed is let go."""
        if self._work is not None:
            self._result, self._work = self._work(), None
        return self._result


@dataclass(slots=True)
class EntryPlan:
    """Everything the plan says about the entries of one kind."""

    kind: Kind
    blocks: list[Block]
    held: list[Held]
    notes: list[Held]
    """Entries that are changed, but not completely: a reference that cannot be set yet."""
    unchanged: int
    """In-scope entries whose account is as it should be."""
    settling: "Later[pd.DataFrame]"
    """Gives the links to write before loading."""
    dropped: list[str]
    """Anchors whose link ends: gone from both sides, or taken over by a new anchor."""
    population: int
    """Accounts that are linked or get linked now and are active, as far as the target says: what guards measure
    against."""
    accounts: "pd.Series[str]" = field(default_factory=lambda: pd.Series(dtype="str"))
    """Index: target id of every in-scope entry's account; value: its anchor."""
    coming: pd.Index = field(default_factory=lambda: pd.Index([], dtype="str"))
    """Anchors of everybody who gets an account."""
    known: "pd.Series[str]" = field(default_factory=lambda: pd.Series(dtype="str"))
    """Index: target id of every account that is linked or gets linked; value: its anchor."""
    labels: "pd.Series[str]" = field(default_factory=lambda: pd.Series(dtype="str"))
    """Index: anchor; value: what people call the entry."""
    people: People = field(default_factory=People)
    """Who has an account, who should have none, who is held: what sentences about them are made from."""
    leaving: frozenset[str] = frozenset()
    """Target ids of linked entries that are gone, unassigned or out of scope."""
    emptied: "pd.Series[str]" = field(default_factory=lambda: pd.Series(dtype="str"))
    """Groups that end by losing their members, since a group cannot be disabled: index target id, value anchor."""
    taken: dict[str, str] = field(default_factory=dict)
    """By anchor of an entry that takes an account over: the anchor whose link ends by that."""

    joining: "dict[str, pd.Series[str]]" = field(default_factory=dict)
    """By attribute of the target: values by which accounts of those who get one would be recognised if they had one
    already, or that must not be taken; index: anchor."""

    drifted: list[Drifted] = field(default_factory=list)
    """What others have changed in the target, as far as this plan can tell; what it puts right is in it too."""
    unmanaged: "Later[pd.Index]" = field(default_factory=lambda: Later(lambda: pd.Index([], dtype="str")))
    """Gives the ids of accounts in the target that belong to nobody, neither of this job nor of another one."""
    passed_over: "Later[pd.Series[str]]" = field(default_factory=lambda: Later(lambda: pd.Series(dtype="str")))
    """Gives the entries of the source that have no account and get none: index anchor, value why."""

    wanted: "Later[pd.DataFrame]" = field(default_factory=lambda: Later(pd.DataFrame))
    """Gives the desired state of everybody in scope as it can be written now: index anchor; columns the mapped paths,
    with values that must not be shown, and ``STANDING``."""

    @property
    def settled(self) -> pd.DataFrame:
        """Links to write before loading: adopted accounts, accounts found equal.

        Index: anchor; columns target_id, label, state, how, fingerprint (NA where changes are pending).
        """
        return self.settling.result()


@dataclass(frozen=True, slots=True)
class Situation:
    """What both sides and the ledger say about the entries of one kind."""

    rules: EntryRules
    scoped: Scoped
    unreadable: pd.Index
    """Anchors of entries that are in the source but could not be read: they are not gone."""
    desired: Desired
    matches: Matches
    existing: pd.DataFrame
    links: pd.DataFrame
    traits: Traits
    deprovision: Deprovision
    exact: frozenset[str]
    now: datetime
    drift: Drift = Drift.CORRECT
    vanished: Vanished = Vanished.RECREATE
    elsewhere: Owners = owned_nowhere
    """Says which of some accounts other jobs of the same target own."""
    reachable: pd.Index | None = None
    """Anchors that references may point to; None until that is known."""
    recall: Recall | None = None
    """Gives what was last written, attribute by attribute; None where nothing is known of that."""
    former: "pd.Series[str]" = field(default_factory=lambda: pd.Series(dtype="str"))
    """Index: id of an account that a user had before the present one; value: the user's anchor."""
    unsettled: Mapping[str, Collection[str]] = field(default_factory=dict)
    """By target id, attributes of which nobody knows what was written last."""
    unique: frozenset[str] = frozenset()
    """Attributes of the target of which no two entries have the same value."""
    people_there: pd.Index | None = None
    """Ids of all users of the target; None where an id that is not among them proves nothing."""
    schema: Mapping[str, Attribute] = field(default_factory=dict)
    """What the target says about its attributes; nothing where it does not say."""

    def as_written(self, rows: Rows) -> pd.DataFrame:
        """Rows of the desired frame as they can be written now: without references to entries without an account.

        The ledger's fingerprint is of these, so that an entry counts as changed when a reference can be set at last.
        """
        frame = self.desired.frame if len(rows) == len(self.desired.frame) else self.desired.frame.iloc[rows]
        if self.reachable is None:
            return frame
        there = texts(self.reachable)
        for path in sorted(referenced_paths(self.rules) & set(frame.columns)):
            column = frame[path]
            if column.dtype == object:
                frame = frame.assign(**{path: _only(column, there)})
            elif column.notna().any():
                frame = frame.assign(**{path: column.where(is_among(column, there))})
        return frame

    @property
    def switch(self) -> str | None:
        """The attribute that switches an account off; groups have none."""
        return self.traits.switch if self.desired.kind is Kind.USER else None

    def written(self, rows: Rows) -> "pd.Series[int]":
        """Fingerprints in the ledger for rows of the desired frame, NA where there is none; index is positional."""
        return self.remembered("fingerprint", rows).astype("Int64")

    def remembered(self, column: str, rows: Rows) -> pd.Series:
        """What the links of rows of the desired frame hold, null where there is no link; index is positional."""
        links = self.links[column].array
        return pd.Series(links.take(self.matches.link[rows], allow_fill=True))

    def written_as_desired(self, rows: Rows) -> Mask:
        """Rows of the desired frame whose state is the one last written, by the ledger's fingerprint."""
        wanted = pd.Series(fingerprints(self.as_written(rows), self.said), dtype="Int64")
        return (self.written(rows) == wanted).fillna(False).to_numpy(dtype=bool)

    def grace_is_over(self, states: pd.Series, since: pd.Series) -> Mask:
        """Which links have stood as disabled for longer than the job waits before it deletes."""
        grace = self.deprovision.delete_after
        if grace is None or not len(states):
            return np.zeros(len(states), dtype=bool)
        moments = pd.to_datetime(since, utc=True, format="ISO8601")
        expired = (moments <= pd.Timestamp(self.now - grace)).to_numpy(dtype=bool)
        over: Mask = (states == "disabled").fillna(False).to_numpy(dtype=bool) & expired
        return over

    @property
    def said(self) -> Mapping[str, str]:
        """What the rules say, by path: see ``tasks.plan.written``."""
        return rules_of(self.rules)

    def written_attributes(self, rows: Rows, paths: Iterable[str]) -> dict[str, Mask]:
        """By path, rows of the desired frame whose value is the one last written under the rule that it has now."""
        whole = self.written_as_desired(rows)
        known = {path: whole.copy() for path in paths}
        if self.unsettled:
            self._forget_unsettled(rows, known)
        doubtful = np.flatnonzero(~whole & (self.matches.link[rows] >= 0))
        if self.recall is None or not len(doubtful):
            return known
        ids = self.remembered("target_id", rows[doubtful]).tolist()
        remembered = self.recall(self.desired.kind, ids)
        last, said = [remembered.get(id_, b"") for id_ in ids], self.said
        frame = self.as_written(rows[doubtful])
        for path, mask in known.items():
            if path in frame and path not in self.desired.redacted:
                mask[doubtful] = among(digests_of(frame[path], path, said), last)
        if self.unsettled:
            self._forget_unsettled(rows, known)
        return known

    def _forget_unsettled(self, rows: Rows, known: Mapping[str, Mask]) -> None:
        """Nothing is known of what requests were about whose answers were lost: what they did is no drift."""
        for row, id_ in enumerate(self.remembered("target_id", rows)):
            for path in self.unsettled.get(id_, ()) if isinstance(id_, str) else ():
                if path in known:
                    known[path][row] = False

    def active(self, rows: Rows) -> Mask:
        """Which accounts (rows of the target's frame) are active; where the target does not say, all of them."""
        path = self.switch
        if path is None or path not in self.existing:
            return np.ones(len(rows), dtype=bool)
        return self.existing[path].take(rows).fillna(True).to_numpy(dtype=bool)


def _only(cells: pd.Series, there: pa.Array) -> pd.Series:
    """Lists of anchors without those that are not there; None where nothing is left."""
    known = set(there.to_pylist())
    kept = [[one for one in cell if one in known] or None if isinstance(cell, list) else None for cell in cells.array]
    return pd.Series(kept, index=cells.index, dtype=object)
