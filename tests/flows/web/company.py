"""A company with four jobs, as its ledger would have them: something waits, something fails, something stands still."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import orjson
import pandas as pd

from connectors.contract import Action, Kind
from connectors.errors import ErrorCode
from tasks.ledger import (
    Cycle,
    CycleEnd,
    CycleKind,
    CycleState,
    Escrow,
    Known,
    Ledger,
    LogAction,
    LogEntry,
    LogStatus,
    Modified,
    Pause,
    Quarantine,
    Staged,
)

PEOPLE = (
    ("000001", "מיכאל כהן", "michael.cohen", "Engineering"),
    ("000002", "Östen Öberg", "osten.oberg", "Legal"),
    ("000003", "Siobhán O'Brien", "siobhan.obrien", "Legal"),
    ("000004", "Dagmar Holm", "dagmar.holm", "Marketing"),
    ("000005", "<b onmouseover=alert(1)>Bold</b>", "bold.tables", "Engineering"),
    ("000006", "[click](https://evil.example) *x*", "mark.down", "Engineering"),
    ("000007", "Con\u0007trol\u202eNam\u0000e", "control.name", "Engineering"),
    ("=1+1", "=HYPERLINK(A1)", "formula.name", "Finance"),
)
JOBS = ("hr-to-scim", "hr-to-slack", "sql-to-scim", "contractors")
GUARD = "Disabling 4 of 8 users is more than the limit of 2: 4 are gone from the source."


def write_jobs(folder: Path, url: str = "http://127.0.0.1:9/v2") -> None:
    """The job files of the company."""
    (folder / "people.csv").write_text("employeeId,mail\n")
    for name in JOBS:
        document = {
            "name": name,
            "source": {"connector": "csv", "users": {"path": "people.csv", "key": "employeeId"}},
            "target": {"connector": "scim", "url": url, "auth": {"bearer": "${env:SCIM_TOKEN}"}},
            "users": {
                "scope": [[{"attribute": "department", "operator": "EQUALS", "value": "Legal"}]],
                "matching": [{"source": "[mail]", "target": "userName"}],
                "attributes": {"userName": "[mail]", "displayName": "[name]"},
            },
            "deprovision": {"delete_after": "30d"},
            "schedule": {"every": "20m"},
        }
        (folder / f"{name}.yaml").write_bytes(orjson.dumps(document))


def found_company(ledger: Ledger, now: datetime, *, people: int = 0) -> None:
    """Writes everything into an empty ledger; ``people``: so many more, who have nothing special about them."""
    everybody = [
        *PEOPLE,
        *((f"{number:06}", f"Person {number}", f"p{number}", "Sales") for number in range(10, 10 + people)),
    ]
    for job in JOBS:
        _first_cycle(ledger, job, everybody, now - timedelta(days=40))
    _held(ledger, now - timedelta(hours=1))
    _failing(ledger, now - timedelta(minutes=30))
    ledger.put_quarantine(
        "sql-to-scim",
        Quarantine(
            "auth", "The target refuses the token (401).", now, now - timedelta(hours=2), 3, now + timedelta(hours=4)
        ),
    )
    ledger.pause("contractors", Pause(now - timedelta(days=2), "jonas.weber", "domain move"))


def _first_cycle(ledger: Ledger, job: str, everybody: Sequence[tuple[str, str, str, str]], now: datetime) -> None:
    cycle = ledger.begin_cycle(job, CycleKind.INITIAL, fingerprint="f1", now=now, initiator="jonas@shell")
    anchors = pd.Index([one[0] for one in everybody], dtype="str")
    frame = pd.DataFrame(
        {
            "target_id": [f"id-{job}-{one[0]}" for one in everybody],
            "label": [f"{one[2]}@example.com" for one in everybody],
            "how": "created",
        },
        index=anchors,
        dtype="str",
    )
    ledger.put_links(job, Kind.USER, frame, cycle_id=cycle.id, now=now)
    ledger.log_entries(cycle, [_created(job, one) for one in everybody], now=now)
    ledger.directory.put(job, [_known(one) for one in everybody])
    _end(ledger, cycle, CycleState.DONE, {"created": len(everybody)}, now, len(everybody))


def _known(one: tuple[str, str, str, str]) -> Known:
    anchor, name, login, department = one
    details = {"department": department, "title": "Analyst", "place": "Leipzig"}
    return Known(Kind.USER, anchor, name, f"{login}@example.com", details, "000004" if anchor < "000004" else "")


def _created(job: str, one: tuple[str, str, str, str]) -> LogEntry:
    anchor, name, login, _ = one
    return LogEntry(
        Kind.USER,
        LogAction.CREATE,
        LogStatus.SUCCESS,
        anchor,
        target_id=f"id-{job}-{anchor}",
        label=f"{login}@example.com",
        reason="in scope, and no account of the target matches",
        modified=[Modified("displayName", None, name), Modified("title", None, "Analyst")],
    )


def _held(ledger: Ledger, now: datetime) -> None:
    cycle = ledger.begin_cycle("hr-to-scim", CycleKind.INCREMENTAL, fingerprint="f1", now=now, initiator="schedule")
    leavers = PEOPLE[:4]
    ledger.put_staged("hr-to-scim", [_staged(cycle, one, now) for one in leavers])
    lines = [
        LogEntry(
            Kind.USER, LogAction.STAGED_DISABLE, LogStatus.SKIPPED, one[0], label=f"{one[2]}@example.com", reason=GUARD
        )
        for one in leavers
    ]
    changed = LogEntry(
        Kind.USER,
        LogAction.UPDATE,
        LogStatus.SUCCESS,
        "000005",
        label="bold.tables@example.com",
        reason="changed in the source",
        modified=[Modified("title", "Analyst", "<script>alert(1)</script>")],
    )
    ledger.log_entries(cycle, [*lines, changed], now=now)
    _end(ledger, cycle, CycleState.STAGED, {"updated": 1, "staged": 4}, now, 4)


def _staged(cycle: Cycle, one: tuple[str, str, str, str], now: datetime) -> Staged:
    return Staged(
        Kind.USER,
        Action.DISABLE,
        one[0],
        now,
        cycle.id,
        GUARD,
        target_id=f"id-hr-to-scim-{one[0]}",
        label=f"{one[2]}@example.com",
    )


def _failing(ledger: Ledger, now: datetime) -> None:
    cycle = ledger.begin_cycle("hr-to-slack", CycleKind.INCREMENTAL, fingerprint="f2", now=now, initiator="schedule")
    message = "Slack takes no title while the profile is being edited."
    failed = LogEntry(
        Kind.USER,
        LogAction.UPDATE,
        LogStatus.FAILURE,
        "000004",
        label="dagmar.holm@example.com",
        reason="changed in the source",
        code=ErrorCode.CONFLICT,
        message=message,
    )
    ledger.log_entries(cycle, [failed], now=now)
    escrow = Escrow(
        Kind.USER, "000004", now - timedelta(days=1), now + timedelta(hours=1), 4, message, ErrorCode.CONFLICT
    )
    ledger.put_escrows("hr-to-slack", [replace(escrow, label="dagmar.holm@example.com")])
    _end(ledger, cycle, CycleState.DONE_WITH_FAILURES, {"failed": 1}, now, 8)


def _end(ledger: Ledger, cycle: Cycle, state: CycleState, counts: dict[str, int], now: datetime, source: int) -> None:
    names = {"hr-to-scim": "Intranet", "hr-to-slack": "Slack", "sql-to-scim": "Maintenance app"}
    end = CycleEnd(
        state,
        counts,
        message="Done.",
        now=now + timedelta(seconds=9),
        source_count=source,
        target_count=8,
        source="HR export",
        target=names.get(cycle.job, "AD"),
    )
    ledger.end_cycle(cycle, end)
