"""The pages of a company, served, and people who sign in to them."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest
from argon2 import PasswordHasher

from flows.cycle.systems import now, open_ledger
from flows.serve.web import signing_in
from flows.serve.web.rights import Grant, Role
from flows.serve.web.serving import serving_pages
from tasks.ledger import Ledger, LocalUser
from tests.flows.web.company import found_company, write_jobs
from tests.servers.starting import free_port

PASSWORD = "a-long-enough-password"
PEOPLE = {
    "vera": Grant(Role.VIEWER),
    "hella": Grant(Role.HELPDESK),
    "maria": Grant(Role.APPROVER, ("hr-to-scim",)),
    "otto": Grant(Role.OPERATOR),
}
"""Logins and what they may."""
_QUICK = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
_HASHED = _QUICK.hash(PASSWORD)


@dataclass(slots=True)
class Served:
    """The pages, and what is behind them."""

    url: str
    folder: Path
    state: Path
    ledger: Ledger
    own: str
    visitors: "list[Visitor]" = field(default_factory=list)
    known: "dict[str, Visitor]" = field(default_factory=dict)

    def client(self, login: str = "", password: str = PASSWORD) -> "Visitor":
        """A browser without scripts; signed in where a login is given."""
        if login in self.known:
            return self.known[login]
        visitor = Visitor(httpx.Client(base_url=self.url, timeout=60, headers={"Origin": self.url}))
        self.visitors.append(visitor)
        if login:
            answer = visitor.sign_in(login, password)
            assert answer.status_code == 303, answer.text
            self.known[login] = visitor
        return visitor


@dataclass(slots=True)
class Visitor:
    """One browser."""

    http: httpx.Client

    def get(self, path: str, **headers: str) -> httpx.Response:
        """A page."""
        return self.http.get(path, headers=headers)

    def sign_in(self, login: str, password: str = PASSWORD, to: str = "/") -> httpx.Response:
        """Fills in the form."""
        token = token_of(self.get("/sign-in").text)
        return self.http.post("/sign-in", data={"login": login, "password": password, "to": to, "form_token": token})

    def post(self, path: str, page: str = "/", **fields: str | list[str]) -> httpx.Response:
        """Sends a form, with the token of a page."""
        return self.http.post(path, data={"form_token": token_of(self.get(page).text), **fields})


def token_of(page: str) -> str:
    """The token that the forms of a page carry."""
    found = re.search(r'name="form_token" value="([^"]+)"', page)
    assert found is not None, page[:2000]
    return found[1]


@pytest.fixture(scope="session", autouse=True)
def _quick_passwords() -> Iterator[None]:
    """A password is compared in no time here; in earnest it takes some tenths of a second, on purpose."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(signing_in, "_HASHER", _QUICK)
        patch.setattr(signing_in, "_NOBODY", _QUICK.hash("nobody"))
        yield


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """The company's pages with a user of each role, for tests that change nothing."""
    with pytest.MonkeyPatch.context() as patch:
        yield from _serve(tmp_path_factory.mktemp("company"), patch)


@pytest.fixture
def changing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Served]:
    """The same, for one test that changes something."""
    yield from _serve(tmp_path, monkeypatch)


def _serve(folder: Path, patch: pytest.MonkeyPatch) -> Iterator[Served]:
    state = folder / "state"
    patch.setenv("PROVISOR_HOME", str(state))
    patch.setenv("SCIM_TOKEN", "a-secret-of-the-target")
    patch.delenv("PROVISOR_DATABASE_URL", raising=False)
    patch.delenv("PREFECT_API_URL", raising=False)
    write_jobs(folder)
    with open_ledger() as ledger:
        found_company(ledger, now())
        for login, grant in PEOPLE.items():
            ledger.sign_ins.put_user(LocalUser(login, login.title(), _HASHED, [grant.as_json()]), now=now())
        with serving_pages(state, folder, free_port(), "provisor:the-key-of-the-server") as url:
            found = Served(url, folder, state, ledger, "the-key-of-the-server")
            yield found
            for visitor in found.visitors:
                visitor.http.close()
