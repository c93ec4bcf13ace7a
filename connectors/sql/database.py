"""The database's address and what can go wrong on the way there; no message holds a password or a user's name."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.engine import URL, Connection, Engine, make_url
from sqlalchemy.exc import (
    ArgumentError,
    DBAPIError,
    NoSuchModuleError,
    NoSuchTableError,
    SQLAlchemyError,
)
from sqlalchemy.pool import NullPool

from connectors.address import normalised
from connectors.errors import CredentialsError, FatalError, SettingsError, UnreachableError
from connectors.rows import nearest
from connectors.settings import reveal

_REFERENCE = re.compile(r"\$\{(?:env|file|prefect):[^}]+\}")
_SECRET_OPTION = re.compile(r"[?&][^=&]*(?:passw|pwd|secret|token)[^=&]*=([^&]*)", re.IGNORECASE)
_WHOLE = re.compile(r"\s*\$\{(?:env|file|prefect):[^}]+\}\s*")
_PLACES = frozenset({"host", "port", "service", "odbc_connect"})
"""Options of an address that name another database; the others say how to speak to it."""
CONNECT_TIMEOUT_S = 10
_TIMEOUT_DRIVERS = frozenset({"psycopg", "psycopg2", "pymysql", "mysqldb"})

_REFUSED = re.compile(
    r"password|authentication|pg_hba|role .* does not exist|access denied|login failed|permission denied|"
    r"not permitted to log in|ORA-0?1017|ORA-01005",
    re.IGNORECASE,
)
_NO_SUCH_DATABASE = re.compile(
    r'database ".*" does not exist|unknown database|unable to open database|not a database|cannot open database',
    re.IGNORECASE,
)


# Address


def _user_info(text: str) -> tuple[str, int, int]:
    """The address with zero bytes for references, and where its user name and password begin and end."""
    masked = _REFERENCE.sub(lambda match: "\0" * len(match.group()), text)
    start = masked.find("://") + 3 if "://" in masked else 0
    ends = [place for place in (masked.find("/", start), masked.find("?", start)) if place >= 0]
    at = masked.rfind("@", start, min(ends, default=len(masked)))
    # A password with a slash in it, written out, hides where it ends.
    return masked, start, at if at >= 0 else masked.rfind("@", start)


def without_written_password(text: str) -> str:
    """The address, if every password in it is a reference. Raises: ValueError."""
    masked, start, end = _user_info(text)
    password = masked[start : max(end, start)].partition(":")[2]
    options = "".join(_SECRET_OPTION.findall(masked))
    if (password + options).strip("\0"):
        raise ValueError(
            "a password must be a reference, never a value: write postgresql+psycopg://user:${env:NAME}@host/database"
        )
    return text


def label_of(text: str) -> str:
    """The address as the job says it, without user, password and options."""
    _, start, end = _user_info(text)
    return (text[:start] + text[end + 1 :] if end >= start else text).partition("?")[0]


def resolve(text: str, *, folder: Path) -> URL:
    """The address with its references replaced, each in its own place: a password may hold any character.

    Raises: SettingsError.
    """
    if _WHOLE.fullmatch(text):
        full = reveal(text, folder=folder).strip()
    else:
        _, _, end = _user_info(text)

        def replaced(match: re.Match[str]) -> str:
            value = reveal(match.group(), folder=folder)
            return quote(value, safe="") if match.start() < end else value

        full = _REFERENCE.sub(replaced, text)
    try:
        return make_url(full)
    except (ArgumentError, ValueError):
        raise SettingsError(
            f"The url {label_of(text)!r} is not a database address. "
            "Write for example postgresql+psycopg://user:${env:NAME}@host/database or sqlite:///people.db."
        ) from None


# Engine


def place_of(text: str, *, folder: Path) -> str:
    """Where a database is, without driver and credentials; a file by its own path. Raises: SettingsError."""
    url = resolve(text, folder=folder)
    kind = url.get_backend_name()
    if kind == "sqlite":
        return f"sqlite:{(folder / Path(url.database or '').expanduser()).resolve()}"
    query = {name: value for name, value in url.query.items() if name in _PLACES}
    return normalised(url.set(drivername=kind, username=None, password=None, query=query).render_as_string())


def make_engine(text: str, *, folder: Path) -> Engine:
    """An engine for the address that opens nothing yet. Raises: SettingsError."""
    url, label = resolve(text, folder=folder), label_of(text)
    if url.get_backend_name() == "sqlite":
        url = _existing_file(url, folder)
    arguments: dict[str, Any] = {}
    try:
        dialect = url.get_dialect()
        driver = url.get_driver_name()
        if driver in _TIMEOUT_DRIVERS and "connect_timeout" not in url.query:
            arguments["connect_timeout"] = CONNECT_TIMEOUT_S
        if dialect.is_async:
            raise SettingsError(
                f"The driver {driver} works only with asyncio. Use another one, like postgresql+psycopg://..."
            )
        engine = sa.create_engine(url, hide_parameters=True, poolclass=NullPool, connect_args=arguments)
    except NoSuchModuleError:
        names = ("postgresql+psycopg", "mysql+pymysql", "mariadb+pymysql", "mssql+pyodbc", "oracle+oracledb", "sqlite")
        near = nearest(url.drivername, names) or "postgresql+psycopg"
        raise SettingsError(
            f"There is no kind of database called {url.drivername!r} ({label}). Did you mean {near}://?"
        ) from None
    except ImportError as error:
        package = error.name or url.get_driver_name()
        raise SettingsError(
            f"The database {label} needs the Python package {package}: install it and run again."
        ) from None
    except (ArgumentError, TypeError, ValueError):
        raise SettingsError(f"The url {label!r} has options that its driver does not know.") from None
    if driver == "psycopg":
        event.listen(engine, "connect", _keep_dates_beyond_python)
    return engine


def _existing_file(url: URL, folder: Path) -> URL:
    """An SQLite file looked up from the job's folder; SQLite would make a new one where there is none."""
    name = url.database
    if not name or name == ":memory:" or name.startswith("file:"):
        return url
    path = folder / Path(name).expanduser()
    if not path.is_file():
        near = nearest(path.name, [found.name for found in path.parent.glob("*")])
        hint = f"Did you mean {near}?" if near else "Correct the url."
        raise SettingsError(f"The SQLite file {name} does not exist. {hint}")
    return url.set(database=str(path))


def _keep_dates_beyond_python(connection: Any, _: object) -> None:
    """PostgreSQL has infinity and years that Python lacks: those stay text, and do not fail the whole read."""
    from psycopg import DataError
    from psycopg.adapt import Buffer, Loader
    from psycopg.pq import Format

    def lenient(usual: type[Any]) -> type[Loader]:
        class Lenient(Loader):
            def __init__(self, oid: int, context: Any = None) -> None:
                super().__init__(oid, context)
                self._usual = usual(oid, context)

            def load(self, data: Buffer) -> Any:
                try:
                    return self._usual.load(data)
                except DataError:
                    return bytes(data).decode()

        return Lenient

    for name in ("timestamptz", "timestamp", "date"):
        oid = connection.adapters.types[name].oid
        connection.adapters.register_loader(name, lenient(connection.adapters.get_loader(oid, Format.TEXT)))


# Connection


@contextmanager
def one_moment(engine: Engine, *, label: str) -> Iterator[Connection]:
    """A connection whose statements all see the database as it was at one moment, and that writes nothing.

    Raises: CredentialsError, SettingsError, UnreachableError.
    """
    options: dict[str, Any] = {}
    if engine.dialect.name in ("postgresql", "mysql", "mariadb"):
        options["isolation_level"] = "REPEATABLE READ"
    if engine.dialect.name == "postgresql":
        options["postgresql_readonly"] = True
    try:
        connection = engine.connect()
    except DBAPIError as error:
        raise not_connected(error, engine.url, label) from None
    with connection:
        try:
            connection = connection.execution_options(**options)
            if engine.dialect.name == "sqlite":
                connection.exec_driver_sql("PRAGMA query_only = ON")
                # Python's driver begins no transaction for reading.
                connection.exec_driver_sql("BEGIN")
            yield connection
        except NoSuchTableError as error:
            raise SettingsError(f"The database {label} has no table {error}.") from None
        except SQLAlchemyError as error:
            raise _failed(error, engine, label) from None


def not_connected(error: DBAPIError, url: URL, label: str) -> FatalError:
    """Why a connection was not made."""
    text = str(error.orig)
    if _NO_SUCH_DATABASE.search(text):
        return SettingsError(f"The database {label} does not exist. Correct the url.")
    if _REFUSED.search(text):
        return CredentialsError(
            f"The database {label} does not let us in: the user or the password is wrong, or the user may not connect."
        )
    return UnreachableError(f"The database {label} does not answer: {_told(text, url)}")


def _failed(error: SQLAlchemyError, engine: Engine, label: str) -> FatalError:
    if not isinstance(error, DBAPIError):
        return SettingsError(f"The database {label} cannot be read: {_told(str(error), engine.url)}")
    text = str(error.orig)
    state = getattr(error.orig, "sqlstate", None)
    if state == "42501" or re.search(r"permission denied|access denied|command denied", text, re.IGNORECASE):
        return CredentialsError(f"The database {label} does not let us read: {_told(text, engine.url)}")
    broken = error.connection_invalidated or type(error).__name__ in ("OperationalError", "InterfaceError")
    if broken and engine.dialect.name != "sqlite":
        return UnreachableError(f"Reading the database {label} failed: {_told(text, engine.url)}")
    return SettingsError(f"The database {label} cannot read what the job asks for: {_told(text, engine.url)}")


def _told(text: str, url: URL) -> str:
    """The first line of what the driver says, without the credentials."""
    line = (text.strip().splitlines() or ["no reason given"])[0].rstrip(".") + "."
    secrets = [url.password, *(value for values in url.query.values() for value in _each(values))]
    for secret in filter(None, secrets):
        line = line.replace(str(secret), "***").replace(quote(str(secret), safe=""), "***")
    if url.username:
        line = re.sub(rf"(?<!\w){re.escape(url.username)}(?!\w)", "***", line)
    return line


def _each(values: str | tuple[str, ...]) -> tuple[str, ...]:
    return (values,) if isinstance(values, str) else values
