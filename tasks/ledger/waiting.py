"""Changes that guards hold and nobody has decided about: counted, named and compared by the database.

Ten thousand of them may wait: a page shows fifty, and says of all of them what they have in common.
"""

import hashlib
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

import orjson
from sqlalchemy import ColumnElement, Connection, Text, and_, case, cast, func, or_, select

from connectors.contract import Action, Kind
from tasks.ledger import rows
from tasks.ledger.directory import fold
from tasks.ledger.records import Staged, StagedState
from tasks.ledger.tables import DIRECTORY, STAGED

NAMED = 3
"""Names that stand for many."""
PLACES = ("company", "department", "place")
"""What entries may have in common."""
_MEMBERS = case(
    (STAGED.c.action != Action.REMOVE_MEMBERS.value, 1),
    (STAGED.c.members.is_(None), 1),
    else_=func.json_array_length(STAGED.c.members),
)
"""How much one row is: an account, or so many memberships of a group."""
_SHOWN = tuple(
    cast(STAGED.c[name], Text) for name in ("anchor", "state", "target_id", "cause", "members", "attributes", "digests")
)
"""What a person who decides has looked at; as text, which is read ten times as fast."""
_AT_ONCE = 2_000
"""Entries looked up by one statement."""


class Guarded(NamedTuple):
    """One question: everything that one guard of a job holds of one action."""

    job: str
    kind: Kind
    action: Action
    guard: str


@dataclass(frozen=True, slots=True)
class Waiting:
    """Held changes of one kind that one guard holds and nobody has decided about."""

    kind: Kind
    action: Action
    guard: str
    count: int
    """Accounts; of removals from groups the memberships."""
    since: datetime
    names: Sequence[str]
    """The first entries."""
    entries: int
    """Rows: of removals from groups the groups."""


@dataclass(frozen=True, slots=True)
class Decided:
    """What a person has decided about at once, of one action."""

    job: str
    what: Waiting
    state: StagedState
    who: str
    why: str
    until: datetime | None


def _undecided(now: datetime, held: Any = STAGED) -> ColumnElement[bool]:
    """Held changes that nobody has decided about, or not for now; see ``flows.decisions.staged``."""
    ended = and_(held.c.until.is_not(None), held.c.until <= now)
    return or_(held.c.state == StagedState.STAGED.value, held.c.state == StagedState.LAPSED.value, ended)


def waiting_of(connection: Connection, jobs: Sequence[str], now: datetime) -> dict[str, list[Waiting]]:
    """What nobody has decided about, by job, the largest first."""
    group = (STAGED.c.job, STAGED.c.kind, STAGED.c.action, STAGED.c.guard)
    query = (
        select(
            *group,
            func.count().label("entries"),
            func.sum(_MEMBERS).label("many"),
            func.min(STAGED.c.since).label("since"),
            func.min(STAGED.c.anchor).label("first"),
        )
        .where(STAGED.c.job.in_(jobs), _undecided(now))
        .group_by(*group)
        .order_by(STAGED.c.job, func.count().desc(), STAGED.c.kind, STAGED.c.action, STAGED.c.guard)
    )
    found: dict[str, list[Waiting]] = {}
    for row in connection.execute(query).all():
        first = (
            select(func.coalesce(DIRECTORY.c.label, STAGED.c.label), STAGED.c.anchor)
            .outerjoin(DIRECTORY, same_entry(STAGED))
            .where(
                STAGED.c.job == row.job,
                STAGED.c.kind == row.kind,
                STAGED.c.action == row.action,
                STAGED.c.anchor >= row.first,
                STAGED.c.guard == row.guard,
                _undecided(now),
            )
            .order_by(STAGED.c.anchor)
            .limit(NAMED)
        )
        names = [label or anchor for label, anchor in connection.execute(first)]
        one = Waiting(Kind(row.kind), Action(row.action), row.guard, int(row.many), row.since, names, row.entries)
        found.setdefault(row.job, []).append(one)
    return found


def _asked(question: Guarded, now: datetime, held: Any = STAGED) -> ColumnElement[bool]:
    """Condition for the rows of a question."""
    return and_(
        held.c.job == question.job,
        held.c.kind == question.kind.value,
        held.c.action == question.action.value,
        held.c.guard == question.guard,
        _undecided(now, held),
    )


def held_page(connection: Connection, question: Guarded, now: datetime, after: str, limit: int | None) -> list[Staged]:
    """Held changes of a question by anchor, those after one of them."""
    query = select(STAGED).where(_asked(question, now), STAGED.c.anchor > after)
    found = connection.execute(query.order_by(STAGED.c.anchor, STAGED.c.state).limit(limit))
    return [rows.staged_from(row) for row in found.all()]


def held_of(connection: Connection, question: Guarded, now: datetime, anchors: Collection[str]) -> list[Staged]:
    """Those held changes of a question that are about some entries, in the order of :func:`held_page`."""
    wanted, found = sorted(anchors), []
    for start in range(0, len(wanted), _AT_ONCE):
        some = STAGED.c.anchor.in_(wanted[start : start + _AT_ONCE])
        query = select(STAGED).where(_asked(question, now), some).order_by(STAGED.c.anchor, STAGED.c.state)
        found += [rows.staged_from(row) for row in connection.execute(query).all()]
    return found


def held_up_to(connection: Connection, question: Guarded, now: datetime, anchor: str) -> int:
    """How many come before a page that begins after an entry."""
    query = select(func.count()).select_from(STAGED).where(_asked(question, now), STAGED.c.anchor <= anchor)
    return connection.execute(query).scalar_one()


def asked_before(connection: Connection, question: Guarded, now: datetime) -> int:
    """How many were decided about once, by a decision that has run out."""
    query = select(func.count(STAGED.c.decided_at)).where(_asked(question, now))
    return connection.execute(query).scalar_one()


def seal_of(connection: Connection, question: Guarded, now: datetime) -> str:
    """Changes with anything that is asked: whom, what, for which cause, which members, or attributes and values."""
    query = select(*_SHOWN).where(_asked(question, now)).order_by(STAGED.c.anchor, STAGED.c.state)
    rest = [one for row in connection.execute(query).all() for one in row]
    return hashlib.sha256(orjson.dumps([*question, *rest])).hexdigest()


def in_common(connection: Connection, question: Guarded, now: datetime) -> dict[str, Counter[str]]:
    """How many have each value, by company, department and place."""
    places = [DIRECTORY.c.details[name].as_string().label(name) for name in PLACES]
    query = (
        select(*places, func.count().label("many"))
        .join(DIRECTORY, same_entry(STAGED))
        .where(_asked(question, now))
        .group_by(*places)
    )
    found: dict[str, Counter[str]] = {name: Counter() for name in PLACES}
    for row in connection.execute(query).all():
        for name, value in zip(PLACES, row[:-1], strict=True):
            if value:
                found[name][value] += row.many
    return found


def held_with(connection: Connection, question: Guarded, now: datetime, text: str) -> list[str]:
    """Anchors of a question's entries in whose name, login, key or place all words of a text begin a word; in order."""
    wanted = [f" {word}" for word in fold(text).split()]
    details = cast(DIRECTORY.c.details, Text)  # read at once, not row by row
    query = (
        select(STAGED.c.anchor, STAGED.c.label, DIRECTORY.c.words, details)
        .outerjoin(DIRECTORY, same_entry(STAGED))
        .where(_asked(question, now))
        .order_by(STAGED.c.anchor)
    )
    places: dict[str | None, str] = {None: ""}
    found: dict[str, None] = {}
    for anchor, label, words, place in connection.execute(query).all():
        if place not in places:
            places[place] = fold(" ".join(orjson.loads(place).values()))
        known = f" {fold(label)} {fold(anchor)} {words or ''} {places[place]}"
        if all(word in known for word in wanted):
            found[anchor] = None
    return list(found)


def left_behind(connection: Connection, question: Guarded, now: datetime) -> dict[str, int]:
    """How many people who are not held themselves have a manager who is, by the manager's anchor."""
    led, held_too = DIRECTORY.alias("led"), STAGED.alias("held_too")
    gone = (
        select(held_too.c.anchor)
        .where(_asked(question, now, held_too), held_too.c.anchor == led.c.anchor)
        .correlate(led)
        .exists()
    )
    query = (
        select(STAGED.c.anchor, func.count().label("many"))
        .join(led, and_(led.c.job == STAGED.c.job, led.c.manager == STAGED.c.anchor))
        .where(_asked(question, now), led.c.kind == question.kind.value, ~gone)
        .group_by(STAGED.c.anchor)
    )
    return {row.anchor: row.many for row in connection.execute(query).all()}


def decided_of(connection: Connection, jobs: Sequence[str], now: datetime, limit: int) -> list[Decided]:
    """The last decisions that are still in force, the newest first."""
    same = (*(STAGED.c[name] for name in ("job", "kind", "action", "state", "who", "why", "until", "decided_at")),)
    label = func.min(func.coalesce(DIRECTORY.c.label, STAGED.c.label, STAGED.c.anchor))
    query = (
        select(*same, func.count().label("entries"), func.sum(_MEMBERS).label("many"), label.label("label"))
        .outerjoin(DIRECTORY, same_entry(STAGED))
        .where(
            STAGED.c.job.in_(jobs),
            STAGED.c.state.in_([StagedState.APPROVED.value, StagedState.REJECTED.value]),
            or_(STAGED.c.until.is_(None), STAGED.c.until > now),
        )
        .group_by(*same)
        .order_by(STAGED.c.decided_at.desc(), STAGED.c.job, STAGED.c.kind, STAGED.c.action)
        .limit(limit)
    )
    return [
        Decided(
            row.job,
            Waiting(Kind(row.kind), Action(row.action), "", int(row.many), row.decided_at, [row.label], row.entries),
            StagedState(row.state),
            row.who or "",
            row.why or "",
            row.until,
        )
        for row in connection.execute(query).all()
    ]


def same_entry(table: Any) -> ColumnElement[bool]:
    """Joins what people know an entry by."""
    return and_(DIRECTORY.c.job == table.c.job, DIRECTORY.c.kind == table.c.kind, DIRECTORY.c.anchor == table.c.anchor)
