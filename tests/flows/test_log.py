"""``provisor log``: what can be asked, and what comes out as table, JSON and CSV that joins."""

import csv
import io
import json
import os
import stat
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from connectors.contract import Kind
from connectors.errors import ErrorCode
from flows.cycle.systems import open_ledger
from flows.serve.web.spreadsheet import csv_lines
from flows.show.log import FILES, MomentError, export_csv, parse_moment, safe_cell, write_csv, write_json
from tasks.job import JobError, load_job
from tasks.ledger import CycleEnd, CycleKind, CycleState, Ledger, LogAction, LogEntry, LogStatus, Modified
from tasks.printable import printable
from tests.flows.workplace import Said, Workplace

NOW = datetime(2026, 3, 10, 12, tzinfo=UTC)
DANGEROUS = [
    "=cmd|' /C calc'!A0",
    "+1+1",
    "-2+3",
    "@SUM(A1)",
    "\t=1",
    "\r=1",
    "\n=1",
    "\uff1d1",
    " =1",
    "\xa0+1",
    "\u3000@1",
]


@pytest.mark.parametrize(
    ("text", "end", "moment"),
    [
        ("24h", False, datetime(2026, 3, 9, 12, tzinfo=UTC)),
        ("30d", False, NOW - timedelta(days=30)),
        ("90m", True, NOW - timedelta(minutes=90)),
        ("2026-03-01", False, datetime(2026, 3, 1, tzinfo=UTC)),
        ("2026-03-01", True, datetime(2026, 3, 2, tzinfo=UTC)),
        ("2026-03-01T08:00:00", False, datetime(2026, 3, 1, 8, tzinfo=UTC)),
        ("2026-03-01T08:00:00+02:00", True, datetime(2026, 3, 1, 6, tzinfo=UTC)),
    ],
)
def test_moments_are_lengths_dates_or_moments(text: str, end: bool, moment: datetime) -> None:
    """So long ago; a day from its beginning or to its end; UTC unless said otherwise."""
    assert parse_moment(text, now=NOW, end=end) == moment


@pytest.mark.parametrize("text", ["yesterday", "", "30", "2026-13-01", "99999999999d", "-1d"])
def test_what_is_no_moment_is_said(text: str) -> None:
    """Nobody gets the wrong lines because of a typing error."""
    with pytest.raises(MomentError, match="no length of time"):
        parse_moment(text, now=NOW)


@pytest.fixture
def ledger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Ledger]:
    """The ledger that the command opens, with nothing in it."""
    monkeypatch.setenv("PROVISOR_HOME", str(tmp_path / "state"))
    with open_ledger() as ledger:
        yield ledger


def fill(ledger: Ledger, *entries: LogEntry) -> None:
    """One ended cycle of the job hr, with these lines."""
    cycle = ledger.begin_cycle("hr", CycleKind.INITIAL, fingerprint="f", now=NOW, initiator="eve@laptop")
    ledger.log_entries(cycle, entries, now=NOW)
    ledger.end_cycle(
        cycle, CycleEnd(CycleState.DONE, {}, message="", now=NOW, source="csv people.csv", target="scim here")
    )


def failed(anchor: str, **fields: Any) -> LogEntry:
    """A create that was refused."""
    values = {"label": f"{anchor}@example.com", "code": ErrorCode.CONFLICT, "message": "taken", "change_id": "c-1"}
    return LogEntry(Kind.USER, LogAction.CREATE, LogStatus.FAILURE, anchor, **(values | fields))


def rows(folder: Path, name: str) -> list[dict[str, str]]:
    """One file of an export."""
    with (folder / name).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_three_files_join(ledger: Ledger, tmp_path: Path, provisor: Callable[..., Said]) -> None:
    """Every line is in log.csv once; its steps and modified properties find it by log_id, and by the change's id."""
    modified = [Modified("title", None, "Clerk"), Modified("count", 3, -4), Modified("roles", ["a"], ["a", "b"])]
    fill(ledger, failed("a1", modified=modified, duration_ms=12), failed("a2", code=None, change_id=None))
    folder = tmp_path / "export"
    said = provisor("log", "hr", "--out", folder)
    assert said.out == f"2 lines written to {folder}.\n"
    assert sorted(path.name for path in folder.iterdir()) == sorted(FILES)
    second, first = rows(folder, "log.csv")
    assert (first["anchor"], first["code"], first["category"], first["duration_ms"]) == ("a1", "Conflict", "data", "12")
    assert first["advice"].startswith("Find the account that has the value.")
    assert (first["initiator"], first["source"], first["target"]) == ("eve@laptop", "csv people.csv", "scim here")
    assert (second["code"], second["advice"]) == ("", "")
    changed = [
        (row["log_id"], row["change_id"], row["name"], row["old"], row["new"]) for row in rows(folder, "modified.csv")
    ]
    assert changed == [
        (first["id"], "c-1", "title", "", "Clerk"),
        (first["id"], "c-1", "count", "3", "-4"),
        (first["id"], "c-1", "roles", '["a"]', '["a","b"]'),
    ]
    steps = [
        (row["number"], row["step"], row["status"]) for row in rows(folder, "steps.csv") if row["log_id"] == first["id"]
    ]
    assert steps == [
        ("1", "import", "success"),
        ("2", "scoping", "success"),
        ("3", "matching", "success"),
        ("4", "export", "failure"),
    ]


def test_no_cell_is_a_formula_and_numbers_stay_numbers(ledger: Ledger, tmp_path: Path) -> None:
    """Whoever controls a name in the HR system does not run anything in the spreadsheet of whoever reads the log."""
    fill(
        ledger,
        *(
            failed(text, label=text, reason=text, message=text, modified=[Modified(text, text, [text])], target_id=text)
            for text in DANGEROUS
        ),
        failed("number", modified=[Modified("n", -1, -2.5), Modified("b", True, None)]),
    )
    export_csv(tmp_path / "out", ledger.log_chunks("hr"))
    whole = io.StringIO(newline="")
    write_csv(whole, ledger.log_chunks("hr"))
    tables = [(tmp_path / "out" / name).read_bytes().decode() for name in FILES]
    numbers = {"-1", "-2.5"}
    for table in [*tables, whole.getvalue()]:
        cells = [cell for row in csv.reader(io.StringIO(table, newline="")) for cell in row]
        assert not [
            cell
            for cell in cells
            if cell.lstrip().startswith(tuple(text.lstrip()[0] for text in DANGEROUS)) and cell not in numbers
        ]
    found = {cell for row in csv.reader(io.StringIO(tables[0], newline="")) for cell in row}
    seen = set(map(printable, DANGEROUS))
    assert {f"'{text}" for text in seen if not text.startswith("\\")} <= found
    assert {r"\t=1", r"\r=1", r"\n=1"} <= found  # spelled, a cell of these begins with no formula and no line
    changed = {(row["name"], row["old"], row["new"]) for row in rows(tmp_path / "out", "modified.csv")}
    assert {("n", "-1", "-2.5"), ("b", "true", "")} <= changed


@pytest.mark.parametrize(
    "text",
    [
        *(
            f"{before}{sign}1"
            for before in ("", " ", "\u00a0", '"', ' "', "a;", "a; ", 'a;"', "a;;")
            for sign in "=+-@"
        ),
        "a;\t=1",
        "\t=1",
        "\r=1",
        "a;\uff1d1",
    ],
)
def test_no_cell_is_a_formula_where_semicolons_part_cells(text: str) -> None:
    """Excel in most of Europe reads a table of commas so: quotes within a line mean nothing to it."""
    (line,) = csv_lines([("one", text, [text])])
    cells = [cell.strip(' "\u00a0') for part in line.rstrip("\r\n").split(",") for cell in part.split(";")]
    assert not [cell for cell in cells if cell.startswith(("=", "+", "-", "@", "\t", "\r", "\uff1d"))], line
    assert [safe_cell(cell) for cell in next(csv.reader([line]))] == next(csv.reader([line]))  # once is enough


def test_an_export_is_for_its_owner_and_complete_or_not_there(ledger: Ledger, tmp_path: Path) -> None:
    """Modes 0700 and 0600 whatever the umask says; one that fails half-way leaves the last one as it was."""
    fill(ledger, failed("a1"))
    folder = tmp_path / "export"
    before = os.umask(0)
    try:
        export_csv(folder, ledger.log_chunks("hr"))
    finally:
        os.umask(before)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {0o600}
    kept = {path.name: path.read_bytes() for path in folder.iterdir()}

    def half() -> Iterator[list[Any]]:
        yield next(iter(ledger.log_chunks("hr")))
        raise OSError("the disk is full")

    with pytest.raises(OSError, match="full"):
        export_csv(folder, half())
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == kept


def test_json_is_one_document_of_whole_records(ledger: Ledger, provisor: Callable[..., Said]) -> None:
    """Everything about a line is in it, also what is not stored; an empty log is an empty list."""
    fill(ledger)
    assert provisor("log", "hr", "--format", "json").document == []
    fill(ledger, *(failed(f"a{number}") for number in range(150)))
    records = provisor("log", "hr", "--format", "json").document
    assert [record["anchor"] for record in records] == [f"a{number}" for number in reversed(range(150))]
    assert set(records[0]) == {*FILES["log.csv"], "modified", "steps"}
    assert records[0]["steps"][-1] == {"step": "export", "status": "failure", "detail": "Conflict taken"}
    stream = io.BytesIO()
    chunks = next(iter(ledger.log_chunks("hr")))
    write_json(stream, [chunks[:70], chunks[70:]])
    assert json.loads(stream.getvalue()) == records


def test_the_table_is_short_and_ends_with_advice(ledger: Ledger, provisor: Callable[..., Said]) -> None:
    """A hundred lines unless asked for more; each code in it once, with what to do about it."""
    fill(ledger, *(failed(f"a{number}") for number in range(150)))
    said = provisor("log", "hr").out
    assert said.count("@example.com") == 100
    assert said.count("Conflict: Find the account") == 1
    assert provisor("log", "hr", "--limit", "120").out.count("@example.com") == 120


def test_the_command_filters(ledger: Ledger, provisor: Callable[..., Said]) -> None:
    """By code, change and time, alone and together; what cannot be meant is status 2."""
    fill(ledger, failed("a1"), failed("a2", code=ErrorCode.TIMEOUT, change_id="c-2"))

    def anchors(*words: str) -> list[str]:
        return [line["anchor"] for line in provisor("log", "hr", "--format", "json", *words).document]

    assert anchors("--code", "conflict") == ["a1"]
    assert anchors("--change", "c-2") == ["a2"]
    assert anchors("--since", "2026-03-10", "--until", "2026-03-10") == ["a2", "a1"]
    assert anchors("--until", "2026-03-09") == []
    assert anchors("--since", "2026-03-10T12:00:01Z") == []
    assert anchors("--since", "2026-03-10", "--code", "Timeout", "--change", "c-2") == ["a2"]
    assert provisor("log", "hr", "--since", "soon").status == 2
    assert provisor("log", "hr", "--code", "Nonsense").status == 2
    assert provisor("log", "hr", "--out", "x", "--format", "json").status == 2


def test_how_long_the_log_is_kept_is_checked(workplace: Workplace) -> None:
    """For ever without the setting; shorter than the guards look back is refused."""
    assert load_job(workplace.job).log.keep is None
    assert load_job(workplace.save(log={"keep": "365d"}).job).log.keep == timedelta(days=365)
    with pytest.raises(JobError, match="keep 7d or more"):
        load_job(workplace.save(log={"keep": "6d"}).job)
