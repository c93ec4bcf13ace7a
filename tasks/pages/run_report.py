"""The report of one run as a page: what was done, what was not and why, what waits, and how long it took."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import TypeAlias

from connectors.contract import Action
from connectors.errors import ErrorCode
from tasks.advice import advice_for
from tasks.checks import Checked
from tasks.escrow import Failed
from tasks.ledger import Cycle, CycleState
from tasks.mapping import Held
from tasks.pages.charts import GROUPS, HEIGHT, WIDTH, changes_over
from tasks.pages.cycle_page import CyclePage
from tasks.pages.layout import forget_all_but, keep_page, render
from tasks.plan import Block
from tasks.report import COUNT_OF, CycleReport, allowed

Names: TypeAlias = Mapping[tuple[str, str], str]
"""What people call entries, by kind and anchor."""

KEPT = 100
"""Reports of a job that are kept."""
_NAMED = 5
"""Entries named for each code."""
_LISTED = 25
"""Rows of a table of attributes or groups."""

STATES = {
    CycleState.DONE: ("good", "Completed"),
    CycleState.DONE_WITH_FAILURES: ("warn", "Completed with failures"),
    CycleState.STAGED: ("wait", "Waiting for approval"),
    CycleState.STOPPED: ("bad", "Stopped"),
    CycleState.CRASHED: ("bad", "Crashed"),
    CycleState.RUNNING: ("warn", "Running"),
}
"""How states look, and what people call them."""


@dataclass(frozen=True, slots=True)
class Code:
    """Everything that has one code."""

    code: str
    count: int
    advice: str
    examples: Sequence[Failed | Held]


@dataclass(slots=True)
class Tally:
    """How often something is in the plan."""

    name: str
    kind: str
    counts: Counter[str] = field(default_factory=Counter)

    @property
    def total(self) -> int:
        return self.counts.total()


def keep_report(
    folder: Path,
    report: CycleReport,
    cycle: Cycle,
    cycles: Sequence[Cycle],
    checked: Checked | None,
    *,
    docs: str = "",
    done: CyclePage | None = None,
    names: Names = MappingProxyType({}),
) -> Path:
    """Writes the report of a cycle and gives its path. Raises: OSError.

    ``cycles``: the last ones, this one included, the newest first; ``docs``: address of its Data Docs; ``done``: what
    its lines in the log say, ``names``: what people call its entries.
    """
    made = report_page(report, cycle, cycles, checked, docs=docs, done=done, names=names)
    path = keep_page(folder, f"{report.cycle}.html", made)
    forget_all_but(folder, KEPT)
    return path


def report_page(
    report: CycleReport,
    cycle: Cycle,
    cycles: Sequence[Cycle],
    checked: Checked | None,
    *,
    docs: str = "",
    done: CyclePage | None = None,
    names: Names = MappingProxyType({}),
) -> str:
    """The page as HTML."""
    blocks = checked.blocks if checked is not None else []
    seconds = dict(report.seconds)
    counts = dict(report.counts)
    if checked is not None:  # what people decide about; what goes with it is in the count of the cycle
        counts["staged"] = len(checked.waiting)
    return render(
        "report.html.j2",
        report=report,
        cycle=cycle,
        state=STATES[report.state],
        took=(report.ended - report.began).total_seconds(),
        figures=[(name, report.counts.get(name, 0)) for name in dict.fromkeys(COUNT_OF.values())],
        done=done,
        names=names,
        left=[(name, counts.get(name, 0)) for name in ("staged", "failed", "held")],
        chart=changes_over(list(reversed(cycles))),
        groups=list(GROUPS),
        width=WIDTH,
        height=HEIGHT,
        cycles=cycles,
        attributes=_attributes(blocks),
        memberships=_memberships(blocks),
        failures=_by_code(report.failures),
        held=_by_code([one for one in report.held if one.code is not ErrorCode.DECIDED]),
        decided=_by_code([one for one in report.held if one.code is ErrorCode.DECIDED]),
        notes=_by_code(report.notes),
        verdicts=checked.verdicts if checked is not None else [],
        waiting=counts["staged"] if checked is not None else 0,
        allowed=allowed,
        drift=report.drift.sentences if report.drift is not None else [],
        seconds=seconds,
        longest=max(seconds.values(), default=0.0) or 1.0,
        docs=docs,
        listed=_LISTED,
    )


def _attributes(blocks: Iterable[Block]) -> list[Tally]:
    """How many entries each attribute is written for, by action, the most frequent first."""
    found: dict[tuple[str, str], Tally] = {}
    for block in blocks:
        if block.after is None:
            continue
        touched = block.touched if block.touched is not None else block.after.notna()
        for path, count in touched.sum().items():
            if count:
                tally = found.setdefault((str(block.kind), str(path)), Tally(str(path), str(block.kind)))
                tally.counts["created" if block.action is Action.CREATE else "changed"] += int(count)
    return sorted(found.values(), key=lambda one: (-one.total, one.kind, one.name))


def _memberships(blocks: Iterable[Block]) -> list[Tally]:
    """How many members each group gets and loses, the most changed first."""
    found: dict[str, Tally] = {}
    for block in blocks:
        if "members" not in block.table:
            continue
        word = "added" if block.action is Action.ADD_MEMBERS else "removed"
        counts = block.table["members"].map(len)
        for anchor, label, count in zip(block.table["anchor"], block.table["label"], counts, strict=True):
            found.setdefault(anchor, Tally(label or anchor, "group")).counts[word] += int(count)
    return sorted(found.values(), key=lambda one: (-one.total, one.name))


def _by_code(entries: Sequence[Failed] | Sequence[Held]) -> list[Code]:
    """Entries by their code, the most frequent first, with what to do about it."""
    by_code: dict[str, list[Failed | Held]] = defaultdict(list)
    for one in entries:
        by_code[str(one.code or "no code")].append(one)
    codes = []
    for code, some in sorted(by_code.items(), key=lambda item: (-len(item[1]), item[0])):
        advice = advice_for(code)
        codes.append(Code(code, len(some), advice.action if advice is not None else "", some[:_NAMED]))
    return codes
