"""The database under the ledger: its address, its connections, its transactions, its migrations.

SQLite (the default) is one file in WAL mode: any number of readers beside one writer. PostgreSQL is for several
machines. Nothing above this module knows which one it talks to, except ``bulk.py``.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any

import orjson
from sqlalchemy import Connection, Engine, create_engine, event, text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError, SQLAlchemyError

from connectors.errors import SettingsError, UnreachableError
from tasks.ledger.copies import copies_of, copy_before
from tasks.ledger.migrations import HEAD, VERSION_TABLE
from tasks.ledger.records import LedgerError
from tasks.ledger.tables import SCHEMA
from tasks.private import make_file, make_folder

FILE = "ledger.sqlite"

SQLITE_PRAGMAS = (
    "PRAGMA busy_timeout = 60000",
    "PRAGMA auto_vacuum = INCREMENTAL",  # of a new file; before anything is written into it
    "PRAGMA journal_mode = WAL",
    "PRAGMA synchronous = NORMAL",
    "PRAGMA cache_size = -65536",
    # Pages of random keys are rewritten many times; a checkpoint every 32 MB instead of every 4 writes them less often.
    "PRAGMA wal_autocheckpoint = 8000",
)

_WRITING = {"ledger_begin": ("BEGIN IMMEDIATE",)}
# A transaction that must survive a power cut the moment it is committed: in WAL mode only FULL syncs every commit.
_DURABLE = {"ledger_begin": ("PRAGMA synchronous = FULL", "BEGIN IMMEDIATE")}


class Database:
    """Connections to the one database of a ledger; may be used by many threads at once."""

    def __init__(self, address: URL) -> None:
        self.sqlite = address.get_backend_name() == "sqlite"
        self.engine = engine = _sqlite(address) if self.sqlite else _postgresql(address)
        # On SQLite all threads write through one connection: what one connection writes empties the page cache of the
        # others, and four of them taking turns were slower than one.
        self._writer = _sqlite(address, pool_size=1, max_overflow=0) if self.sqlite else engine
        self.integrity_error: type[Exception] = engine.dialect.loaded_dbapi.IntegrityError
        # SQLite lets one writer in and makes the others poll; a lock hands over at once.
        self._one_writer: AbstractContextManager[Any] = threading.Lock() if self.sqlite else nullcontext()

    @classmethod
    def open(cls, url: str | None, home: Path) -> "Database":
        """Connect to the database, make it where there is none, and bring its tables up to date.

        Raises: SettingsError for an address that cannot be a ledger; UnreachableError when nobody answers; LedgerError
        when a newer Provisor has written it.
        """
        address = _address(url, home)
        if address.get_backend_name() == "sqlite":
            _make_private(Path(str(address.database)))
        database = cls(address)
        try:
            database._bring_up_to_date()
        except SQLAlchemyError as error:
            database.close()
            raise UnreachableError(f"The ledger at {_shown(address)} cannot be opened: {_said(error)}.") from None
        except BaseException:
            database.close()
            raise
        return database

    def close(self) -> None:
        """Let go of every connection; safe to call twice."""
        self._writer.dispose()
        self.engine.dispose()

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A connection to read with, seeing one moment on SQLite. Raises: LedgerError."""
        with self._said_plainly(), self.engine.connect() as connection:
            yield connection

    @contextmanager
    def writing(self, *, durable: bool = False) -> Iterator[Connection]:
        """One transaction, committed at the end of the block, gone when the block raises.

        Transactions always survive the death of the process. ``durable`` ones survive a power cut too; the others may
        lose their last moments to one on SQLite. Raises: LedgerError.
        """
        with (
            self._said_plainly(),
            self._one_writer,
            self._writer.connect().execution_options(**(_DURABLE if durable else _WRITING)) as connection,
            connection.begin(),
        ):
            yield connection

    @contextmanager
    def _said_plainly(self) -> Iterator[None]:
        """Errors of the driver hold whole rows in their text; only their first line may leave."""
        try:
            yield
        except (SQLAlchemyError, self.engine.dialect.loaded_dbapi.Error) as error:
            raise LedgerError(f"The ledger {_shown(self.engine.url)} failed: {_said(error)}.") from None

    def _bring_up_to_date(self) -> None:
        with self.engine.connect() as connection:
            version = self._version(connection)
        if version == HEAD:
            return
        with self._one_writer, self._writer.connect().execution_options(**_DURABLE) as connection, connection.begin():
            if not self.sqlite:
                # Two runs that open a new ledger at once: one migrates, the other waits and finds it done.
                connection.execute(text("SELECT pg_advisory_xact_lock(hashtext('provisor ledger'))"))
            version = self._version(connection)
            if version != HEAD:
                from tasks.ledger.migrations.run import refuse_newer, upgrade

                refuse_newer(connection, version, self.place)
                if self.sqlite and version is not None:
                    copy_before(Path(str(self.engine.url.database)), HEAD)
                upgrade(connection)

    @property
    def place(self) -> str:
        """Where the ledger is, as it may be shown: the file, or the address without a password."""
        address = self.engine.url
        return str(Path(str(address.database)).absolute()) if self.sqlite else _shown(address)

    def give_back(self) -> None:
        """Gives free pages of an SQLite file back to the system, so many at a time that nobody waits for it.

        A file that was made before this was done keeps them for what comes next.
        """
        if self.sqlite:
            with self._said_plainly(), self._one_writer, self._writer.connect() as connection:
                driver: Any = connection.connection.driver_connection
                driver.executescript("PRAGMA incremental_vacuum(2000)")  # execute would free one page and stop

    def copies(self) -> list[Path]:
        """Copies that were made before the tables were changed; PostgreSQL has its own."""
        return copies_of(Path(str(self.engine.url.database)).absolute()) if self.sqlite else []

    def _version(self, connection: Connection) -> str | None:
        """Revision the tables are at; None for a database without a ledger."""
        if self.sqlite:
            there = text("SELECT 1 FROM sqlite_master WHERE name = :name")
            found = connection.execute(there, {"name": VERSION_TABLE}).scalar()
        else:
            there = text("SELECT to_regclass(:name)")
            found = connection.execute(there, {"name": f"{SCHEMA}.{VERSION_TABLE}"}).scalar()
        if found is None:
            return None
        place = VERSION_TABLE if self.sqlite else f"{SCHEMA}.{VERSION_TABLE}"
        version: str | None = connection.execute(text(f"SELECT version_num FROM {place}")).scalar()
        return version


def _address(url: str | None, home: Path) -> URL:
    if not url:
        return URL.create("sqlite", database=str(home / FILE))
    try:
        address = make_url(url)
    except (ArgumentError, ValueError):
        # The text of the error would repeat the address, and with it a password.
        raise SettingsError("The address of the ledger (PROVISOR_DATABASE_URL) is not a database address.") from None
    match address.drivername:
        case "postgresql" | "postgres" | "postgresql+psycopg":
            return address.set(drivername="postgresql+psycopg")
        case "sqlite" if address.database and address.database != ":memory:":
            return address
    raise SettingsError(
        f"The ledger cannot live at {_shown(address)}: PROVISOR_DATABASE_URL must be postgresql://user@host/database "
        "(or sqlite:///path/to/file)."
    )


def _shown(address: URL) -> str:
    """The address as it may be shown: no password, no options."""
    return address.set(query={}).render_as_string(hide_password=True)


def _said(error: BaseException) -> str:
    """The first line of what the database said, which names no row and no value."""
    original = error.orig if isinstance(error, DBAPIError) and error.orig is not None else error
    if isinstance(original, (NoSuchModuleError, ArgumentError)):
        return type(original).__name__
    diagnosis = getattr(original, "diag", None)
    said = getattr(diagnosis, "message_primary", None) or str(original).partition("\n")[0]
    return said.rstrip(". ") or type(original).__name__


def _options() -> dict[str, Any]:
    return {
        "hide_parameters": True,
        "json_serializer": lambda value: orjson.dumps(value).decode(),
        "json_deserializer": orjson.loads,
    }


def _sqlite(address: URL, **pool: int) -> Engine:
    engine = create_engine(address, **pool, **_options())

    @event.listens_for(engine, "connect")
    def prepare(connection: Any, _record: Any) -> None:
        # The driver's own idea of when a transaction begins is replaced by ours, below.
        connection.isolation_level = None
        for pragma in SQLITE_PRAGMAS:
            connection.execute(pragma)

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        # IMMEDIATE waits for the other writer; a transaction that begins by reading fails instead of waiting.
        for statement in connection.get_execution_options().get("ledger_begin", ("BEGIN",)):
            connection.exec_driver_sql(statement)

    @event.listens_for(engine, "checkin")
    def calm_down(connection: Any, _record: Any) -> None:
        if connection is not None:
            connection.execute("PRAGMA synchronous = NORMAL")

    return engine


def _make_private(path: Path) -> None:
    """Make the folder and the file for their owner alone; SQLite gives its side files the mode of the main one."""
    try:
        make_folder(path.parent)
        make_file(path)
    except OSError as error:
        raise SettingsError(
            f"The ledger cannot be stored at {path}: {error.strerror}. PROVISOR_HOME names the folder that keeps it."
        ) from error


def _postgresql(address: URL) -> Engine:
    defaults: dict[str, Any] = {"application_name": "provisor", "connect_timeout": 15}
    given: Callable[[str], bool] = address.query.__contains__
    return create_engine(
        address,
        pool_size=8,
        max_overflow=24,
        # A connection that idled while people decided may be gone.
        pool_pre_ping=True,
        connect_args={name: value for name, value in defaults.items() if not given(name)},
        # Tables are declared without a schema; on PostgreSQL they lie in ours.
        execution_options={"schema_translate_map": {None: SCHEMA}},
        **_options(),
    )
