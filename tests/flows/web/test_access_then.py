"""Who had access on a date: who was matched and deleted, what was forgotten, and what nobody can know."""

import csv
import io
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import pandas as pd
import pytest
from rich.console import Console

from connectors.contract import Action, Change, Kind, Outcome, Status
from flows.cycle.systems import now
from flows.serve.web.rights import Grant, Role
from flows.show.access import AccessQuestion, show_access
from tasks.ledger import AccountFilters, CycleEnd, CycleKind, CycleState, Ledger, LogAction, LogEntry, LogStatus
from tests.flows.web.worlds import Asking, pages_of

JOB = "hr-to-scim"


@dataclass(slots=True)
class Past:
    """A ledger whose cycles ran some days ago, and somebody who looks at it."""

    ledger: Ledger
    vera: Asking
    today: datetime

    def before(self, days: int) -> datetime:
        """That many days ago."""
        return self.today - timedelta(days=days)

    def cycle(self, days: int, *lines: tuple[LogAction, str, str], job: str = JOB) -> int:
        """A cycle that did this: what, with whom, to which account."""
        when, ledger = self.before(days), self.ledger
        cycle = ledger.begin_cycle(job, CycleKind.INCREMENTAL, fingerprint="f1", now=when)
        entries = [
            LogEntry(Kind.USER, action, LogStatus.SUCCESS, who, target_id=id_, label=who) for action, who, id_ in lines
        ]
        ledger.log_entries(cycle, entries, now=when)
        end = CycleEnd(
            CycleState.DONE, {"updated": len(lines)}, now=when, message="", source="HR export", target="Intranet"
        )
        ledger.end_cycle(cycle, end)
        return cycle.id

    def link(self, days: int, cycle: int, **ids: str) -> None:
        """Accounts that entries have since then."""
        frame = pd.DataFrame({"target_id": [*ids.values()], "label": [*ids], "how": "matched"}, dtype="str")
        frame.index = pd.Index([*ids], dtype="str")
        self.ledger.put_links(JOB, Kind.USER, frame, cycle_id=cycle, now=self.before(days))

    def delete(self, days: int, who: str, id_: str) -> None:
        """A cycle that deletes an account, as a load does it."""
        when, ledger = self.before(days), self.ledger
        cycle = ledger.begin_cycle(JOB, CycleKind.INCREMENTAL, fingerprint="f1", now=when)
        change = Change(f"{cycle.id:08d}-1", Kind.USER, Action.DELETE, who, id_)
        line = LogEntry(Kind.USER, LogAction.DELETE, LogStatus.SUCCESS, who, target_id=id_, change_id=change.id)
        ledger.journal(cycle, [change], when)
        ledger.record(cycle, [change], [Outcome(change.id, Status.DONE, id_)], now=when, log=[line])
        ledger.end_cycle(cycle, CycleEnd(CycleState.DONE, {"deleted": 1}, now=when, message=""))

    def rows(self, days: int, more: str = "") -> list[list[str]]:
        """The export of a day: the question, and the rows."""
        text = self.vera.get(f"/access.csv?at={self.before(days).date()}{more}").text
        return list(csv.reader(io.StringIO(text)))

    def had(self, days: int) -> dict[str, tuple[str, str]]:
        """Id and state by key."""
        return {row[5]: (row[6], row[7]) for row in self.rows(days)[2:]}

    def page(self, days: int, more: str = "") -> str:
        """The page of a day."""
        return self.vera.get(f"/access?at={self.before(days).date()}{more}").text


@pytest.fixture
def past(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Past]:
    """An empty one."""
    monkeypatch.setenv("PROVISOR_HOME", str(tmp_path / "state"))
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    with (
        Ledger.open(None, tmp_path / "state") as ledger,
        pages_of(ledger, tmp_path, {"vera": Grant(Role.VIEWER)}) as pages,
    ):
        yield Past(ledger, pages.visitors["vera"], now())


def test_a_matched_account_that_was_deleted_was_there(past: Past) -> None:
    """No line tells of the match: the deletion shows that there was an account. A second account has its own id."""
    first = past.cycle(40)
    past.link(40, first, left="L1", back="B1")
    past.cycle(10, (LogAction.DELETE, "left", "L1"), (LogAction.DELETE, "back", "B1"))
    past.ledger.drop_links(JOB, Kind.USER, ["left", "back"])
    later = past.cycle(5, (LogAction.CREATE, "back", "B2"))
    past.link(5, later, back="B2")
    assert past.had(30) == {"left": ("L1", "active"), "back": ("B1", "active")}
    assert past.had(8) == {}
    assert past.had(3) == {"back": ("B2", "active")}
    assert "are those of today" in past.rows(30)[0][0]
    assert "are those of today" in past.page(30)


@pytest.mark.parametrize("first", ["disabled first", "at once"])
def test_a_matched_account_that_was_deleted_was_not_there_before_it_was_matched(past: Past, first: str) -> None:
    """The log begins sixty days ago, the match was forty days ago: the line of the deletion knows it."""
    past.cycle(60, (LogAction.CREATE, "stays", "S"))
    past.link(60, 1, stays="S")
    past.link(40, past.cycle(40), left="L")
    if first == "disabled first":
        past.cycle(20, (LogAction.DISABLE, "left", "L"))
    past.delete(10, "left", "L")
    assert past.had(50) == {"stays": ("S", "active")}
    assert past.had(30) == {"stays": ("S", "active"), "left": ("L", "active")}
    assert past.had(15)["left"] == ("L", "disabled" if first == "disabled first" else "active")
    assert past.had(5) == {"stays": ("S", "active")}


def test_what_was_forgotten_is_not_known(past: Past) -> None:
    """A date before the lines that are left has no answer, on the page, in exports and in the shell."""
    first = past.cycle(400, (LogAction.CREATE, "stays", "S"), (LogAction.CREATE, "left", "L"))
    past.link(400, first, stays="S")
    past.cycle(300, (LogAction.DISABLE, "stays", "S"), (LogAction.DISABLE, "left", "L"))
    past.cycle(250, (LogAction.ENABLE, "stays", "S"))
    past.cycle(100, (LogAction.DELETE, "left", "L"))
    assert past.had(280) == {"stays": ("S", "disabled"), "left": ("L", "disabled")}

    past.ledger.forget_log(JOB, before=past.before(200), at_most=1_000)
    assert past.had(280) == {}
    begins = f"its log begins on {past.before(250):%Y-%m-%d}"
    assert begins in past.rows(280)[0][0]
    assert begins in past.page(280)
    assert past.vera.get(f"/access.xlsx?at={past.before(280).date()}").status_code == 200
    shell = Console(file=io.StringIO(), width=200)
    show_access(shell, past.ledger, AccessQuestion([JOB], AccountFilters(), past.before(280)), limit=None)
    assert begins in shell.file.getvalue()  # type: ignore[attr-defined]
    assert "Nobody" not in shell.file.getvalue()  # type: ignore[attr-defined]

    # Deleted since: there was an account, and the line that disabled it is forgotten.
    assert past.had(150) == {"stays": ("S", "active"), "left": ("L", "not known")}
    assert "not known: the log begins later" in past.page(150)
    assert "0 disabled; 1 whose state is not known" in past.page(150)


def test_a_job_that_began_later_counts_nobody(past: Past) -> None:
    """Its figures are not known, and no zero; nor is who was in a group of which no desired state is kept."""
    past.link(40, past.cycle(40), stays="S")
    past.cycle(1, job="later")
    page = past.page(10)
    assert "Unknown for later: its log begins on" in page
    assert page.count("<span>unknown</span>") == 2
    grouped = past.page(10, f"&job={JOB}&group=Engineering")
    assert f"Members of the group are not known for {JOB}: no desired state of then is kept." in grouped
    assert "Nobody has such an account" not in grouped
