"""What every answer carries, whatever the route, the method and the outcome: found by walking through all routes."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.routing import Route
from starlette.testclient import TestClient

from flows.cycle.systems import now
from flows.serve.web.app import make_app
from flows.serve.web.serving import JobFiles
from flows.serve.web.settings import PagesSettings
from tasks.ledger import Ledger, LedgerError
from tasks.ledger.lookup import Lookup
from tests.flows.web.company import found_company, write_jobs
from tests.flows.web.conftest import token_of
from tests.flows.web.worlds import ADDRESS, PORT

IN_PLACE_OF = {
    "job": "hr-to-scim",
    "anchor:key": "000001",
    "kind": "user",
    "number": "1",
    "id": "x",
    "folder": "reports",
}
METHODS = ("GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "TRACE")


@pytest.fixture
def app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Starlette]:
    """The company's pages."""
    monkeypatch.setenv("PROVISOR_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("SCIM_TOKEN", "x")
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    write_jobs(tmp_path)
    kept = tmp_path / "state" / "reports" / "hr-to-scim"
    kept.mkdir(parents=True)
    (kept / "1.html").write_text("<h1>Dagmar Holm</h1>")
    with Ledger.open(None, tmp_path / "state") as ledger:
        found_company(ledger, now())
        yield make_app(
            ledger=ledger,
            state=tmp_path / "state",
            jobs=JobFiles(tmp_path),
            settings=PagesSettings(),
            own_sign_in="provisor:key",
            port=PORT,
        )


def guards_missing(headers: dict[str, str], *, of_everybody: bool = False) -> list[str]:
    """What an answer lacks; ``of_everybody``: a file of the program, which may be kept."""
    wanted = {
        "content-security-policy": r"default-src 'none'; (?!.*script-src[^;]*unsafe).*frame-ancestors 'none'.*",
        "x-content-type-options": "nosniff",
        "x-frame-options": "DENY",
        "referrer-policy": "same-origin",
        "cross-origin-opener-policy": "same-origin",
        "cross-origin-resource-policy": "same-origin",
        "cache-control": ".*immutable" if of_everybody else "no-store",
    }
    return [name for name, text in wanted.items() if not re.fullmatch(text, headers.get(name, ""))]


def test_every_answer_of_every_route_is_guarded(app: Starlette) -> None:
    """Pages, exports, health, metrics, files and errors, with and without somebody who has signed in."""
    with TestClient(app, base_url=ADDRESS, follow_redirects=False, headers={"Origin": ADDRESS}) as client:
        seen: set[int] = set()
        for signed_in in (False, True):
            if signed_in:
                fields = {"login": "provisor", "password": "key", "form_token": token_of(client.get("/sign-in").text)}
                assert client.post("/sign-in", data=fields).status_code == 303
            for route in app.routes:
                assert isinstance(route, Route)
                path = re.sub(r"\{([^}]*)\}", lambda found: IN_PLACE_OF.get(found[1], "1.html"), route.path)
                for method in METHODS:
                    answer = client.request(method, path)
                    seen.add(answer.status_code)
                    assert guards_missing(dict(answer.headers)) == [], (signed_in, method, path)
        assert {200, 303, 403, 404, 405, 415} <= seen
        assert "Dagmar Holm" in client.get("/reports/hr-to-scim/1.html").text
        sheet = re.search(r'href="(/static/[^"]+\.css)"', client.get("/sign-in").text + client.get("/").text)
        assert sheet is not None
        assert guards_missing(dict(client.get(sheet[1]).headers), of_everybody=True) == []
        large = {"Content-Type": "application/x-www-form-urlencoded"}
        for answer in (
            client.get("/", headers={"Host": "evil.example"}),
            client.get("/static/x/pages.css"),
            client.get("/search?q=%00"),
            client.post("/sign-out", content=b"x" * 1_100_000, headers=large),
        ):
            assert answer.status_code in (400, 404, 413, 421)
            assert guards_missing(dict(answer.headers)) == [], answer


@pytest.mark.parametrize(("error", "status"), [(LedgerError("gone"), 503), (RuntimeError("a fault"), 500)])
def test_a_fault_is_guarded_as_a_page_is(
    app: Starlette, monkeypatch: pytest.MonkeyPatch, error: Exception, status: int
) -> None:
    """It names a page, which may name a person."""

    def fail(*given: object, **named: object) -> None:
        raise error

    with TestClient(app, base_url=ADDRESS, raise_server_exceptions=False, headers={"Origin": ADDRESS}) as client:
        fields = {"login": "provisor", "password": "key", "form_token": token_of(client.get("/sign-in").text)}
        client.post("/sign-in", data=fields, follow_redirects=False)
        monkeypatch.setattr(Lookup, "boards", fail)
        for headers in ({}, {"HX-Request": "true"}):
            answer = client.get("/", headers=headers)
            assert (answer.status_code, guards_missing(dict(answer.headers))) == (status, [])
