"""Who signs in to the pages: local users, sessions, and the log of sign-ins.

A session is kept by the digest of its ticket, so that a copy of the ledger opens none. What somebody may do is not in
it: that is looked up at every request.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import and_, func, literal, or_, select

from tasks.ledger.bulk import clean
from tasks.ledger.database import Database
from tasks.ledger.tables import LOCAL_USER, SESSION, SIGN_IN


class SignInOutcome(StrEnum):
    """What came of an attempt to sign in, or that somebody has signed out."""

    IN = "signed in"
    REFUSED = "refused"
    TOO_OFTEN = "too many attempts"
    OUT = "signed out"


@dataclass(frozen=True, slots=True)
class LocalUser:
    """Somebody with a password of their own."""

    login: str
    name: str
    password: str
    """Encoded hash."""
    grants: Sequence[dict[str, Any]]
    """``{role, jobs}`` each; no jobs means all."""


@dataclass(frozen=True, slots=True)
class Session:
    """Somebody who is signed in."""

    ticket: str
    """Digest of what the browser holds."""
    login: str
    name: str
    how: str
    groups: Sequence[str]
    secret: str
    """What forms carry, so that no other site can send one."""
    began: datetime
    seen: datetime


@dataclass(frozen=True, slots=True)
class SignIn:
    """One line of the log of sign-ins."""

    time: datetime
    login: str
    how: str
    address: str
    outcome: SignInOutcome


@dataclass(frozen=True, slots=True)
class Refusals:
    """How often somebody was refused."""

    here: int
    """This login from this address."""
    anywhere: int
    """This login from any address."""
    logins: int
    """How many logins from this address."""


def digest_of_ticket(ticket: str) -> str:
    """What a session is kept by."""
    return hashlib.sha256(ticket.encode("utf-8", "replace")).hexdigest()


class SignIns:
    """Local users, sessions and sign-ins of one ledger."""

    def __init__(self, database: Database) -> None:
        self._database = database

    # -- local users -----------------------------------------------------------------------------------------------

    def put_user(self, user: LocalUser, *, now: datetime) -> None:
        """Adds a user, or writes them anew; the sessions they have end."""
        values = {
            "name": clean(user.name),
            "password": user.password,
            "grants": list(user.grants),
            "changed_at": now,
        }
        with self._database.writing(durable=True) as connection:
            changed = connection.execute(LOCAL_USER.update().where(LOCAL_USER.c.login == user.login).values(values))
            if not changed.rowcount:
                connection.execute(LOCAL_USER.insert().values(login=user.login, **values))
            connection.execute(SESSION.delete().where(SESSION.c.login == user.login))

    def drop_user(self, login: str) -> bool:
        """Forgets a user and ends their sessions; false when there is none."""
        with self._database.writing(durable=True) as connection:
            connection.execute(SESSION.delete().where(SESSION.c.login == login))
            return bool(connection.execute(LOCAL_USER.delete().where(LOCAL_USER.c.login == login)).rowcount)

    def user(self, login: str) -> LocalUser | None:
        """One user."""
        return next((one for one in self._users(LOCAL_USER.c.login == login)), None)

    def users(self) -> list[LocalUser]:
        """All users, by login."""
        return self._users()

    def _users(self, *conditions: Any) -> list[LocalUser]:
        query = select(LOCAL_USER).where(*conditions).order_by(LOCAL_USER.c.login)
        with self._database.reading() as connection:
            return [LocalUser(row.login, row.name, row.password, row.grants or []) for row in connection.execute(query)]

    # -- sessions --------------------------------------------------------------------------------------------------

    def begin(self, session: Session) -> None:
        """Keeps a new session."""
        with self._database.writing(durable=True) as connection:
            connection.execute(
                SESSION.insert().values(
                    ticket=session.ticket,
                    login=clean(session.login),
                    name=clean(session.name),
                    how=session.how,
                    groups=list(session.groups),
                    secret=session.secret,
                    began=session.began,
                    seen=session.seen,
                )
            )

    def session(self, ticket: str) -> Session | None:
        """The session of a digest."""
        with self._database.reading() as connection:
            row = connection.execute(select(SESSION).where(SESSION.c.ticket == ticket)).one_or_none()
        if row is None:
            return None
        return Session(row.ticket, row.login, row.name, row.how, row.groups or [], row.secret, row.began, row.seen)

    def see(self, ticket: str, *, now: datetime) -> None:
        """Notes that a session was used."""
        with self._database.writing() as connection:
            connection.execute(SESSION.update().where(SESSION.c.ticket == ticket).values(seen=now))

    def end(self, ticket: str) -> None:
        """Ends a session; quietly does nothing where there is none."""
        with self._database.writing(durable=True) as connection:
            connection.execute(SESSION.delete().where(SESSION.c.ticket == ticket))

    def forget_sessions(self, *, began_before: datetime, seen_before: datetime) -> None:
        """Forgets the sessions that have run out."""
        with self._database.writing() as connection:
            connection.execute(
                SESSION.delete().where(or_(SESSION.c.began < began_before, SESSION.c.seen < seen_before))
            )

    # -- the log of sign-ins ---------------------------------------------------------------------------------------

    def note(self, sign_in: SignIn) -> None:
        """Adds a line."""
        with self._database.writing(durable=True) as connection:
            connection.execute(
                SIGN_IN.insert().values(
                    time=sign_in.time,
                    login=clean(sign_in.login)[:200],
                    how=sign_in.how,
                    address=sign_in.address,
                    outcome=sign_in.outcome.value,
                )
            )

    def refused(self, *, login: str, address: str, since: datetime) -> Refusals:
        """Attempts refused since then, of this login and from this address."""
        of_login, from_there = SIGN_IN.c.login == clean(login)[:200], SIGN_IN.c.address == address
        query = select(
            func.count().filter(and_(of_login, from_there)),
            func.count().filter(of_login),
            func.count(SIGN_IN.c.login.distinct()).filter(from_there),
        ).where(SIGN_IN.c.time >= since, SIGN_IN.c.outcome == SignInOutcome.REFUSED.value)
        with self._database.reading() as connection:
            return Refusals(*connection.execute(query).one())

    def unknown_refused(self, login: str, *, since: datetime) -> int:
        """Lines since then about logins that are no user's; 0 where this one is a user's."""
        users = select(LOCAL_USER.c.login)
        query = select(func.count()).where(
            SIGN_IN.c.time >= since,
            SIGN_IN.c.outcome == SignInOutcome.REFUSED.value,
            SIGN_IN.c.login.not_in(users),
            literal(clean(login)[:200]).not_in(users),
        )
        with self._database.reading() as connection:
            return connection.execute(query).scalar_one()

    def forget_lines(self, *, before: datetime, refused_before: datetime) -> None:
        """Forgets lines of the log that are old; refusals earlier."""
        refused = and_(SIGN_IN.c.time < refused_before, SIGN_IN.c.outcome == SignInOutcome.REFUSED.value)
        with self._database.writing() as connection:
            connection.execute(SIGN_IN.delete().where(or_(SIGN_IN.c.time < before, refused)))

    def latest(self, limit: int) -> list[SignIn]:
        """The last lines, the newest first."""
        query = select(SIGN_IN).order_by(SIGN_IN.c.id.desc()).limit(limit)
        with self._database.reading() as connection:
            return [
                SignIn(row.time, row.login, row.how, row.address, SignInOutcome(row.outcome))
                for row in connection.execute(query)
            ]
