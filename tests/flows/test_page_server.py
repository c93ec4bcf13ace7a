"""The pages of the state folder by HTTP: what is served, to whom, and what never is."""

import base64
import socket
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from flows.serve.page_server import find_page, serving_pages
from tests.flows.workplace import Command
from tests.servers.starting import free_port

SIGN_IN = "provisor:a-password"
SECRET = "the ledger, or whatever else is nobody's business"


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """A state folder with two jobs' pages, and with what must not be served."""
    made = tmp_path / "state"
    for name in ("reports/hr-to-app", "docs/hr-to-app", "reports/São Paulo & co", "prefect", "snapshots"):
        (made / name).mkdir(parents=True)
    for number in range(1, 13):
        (made / f"reports/hr-to-app/{number}.html").write_text(f"<p>cycle {number}</p>")
    (made / "reports/São Paulo & co/1.html").write_text("<p>elsewhere</p>")
    (made / "docs/hr-to-app/index.html").write_text("<p>docs</p>")
    (made / "docs/hr-to-app/1.json").write_text("{}")
    for name in (
        "ledger.db",
        "prefect/keys.json",
        "prefect/index.html",
        "reports/secret.html",
        "reports/hr-to-app/x.db",
    ):
        (made / name).write_text(SECRET)
    (tmp_path / "secret.html").write_text(SECRET)
    (made / "reports/hr-to-app/99.html").symlink_to(tmp_path / "secret.html")
    (made / "reports/linked").symlink_to(tmp_path)
    return made


@pytest.fixture
def served(state: Path) -> Iterator[str]:
    """The address of the pages."""
    with serving_pages(state, free_port(), SIGN_IN) as address:
        yield address


def ask(address: str, target: str, *head: str) -> str:
    """What is answered to a target as it stands; a client would put it right before it asks."""
    at = httpx.URL(address)
    with socket.create_connection((at.host, at.port), timeout=10) as connection:
        lines = (f"GET {target} HTTP/1.1", "Host: localhost", "Connection: close", *head, "", "")
        connection.sendall("\r\n".join(lines).encode())
        return b"".join(iter(lambda: connection.recv(65536), b"")).decode()


def signed_in() -> tuple[str, str]:
    user, _, password = SIGN_IN.partition(":")
    return user, password


def test_whoever_has_signed_in_sees_the_pages(served: str) -> None:
    """Reports, Data Docs and a page that leads to all of them; nothing of it is to be kept, framed or run."""
    with httpx.Client(base_url=served, auth=signed_in()) as client:
        first = client.get("/")
        assert 'href="reports/hr-to-app/12.html"' in first.text
        assert 'href="reports/hr-to-app/2.html"' not in first.text  # the last ten
        assert 'href="docs/hr-to-app/index.html"' in first.text
        assert client.get("/reports/hr-to-app/3.html").text == "<p>cycle 3</p>"
        assert client.get("/reports/S%C3%A3o%20Paulo%20%26%20co/1.html?x=1").text == "<p>elsewhere</p>"
        assert client.get("/docs/hr-to-app/1.json").headers["Content-Type"] == "application/json"
        assert client.head("/docs/hr-to-app/index.html").headers["Content-Length"] == "11"
        assert client.post("/").status_code == 501
        for one in (first, client.get("/nothing")):
            assert one.headers["X-Content-Type-Options"] == "nosniff"
            assert "default-src 'none'" in one.headers["Content-Security-Policy"]


def test_nobody_else_sees_anything(served: str) -> None:
    """Not even whether there is a page."""
    for given in (None, ("provisor", "wrong"), ("", ""), ("provisor", "a-password\u00e9")):
        for path in ("/", "/reports/hr-to-app/3.html", "/nothing"):
            refused = httpx.get(served + path, auth=given)
            assert (refused.status_code, "cycle" in refused.text) == (401, False)
            assert refused.headers["WWW-Authenticate"].startswith("Basic")
    assert " 401 " in ask(served, "/", "Authorization: Bearer x\xff")


@pytest.mark.parametrize(
    "target",
    [
        "/ledger.db",
        "/prefect/keys.json",
        "/prefect/../reports/hr-to-app/3.html",
        "/reports/secret.html",
        "/reports/hr-to-app",
        "/reports/hr-to-app/",
        "/reports/hr-to-app/x.db",
        "/reports/hr-to-app/99.html",
        "/reports/linked/secret.html",
        "/reports/../secret.html",
        "/reports/hr-to-app/../secret.html",
        "/reports/hr-to-app/..%2f..%2fprefect%2findex.html",
        "/reports/%2e%2e/secret.html",
        "/reports/..%2f/prefect/index.html",
        "/docs/..%2fprefect/index.html",
        "/docs/./index.html",
        "/reports//3.html",
        "/reports/hr-to-app/3.html%00",
        "/reports/hr-to-app%00/3.html",
        "/%72eports/hr-to-app/..\\secret.html",
        "reports/hr-to-app/3.html",
        "http://elsewhere/../../secret.html",
        "/reports/*/3.html",
    ],
)
def test_an_address_never_becomes_a_path(served: str, state: Path, target: str) -> None:
    """Whatever is no page that a job has left is not there, however it is written."""
    credentials = base64.b64encode(SIGN_IN.encode()).decode()
    answer = ask(served, target, f"Authorization: Basic {credentials}")
    assert (" 404 " in answer.splitlines()[0], SECRET in answer, "cycle 3" in answer) == (True, False, False)
    assert find_page(state, target) is None


def test_only_this_machine_is_answered(state: Path) -> None:
    """The server listens to loopback, and has gone when it is told to end."""
    port = free_port()
    with serving_pages(state, port, SIGN_IN) as address:
        assert address == f"http://127.0.0.1:{port}"
        listening = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()]
        assert [one[1] for one in listening if one[1].endswith(f":{port:04X}") and one[3] == "0A"] == [
            f"0100007F:{port:04X}"
        ]
    with pytest.raises(httpx.ConnectError):
        httpx.get(address)


def test_the_commands_say_where_a_browser_finds_them(
    state: Path, provisor: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The address that somebody has set, for those who serve the pages themselves; else the file."""
    monkeypatch.setenv("PROVISOR_HOME", str(state))
    assert provisor("report", "hr-to-app", "--cycle", 3).out.strip() == (state / "reports/hr-to-app/3.html").as_uri()
    monkeypatch.setenv("PROVISOR_PAGES_URL", "https://pages.example.com/provisor/")
    said = provisor("report", "hr-to-app", "--cycle", 3)
    assert said.out.strip() == "https://pages.example.com/provisor/reports/hr-to-app/3.html"
    assert provisor("docs", "hr-to-app").out.strip() == "https://pages.example.com/provisor/docs/hr-to-app/index.html"
