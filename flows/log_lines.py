"""Logs: one line of the log is one thing that happened, whatever a name or an answer contains.

It holds for every logger of the process, Prefect's and those of libraries too: the records themselves are made so.
"""

import logging
import traceback

from tasks.printable import printable, printable_lines

_INDENT = "  "


class OneLine(logging.LogRecord):
    """A record whose message is printable and on one line; a traceback follows indented."""

    def getMessage(self) -> str:  # noqa: N802 (the library calls it so)
        """The message with its arguments."""
        return printable(super().getMessage())


def _record(
    name: str,
    level: int,
    pathname: str,
    lineno: int,
    msg: object,
    args: object,
    exc_info: object,
    func: str | None = None,
    sinfo: str | None = None,
    **more: object,
) -> OneLine:
    record = OneLine(name, level, pathname, lineno, msg, args, exc_info, func, sinfo, **more)  # type: ignore[arg-type]
    if record.exc_info and record.exc_info[0] is not None:
        told = "".join(traceback.format_exception(*record.exc_info)).rstrip("\n")
        record.exc_text = printable_lines(told, indent=_INDENT)  # formatters take what is there
    return record


def keep_lines_apart() -> None:
    """Makes every record of this process from now on."""
    logging.setLogRecordFactory(_record)
