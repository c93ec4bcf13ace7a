"""The page of what guards hold: who would lose what, why it waits, what they have in common, what is unusual. Pure."""

import hashlib
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from connectors.contract import Action
from tasks.job import Job
from tasks.ledger import Cycle, Hit, Staged, Waiting, fold
from tasks.pages.sentences import VERBS, named, plural

TYPE_THE_NUMBER = 500
"""Entries above which a person has to type how many they are."""
_ALL_OF = 0.25
"""Share of all accounts above which they have to, too."""
ROWS = 50
_FACET_VALUES = 4


class About(StrEnum):
    """About whom a decision is."""

    ALL = "all"
    ONLY = "only"
    EXCEPT = "except"
    FOUND = "found"


@dataclass(frozen=True, slots=True)
class Question:
    """Held changes that one guard holds for one reason: what is decided about together."""

    job: str
    items: Sequence[Staged]

    @property
    def first(self) -> Staged:
        """One of them: kind, action and guard are the same for all."""
        return self.items[0]

    @property
    def id(self) -> str:
        """What the question is called in addresses."""
        return question_id(self.first)

    @property
    def count(self) -> int:
        """Accounts, or memberships of groups."""
        return sum(len(one.members) or 1 for one in self.items)

    @property
    def digest(self) -> str:
        """Changes with anything that is asked."""
        return digest_of_items(self.items)


@dataclass(frozen=True, slots=True)
class Facet:
    """What held entries have in common."""

    name: str
    values: Sequence[tuple[str, int]]
    others: int


@dataclass(frozen=True, slots=True)
class Chosen:
    """About whom a person wants to decide."""

    about: About
    anchors: frozenset[str] = frozenset()
    text: str = ""


def questions_of(job: str, items: Sequence[Staged]) -> list[Question]:
    """What there is to decide about, the largest first."""
    groups: dict[tuple[str, str, str], list[Staged]] = {}
    for one in items:
        groups.setdefault((one.kind, one.action, one.guard), []).append(one)
    return sorted((Question(job, some) for some in groups.values()), key=lambda one: (-one.count, one.id))


def question_id(one: Staged | Waiting) -> str:
    """The same text for everything that belongs to one question."""
    return hashlib.sha256(f"{one.kind}\x1f{one.action}\x1f{one.guard}".encode()).hexdigest()[:10]


def digest_of_items(items: Sequence[Staged]) -> str:
    """A digest of exactly what was shown: whom, what, for which cause, and which members, or attributes and values."""
    lines = sorted(
        "\x1f".join(
            (
                *(one.kind, one.action, one.anchor, str(one.target_id), str(one.cause)),
                *sorted(one.members),
                "",
                *sorted(one.attributes),
                "",
                *(f"{path}={value}" for path, value in one.digests),
            )
        )
        for one in items
    )
    return hashlib.sha256("\x1e".join(lines).encode("utf-8", "surrogatepass")).hexdigest()


def chosen_of(items: Sequence[Staged], chosen: Chosen) -> list[Staged]:
    """Those about whom it is decided; who is found by a text is asked of :func:`matching`."""
    match chosen.about:
        case About.ONLY:
            return [one for one in items if one.anchor in chosen.anchors]
        case About.EXCEPT:
            return [one for one in items if one.anchor not in chosen.anchors]
        case _:
            return list(items)


def matching(items: Sequence[Staged], text: str, texts: Mapping[str, str]) -> list[Staged]:
    """Those in whose name, key or place all words of a text begin a word. ``texts``: folded, by anchor."""
    words = fold(text).split()
    return [one for one in items if _has(one, words, texts.get(one.anchor, ""))]


def _has(one: Staged, words: Collection[str], known: str) -> bool:
    mine = f" {fold(f'{one.label} {one.anchor}')} {known}"
    return all(f" {word}" in mine for word in words)


def facets_of(common: Mapping[str, Counter[str]]) -> list[Facet]:
    """What the entries have in common: the attributes with the fewest values among them first."""
    found = []
    for name, values in common.items():
        if values:
            top = values.most_common(_FACET_VALUES)
            found.append((len(values), Facet(name, top, values.total() - sum(many for _, many in top))))
    return [facet for _, facet in sorted(found, key=lambda item: item[0])][:2]


def unusual_of(
    items: Sequence[Staged], left: Mapping[str, int], names: Mapping[str, Hit], cycles: Sequence[Cycle]
) -> list[str]:
    """What somebody should look at twice, in sentences.

    ``left``: managers among them, and how many people each leads who stay; ``names``: what the managers are known by;
    ``cycles``: newest first.
    """
    said = []
    if left and items and items[0].action in (Action.DISABLE, Action.DELETE):
        some, more = named([names[one].name if one in names else one for one in sorted(left)], len(left))
        verb = "manages" if len(left) == 1 else "manage"
        many = sum(left.values())
        people = "1 person who stays" if many == 1 else f"{many:,} people who stay"
        said.append(f"{_listed(some, more)} {verb} {people}.")
    counts = [one.source_count for one in cycles if one.source_count]
    if len(counts) > 1 and counts[0] < counts[1]:
        said.append(
            f"The source had {counts[0]:,} users in the last cycle that counted, {counts[1]:,} in the one before."
        )
    held_in = next((one for one in cycles if items and one.id == items[0].cycle_id), None)
    before = next((one for one in cycles if held_in is not None and one.number < held_in.number), None)
    if held_in is not None and before is not None and held_in.fingerprint != before.fingerprint:
        said.append(f"The job file was changed before cycle {held_in.number}, which holds this.")
    asked = sum(one.decided_at is not None for one in items)
    if asked:
        said.append(f"{asked:,} of them were decided about before; that decision has run out.")
    return said


def usual_of(cycles: Sequence[Cycle], action: Action) -> str:
    """What a usual cycle does of the same, as a sentence; empty where too little is known."""
    name = {Action.DISABLE: "disabled", Action.DELETE: "deleted", Action.REMOVE_MEMBERS: "members_removed"}.get(action)
    name = name or "updated"
    ended = [one.counts.get(name, 0) for one in cycles if one.ended is not None and not one.kind.partial]
    if len(ended) < 3:
        return ""
    usual = sorted(ended)
    low, high = usual[0], usual[int(len(usual) * 0.9)]
    what = {"disabled": "disables", "deleted": "deletes", "members_removed": "removes", "updated": "changes"}[name]
    who = "memberships" if name == "members_removed" else "accounts"
    return (
        f"A cycle of this job {what} {low:,} to {high:,} {who}." if high else f"A usual cycle of this job {what} none."
    )


def headline_of(question: Question, total: int | None) -> str:
    """What would be done, as a command: ``Disable 80 of 925 users``."""
    one, count = question.first, question.count
    verb = VERBS[one.action]
    if one.action is Action.REMOVE_MEMBERS:
        place = one.label or one.anchor if len(question.items) == 1 else f"{len(question.items):,} groups"
        return f"{verb} {count:,} {'member' if count == 1 else 'members'} from {place}"
    if total and one.kind == "user" and total >= count:
        return f"{verb} {count:,} of {total:,} users"
    return f"{verb} {count:,} {plural(one.kind, count)}"


def loss_of(one: Staged) -> str:
    """What somebody would lose."""
    match one.action:
        case Action.DISABLE:
            return "would lose access"
        case Action.DELETE:
            return "would lose the account"
        case Action.REMOVE_MEMBERS:
            return "would lose members"
        case _:
            return "would be changed"


def called(one: Staged, known: Mapping[str, Hit]) -> str:
    """What people call a held entry."""
    hit = known.get(one.anchor)
    return (hit.label if hit is not None else "") or one.label or one.anchor


def decision_sentence_of(
    question: Question,
    some: Sequence[Staged],
    known: Mapping[str, Hit],
    *,
    approve: bool,
    until: datetime | None,
) -> str:
    """What is going to happen, in one sentence, before it is confirmed."""
    names, more = named([called(one, known) for one in some[:4]], len(some), shown=3)
    part = Question(question.job, some)
    what = headline_of(part, None)
    what = what[:1].lower() + what[1:]
    if approve:
        return f"You approve: {what} in {question.job}: {_listed(names, more)}."
    end = f"until {until:%d %b %Y}" if until is not None else "for as long as the plan wants it"
    return f"You reject: {what} in {question.job}: {_listed(names, more)}. They are left alone {end}."


def must_type(count: int, total: int | None) -> bool:
    """Whether so many are at stake that the number has to be typed."""
    return count > TYPE_THE_NUMBER or bool(total and count > total * _ALL_OF)


def within_of(job: Job | None, items: Sequence[Staged]) -> datetime | None:
    """Until when somebody is waited for."""
    return min(one.since for one in items) + job.approval.within if job is not None else None


def _listed(names: Sequence[str], more: int) -> str:
    if more:
        return f"{', '.join(names)} and {more:,} more"
    return " and ".join(filter(None, (", ".join(names[:-1]), names[-1]))) if names else "nobody"
