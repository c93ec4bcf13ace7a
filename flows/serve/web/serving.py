"""The server of the pages: on this machine alone, beside Prefect or by itself."""

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import uvicorn

from connectors.errors import ProvisorError, SettingsError
from flows.cycle.systems import open_ledger
from flows.serve.web.app import make_app
from flows.serve.web.settings import read_pages_settings
from tasks.job import Job, load_job

_STARTS_WITHIN_S = 30
_JOBS_READ_EVERY_S = 10
_CONNECTIONS_AT_MOST = 1_000


class JobFiles:
    """The jobs of a folder, read again when a file has changed; a file that is wrong is as if it were not there."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder.absolute()
        self._lock = threading.Lock()
        self._looked = 0.0
        self._seen: dict[Path, float] = {}
        self._jobs: dict[str, Job] = {}

    def __call__(self) -> Mapping[str, Job]:
        """By name."""
        with self._lock:
            if not self._looked or time.monotonic() - self._looked > _JOBS_READ_EVERY_S:
                self._looked = time.monotonic()
                files = sorted([*self._folder.glob("*.yaml"), *self._folder.glob("*.yml")])
                seen = {path: path.stat().st_mtime for path in files}
                if seen != self._seen:
                    self._seen = seen
                    self._jobs = dict(_readable(files))
            return self._jobs


def _readable(files: list[Path]) -> Iterator[tuple[str, Job]]:
    for path in files:
        try:
            job = load_job(path)
        except (ProvisorError, OSError):
            continue
        yield job.name, job


@contextmanager
def serving_pages(state: Path, folder: Path, port: int, sign_in: str, *, prefect: str = "") -> Iterator[str]:
    """Serves the pages of a state folder while the block lasts; gives their address.

    ``folder``: where the job files are; ``sign_in``: user and password of this server, ``provisor:…``; ``prefect``:
    where Prefect's UI is. Raises: SettingsError, UnreachableError, LedgerError; OSError when the port is taken.
    """
    settings = read_pages_settings(folder)
    with open_ledger() as ledger:
        app = make_app(
            ledger=ledger,
            state=state,
            jobs=JobFiles(folder),
            settings=settings,
            own_sign_in=sign_in,
            port=port,
            prefect=prefect,
        )
        config = uvicorn.Config(
            app,
            host="127.0.0.1",
            port=port,
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            limit_concurrency=_CONNECTIONS_AT_MOST,
            timeout_keep_alive=30,
        )
        with _running(uvicorn.Server(config), port):
            yield settings.address or f"http://127.0.0.1:{port}"


@contextmanager
def _running(server: uvicorn.Server, port: int) -> Iterator[None]:
    thread = threading.Thread(target=_quietly(server.run), daemon=True)
    thread.start()
    deadline = time.monotonic() + _STARTS_WITHIN_S
    while not server.started:
        if not thread.is_alive() or time.monotonic() > deadline:
            raise SettingsError(f"The pages cannot be served at port {port} of this machine: choose another one.")
        time.sleep(0.02)
    try:
        yield
    finally:
        server.should_exit = True
        thread.join(timeout=_STARTS_WITHIN_S)


def _quietly(run: Callable[[], None]) -> Callable[[], None]:
    """A server that cannot listen leaves by SystemExit, which the caller reports."""

    def quiet() -> None:
        try:
            run()
        except SystemExit:
            return

    return quiet
