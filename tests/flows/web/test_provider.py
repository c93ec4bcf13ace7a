"""Signing in by OpenID Connect, against a provider that checks what it is sent."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from html import unescape
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from joserfc.jwk import RSAKey

from flows.cycle.systems import now, open_ledger
from flows.serve.web.serving import serving_pages
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
    doors.provider.person = {"sub": "9", "email": "noor@example.com", "groups": ["sales"]}
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
