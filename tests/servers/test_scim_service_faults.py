"""Every fault of the test service really strikes, strikes what it is for, and carries the request out or does not."""

import json
import os
import re
import socket
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from tests.servers.scim_service import FaultKind, HeaderForm, RetryAfter, ScimProcess, ScimService

USER = "urn:ietf:params:scim:schemas:core:2.0:User"


@pytest.fixture(scope="module")
def http():
    with httpx.Client(headers={"Authorization": "Bearer t"}, trust_env=False, timeout=20) as client:
        yield client


@pytest.fixture
def service():
    with ScimService(token="t") as running:
        yield running


@dataclass
class Client:
    """A client that tells what became of its requests."""

    service: ScimService
    http: httpx.Client

    def create(self, name: str = "ada", **options: Any) -> httpx.Response:
        document = {"schemas": [USER], "userName": name}
        return self.http.post(f"{self.service.url}/Users", json=document, **options)

    def get(self, path: str = "/Users", **options: Any) -> httpx.Response:
        return self.http.get(self.service.url + path, **options)

    def outcome(self, **options: Any) -> Any:
        """What a create comes to, and how many users there are afterwards."""
        try:
            response = self.create(**options)
        except httpx.TransportError as error:
            answer: Any = type(error).__name__
        else:
            kind = response.headers["content-type"].partition(";")[0].rpartition("/")[2]
            answer = response.status_code if kind == "scim+json" else (response.status_code, kind)
        return answer, len(self.service.users)


def created(client: Client) -> Any:
    return client.outcome()


def broken_off(client: Client) -> Any:
    """What a raw connection sees: its bytes, or that it was reset or just ended."""
    body = json.dumps({"schemas": [USER], "userName": "ada"}).encode()
    with connect(client.service) as raw:
        raw.sendall(post(body))
        try:
            data = raw.recv(65536)
        except ConnectionResetError:
            return "reset", len(client.service.users)
        return data[9:12] or "end", len(client.service.users)


def connect(service: ScimService) -> socket.socket:
    parts = urlsplit(service.url)
    return socket.create_connection((parts.hostname, parts.port), timeout=20)


def post(body: bytes) -> bytes:
    head = f"POST /v2/Users HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer t\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


def short_wait(client: Client) -> Any:
    return client.outcome(timeout=0.3 if client.service.faults else 20)


def took_long(client: Client) -> Any:
    began = time.monotonic()
    return client.outcome(), time.monotonic() - began >= 0.8


def not_json(client: Client) -> Any:
    response = client.create()
    try:
        response.json()
    except ValueError:
        return response.status_code, "broken", len(client.service.users)
    return response.status_code, "whole", len(client.service.users)


def listed(client: Client) -> Any:
    client.create()
    lists = [client.get().json()["totalResults"] for _ in range(3)]
    return lists, client.get(f"/Users/{next(iter(client.service.users))}").status_code


def three_answers(client: Client) -> list[int]:
    return [client.get().status_code for _ in range(3)]


def closings(client: Client) -> Any:
    client.get()
    client.service.reset_counts()
    said = [client.get().headers.get("connection") for _ in range(4)]
    return client.service.connections_made, said


def at_once(client: Client) -> Any:
    client.service.set_fault("latency", seconds=0.4)

    def one(name: str) -> Any:
        try:
            return client.create(name).status_code
        except httpx.TransportError:
            return 0

    with ThreadPoolExecutor(4) as pool:
        return sorted(pool.map(one, ["a", "b", "c", "d"]))


@dataclass(frozen=True)
class Probe:
    kind: str
    ask: Callable[[Client], Any]
    seen: Any
    settings: dict[str, Any] = field(default_factory=dict)


PROBES = [
    Probe("latency", took_long, ((201, 1), True), {"seconds": 0.8}),
    Probe("too_many_requests", created, (429, 0)),
    Probe("token_bucket", three_answers, [200, 200, 429], {"rate_per_s": 0.001, "burst": 2}),
    *(Probe("error", created, (status, 0), {"status": status}) for status in (500, 502, 503, 504)),
    Probe("error", created, (500, 1), {"commit": "after"}),
    Probe("error", created, ((503, "html"), 1), {"status": 503, "commit": "after", "page": True}),
    Probe("reset", broken_off, ("reset", 0)),
    Probe("reset", broken_off, ("reset", 1), {"commit": "after"}),
    Probe("truncated", created, ("RemoteProtocolError", 1)),
    Probe("hang", short_wait, ("ReadTimeout", 0)),
    Probe("hang", short_wait, ("ReadTimeout", 1), {"commit": "after"}),
    Probe("hang", created, ("RemoteProtocolError", 0), {"seconds": 0.05}),
    Probe("html", created, ((200, "html"), 0)),
    Probe("html", created, ((200, "html"), 1), {"commit": "after"}),
    Probe("not_json", not_json, (200, "broken", 0)),
    Probe("delayed_lists", listed, ([0, 0, 1], 200), {"requests": 2}),
    Probe("delayed_lists", listed, ([0, 0, 0], 200), {"seconds": 3600}),
    Probe("expired_token", three_answers, [200, 200, 401], {"after": 2}),
    Probe("close_every", closings, (2, [None] * 4), {"every": 2}),
    Probe("close_every", closings, (2, [None, "close"] * 2), {"every": 2, "announced": True}),
    Probe("in_flight", at_once, [0, 0, 201, 201], {"limit": 2}),
    Probe("in_flight", at_once, [201, 201, 503, 503], {"limit": 2, "status": 503}),
]


@pytest.mark.parametrize("probe", PROBES, ids=[f"{p.kind}-{p.settings}" for p in PROBES])
def test_a_fault_does_what_it_says(probe, http):
    """A client sees the fault when it is set and only then, and the service has done what the fault says it has."""
    with ScimService(token="t") as service:
        assert probe.ask(Client(service, http)) != probe.seen
    with ScimService(token="t") as service:
        if probe.kind == "close_every":
            Client(service, http).create()
        fault = service.set_fault(probe.kind, **probe.settings)
        assert probe.ask(Client(service, http)) == probe.seen
        assert fault.struck or probe.kind in {"delayed_lists", "close_every"}


def test_every_fault_is_tried():
    """No kind of fault can do nothing unnoticed."""
    assert {probe.kind for probe in PROBES} == set(FaultKind)


@pytest.mark.parametrize("form", RetryAfter)
def test_retry_after_comes_in_every_form(form, service, http):
    """A client meets every way of saying how long to wait."""
    service.set_fault("too_many_requests", retry_after=form, seconds=30)
    text = Client(service, http).get().headers.get("retry-after")
    match form:
        case RetryAfter.SECONDS:
            assert text == "30"
        case RetryAfter.DATE:
            assert 20 < parsedate_to_datetime(text).timestamp() - time.time() <= 31
        case RetryAfter.ABSENT:
            assert text is None
        case RetryAfter.ABSURD:
            assert int(text) > 100_000_000
        case RetryAfter.PAST_DATE:
            assert parsedate_to_datetime(text).timestamp() < time.time()
        case RetryAfter.NEGATIVE:
            assert int(text) < 0
        case RetryAfter.FRACTION:
            assert text == "30.000"
        case RetryAfter.WORDS:
            assert not re.search(r"\d", text)


@pytest.mark.parametrize("form", HeaderForm)
def test_a_rate_limit_is_announced_in_every_form(form, service, http):
    """Answers say how much is left before the limit bites, and the refusal says how long to wait."""
    service.set_fault("token_bucket", rate_per_s=0.1, burst=2, headers=form)
    first, second, third = (Client(service, http).get().headers for _ in range(3))
    match form:
        case HeaderForm.FIELDS:
            assert [first["ratelimit-limit"], first["ratelimit-remaining"]] == ["2", "1"]
            assert 9 <= int(first["ratelimit-reset"]) <= 10
        case HeaderForm.X:
            assert second["x-ratelimit-remaining"] == "0"
            assert 15 < int(second["x-ratelimit-reset"]) - time.time() < 25
        case HeaderForm.STRUCTURED:
            assert first["ratelimit-policy"] == '"default";q=2;w=20'
            assert re.fullmatch(r'"default";r=1;t=(9|10)', first["ratelimit"])
        case HeaderForm.NONE:
            assert not [name for name in first if "ratelimit" in name]
    assert "retry-after" not in second
    assert 5 <= int(third["retry-after"]) <= 10


def test_a_token_bucket_fills_again(service, http):
    """A client that keeps below the rate is never refused for long."""
    service.set_fault("token_bucket", rate_per_s=4, burst=1)
    client = Client(service, http)
    statuses = [client.get().status_code]
    while 429 not in statuses and len(statuses) < 500:
        statuses.append(client.get().status_code)
    deadline = time.monotonic() + 10
    while statuses[-1] != 200 and time.monotonic() < deadline:
        statuses.append(client.get().status_code)
    assert 429 in statuses
    assert statuses[0] == statuses[-1] == 200


def test_a_fault_strikes_only_what_it_is_for(service, http):
    """Method, path and content select requests; several faults of a kind stand side by side by their labels."""
    client = Client(service, http)
    service.set_fault("error", label="writes", method="POST,PUT", path="^/Users$")
    service.set_fault("error", label="bob", contains="bob", status=503)
    assert client.get().status_code == 200
    assert client.create().status_code == 500
    assert client.get("/Users?filter=userName+eq+%22bob%22").status_code == 503
    service.clear_fault("writes")
    assert [client.create("ada").status_code, client.create("bob").status_code] == [201, 503]
    service.clear_fault()
    assert client.create("bob").status_code == 201


@pytest.mark.parametrize(
    ("bounds", "expected"),
    [
        ({"first": 2}, [500, 500, 200, 200, 200]),
        ({"after": 1, "first": 2}, [200, 500, 500, 200, 200]),
        ({"times": 1, "after": 3}, [200, 200, 200, 500, 200]),
        ({"probability": 0.0}, [200] * 5),
    ],
)
def test_a_fault_strikes_within_its_bounds(bounds, expected, service, http):
    """A test can say which of the next requests fail."""
    service.set_fault("error", **bounds)
    assert [Client(service, http).get().status_code for _ in range(5)] == expected


def test_chance_comes_from_the_seed(http):
    """The same seed gives the same faults, another seed others, and about as many as the probability says."""

    def statuses(seed: int) -> list[int]:
        with ScimService(token="t", seed=seed, faults={"error": {"probability": 0.5}}) as service:
            return [Client(service, http).get().status_code for _ in range(60)]

    first = statuses(1)
    assert first == statuses(1) != statuses(2)
    assert 15 < first.count(500) < 45


def test_a_misspelt_setting_is_refused(service):
    """A fault with a setting that it does not have would not do what the test thinks."""
    with pytest.raises(TypeError, match="every"):
        service.set_fault("latency", every=2)
    with pytest.raises(ValueError, match="latecny"):
        service.set_fault("latecny")


def test_a_renewed_token_is_accepted_and_the_old_one_is_not(service, http):
    """After a token has expired only the new one works."""
    service.set_fault("expired_token")
    client = Client(service, http)
    assert client.get().status_code == 401
    service.renew_token("u")
    assert client.get().status_code == 401
    assert client.get(headers={"Authorization": "Bearer u"}).status_code == 200


def test_answers_keep_the_order_of_pipelined_requests(service):
    """A request that waits holds up those behind it on its connection."""
    service.set_fault("latency", seconds=0.1, first=1)
    bodies = [json.dumps({"schemas": [USER], "userName": name}).encode() for name in ("ada", "bob")]
    with connect(service) as raw:
        raw.sendall(b"".join(post(body) for body in bodies))
        data = b""
        while data.count(b"userName") < 2:
            data += raw.recv(65536)
    assert data.index(b"ada") < data.index(b"bob")


def test_a_request_is_carried_out_though_its_client_has_gone(service, http):
    """A client that stops waiting does not undo what it asked for."""
    service.set_fault("latency", seconds=0.3)
    client = Client(service, http)
    assert client.outcome(timeout=0.1)[0] == "ReadTimeout"
    deadline = time.monotonic() + 10
    while not service.users and time.monotonic() < deadline:
        client.get()
    assert len(service.users) == 1


def test_the_log_says_what_was_asked_and_answered(service, http):
    """Each request is in the log with its status, its body and its headers; one without an answer has status 0."""
    client = Client(service, http)
    client.create()
    service.set_fault("reset", commit="after", first=1)
    client.outcome(name="bob")
    client.get("/Users?count=1")
    assert [(entry.method, entry.path, entry.status) for entry in service.log] == [
        ("POST", "/Users", 201),
        ("POST", "/Users", 0),
        ("GET", "/Users?count=1", 200),
    ]
    assert service.log[0].json()["userName"] == "ada"
    assert service.log[0].headers["authorization"] == "Bearer t"
    assert service.log[0].digest != service.log[1].digest
    assert service.requests == {"POST /Users": 2, "GET /Users": 1}
    assert service.statuses == {201: 1, 0: 1, 200: 1}
    service.reset_counts()
    assert not service.log
    assert not service.requests


def test_a_test_changes_resources_behind_the_clients_backs(service, http):
    """What is set, changed or deleted in `users` and `groups` is what a client then finds."""
    [ada, bob], [group] = service.seed(
        users=[{"userName": "ada"}, {"userName": "bob"}], groups=[{"id": "g", "displayName": "G", "members": []}]
    )
    service.users[ada] = {**service.users[ada], "userName": "eve"}
    service.groups[group] = {"displayName": "G", "members": [{"value": ada}, {"value": bob}]}
    del service.users[bob]
    client = Client(service, http)
    found = client.get('/Users?filter=userName eq "EVE"').json()["Resources"]
    assert [user["id"] for user in found] == [ada]
    assert client.get('/Users?filter=userName eq "ada"').json()["totalResults"] == 0
    members = client.get("/Groups/g").json()["members"]
    assert [member["value"] for member in members] == [ada]


def test_a_mistake_of_the_service_does_not_pass_for_a_fault(http):
    """When the test service itself fails, the test that uses it fails."""

    def use() -> None:
        with ScimService(token="t") as service:
            service.application.store = None
            assert Client(service, http).get().status_code == 500

    with pytest.raises(RuntimeError, match="itself failed"):
        use()


def test_another_process_is_driven_by_its_control_interface():
    """Seeding, counts, log, faults, quirks, token and export reach a service in a process of its own."""
    with ScimProcess(token="t", log="full", max_page_size=50, seed_users=3) as service:
        with httpx.Client(headers={"Authorization": "Bearer t"}, trust_env=False) as http:
            client = Client(service, http)  # type: ignore[arg-type]
            assert client.get("/Users?count=500").json()["totalResults"] == 3
            service.seed(users=[{"id": "x", "userName": "ada"}], count=10, group_count=2, members_per_group=4)
            assert [len(group["members"]) for group in service.groups.values()] == [4, 4]
            assert len(service.users) == 14
            service.set_fault("error", first=1)
            assert [client.get().status_code for _ in range(2)] == [500, 200]
            service.set_fault("latency", seconds=0)
            service.clear_fault("latency")
            service.set_quirks(filter="refused")
            assert client.get("/Users?filter=id pr").status_code == 400
            assert service.requests == {"GET /Users": 4}
            assert service.statuses == {200: 2, 500: 1, 400: 1}
            assert [entry["status"] for entry in service.log] == [200, 500, 200, 400]
            assert service.state()["faults"]["error"]["struck"] == 1
            with pytest.raises(ValueError, match="no quirk"):
                service.set_quirks(filtre="refused")
            service.renew_token("u")
            assert client.get().status_code == 401
            service.reset_counts()
            service.clear()
            state = service.state()
            assert (state["users"], state["requests"], state["failures"]) == (0, {}, 0)
        pid = service.pid
    assert not pid_runs(pid)


def pid_runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
