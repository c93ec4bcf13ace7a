"""Changes that guards hold and nobody has decided about: counted, named and compared by the database.

Ten thousand of them may wait: a page shows fifty, and says of all of them what they have in common. Of one entry there
may be several rows, as where it is held again before a decision that has run out is forgotten, or where members of a
group go for two causes: it is counted once.
"""

import hashlib
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

import orjson
from sqlalchemy import CTE, ColumnElement, Connection, Text, and_, case, cast, func, or_, select, tuple_

from connectors.contract import Action, Kind
from tasks.ledger import rows
from tasks.ledger.directory import fold
from tasks.ledger.records import LinkState, Staged, StagedState
from tasks.ledger.several import portions
from tasks.ledger.tables import DIRECTORY, LINK, STAGED

NAMED = 3
"""Names that stand for many."""
PLACES = ("company", "department", "place")
"""What entries may have in common."""
_JOINERS = "\u200c\u200d"
"""Parts of names in Persian and Hindi, and of emoji."""
_PLACE_SHOWN = 200
"""Characters of a company, department or place by which it is told from others."""
_MEMBERS = case(
    (STAGED.c.action != Action.REMOVE_MEMBERS.value, 1),
    (STAGED.c.members.is_(None), 1),
    else_=func.json_array_length(STAGED.c.members),
)
"""How much one row is: an account, or so many memberships of a group."""
_ENTRIES = func.count(STAGED.c.anchor.distinct())
_SHOWN = tuple(
    cast(STAGED.c[name], Text) for name in ("anchor", "state", "target_id", "cause", "members", "attributes", "digests")
)
"""What a person who decides has looked at; as text, which is read ten times as fast."""
_ROWS_OF = (STAGED.c.anchor, STAGED.c.state, STAGED.c.part)
"""The order of rows."""
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


def is_undecided(one: Staged, now: datetime) -> bool:
    """The same of one held change."""
    ended = one.until is not None and one.until <= now
    return one.state in (StagedState.STAGED, StagedState.LAPSED) or ended


def waiting_of(connection: Connection, jobs: Sequence[str], now: datetime) -> dict[str, list[Waiting]]:
    """What nobody has decided about, by job, the largest first."""
    group = (STAGED.c.job, STAGED.c.kind, STAGED.c.action, STAGED.c.guard)
    asked = (
        select(
            *group,
            _ENTRIES.label("entries"),
            func.count().label("rows"),
            func.sum(_MEMBERS).label("many"),
            func.min(STAGED.c.since).label("since"),
            func.min(STAGED.c.anchor).label("anchor_0"),
        )
        .where(STAGED.c.job.in_(jobs), _undecided(now))
        .group_by(*group)
        .cte()
        .prefix_with("MATERIALIZED")
    )
    for place in range(1, NAMED):
        following = _next_anchor(asked, asked.c[f"anchor_{place - 1}"], now).label(f"anchor_{place}")
        asked = select(asked, following).cte().prefix_with("MATERIALIZED")
    query = select(asked).order_by(asked.c.job, asked.c.entries.desc(), asked.c.kind, asked.c.action, asked.c.guard)
    questions = connection.execute(query).all()
    first = {
        (row.job, row.kind, row.action, row.guard): [
            anchor for place in range(NAMED) if (anchor := getattr(row, f"anchor_{place}")) is not None
        ]
        for row in questions
    }
    called = _called(connection, first, now)
    found: dict[str, list[Waiting]] = {}
    for row in questions:
        question = Guarded(row.job, Kind(row.kind), Action(row.action), row.guard)
        many = int(row.many) if row.entries == row.rows else _counted(connection, question, now, row.entries)
        asked_about = (row.job, row.kind, row.action, row.guard)
        names = [called.get((*asked_about, anchor)) or anchor for anchor in first[asked_about]]
        one = Waiting(question.kind, question.action, question.guard, many, row.since, names, row.entries)
        found.setdefault(row.job, []).append(one)
    return found


def _next_anchor(asked: CTE, anchor: ColumnElement[str], now: datetime) -> Any:
    """The anchor after one of them in each question; an index leads to it."""
    return (
        select(STAGED.c.anchor)
        .where(
            *(STAGED.c[name] == asked.c[name] for name in ("job", "kind", "action", "guard")),
            STAGED.c.anchor > anchor,
            _undecided(now),
        )
        .order_by(STAGED.c.anchor)
        .limit(1)
        .correlate(asked)
        .scalar_subquery()
    )


def _called(
    connection: Connection, anchors: Mapping[tuple[str, str, str, str], Sequence[str]], now: datetime
) -> dict[tuple[str, str, str, str, str], str]:
    """What people call some entries of each question, by job, kind, action, guard and anchor."""
    keys = sorted({(*question[:3], anchor) for question, some in anchors.items() for anchor in some})
    columns = (*(STAGED.c[name] for name in ("job", "kind", "action", "guard", "anchor")),)
    found: dict[tuple[str, str, str, str, str], str] = {}
    for some in portions(keys):
        query = (
            select(*columns, func.coalesce(func.nullif(DIRECTORY.c.label, ""), STAGED.c.label))
            .outerjoin(DIRECTORY, same_entry(STAGED))
            .where(tuple_(*columns[:3], STAGED.c.anchor).in_(some), _undecided(now))
            .order_by(STAGED.c.state)
        )
        for job, kind, action, guard, anchor, name in connection.execute(query).tuples():
            found[job, kind, action, guard, anchor] = name
    return found


def _counted(connection: Connection, question: Guarded, now: datetime, entries: int) -> int:
    """How much a question is of which an entry has several rows: each member of a group counts once."""
    if question.action is not Action.REMOVE_MEMBERS:
        return entries
    members: dict[str, set[str]] = {}
    query = select(STAGED.c.anchor, STAGED.c.members).where(_asked(question, now))
    for anchor, ids in connection.execute(query).all():
        members.setdefault(anchor, set()).update(ids or ())
    return sum(len(ids) or 1 for ids in members.values())


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
    """Held changes of a question by anchor, after one of them; ``limit``: of so many entries, with all their rows."""
    query = select(STAGED).where(_asked(question, now), STAGED.c.anchor > after)
    if limit is not None:
        anchors = select(STAGED.c.anchor).where(_asked(question, now), STAGED.c.anchor > after).distinct()
        page = connection.execute(anchors.order_by(STAGED.c.anchor).limit(limit)).scalars().all()
        if not page:
            return []
        query = query.where(STAGED.c.anchor <= page[-1])
    return [rows.staged_from(row) for row in connection.execute(query.order_by(*_ROWS_OF)).all()]


def held_of(connection: Connection, question: Guarded, now: datetime, anchors: Collection[str]) -> list[Staged]:
    """Those held changes of a question that are about some entries, in the order of :func:`held_page`."""
    wanted, found = sorted(anchors), []
    for some in portions(wanted, _AT_ONCE):
        query = select(STAGED).where(_asked(question, now), STAGED.c.anchor.in_(some)).order_by(*_ROWS_OF)
        found += [rows.staged_from(row) for row in connection.execute(query).all()]
    return found


def held_up_to(connection: Connection, question: Guarded, now: datetime, anchor: str) -> int:
    """How many come before a page that begins after an entry."""
    query = select(_ENTRIES).where(_asked(question, now), STAGED.c.anchor <= anchor)
    return connection.execute(query).scalar_one()


def asked_before(connection: Connection, question: Guarded, now: datetime) -> int:
    """How many were decided about once, by a decision that has run out."""
    query = select(_ENTRIES).where(_asked(question, now), STAGED.c.decided_at.is_not(None))
    return connection.execute(query).scalar_one()


def seal_of(connection: Connection, question: Guarded, now: datetime) -> str:
    """Changes with anything that is asked: whom, what, for which cause, which members, or attributes and values."""
    query = select(*_SHOWN).where(_asked(question, now)).order_by(*_ROWS_OF)
    rest = [one for row in connection.execute(query).all() for one in row]
    return hashlib.sha256(orjson.dumps([*question, *rest])).hexdigest()


def held_seal_of(connection: Connection, job: str, now: datetime) -> str:
    """A digest of all that is held of a job and how it was decided: changes also when a decision runs out."""
    query = select(
        *(STAGED.c[name] for name in ("kind", "action", "anchor", "state", "part")), case((_undecided(now), 1), else_=0)
    ).where(STAGED.c.job == job)
    found = sorted(tuple(row) for row in connection.execute(query).all())
    return hashlib.sha256(orjson.dumps(found)).hexdigest()


def in_common(connection: Connection, question: Guarded, now: datetime) -> dict[str, Counter[str]]:
    """How many have each value, by company, department and place."""
    places = [DIRECTORY.c.details[name].as_string().label(name) for name in PLACES]
    query = (
        select(*places, _ENTRIES.label("many"))
        .join(DIRECTORY, same_entry(STAGED))
        .where(_asked(question, now))
        .group_by(*places)
    )
    found: dict[str, Counter[str]] = {name: Counter() for name in PLACES}
    for row in connection.execute(query).all():
        for name, value in zip(PLACES, row[:-1], strict=True):
            if value and (shown := _place(value)):
                found[name][shown] += row.many
    return found


def place_search(name: str, value: str) -> str:
    """The search that finds exactly those of a company, department or place: ``department: Legal``."""
    return f"{name}: {value}"


def _sought_place(text: str) -> tuple[str, str] | None:
    """Name and value of a :func:`place_search`; None for another text."""
    name, colon, value = text.partition(": ")
    return (name, _place(value)) if colon and name in PLACES and _place(value) else None


def _place(value: str) -> str:
    """A company, department or place as it is counted and searched for: on one line, what is not seen made visible."""
    seen = "".join(
        letter if letter.isprintable() or letter in _JOINERS else " " if letter in "\n\t " else "\ufffd"
        for letter in value
    )
    return " ".join(seen.split())[:_PLACE_SHOWN].rstrip()


def held_with(connection: Connection, question: Guarded, now: datetime, text: str) -> list[str]:
    """Anchors of a question's entries in order: those of a place, where the text is a :func:`place_search`.

    Else those in whose name, login, key or place all words of the text begin a word.
    """
    place_of = _sought_place(text)
    wanted = [f" {word}" for word in fold(text).split()]
    details = cast(DIRECTORY.c.details, Text)  # read at once, not row by row
    query = (
        select(STAGED.c.anchor, STAGED.c.label, DIRECTORY.c.words, details)
        .outerjoin(DIRECTORY, same_entry(STAGED))
        .where(_asked(question, now))
        .order_by(STAGED.c.anchor)
    )
    places: dict[str | None, str] = {None: ""}
    fits: dict[str | None, bool] = {None: False}
    found: dict[str, None] = {}
    for anchor, label, words, place in connection.execute(query).all():
        if place not in places:
            of = orjson.loads(place)
            places[place] = fold(" ".join(of.values()))
            fits[place] = place_of is not None and _place(of.get(place_of[0], "")) == place_of[1]
        known = f" {fold(label)} {fold(anchor)} {words or ''} {places[place]}"
        if fits[place] if place_of is not None else all(word in known for word in wanted):
            found[anchor] = None
    return list(found)


def left_behind(connection: Connection, question: Guarded, now: datetime) -> dict[str, int]:
    """How many people keep an active account and have a manager who is held, by the manager's anchor."""
    led, held_too = DIRECTORY.alias("led"), STAGED.alias("held_too")
    refused = and_(
        held_too.c.state == StagedState.REJECTED.value, or_(held_too.c.until.is_(None), held_too.c.until > now)
    )
    goes_too = (
        select(held_too.c.anchor)
        .where(
            held_too.c.job == question.job,
            held_too.c.kind == question.kind.value,
            held_too.c.action.in_([Action.DISABLE.value, Action.DELETE.value]),
            held_too.c.anchor == led.c.anchor,
            ~refused,
        )
        .correlate(led)
        .exists()
    )
    query = (
        select(led.c.manager, func.count().label("many"))
        .join(LINK, and_(LINK.c.job == led.c.job, LINK.c.kind == led.c.kind, LINK.c.anchor == led.c.anchor))
        .where(
            led.c.job == question.job,
            led.c.kind == question.kind.value,
            led.c.manager.in_(select(STAGED.c.anchor).where(_asked(question, now))),
            LINK.c.state == LinkState.ACTIVE.value,
            ~goes_too,
        )
        .group_by(led.c.manager)
    )
    return {row.manager: row.many for row in connection.execute(query).all()}


def decided_of(connection: Connection, jobs: Sequence[str], now: datetime, limit: int) -> list[Decided]:
    """The last decisions that are still in force, the newest first."""
    same = (*(STAGED.c[name] for name in ("job", "kind", "action", "state", "who", "why", "until", "decided_at")),)
    label = func.min(func.coalesce(func.nullif(DIRECTORY.c.label, ""), STAGED.c.label, STAGED.c.anchor))
    query = (
        select(*same, _ENTRIES.label("entries"), func.sum(_MEMBERS).label("many"), label.label("label"))
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
