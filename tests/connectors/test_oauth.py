"""Tokens by OAuth 2.0: how the client proves itself, whose token it is, when tokens are renewed, what goes wrong."""

import asyncio
import re
import ssl
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import jwt
import pytest
import trustme
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from pydantic import ValidationError

from connectors.contract import Pace
from connectors.errors import CredentialsError, FatalError, SettingsError, UnreachableError
from connectors.http import Answer, Call, Effect, HttpSession, Problem, refusal
from connectors.http_settings import ClientCredentials, Grant, HttpSettings
from connectors.oauth import ATTEMPTS
from connectors.oauth_errors import ADVICE, PASSING, advice
from connectors.signing import open_signer
from tests.connectors.clocks import FakeClock
from tests.servers.scim_service import ScimService
from tests.servers.starting import dead_port
from tests.servers.token_endpoint import Answered, Client, TokenEndpoint, error

SECRET = "s3cret & more: ä"
APP = {"app": Client(secret=SECRET)}


@pytest.fixture(autouse=True)
def _secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLIENT_SECRET", SECRET)


@pytest.fixture
def service() -> Iterator[ScimService]:
    with ScimService(token="nobody has this one") as running:
        yield running


@pytest.fixture
def endpoint(service: ScimService) -> Iterator[TokenEndpoint]:
    with TokenEndpoint(APP, issued=service.renew_token) as running:
        yield running


def settings(service: ScimService, endpoint: TokenEndpoint | None = None, **oauth: Any) -> HttpSettings:
    client = {"client_id": "app", "secret": "${env:CLIENT_SECRET}"} | oauth
    if endpoint is not None:
        client.setdefault("token_url", endpoint.url)
    client = {name: value for name, value in client.items() if value is not None}
    return HttpSettings.model_validate({"url": service.url, "auth": {"oauth": client}})


Scenario = Callable[[HttpSession, FakeClock], Any]


def run(chosen: HttpSettings, scenario: Scenario, *, folder: Path = Path(), pace: Pace | None = None) -> Any:
    async def main() -> Any:
        clock = FakeClock()
        session = HttpSession(chosen, folder=folder, pace=pace or Pace(), clock=clock)
        try:
            return await scenario(session, clock)
        finally:
            await session.close()

    return asyncio.run(main())


def read() -> Call:
    return Call("GET", "/Users", "list users")


def create(name: str) -> Call:
    body = b'{"schemas":["urn:ietf:params:scim:schemas:core:2.0:User"],"userName":"%s"}' % name.encode()
    return Call("POST", "/Users", "create the user", effect=Effect.ONCE, body=body)


def one_read(chosen: HttpSettings, folder: Path = Path()) -> Answer:
    return run(chosen, lambda session, clock: session.send(read()), folder=folder)


# -- proofs --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("secret_in", ["header", "body"])
def test_a_secret(service: ScimService, endpoint: TokenEndpoint, secret_in: str) -> None:
    """In the header or in the form, encoded so that any secret arrives; scope, audience and others go along."""
    chosen = settings(
        service,
        endpoint,
        secret_in=secret_in,
        scope="read write",
        audience="api",
        parameters={"resource": "${env:HOME}"},
    )
    assert one_read(chosen).status == 200
    [form] = endpoint.asked
    assert {"scope": "read write", "audience": "api"}.items() <= form.items()
    assert form["resource"].startswith("/")
    assert ("client_secret" in form) is (secret_in == "body")


def pem(key: Any, password: bytes | None = None) -> bytes:
    encryption = BestAvailableEncryption(password) if password else NoEncryption()
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption)


@pytest.mark.parametrize("algorithm", ["RS256", "PS256", "ES256"])
@pytest.mark.parametrize("password", [None, "opens it"])
def test_a_private_key(
    service: ScimService, tmp_path: Path, algorithm: str, password: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Assertions are signed for this token endpoint, used once, and name the key and its certificate."""
    key = ec.generate_private_key(ec.SECP256R1()) if algorithm == "ES256" else rsa.generate_private_key(65537, 2048)
    (tmp_path / "key.pem").write_bytes(pem(key, password and password.encode()))
    (tmp_path / "certificate.pem").write_bytes(trustme.CA().cert_pem.bytes())
    monkeypatch.setenv("KEY_PASSWORD", password or "x")
    private_key = {"key": "${file:key.pem}", "algorithm": algorithm, "key_id": "k1", "certificate": "certificate.pem"}
    if password:
        private_key["password"] = "${env:KEY_PASSWORD}"
    clients = {"app": Client(public_key=key.public_key(), algorithm=algorithm)}
    with TokenEndpoint(clients, issued=service.renew_token) as endpoint:
        chosen = settings(service, endpoint, secret=None, private_key=private_key)
        assert one_read(chosen, tmp_path).status == 200
        assert one_read(chosen, tmp_path).status == 200  # an assertion that was used before would not be accepted
        header = jwt.get_unverified_header(endpoint.asked[0]["client_assertion"])
    assert header["kid"] == "k1"
    assert len(header["x5t#S256"]) == 43


def test_a_federated_token_file(service: ScimService, tmp_path: Path) -> None:
    """Whoever keeps the file fresh is followed: it is read for every token."""
    file = tmp_path / "assertion"
    clients = {"app": Client(assertion="first")}
    with TokenEndpoint(clients, issued=service.renew_token) as endpoint:
        chosen = settings(service, endpoint, secret=None, assertion_file="assertion")

        async def scenario(session: HttpSession, clock: FakeClock) -> int:
            file.write_text("first\n")
            await session.send(read())
            file.write_text("second\n")
            endpoint.clients = {"app": Client(assertion="second")}
            service.renew_token("gone")
            return (await session.send(read())).status

        assert run(chosen, scenario, folder=tmp_path) == 200
    assert [form["client_assertion"] for form in endpoint.asked] == ["first", "second"]


def test_a_client_certificate(service: ScimService, tmp_path: Path) -> None:
    """The connection to the token endpoint proves who the client is; without it, it is said what is missing."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    authority.issue_cert("app").private_key_and_cert_chain_pem.write_to_path(tmp_path / "client.pem")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    context.verify_mode = ssl.CERT_REQUIRED
    authority.configure_trust(context)
    oauth = {"client_id": "app"}
    with TokenEndpoint({"app": Client(by_certificate=True)}, tls=context, issued=service.renew_token) as endpoint:
        document = {"url": service.url, "ca_file": "ca.pem", "auth": {"oauth": oauth | {"token_url": endpoint.url}}}
        with pytest.raises(ValidationError, match="client_certificate"):
            HttpSettings.model_validate(document)
        chosen = HttpSettings.model_validate(document | {"client_certificate": {"certificate": "client.pem"}})
        assert one_read(chosen, tmp_path).status == 200
        document["auth"] = {"oauth": oauth | {"token_url": endpoint.url, "secret": "${env:CLIENT_SECRET}"}}
        with pytest.raises(UnreachableError, match="wants a client certificate and gets none"):
            one_read(HttpSettings.model_validate(document), tmp_path)


# -- renewal -------------------------------------------------------------------------------------------------------


def test_one_token_for_everybody(service: ScimService, endpoint: TokenEndpoint) -> None:
    """However many requests begin at the same time, one token is fetched."""

    async def scenario(session: HttpSession, clock: FakeClock) -> set[int]:
        return {answer.status for answer in await asyncio.gather(*(session.send(read()) for _ in range(40)))}

    assert run(settings(service, endpoint), scenario) == {200}
    assert len(endpoint.given) == 1


def test_a_token_that_ends_in_the_middle_is_renewed_once(service: ScimService, endpoint: TokenEndpoint) -> None:
    """All requests in flight are refused; one token is fetched for all of them, each is sent once more, and since a 401
    had no effect, creates are too.
    """

    async def scenario(session: HttpSession, clock: FakeClock) -> tuple[set[int], int]:
        await session.send(read())
        service.set_fault("expired_token", after=10)
        answers = await asyncio.gather(*(session.send(create(f"u{number}")) for number in range(200)))
        return {answer.status for answer in answers}, session.requests

    statuses, requests = run(settings(service, endpoint), scenario, pace=Pace(concurrency=16))
    assert statuses == {201}
    assert len(service.users) == 200
    assert len(endpoint.given) == 2
    assert requests == 201 + service.statuses[401]
    assert 0 < service.statuses[401] <= 16


def test_a_fresh_token_that_is_refused_ends_it(service: ScimService, endpoint: TokenEndpoint) -> None:
    """A service that accepts nobody is asked with two tokens and no more, however many requests there are."""
    endpoint._issued = lambda token: None

    async def scenario(session: HttpSession, clock: FakeClock) -> list[Answer]:
        return await asyncio.gather(*(session.send(read()) for _ in range(20)))

    answers = run(settings(service, endpoint), scenario)
    assert {answer.status for answer in answers} == {401}
    assert len(endpoint.given) == 2
    assert service.requests["GET /Users"] <= 40
    assert isinstance(refusal(answers[0], read(), Problem(), address="there"), CredentialsError)


@pytest.mark.parametrize(("lasts_s", "good_for_s"), [(3600, 3540), (600, 540), (30, 27)])
def test_a_token_about_to_end_is_renewed_before(
    service: ScimService, endpoint: TokenEndpoint, lasts_s: float, good_for_s: float
) -> None:
    """A minute before its end, or at nine tenths of a short life."""
    endpoint.lasts_s = lasts_s

    async def scenario(session: HttpSession, clock: FakeClock) -> None:
        await session.send(read())
        await clock.sleep(good_for_s - 1)
        await session.send(read())
        assert len(endpoint.given) == 1
        await clock.sleep(2)
        await session.send(read())
        assert len(endpoint.given) == 2

    run(settings(service, endpoint), scenario)
    assert service.statuses[401] == 0


def test_a_token_endpoint_that_is_away_costs_nothing_while_the_token_is_good(
    service: ScimService, endpoint: TokenEndpoint
) -> None:
    """Its last minute is there for that; after it, the run stops."""

    async def scenario(session: HttpSession, clock: FakeClock) -> None:
        await session.send(read())
        endpoint.instead, endpoint.for_ever = [Answered(503, b"")], True
        await clock.sleep(3545)
        assert (await session.send(read())).status == 200
        await clock.sleep(60)
        with pytest.raises(UnreachableError, match=r"token endpoint .*HTTP 503, 4 attempts"):
            await session.send(read())

    run(settings(service, endpoint), scenario)
    assert len(endpoint.asked) == 1 + 2 * ATTEMPTS


def test_a_token_without_an_end_is_kept(service: ScimService, endpoint: TokenEndpoint) -> None:
    """Until the service refuses it."""
    endpoint.lasts_s = None

    async def scenario(session: HttpSession, clock: FakeClock) -> None:
        await session.send(read())
        await clock.sleep(1_000_000)
        await session.send(read())

    run(settings(service, endpoint), scenario)
    assert len(endpoint.given) == 1


def test_a_lasting_token_is_looked_up_again_when_it_is_refused(service: ScimService, tmp_path: Path) -> None:
    """Tokens that others renew in a file are followed, and one that has not changed is refused for good."""
    file = tmp_path / "token"
    file.write_text("first")
    service.renew_token("first")
    chosen = HttpSettings.model_validate({"url": service.url, "auth": {"bearer": "${file:token}"}})

    async def scenario(session: HttpSession, clock: FakeClock) -> list[int]:
        statuses = [(await session.send(read())).status]
        service.renew_token("second")
        statuses.append((await session.send(read())).status)
        file.write_text("second")
        statuses.append((await session.send(read())).status)
        return statuses

    assert run(chosen, scenario, folder=tmp_path) == [200, 401, 200]


# -- tokens of a user ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("secret", ["${env:CLIENT_SECRET}", None], ids=["with a secret", "alone"])
def test_a_password_grant(service: ScimService, monkeypatch: pytest.MonkeyPatch, secret: str | None) -> None:
    """Name and password of the user go into the form; a wrong one is told without showing it."""
    client = Client(secret=SECRET) if secret else Client(by_certificate=True)
    user = {"username": "provisor@example.com", "password": "${env:USER_PASSWORD}"}
    monkeypatch.setenv("USER_PASSWORD", "right & proper")
    with TokenEndpoint({"app": client}, issued=service.renew_token) as endpoint:
        endpoint.users = {"provisor@example.com": "right & proper"}
        assert one_read(settings(service, endpoint, secret=secret, user=user)).status == 200
        assert endpoint.asked[0]["grant_type"] == "password"
        monkeypatch.setenv("USER_PASSWORD", "wrong one")
        with pytest.raises(CredentialsError, match="Check username and password under user: the account may") as caught:
            one_read(settings(service, endpoint, secret=secret, user=user))
        assert "'password': '…'" in str(caught.value)


def test_a_token_for_a_user_by_an_assertion(service: ScimService, tmp_path: Path) -> None:
    """The key signs for the user (``sub``); a user who may not be named is told with what to check."""
    key = rsa.generate_private_key(65537, 2048)
    (tmp_path / "key.pem").write_bytes(pem(key))
    with TokenEndpoint({"app": Client(public_key=key.public_key())}, issued=service.renew_token) as endpoint:
        endpoint.users = {"provisor@example.com": ""}
        private_key = {"key": "${file:key.pem}"}
        chosen = settings(service, endpoint, secret=None, private_key=private_key, subject="provisor@example.com")
        assert one_read(chosen, tmp_path).status == 200
        claims = jwt.decode(endpoint.asked[0]["assertion"], options={"verify_signature": False})
        assert (claims["iss"], claims["sub"]) == ("app", "provisor@example.com")
        assert claims["exp"] - claims["iat"] == 180
        chosen = settings(service, endpoint, secret=None, private_key=private_key, subject="somebody@example.com")
        with pytest.raises(CredentialsError, match="an administrator has to allow the app for this user"):
            one_read(chosen, tmp_path)


@pytest.mark.parametrize("rotates", [False, True])
def test_a_refresh_token_is_good_for_every_run(
    service: ScimService, endpoint: TokenEndpoint, tmp_path: Path, rotates: bool
) -> None:
    """Where each use gives another one, that takes the old one's place in the file, and the next run has it."""
    file = tmp_path / "refresh"
    file.write_text("refresh-0\n")
    file.chmod(0o640)
    endpoint.refresh_token, endpoint.rotates = "refresh-0", rotates
    chosen = settings(service, endpoint, refresh_token="${file:refresh}")
    for _ in range(3):
        assert one_read(chosen, tmp_path).status == 200
    assert file.read_text().strip() == endpoint.refresh_token == ("refresh-3" if rotates else "refresh-0")
    assert file.stat().st_mode & 0o777 == 0o640
    assert [one.name for one in tmp_path.iterdir()] == ["refresh"]


def test_a_refresh_token_that_changes_is_used_by_one_at_a_time(
    service: ScimService, endpoint: TokenEndpoint, tmp_path: Path
) -> None:
    """Source, target and workers may share one: each waits for the token that the one before it was given."""
    (tmp_path / "refresh").write_text("refresh-0")
    endpoint.refresh_token, endpoint.rotates = "refresh-0", True
    chosen = settings(service, endpoint, refresh_token="${file:refresh}")

    async def main() -> set[str]:
        signers = [open_signer(chosen, folder=tmp_path, now=time.monotonic, sleep=asyncio.sleep) for _ in range(4)]
        signatures = await asyncio.gather(*(signer.sign() for signer in signers))
        return {one.headers["authorization"] for one in signatures}

    assert asyncio.run(main()) == {f"Bearer {token}" for token in endpoint.given}
    assert len(endpoint.given) == len(endpoint.asked) == 4
    assert (tmp_path / "refresh").read_text().strip() == "refresh-4"


@pytest.mark.parametrize("place", ["${env:REFRESH}", "${file:refresh}"])
def test_a_refresh_token_that_cannot_be_kept_is_told(
    service: ScimService,
    endpoint: TokenEndpoint,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    place: str,
) -> None:
    """This run goes on with it; a warning says what the next one lacks, and shows no token."""
    monkeypatch.setenv("REFRESH", "refresh-0")
    (tmp_path / "refresh").write_text("refresh-0")
    monkeypatch.setattr("connectors.refresh.os.fsync", _disk_full)
    endpoint.refresh_token, endpoint.rotates, endpoint.lasts_s = "refresh-0", True, 60

    async def scenario(session: HttpSession, clock: FakeClock) -> list[int]:
        statuses = [(await session.send(read())).status]
        await clock.sleep(3600)
        return [*statuses, (await session.send(read())).status]

    assert run(settings(service, endpoint, refresh_token=place), scenario, folder=tmp_path) == [200, 200]
    assert "The next run may not be able to sign in. Put the refresh token into a file" in caplog.text
    assert place in caplog.text
    assert "refresh-" not in caplog.text
    assert (tmp_path / "refresh").read_text() == "refresh-0"
    assert [one.name for one in tmp_path.iterdir()] == ["refresh"]


def _disk_full(handle: int) -> None:
    raise OSError(28, "No space left on device")


def test_the_host_that_the_token_is_for(service: ScimService, endpoint: TokenEndpoint) -> None:
    """Requests go there where the job says so; an address that would show the token to others is refused."""
    base = urlsplit(service.url)
    oauth = {"client_id": "app", "secret": "${env:CLIENT_SECRET}", "token_url": endpoint.url}
    chosen = HttpSettings.model_validate(
        {"url": f"http://127.0.0.1:1{base.path}", "auth": {"oauth": {**oauth, "follow_instance_url": True}}}
    )
    endpoint.extra = {"instance_url": f"{base.scheme}://{base.netloc}"}
    assert one_read(chosen).status == 200
    endpoint.extra = {"instance_url": "http://elsewhere.example.com"}
    with pytest.raises(SettingsError, match="names an instance_url that is not a safe address"):
        one_read(chosen)


# -- mistakes ------------------------------------------------------------------------------------------------------

HTML = Answered(200, b"<html><body>Sign in</body></html>", "text/html")


@pytest.mark.parametrize(
    ("answered", "kind", "said"),
    [
        (error(401, "invalid_client", f"wrong secret {SECRET}"), CredentialsError, "invalid_client: wrong secret …"),
        (error(400, "invalid_scope"), CredentialsError, "Check scope"),
        (Answered(403, b"no"), CredentialsError, r"\(HTTP 403\). Check client_id and the client's secret"),
        (Answered(404, b"nothing"), SettingsError, "There is no token endpoint"),
        (Answered(302, b"", headers={"Location": "/login"}), SettingsError, "redirects to another address"),
        (HTML, SettingsError, "an HTML page"),
        (Answered(200, b'{"token": "x"}'), SettingsError, "JSON without an access_token"),
        (Answered(200, b'{"access_token": ""}'), SettingsError, "without an access_token"),
        (Answered(200, b'{"access_token": "mac-key", "token_type": "mac"}'), SettingsError, "a token of type mac"),
        (Answered(200, b'{"access_token": "a\\nb"}'), SettingsError, "cannot be sent"),
    ],
)
def test_a_token_endpoint_that_gives_no_token(
    service: ScimService, endpoint: TokenEndpoint, answered: Answered, kind: type[FatalError], said: str
) -> None:
    """Every answer is a sentence that names the token endpoint and holds no secret; it is not asked again."""
    endpoint.instead = [answered]
    with pytest.raises(kind, match=said) as caught:
        one_read(settings(service, endpoint))
    assert endpoint.url in str(caught.value)
    assert SECRET not in str(caught.value)
    assert len(endpoint.asked) == 1
    assert not service.requests


SAML = {"key": "${env:KEY}", "certificate": "a.pem", "subject": "a", "issuer": "a", "audience": "a"}
PROOFS: dict[str, dict[str, Any]] = {
    "client credentials": {},
    "refresh token": {"refresh_token": "${env:CLIENT_SECRET}"},
    "password": {"user": {"username": "a", "password": "${env:CLIENT_SECRET}"}},
    "JWT bearer": {"secret": None, "private_key": {"key": "${env:KEY}"}, "subject": "a"},
    "SAML bearer": {"secret": None, "saml": SAML},
}


@pytest.mark.parametrize("grant", list(Grant))
def test_every_error_ends_as_a_sentence_with_a_next_step(grant: Grant) -> None:
    """Whatever the token endpoint says, and by whichever grant it was asked."""
    client: dict[str, Any] = {
        "token_url": "https://a.example.com",
        "client_id": "app",
        "secret": "${env:CLIENT_SECRET}",
    }
    client |= PROOFS[grant]
    chosen = ClientCredentials.model_validate({name: value for name, value in client.items() if value is not None})
    assert chosen.grant is grant
    for code in (*ADVICE, "invalid_grant", "something_else"):
        said = advice(code, chosen)
        assert re.fullmatch(r"[A-Z][^{}]+\.", said), code
        assert re.search(r"(?i)\b(check|allow|ask|turn|sign in|put|activate)\b", said), code
        if code in ("unauthorized_client", "unsupported_grant_type"):
            assert f"the {grant} grant" in said


@pytest.mark.parametrize("code", sorted(PASSING))
def test_errors_that_pass_are_waited_for(service: ScimService, endpoint: TokenEndpoint, code: str) -> None:
    """Some endpoints answer 400 while they are overloaded; where it does not end, the last error is told."""
    endpoint.instead = [error(400, code, "retry your request")]
    assert one_read(settings(service, endpoint)).status == 200
    endpoint.instead, endpoint.for_ever = [error(400, code, "retry your request")], True
    with pytest.raises(UnreachableError, match=rf"\(HTTP 400, {code}: retry your request, {ATTEMPTS} attempts\)"):
        one_read(settings(service, endpoint))


def test_a_token_endpoint_that_fails_for_a_moment(service: ScimService, endpoint: TokenEndpoint) -> None:
    """Overload and faults are waited for, as long as was asked."""
    endpoint.instead = [Answered(429, b"", headers={"Retry-After": "7"}), Answered(500, b"")]

    async def scenario(session: HttpSession, clock: FakeClock) -> list[float]:
        assert (await session.send(read())).status == 200
        return clock.slept

    assert run(settings(service, endpoint), scenario)[0] == 7


def test_nobody_is_at_the_token_endpoint(service: ScimService) -> None:
    """A refused connection is told apart from one to the service itself."""
    with dead_port() as nobody, pytest.raises(UnreachableError, match=f"token endpoint {nobody.url}"):
        one_read(settings(service, token_url=nobody.url))


def test_what_is_fetched_is_struck_out_of_what_the_service_says(service: ScimService, endpoint: TokenEndpoint) -> None:
    """A token that the service repeats in a refusal does not reach any log, and neither does the client's secret."""
    detail = f"token-1-of-somebody and {SECRET}"
    service.set_fault("error", status=400, method="POST", detail=detail)
    answer = run(settings(service, endpoint), lambda session, clock: session.send(create("a")))
    assert endpoint.given == ["token-1-of-somebody"]
    assert answer.json()["detail"] == "… and …"


@pytest.mark.parametrize(
    ("key", "more", "said"),
    [
        (b"nothing", {}, "not a key in PEM form"),
        (None, {}, "is encrypted: give a password"),
        (None, {"password": "${env:WRONG}"}, "the password does not open it"),
        (pem(ec.generate_private_key(ec.SECP256R1())), {}, "does not fit the algorithm RS256"),
        (pem(ec.generate_private_key(ec.SECP256R1())), {"certificate": "key.pem"}, "cannot be read as PEM"),
    ],
)
def test_a_key_that_cannot_be_used(
    service: ScimService,
    endpoint: TokenEndpoint,
    tmp_path: Path,
    key: bytes | None,
    more: dict[str, Any],
    said: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What is wrong with it is said, nothing of it is shown, and nobody is asked for a password on a terminal."""
    monkeypatch.setenv("WRONG", "wrong password")
    (tmp_path / "key.pem").write_bytes(key or pem(rsa.generate_private_key(65537, 2048), b"right"))
    with pytest.raises(SettingsError, match=said) as caught:
        one_read(settings(service, endpoint, secret=None, private_key={"key": "${file:key.pem}", **more}), tmp_path)
    assert "BEGIN" not in str(caught.value)
    assert not endpoint.asked


@pytest.mark.parametrize("content", [None, "", "two\nlines"])
def test_an_assertion_file_without_an_assertion(
    service: ScimService, endpoint: TokenEndpoint, tmp_path: Path, content: str | None
) -> None:
    """The file is named."""
    if content is not None:
        (tmp_path / "assertion").write_text(content)
    with pytest.raises(SettingsError, match="assertion_file"):
        one_read(settings(service, endpoint, secret=None, assertion_file="assertion"), tmp_path)


@pytest.mark.parametrize(
    "oauth",
    [
        {"secret": "a plain secret"},
        {"secret": "${env:A}", "assertion_file": "x"},
        {"secret": None},
        {"parameters": {"client_secret": "x"}},
        {"parameters": {"refresh_token": "x"}},
        {"subject": "somebody"},
        {"secret": None, "private_key": {"key": "${env:A}"}, "subject": "a", "refresh_token": "${env:B}"},
        {"token_url": "https://me:secret@login.example.com"},
        {"token_url": "login.example.com"},
        {"token_url": None},
        {"user": {"username": "a", "password": "plain"}},
        {"user": {"username": "a", "password": "${env:A}"}, "refresh_token": "${env:B}"},
        {"parameters": {"password": "x"}},
    ],
)
def test_settings_that_cannot_be_right(service: ScimService, oauth: dict[str, Any]) -> None:
    """No secret in a job file, one proof, an address that can work."""
    with pytest.raises(ValidationError):
        settings(service, **({"token_url": "https://login.example.com/token"} | oauth))


def test_the_end_of_a_session_ends_a_renewal(service: ScimService, endpoint: TokenEndpoint) -> None:
    """Nobody waits for a token endpoint once the run is interrupted."""
    endpoint.instead, endpoint.for_ever = [Answered(503, b"", headers={"Retry-After": "30"})], True

    async def main() -> float:
        session = HttpSession(settings(service, endpoint), folder=Path(), pace=Pace())
        calls = [asyncio.create_task(session.send(read())) for _ in range(3)]
        while not endpoint.asked:
            await asyncio.sleep(0.001)
        began = time.monotonic()
        await session.halt(grace_s=0.05)
        ended = await asyncio.gather(*calls, return_exceptions=True)
        assert {type(error).__name__ for error in ended} == {"HaltedError"}
        return time.monotonic() - began

    assert asyncio.run(main()) < 20
