"""Signing in: passwords, sessions, and how often somebody may try."""

import hashlib
import hmac
import secrets
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TypeVar

from argon2 import PasswordHasher
from argon2.exceptions import Argon2Error, InvalidHashError

from flows.decisions.persons import login_name
from flows.serve.web.rights import Grant, Rights, Role
from flows.serve.web.settings import PagesSettings
from tasks.ledger import Ledger, LocalUser, Session, SignIn, SignInOutcome, digest_of_ticket

PASSWORD, PROVIDER, HERE = "password", "OpenID Connect", "the sign-in of this server"
"""How somebody has signed in."""

LASTS, IDLE = timedelta(hours=12), timedelta(hours=2)
"""How long a session lasts, and how long without a request."""
_TRIES_HERE, _TRIES_ANYWHERE, _LOGINS_OF_ADDRESS, _TRIES_WITHIN = 8, 100, 100, timedelta(minutes=15)
"""Of a login from one address and from all, and logins refused from one address; the first also of a known browser.

They bound what strangers guess, and lock out no browser in which the login has signed in before. Source of the 100:
NIST SP 800-63B, 5.2.2. Source of known browsers: OWASP, Slow Down Online Guessing Attacks with Device Cookies.
"""
_COMPARED_AT_ONCE, _TRYING_AT_ONCE = 2, 12
"""Passwords compared at the same moment, 64 MiB each, and attempts under way: each that waits holds a thread.

As many again for known browsers, so that strangers do not fill their places.
"""
_UNKNOWN_NOTED = 1_000
"""Refusals of logins that are no user's which the log takes in a quarter of an hour: nobody fills the ledger."""
_LOG_KEPT, _REFUSALS_KEPT = timedelta(days=400), timedelta(days=30)
KNOWN_FOR = timedelta(days=180)
"""How long a browser is known by the login that has signed in there."""
_SEEN_EVERY = timedelta(minutes=1)
SHORTEST_PASSWORD = 12

_Whose = TypeVar("_Whose", str, tuple[str, str])

_HASHER = PasswordHasher()
_NOBODY = _HASHER.hash(secrets.token_urlsafe(16))
"""Compared with when there is no such user: it takes as long."""


class TooOftenError(Exception):
    """Somebody has tried too often; nothing was compared."""


class CrowdError(Exception):
    """Too many people sign in at this moment; nothing was compared."""


@dataclass(frozen=True, slots=True)
class Person:
    """Who is looking."""

    login: str
    name: str
    how: str
    rights: Rights
    session: Session

    @property
    def identity(self) -> str:
        """As decisions are signed: who, and by what that is known."""
        return f"{self.login} ({self.how})"


def hash_password(password: str) -> str:
    """What is kept of a password."""
    return _HASHER.hash(password)


class Door:
    """Lets people in, and knows who is in."""

    def __init__(self, ledger: Ledger, settings: PagesSettings, own: str) -> None:
        self._ledger = ledger
        self._settings = settings
        self._own = own
        """User and password of the server itself, ``provisor:…``: of the person who started it."""
        self._lock = threading.Lock()
        self._trying: Counter[tuple[str, str]] = Counter()
        """Attempts of strangers under way, by login and address: each counts as refused until it has succeeded."""
        self._trying_known: Counter[str] = Counter()
        """Those of known browsers, by browser."""
        self._missed: dict[str, list[datetime]] = {}
        """Refusals of known browsers, by browser: as many as browsers in which a user has signed in."""
        self._comparing = threading.BoundedSemaphore(_COMPARED_AT_ONCE)
        self._comparing_known = threading.BoundedSemaphore(_COMPARED_AT_ONCE)

    def enter(self, login: str, password: str, *, address: str, now: datetime, mark: str = "") -> str | None:
        """The ticket of a new session; None for a wrong login or password.

        ``mark``: what :meth:`mark_of` has given the browser. Raises: TooOftenError, CrowdError.
        """
        if hmac.compare_digest(f"{login}:{password}".encode(), self._own.encode()):
            # 192 random bits, which nobody guesses: no attempt of others closes the door to who has started the server.
            return self.begin(login_name(), login_name(), HERE, (), address=address, now=now)
        user = self._ledger.sign_ins.user(login)
        known = user is not None and _is_mark_of(user, mark)
        attempt = self._attempt_known(mark, now) if known else self._attempt(login, address, now)
        with attempt:
            with self._comparing_known if known else self._comparing:
                fits = _fits(user.password if user is not None else _NOBODY, password)
            if fits and user is not None:
                return self.begin(user.login, user.name or user.login, PASSWORD, (), address=address, now=now)
            if known:
                with self._lock:
                    self._missed.setdefault(mark, []).append(now)
            self.refuse(login, PASSWORD, address=address, now=now)
            return None

    def mark_of(self, login: str) -> str:
        """What a browser keeps in which a user has signed in: guesses of others do not count there.

        It opens nothing, and ends with the password. Empty for those who have none here.
        """
        user = self._ledger.sign_ins.user(login)
        if user is None:
            return ""
        browser = secrets.token_urlsafe(16)
        return f"{browser}.{_signed(user, browser)}"

    def begin(self, login: str, name: str, how: str, groups: tuple[str, ...], *, address: str, now: datetime) -> str:
        """The ticket of a new session of somebody who is known."""
        ticket = secrets.token_urlsafe(32)
        kept = digest_of_ticket(ticket)
        self._ledger.sign_ins.forget_sessions(began_before=now - LASTS, seen_before=now - IDLE)
        self._ledger.sign_ins.forget_lines(before=now - _LOG_KEPT, refused_before=now - _REFUSALS_KEPT)
        self._ledger.sign_ins.begin(Session(kept, login, name, how, groups, secrets.token_urlsafe(32), now, now))
        self._note(login, how, address, SignInOutcome.IN, now)
        return ticket

    def refuse(self, login: str, how: str, *, address: str, now: datetime) -> None:
        """Notes that somebody was not let in; of logins that are no user's not more than the log bears."""
        if self._ledger.sign_ins.unknown_refused(login, since=now - _TRIES_WITHIN) < _UNKNOWN_NOTED:
            self._note(login, how, address, SignInOutcome.REFUSED, now)

    def person(self, ticket: str, *, now: datetime) -> Person | None:
        """Who holds a ticket; None where it has run out. Rights are looked up anew each time."""
        session = self._ledger.sign_ins.session(digest_of_ticket(ticket))
        if session is None or now - session.began > LASTS or now - session.seen > IDLE:
            return None
        if now - session.seen > _SEEN_EVERY:
            self._ledger.sign_ins.see(session.ticket, now=now)
        match session.how:
            case "password":
                user = self._ledger.sign_ins.user(session.login)
                rights = Rights.of(user.grants) if user is not None else Rights()
            case "OpenID Connect":
                rights = self._settings.rights_of(session.login, tuple(session.groups))
            case _:
                rights = Rights([Grant(Role.OPERATOR), Grant(Role.APPROVER)])
        return Person(session.login, session.name, session.how, rights, session)

    def leave(self, person: Person, *, address: str, now: datetime) -> None:
        """Ends a session."""
        self._ledger.sign_ins.end(person.session.ticket)
        self._note(person.login, person.how, address, SignInOutcome.OUT, now)

    def _attempt(self, login: str, address: str, now: datetime) -> AbstractContextManager[None]:
        """An attempt of a stranger."""
        return self._counted(self._trying, (login, address), lambda: self._refuse_too_often(login, address, now))

    def _attempt_known(self, mark: str, now: datetime) -> AbstractContextManager[None]:
        """An attempt in a browser in which the login has signed in: it answers for its own guesses alone."""
        return self._counted(self._trying_known, mark, lambda: self._refuse_too_often_here(mark, now))

    @contextmanager
    def _counted(self, trying: Counter[_Whose], whose: _Whose, refuse: Callable[[], None]) -> Iterator[None]:
        """Counts an attempt before anything is compared, so that many at once are no more than one after the other."""
        with self._lock:
            refuse()
            if trying.total() >= _TRYING_AT_ONCE:
                raise CrowdError
            trying[whose] += 1
        try:
            yield
        finally:
            with self._lock:
                trying[whose] -= 1
                if not trying[whose]:
                    del trying[whose]

    def _refuse_too_often_here(self, mark: str, now: datetime) -> None:
        since = now - _TRIES_WITHIN
        self._missed = {
            one: recent for one, times in self._missed.items() if (recent := [at for at in times if at > since])
        }
        if len(self._missed.get(mark, ())) + self._trying_known[mark] >= _TRIES_HERE:
            raise TooOftenError

    def _refuse_too_often(self, login: str, address: str, now: datetime) -> None:
        found = self._ledger.sign_ins.refused(login=login, address=address, since=now - _TRIES_WITHIN)
        anywhere = found.anywhere + sum(count for (one, _), count in self._trying.items() if one == login)
        if anywhere >= _TRIES_ANYWHERE:
            raise TooOftenError
        if not self._settings.client_header:
            return  # all who come through a proxy have its address
        here = found.here + self._trying[login, address]
        logins = found.logins + sum(one == address for _, one in self._trying)
        if here >= _TRIES_HERE or logins >= _LOGINS_OF_ADDRESS:
            raise TooOftenError

    def _note(self, login: str, how: str, address: str, outcome: SignInOutcome, now: datetime) -> None:
        self._ledger.sign_ins.note(SignIn(now, login, how, address, outcome))


def _fits(kept: str, password: str) -> bool:
    try:
        return _HASHER.verify(kept, password)
    except (Argon2Error, InvalidHashError):
        return False


def _is_mark_of(user: LocalUser, mark: str) -> bool:
    browser, _, signature = mark.partition(".")
    return hmac.compare_digest(signature.encode(), _signed(user, browser).encode())


def _signed(user: LocalUser, browser: str) -> str:
    key = hashlib.sha256(f"known browser {user.password}".encode()).digest()
    return hmac.new(key, f"{user.login} {browser}".encode("utf-8", "replace"), "sha256").hexdigest()
