"""The overview: which job needs a person, what for, and how all of them stand. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from zoneinfo import ZoneInfo

from cronsim import CronSim

from connectors.contract import Action, Kind
from tasks.job import Job, Schedule
from tasks.ledger import Board, Cycle, CycleState, Trouble, Waiting
from tasks.pages.charts import Chart, spark
from tasks.pages.held_page import question_id
from tasks.pages.sentences import VERBS, cycle_sentence, named, plural

_OVERDUE = timedelta(minutes=10)
"""How long after it was due a cycle counts as overdue."""
_AGAIN = 3
"""Attempts from which on a failure needs a person."""


class JobState(StrEnum):
    """How a job stands: the first of these that is true."""

    RUNNING = "running"
    QUARANTINED = "quarantined"
    WAITING = "waiting"
    FAILING = "failing"
    STOPPED = "stopped"
    OVERDUE = "overdue"
    PAUSED = "paused"
    HEALTHY = "healthy"
    NEW = "new"


LOOKS_OF_STATE: Mapping[JobState, tuple[str, str]] = {
    JobState.RUNNING: ("changed", "run"),
    JobState.QUARANTINED: ("failed", "stop"),
    JobState.WAITING: ("waiting", "wait"),
    JobState.FAILING: ("failed", "fail"),
    JobState.STOPPED: ("failed", "stop"),
    JobState.OVERDUE: ("failed", "wait"),
    JobState.PAUSED: ("quiet", "pause"),
    JobState.HEALTHY: ("created", "ok"),
    JobState.NEW: ("quiet", "sheet"),
}
"""Colour and icon."""


@dataclass(frozen=True, slots=True)
class JobRow:
    """One job in the table."""

    job: str
    state: JobState
    said: str
    """The state in words."""
    last: Cycle | None
    last_said: str
    due: datetime | None
    due_said: str
    """Instead of a moment."""
    source: str
    target: str
    source_count: int | None
    target_count: int | None
    held: int
    trend: Chart
    so_far: int
    solid: bool
    """Whether it needs a person: also one that runs, or is paused, may."""


class NeedKind(StrEnum):
    """What a person is needed for, the most urgent first."""

    QUARANTINE = "Quarantine"
    APPROVAL = "Approval"
    STOPPED = "Stopped"
    FAILING = "Failing"
    OVERDUE = "Overdue"


@dataclass(frozen=True, slots=True)
class Need:
    """One thing that needs a person."""

    kind: NeedKind
    job: str
    what: str
    """Verb, number, of which job."""
    names: Sequence[str] = ()
    more: int = 0
    why: str = ""
    since: datetime | None = None
    until: datetime | None = None
    leads_to: str = ""
    """``approvals``, ``cycle`` or ``job``."""
    button: str = ""
    question: str = ""
    """Of an approval: what the question is called in addresses."""


@dataclass(frozen=True, slots=True)
class Overview:
    """Everything on the page."""

    needs: Sequence[Need]
    rows: Sequence[JobRow]
    headline: str
    count_of: Mapping[str, int] = field(default_factory=dict)


def overview_of(boards: Sequence[Board], jobs: Mapping[str, Job], *, now: datetime) -> Overview:
    """The page; ``jobs``: those whose files are there, by name."""
    needs = sorted(
        (need for board in boards for need in needs_of(board, jobs.get(board.job), now=now)),
        key=lambda need: (list(NeedKind).index(need.kind), need.until or now, need.job),
    )
    in_need = {need.job for need in needs}
    rows = [_row(board, jobs.get(board.job), now, solid=board.job in in_need) for board in boards]
    rows.sort(key=lambda row: (not row.solid, row.job))
    needing = len(in_need)
    counts = {
        "all": len(rows),
        "need": needing,
        "running": sum(row.state is JobState.RUNNING for row in rows),
        "paused": sum(row.state is JobState.PAUSED for row in rows),
    }
    headline = _headline(needing, len(rows), new=all(row.state is JobState.NEW for row in rows))
    return Overview(needs, rows, headline, counts)


def _headline(needing: int, total: int, *, new: bool) -> str:
    if new and not needing:
        return "No job has run yet"
    if not needing:
        return "The job is fine" if total == 1 else f"All {total:,} jobs are fine"
    verb = "needs" if needing == 1 else "need"
    return "The job needs a person" if total == 1 else f"{needing:,} of {total:,} jobs {verb} a person"


# --- one job -------------------------------------------------------------------------------------------------------


def state_of(board: Board, job: Job | None, *, now: datetime) -> JobState:
    """How a job stands."""
    last, whole = board.last, board.whole
    if last is None:
        return JobState.NEW
    if last.state is CycleState.RUNNING:
        return JobState.RUNNING
    if board.quarantine is not None:
        return JobState.QUARANTINED
    if board.waiting:
        return JobState.WAITING
    if board.pause is not None:
        return JobState.PAUSED
    if board.trouble is not None and _needs_a_person(board.trouble):
        return JobState.FAILING
    if whole is None:
        return JobState.NEW
    if whole.state in (CycleState.STOPPED, CycleState.CRASHED):
        return JobState.STOPPED
    due = due_of(job.schedule if job is not None else None, whole, now)
    return JobState.OVERDUE if due is not None and now - due > _OVERDUE else JobState.HEALTHY


def due_of(schedule: Schedule | None, last: Cycle | None, now: datetime) -> datetime | None:
    """When the next cycle is due by its schedule; in the past where it has not come.

    ``last``: the last one of the whole source, as a schedule begins them; one for a single entry puts nothing off.
    """
    if schedule is None:
        return None
    if schedule.rhythm is not None:
        return last.began + schedule.rhythm if last is not None else now
    assert schedule.cron is not None
    start = last.began if last is not None else now
    return next(CronSim(schedule.cron, start.astimezone(ZoneInfo(schedule.timezone))), None)


def _needs_a_person(trouble: Trouble) -> bool:
    return bool(trouble.given_up) or trouble.attempts >= _AGAIN


def accounts_in_target(cycles: Iterable[Cycle]) -> int | None:
    """How many users the target has, as the newest cycle that counted them has it. ``cycles``: newest first."""
    return next((one.target_count for one in cycles if one.target_count), None)


def held_by(waiting: Iterable[Waiting]) -> int:
    """How much waits: accounts, and memberships of groups."""
    return sum(one.count for one in waiting)


def _row(board: Board, job: Job | None, now: datetime, *, solid: bool) -> JobRow:
    state, last = state_of(board, job, now=now), board.last
    ended = next(
        (
            one
            for one in (*board.cycles, board.whole)
            if one and one.state is not CycleState.RUNNING and not one.kind.partial
        ),
        None,
    )
    counted = [one for one in board.cycles if one.source_count is not None]
    listed = [one for one in board.cycles if one.target_count is not None]
    held = held_by(board.waiting)
    due, due_said = _next(board, job, state, now)
    return JobRow(
        job=board.job,
        state=state,
        said=_said(state, board, held),
        last=ended or last,
        last_said=cycle_sentence(ended) if ended else "Never run",
        due=due,
        due_said=due_said,
        source=next((one.source for one in board.cycles if one.source), ""),
        target=next((one.target for one in board.cycles if one.target), ""),
        source_count=counted[0].source_count if counted else None,
        target_count=listed[0].target_count if listed else None,
        held=held,
        trend=spark(list(reversed(board.cycles))),
        so_far=board.so_far,
        solid=solid,
    )


def _said(state: JobState, board: Board, held: int) -> str:
    match state:
        case JobState.WAITING:
            return f"{held:,} to decide"
        case JobState.FAILING if board.trouble is not None:
            return f"{board.trouble.count:,} failing"
        case _:
            return str(state).capitalize()


def _next(board: Board, job: Job | None, state: JobState, now: datetime) -> tuple[datetime | None, str]:
    if board.pause is not None:
        return None, f"paused by {board.pause.who}{f': {board.pause.why}' if board.pause.why else ''}"
    if board.quarantine is not None:
        due = board.quarantine.next_attempt
        return due, "" if due is not None else "not by itself"
    if job is None:
        return None, "its file is not here"
    if state is JobState.RUNNING:
        return None, "now"
    due = due_of(job.schedule, board.whole, now)
    return due, "" if due is not None else "by hand"


# --- what needs a person ---------------------------------------------------------------------------------------------


def needs_of(board: Board, job: Job | None, *, now: datetime) -> list[Need]:
    """What a job needs a person for."""
    total = accounts_in_target(board.cycles)
    needs = [need_of(board.job, one, total, job) for one in board.waiting]
    name, last = board.job, board.whole
    if (quarantine := board.quarantine) is not None:
        what = f"{name} is retried less and less often" if quarantine.next_attempt else f"{name} is no longer tried"
        needs.append(
            Need(
                NeedKind.QUARANTINE,
                name,
                what,
                why=quarantine.message,
                since=quarantine.began,
                leads_to="job",
                button="See what to do",
            )
        )
    elif board.pause is None and last is not None and state_of(board, job, now=now) is JobState.STOPPED:
        died = last.state is not CycleState.STOPPED
        why = "Its process died. The next cycle looks up the requests without a response." if died else last.message
        needs.append(
            Need(
                NeedKind.STOPPED,
                name,
                f"The last cycle of {name} did not finish",
                why=why,
                since=last.began,
                leads_to="cycle",
                button="See the cycle",
            )
        )
    if (trouble := board.trouble) is not None and _needs_a_person(trouble):
        some, more = named(trouble.names, trouble.count)
        entries = "entry" if trouble.count == 1 else "entries"
        what = f"{trouble.count:,} {entries} of {name} failed again"
        needs.append(
            Need(
                NeedKind.FAILING,
                name,
                what,
                some,
                more,
                trouble.message,
                since=trouble.first_failed,
                leads_to="failures",
                button="See them",
            )
        )
    if board.pause is None and state_of(board, job, now=now) is JobState.OVERDUE:
        due = due_of(job.schedule if job is not None else None, last, now)
        why = "Nothing has started it: check that the worker is running."
        needs.append(
            Need(NeedKind.OVERDUE, name, f"{name} is overdue", why=why, since=due, leads_to="job", button="See the job")
        )
    return needs


def need_of(job: str, waiting: Waiting, total: int | None, file: Job | None) -> Need:
    """What one guard of a job holds, as something to decide. ``total``: users in the target, where that is known."""
    some, more = named(waiting.names, waiting.entries)
    until = waiting.since + file.approval.within if file is not None else None
    return Need(
        NeedKind.APPROVAL,
        job,
        held_sentence(job, waiting, total),
        some,
        more,
        waiting.guard,
        since=waiting.since,
        until=until,
        leads_to="approvals",
        button=f"Review {waiting.count:,}",
        question=question_id(waiting),
    )


def held_sentence(job: str, waiting: Waiting, total: int | None) -> str:
    """What waits, as a command: ``Disable 80 of 925 users of hr-to-scim``."""
    verb = VERBS[waiting.action]
    if waiting.action is Action.REMOVE_MEMBERS:
        groups = f" {waiting.entries:,} groups" if waiting.entries > 1 else " a group"
        return f"{verb} {waiting.count:,} {'member' if waiting.count == 1 else 'members'} from{groups} of {job}"
    if total and waiting.kind is Kind.USER and total >= waiting.count:
        return f"{verb} {waiting.count:,} of {total:,} {plural(waiting.kind, total)} of {job}"
    return f"{verb} {waiting.count:,} {plural(waiting.kind, waiting.count)} of {job}"
