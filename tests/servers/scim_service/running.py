"""The service in the test's own process: a thread with its own event loop.

with ScimService(token="t") as service:
    ...  # service.url, service.token
    assert service.requests["POST /Users"] == 3
    assert [user["userName"] for user in service.users.values()] == [...]
"""

import asyncio
import ssl
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, MutableMapping, Sequence
from typing import Any, Self, TypeVar

import uvloop

from tests.servers.scim_service import seeding
from tests.servers.scim_service.answers import Logged
from tests.servers.scim_service.application import Application
from tests.servers.scim_service.connection import Connection, Engine
from tests.servers.scim_service.control import Control
from tests.servers.scim_service.faults import Fault, Faults
from tests.servers.scim_service.quirks import Quirks

T = TypeVar("T")


class Resources(MutableMapping[str, dict[str, Any]]):
    """All users or all groups: id to resource, in order of creation. What is read is a copy.

    Setting or deleting one changes the service behind its clients' backs, as somebody else with access would.
    """

    def __init__(self, service: "ScimService", endpoint: str) -> None:
        self._service = service
        self._endpoint = endpoint
        self._shelf = service.application.store.shelf(endpoint)

    def __getitem__(self, id: str) -> dict[str, Any]:
        return self._shelf.entries[id].resource()

    def __setitem__(self, id: str, resource: dict[str, Any]) -> None:
        application = self._service.application
        if id in self._shelf.entries:
            self._service.call(lambda: seeding.replace(application, self._endpoint, id, resource))
        else:
            self._service.call(lambda: seeding.put(application, self._endpoint, [{**resource, "id": id}]))

    def __delitem__(self, id: str) -> None:
        if id not in self._shelf.entries:
            raise KeyError(id)
        self._service.call(lambda: seeding.remove(self._service.application, self._shelf, id))

    def __iter__(self) -> Iterator[str]:
        return iter(list(self._shelf.entries))

    def __len__(self) -> int:
        return len(self._shelf.entries)

    def __repr__(self) -> str:
        return f"<{len(self)} {self._endpoint}>"


class ScimService:
    """A SCIM 2.0 service in memory, running while the block does."""

    def __init__(
        self,
        *,
        token: str | None = "a-token",
        port: int = 0,
        prefix: str = "/v2",
        default_page_size: int = 100,
        max_page_size: int = 1000,
        quirks: Mapping[str, str] | None = None,
        faults: Mapping[str, Mapping[str, Any]] | None = None,
        log: str = "full",
        seed: int = 0,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        """``faults``: kind to its settings, as set_fault takes them. ``log``: full, digest or off.

        ``token`` None accepts everybody. Port 0 takes a free one. ``seed`` decides ids and every chance a fault takes.
        """
        self.quirks = Quirks(quirks)
        self._faults = Faults(seed)
        self.application = Application(
            token=token,
            prefix=prefix,
            quirks=self.quirks,
            default_page_size=default_page_size,
            max_page_size=max_page_size,
            seed=seed,
            hidden=self._faults.hidden,
            created=self._faults.note_created,
        )
        self._faults.unauthorized = self.application.unauthorized
        self.engine = Engine(self.application, self._faults, log=log)
        self.engine.control = Control(self.engine).answer
        self.users = Resources(self, "Users")
        self.groups = Resources(self, "Groups")
        self._port = port
        self._prefix = prefix
        self._tls = tls
        self._thread: threading.Thread | None = None
        self._started = threading.Event()
        self._trouble: BaseException | None = None
        for kind, settings in (faults or {}).items():
            self.set_fault(kind, **settings)

    # -- what the service did --------------------------------------------------------------------------------------

    @property
    def url(self) -> str:
        """Where it listens, without a slash at the end."""
        return self.application.url

    @property
    def token(self) -> str | None:
        """The bearer token that is accepted."""
        return self.application.token

    @property
    def requests(self) -> Counter[str]:
        """Requests since the last reset_counts, by method and first part of the path: `POST /Users`."""
        return self.engine.requests

    @property
    def statuses(self) -> Counter[int]:
        """Answers since the last reset_counts by status; 0 counts requests that got none."""
        return self.engine.statuses

    @property
    def log(self) -> list[Logged]:
        """Every request since the last reset_counts, in order of the answers."""
        return self.engine.log

    @property
    def most_in_flight(self) -> int:
        """Most requests that waited for their answers at once; more than one only where something delays answers."""
        return self.engine.most_in_flight

    @property
    def connections_made(self) -> int:
        """Connections since the last reset_counts."""
        return self.engine.connections_made

    def reset_counts(self) -> None:
        """Forget requests, statuses and log."""
        self.call(self.engine.reset_counts)

    # -- what the service holds ------------------------------------------------------------------------------------

    def seed(
        self,
        *,
        users: Sequence[Mapping[str, Any]] = (),
        groups: Sequence[Mapping[str, Any]] = (),
        count: int = 0,
        group_count: int = 0,
        members_per_group: int = 0,
    ) -> tuple[list[str], list[str]]:
        """Put in resources as given, and made-up ones besides; gives the ids of those given, users and groups."""

        def put() -> tuple[list[str], list[str]]:
            user_ids = seeding.put(self.application, "Users", users)
            if count:
                seeding.make_users(self.application, count, first=len(self.users) + 1)
            group_ids = seeding.put(self.application, "Groups", groups)
            if group_count:
                seeding.make_groups(
                    self.application, group_count, members=members_per_group, first=len(self.groups) + 1
                )
            return user_ids, group_ids

        return self.call(put)

    def clear(self) -> None:
        """Forget all users and groups."""
        self.call(self.application.store.clear)

    # -- what goes wrong -------------------------------------------------------------------------------------------

    @property
    def faults(self) -> Mapping[str, Fault]:
        """The faults that are set, by label, with what they have done so far."""
        return self._faults.active

    def set_fault(self, kind: str, **settings: Any) -> Fault:
        """Switch a fault on; see FaultKind for the kinds and Fault for the settings.

        A fault of the same kind is replaced unless ``label`` tells them apart.
        """
        fault = Fault.make(kind, **settings)
        self._faults.switch_on(fault)
        return fault

    def clear_fault(self, label: str | None = None) -> None:
        """Switch a fault off by its label (its kind unless it was given one), or all of them."""
        self._faults.switch_off(label)

    def renew_token(self, token: str) -> None:
        """Accept another token from now on; one that had expired counts as renewed."""
        self.application.token = token
        self._faults.switch_off("expired_token")

    def drop_connections(self) -> None:
        """Break off every connection there is."""
        self.call(self.engine.drop_connections)

    # -- running ---------------------------------------------------------------------------------------------------

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self._run, name="scim service", daemon=True)
        self._thread.start()
        if not self._started.wait(30):
            raise RuntimeError("the SCIM service did not start within 30 s")
        if self._trouble is not None:
            raise self._trouble
        return self

    def __exit__(self, *exc: object) -> None:
        thread, self._thread = self._thread, None
        assert thread is not None
        self._loop.call_soon_threadsafe(self.stop)
        thread.join(30)
        if thread.is_alive():
            raise RuntimeError("the SCIM service did not stop within 30 s")
        if self.engine.failures:
            raise RuntimeError(f"the SCIM service itself failed:\n{self.engine.failures[0]}")

    def call(self, work: Callable[[], T]) -> T:
        """Do something between two requests; gives what it gives."""
        if self._thread is None:
            return work()

        async def run() -> T:
            return work()

        return asyncio.run_coroutine_threadsafe(run(), self._loop).result(300)

    def _run(self) -> None:
        try:
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                runner.run(self.serve())
        except BaseException as error:
            self._trouble = error
        finally:
            self._started.set()

    async def serve(self, listening: Callable[[], None] = lambda: None) -> None:
        """Serve until told to stop; ``listening`` is called once requests are taken."""
        self._loop = self.engine.loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        server = await self._loop.create_server(
            lambda: Connection(self.engine), "127.0.0.1", self._port, ssl=self._tls, backlog=4096
        )
        port = server.sockets[0].getsockname()[1]
        host = "127.0.0.1" if self._tls is None else "localhost"
        self.application.url = f"{'http' if self._tls is None else 'https'}://{host}:{port}{self._prefix}"
        listening()
        self._started.set()
        try:
            await self._stop.wait()
        finally:
            server.close()
            for connection in list(self.engine.connections):
                connection.drop()
            await server.wait_closed()
            # transports close in the loop's next turns
            for _ in range(3):
                await asyncio.sleep(0)

    def stop(self) -> None:
        """Let serve return; to be called in its own loop."""
        self._stop.set()
