"""The provisioning log as it is asked for long after: filters, chunks, views, and how it is forgotten."""

import re
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from connectors.contract import Action, Change, Kind, Outcome, Status
from connectors.errors import ErrorCode
from tasks.ledger import Cycle, CycleEnd, CycleKind, CycleState, Ledger, Link, LinkState, LogAction, LogEntry, LogStatus
from tasks.ledger.logbook import FORGOTTEN_AT_ONCE, READ_AT_ONCE
from tasks.ledger.tables import SCHEMA

DAY = timedelta(days=1)
ROOT = Path(__file__).parents[3]


def entry(anchor: str, **options: object) -> LogEntry:
    """A line about a skipped user."""
    values = {"kind": Kind.USER, "action": LogAction.SKIP, "status": LogStatus.SKIPPED, "reason": "nothing changed"}
    return LogEntry(anchor=anchor, **{**values, **options})  # type: ignore[arg-type]


def change(number: int, cycle: Cycle) -> Change:
    """One create of a cycle."""
    return Change(f"{cycle.id:08d}-{number:08d}", Kind.USER, Action.CREATE, f"a{number}", None)


def begun(ledger: Ledger, moment: datetime, job: str = "hr") -> Cycle:
    return ledger.begin_cycle(job, CycleKind.INITIAL, fingerprint="f", now=moment, initiator="eve@laptop")


def ended(ledger: Ledger, cycle: Cycle, moment: datetime) -> None:
    ledger.end_cycle(
        cycle, CycleEnd(CycleState.DONE, {}, message="", now=moment, source="csv people.csv", target="scim here")
    )


def test_the_log_is_asked_by_code_end_and_change(ledger: Ledger, cycle: Cycle, now: datetime) -> None:
    """What lies at the end of a period is not in it; a change has its lines wherever they are."""
    sent = change(7, cycle)
    ledger.journal(cycle, [sent], now)
    log = [entry("a7", change_id=sent.id), entry("a7", change_id="another"), entry("a8", code=ErrorCode.CONFLICT)]
    ledger.log_entries(cycle, log, now=now)
    ledger.log_entries(cycle, [entry("a9", change_id="never journaled")], now=now + DAY)

    def anchors(**filters: object) -> list[str]:
        return ledger.log("hr", **filters)["anchor"].tolist()  # type: ignore[arg-type]

    assert anchors(code=ErrorCode.CONFLICT) == ["a8"]
    assert anchors(until=now) == []
    assert anchors(until=now + DAY) == ["a8", "a7", "a7"]
    assert anchors(since=now + DAY) == ["a9"]
    assert anchors(change=sent.id) == ["a7"]
    assert anchors(change="never journaled") == ["a9"]
    assert anchors(change="nothing") == []


def test_a_long_log_comes_in_chunks(ledger: Ledger, cycle: Cycle, now: datetime) -> None:
    """No list is longer than what is fetched at once, and nothing is lost or twice."""
    count = 2 * READ_AT_ONCE + 5
    ledger.log_entries(cycle, (entry(f"{number}") for number in range(count)), now=now)
    chunks = [[line.anchor for line in chunk] for chunk in ledger.log_chunks("hr")]
    assert [len(chunk) for chunk in chunks] == [READ_AT_ONCE, READ_AT_ONCE, 5]
    assert [anchor for chunk in chunks for anchor in chunk] == [f"{number}" for number in reversed(range(count))]
    assert sum(map(len, ledger.log_chunks("hr", limit=READ_AT_ONCE + 1))) == READ_AT_ONCE + 1


def test_a_line_knows_who_began_its_cycle_and_both_systems(ledger: Ledger, now: datetime) -> None:
    """They are the cycle's; the systems are known when it has ended."""
    cycle = begun(ledger, now)
    ledger.log_entries(cycle, [entry("a")], now=now)
    ((line,),) = ledger.log_chunks("hr")
    assert (line.job, line.cycle, line.initiator, line.source, line.target) == ("hr", 1, "eve@laptop", "", "")
    ended(ledger, cycle, now)
    ((line,),) = ledger.log_chunks("hr")
    assert (line.source, line.target) == ("csv people.csv", "scim here")


def test_who_was_passed_over_is_found_again(ledger: Ledger, cycle: Cycle, now: datetime) -> None:
    """By job and kind; by the partial index, so that a long log costs nothing."""
    ledger.log_entries(
        cycle,
        [
            entry("a1", code=ErrorCode.SKIPPED),
            entry("a2", code=ErrorCode.IMPORT_SKIPPED),
            entry("a%3", code=ErrorCode.SKIPPED),
            entry("g", code=ErrorCode.SKIPPED, kind=Kind.GROUP),
        ],
        now=now,
    )
    assert ledger.passed_over("hr", Kind.USER) == {"a1", "a%3"}
    assert ledger.passed_over("hr", Kind.GROUP) == {"g"}
    assert ledger.passed_over("o'hr", Kind.USER) == set()
    if ledger._database.sqlite:
        query = "EXPLAIN QUERY PLAN SELECT anchor FROM log WHERE job = 'hr' AND kind = 'user' AND error_code = "
        with ledger._database.reading() as connection:
            how = connection.exec_driver_sql(f"{query}'EntrySynchronizationSkipped'").all()
        assert "ix_log_passed_over" in str(how)


def test_old_lines_and_ended_attempts_are_forgotten(ledger: Ledger, now: datetime) -> None:
    """Of this job, from before the moment; open attempts stay, whatever their age, and so do links."""
    old, other, young = begun(ledger, now), begun(ledger, now, "crm"), None
    sent = [change(number, old) for number in range(4)]
    ledger.journal(old, sent, now)
    outcomes = [
        Outcome(sent[0].id, Status.DONE, "t0"),
        Outcome(sent[1].id, Status.REJECTED),
        Outcome(sent[2].id, Status.UNKNOWN),
    ]
    links = [Link(Kind.USER, "a0", "t0")]
    ledger.record(old, sent[:3], outcomes, now=now, links=links, log=[entry("a0"), entry("a1")])
    foreign = change(1, other)
    ledger.journal(other, [foreign], now)
    ledger.record(other, [foreign], [Outcome(foreign.id, Status.DONE, "t")], now=now, log=[entry("crm")])
    ended(ledger, old, now)
    ended(ledger, other, now)
    young = begun(ledger, now + 2 * DAY)
    ledger.journal(young, [change(9, young)], now + 2 * DAY)
    done = [Outcome(change(9, young).id, Status.DONE, "t9")]
    ledger.record(young, [change(9, young)], done, now=now + 2 * DAY, log=[entry("a9")])
    ended(ledger, young, now + 2 * DAY)

    assert ledger.forget_log("hr", before=now, at_most=100) == 0
    assert ledger.forget_log("hr", before=now + DAY, at_most=100) == 4
    assert ledger.log("hr")["anchor"].tolist() == ["a9"]
    assert len(ledger.log("crm")) == 1
    assert {attempt.change_id for attempt in ledger.open_attempts("hr")} == {sent[2].id, sent[3].id}
    assert list(ledger.links("hr", Kind.USER).index) == ["a0"]
    assert _attempts(ledger) == {sent[2].id, sent[3].id, foreign.id, change(9, young).id}
    assert ledger.forget_log("hr", before=now + DAY, at_most=100) == 0


def test_forgetting_is_bounded_and_goes_on_next_time(ledger: Ledger, now: datetime) -> None:
    """The end of a cycle takes no longer than so many rows, the oldest first; then the rest."""
    cycle = begun(ledger, now)
    count = FORGOTTEN_AT_ONCE + 50
    for number in range(count // 10):
        moment = now + timedelta(seconds=number)
        ledger.log_entries(cycle, [entry(f"{number}")] * 10, now=moment)
    ended(ledger, cycle, now)
    assert ledger.forget_log("hr", before=now + DAY, at_most=30) == 30
    assert "2" not in set(ledger.log("hr", limit=None)["anchor"])
    assert "3" in set(ledger.log("hr", limit=None)["anchor"])
    assert ledger.forget_log("hr", before=now + DAY, at_most=10 * count) == count - 30
    assert len(ledger.log("hr")) == 0


def test_the_id_of_a_forgotten_line_is_not_given_again(ledger: Ledger, now: datetime) -> None:
    """Exports from different years can be put together."""
    cycle = begun(ledger, now)
    ledger.log_entries(cycle, [entry("a")], now=now)
    (before,) = ledger.log("hr")["id"]
    ledger.forget_log("hr", before=now + DAY, at_most=10)
    ledger.log_entries(cycle, [entry("b")], now=now)
    assert ledger.log("hr")["id"].tolist() > [before]


@pytest.fixture
def sql(ledger: Ledger) -> Callable[[str], list[dict[str, object]]]:
    """Asks the ledger with a query as the documentation has it, where the views lie in no schema."""

    def ask(query: str) -> list[dict[str, object]]:
        if not ledger._database.sqlite:
            for view in ("changelog", "runs", "snapshot"):
                query = query.replace(f"FROM {view}", f"FROM {SCHEMA}.{view}")
        with ledger._database.reading() as connection:
            return [dict(row) for row in connection.execute(sa.text(query)).mappings()]

    return ask


def test_the_view_snapshot_says_who_has_which_account(
    ledger: Ledger, now: datetime, sql: Callable[[str], list[dict[str, object]]]
) -> None:
    """One row per link, with the number of the cycle that wrote it last."""
    begun(ledger, now, "crm")
    cycle = begun(ledger, now)
    link = Link(Kind.USER, "a1", "t1", label="ann@example.com", state=LinkState.DISABLED, how="created")
    ledger.record(cycle, [], [], now=now, links=[link])
    (row,) = sql("SELECT job, kind, anchor, label, target_id, state, how, cycle FROM snapshot")
    assert row == {
        "job": "hr",
        "kind": "user",
        "anchor": "a1",
        "label": "ann@example.com",
        "target_id": "t1",
        "state": "disabled",
        "how": "created",
        "cycle": 1,
    }
    (row,) = sql("SELECT state_since, linked_at, changed_at FROM snapshot")
    assert row["state_since"] == row["linked_at"] == row["changed_at"]


def test_the_view_changelog_names_initiator_and_systems(
    ledger: Ledger, now: datetime, sql: Callable[[str], list[dict[str, object]]]
) -> None:
    """As a line of ``provisor log`` does."""
    cycle = begun(ledger, now)
    ledger.log_entries(cycle, [entry("a")], now=now)
    ended(ledger, cycle, now)
    (row,) = sql("SELECT initiator, source, target FROM changelog")
    assert row == {"initiator": "eve@laptop", "source": "csv people.csv", "target": "scim here"}


def readme_queries() -> list[str]:
    """The queries that the documentation shows."""
    found = re.search(r"```sql\n(.*?)```", (ROOT / "docs/reference/log.md").read_text("utf-8"), re.DOTALL)
    assert found is not None
    return [query.strip() for query in found[1].split(";") if query.strip()]


@pytest.mark.parametrize("query", readme_queries(), ids=["changelog", "runs", "snapshot"])
def test_the_queries_of_the_readme_work(
    ledger: Ledger, now: datetime, sql: Callable[[str], list[dict[str, object]]], query: str
) -> None:
    """As they stand, on both databases; each gives the one row that there is."""
    cycle = begun(ledger, now, "hr-to-app")
    line = entry("a1", status=LogStatus.FAILURE, code=ErrorCode.CONFLICT)
    ledger.record(cycle, [], [], now=now, links=[Link(Kind.USER, "a1", "t1", label="ann")], log=[line])
    ledger.end_cycle(cycle, CycleEnd(CycleState.DONE, {"disabled": 2, "deleted": 1}, message="", now=now))
    (row,) = sql(query)
    wanted = {"entries": 1, "error_code": "Conflict", "removed": 3, "initiator": "eve@laptop", "label": "ann"}
    assert {name: value for name, value in wanted.items() if name in row}.items() <= row.items()


def _attempts(ledger: Ledger) -> set[str]:
    table = "attempt" if ledger._database.sqlite else f"{SCHEMA}.attempt"
    with ledger._database.reading() as connection:
        return set(connection.execute(sa.text(f"SELECT change_id FROM {table}")).scalars())
