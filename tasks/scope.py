"""Decides who is in scope, and says which assignment or clause decided it. Pure.

An entry must be assigned (where the job says so) and pass the filter. Where the filter cannot be judged for an entry,
it is neither in scope nor out of it: it is held, unless the source has disabled it.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd

from connectors.contract import Kind, Snapshot, Value
from tasks.expressions import compile_expression
from tasks.filters import SOFT_DELETED as SOFT_DELETED
from tasks.filters import (
    column_of,
    disabled_rows,
    judge_clause,
    judge_filter,
    reasons_held,
    values_of,
)
from tasks.job import Assignment, AssignmentMode, Case, Clause, EntryRules, Operator
from tasks.keys import texts
from tasks.membership import (
    Membership,
    assigned_to,
    is_among,
    is_assigned,
    listed_groups,
    memberships,
)

NOT_ASSIGNED = "not assigned"
FILTERED_OUT = "out of scope: no group of clauses is true"
DISABLED_IN_SOURCE = "disabled in the source"


def _nobody() -> "pd.Series[str]":
    return pd.Series(dtype="str", index=pd.Index([], dtype="str"))


@dataclass(frozen=True, slots=True)
class Scoped:
    """Entries of one kind, divided."""

    kind: Kind
    entries: pd.DataFrame
    """In-scope rows of the source frame with the computed boolean column ``IsSoftDeleted``; index is the anchor."""
    out: "pd.Series[str]"
    """Everybody who must have no account: index is the anchor, value the sentence that says why.

    Entries whose row cannot be used are among them where everything in it that can be read says so.
    """
    held: "pd.Series[str]" = field(default_factory=_nobody)
    """Entries about which the filter cannot be judged: index is the anchor, value why not."""
    waiting: pd.Index = field(default_factory=lambda: pd.Index([], dtype="str"))
    """Anchors of those in ``out`` whose first day has not come."""
    left: "pd.Series[str]" = field(default_factory=_nobody)
    """Why people have left by a date of theirs. Index: anchor."""
    unknown: Mapping[str, pd.Index] = field(default_factory=dict)
    """By source attribute, anchors of those whose value cannot be told now."""

    @property
    def present(self) -> pd.Index:
        """Anchors of all entries the source has, in scope or not."""
        return self.entries.index.append([self.out.index, self.held.index])


def select(
    rules: EntryRules, snapshot: Snapshot, kind: Kind, *, assignment: Assignment | None, now: datetime
) -> Scoped:
    """Divides the entries of one kind by assignment and scoping filter.

    ``assignment`` None means that assignment does not apply to this kind. People whom the source has disabled
    are never held: taking access away waits for no filter.
    """
    frame = snapshot.entries(kind)
    assigned = is_assigned(assignment, snapshot, kind)
    judged = judge_filter(rules.scope, frame, snapshot, kind, now)
    disabled = disabled_rows(snapshot, kind, frame)
    waiting = is_among(frame.index, snapshot.waiting.index if kind is Kind.USER else ())
    inside = assigned & judged.true & ~waiting
    unsure = assigned & judged.held & ~disabled
    outside = ~inside & ~unsure
    reasons = pd.Series(FILTERED_OUT, index=frame.index[outside], dtype="str")
    reasons[~assigned[outside]] = NOT_ASSIGNED
    reasons[(assigned & judged.held)[outside]] = DISABLED_IN_SOURCE
    early = frame.index[assigned & judged.true & waiting]
    reasons[early] = snapshot.waiting.reindex(early).array
    left = _left(rules, snapshot, kind, assignment=assignment, now=now)
    entries = frame.loc[inside] if not inside.all() else frame
    flags = pd.array(disabled[inside], dtype="boolean")
    return Scoped(
        kind=kind,
        entries=entries.assign(**{SOFT_DELETED: flags}),
        out=pd.concat([reasons, left]) if len(left) else reasons,
        held=_reasons_held(rules, snapshot, kind, frame.loc[unsure], now) if unsure.any() else _nobody(),
        waiting=early,
        left=snapshot.left if kind is Kind.USER else _nobody(),
        unknown=snapshot.unknown if kind is Kind.USER else {},
    )


def _reasons_held(
    rules: EntryRules, snapshot: Snapshot, kind: Kind, frame: pd.DataFrame, now: datetime
) -> "pd.Series[str]":
    hidden = frozenset(hidden_attributes(rules))
    reasons = reasons_held(rules.scope, frame, snapshot, kind, now, hidden=hidden)
    return pd.Series(reasons, index=frame.index, dtype="str")


def _left(
    rules: EntryRules, snapshot: Snapshot, kind: Kind, *, assignment: Assignment | None, now: datetime
) -> "pd.Series[str]":
    """Entries whose rows cannot be used, but all say that they have left: anchor to the reason."""
    there = texts(snapshot.entries(kind).index)
    keys = {row.key for row in snapshot.unreadable if row.kind is kind and row.key is not None}
    unread = pd.Index(sorted(keys), dtype="str")
    unread = unread[~is_among(unread, there)]
    if not len(unread):
        return _nobody()
    disabled = disabled_rows(snapshot, kind, pd.DataFrame(index=unread))
    reasons = pd.Series(DISABLED_IN_SOURCE, index=unread[disabled], dtype="str")
    aside = snapshot.set_aside.get(kind)
    aside = aside.loc[is_among(aside.index, texts(unread[~disabled]))] if aside is not None else None
    if aside is None or not len(aside):
        return reasons
    alone = replace(snapshot, users=aside) if kind is Kind.USER else replace(snapshot, groups=aside)
    assigned = is_assigned(assignment, alone, kind)
    false = judge_filter(rules.scope, aside, snapshot, kind, now).false
    why = np.where(assigned, FILTERED_OUT, NOT_ASSIGNED)
    rows = pd.DataFrame({"left": ~assigned | false, "why": why}, index=aside.index).groupby(level=0, sort=True)
    outside = rows["why"].min()[rows["left"].all()].astype("str")
    return pd.concat([reasons, outside])


def asks_memberships(rules: EntryRules) -> bool:
    """True when the filter looks at who is a member of what: then a missing edge can put somebody out of scope."""
    return any(clause.operator is Operator.MEMBER_OF for group in rules.scope for clause in group)


# --- why -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ClauseVerdict:
    """One clause, judged for one entry."""

    clause: Clause
    holds: bool
    value: Value
    """What the entry has: None for null; for MEMBER_OF the memberships that make it true."""
    hidden: bool = False
    """True where the value is not shown because a mapping that reads the attribute is redacted."""
    doubt: str = ""
    """Why it cannot be judged, where it cannot; ``holds`` is false then."""


@dataclass(frozen=True, slots=True)
class ScopeDecision:
    """Why one entry is in scope or not."""

    kind: Kind
    key: str
    present: bool
    """Whether the source has the entry at all; without it nothing below means anything."""
    by_key: bool = False
    """Whether the job or its table assigns the entry itself: a user by anchor, a group by anchor or name."""
    by_groups: tuple[Membership, ...] = ()
    """Assigned groups that the entry belongs to, in the order of their keys."""
    assigned: bool = True
    """Whether the entry is assigned; always true where the job assigns everybody."""
    groups: tuple[tuple[ClauseVerdict, ...], ...] = ()
    """The filter's groups of clauses, as in the job file; empty where there is no filter."""
    disabled: bool = False
    """Whether the source marks the entry as disabled."""
    waiting: str = ""
    """Why the entry is not provisioned yet, where its first day has not come."""
    left: str = ""
    """When the person left, by a date of theirs."""
    coming: tuple[str, ...] = ()
    """What dates of theirs will do, the earliest first."""

    @property
    def passing(self) -> int | None:
        """Number (from 0) of the first group of clauses that is true as a whole, the one that decided."""
        return next((n for n, group in enumerate(self.groups) if all(verdict.holds for verdict in group)), None)

    @property
    def passed(self) -> bool:
        """Whether the filter lets the entry through."""
        return not self.groups or self.passing is not None

    @property
    def undecided(self) -> tuple[ClauseVerdict, ...]:
        """The clauses that would have to be judged before anybody can say whether the entry is in scope."""
        if self.passing is not None or not self.assigned or self.disabled:
            return ()
        open_groups = [group for group in self.groups if all(verdict.holds or verdict.doubt for verdict in group)]
        return tuple(verdict for group in open_groups for verdict in group if verdict.doubt)

    @property
    def in_scope(self) -> bool:
        """Whether the entry is provisioned."""
        return self.present and self.assigned and self.passed and not self.waiting

    @property
    def failing(self) -> tuple[ClauseVerdict, ...]:
        """The clauses that keep the entry out: those that are false, of every group; none when one group is true."""
        if self.passing is not None:
            return ()
        return tuple(verdict for group in self.groups for verdict in group if not verdict.holds and not verdict.doubt)


def explain_scope(
    rules: EntryRules, snapshot: Snapshot, kind: Kind, key: str, *, assignment: Assignment | None, now: datetime
) -> ScopeDecision:
    """Which assignment and which clauses decide about one entry, by the same rules as :func:`select`."""
    if key not in snapshot.entries(kind).index:
        return ScopeDecision(kind, key, present=False)
    frame = snapshot.entries(kind).loc[[key]]
    limited = assignment is not None and assignment.mode is AssignmentMode.ASSIGNED
    by_key = False
    by_groups: tuple[Membership, ...] = ()
    if assignment is not None and limited:
        users, listed = assigned_to(assignment, snapshot)
        nested = assignment.nested
        by_key = key in (users.to_pylist() if kind is Kind.USER else listed_groups(snapshot, listed, Case.EXACT))
        if kind is Kind.USER or nested:
            by_groups = memberships(snapshot, kind, key, listed, nested=nested, case=Case.EXACT)
    hidden = hidden_attributes(rules)
    groups = tuple(
        tuple(_verdict(clause, frame, snapshot, kind, now, hidden) for clause in group) for group in rules.scope
    )
    return ScopeDecision(
        kind,
        key,
        present=True,
        by_key=by_key,
        by_groups=by_groups,
        assigned=not limited or by_key or bool(by_groups),
        groups=groups,
        disabled=kind is Kind.USER and key in snapshot.disabled,
        waiting=str(snapshot.waiting.get(key, "")) if kind is Kind.USER else "",
        left=str(snapshot.left.get(key, "")) if kind is Kind.USER else "",
        coming=sentences_about(snapshot.coming, key) if kind is Kind.USER else (),
    )


def sentences_about(coming: pd.DataFrame | None, key: str) -> tuple[str, ...]:
    """What dates of one person will do: ``will be disabled on 31 March 2026, 17:00 (Australia/Melbourne)``."""
    if coming is None:
        return ()
    mine = coming.loc[coming["key"] == key, ["what", "moment", "zone"]]
    return tuple(f"{_COMING[what]} {spelled(moment, zone)}" for what, moment, zone in mine.itertuples(index=False))


_COMING = {"begins": "will get an account", "leaves": "will be disabled"}


def spelled(moment: datetime, zone: str) -> str:
    """A moment as people there say it: ``on 31 March 2026, 17:00 (Australia/Melbourne)``."""
    local = moment.astimezone(ZoneInfo(zone))
    return f"on {local.day} {local:%B %Y}, {local:%H:%M} ({zone})"


def _verdict(
    clause: Clause, frame: pd.DataFrame, snapshot: Snapshot, kind: Kind, now: datetime, hidden: Collection[str]
) -> ClauseVerdict:
    judged = judge_clause(clause, frame, snapshot, kind, now)
    holds = bool(judged.true[0])
    if clause.operator is Operator.MEMBER_OF:
        found = memberships(snapshot, kind, str(frame.index[0]), values_of(clause), nested=True, case=clause.case)
        return ClauseVerdict(clause, holds, found)
    shown = clause.attribute not in hidden
    doubt = ""
    if judged.held[0]:
        doubt = reasons_held([[clause]], frame, snapshot, kind, now, hidden=frozenset(hidden))[0]
    column = column_of(clause, frame, snapshot, kind)
    value = None if column is None or not shown else column.iloc[0]
    null = value is None or value is pd.NA or (isinstance(value, float) and value != value)
    return ClauseVerdict(clause, holds, None if null else value, hidden=not shown, doubt=doubt)


def hidden_attributes(rules: EntryRules) -> set[str]:
    """Source attributes that a redacted mapping reads."""
    hidden: set[str] = set()
    for mapping in rules.attributes.values():
        text = mapping.expression if mapping.expression is not None else mapping.reference
        if text is not None and (mapping.redact or compile_expression(text).redacted):
            hidden |= compile_expression(text).attributes
    return hidden
