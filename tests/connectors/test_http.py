"""The HTTP session: its decision table, its settings, and what it does when things go wrong."""

import asyncio
import socket
import ssl
import stat
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
import trustme
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)
from pydantic import ValidationError

from connectors.contract import Pace
from connectors.errors import (
    ConflictError,
    CredentialsError,
    ErrorCode,
    GoneError,
    HaltedError,
    InvalidValueError,
    ProvisorError,
    RejectedError,
    RetryableError,
    SchemaMismatchError,
    SettingsError,
    UnknownOutcomeError,
    UnreachableError,
    UnsupportedError,
)
from connectors.http import (
    MAX_ATTEMPTS,
    MAX_WAIT_S,
    Answer,
    Call,
    Decision,
    Effect,
    Fault,
    HttpSession,
    Problem,
    decide,
    decide_fault,
    redact,
    refusal,
)
from connectors.http_settings import HttpSettings
from connectors.rate_limits import retry_after_s
from connectors.wire_log import following, shape
from tests.connectors.clocks import FakeClock
from tests.servers.scim_service import ScimService
from tests.servers.starting import dead_port, html_server, tls_scim_service

OK, RETRY, REJECT, STOP, UNKNOWN = Decision
READ, REPEATABLE, ONCE = Effect

# -- the table ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("statuses", "read", "repeatable", "once"),
    [
        ((200, 201, 204), OK, OK, OK),
        ((301, 302, 307, 304, 401, 407), STOP, STOP, STOP),
        ((403,), STOP, REJECT, REJECT),
        ((408, 500, 502, 503, 504, 599), RETRY, RETRY, UNKNOWN),
        ((425, 429), RETRY, RETRY, RETRY),
        ((400, 404, 405, 409, 410, 412, 413, 422, 501, 505), REJECT, REJECT, REJECT),
    ],
)
def test_decision_table(statuses: tuple[int, ...], read: Decision, repeatable: Decision, once: Decision) -> None:
    """Each status leads to one decision, and a write that may happen once is never blindly repeated."""
    for status in statuses:
        assert [decide(status, effect) for effect in (READ, REPEATABLE, ONCE)] == [read, repeatable, once], status


def test_fault_table() -> None:
    """A request that was not sent had no effect; one that was sent and not answered may have had."""
    for effect in Effect:
        assert decide_fault(Fault.UNTRUSTED, effect, answered=True) is STOP
        assert decide_fault(Fault.UNKNOWN_CLIENT, effect, answered=True) is STOP
        assert decide_fault(Fault.NOT_SENT, effect, answered=False) is STOP
        assert decide_fault(Fault.NOT_SENT, effect, answered=True) is RETRY
    for fault in (Fault.LOST, Fault.LATE):
        assert [decide_fault(fault, effect, answered=True) for effect in Effect] == [RETRY, RETRY, UNKNOWN]


@pytest.mark.parametrize(
    ("status", "call", "error", "code"),
    [
        (302, {}, SettingsError, None),
        (400, {}, InvalidValueError, ErrorCode.UNPROCESSABLE_ENTITY),
        (401, {"effect": ONCE}, CredentialsError, ErrorCode.UNAUTHORIZED),
        (403, {}, CredentialsError, ErrorCode.INSUFFICIENT_RIGHTS),
        (403, {"effect": ONCE}, RejectedError, ErrorCode.INSUFFICIENT_RIGHTS),
        (404, {"known": True}, GoneError, ErrorCode.INVALID_ANCHOR),
        (404, {}, SettingsError, None),
        (405, {}, UnsupportedError, ErrorCode.METHOD_NOT_ALLOWED),
        (409, {}, ConflictError, ErrorCode.CONFLICT),
        (412, {}, RejectedError, ErrorCode.PROTOCOL_ERROR),
        (413, {}, InvalidValueError, ErrorCode.UNPROCESSABLE_ENTITY),
        (422, {}, InvalidValueError, ErrorCode.UNPROCESSABLE_ENTITY),
        (501, {}, UnsupportedError, ErrorCode.NOT_IMPLEMENTED),
    ],
)
def test_refusals(status: int, call: dict[str, Any], error: type[ProvisorError], code: ErrorCode | None) -> None:
    """Each refusal is the error whose recovery fits it."""
    answer = Answer(status, httpx.Headers({"location": "https://u:p@elsewhere.example/x?token=1"}), b"")
    refused = refusal(answer, Call("GET", "/Users", "list users", **call), Problem("why", "so"), address="http://a")
    assert type(refused) is error
    assert refused.code is code
    assert str(status) in str(refused)
    assert "token" not in str(refused).replace("token refers", "") or status in {401, 403}
    assert "u:p" not in str(refused)


# -- small parts ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (None, None),
        ("", None),
        ("7", 7.0),
        ("0.5", 0.5),
        ("-3", 0.0),
        ("nan", None),
        ("inf", None),
        ("Thu, 01 Jan 1970 00:02:00 GMT", 20.0),
        ("Thu, 01 Jan 1970 00:00:00 GMT", 0.0),
        ("a little later", None),
    ],
)
def test_retry_after(header: str | None, expected: float | None) -> None:
    """Seconds and dates are understood; nonsense is no answer; nothing is negative."""
    assert retry_after_s({} if header is None else {"retry-after": header}, now=100.0) == expected


def test_redaction() -> None:
    """What was sent, addresses and long numbers do not come back in an error text."""
    said = "User 'Jane Doe' <jane@example.com> (4711234) clashes\n with jane; active true; no Jan"
    assert redact(said, ["Jane Doe", "jane", True, None]) == "User '…' <…> (…) clashes with …; active true; no Jan"
    assert len(redact("x " * 500)) == 200


BASE = {"url": "https://scim.example.com/v2"}


@pytest.mark.parametrize(
    "changes",
    [
        {"url": "scim.example.com"},
        {"url": "ftp://scim.example.com"},
        {"url": "https://scim.example.com/v2?flag"},
        {"url": "https://me:secret@scim.example.com/v2"},
        {"auth": {"bearer": "a-plain-token"}},
        {"auth": {}},
        {"auth": {"bearer": "${env:A}", "basic": {"username": "u", "password": "${env:B}"}}},
        {"auth": {"header": {"name": "X Key", "value": "${env:A}"}}},
        {"verify": False},
        {"timeout_s": 0},
    ],
)
def test_settings_that_cannot_be_right(changes: dict[str, Any]) -> None:
    """No credential in a job file, no way to switch verification off, no address that cannot work."""
    with pytest.raises(ValidationError):
        HttpSettings.model_validate({**BASE, **changes})


# -- a session -----------------------------------------------------------------------------------------------------

USERS = "/Users"


def settings(url: str, **more: Any) -> HttpSettings:
    return HttpSettings.model_validate({"url": url, "auth": {"bearer": "${env:SCIM_TOKEN}"}, **more})


@pytest.fixture(autouse=True)
def _token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCIM_TOKEN", "a-token")


@pytest.fixture
def service() -> Iterator[ScimService]:
    with ScimService() as running:
        yield running


def exchange(chosen: HttpSettings, *calls: Call, pace: Pace | None = None) -> tuple[list[Any], HttpSession, FakeClock]:
    """Send calls at the same time; gives answers or errors, the closed session and its clock."""

    async def main() -> tuple[list[Any], HttpSession, FakeClock]:
        clock = FakeClock()
        session = HttpSession(
            chosen, folder=Path(), pace=pace or Pace(), media_type="application/scim+json", clock=clock
        )
        try:
            return await asyncio.gather(*map(session.send, calls), return_exceptions=True), session, clock
        finally:
            await session.close()

    return asyncio.run(main())


def read(**more: Any) -> Call:
    return Call("GET", USERS, "list users", **more)


def create(name: str = "a") -> Call:
    body = b'{"schemas":["urn:ietf:params:scim:schemas:core:2.0:User"],"userName":"%s"}' % name.encode()
    return Call("POST", USERS, "create the user", effect=ONCE, body=body)


def test_answers_and_counts(service: ScimService) -> None:
    """What was sent is what arrived, counted, over connections that are kept."""
    [answer], session, _ = exchange(settings(service.url), create())
    assert answer.status == 201
    assert answer.json()["userName"] == "a"
    assert session.requests == 1
    answers, session, _ = exchange(settings(service.url), *(read() for _ in range(20)), pace=Pace(concurrency=2))
    assert {answer.status for answer in answers} == {200}
    assert service.connections_made <= 3


@pytest.mark.parametrize("text", ["a+b c%20&=?#/é😀\"'\\", "%41", "..", "100% & more; x", "a\tb"])
def test_parameters_arrive_as_they_are(service: ScimService, text: str) -> None:
    """Plus, percent, quotes and non-Latin letters reach the service unchanged through both libraries."""
    import orjson

    name = orjson.dumps(text).decode()
    service.seed(users=[{"userName": text}, {"userName": "other"}])
    [answer], _, _ = exchange(settings(service.url), read(params={"filter": f"userName eq {name}"}))
    assert [user["userName"] for user in answer.json()["Resources"]] == [text]


@pytest.mark.parametrize(("form", "wait"), [("seconds", 3.0), ("date", 3.0), ("absent", 0.5), ("words", 0.5)])
def test_too_many_requests_waits_as_asked(service: ScimService, form: str, wait: float) -> None:
    """429 had no effect, so even a create is sent again, after the wait that was asked for."""
    service.set_fault("too_many_requests", retry_after=form, seconds=3, times=1)
    [answer], session, clock = exchange(settings(service.url), create())
    assert answer.status == 201
    assert session.requests == 2
    assert wait * 0.5 - 0.1 <= sum(clock.slept) <= wait + 1.5
    assert len(service.users) == 1


def test_an_absurd_wait_is_not_waited(service: ScimService) -> None:
    """Ten years of peace are an error that says so, not a run that never ends."""
    service.set_fault("too_many_requests", retry_after="absurd")
    [error], session, clock = exchange(settings(service.url), read())
    assert isinstance(error, RetryableError)
    assert error.code is ErrorCode.TOO_MANY_REQUESTS
    assert error.retry_after_s is not None
    assert error.retry_after_s > MAX_WAIT_S
    assert session.requests == 1
    assert sum(clock.slept) == 0


def test_failing_reads_are_repeated_but_not_for_ever(service: ScimService) -> None:
    """A read is sent again with growing waits, a bounded number of times."""
    service.set_fault("error", status=503)
    call = read()
    [error], session, clock = exchange(settings(service.url), call)
    assert isinstance(error, RetryableError)
    assert call.sent == session.requests == MAX_ATTEMPTS
    assert len(clock.slept) == MAX_ATTEMPTS - 1
    assert not call.doubtful


@pytest.mark.parametrize(("fault", "sent"), [("reset", 2), ("error", 1), ("hang", 1)])
def test_impatience_ends_at_a_closed_connection(service: ScimService, fault: str, sent: int) -> None:
    """A failure of a call that is not to be repeated is final; a closed connection says nothing about the service."""
    service.set_fault(fault, **({"seconds": 5} if fault == "hang" else {}))
    call = read(impatient=True)
    exchange(settings(service.url, timeout_s=0.2), call)
    assert call.sent == sent
    service.clear_fault()
    service.set_fault("reset", times=2)  # the transport opens another connection by itself, once
    [answer], _, _ = exchange(settings(service.url), again := read(impatient=True))
    assert (answer.status, again.sent) == (200, 2)


@pytest.mark.parametrize(
    ("fault", "more", "code"),
    [
        ("error", {"status": 500}, ErrorCode.INTERNAL_SERVER_ERROR),
        ("error", {"status": 504}, ErrorCode.TIMEOUT),
        ("reset", {}, ErrorCode.PROTOCOL_ERROR),
        ("reset", {"commit": "after"}, ErrorCode.PROTOCOL_ERROR),
        ("truncated", {}, ErrorCode.PROTOCOL_ERROR),
        ("hang", {"seconds": 5}, ErrorCode.TIMEOUT),
    ],
)
def test_a_create_without_answer_is_unknown(
    service: ScimService, fault: str, more: dict[str, Any], code: ErrorCode
) -> None:
    """A create whose answer is lost is sent once and reported as unknown, whatever really happened."""
    service.set_fault(fault, method="POST", **more)
    chosen = settings(service.url, timeout_s=0.2)
    [_, error], _, _ = exchange(chosen, read(), create(), pace=Pace(concurrency=1))
    assert isinstance(error, UnknownOutcomeError)
    assert error.code is code
    assert service.requests["POST /Users"] == 1


@pytest.mark.parametrize("fault", ["reset", "truncated", "error"])
def test_a_repeatable_write_is_repeated_and_in_doubt(service: ScimService, fault: str) -> None:
    """A write that is as good twice is sent again, and remembers that the first one may have worked."""
    [user] = service.seed(users=[{"userName": "a"}])[0]
    service.set_fault(fault, method="DELETE", times=1)
    call = Call("DELETE", f"{USERS}/{user}", "delete the user", effect=REPEATABLE, known=True)
    [answer], _, _ = exchange(settings(service.url), call)
    assert answer.status in {204, 404}
    assert len(service.users) == 0


def test_not_json(service: ScimService) -> None:
    """A sign-in page with status 200 is named for what it is."""
    with html_server() as page:
        [answer], _, _ = exchange(settings(page.url), read())
    with pytest.raises(SchemaMismatchError, match="an HTML page"):
        answer.json()
    service.set_fault("not_json")
    [answer], _, _ = exchange(settings(service.url), read())
    with pytest.raises(SchemaMismatchError, match="cut-off JSON"):
        answer.json()


def test_nobody_at_home() -> None:
    """A refused connection says where nobody answers, at the first attempt."""
    with dead_port() as nobody:
        [error], session, _ = exchange(settings(nobody.url), read())
    assert isinstance(error, UnreachableError)
    assert nobody.url in str(error)
    assert "refused" in str(error)
    assert session.requests == 1


def test_unknown_host() -> None:
    """A host name that does not exist is not a matter of patience."""
    [error], session, _ = exchange(settings("http://no-such-host.invalid", insecure=True), read())
    assert isinstance(error, UnreachableError)
    assert session.requests == 1


def test_gone_while_at_work() -> None:
    """A service that answered before gets some time to come back; then the cycle stops."""

    async def main() -> tuple[UnreachableError, HttpSession]:
        with ScimService() as service:
            session = HttpSession(settings(service.url), folder=Path(), pace=Pace(), clock=FakeClock())
            assert (await session.send(read())).status == 200
        with pytest.raises(UnreachableError) as caught:
            await session.send(read())
        await session.close()
        return caught.value, session

    error, session = asyncio.run(main())
    assert "answered before" in str(error)
    assert session.requests == 1 + MAX_ATTEMPTS


def test_untrusted_certificate(tmp_path: Path) -> None:
    """A certificate that nobody vouches for ends the call and names ca_file; with the authority's file it works."""
    with tls_scim_service(logs=tmp_path) as service:
        [error], session, _ = exchange(settings(service.url), read())
        assert isinstance(error, UnreachableError)
        assert "ca_file" in str(error)
        assert session.requests == 1
        [answer], _, _ = exchange(settings(service.url, ca_file=str(service.ca_file)), read())
        assert answer.status == 200


def test_a_ca_file_that_is_none(tmp_path: Path) -> None:
    """A file that holds no certificate is a mistake in the settings."""
    (tmp_path / "ca.pem").write_text("nothing")
    [error], _, _ = exchange(settings("https://127.0.0.1:1", ca_file=str(tmp_path / "ca.pem")), read())
    assert isinstance(error, SettingsError)


def wants_certificates(folder: Path) -> tuple[ssl.SSLContext, trustme.CA]:
    """A server's side of TLS that lets in whoever has a certificate of its authority; that one's file is ``ca.pem``."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(folder / "ca.pem")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost", "127.0.0.1").configure_cert(context)
    context.verify_mode = ssl.CERT_REQUIRED
    authority.configure_trust(context)
    return context, authority


def present(folder: Path, url: str, call: Call, **certificate: str) -> Any:
    """The answer to a call, or its error, with a client certificate."""
    document = {"url": url, "ca_file": "ca.pem", "client_certificate": certificate or None}

    async def main() -> Any:
        session = HttpSession(HttpSettings.model_validate(document), folder=folder, pace=Pace(), clock=FakeClock())
        try:
            return await session.send(call)
        except ProvisorError as error:
            return error
        finally:
            await session.close()

    return asyncio.run(main())


def test_a_client_certificate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With its key in the same file, in another one, or in an encrypted one whose password is a reference."""
    context, authority = wants_certificates(tmp_path)
    issued = authority.issue_cert("provisor")
    issued.private_key_and_cert_chain_pem.write_to_path(tmp_path / "both.pem")
    issued.cert_chain_pems[0].write_to_path(tmp_path / "certificate.pem")
    issued.private_key_pem.write_to_path(tmp_path / "key.pem")
    key = load_pem_private_key(issued.private_key_pem.bytes(), None)
    locked = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"opens it"))
    (tmp_path / "locked.pem").write_bytes(locked)
    monkeypatch.setenv("KEY_PASSWORD", "opens it")
    with ScimService(token=None, tls=context) as service:
        for files in (
            {"certificate": "both.pem"},
            {"certificate": "certificate.pem", "key": "key.pem"},
            {"certificate": "certificate.pem", "key": "locked.pem", "password": "${env:KEY_PASSWORD}"},
        ):
            assert present(tmp_path, service.url, create(files.get("key", "x")), **files).status == 201
        url = service.url
    monkeypatch.setenv("KEY_PASSWORD", "does not")
    for files, said in (
        ({"certificate": "certificate.pem", "key": "locked.pem"}, "is encrypted: give client_certificate a password"),
        ({"certificate": "certificate.pem", "key": "locked.pem", "password": "${env:KEY_PASSWORD}"}, "does not open"),
        ({"certificate": "ca.pem", "key": "key.pem"}, "the key is not the certificate's"),
        ({"certificate": "certificate.pem"}, "not a certificate and a key"),
        ({"certificate": "nowhere.pem"}, "is not there"),
    ):
        error = present(tmp_path, url, create(), **files)
        assert isinstance(error, SettingsError)
        assert said in str(error)


def test_a_client_that_is_not_known(tmp_path: Path) -> None:
    """Without a certificate, or with a stranger's, nothing is in doubt: no request was let in, and it is said why."""
    context, _ = wants_certificates(tmp_path)
    trustme.CA().issue_cert("stranger").private_key_and_cert_chain_pem.write_to_path(tmp_path / "stranger.pem")
    with echo_server(200, {}, tls=context) as (url, seen):
        for files, said in (({}, "and gets none"), ({"certificate": "stranger.pem"}, "does not accept stranger.pem")):
            error = present(tmp_path, url, create(), **files)
            assert isinstance(error, UnreachableError), repr(error)
            assert "wants a client certificate" in str(error)
            assert said in str(error)
        assert not seen


class PoliteServer(HTTPServer):
    """Tells whoever it does not let in why, and waits until that has been read, as web servers do.

    A connection that is closed while something is unread in it is reset, which may overtake what was said.
    """

    tls: ssl.SSLContext | None = None

    def get_request(self) -> tuple[socket.socket, Any]:
        connection, address = super().get_request()
        if self.tls is None:
            return connection, address
        secured = self.tls.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)
        secured.settimeout(1)
        try:
            secured.do_handshake()
        except ssl.SSLError:
            secured.shutdown(socket.SHUT_WR)
            while secured.recv(65_536):
                continue
            secured.close()
            raise
        return secured, address


@contextmanager
def echo_server(
    status: int, headers: dict[str, str], *, tls: ssl.SSLContext | None = None
) -> Iterator[tuple[str, list[dict[str, str]]]]:
    """Answers everything with one status; gives its address and the headers it was sent."""
    seen: list[dict[str, str]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            seen.append({name.lower(): value for name, value in self.headers.items()})
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"{}")

        def log_message(self, *_: object) -> None:
            return None

    server = PoliteServer(("127.0.0.1", 0), Handler)
    server.tls = tls
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"{'https' if tls else 'http'}://127.0.0.1:{server.server_address[1]}", seen
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_redirects_are_not_followed() -> None:
    """The credentials do not travel to an address that is not in the job; the error names it."""
    with echo_server(302, {"Location": "https://login.example.com/signin?next=1"}) as (url, seen):
        call = read()
        [answer], _, _ = exchange(settings(url), call)
        assert len(seen) == 1
    error = refusal(answer, call, Problem(), address=url)
    assert isinstance(error, SettingsError)
    assert "https://login.example.com/signin " in str(error)


@pytest.mark.parametrize(
    ("auth", "name", "value"),
    [
        ({"bearer": "${env:SCIM_TOKEN}"}, "authorization", "Bearer a-token"),
        ({"basic": {"username": "me", "password": "${env:SCIM_TOKEN}"}}, "authorization", "Basic bWU6YS10b2tlbg=="),
        ({"header": {"name": "X-API-Key", "value": "${env:SCIM_TOKEN}"}}, "x-api-key", "a-token"),
    ],
)
def test_ways_to_sign_in(auth: dict[str, Any], name: str, value: str) -> None:
    """Each way sends the header that it stands for, and nothing keeps cookies."""
    with echo_server(200, {"Set-Cookie": "session=1"}) as (url, seen):
        exchange(HttpSettings.model_validate({"url": url, "auth": auth}), read(), read(), pace=Pace(concurrency=1))
    assert [headers[name] for headers in seen] == [value, value]
    assert all("cookie" not in headers for headers in seen)


@pytest.mark.parametrize(
    "auth",
    [
        {"bearer": "${env:SCIM_TOKEN}"},
        {"basic": {"username": "me", "password": "${env:SCIM_TOKEN}"}},
        {"header": {"name": "X-API-Key", "value": "${env:SCIM_TOKEN}"}},
    ],
)
def test_a_system_that_repeats_the_credentials_is_not_quoted(
    service: ScimService, auth: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a refusal says goes into logs: the secret is struck out of it before anybody reads it."""
    monkeypatch.setenv("SCIM_TOKEN", "a-token")
    monkeypatch.setattr(service.application, "token", None)
    detail = "Not with a-token, Bearer a-token or Basic bWU6YS10b2tlbg==" if "basic" in auth else "Not with a-token"
    service.set_fault("error", status=400, method="POST", detail=detail)
    [answer], _, _ = exchange(HttpSettings.model_validate({"url": service.url, "auth": auth}), create())
    assert answer.json()["detail"].startswith("Not with …")
    assert b"a-token" not in answer.body
    assert b"bWU6YS10b2tlbg" not in answer.body


def test_a_token_that_is_missing_or_cannot_be_sent(monkeypatch: pytest.MonkeyPatch, service: ScimService) -> None:
    """The reference is named, the value never."""
    monkeypatch.setenv("SCIM_TOKEN", "secret\nvalue")
    [error], _, _ = exchange(settings(service.url), read())
    assert isinstance(error, SettingsError)
    assert "secret" not in str(error)
    monkeypatch.delenv("SCIM_TOKEN")
    [error], _, _ = exchange(settings(service.url), read())
    assert isinstance(error, SettingsError)
    assert "SCIM_TOKEN" in str(error)


def test_no_request_leaves_names_in_a_log(service: ScimService, caplog: pytest.LogCaptureFixture) -> None:
    """The debug log has method, resource and status; no query, no id, no token, at any level of any logger."""
    caplog.set_level("DEBUG")
    exchange(
        settings(service.url),
        read(params={"filter": 'userName eq "jane"'}),
        Call("GET", f"{USERS}/jane", "read the user", known=True),
    )
    assert "GET /Users: 200" in caplog.text
    assert "GET /Users: 404" in caplog.text
    assert "jane" not in caplog.text
    assert "a-token" not in caplog.text


def test_the_debug_log_shows_what_happened_and_to_nobody(
    service: ScimService, caplog: pytest.LogCaptureFixture
) -> None:
    """Sizes, shapes, repetitions and the pace, on demand: attributes are named, values never."""
    caplog.set_level("DEBUG", logger="connectors.http")
    service.seed(users=[{"userName": "planted-one"}, {"userName": "planted-two"}])
    service.set_fault("too_many_requests", times=1, seconds=2, method="POST")
    service.set_fault("token_bucket", rate_per_s=100, burst=50, method="GET")
    exchange(settings(service.url), read(params={"filter": 'userName sw "planted"'}), pace=Pace(concurrency=1))
    exchange(settings(service.url), create("planted-three"), create("planted-one"), pace=Pace(concurrency=1))
    said = caplog.text
    assert "GET /Users: 200" in said
    assert '"totalResults":2' in said
    assert '"userName":"…"' in said
    assert "attempt 2 follows in 2." in said
    assert "POST /Users: 409" in said
    assert '"scimType":"uniqueness"' in said
    assert "1 of 1 in flight" in said
    assert "planted" not in said
    assert "a-token" not in said


def test_the_debug_log_can_be_followed_in_a_file(service: ScimService, tmp_path: Path) -> None:
    """For its owner alone, and only while it is wanted."""
    file = tmp_path / "wire.log"
    for wanted in (str(file), None, ""):
        with following(wanted):
            exchange(settings(service.url), create(f"planted-{wanted}"))
    [line] = file.read_text().splitlines()
    assert "POST /Users: 201 in" in line
    assert "planted" not in line
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    with pytest.raises(SettingsError, match="cannot be written"), following(str(tmp_path)):
        pass


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"<html>planted", "an HTML page"),
        (b'{"schemas":["urn:x"],"userName":"planted","active":true,"name":{"givenName":"planted"},"n":17}',
         '{"schemas":["urn:x"],"userName":"…","active":true,"name":{"givenName":"…"},"n":"…"}'),
        (b'{"schemas":["urn:ietf:params:scim:api:messages:2.0:PatchOp"],"Operations":[{"op":"remove",'
         b'"path":"members[value eq \\"planted\\"]"},{"op":"add","path":"title","value":"planted"}]}',
         '{"schemas":["urn:ietf:params:scim:api:messages:2.0:PatchOp"],"Operations":[{"op":"remove",'
         '"path":"members[value eq \\"…\\"]"},{"op":"add","path":"title","value":"…"}]}'),
        (b'{"schemas":["urn:ietf:params:scim:api:messages:2.0:Error"],"status":"409","detail":"planted"}',
         '{"schemas":["urn:ietf:params:scim:api:messages:2.0:Error"],"status":"409","detail":"…"}'),
        (b'["planted","planted","planted"]', '["…","… 3"]'),
    ],
)  # fmt: skip
def test_shapes(body: bytes, expected: str) -> None:
    """Names of attributes and what messages say about themselves; nothing that is about anybody."""
    assert shape(body) == expected


def test_the_pace_holds_over_all_callers(service: ScimService) -> None:
    """Never more requests in flight than agreed, however many calls are waiting."""
    service.set_fault("latency", seconds=0.005)
    exchange(settings(service.url), *(read() for _ in range(40)), pace=Pace(concurrency=3))
    assert service.most_in_flight <= 3


@pytest.mark.parametrize("form", ["fields", "structured", "x"])
def test_what_the_system_allows_is_kept_to_before_it_refuses(service: ScimService, form: str) -> None:
    """Sixty requests at a service that lets twenty a second pass, and says so: it has to refuse none."""
    service.set_fault("token_bucket", rate_per_s=20, burst=20, headers=form)

    async def main() -> set[int]:
        session = HttpSession(settings(service.url), folder=Path(), pace=Pace(concurrency=16))
        first = await session.send(read())
        answers = await asyncio.gather(*(session.send(read()) for _ in range(59)))
        await session.close()
        return {answer.status for answer in (first, *answers)}

    assert asyncio.run(main()) == {200}
    assert service.statuses == {200: 60}


def test_a_halt_says_of_every_call_what_became_of_it(service: ScimService) -> None:
    """Who waits was not sent; who is under way is answered, or given up and in doubt; who was refused for now was not
    sent either, unless the system may have done it all the same.
    """
    [one, two] = service.seed(users=[{"userName": "one"}, {"userName": "two"}])[0]
    service.set_fault("latency", seconds=0.2, method="POST", contains="slow")
    service.set_fault("hang", method="POST", contains="hung", seconds=600, commit="after")
    service.set_fault("too_many_requests", method="POST", contains="refused", seconds=100)
    service.set_fault("error", method="DELETE", path=one, status=503, retry_after="seconds", seconds=100)
    service.set_fault("reset", method="DELETE", path=two, commit="after")

    async def main() -> dict[str, Any]:
        session = HttpSession(settings(service.url), folder=Path(), pace=Pace(concurrency=5))
        calls = {name: create(name) for name in ("slow", "hung", "refused")}
        calls |= {
            name: Call("DELETE", f"{USERS}/{id}", "delete the user", effect=REPEATABLE, known=True)
            for name, id in (("failed", one), ("lost", two))
        }
        calls |= {"waiting": create("waiting"), "reading": read()}
        async with asyncio.timeout(60):
            await session.send(read())
            tasks = {name: asyncio.create_task(session.send(call)) for name, call in calls.items()}
            while not all(fault.struck for fault in service.faults.values()):
                await asyncio.sleep(0.001)
            await session.halt(grace_s=2)
            ended = await asyncio.gather(*tasks.values(), return_exceptions=True)
        await session.close()
        return dict(zip(tasks, ended, strict=True))

    ended = asyncio.run(main())
    assert ended["slow"].status == 201
    kinds = {name: type(one) for name, one in ended.items() if isinstance(one, Exception)}
    assert kinds["hung"] is kinds["failed"] is kinds["lost"] is UnknownOutcomeError
    assert kinds["refused"] is kinds["waiting"] is kinds["reading"] is HaltedError
    assert service.requests["POST /Users"] == 3


def test_nothing_is_sent_after_a_halt(service: ScimService) -> None:
    """For good: a halted session is not opened again."""

    async def main() -> None:
        session = HttpSession(settings(service.url), folder=Path(), pace=Pace())
        await session.halt(grace_s=0)
        with pytest.raises(HaltedError):
            await session.send(read())

    asyncio.run(main())
    assert not service.requests
