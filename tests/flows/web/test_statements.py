"""How many statements a page needs: as many for fifty jobs as for five."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from datetime import datetime, timedelta

import pandas as pd
import pytest
from sqlalchemy import event

from connectors.contract import Action, Kind
from connectors.errors import ErrorCode
from flows.cycle.systems import now
from flows.serve.web.rights import Grant, Role
from tasks.ledger import (
    CycleEnd,
    CycleKind,
    CycleState,
    Escrow,
    Known,
    Ledger,
    LogAction,
    LogEntry,
    LogStatus,
    Pause,
    Staged,
)
from tests.flows.web.worlds import Asked, pages_of

FEW, MANY = 5, 50
NAMES = ("Dagmar Holm", "Omar Said", "Nina Falk")
GROUP = "sales"


def fill(ledger: Ledger, jobs: int, today: datetime) -> None:
    """Every job has people; each fifth one a group, something that waits, something that fails, a cycle that runs."""
    for number in range(jobs):
        job, began = f"job-{number:03}", today - timedelta(days=9)
        cycle = ledger.begin_cycle(job, CycleKind.INITIAL, fingerprint="f", now=began)
        people = [f"{place:03}" for place in range(len(NAMES))]
        frame = pd.DataFrame({"target_id": [f"{job}-{one}" for one in people], "label": NAMES, "how": "created"})
        frame.index = pd.Index(people, dtype="str")
        ledger.put_links(job, Kind.USER, frame.astype("str"), cycle_id=cycle.id, now=began)
        known = [
            Known(Kind.USER, one, name, f"{one}@x.example", {"department": "Legal"})
            for one, name in zip(people, NAMES, strict=True)
        ]
        ledger.directory.put(job, [*known, *([] if number % 5 else [Known(Kind.GROUP, GROUP, "Sales")])])
        if number % 5:
            continue
        made = LogEntry(Kind.USER, LogAction.CREATE, LogStatus.SUCCESS, "000", label=NAMES[0])
        gone = replace(made, anchor="gone", label="Gone Away")
        ledger.log_entries(
            cycle, [*(replace(made, anchor=one, target_id=f"{job}-{one}") for one in people), gone], now=began
        )
        ledger.put_staged(job, [Staged(Kind.USER, Action.DISABLE, "001", began, cycle.id, "Too many.", label=NAMES[1])])
        ledger.put_escrows(job, [Escrow(Kind.USER, "002", began, today, 9, "Taken.", ErrorCode.CONFLICT)])
        end = CycleEnd(CycleState.STAGED, {"created": 3}, now=began, message="", source="HR", target=f"App {number}")
        ledger.end_cycle(cycle, end)
        ledger.pause(job, Pause(began, "otto", ""))
        ledger.begin_cycle(job, CycleKind.ON_DEMAND, fingerprint="f", now=today)


@contextmanager
def counted(ledger: Ledger) -> Iterator[list[str]]:
    """The statements that are sent while the block lasts."""
    sent: list[str] = []

    def note(connection: object, cursor: object, statement: str, *more: object) -> None:
        del connection, cursor, more
        sent.append(statement)

    engines = {ledger._database.engine, ledger._database._writer}
    for engine in engines:
        event.listen(engine, "before_cursor_execute", note)
    try:
        yield sent
    finally:
        for engine in engines:
            event.remove(engine, "before_cursor_execute", note)


@pytest.fixture(scope="module")
def companies(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[int, Asked]]:
    """The same company with few jobs and with many."""
    place = tmp_path_factory.mktemp("companies")
    found: dict[int, Asked] = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PROVISOR_HOME", str(place / "state"))
        patch.delenv("PREFECT_API_URL", raising=False)
        with ExitStack() as stack:
            for jobs in (FEW, MANY):
                folder = place / str(jobs)
                ledger = stack.enter_context(Ledger.open(None, folder / "state"))
                fill(ledger, jobs, now())
                found[jobs] = stack.enter_context(pages_of(ledger, folder, {"otto": Grant(Role.APPROVER)}))
            yield found


@pytest.mark.parametrize(
    "address",
    [
        "/",
        "/search?q=holm",
        "/search?q=holm+dagmar",
        "/search?q=gone+away",
        "/search?q=xyzzy",
        "/people/job-000/001",
        "/groups/job-000/sales",
        "/approvals",
        "/access",
        "/access?who=dagmar",
        "/access?who=gone",
        "/access?group=sales",
        "/access?group=Sales&who=holm&department=Legal",
        "/access?state=unmanaged",
        "/access?at={ago}",
        "/access?at={ago}&who=dagmar&group=sales",
        "/access.csv?who=dagmar",
        "/access.csv?at={ago}",
        "/jobs/job-000",
        "/metrics",
    ],
)
def test_a_page_needs_no_more_statements_for_more_jobs(companies: dict[int, Asked], address: str) -> None:
    """Whatever the number of jobs that somebody may see."""
    ago = f"{now() - timedelta(days=5):%Y-%m-%d}"
    sent: dict[int, list[str]] = {}
    for jobs, company in companies.items():
        with counted(company.ledger) as sent[jobs]:
            company.visitors["otto"].get(address.format(ago=ago)).raise_for_status()
    assert len(sent[MANY]) == len(sent[FEW]), _grown(sent[MANY])


def _grown(sent: list[str]) -> list[tuple[int, str]]:
    """What is sent most often."""
    return sorted(((sent.count(one), one[:150]) for one in set(sent)), reverse=True)[:5]
