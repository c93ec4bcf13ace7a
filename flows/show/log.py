"""``provisor log``: the provisioning log as a table, as one JSON document, or as CSV files that join.

What is not stored is added when a line is read: the advice for its code and the steps its entry went through.
"""

import csv
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Any, BinaryIO, Protocol, TextIO

import orjson
from pydantic import TypeAdapter, ValidationError
from rich.markup import escape
from rich.padding import Padding

from connectors.contract import short_path
from connectors.errors import ProvisorError
from flows.show.console import Terminal
from flows.show.json_out import JsonOut
from flows.show.plan import show_table, table
from tasks.advice import advice_for
from tasks.job.values import Duration
from tasks.ledger import LogLine
from tasks.printable import printable
from tasks.private import make_file, make_folder
from tasks.steps import steps_of

_COLOURS = {"success": "green", "failure": "red", "skipped": "yellow", "warning": "yellow"}
LOG_COLUMNS = (
    "id",
    "time",
    "job",
    "cycle",
    "change_id",
    "action",
    "status",
    "duration_ms",
    "kind",
    "label",
    "anchor",
    "target_id",
    "initiator",
    "source",
    "target",
    "reason",
    "code",
    "category",
    "message",
    "advice",
)
_STEP = ("log_id", "change_id", "number", "step", "status", "detail")
_MODIFIED = ("log_id", "change_id", "name", "old", "new")
FILES = {"log.csv": LOG_COLUMNS, "steps.csv": _STEP, "modified.csv": _MODIFIED}
"""The files of an export and their columns; ``id`` of the first is ``log_id`` of the others."""

_LENGTH: TypeAdapter[timedelta] = TypeAdapter(Duration)
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")
"""What a spreadsheet takes for the beginning of a formula, also in full width. Source: OWASP, CSV injection."""

_LEFT_OUT = re.compile(r"^[\s\"]+")
"""What a spreadsheet may leave out of a cell's beginning."""

Chunks = Iterable[list[LogLine]]

NARROW = 110
"""Columns below which a terminal shows records: six columns would collapse."""


class MomentError(ProvisorError):
    """A moment on the command line that cannot be read."""


def parse_moment(text: str | None, *, now: datetime, end: bool = False) -> datetime | None:
    """``24h``, ``30d``: so long ago; a date: its beginning, or its ``end``; else a moment. UTC where no zone is given.

    Raises: MomentError.
    """
    if text is None:
        return None
    try:
        return now - _LENGTH.validate_python(text)
    except (ValidationError, OverflowError):
        pass
    try:
        if len(text) == len("2026-01-31"):
            return datetime.combine(date.fromisoformat(text) + timedelta(days=end), time(), UTC)
        moment = datetime.fromisoformat(text)
    except (ValueError, OverflowError):
        raise MomentError(
            f"{text} is no length of time like 24h or 30d, no date like 2026-01-31, and no moment like "
            "2026-01-31T18:00:00Z."
        ) from None
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)


def record_of(line: LogLine) -> dict[str, Any]:
    """The whole record in plain values: what is stored, and what follows from it."""
    advice = advice_for(line.code)
    known = {name: getattr(line, name) for name in LOG_COLUMNS if name not in ("advice", "category")}
    return known | {
        "category": str(advice.category) if advice else None,
        "advice": advice.action if advice else None,
        "modified": line.modified,
        "steps": [{"step": step.name, "status": step.status, "detail": step.detail} for step in steps_of(line)],
    }


# --- for people ----------------------------------------------------------------------------------------------------


def show_log(out: Terminal, chunks: Chunks) -> None:
    """The lines, the newest first: as a table, as records in a narrow terminal; below it what to do about the codes."""
    lines = [line for chunk in chunks for line in chunk]
    if not lines:
        out.print("No matching lines in the log.")
        return
    if out.is_terminal and out.width < NARROW:
        for line in lines:
            time, cycle, action, entry, status, reason = _cells(line)
            out.print(f"[bold]{time}[/] {status} {action} {entry}" + (f" [dim]cycle {cycle}[/]" if cycle else ""))
            out.print(Padding(f"[dim]{reason}[/]", (0, 0, 0, 4)))
    else:
        listing = table("time", "cycle", "action", "entry", "status", "why")
        for line in lines:
            listing.add_row(*_cells(line))
        show_table(out, listing)
    codes = {line.code for line in lines if line.code}
    for code in sorted(codes):
        advice = advice_for(code)
        if advice is not None:
            out.print(f"[bold]{escape(code)}[/]: {escape(advice.action)}")


def _cells(line: LogLine) -> tuple[str, str, str, str, str, str]:
    colour = _COLOURS.get(line.status, "default")
    cycle = "" if line.cycle is None else str(line.cycle)
    entry = escape(f"{line.kind} {line.label or line.anchor}")
    status = f"[{colour}]{line.status}[/]"
    return f"{line.time:%Y-%m-%d %H:%M:%S}", cycle, line.action, entry, status, escape(why(line))


def why(line: LogLine) -> str:
    """Reason, code, message and what was changed, in one text."""
    return " · ".join(text for text in (line.reason, line.code, line.message, _changed(line)) if text)


def _changed(line: LogLine) -> str:
    if line.action == "create":
        return ""  # everything
    names = [short_path(change["name"]) for change in line.modified or []]
    return f"changed {', '.join(names[:6])}{' …' if len(names) > 6 else ''}" if names else ""


# --- for machines --------------------------------------------------------------------------------------------------


def write_json(stream: JsonOut | BinaryIO, chunks: Chunks) -> None:
    """The records as one JSON document, written a chunk at a time."""
    stream.write(b"[")
    separator = b""
    for chunk in chunks:
        stream.write(separator + b",\n".join(orjson.dumps(record_of(line), default=str) for line in chunk))
        separator = b",\n"
    stream.write(b"]\n")


def write_csv(stream: TextIO, chunks: Chunks) -> None:
    """The lines alone, without their steps and modified properties, as one CSV table."""
    writer = csv.writer(stream)  # lines end with CR LF: with LF alone a CR inside of a cell would not be quoted
    writer.writerow(LOG_COLUMNS)
    for chunk in chunks:
        writer.writerows(line_row(line) for line in chunk)


def export_csv(folder: Path, chunks: Chunks) -> int:
    """Writes log, steps and modified properties as three files that join; gives how many lines.

    Files of these names that are there are replaced once all three are complete. Only their owner may read them.
    """
    make_folder(folder)
    count = 0
    with _replacing(folder) as (lines, steps, modified):
        for chunk in chunks:
            count += len(chunk)
            lines.writerows(map(line_row, chunk))
            steps.writerows(row for line in chunk for row in _step_rows(line))
            modified.writerows(row for line in chunk for row in _modified_rows(line))
    return count


class _Writer(Protocol):
    def writerows(self, rows: Iterable[Iterable[Any]]) -> None: ...


@contextmanager
def _replacing(folder: Path) -> Iterator[Sequence[_Writer]]:
    """Writers of the export's files, which get their names at the end when nothing went wrong."""
    unfinished = {folder / f"{name}.new": folder / name for name in FILES}
    try:
        with ExitStack() as stack:
            writers = []
            for path, columns in zip(unfinished, FILES.values(), strict=True):
                file = stack.enter_context(make_file(path).open("w", encoding="utf-8", newline=""))
                writer = csv.writer(file)
                writer.writerow(columns)
                writers.append(writer)
            yield writers
        for path, final in unfinished.items():
            path.replace(final)
    finally:
        for path in unfinished:
            path.unlink(missing_ok=True)


def line_row(line: LogLine) -> list[Any]:
    advice = advice_for(line.code)
    return [
        line.id,
        line.time.isoformat(),
        safe_cell(line.job),
        line.cycle,
        safe_cell(line.change_id),
        line.action,
        line.status,
        line.duration_ms,
        line.kind,
        safe_cell(line.label),
        safe_cell(line.anchor),
        safe_cell(line.target_id),
        safe_cell(line.initiator),
        safe_cell(line.source),
        safe_cell(line.target),
        safe_cell(line.reason),
        line.code,
        str(advice.category) if advice else None,
        safe_cell(line.message),
        advice.action if advice else None,
    ]


def _step_rows(line: LogLine) -> Iterator[list[Any]]:
    for number, step in enumerate(steps_of(line), start=1):
        yield [line.id, line.change_id, number, str(step.name), str(step.status), safe_cell(step.detail)]


def _modified_rows(line: LogLine) -> Iterator[list[Any]]:
    for change in line.modified or ():
        yield [line.id, line.change_id, safe_cell(change["name"]), safe_cell(change["old"]), safe_cell(change["new"])]


def safe_cell(value: Any) -> Any:
    """A value for a spreadsheet: numbers as they are, printable text, and none that would be taken for a formula.

    Programs that read a table may strip white space and quotes before they look. Where a semicolon is what parts lists,
    Excel begins a new cell after each one of a table whose cells are parted by commas, also within quotes.
    """
    if value is None or (isinstance(value, int | float) and not isinstance(value, bool)):
        return value
    text = printable(value if isinstance(value, str) else orjson.dumps(value, default=str).decode())
    return ";".join(f"'{part}" if _LEFT_OUT.sub("", part).startswith(_FORMULA) else part for part in text.split(";"))
