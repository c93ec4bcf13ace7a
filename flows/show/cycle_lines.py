"""What a cycle has written into the log, as its page shows it: on the web, and in the report that is kept as a file."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from tasks.ledger import Cycle, Ledger, LogAction, LogStatus
from tasks.pages.cycle_page import CyclePage, cycle_page

_FAILURES_SHOWN = 200
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
        LogAction(action): [
            line
            for line in lookup.lines(cycle, actions=[LogAction(action)], limit=first)
            if line.status != LogStatus.FAILURE
        ]
        for action in {action for action, _ in tally}
    }
    failed = lookup.lines(cycle, status=LogStatus.FAILURE, limit=_FAILURES_SHOWN)
    allowed = sorted({line.anchor for action in _AFTER_A_DECISION for line in shown.get(action, ())})[:_ASKED_ABOUT]
    earlier = lookup.decisions(cycle.job, allowed, until=cycle.ended or now) if allowed else []
    decisions = [line for line in earlier if line.cycle is not None and line.cycle in (cycle.number, cycle.number - 1)]
    everyone = [*failed, *decisions, *(line for lines in shown.values() for line in lines)]
    names = ledger.directory.names(cycle.job, ((line.kind, line.anchor) for line in everyone))
    return CycleLines(
        cycle_page(cycle, tally, shown, failed, decisions, names, lookup.decided_together(cycle.job, decisions)),
        names,
        sum(many for (_, status), many in tally.items() if status == LogStatus.FAILURE),
    )
