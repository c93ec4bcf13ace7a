"""Signing in by OpenID Connect, against a provider that checks what it is sent."""

import base64
import hmac
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from html import unescape
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import httpx
import orjson
import pytest
from joserfc import jwt
from joserfc.jwk import RSAKey

from flows.cycle.systems import now, open_ledger
from flows.serve.web import provider_calls
from flows.serve.web.provider import OpenIdProvider, ProviderError
from flows.serve.web.serving import serving_pages
from flows.serve.web.settings import PagesSettings
from tasks.ledger import Ledger, SignInOutcome
from tests.flows.web.company import found_company, write_jobs
from tests.flows.web.conftest import token_of
from tests.servers.openid_provider import OpenIdService
from tests.servers.starting import free_port

MARIA = {"sub": "7", "email": "Maria@example.com", "email_verified": True, "name": "Maria", "groups": ["audit"]}
PAGES = """
provider: {{issuer: '{issuer}', client_id: pages, client_secret: '${{env:PAGES_SECRET}}', name: Company sign-in}}
roles:
  - {{role: viewer, groups: [audit]}}
  - {{role: approver, people: [maria@example.com], jobs: [hr-to-scim]}}
"""


@dataclass(slots=True)
class Doors:
    """The pages, the provider, and what was written down."""

    url: str
    provider: OpenIdService
    ledger: Ledger

    def browser(self) -> httpx.Client:
        """Somebody who has not signed in."""
        return httpx.Client(base_url=self.url, timeout=60, headers={"Origin": self.url})

    def leave(self, browser: httpx.Client, to: str = "/") -> str:
        """Presses the button; gives where the provider is to be asked."""
        page = browser.get("/sign-in").text
        assert "Company sign-in" in page
        answer = browser.post("/sign-in/provider", data={"form_token": token_of(page), "to": to})
        assert answer.status_code == 200, answer.text
        assert "form-action 'self';" in answer.headers["Content-Security-Policy"]
        found = re.search(r'<a href="(http[^"]+)">continue with Company sign-in</a>', answer.text)
        assert found is not None, answer.text
        return unescape(found[1])

    def come_back(self, browser: httpx.Client, to: str = "/") -> httpx.Response:
        """The whole way there and back."""
        sent = httpx.get(self.leave(browser, to), timeout=60)
        assert sent.status_code == 302, sent.text
        return browser.get(sent.headers["Location"])

    def latest(self) -> tuple[str, SignInOutcome]:
        """Who tried last, and what came of it."""
        (line,) = self.ledger.sign_ins.latest(1)
        return line.login, line.outcome


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Doors]:
    """The company's pages with a provider."""
    folder, port = tmp_path_factory.mktemp("company"), free_port()
    with (
        pytest.MonkeyPatch.context() as patch,
        OpenIdService("pages", "s3cret", f"http://127.0.0.1:{port}/sign-in/back") as provider,
    ):
        patch.setenv("PROVISOR_HOME", str(folder / "state"))
        patch.setenv("SCIM_TOKEN", "a-secret-of-the-target")
        patch.setenv("PAGES_SECRET", "s3cret")
        patch.delenv("PROVISOR_DATABASE_URL", raising=False)
        patch.delenv("PREFECT_API_URL", raising=False)
        write_jobs(folder)
        Path(folder / "pages.yaml").write_text(PAGES.format(issuer=provider.url))
        with open_ledger() as ledger:
            found_company(ledger, now())
            with serving_pages(folder / "state", folder, port, "provisor:a-key") as url:
                yield Doors(url, provider, ledger)


@pytest.fixture
def doors(house: Doors) -> Doors:
    """The same, with a provider that tells the truth about Maria."""
    house.provider.person = dict(MARIA)
    house.provider.told, house.provider.told_on_request, house.provider.signs_with = {}, {}, None
    house.provider.forge, house.provider.describes, house.provider.answers = None, {}, {}
    return house


def test_somebody_is_let_in_by_the_provider(doors: Doors) -> None:
    """With the roles of the file, by person and by group; to where they wanted to go; the secret goes nowhere else."""
    with doors.browser() as browser:
        asked = doors.leave(browser)
        query = parse_qs(urlsplit(asked).query)
        assert (query["code_challenge_method"], query["response_type"]) == (["S256"], ["code"])
        assert "s3cret" not in asked
        back = doors.come_back(browser, to="/jobs/hr-to-slack")
        assert (back.status_code, back.headers.get("Location")) == (303, "/jobs/hr-to-slack"), back.text
        assert browser.get("/jobs/hr-to-slack").status_code == 200  # a viewer by group
        assert browser.get("/approvals/hr-to-scim").status_code == 200
        assert browser.get("/sign-ins").status_code == 404
    assert doors.latest() == ("Maria@example.com", SignInOutcome.IN)


def test_the_way_back_is_gone_once_and_in_the_same_browser(doors: Doors) -> None:
    """A code that was caught opens nothing elsewhere, nor a second time."""
    with doors.browser() as browser, doors.browser() as other:
        back = httpx.get(doors.leave(browser), timeout=60).headers["Location"]
        assert other.get(back).status_code == 403
        assert browser.get(back).status_code == 303
        browser.cookies.delete("provisor")
        again = browser.get(back)
        assert again.status_code == 403
        assert browser.get("/").status_code == 303


@pytest.mark.parametrize(
    "told",
    [
        {"nonce": "another"},
        {"aud": ["somebody-else"]},
        {"iss": "https://id.example.net"},
        {"exp": 1_000_000_000},
        {"sub": "8"},
        {"email": "maria@example.com", "email_verified": False},
    ],
    ids=lambda told: next(iter(told)),
)
def test_a_token_that_is_not_for_this_sign_in_lets_nobody_in(doors: Doors, told: dict[str, object]) -> None:
    """Another sign-in's, another client's, another provider's, an old one, another person's, an address unproved."""
    doors.provider.told = told
    with doors.browser() as browser:
        back = doors.come_back(browser)
        assert back.status_code == 403
        assert "Company sign-in" in back.text
        assert "provisor" not in browser.cookies
    assert doors.latest() == ("", SignInOutcome.REFUSED)


def test_a_token_that_somebody_else_has_signed_lets_nobody_in(doors: Doors) -> None:
    """Whatever key it names."""
    doors.provider.signs_with = RSAKey.generate_key(2048)
    with doors.browser() as browser:
        assert doors.come_back(browser).status_code == 403
        assert "provisor" not in browser.cookies


def test_somebody_without_a_role_is_told_so(doors: Doors) -> None:
    """By the name that has to be put into the file."""
    doors.provider.person = {**MARIA, "sub": "9", "email": "noor@example.com", "groups": ["sales"]}
    with doors.browser() as browser:
        back = doors.come_back(browser)
    assert (back.status_code, "noor@example.com has no role here" in back.text) == (403, True)
    assert doors.latest() == ("noor@example.com", SignInOutcome.REFUSED)


def test_somebody_who_refuses_at_the_provider_is_not_let_in(doors: Doors) -> None:
    """The page says that the provider refused; the provider is not asked for a token."""
    doors.provider.person = None
    with doors.browser() as browser:
        doors.provider.asked.clear()
        back = doors.come_back(browser)
    assert back.status_code == 403
    assert "Company sign-in refused: access_denied." in back.text
    assert "/token" not in doors.provider.asked


def _made_by_hand(header: dict[str, str], claims: dict[str, object], key: bytes | None) -> str:
    """A token that no library makes: without a signature, or signed by HMAC with any key."""
    parts = [base64.urlsafe_b64encode(orjson.dumps(one)).decode().rstrip("=") for one in (header, claims)]
    signed = hmac.digest(key, ".".join(parts).encode(), "sha256") if key is not None else b""
    return ".".join([*parts, base64.urlsafe_b64encode(signed).decode().rstrip("=")])


def test_a_token_without_a_signature_or_signed_with_what_is_public_lets_nobody_in(doors: Doors) -> None:
    """Algorithm none, and HS256 with the public key as the secret."""
    public, kid = doors.provider.key.as_pem(private=False), doors.provider.key.kid
    for header, key in (
        ({"alg": "none"}, None),
        ({"alg": "none", "kid": kid}, None),
        ({"alg": "HS256", "kid": kid}, public),
    ):
        doors.provider.forge = partial(_made_by_hand, header, key=key)
        with doors.browser() as browser:
            assert doors.come_back(browser).status_code == 403
            assert "provisor" not in browser.cookies


def _as(doors: Doors, **claims: object) -> int:
    """Signs in with a good token that says this besides; gives the status of the answer."""
    header = {"alg": "RS256", "kid": doors.provider.key.kid}
    doors.provider.forge = lambda told: jwt.encode(header, {**told, **claims}, doors.provider.key)
    with doors.browser() as browser:
        return doors.come_back(browser).status_code


def test_a_token_of_several_clients_is_made_for_this_one(doors: Doors) -> None:
    """Source: OpenID Connect Core 1.0, 3.1.3.7, 4 and 5."""
    assert _as(doors, aud=["pages", "other"]) == 403
    assert _as(doors, aud=["pages", "other"], azp="other") == 403
    assert _as(doors, azp="other") == 403
    assert _as(doors, aud=["pages", "other"], azp="pages") == 303


def test_clocks_may_differ_by_a_minute(doors: Doors) -> None:
    """And no more: neither in what is over, nor in what has not begun."""
    present = int(now().timestamp())
    assert (_as(doors, exp=present - 30), _as(doors, exp=present - 90)) == (303, 403)
    assert (_as(doors, iat=present + 30, nbf=present + 30), _as(doors, nbf=present + 90)) == (303, 403)


def test_an_answer_of_another_provider_lets_nobody_in(doors: Doors) -> None:
    """Source: RFC 9207: the answer says whose it is."""
    for issuer, status in (("https://id.example.net", 403), (doors.provider.url, 303)):
        with doors.browser() as browser:
            back = httpx.get(doors.leave(browser), timeout=60).headers["Location"]
            assert browser.get(back, params={**dict(httpx.URL(back).params), "iss": issuer}).status_code == status


def test_keys_may_change(doors: Doors, monkeypatch: pytest.MonkeyPatch) -> None:
    """A new one counts at once; keys that do not sign, or of a kind that is not known, are passed over."""
    fresh = RSAKey.generate_key(2048, {"use": "sig", "alg": "RS256"}, auto_kid=True)
    monkeypatch.setattr(doors.provider, "key", fresh)
    assert _as(doors) == 303
    others = [{"kty": "AKP", "kid": "1"}, {"kty": "RSA", "kid": "2"}, {**fresh.as_dict(private=False), "use": "enc"}, 7]
    doors.provider.answers["/keys"] = (200, {"keys": [*others, fresh.as_dict(private=False)]}, {})
    assert _as(doors) == 303
    doors.provider.answers["/keys"] = (200, {"keys": others}, {})
    assert _as(doors) == 403


@pytest.mark.parametrize(
    ("person", "told", "status"),
    [
        ({"email_verified": None}, {}, 403),
        ({"email_verified": "false"}, {}, 403),
        ({"email_verified": 1}, {}, 303),
        ({"email_verified": "true"}, {}, 303),
        ({"email": "other@example.com"}, {"email": "maria@example.com"}, 403),
        ({"email": "\u017faria@example.com", "groups": []}, {}, 403),
        ({"email": ["maria@example.com"]}, {}, 403),
        ({"email": "x" * 300}, {}, 403),
    ],
)
def test_an_address_counts_where_its_source_says_that_it_is_verified(
    doors: Doors, person: dict[str, object], told: dict[str, object], status: int
) -> None:
    """Who may choose an address would else be whoever has a role. What one source verifies says nothing of another."""
    doors.provider.person, doors.provider.told = {**MARIA, **person}, told
    with doors.browser() as browser:
        assert doors.come_back(browser).status_code == status


@pytest.mark.parametrize(
    ("groups", "status"),
    [("audit", 303), ("auditors", 403), (["Audit"], 403), ({"audit": True}, 403), (["x"] * 5_000 + ["audit"], 303)],
)
def test_groups_are_those_that_are_named(doors: Doors, groups: object, status: int) -> None:
    """A text is one group, case counts, nothing else is a group; of many the session keeps those with a role."""
    doors.provider.person = {**MARIA, "email": "noor@example.com", "groups": groups}
    with doors.browser() as browser:
        assert doors.come_back(browser).status_code == status


def test_groups_that_are_left_out_are_told(doors: Doors) -> None:
    """Source: Microsoft identity platform, groups overage claim."""
    person = {**MARIA, "email": "noor@example.com", "_claim_names": {"groups": "src1"}}
    doors.provider.person = {name: value for name, value in person.items() if name != "groups"}
    with doors.browser() as browser:
        assert "noor@example.com has too many groups" in doors.come_back(browser).text


def test_who_signs_in_anew_leaves_nothing_open(doors: Doors) -> None:
    """The ticket from before opens nothing; the address to go on to is one of ours."""
    with doors.browser() as browser, doors.browser() as other:
        away, again = doors.leave(browser, "//evil.example/"), doors.leave(other)
        back = browser.get(httpx.get(away, timeout=60).headers["Location"])
        assert (back.status_code, back.headers["Location"]) == (303, "/")
        first = browser.cookies["provisor"]
        browser.cookies.set("provisor-provider", other.cookies["provisor-provider"])
        assert browser.get(httpx.get(again, timeout=60).headers["Location"]).status_code == 303
        assert browser.cookies["provisor"] != first
        other.cookies.set("provisor", first)
        assert other.get("/jobs/hr-to-slack").status_code == 303


def test_what_the_browser_keeps_is_sealed(doors: Doors) -> None:
    """Changed, or of another state: nothing is asked of the provider."""
    with doors.browser() as browser:
        back = httpx.get(doors.leave(browser), timeout=60).headers["Location"]
        kept = browser.cookies["provisor-provider"]
        for changed in (f"e30{kept[3:]}", kept[:-1], "", "."):
            browser.cookies.set("provisor-provider", changed)
            doors.provider.asked.clear()
            assert browser.get(back).status_code == 403
            assert doors.provider.asked == []


@pytest.fixture
def provider(doors: Doors, monkeypatch: pytest.MonkeyPatch) -> OpenIdProvider:
    """What the pages ask, without pages."""
    monkeypatch.setenv("PAGES_SECRET", "s3cret")
    given = {"issuer": doors.provider.url, "client_id": "pages", "client_secret": "${env:PAGES_SECRET}"}
    return OpenIdProvider(PagesSettings.model_validate({"provider": given}), "http://127.0.0.1/back")


DESCRIPTION = "/.well-known/openid-configuration"


@pytest.mark.parametrize(
    ("status", "body", "headers"),
    [
        (503, {}, {}),
        (302, {}, {"Location": "https://evil.example"}),
        (200, "no JSON", {}),
        (200, [], {}),
        (200, "[" * 900_000, {}),
        (200, "x" * 1_100_000, {}),
        (200, {}, {"Content-Encoding": "gzip"}),
    ],
)
def test_a_provider_that_does_not_answer_as_it_should_is_said(
    doors: Doors, provider: OpenIdProvider, status: int, body: object, headers: dict[str, str]
) -> None:
    """And never a fault, nor more than the pages can hold."""
    doors.provider.answers[DESCRIPTION] = (status, body, headers)
    with pytest.raises(ProviderError):
        provider.begin("/", now=now())


@pytest.mark.parametrize("name", ["authorization_endpoint", "token_endpoint", "jwks_uri", "userinfo_endpoint"])
def test_no_address_of_a_provider_is_read_on_the_way(doors: Doors, provider: OpenIdProvider, name: str) -> None:
    """The secret and the code go to https alone; a link on the page leads to no script."""
    for address in ("http://id.example.com/x", "javascript:alert(1)", 7):
        doors.provider.describes = {name: address}
        with pytest.raises(ProviderError, match=name):
            provider.begin("/", now=now())


def test_a_slow_provider_holds_few_threads(
    doors: Doors, provider: OpenIdProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An answer that comes too slowly ends, and others are asked to come again instead of waiting."""
    with monkeypatch.context() as patch:
        patch.setattr(provider_calls, "TAKES_AT_MOST_S", -1)
        with pytest.raises(ProviderError, match="does not answer"):
            provider.begin("/", now=now())
    for _ in range(provider_calls._AT_ONCE):
        assert provider_calls._STEPS.acquire(timeout=20)
    try:
        with pytest.raises(ProviderError, match="Many people sign in"):
            provider.begin("/", now=now())
    finally:
        provider_calls._STEPS.release(provider_calls._AT_ONCE)
    assert provider.begin("/", now=now())


def test_sign_ins_that_are_begun_fill_nothing(doors: Doors, provider: OpenIdProvider) -> None:
    """Whoever begins thousands closes the way to nobody; what was begun too long ago is over."""
    moment = now()
    for _ in range(2_100):
        address, kept = provider.begin("/", now=moment)
    brought = {"state": parse_qs(urlsplit(address).query)["state"][0], "code": "x"}
    with pytest.raises(ProviderError, match="too long"):
        provider.finish(brought, kept, now=moment + timedelta(minutes=11))
    assert provider.finish({**brought, "state": "other"}, kept, now=moment) is None
