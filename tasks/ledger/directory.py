"""What people know entries by: names to search and places in the organisation, over all jobs.

A cycle tells it what it has touched, and who leaves stays in it. Searching compares folded words: without case, accents
and order. Keys and ids are found as a whole.
"""

import re
import unicodedata
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, Text, cast, func, literal, select

from connectors.contract import Kind
from tasks.ledger.bulk import Bulk, clean, json_text
from tasks.ledger.database import Database
from tasks.ledger.records import LinkState
from tasks.ledger.several import AT_ONCE, Entry, about, portions
from tasks.ledger.tables import DIRECTORY, LINK, LOG, WORD

_CANDIDATES, _CANDIDATES_AT_MOST = 200, 3_000
"""Entries with one of the words that are looked at, of each job and in all; who has more to choose from adds a word."""
_LONGEST_WORD = 120
_PARTS = re.compile(r"[^\W_]+")
_AFTER_EVERYTHING = "\U0010ffff"


@dataclass(frozen=True, slots=True)
class Known:
    """What people know one entry by."""

    kind: Kind
    anchor: str
    label: str = ""
    login: str = ""
    details: Mapping[str, str] = field(default_factory=dict)
    """What places somebody: title, department, company, place."""
    manager: str = ""
    """Anchor of the manager."""
    also: Sequence[str] = ()
    """Other texts it is found by: addresses, numbers."""


@dataclass(frozen=True, slots=True)
class Hit:
    """One entry of one job."""

    job: str
    kind: Kind
    anchor: str
    label: str
    login: str
    details: Mapping[str, str]
    manager: str = ""
    """Anchor of the manager."""

    @property
    def name(self) -> str:
        """What people call it."""
        return self.label or self.login or self.anchor


@dataclass(frozen=True, slots=True)
class Found:
    """What a search has found."""

    hits: Sequence[Hit]
    more: bool = False
    """Whether there is more than is shown."""


def fold(text: str) -> str:
    """A text as it is compared: decomposed, without marks, in one case."""
    if text.isascii():
        return clean(text).casefold()
    plain = unicodedata.normalize("NFKD", clean(text))
    return "".join(letter for letter in plain if not unicodedata.combining(letter)).casefold()


def words_of(texts: Iterable[str]) -> list[str]:
    """The folded words of some texts: each text as a whole where it has no spaces, and its parts; sorted."""
    found: set[str] = set()
    for text in filter(None, texts):
        for piece in fold(text).split():
            found.add(piece[:_LONGEST_WORD])
            if not piece.isalnum():
                found.update(part[:_LONGEST_WORD] for part in _PARTS.findall(piece))
    return sorted(found)


class Directory:
    """Names of entries in one ledger."""

    def __init__(self, database: Database, bulk: Bulk) -> None:
        self._database = database
        self._bulk = bulk

    def knows(self, job: str) -> bool:
        """Whether anything of the job is in it."""
        with self._database.reading() as connection:
            return (
                connection.execute(select(DIRECTORY.c.job).where(DIRECTORY.c.job == job).limit(1)).first() is not None
            )

    def put(self, job: str, entries: Sequence[Known]) -> None:
        """Adds entries, or writes anew what they are known by; each comes once."""
        for kind in Kind:
            mine = sorted((one for one in entries if one.kind is kind), key=lambda one: one.anchor)
            for start in range(0, len(mine), 20_000):
                with self._database.writing() as connection:
                    self._put(connection, job, kind, mine[start : start + 20_000])

    def _put(self, connection: Connection, job: str, kind: Kind, entries: Sequence[Known]) -> None:
        before = self._rows(connection, job, kind, [one.anchor for one in entries])
        rows, added, gone = [], [], []
        for one in entries:
            words = words_of((one.label, one.login, one.anchor, *one.also))
            manager = clean(one.manager)
            as_row = (clean(one.label), clean(one.login), json_text(one.details), manager, " ".join(words))
            known = before.get(one.anchor)
            if known == as_row:
                continue
            had = set(known[4].split(" ")) if known is not None else set()
            rows.append((job, kind.value, one.anchor, *as_row))
            added += [(word, job, kind.value, one.anchor) for word in words if word not in had]
            gone += [(word, one.anchor) for word in had.difference(words)]
        self._bulk.upsert(connection, DIRECTORY, rows)
        for word, anchor in gone:
            mine = (WORD.c.job == job, WORD.c.kind == kind.value, WORD.c.anchor == anchor)
            connection.execute(WORD.delete().where(WORD.c.word == word, *mine))
        self._bulk.insert(connection, WORD, tuple(column.name for column in WORD.columns), sorted(added))

    def _rows(
        self, connection: Connection, job: str, kind: Kind, anchors: Sequence[str]
    ) -> dict[str, tuple[str, str, str | None, str, str]]:
        details = cast(DIRECTORY.c.details, Text)  # as it is stored: to be compared, not to be read
        columns = (
            *(DIRECTORY.c[name] for name in ("anchor", "label", "login")),
            details,
            DIRECTORY.c.manager,
            DIRECTORY.c.words,
        )
        query = select(*columns).where(DIRECTORY.c.job == job, DIRECTORY.c.kind == kind.value)
        some = [DIRECTORY.c.anchor >= min(anchors), DIRECTORY.c.anchor <= max(anchors)] if anchors else []
        if len(anchors) <= AT_ONCE:
            some = [DIRECTORY.c.anchor.in_(anchors)]
        return {row[0]: (row[1], row[2], row[3], row[4], row[5]) for row in connection.execute(query.where(*some))}

    def anybody(self, job: str, kind: Kind) -> str:
        """The anchor of the first entry of a kind, empty where there is none."""
        query = select(DIRECTORY.c.anchor).where(DIRECTORY.c.job == job, DIRECTORY.c.kind == kind.value)
        with self._database.reading() as connection:
            return connection.scalar(query.order_by(DIRECTORY.c.anchor).limit(1)) or ""

    def entries(self, job: str, kind: Kind, anchors: Collection[str]) -> dict[str, Hit]:
        """Those of some entries that are known, by anchor."""
        found: dict[str, Hit] = {}
        with self._database.reading() as connection:
            for some in portions(sorted(anchors)):
                query = select(DIRECTORY).where(
                    DIRECTORY.c.job == job, DIRECTORY.c.kind == kind.value, DIRECTORY.c.anchor.in_(some)
                )
                found |= {row.anchor: _hit(row) for row in connection.execute(query).all()}
        return found

    def names(self, job: str, entries: Iterable[tuple[str, str]]) -> dict[tuple[str, str], str]:
        """What people call some entries, by kind and anchor; who is not known is left out."""
        by_kind: dict[str, set[str]] = {}
        for kind, anchor in entries:
            by_kind.setdefault(kind, set()).add(anchor)
        return {
            (kind, anchor): hit.name
            for kind, anchors in by_kind.items()
            for anchor, hit in self.entries(job, Kind(kind), anchors).items()
        }

    def among(self, entries: Collection[Entry]) -> set[Entry]:
        """Those of some entries, by job, kind and anchor, that are known."""
        keys = (DIRECTORY.c.job, DIRECTORY.c.kind, DIRECTORY.c.anchor)
        with self._database.reading() as connection:
            return {
                key
                for some in portions(sorted(entries))
                for key in connection.execute(select(*keys).where(about(DIRECTORY, some))).tuples()
            }

    def led_by(self, job: str, managers: Collection[str]) -> dict[str, int]:
        """How many people with an active account each manager leads, by the manager; who leads nobody is left out."""
        found: dict[str, int] = {}
        with self._database.reading() as connection:
            for some in portions(sorted(managers)):
                query = (
                    select(DIRECTORY.c.manager, func.count().label("many"))
                    .join(
                        LINK,
                        (LINK.c.job == DIRECTORY.c.job)
                        & (LINK.c.kind == DIRECTORY.c.kind)
                        & (LINK.c.anchor == DIRECTORY.c.anchor),
                    )
                    .where(
                        DIRECTORY.c.job == job,
                        DIRECTORY.c.kind == Kind.USER.value,
                        DIRECTORY.c.manager.in_(some),
                        LINK.c.state == LinkState.ACTIVE.value,
                    )
                    .group_by(DIRECTORY.c.manager)
                )
                found |= {row.manager: row.many for row in connection.execute(query)}
        return found

    def in_jobs(self, jobs: Collection[str], kind: Kind, anchor: str) -> list[Hit]:
        """An entry of this anchor in each of the jobs that knows one, by job."""
        query = select(DIRECTORY).where(
            DIRECTORY.c.job.in_(sorted(jobs)), DIRECTORY.c.kind == kind.value, DIRECTORY.c.anchor == anchor
        )
        with self._database.reading() as connection:
            return sorted(map(_hit, connection.execute(query)), key=lambda hit: hit.job)

    def search(self, text: str, jobs: Collection[str], *, limit: int = 50) -> Found:
        """So many entries that have all words of a text, each in all of these jobs that know it.

        Who has one of the words as a whole comes first.
        """
        pieces = fold(text).split()
        if not pieces or not jobs:
            return Found(())
        found = self._search(text, sorted(set(pieces)), sorted(jobs), limit)
        parts = sorted({part for piece in pieces for part in _PARTS.findall(piece)})
        if not found.hits and parts and parts != sorted(set(pieces)):
            found = self._search(text, parts, sorted(jobs), limit)
        return found if found.hits else Found(self._logged(text, sorted(jobs), limit))

    def _search(self, text: str, pieces: Sequence[str], among: Sequence[str], limit: int) -> Found:
        words = sorted(pieces, key=lambda word: (-len(word), word))
        with self._database.reading() as connection:
            places, cut = self._places(connection, words, among)
            places |= _by_id(connection, text.strip(), among)
            rows: dict[tuple[str, str, str], Any] = {}
            for some in portions(sorted(places)):
                query = select(DIRECTORY).where(about(DIRECTORY, some))
                rows |= {(row.job, row.kind, row.anchor): row for row in connection.execute(query)}
        exact = {(job, kind, anchor) for (job, kind, anchor), by_id in places.items() if by_id}
        fitting = [(key, row) for key, row in rows.items() if key in exact or _has_all(row.words, words)]
        fitting.sort(
            key=lambda item: (item[0] not in exact, -_whole(item[1].words, words), fold(item[1].label), item[0])
        )
        first = set(list(dict.fromkeys(key[1:] for key, _ in fitting))[:limit])
        hits = [_hit(row) for key, row in fitting if key[1:] in first]
        return Found(hits, more=cut or len(hits) < len(fitting))

    def _places(
        self, connection: Connection, words: Sequence[str], jobs: Sequence[str]
    ) -> tuple[dict[tuple[str, str, str], bool], bool]:
        """Entries with a word that begins as the rarest of the words does; and whether there are more of them."""
        at_most = min(_CANDIDATES * len(jobs), _CANDIDATES_AT_MOST)
        for word in words:
            query = (
                select(WORD.c.job, WORD.c.kind, WORD.c.anchor)
                .where(WORD.c.word >= word, WORD.c.word < word + _AFTER_EVERYTHING, WORD.c.job.in_(jobs))
                .limit(at_most + 1)
            )
            found = [(row.job, row.kind, row.anchor) for row in connection.execute(query)]
            if len(found) <= at_most:
                return dict.fromkeys(found, False), False
        if len(words) > 1:
            found = self._with_all(connection, words, jobs, at_most)
        return dict.fromkeys(found[:at_most], False), len(found) > at_most

    def _with_all(
        self, connection: Connection, words: Sequence[str], jobs: Sequence[str], at_most: int
    ) -> list[tuple[str, str, str]]:
        """Entries with all of the words, each of which many have."""
        first, *others = words
        known = literal(" ") + DIRECTORY.c.words
        query = (
            select(WORD.c.job, WORD.c.kind, WORD.c.anchor)
            .join(
                DIRECTORY,
                (DIRECTORY.c.job == WORD.c.job)
                & (DIRECTORY.c.kind == WORD.c.kind)
                & (DIRECTORY.c.anchor == WORD.c.anchor),
            )
            .where(WORD.c.word >= first, WORD.c.word < first + _AFTER_EVERYTHING, WORD.c.job.in_(jobs))
            .where(*(known.contains(f" {word}", autoescape=True) for word in others))
            .limit(at_most + 1)
        )
        return [(row.job, row.kind, row.anchor) for row in connection.execute(query)]

    def _logged(self, text: str, jobs: Sequence[str], limit: int) -> list[Hit]:
        """Entries without an account that the log alone knows, by the beginning of their name."""
        name, found = clean(text.strip()).casefold(), {}
        entry = (LOG.c.job, LOG.c.kind, LOG.c.anchor)
        by_name = (
            select(*entry, LOG.c.label)
            .where(LOG.c.job.in_(jobs), LOG.c.identity >= name, LOG.c.identity < name + _AFTER_EVERYTHING)
            .distinct()
            .limit(limit * len(jobs))
        )
        by_key = (
            select(*entry, func.max(LOG.c.label)).where(LOG.c.job.in_(jobs), LOG.c.anchor == text.strip())
        ).group_by(*entry)
        with self._database.reading() as connection:
            for query in (by_name, by_key):
                for job, kind, anchor, label in connection.execute(query).tuples():
                    found[job, kind, anchor] = Hit(job, Kind(kind), anchor, label, "", {})
        first = sorted(found.values(), key=lambda hit: (fold(hit.label), hit.anchor, hit.job))
        shown = set(list(dict.fromkeys((hit.kind, hit.anchor) for hit in first))[:limit])
        return [hit for hit in first if (hit.kind, hit.anchor) in shown]


def _by_id(connection: Connection, text: str, jobs: Sequence[str]) -> dict[tuple[str, str, str], bool]:
    """Entries with exactly this anchor, or this id in the target."""
    found: dict[tuple[str, str, str], bool] = {}
    kinds = [kind.value for kind in Kind]
    for table, column in ((DIRECTORY, DIRECTORY.c.anchor), (LINK, LINK.c.target_id)):
        query = select(table.c.job, table.c.kind, table.c.anchor).where(
            table.c.job.in_(jobs), table.c.kind.in_(kinds), column == text
        )
        found |= {(row.job, row.kind, row.anchor): True for row in connection.execute(query)}
    return found


def _has_all(known: str, words: Sequence[str]) -> bool:
    mine = known.split(" ")
    return all(any(one.startswith(word) for one in mine) for word in words)


def _whole(known: str, words: Sequence[str]) -> int:
    return len(set(known.split(" ")).intersection(words))


def _hit(row: Any) -> Hit:
    job, kind, anchor, label, login, details, manager, _ = row
    return Hit(job, Kind(kind), anchor, label, login, details or {}, manager)
