"""What a cycle has written into the log, as its page shows it: on the web, and in the report that is kept as a file."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from connectors.contract import Kind
from tasks.ledger import Cycle, Ledger, LogAction, LogLine, LogStatus
from tasks.pages.cycle_page import CyclePage, CycleTotals, cycle_page

_FAILURES_SHOWN = 200
_MEMBERS, _MEMBERS_NAMED = "members", 40
_OF_MEMBERS = (LogAction.ADD_MEMBERS, LogAction.REMOVE_MEMBERS)
"""Lines in which ``members`` are ids in the target. An attribute of an entry may be called so, and hold anything."""
_ASKED_ABOUT = 200
"""Entries whose decisions are looked up."""
_AFTER_A_DECISION = (LogAction.DISABLE, LogAction.DELETE, LogAction.REMOVE_MEMBERS, LogAction.UPDATE)
"""What a person may have had to allow."""


@dataclass(frozen=True, slots=True)
class CycleLines:
    """The content of a cycle's page."""

    page: CyclePage
    names: Mapping[tuple[str, str], str]
    """What people call its entries, by kind and anchor."""
    failed: int
    """How many lines say that something failed."""


def read_cycle_lines(ledger: Ledger, cycle: Cycle, *, first: int, now: datetime) -> CycleLines:
    """What was done to whom, the ``first`` of each action; who allowed it, and what failed."""
    lookup = ledger.lookup
    tally = lookup.tally(cycle)
    shown = {
        LogAction(action): lookup.lines(cycle, actions=[LogAction(action)], but=LogStatus.FAILURE, limit=first)
        for action in {action for action, _ in tally}
    }
    failed = lookup.lines(cycle, status=LogStatus.FAILURE, limit=_FAILURES_SHOWN)
    allowed = sorted({line.anchor for action in _AFTER_A_DECISION for line in shown.get(action, ())})[:_ASKED_ABOUT]
    earlier = lookup.decisions(cycle.job, allowed, until=cycle.ended or now) if allowed else []
    decisions = [line for line in earlier if line.cycle is not None and line.cycle in (cycle.number, cycle.number - 1)]
    everyone = [*failed, *decisions, *(line for lines in shown.values() for line in lines)]
    shown = {action: with_member_names(ledger, lines) for action, lines in shown.items()}
    names = ledger.directory.names(cycle.job, ((line.kind, line.anchor) for line in everyone))
    totals = CycleTotals(
        tally,
        lookup.groups_changed(cycle) if not shown.keys().isdisjoint(_OF_MEMBERS) else {},
        lookup.failures_by_code(cycle) if failed else {},
        lookup.decided_together(cycle.job, decisions),
    )
    return CycleLines(
        cycle_page(cycle, totals, shown, failed, decisions, names),
        names,
        sum(many for (_, status), many in tally.items() if status == LogStatus.FAILURE),
    )


def with_member_names(ledger: Ledger, lines: Sequence[LogLine]) -> list[LogLine]:
    """Lines that say of members what people call them, where that is known, and not their ids in the target."""
    about_members = [line for line in lines if line.action in _OF_MEMBERS]
    ids = {(line.job, id_) for line in about_members for id_ in _members_of(line)}
    called: dict[str, dict[str, str]] = {}
    for (job, id_), name in ledger.lookup.names_of_accounts(Kind.USER, ids).items():
        called.setdefault(job, {})[id_] = name
    return [_with_names(line, called.get(line.job, {})) if line.action in _OF_MEMBERS else line for line in lines]


def member_names(ledger: Ledger, job: str, ids: Collection[str]) -> dict[str, str]:
    """What people call some members, by their ids in the target; without those of whom nothing is known."""
    called = ledger.lookup.names_of_accounts(Kind.USER, {(job, id_) for id_ in ids})
    return {id_: name for (_, id_), name in called.items()}


def _members_of(line: LogLine) -> list[str]:
    """The first members of a change."""
    sides = (one[side] for one in line.modified or () if one["name"] == _MEMBERS for side in ("old", "new"))
    return [id_ for ids in sides if ids for id_ in ids[:_MEMBERS_NAMED]]


def _with_names(line: LogLine, called: Mapping[str, str]) -> LogLine:
    return replace(line, modified=[_called(one, called) for one in line.modified or ()])


def _called(modified: Mapping[str, Any], called: Mapping[str, str]) -> dict[str, Any]:
    if modified["name"] != _MEMBERS:
        return dict(modified)
    sides = {side: modified[side] and [called.get(id_, id_) for id_ in modified[side]] for side in ("old", "new")}
    return {**modified, **sides}
