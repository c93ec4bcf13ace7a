"""What others try: forms of other sites, forged headers, names that are markup, paths, hosts, guesses."""

import base64
import csv
import io
import re
import socket
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from flows.serve.web.kept_pages import find_kept_page
from flows.serve.web.shield import own_path
from tasks.ledger import StagedState
from tests.flows.web.conftest import PASSWORD, Served, token_of

FORMS = (
    "/approvals/hr-to-scim",
    "/approvals/hr-to-scim/decision",
    "/jobs/hr-to-scim/pause",
    "/jobs/hr-to-scim/resume",
    "/jobs/hr-to-scim/plan",
    "/jobs/hr-to-scim/run",
    "/errands/provision",
    "/sign-out",
)


def test_nobody_sees_anything_without_signing_in(served: Served) -> None:
    """Every page leads to the sign-in, which says nothing of jobs or people."""
    client = served.client()
    for path in ("/", "/search?q=holm", "/people/hr-to-scim/000004", "/jobs/hr-to-scim", "/approvals", "/access.csv"):
        answer = client.get(path)
        assert (answer.status_code, answer.headers["Location"][:8]) == (303, "/sign-in"), path
    assert "hr-to" not in client.get("/sign-in").text
    assert client.get("/", **{"HX-Request": "true"}).headers["HX-Redirect"] == "/sign-in"


@pytest.mark.parametrize("path", FORMS)
def test_no_other_site_sends_a_form(served: Served, path: str) -> None:
    """Without the token, with another session's, from another origin: nothing is done."""
    client = served.client("otto")
    stranger = token_of(served.client("vera").get("/").text)
    good = token_of(client.get("/").text)
    for fields, headers in (
        ({"reason": "x"}, {}),
        ({"form_token": stranger}, {}),
        ({"form_token": good}, {"Origin": "https://evil.example"}),
        ({"form_token": good}, {"Origin": "null"}),
        ({"form_token": good}, {"Origin": "http://["}),
        ({"form_token": good}, {"Sec-Fetch-Site": "cross-site"}),
        ({"form_token": good}, {"Sec-Fetch-Site": "same-site"}),
    ):
        answer = client.http.post(path, data=fields, headers=headers)
        assert answer.status_code == 403, (fields, headers)
    bare = httpx.post(served.url + path, data={"form_token": good}, cookies=dict(client.http.cookies))
    assert bare.status_code == 403  # neither Origin nor Sec-Fetch-Site: no browser
    assert served.ledger.paused("hr-to-scim") is None
    assert {one.state for one in served.ledger.staged("hr-to-scim")} == {StagedState.STAGED}


def test_nobody_is_signed_in_by_another_site(served: Served) -> None:
    """The form of signing in carries a token too, and only forms are taken."""
    client = served.client()
    fields = {"login": "vera", "password": PASSWORD, "form_token": "x"}
    assert client.http.post("/sign-in", data=fields).status_code == 403
    assert client.http.post("/sign-in", json=fields).status_code == 415
    assert (
        client.http.post(
            "/sign-in", content=b"x" * 2_000_000, headers={"Content-Type": "application/x-www-form-urlencoded"}
        ).status_code
        == 413
    )


def test_headers_say_nothing_about_who_somebody_is(served: Served) -> None:
    """Names that a proxy could have set are not believed, nor are the server's keys as Basic credentials."""
    basic = base64.b64encode(f"provisor:{served.own}".encode()).decode()
    for name, value in {
        "X-Forwarded-User": "otto",
        "X-Remote-User": "otto",
        "Remote-User": "otto",
        "X-Auth-Request-Email": "otto",
        "Authorization": f"Basic {basic}",
        "Cookie": "provisor=otto",
    }.items():
        assert httpx.get(served.url + "/", headers={name: value}).status_code == 303, name


def test_roles_cannot_send_each_others_forms(served: Served) -> None:
    """A viewer and helpdesk decide nothing, an approver operates nothing, an operator decides nothing."""
    for login, path, fields in (
        ("vera", "/approvals/hr-to-scim/decision", {}),
        ("hella", "/approvals/hr-to-scim", {}),
        ("otto", "/approvals/hr-to-scim/decision", {}),
        ("maria", "/approvals/hr-to-slack/decision", {}),
        ("maria", "/jobs/hr-to-scim/pause", {"reason": "x"}),
        ("vera", "/jobs/hr-to-scim/plan", {}),
        ("vera", "/errands/preview", {"job": "hr-to-scim", "kind": "user", "anchor": "000004"}),
        ("maria", "/errands/provision", {"job": "hr-to-scim", "kind": "user", "anchor": "000004"}),
        ("hella", "/errands/provision", {"job": "hr-to-scim", "kind": "user", "anchor": "--plan-only"}),
    ):
        assert served.client(login).post(path, "/", **fields).status_code == 404, (login, path)
    assert served.ledger.paused("hr-to-scim") is None


def test_names_are_text_whatever_is_in_them(served: Served) -> None:
    """HTML, Markdown, control characters and marks of direction are shown and never obeyed."""
    client = served.client("vera")
    pages = [
        client.get(path).text
        for path in ("/search?q=example.com", "/jobs/hr-to-scim/cycles/2", "/jobs/hr-to-scim/cycles/1")
    ]
    pages += [client.get(f"/people/hr-to-scim/{anchor}").text for anchor in ("000005", "000006", "000007")]
    for page in pages:
        assert "<b onmouseover" not in page
        assert "<script>alert" not in page
        assert 'href="https://evil.example' not in page
        assert "\u202e" not in page
        assert "\u0007" not in page
    assert "&lt;b onmouseover=alert(1)&gt;Bold&lt;/b&gt;" in pages[3]
    assert "\ufffd" in pages[5]
    injected = client.http.get("/search", params={"q": '"><script>alert(1)</script>'}).text
    assert "<script>alert" not in injected


def test_exports_hold_no_formulas(served: Served) -> None:
    """A cell that a spreadsheet would compute begins with an apostrophe."""
    client = served.client("vera")
    for path in ("/access.csv", "/jobs/hr-to-scim/log.csv"):
        cells = [cell for row in csv.reader(io.StringIO(client.get(path).text)) for cell in row]
        assert not [cell for cell in cells if cell.startswith(("=", "+", "@"))]
    assert "'=HYPERLINK(A1)" in client.get("/access.csv").text


def test_foreign_hosts_are_refused(served: Served) -> None:
    """A name that leads here from elsewhere (DNS rebinding) is answered with nothing."""
    for host in ("evil.example", "evil.example:80", "127.0.0.1", "127.0.0.1:1", "localhost.evil.example", ""):
        answer = httpx.get(served.url + "/sign-in", headers={"Host": host})
        assert answer.status_code in {421, 400}, host
        assert "Sign in" not in answer.text


def test_every_answer_is_guarded(served: Served) -> None:
    """No script from elsewhere, no frame, no copy: on pages, on what is missing, and on what is refused."""
    client = served.client("vera")
    for answer in (
        client.get("/"),
        client.get("/nothing"),
        client.http.post("/sign-out"),
        served.client().get("/sign-in"),
    ):
        policy = answer.headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "script-src 'self'" in policy
        assert "unsafe" not in policy
        assert answer.headers["X-Frame-Options"] == "DENY"
        assert answer.headers["Cache-Control"] == "no-store"
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert "server" not in answer.headers
    cookie = next(one for one in client.http.cookies.jar if one.name == "provisor")
    assert cookie.has_nonstandard_attr("HttpOnly")
    assert cookie.get_nonstandard_attr("SameSite") == "lax"


def test_no_secret_is_on_any_page(served: Served) -> None:
    """Neither what opens the target, nor the server's keys, nor a hash."""
    client = served.client("otto")
    for path in ("/", "/jobs/hr-to-scim", "/sign-ins", "/people/hr-to-scim/000004", "/access", "/metrics"):
        page = client.get(path).text
        for secret in ("a-secret-of-the-target", served.own, "$argon2", PASSWORD):
            assert secret not in page, path


@pytest.mark.parametrize(
    "text", ["//evil.example", "https://evil.example", "/\\evil.example", "javascript:alert(1)", "/a\r\nb"]
)
def test_signing_in_leads_nowhere_else(served: Served, text: str) -> None:
    """Where somebody wanted to go is an address of ours, or the overview."""
    assert own_path(text) == "/"
    answer = served.client().sign_in("vera", to=text)
    assert answer.headers["Location"] == "/"


# --- paths -----------------------------------------------------------------------------------------------------------

SECRET = "the ledger, or something else that is not for the web"


@pytest.fixture(scope="module")
def kept(served: Served) -> Served:
    """A state folder with kept pages, and with what must not be served."""
    for name in ("reports/hr-to-scim", "docs/hr-to-scim", "reports/hr-to-slack", "snapshots"):
        (served.state / name).mkdir(parents=True, exist_ok=True)
    (served.state / "reports/hr-to-scim/3.html").write_text("<p>cycle 3</p>")
    (served.state / "docs/hr-to-scim/1.json").write_text("{}")
    (served.state / "reports/hr-to-slack/3.html").write_text("<p>cycle 3 of another job</p>")
    for name in ("reports/secret.html", "reports/hr-to-scim/x.db", "snapshots/x.html"):
        (served.state / name).write_text(SECRET)
    (served.folder / "secret.html").write_text(SECRET)
    (served.state / "reports/hr-to-scim/99.html").symlink_to(served.folder / "secret.html")
    (served.state / "reports/linked").symlink_to(served.folder)
    return served


def test_kept_pages_are_for_who_reads_the_job(kept: Served) -> None:
    """With a policy of their own, because their style is in them."""
    maria = kept.client("maria")
    page = maria.get("/reports/hr-to-scim/3.html")
    assert (page.status_code, page.text) == (200, "<p>cycle 3</p>")
    assert page.headers["Content-Security-Policy"].startswith("default-src 'none'; style-src 'unsafe-inline'")
    assert maria.get("/docs/hr-to-scim/1.json").headers["Content-Type"] == "application/json"
    assert maria.get("/reports/hr-to-slack/3.html").status_code == 404
    assert kept.client("hella").get("/reports/hr-to-scim/3.html").status_code == 404


@pytest.mark.parametrize(
    "target",
    [
        "/ledger.sqlite",
        "/reports/secret.html",
        "/reports/hr-to-scim",
        "/reports/hr-to-scim/x.db",
        "/reports/hr-to-scim/99.html",
        "/reports/linked/secret.html",
        "/reports/../secret.html",
        "/reports/hr-to-scim/../secret.html",
        "/reports/hr-to-scim/..%2f..%2fsnapshots%2fx.html",
        "/reports/%2e%2e/secret.html",
        "/snapshots/hr-to-scim/x.html",
        "/docs/./1.json",
        "/reports//3.html",
        "/static/x/../../app.py",
        "/static/x/..%2fapp.py",
        "/people/hr-to-scim/..%2f..%2fledger.sqlite",
    ],
)
def test_an_address_never_becomes_a_path(kept: Served, target: str) -> None:
    """What is no page is not there, however it is written."""
    answer = asked_raw(kept, target)
    assert " 404 " in answer.splitlines()[0]
    assert SECRET not in answer
    assert find_kept_page(kept.state, target) is None


@pytest.mark.parametrize("target", ["/reports/hr-to-scim/3.html%00", "/reports/hr-to-scim%00/3.html"])
def test_an_address_with_a_nul_is_refused(kept: Served, target: str) -> None:
    """No file and no row has such a name."""
    answer = asked_raw(kept, target)
    assert " 400 " in answer.splitlines()[0]
    assert SECRET not in answer
    assert find_kept_page(kept.state, target) is None


def asked_raw(kept: Served, target: str) -> str:
    """The answer to an address as it is written; a client would tidy it before it asks."""
    cookies = kept.client("otto").http.cookies
    at = httpx.URL(kept.url)
    lines = (
        f"GET {target} HTTP/1.1",
        f"Host: {at.host}:{at.port}",
        f"Cookie: provisor={cookies['provisor']}",
        "Connection: close",
        "",
        "",
    )
    with socket.create_connection((at.host, at.port), timeout=20) as connection:
        connection.sendall("\r\n".join(lines).encode())
        return b"".join(iter(lambda: connection.recv(65536), b"")).decode(errors="replace")


def test_only_this_machine_is_answered(served: Served) -> None:
    """The server listens to loopback."""
    port = httpx.URL(served.url).port
    listening = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()]
    at = [one[1] for one in listening if one[1].endswith(f":{port:04X}") and one[3] == "0A"]
    assert at == [f"0100007F:{port:04X}"]


HUGE = "9" * 40


@pytest.mark.parametrize(
    ("path", "status"),
    [
        (f"/jobs/hr-to-scim/cycles/{HUGE}", 404),
        (f"/jobs/hr-to-scim/cycles/1?action=create&after={HUGE}", 200),
        (f"/jobs/hr-to-scim/cycles?before={HUGE}", 200),
        (f"/jobs/hr-to-scim/log.csv?cycle={HUGE}", 200),
        ("/jobs/hr-to-scim/cycles?before=%D9%A3", 200),
        ("/access?at=9999-12-31", 200),
        ("/access?at=0001-01-01", 200),
        ("/access?after=%1F%1F%1F", 200),
        ("/search?q=%00", 400),
        ("/people/hr-to-scim/%00", 400),
        ("/access?who=a%00b", 400),
        ("/approvals/hr-to-scim?q=%F0%9F%92%A9%EF%BF%BF", 200),
    ],
)
def test_odd_values_in_an_address_are_no_fault(served: Served, path: str, status: int) -> None:
    """Numbers that no database takes, days at the ends of time, characters that are none."""
    assert served.client("vera").get(path).status_code == status


def test_odd_values_in_a_form_are_no_fault(served: Served) -> None:
    """Nothing is decided until a day that the calendar does not have, nor by a text with a NUL."""
    client, path = served.client("maria"), "/approvals/hr-to-scim"
    page = client.get(path).text
    fields = {name: re.search(rf'name="{name}" value="([^"]*)"', page) for name in ("form_token", "item", "digest")}
    form = {name: found[1] for name, found in fields.items() if found is not None}
    form |= {"about": "all", "decision": "reject", "reason": "wrong", "number": "4"}
    late = client.http.post(f"{path}/decision", data={**form, "until": "9999-12-31"})
    assert (late.status_code, "a hundred years from now" in late.text) == (422, True)
    assert client.http.post(f"{path}/decision", data={**form, "reason": "a\0b"}).status_code == 400
    assert {one.state for one in served.ledger.staged("hr-to-scim")} == {StagedState.STAGED}


def test_what_was_shown_is_what_is_decided(changing: Served) -> None:
    """Other values, or another cause, than those that were looked at: nothing is decided, and it is said."""
    client, path = changing.client("maria"), "/approvals/hr-to-scim"
    page = client.get(path).text
    fields = {name: re.search(rf'name="{name}" value="([^"]*)"', page) for name in ("form_token", "item", "digest")}
    form = {name: found[1] for name, found in fields.items() if found is not None}
    held = changing.ledger.staged("hr-to-scim")
    changing.ledger.put_staged("hr-to-scim", [replace(held[0], cause="disabled in the source")])
    answer = client.http.post(path, data={**form, "about": "all", "decision": "approve", "reason": "HR says so"})
    assert (answer.status_code, "has changed since you looked" in answer.text) == (409, True)
