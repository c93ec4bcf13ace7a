"""Signing in and out: sessions, attempts, roles that change, and the log of it."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path

import httpx
import pytest

from connectors.errors import SettingsError
from flows.cycle.systems import CLOCK, now, open_ledger
from flows.serve.pages_alone import put_user
from flows.serve.web import signing_in
from flows.serve.web.app import make_app
from flows.serve.web.rights import Deed, Grant, Rights, Role
from flows.serve.web.settings import PagesSettings, read_pages_settings
from flows.serve.web.signing_in import CrowdError, Door, TooOftenError, hash_password
from tasks.ledger import Ledger, LocalUser, SignInOutcome
from tests.flows.web.conftest import PASSWORD, Served, token_of
from tests.flows.web.worlds import pages_of


def test_somebody_signs_in_and_out(changing: Served) -> None:
    """To where they wanted to go; afterwards the ticket opens nothing."""
    client = changing.client()
    asked = client.get("/jobs/hr-to-scim")
    assert asked.headers["Location"] == "/sign-in?to=%2Fjobs%2Fhr-to-scim"
    assert client.sign_in("vera", to="/jobs/hr-to-scim").headers["Location"] == "/jobs/hr-to-scim"
    ticket = client.http.cookies["provisor"]
    assert client.get("/jobs/hr-to-scim").status_code == 200
    assert client.post("/sign-out").status_code == 303
    client.http.cookies.set("provisor", ticket)
    assert client.get("/").status_code == 303
    log = [(one.login, one.outcome) for one in changing.ledger.sign_ins.latest(2)]
    assert log == [("vera", SignInOutcome.OUT), ("vera", SignInOutcome.IN)]
    page = changing.client("otto").get("/sign-ins").text
    assert "signed out" in page


def test_wrong_login_and_wrong_password_look_alike(changing: Served) -> None:
    """Nobody learns who has an account here."""
    unknown = changing.client().sign_in("nobody-here")
    wrong = changing.client().sign_in("vera", "not-the-password")
    assert (unknown.status_code, wrong.status_code) == (401, 401)
    assert "The login or the password is wrong." in unknown.text
    assert "The login or the password is wrong." in wrong.text


def test_guessing_ends_soon(changing: Served) -> None:
    """After 8 attempts of a browser that is known, nothing is compared there any more, not even what is right."""
    client = changing.client("vera")
    client.post("/sign-out")
    answers = [client.sign_in("vera", f"guess-{number}").status_code for number in range(9)]
    assert answers == [401] * 8 + [429]
    assert client.sign_in("vera").status_code == 429
    assert client.sign_in("otto").status_code == 303  # somebody else is not locked out


def test_strangers_behind_a_proxy_lock_nobody_out(tmp_path: Path) -> None:
    """All requests have the proxy's address: made-up logins close nothing, guesses at a login only new browsers."""
    people = {"vera": Grant(Role.VIEWER), "otto": Grant(Role.OPERATOR)}
    with Ledger.open(None, tmp_path) as ledger, pages_of(ledger, tmp_path, people) as asked:
        vera, stranger = asked.visitors["vera"].http, asked.visitors["otto"].http
        stranger.cookies.clear()
        token = token_of(stranger.get("/sign-in").text)

        def tries(client: httpx.Client, login: str, password: str = PASSWORD) -> int:
            client.cookies.delete("provisor")
            token = token_of(client.get("/sign-in").text)
            fields = {"login": login, "password": password, "form_token": token}
            return client.post("/sign-in", data=fields).status_code

        for number in range(120):
            fields = {"login": f"made-up-{number}", "password": "x", "form_token": token}
            assert stranger.post("/sign-in", data=fields).status_code == 401
        assert tries(stranger, "otto") == 303
        stranger.cookies.clear()
        assert [tries(stranger, "vera", "x") for _ in range(101)] == [401] * 100 + [429]
        assert tries(stranger, "vera") == 429
        assert tries(vera, "vera") == 303
        assert tries(stranger, "provisor", "the-key-of-the-server") == 303


def test_a_known_browser_is_the_users_own(door: "tuple[Door, Ledger]") -> None:
    """Its mark is worth nothing for another login, when it is made up, or after the password has changed."""
    here, ledger = door
    grants = [Grant(Role.VIEWER).as_json()]
    ledger.sign_ins.put_user(LocalUser("otto", "Otto", hash_password("a-long-password"), grants), now=now())
    mark = here.mark_of("vera")
    for number in range(100):
        assert here.enter("vera", "x", address=f"{number}", now=now()) is None

    def may_try(login: str, shown: str) -> bool:
        try:
            return here.enter(login, "a-long-password", address="new", now=now(), mark=shown) is not None
        except TooOftenError:
            return False

    assert may_try("vera", mark)
    assert not any(may_try("vera", shown) for shown in ("", "x", mark[:-1], here.mark_of("otto"), here.mark_of("who")))
    ledger.sign_ins.put_user(LocalUser("vera", "Vera", hash_password("a-long-password"), grants), now=now())
    assert not may_try("vera", mark)


def test_guesses_do_not_fill_the_ledger(door: "tuple[Door, Ledger]", monkeypatch: pytest.MonkeyPatch) -> None:
    """Of made-up logins so many lines are kept and no more; refusals of users are all there; old ones are forgotten."""
    here, ledger = door
    monkeypatch.setattr(signing_in, "_UNKNOWN_NOTED", 10)
    for number in range(25):
        assert here.enter(f"made-up-{number}", "x", address="127.0.0.1", now=now()) is None
    for number in range(20):
        assert here.enter("vera", "x", address=str(number), now=now()) is None
    assert sum(one.login.startswith("made-up") for one in ledger.sign_ins.latest(100)) == 10
    assert sum(one.login == "vera" for one in ledger.sign_ins.latest(100)) == 20
    assert here.enter("vera", "a-long-password", address="a", now=now() + timedelta(days=31)) is not None
    assert [one.outcome for one in ledger.sign_ins.latest(100)] == [SignInOutcome.IN]


def test_strangers_leave_places_for_known_browsers(
    door: "tuple[Door, Ledger]", monkeypatch: pytest.MonkeyPatch
) -> None:
    """While all places of strangers are taken, who has signed in before signs in."""
    here, _ = door
    mark, go_on, all_in = here.mark_of("vera"), threading.Event(), threading.Barrier(13)
    real = Door._attempt

    @contextmanager
    def held_up(door: Door, login: str, address: str, moment: datetime) -> Iterator[None]:
        with real(door, login, address, moment):
            all_in.wait(20)
            go_on.wait(20)
            yield

    monkeypatch.setattr(Door, "_attempt", held_up)
    with ThreadPoolExecutor(12) as pool:
        guesses = [pool.submit(here.enter, f"user-{n}", "x", address=str(n), now=now()) for n in range(12)]
        all_in.wait(20)
        with pytest.raises(CrowdError), real(here, "vera", "a", now()):
            pass
        assert here.enter("vera", "a-long-password", address="a", now=now(), mark=mark) is not None
        go_on.set()
        assert [one.result() for one in guesses] == [None] * 12


def test_who_has_started_the_server_signs_in_with_its_key(changing: Served) -> None:
    """And is named by the login of this machine: decisions are signed by a person."""
    client = changing.client("provisor", changing.own)
    assert client.get("/approvals/hr-to-scim").status_code == 200
    assert changing.ledger.sign_ins.latest(1)[0].login != "provisor"


@pytest.fixture
def door(tmp_path, monkeypatch) -> "tuple[Door, Ledger]":  # type: ignore[no-untyped-def]
    """A door with one user."""
    monkeypatch.setenv("PROVISOR_HOME", str(tmp_path))
    ledger = open_ledger()
    grants = [Grant(Role.VIEWER).as_json()]
    ledger.sign_ins.put_user(LocalUser("vera", "Vera", hash_password("a-long-password"), grants), now=now())
    yield Door(ledger, PagesSettings(client_header="X-Forwarded-For"), "provisor:key"), ledger
    ledger.close()


def test_sessions_run_out(door: "tuple[Door, Ledger]") -> None:
    """After two hours without a request, and after twelve with them."""
    here, _ = door
    start = now()
    ticket = here.enter("vera", "a-long-password", address="a", now=start)
    assert ticket is not None
    assert here.person(ticket, now=start + timedelta(minutes=119)) is not None
    assert here.person(ticket, now=start + timedelta(minutes=238)) is not None
    assert here.person(ticket, now=start + timedelta(minutes=359)) is None
    fresh = here.enter("vera", "a-long-password", address="a", now=start)
    assert fresh is not None
    for hour in range(1, 12):
        assert here.person(fresh, now=start + timedelta(hours=hour)) is not None
    assert here.person(fresh, now=start + timedelta(hours=12, seconds=1)) is None


def test_changed_rights_count_at_once(door: "tuple[Door, Ledger]") -> None:
    """Somebody who is changed has to sign in again; somebody who is removed has nothing."""
    here, ledger = door
    ticket = here.enter("vera", "a-long-password", address="a", now=now())
    assert ticket is not None
    ledger.sign_ins.put_user(LocalUser("vera", "Vera", hash_password("another-password"), []), now=now())
    assert here.person(ticket, now=now()) is None
    assert here.enter("vera", "a-long-password", address="a", now=now()) is None


def test_one_address_does_not_guess_many_logins(door: "tuple[Door, Ledger]") -> None:
    """A hundred logins that fail from one address are enough; one that fails often counts once."""
    here, _ = door
    for number in range(99):
        assert here.enter(f"user-{number}", "x", address="1.2.3.4", now=now()) is None
    assert here.enter("user-0", "x", address="1.2.3.4", now=now()) is None
    assert here.enter("vera", "a-long-password", address="1.2.3.4", now=now()) is not None
    assert here.enter("user-99", "x", address="1.2.3.4", now=now()) is None
    with pytest.raises(TooOftenError):
        here.enter("vera", "a-long-password", address="1.2.3.4", now=now())
    assert here.enter("vera", "a-long-password", address="5.6.7.8", now=now()) is not None


def test_wrong_passwords_lock_nobody_out_elsewhere(door: "tuple[Door, Ledger]") -> None:
    """Eight from one address end the guessing there; a hundred from many addresses end it everywhere."""
    here, _ = door
    for _number in range(8):
        assert here.enter("vera", "x", address="0", now=now()) is None
    with pytest.raises(TooOftenError):
        here.enter("vera", "a-long-password", address="0", now=now())
    assert here.enter("vera", "a-long-password", address="elsewhere", now=now()) is not None
    for number in range(92):
        assert here.enter("vera", "x", address=f"{number // 8 + 1}", now=now()) is None
    with pytest.raises(TooOftenError):
        here.enter("vera", "a-long-password", address="elsewhere", now=now())


@pytest.mark.parametrize(
    ("header", "sent", "noted"),
    [
        ("X-Forwarded-For", ["1.1.1.1, 203.0.113.7"], "203.0.113.7"),
        ("X-Forwarded-For", ["203.0.113.7", "2001:db8::1"], "2001:db8::/64"),
        ("X-Forwarded-For", ["::ffff:203.0.113.7"], "203.0.113.7"),
        ("X-Forwarded-For", ["unknown"], "127.0.0.1"),
        ("X-Forwarded-For", [], "127.0.0.1"),
        ("", ["203.0.113.7"], "127.0.0.1"),
    ],
)
def test_a_proxy_says_whose_request_it_passes_on(header: str, sent: list[str], noted: str, tmp_path: Path) -> None:
    """Where the settings name the header; what stands before the proxy's own entry anybody may have written."""
    settings = PagesSettings(client_header=header)
    with (
        Ledger.open(None, tmp_path) as ledger,
        pages_of(ledger, tmp_path, {"vera": Grant(Role.VIEWER)}, settings) as asked,
    ):
        client = asked.visitors["vera"].http
        client.cookies.clear()
        fields = {"login": "vera", "password": "x", "form_token": token_of(client.get("/sign-in").text)}
        headers = [("X-Forwarded-For", one) for one in sent]
        assert client.post("/sign-in", data=fields, headers=headers).status_code == 401
        assert ledger.sign_ins.latest(1)[0].address == noted


def test_guesses_at_once_are_no_more_than_one_by_one(
    door: "tuple[Door, Ledger]", monkeypatch: pytest.MonkeyPatch
) -> None:
    """Forty at the same moment: eight are compared, two at a time; afterwards nothing is counted that is over."""
    here, _ = door
    at_once, compared, lock = [0], [0], threading.Lock()
    most: list[int] = []
    all_asked = threading.Event()

    def slowly(kept: str, password: str) -> bool:
        with lock:
            at_once[0] += 1
            compared[0] += 1
            most.append(at_once[0])
        all_asked.wait(20)
        with lock:
            at_once[0] -= 1
        return password == "right"

    monkeypatch.setattr(signing_in, "_fits", slowly)
    refused: list[int] = []

    def guess(number: int) -> str:
        try:
            here.enter("vera", f"guess-{number}", address="a", now=now())
        except TooOftenError:
            refused.append(number)
            if len(refused) == 32:
                all_asked.set()
            return "too often"
        return "compared"

    with ThreadPoolExecutor(40) as pool:
        answers = list(pool.map(guess, range(40)))
    assert (answers.count("compared"), compared[0]) == (8, 8)
    assert max(most) <= 2
    for _number in range(3):
        assert here.enter("otto", "wrong", address="b", now=now()) is None
    assert here.enter("vera", "right", address="a", now=now() + timedelta(minutes=16)) is not None


def test_attempts_that_wait_are_few(door: "tuple[Door, Ledger]", monkeypatch: pytest.MonkeyPatch) -> None:
    """Each that waits holds a thread of the pages: beyond a dozen people are asked to come again."""
    here, _ = door
    crowd, go_on = threading.Event(), threading.Event()
    monkeypatch.setattr(signing_in, "_fits", lambda kept, password: go_on.wait(20) and False)

    def guess(number: int) -> str:
        try:
            here.enter(f"user-{number}", "x", address=str(number), now=now())
        except CrowdError:
            crowd.set()
            go_on.set()
            return "crowd"
        return "compared"

    with ThreadPoolExecutor(13) as pool:
        answers = list(pool.map(guess, range(13)))
    assert crowd.is_set()
    assert answers.count("compared") == 12


def test_a_ticket_is_not_in_the_ledger(door: "tuple[Door, Ledger]") -> None:
    """A copy of the ledger opens no session, and shows no password."""
    here, ledger = door
    ticket = here.enter("vera", "a-long-password", address="a", now=now())
    assert ticket is not None
    assert ledger.sign_ins.session(ticket) is None
    user = ledger.sign_ins.user("vera")
    assert user is not None
    assert user.password.startswith("$argon2id$")


def test_rights_are_by_job() -> None:
    """A grant for some jobs gives nothing elsewhere; roles add up."""
    rights = Rights([Grant(Role.APPROVER, ("a",)), Grant(Role.HELPDESK)])
    assert rights.may(Deed.DECIDE, "a")
    assert not rights.may(Deed.DECIDE, "b")
    assert rights.may(Deed.FIND, "b")
    assert not rights.may(Deed.READ, "b")
    assert not rights.may(Deed.OPERATE, "a")
    assert not rights.operates_all()
    assert Rights.of([{"role": "emperor", "jobs": []}]).grants == []


def test_the_settings_refuse_what_is_unsafe(tmp_path) -> None:  # type: ignore[no-untyped-def]
    """A provider without TLS, a secret that is written down, an unknown key."""
    for text in (
        "provider: {issuer: 'http://id.example.com', client_id: p, client_secret: '${env:X}'}",
        "provider: {issuer: 'https://id.example.com', client_id: p, client_secret: written-down}",
        "adress: https://x.example",
        "address: https://x.example/path",
        "roles: [{role: emperor}]",
        "- a list",
    ):
        (tmp_path / "pages.yaml").write_text(text)
        with pytest.raises(SettingsError) as refused:
            read_pages_settings(tmp_path)
        assert "written-down" not in str(refused.value)


def test_a_container_says_the_address_by_a_variable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the file has none; a wrong one is named as the variable."""
    monkeypatch.setenv("PROVISOR_PAGES_ADDRESS", "https://pages.example.com/")
    assert read_pages_settings(tmp_path).address == "https://pages.example.com"
    (tmp_path / "pages.yaml").write_text("address: https://file.example.com")
    assert read_pages_settings(tmp_path).address == "https://file.example.com"
    (tmp_path / "pages.yaml").write_text("prefect: https://prefect.example.com")
    monkeypatch.setenv("PROVISOR_PAGES_ADDRESS", "pages.example.com")
    with pytest.raises(SettingsError, match=r"^PROVISOR_PAGES_ADDRESS: .*https://provisor\.example\.com"):
        read_pages_settings(tmp_path)


@pytest.mark.parametrize("name", ["metrics_token", "provider.client_secret"])
def test_a_secret_that_is_not_there_is_said_at_once(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before the pages are served, and not to the first who needs it."""
    monkeypatch.delenv("NOT_THERE", raising=False)
    text = {
        "metrics_token": "metrics_token: ${env:NOT_THERE}",
        "provider.client_secret": "provider: {issuer: 'https://id.example', client_id: p, "
        "client_secret: '${env:NOT_THERE}'}",
    }[name]
    (tmp_path / "pages.yaml").write_text(text)
    with (
        Ledger.open(None, tmp_path / "state") as ledger,
        pytest.raises(SettingsError, match=rf"pages\.yaml: {name}: The environment variable NOT_THERE"),
    ):
        make_app(
            ledger=ledger,
            state=tmp_path / "state",
            jobs=dict,
            settings=read_pages_settings(tmp_path),
            own_sign_in="provisor:key",
            port=9,
        )


def test_users_are_put_in_by_a_command(tmp_path, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    """The password is read from standard input, never from the words of a command; a short one is refused."""
    import io

    monkeypatch.setenv("PROVISOR_HOME", str(tmp_path))
    monkeypatch.setattr("sys.stdin", io.StringIO("short\n"))
    assert put_user("vera", "Vera", ["viewer"])[1] is False
    monkeypatch.setattr("sys.stdin", io.StringIO("a-long-enough-one\n"))
    assert put_user("vera", "Vera", ["approver:hr-to-scim,hr-to-crm", "helpdesk"]) == (
        "vera may sign in as approver of hr-to-scim, hr-to-crm; helpdesk.",
        True,
    )
    assert put_user("vera", "Vera", ["emperor"])[1] is False
    assert CLOCK.get() is not None
