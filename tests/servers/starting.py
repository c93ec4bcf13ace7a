"""Real servers for the tests: each starts on a free loopback port and stops exactly what it started.

Readiness is asked for, never slept for; what a server prints is kept in the folder given as ``logs``.
"""

import os
import pwd
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import psycopg
import trustme
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.routing import Route

from flows.serve.prefect_database import put_database
from tests.servers.scim_service import ScimService

HOST = "127.0.0.1"
POSTGRESQL_HOME = Path("/usr/lib/postgresql")
"""Where Debian puts the server's programs, a folder for each version."""


class StartError(RuntimeError):
    """A server did not come up; the text ends with what it printed last."""


_NEEDLESS_OF_PREFECT = tuple(
    f"SERVICES_{name}"
    for name in ("CANCELLATION_CLEANUP", "FOREMAN", "LATE_RUNS", "PAUSE_EXPIRATIONS", "SCHEDULER", "TRIGGERS")
)

_PREFECT = """
from flows.serve.server_database import let_writers_queue
let_writers_queue()
from prefect.cli import app
app()
"""


@dataclass(frozen=True, slots=True)
class Server:
    """A server that is running."""

    url: str
    token: str | None = None
    log: Path | None = None
    """Where its output goes."""
    pid: int | None = None


@dataclass(frozen=True, slots=True)
class TlsService:
    """The own SCIM service behind TLS."""

    url: str
    token: str | None
    ca_file: Path
    """Certificate of the authority that signed the service's own: nobody trusts it unless told to."""
    service: ScimService


@dataclass(frozen=True, slots=True)
class DatabaseServer:
    """A PostgreSQL server for this test run alone."""

    url: str
    """SQLAlchemy address of its first database."""
    log: Path
    pid: int

    def create_database(self, name: str) -> str:
        """Make an empty database; gives its SQLAlchemy address."""
        address = self.url.replace("postgresql+psycopg://", "postgresql://")
        with psycopg.connect(address, autocommit=True) as connection:
            connection.execute(psycopg.sql.SQL("CREATE DATABASE {}").format(psycopg.sql.Identifier(name)))
        return self.url.rsplit("/", 1)[0] + "/" + name


def free_port() -> int:
    """A loopback port that nobody listened on a moment ago."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


@contextmanager
def scim2_server(
    *, token: str | None = "a-token", logs: Path | None = None, options: tuple[str, ...] = ()
) -> Iterator[Server]:
    """The PyPI package scim2-server, an independent SCIM service; ``options`` go to its command line.

    Raises: StartError.
    """
    command = Path(sys.executable).with_name("scim2-server")
    if not command.exists():
        raise StartError(f"{command} is missing: install the Python package scim2-server.")
    with _folder(logs) as folder:
        log = folder / "scim2-server.log"
        words = [str(command), "--hostname", HOST, *options]
        if token is not None:
            words += ["--bearer-token", token]
        with _on_some_port(lambda port: [*words, "--port", str(port)], log) as (process, port):
            yield Server(f"http://{HOST}:{port}/v2", token, log, process.pid)


SCIMMY_SERVICE = Path(__file__).with_name("scimmy_service")


@contextmanager
def scimmy_service(*, token: str = "a-token", logs: Path | None = None) -> Iterator[Server]:
    """The npm packages scimmy and scimmy-routers, an independent SCIM service. Raises: StartError."""
    node = shutil.which("node")
    if node is None or not (SCIMMY_SERVICE / "node_modules").is_dir():
        raise StartError(f"Install Node.js, then run `npm install` in {SCIMMY_SERVICE}.")
    with _folder(logs) as folder:
        log = folder / "scimmy.log"
        words = [node, str(SCIMMY_SERVICE / "service.mjs")]
        with _on_some_port(lambda port: [*words, str(port), token], log) as (process, port):
            yield Server(f"http://{HOST}:{port}/scim", token, log, process.pid)


@contextmanager
def django_service(*, token: str = "a-token", logs: Path | None = None) -> Iterator[Server]:
    """The PyPI package django-scim2, an independent SCIM service, with a data base of its own. Raises: StartError."""
    with _folder(logs) as folder:
        log = folder / "django.log"
        module = [sys.executable, "-m", "tests.servers.django_service"]
        root = {"PYTHONPATH": str(Path(__file__).parents[2])}

        def command(port: int) -> list[str]:
            return [*module, str(port), token, str(folder / f"{port}.sqlite")]

        with _on_some_port(command, log, environment=root) as (process, port):
            yield Server(f"http://{HOST}:{port}/scim/v2", token, log, process.pid)


@contextmanager
def prefect_server(
    home: Path, *, logs: Path | None = None, settings: Mapping[str, str] | None = None
) -> Iterator[Server]:
    """A Prefect server with its data base in ``home``; its ``url`` is what PREFECT_API_URL takes.

    Services for schedules and automations are off, so that it starts sooner. ``settings`` come on top of that.
    Raises: StartError.
    """
    environment = {"DO_NOT_TRACK": "1", "PREFECT_HOME": str(home), "PREFECT_LOGGING_LEVEL": "WARNING"}
    environment |= {f"PREFECT_SERVER_{name}_ENABLED": "false" for name in ("ANALYTICS", "UI", *_NEEDLESS_OF_PREFECT)}
    environment |= {"PYTHONPATH": str(Path(__file__).parents[2])} | (settings or {})
    home.mkdir(parents=True, exist_ok=True)
    if not any("DATABASE" in name for name in environment) and put_database(home):
        environment["PREFECT_SERVER_DATABASE_MIGRATE_ON_START"] = "false"

    def answers(port: int) -> bool:
        try:
            with urllib.request.urlopen(f"http://{HOST}:{port}/api/health", timeout=5) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    def command(port: int) -> list[str]:
        return [sys.executable, "-c", _PREFECT, "server", "start", "--host", HOST, "--port", str(port)]

    with _folder(logs) as folder:
        log = folder / "prefect-server.log"
        with _on_some_port(command, log, ready=answers, environment=environment) as (process, port):
            yield Server(f"http://{HOST}:{port}/api", None, log, process.pid)


@contextmanager
def postgresql(*, logs: Path | None = None) -> Iterator[DatabaseServer]:
    """A PostgreSQL server with a throw-away data directory; fast, because nothing survives a power cut.

    Raises: StartError, naming the package to install where the server's programs are missing.
    """
    programs = _postgresql_programs()
    account = _unprivileged_account()
    with _folder(logs) as folder, _folder(None) as home:
        log = folder / "postgresql.log"
        data = home / "data"
        options: dict[str, Any] = {}
        if account is not None:
            os.chown(home, account.pw_uid, account.pw_gid)
            options = {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}
        initdb = [programs / "initdb", "-D", data, "-U", "postgres", "-A", "trust", "--no-sync", "-E", "UTF8"]
        with log.open("ab") as output:
            words = [str(word) for word in [*initdb, "--locale=C.UTF-8"]]
            made = subprocess.run(
                words, stdout=output, stderr=output, cwd=home, timeout=120, env=_environment(), **options
            )
        if made.returncode:
            raise StartError(f"initdb ended with status {made.returncode}:\n{_tail(log)}")

        def command(port: int) -> list[str]:
            words = [str(programs / "postgres"), "-D", str(data), "-p", str(port)]
            for setting in (
                f"listen_addresses={HOST}",
                "unix_socket_directories=",
                "fsync=off",
                "synchronous_commit=off",
                "full_page_writes=off",
                "wal_level=minimal",
                "max_wal_senders=0",
                "autovacuum=off",
                "max_connections=200",
            ):
                words += ["-c", setting]
            return words

        def answers(port: int) -> bool:
            try:
                psycopg.connect(host=HOST, port=port, user="postgres", dbname="postgres", connect_timeout=2).close()
            except psycopg.OperationalError:
                return False
            return True

        # It stops at once, without writing down what is thrown away in any case.
        with _on_some_port(command, log, ready=answers, stop=signal.SIGQUIT, **options) as (process, port):
            yield DatabaseServer(f"postgresql+psycopg://postgres@{HOST}:{port}/postgres", log, process.pid)


@contextmanager
def tls_scim_service(
    *, token: str | None = "a-token", logs: Path | None = None, **options: Any
) -> Iterator[TlsService]:
    """The own SCIM service behind TLS, its certificate signed by an authority made for this one server.

    The certificate is for ``localhost`` and 127.0.0.1. ``options`` go to ScimService.
    """
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost", HOST).configure_cert(context)
    with _folder(logs) as folder, ScimService(token=token, tls=context, **options) as service:
        ca_file = folder / "authority.pem"
        authority.cert_pem.write_to_path(ca_file)
        yield TlsService(service.url, token, ca_file, service)


class _Page(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def _answer(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        body = b"<!DOCTYPE html><html><head><title>Sign in</title></head><body>Please sign in.</body></html>"
        self.send_response(200)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _answer  # noqa: N815

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing: the page is the same for everybody."""


@contextmanager
def html_server() -> Iterator[Server]:
    """A server that answers every request with status 200 and a sign-in page, as a proxy or a wrong address does."""
    server = ThreadingHTTPServer((HOST, 0), _Page)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, name="html server")
    thread.start()
    try:
        yield Server(f"http://{HOST}:{server.server_address[1]}")
    finally:
        server.shutdown()
        thread.join(10)
        server.server_close()


@contextmanager
def dead_port() -> Iterator[Server]:
    """An address that refuses connections, and keeps refusing: the port is held, but nobody listens on it."""
    with socket.socket() as holder:
        holder.bind((HOST, 0))
        yield Server(f"http://{HOST}:{holder.getsockname()[1]}")


# -- how a program is started, waited for and stopped --------------------------------------------------------------


@contextmanager
def _on_some_port(
    command: Callable[[int], list[str]],
    log: Path,
    *,
    ready: Callable[[int], bool] | None = None,
    stop: signal.Signals = signal.SIGTERM,
    **options: Any,
) -> Iterator[tuple["subprocess.Popen[bytes]", int]]:
    """Run a program on a free port; another port is tried where somebody else was quicker."""
    with ExitStack() as stack:
        for attempt in range(3):
            port = free_port()
            try:
                process = stack.enter_context(_running(command(port), log, stop=stop, **options))
                _wait_until(partial(ready or _accepts, port), process, log)
            except StartError:
                stack.close()
                if attempt == 2 or "in use" not in _tail(log):
                    raise
            else:
                break
        yield process, port


@contextmanager
def _running(
    command: list[str],
    log: Path,
    *,
    stop: signal.Signals = signal.SIGTERM,
    environment: Mapping[str, str] | None = None,
    **options: Any,
) -> Iterator["subprocess.Popen[bytes]"]:
    """A program that runs while the block does, its output in the log; ``environment`` comes on top of our own."""
    with log.open("ab") as output:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            cwd=tempfile.gettempdir(),
            env={**_environment(), **(environment or {})},
            **options,
        )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.send_signal(stop)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(10)


def _wait_until(
    ready: Callable[[], bool], process: "subprocess.Popen[bytes]", log: Path, *, timeout_s: float = 180
) -> None:
    """Ask until the server answers; the pause between two questions ends early when the program does."""
    deadline = time.monotonic() + timeout_s
    while not ready():
        try:
            process.wait(0.02)
        except subprocess.TimeoutExpired:
            if time.monotonic() > deadline:
                raise StartError(f"{process.args!r} was not ready after {timeout_s:g} s:\n{_tail(log)}") from None
        else:
            raise StartError(f"{process.args!r} ended with status {process.returncode}:\n{_tail(log)}")


def _accepts(port: int) -> bool:
    try:
        socket.create_connection((HOST, port), timeout=2).close()
    except OSError:
        return False
    return True


@contextmanager
def _folder(given: Path | None) -> Iterator[Path]:
    """The given folder, made if need be, or one that goes away again."""
    if given is not None:
        given.mkdir(parents=True, exist_ok=True)
        yield given
        return
    made = Path(tempfile.mkdtemp(prefix="provisor-"))
    try:
        yield made
    finally:
        shutil.rmtree(made)


def _tail(log: Path) -> str:
    return log.read_text(encoding="utf-8", errors="replace")[-2000:]


def _environment() -> Mapping[str, str]:
    """The environment without settings that would reach into a server meant to be plain."""
    return {
        name: value for name, value in os.environ.items() if not name.startswith(("PG", "PREFECT_", "PYTHONWARNINGS"))
    }


def _postgresql_programs() -> Path:
    """The folder of the newest PostgreSQL server's programs."""
    found = shutil.which("postgres")
    folders = [Path(found).resolve().parent] if found else []
    folders += sorted(
        (path.parent for path in POSTGRESQL_HOME.glob("*/bin/postgres")),
        key=lambda folder: [int(part) for part in folder.parent.name.split(".")],
    )
    folders = [folder for folder in folders if (folder / "initdb").exists()]
    if not folders:
        raise StartError(
            "The PostgreSQL server's programs (postgres, initdb) are missing: install the Debian package postgresql "
            "(apt-get install postgresql)."
        )
    return folders[-1]


def _unprivileged_account() -> pwd.struct_passwd | None:
    """The account PostgreSQL must run as when we are root, which it refuses; None when we are not root."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        with suppress(KeyError):
            return pwd.getpwnam(name)
    raise StartError("PostgreSQL does not run as root, and there is no account postgres or nobody to run it as.")


@contextmanager
def answering(
    answer: Callable[[Request], Any], methods: Sequence[str] = ("GET", "POST"), *, authority: Any = None
) -> Iterator[str]:
    """A service in this process that answers every path on loopback while the block runs; gives its address.

    ``authority``: a ``trustme.CA`` that signs its certificate, for ``localhost``; without one there is no TLS.
    """
    app = Starlette(routes=[Route("/{path:path}", answer, methods=list(methods))])
    config = uvicorn.Config(app, host=HOST, port=0, log_level="error", lifespan="off")
    config.load()
    if authority is not None:
        config.ssl = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("localhost", HOST).configure_cert(config.ssl)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    deadline = time.monotonic() + 30
    while not server.started:
        if time.monotonic() > deadline:
            raise StartError("the service did not start")
        time.sleep(0.01)
    try:
        port = server.servers[0].sockets[0].getsockname()[1]
        yield f"http://{HOST}:{port}" if authority is None else f"https://localhost:{port}"
    finally:
        server.should_exit = True
        thread.join(10)
