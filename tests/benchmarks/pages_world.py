"""The ledger of a large company, written straight into its tables: cycles that are run take hours to write it.

One job has everybody, many cycles, and a last one that holds removals; the company's other jobs have the first people.
"""

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from itertools import chain
from typing import Any

from sqlalchemy import Connection, Table

from connectors.contract import Action, Kind
from tasks.ledger import Cycle, CycleKind, CycleState, Ledger, LogAction, LogEntry, LogStatus, Modified, Staged, rows
from tasks.ledger.bulk import Bulk, json_text
from tasks.ledger.directory import words_of
from tasks.ledger.tables import CYCLE, DIRECTORY, LINK, LOG, WORD
from tests.flows.web.company import JOBS

FIRST = ("Anna", "Östen", "Michael", "Zoë", "Dagmar", "Omar", "Nina", "Wójciech", "Siobhán", "Kåre")
LAST = ("Schmidt", "Öberg", "Holm", "Said", "Falk", "Stępień", "O'Brien", "Ünal", "Kovač", "Nguyễn")
JOB = JOBS[0]
CHANGED_BY_EACH = 50
"""Entries that each cycle between the first and the last changes."""
IN_OTHER_JOBS = 1_000
OTHER_CYCLES = 30
EVERY = timedelta(minutes=20)
_CHANGED = [Modified("title", "Analyst", "Senior Analyst")]
_CREATED = [Modified("displayName", None, "As in the source"), Modified("title", None, "Analyst")]


def fill(
    ledger: Ledger, people: int, cycles: int, held: int, *, now: datetime, say: Callable[[str], None] = print
) -> None:
    """Writes everything, a table at a time, each in the order of its key."""
    database, bulk = ledger._database, ledger._bulk
    ids = {job: _cycles(ledger, job, many, size, now) for job, many, size in _sizes(people, cycles)}
    say(f"  {sum(map(len, ids.values())):,} cycles written")
    first = {job: ids[job][0] for job in JOBS}
    crowd = {job: min(people, size) for job, _, size in _sizes(people, cycles)}
    for table, some in (
        (LINK, (_link(job, number, first[job], bulk, now) for job in sorted(JOBS) for number in range(crowd[job]))),
        (DIRECTORY, (_known(job, number) for job in sorted(JOBS) for number in range(crowd[job]))),
        (WORD, iter(sorted(chain.from_iterable(_words(job, crowd[job]) for job in JOBS)))),
    ):
        with database.writing() as connection:
            _insert(bulk, connection, table, some)
        say(f"  {table.name} written")
    for job in JOBS:
        with database.writing() as connection:
            made = _log(bulk, first[job], map(_created, range(crowd[job])))
            _insert(bulk, connection, LOG, made, but="id")
    with database.writing() as connection:
        for cycle in ids[JOB][1:-1]:
            changed = ((cycle.number * 7919 + place * 211) % people for place in range(CHANGED_BY_EACH))
            _insert(bulk, connection, LOG, _log(bulk, cycle, map(_changed, changed)), but="id")
    last, leavers = ids[JOB][-1], range(0, people, max(people // held, 1))[:held]
    guard = f"Disabling {held:,} of {people:,} users is more than the limit of 500: they are gone from the source."
    ledger.log_entries(last, (_held_back(number, guard) for number in leavers), now=now)
    ledger.put_staged(JOB, [_staged(number, last, guard) for number in leavers])
    say(f"  log and {held:,} held changes written")
    with database.writing() as connection:
        # As the databases do themselves in time: a ledger that was just filled knows nothing of its tables.
        connection.exec_driver_sql("ANALYZE")


def _sizes(people: int, cycles: int) -> Iterator[tuple[str, int, int]]:
    for job in JOBS:
        yield (job, cycles, people) if job == JOB else (job, OTHER_CYCLES, min(people, IN_OTHER_JOBS))


def _cycles(ledger: Ledger, job: str, many: int, people: int, now: datetime) -> list[Cycle]:
    """The job's cycles, the last one of the large job waiting."""
    start = now - EVERY * many
    ledger.begin_cycle(job, CycleKind.INITIAL, fingerprint="f", now=start)
    with ledger._database.writing() as connection:
        time = ledger._bulk.time
        columns = tuple(column.name for column in CYCLE.columns if column.name != "id")
        rest = []
        for number in range(2, many + 1):
            waits = job == JOB and number == many
            values = {
                "job": job,
                "number": number,
                "kind": CycleKind.INCREMENTAL.value,
                "fingerprint": f"f{number // 300}",
                "began": time(start + EVERY * number),
                "state": (CycleState.STAGED if waits else CycleState.DONE).value,
                "ended": time(start + EVERY * number + timedelta(seconds=40)),
                "counts": json_text({"staged": 10_000} if waits else {"updated": CHANGED_BY_EACH}),
                "source_count": people,
                "target_count": people,
                "message": "",
                "initiator": "schedule",
                "source": "HR export",
                "target": f"App of {job}",
            }
            rest.append(tuple(values.get(name) for name in columns))
        ledger._bulk.insert(connection, CYCLE, columns, rest)
        connection.execute(
            CYCLE.update()
            .where(CYCLE.c.job == job, CYCLE.c.number == 1)
            .values(
                state=CycleState.DONE.value,
                ended=start,
                counts={"created": people},
                source_count=people,
                target_count=people,
                source="HR export",
                target=f"App of {job}",
            )
        )
    return sorted(ledger.cycles(job, limit=many), key=lambda cycle: cycle.number)


def _log(bulk: Bulk, cycle: Cycle, entries: Iterator[LogEntry]) -> Iterator[tuple[Any, ...]]:
    return (tuple(rows.log_row(cycle, entry, bulk.time(cycle.began), bulk.time)) for entry in entries)


def _insert(bulk: Bulk, connection: Connection, table: Table, some: Iterator[Any], *, but: str = "") -> None:
    bulk.insert(connection, table, tuple(column.name for column in table.columns if column.name != but), some)


def anchor_of(number: int) -> str:
    """The key of a person."""
    return f"{number:06}"


def _name(number: int) -> str:
    return f"{FIRST[number % 10]} {LAST[number // 10 % 10]}"


def _login(number: int) -> str:
    return f"x{number:06}@example.com"


def _known(job: str, number: int) -> tuple[str, ...]:
    details = {
        "department": f"Department {number % 40}",
        "title": "Analyst",
        "company": f"Company {number % 5}",
        "place": "Leipzig",
    }
    words = words_of((_name(number), _login(number), anchor_of(number)))
    text = json_text(details) or ""
    manager = anchor_of(number // 8)
    return (job, Kind.USER.value, anchor_of(number), _name(number), _login(number), text, manager, " ".join(words))


def _words(job: str, many: int) -> Iterator[tuple[str, str, str, str]]:
    for number in range(many):
        for word in words_of((_name(number), _login(number), anchor_of(number))):
            yield word, job, Kind.USER.value, anchor_of(number)


def _link(job: str, number: int, cycle: Cycle, bulk: Bulk, now: datetime) -> tuple[Any, ...]:
    moment = bulk.time(cycle.began)
    values = {
        "job": job,
        "kind": Kind.USER.value,
        "anchor": anchor_of(number),
        "target_id": f"id-{number:06}",
        "label": _login(number),
        "fingerprint": number,
        "state": "disabled" if number % 20 == 19 else "active",
        "how": "created",
        "linked_at": moment,
        "changed_at": moment,
        "state_since": moment,
        "cycle_id": cycle.id,
    }
    return tuple(values.get(column.name) for column in LINK.columns)


def _created(number: int) -> LogEntry:
    why = "in scope, and no account of the target matches"
    return _line(number, LogAction.CREATE, why, _CREATED)


def _changed(number: int) -> LogEntry:
    return _line(number, LogAction.UPDATE, "changed in the source", _CHANGED)


def _line(number: int, action: LogAction, reason: str, modified: list[Modified]) -> LogEntry:
    return LogEntry(
        Kind.USER,
        action,
        LogStatus.SUCCESS,
        anchor_of(number),
        target_id=f"id-{number:06}",
        label=_login(number),
        reason=reason,
        modified=modified,
    )


def _held_back(number: int, guard: str) -> LogEntry:
    return LogEntry(
        Kind.USER,
        LogAction.STAGED_DISABLE,
        LogStatus.SKIPPED,
        anchor_of(number),
        label=_login(number),
        reason=guard,
    )


def _staged(number: int, cycle: Cycle, guard: str) -> Staged:
    return Staged(
        Kind.USER,
        Action.DISABLE,
        anchor_of(number),
        cycle.began,
        cycle.id,
        guard,
        target_id=f"id-{number:06}",
        label=_login(number),
    )
