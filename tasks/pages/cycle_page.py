"""The page of one cycle: what was done to whom and why, who allowed it, what failed and what to do. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from connectors.contract import Kind
from connectors.errors import ErrorCode
from tasks.advice import advice_for
from tasks.ledger import Cycle, CycleState, LogAction, LogLine, LogStatus
from tasks.pages.sentences import DONE, LOOKS, cycle_sentence, named, plural

FOLDED_FROM = 20
"""Rows from which on a section begins folded."""
_ORDER = (
    LogAction.DELETE,
    LogAction.DISABLE,
    LogAction.REMOVE_MEMBERS,
    LogAction.CREATE,
    LogAction.ENABLE,
    LogAction.UPDATE,
    LogAction.ADD_MEMBERS,
    LogAction.STAGED_DELETE,
    LogAction.STAGED_DISABLE,
    LogAction.STAGED_REMOVE_MEMBERS,
    LogAction.STAGED_UPDATE,
    LogAction.APPROVE,
    LogAction.REJECT,
    LogAction.LAPSE,
    LogAction.DRIFT,
    LogAction.SKIP,
)
"""What takes access away comes first."""
_DECISIONS = (LogAction.APPROVE, LogAction.REJECT)
_NOTED = "Noted for the first time"
"""What is said once of entries: not how many a cycle has left alone, of which most were said before."""


@dataclass(frozen=True, slots=True)
class Section:
    """What was done in one way."""

    action: LogAction
    title: str
    tone: str
    count: int
    reason: str
    """Why, where all that are shown have the same reason."""
    lines: Sequence[LogLine]
    more: bool
    groups: int = 0
    """Of changes of members: the groups that they are made in."""

    @property
    def heading(self) -> str:
        """What was done, and to how many; changes of members are counted as the groups that they are made in."""
        match self.action:
            case LogAction.ADD_MEMBERS:
                return f"{self.title} to {self.groups:,} {plural(Kind.GROUP, self.groups)}"
            case LogAction.REMOVE_MEMBERS:
                return f"{self.title} from {self.groups:,} {plural(Kind.GROUP, self.groups)}"
            case _:
                return f"{self.title} {self.count:,}"

    @property
    def folded(self) -> bool:
        """Whether it begins folded."""
        return self.count >= FOLDED_FROM


@dataclass(frozen=True, slots=True)
class CycleTotals:
    """How much there is of everything of which a page shows the first lines."""

    tally: Mapping[tuple[str, str], int] = field(default_factory=dict)
    """Lines by action and status."""
    groups: Mapping[LogAction, int] = field(default_factory=dict)
    """Groups by what was done to their members."""
    failed: Mapping[str | None, int] = field(default_factory=dict)
    """Lines that failed by their code."""
    decided: Mapping[tuple[str, str, datetime], int] = field(default_factory=dict)
    """About how many each decision was, by action, reason and time."""


@dataclass(slots=True)
class Failures:
    """Everything that failed with one code."""

    code: str
    advice: str
    count: int = 0
    lines: list[LogLine] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Decided:
    """A decision by which this cycle did, or left, something."""

    verb: str
    reason: str
    count: int
    names: Sequence[str]
    more: int
    line: LogLine


@dataclass(frozen=True, slots=True)
class CyclePage:
    """Everything on the page."""

    cycle: Cycle
    sentence: str
    sections: Sequence[Section]
    failures: Sequence[Failures]
    decisions: Sequence[Decided]
    held: str
    """How much waits for approval; empty where nothing does."""


def section_of(action: LogAction, count: int, lines: Sequence[LogLine], *, more: bool, groups: int = 0) -> Section:
    """One section, of the lines that are shown."""
    reasons = {line.reason for line in lines}
    common = reasons.pop() if len(reasons) == 1 else ""
    title = _NOTED if action is LogAction.SKIP else DONE[action]
    return Section(action, title, LOOKS[action], count, common, lines, more, groups)


def cycle_page(
    cycle: Cycle,
    totals: CycleTotals,
    shown: dict[LogAction, list[LogLine]],
    failed: Sequence[LogLine],
    decisions: Sequence[LogLine],
    names: Mapping[tuple[str, str], str],
) -> CyclePage:
    """The page; ``shown``: the first lines of each action that did not fail, ``failed``: the first that did."""
    sections = []
    for action in _ORDER:
        done = (many for (name, status), many in totals.tally.items() if name == action and status != LogStatus.FAILURE)
        count, lines = sum(done), shown.get(action, [])
        if count:
            groups = totals.groups.get(action, 0)
            sections.append(section_of(action, count, lines, more=count > len(lines), groups=groups))
    return CyclePage(
        cycle,
        _sentence(cycle, sections, names),
        sections,
        _failures(failed, totals.failed),
        decided_of(decisions, names, totals.decided),
        what_it_holds(cycle),
    )


def what_it_holds(cycle: Cycle) -> str:
    """How much of a cycle waits: accounts, groups, and the memberships that go with them beside them."""
    memberships, groups = (cycle.counts.get(name, 0) for name in ("staged_memberships", "staged_groups"))
    accounts = cycle.counts.get("staged", 0) - memberships - groups
    what = ((accounts, "account"), (groups, "group"), (memberships, "membership"))
    users, of_groups, others = (f"{many:,} {plural(name, many)}" if many else "" for many, name in what)
    return ", and with them ".join(filter(None, (" and ".join(filter(None, (users, of_groups))), others)))


def _sentence(cycle: Cycle, sections: Sequence[Section], names: Mapping[tuple[str, str], str]) -> str:
    if cycle.state is CycleState.CRASHED:
        return "The process of this cycle died. The next cycle looks up the requests without a response."
    said = cycle_sentence(cycle)
    first = next((one for one in sections if one.lines and one.action in DONE), None)
    if first is not None and first.action not in (LogAction.SKIP, *_DECISIONS):
        some, more = named([_called(line, names) for line in first.lines], first.count)
        them = ", ".join(some)
        said = (
            f"{said}. {first.title}{' ' if ':' in first.title else ': '}{them}{f' and {more:,} more' if more else ''}"
        )
    return said.rstrip(".") + "."


def _failures(lines: Iterable[LogLine], totals: Mapping[str | None, int]) -> list[Failures]:
    """By code; ``totals``: how many there are of each, where more failed than are shown."""
    found: dict[str, Failures] = {}
    for line in lines:
        code = line.code or "Other"
        if code not in found:
            advice = advice_for(ErrorCode(line.code)) if line.code in set(ErrorCode) else None
            found[code] = Failures(code, advice.action if advice is not None else "")
        found[code].lines.append(line)
        found[code].count = max(totals.get(line.code, 0), len(found[code].lines))
    return sorted(found.values(), key=lambda one: (-one.count, one.code))


def _called(line: LogLine, names: Mapping[tuple[str, str], str]) -> str:
    return names.get((line.kind, line.anchor)) or line.label or line.anchor


def decided_of(
    lines: Sequence[LogLine], names: Mapping[tuple[str, str], str], totals: Mapping[tuple[str, str, datetime], int]
) -> list[Decided]:
    """Decisions, those that were made together as one; ``totals``: about how many each was."""
    groups: dict[tuple[str, str, datetime], list[LogLine]] = {}
    for line in lines:
        groups.setdefault((line.action, line.reason, line.time), []).append(line)
    found = []
    for key, some in groups.items():
        count = max(totals.get(key, 0), len(some))
        them, more = named([_called(line, names) for line in some], count)
        found.append(Decided(DONE[LogAction(key[0])], key[1], count, them, more, some[0]))
    return found
