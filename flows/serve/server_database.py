"""Keeps a Prefect server on SQLite from standing still, and its clients from being refused; loaded by those we start.

Prefect begins most transactions as readers. One that has read and then wants to write, while another one has written,
is refused at once, and so is the request it belongs to. Here every transaction begins as a writer: they queue instead.

In Python 3.11 a cursor whose statement failed keeps the statement. SQLAlchemy forgets such a cursor unclosed, so it
ends whenever its traceback does, in the thread of the server's event loop, and that has to wait for the connection.
When the connection meanwhile waits for a write lock, and the holder of that lock waits for the event loop, both wait
until SQLite gives up after the 60 s that Prefect allows. Here a cursor is closed as soon as its statement fails, in the
thread that asked.

Source: SQLite, "Transaction" (BEGIN IMMEDIATE).
"""

import sqlite3
from functools import partial
from typing import Any


class _Cursor(sqlite3.Cursor):
    def execute(self, statement: str, *words: Any) -> "_Cursor":
        try:
            super().execute("BEGIN IMMEDIATE" if statement == "BEGIN DEFERRED" else statement, *words)
        except sqlite3.Error:
            self.close()
            raise
        return self

    def executemany(self, *words: Any) -> "_Cursor":
        try:
            super().executemany(*words)
        except sqlite3.Error:
            self.close()
            raise
        return self


class _Connection(sqlite3.Connection):
    def cursor(self, factory: Any = _Cursor) -> Any:
        return super().cursor(factory)


def let_writers_queue() -> None:
    """From now on, for every connection that this process makes to SQLite."""
    sqlite3.connect = partial(sqlite3.connect, factory=_Connection)  # type: ignore[assignment]
