"""The page of what guards hold: who would lose what, why it waits, what they have in common, what is unusual. Pure."""

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum

from connectors.contract import Action, Kind
from tasks.job import Job
from tasks.ledger import Cycle, Hit, Staged, Waiting
from tasks.pages.sentences import VERBS, named, plural

TYPE_THE_NUMBER = 500
"""Accounts or memberships above which a person has to type how many they are."""
_ALL_OF = 0.25
"""Share of all accounts above which they have to, too."""
ROWS = 50
NAMED_AT_MOST = 4
"""Entries whose names may stand for all."""
_FACET_VALUES = 4


class About(StrEnum):
    """About whom a decision is."""

    ALL = "all"
    ONLY = "only"
    EXCEPT = "except"
    FOUND = "found"


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


def questions_of(items: Sequence[Staged]) -> list[Waiting]:
    """What there is to decide about together: what one guard holds for one reason; the largest first."""
    groups: dict[tuple[str, str, str], list[Staged]] = {}
    for one in items:
        groups.setdefault((one.kind, one.action, one.guard), []).append(one)
    return sorted(map(question_about, groups.values()), key=lambda one: (-one.count, question_id(one)))


def question_about(items: Sequence[Staged], known: Mapping[str, Hit] | None = None) -> Waiting:
    """Some changes of one kind that one guard holds, as one question; ``known``: what people call their entries."""
    one, entries = items[0], together(items)
    names = [called(item, known or {}) for item in entries[:NAMED_AT_MOST]]
    count = sum(len(item.members) or 1 for item in entries)
    since = min(item.since for item in items)
    return Waiting(one.kind, one.action, one.guard, count, since, names, len(entries))


def together(items: Sequence[Staged]) -> list[Staged]:
    """Held changes of one question, of each entry one: of several rows the members and attributes of all of them."""
    found: dict[str, Staged] = {}
    for item in items:
        other = found.get(item.anchor)
        if other is not None:
            members = tuple(dict.fromkeys((*other.members, *item.members)))
            item = replace(
                item, members=members, attributes=tuple(dict.fromkeys((*other.attributes, *item.attributes)))
            )
        found[item.anchor] = item
    return list(found.values())


def question_id(one: Staged | Waiting) -> str:
    """What the question that something belongs to is called in addresses."""
    return hashlib.sha256(f"{one.kind}\x1f{one.action}\x1f{one.guard}".encode()).hexdigest()[:10]


def facets_of(common: Mapping[str, Counter[str]]) -> list[Facet]:
    """What the entries have in common: the attributes with the fewest values among them first."""
    found = []
    for name, values in common.items():
        if values:
            top = values.most_common(_FACET_VALUES)
            found.append((len(values), Facet(name, top, values.total() - sum(many for _, many in top))))
    return [facet for _, facet in sorted(found, key=lambda item: item[0])][:2]


def unusual_of(
    question: Waiting,
    left: Mapping[str, int],
    names: Mapping[str, Hit],
    cycles: Sequence[Cycle],
    *,
    held_in: Cycle | None,
    asked_before: int,
) -> list[str]:
    """What somebody should look at twice, in sentences.

    ``left``: managers among them, and how many people each leads who stay; ``names``: what the managers are known by;
    ``cycles``: newest first; ``held_in``: the one that holds it, where it is among them; ``asked_before``: how many
    were decided about once.
    """
    said = []
    if left and question.action in (Action.DISABLE, Action.DELETE):
        some, more = named([names[one].name if one in names else one for one in sorted(left)], len(left))
        verb = "manages" if len(left) == 1 else "manage"
        many = sum(left.values())
        people = "1 person who stays" if many == 1 else f"{many:,} people who stay"
        said.append(f"{_listed(some, more)} {verb} {people}.")
    counts = [one.source_count for one in cycles if one.source_count]
    if len(counts) > 1 and counts[0] < counts[1]:
        said.append(f"The source had {counts[0]:,} users in the last full count, {counts[1]:,} in the one before.")
    before = next((one for one in cycles if held_in is not None and one.number < held_in.number), None)
    if held_in is not None and before is not None and held_in.fingerprint != before.fingerprint:
        said.append(f"The job file was changed before cycle {held_in.number}, which holds this.")
    if asked_before:
        said.append(f"{asked_before:,} of them were decided before; that decision has expired.")
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
    who = "memberships" if name == "members_removed" else "users and groups"
    return (
        f"A cycle of this job {what} {low:,} to {high:,} {who}." if high else f"A usual cycle of this job {what} none."
    )


def headline_of(question: Waiting, total: int | None) -> str:
    """What would be done, as a command: ``Disable 80 of 925 users``."""
    count, verb = question.count, VERBS[question.action]
    if question.action is Action.REMOVE_MEMBERS:
        place = question.names[0] if question.entries == 1 else f"{question.entries:,} groups"
        return f"{verb} {count:,} {'member' if count == 1 else 'members'} from {place}"
    if total and question.kind is Kind.USER and total >= count:
        return f"{verb} {count:,} of {total:,} {plural(question.kind, total)}"
    return f"{verb} {count:,} {plural(question.kind, count)}"


def loss_of(one: Waiting) -> str:
    """What somebody would lose, or what would become of a group."""
    if one.kind is Kind.GROUP and one.action is not Action.REMOVE_MEMBERS:
        return {Action.DISABLE: "would be disabled", Action.DELETE: "would be deleted"}.get(
            one.action, "would be changed"
        )
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


def decision_sentence_of(question: Waiting, job: str, *, approve: bool, until: datetime | None) -> str:
    """What is going to happen, in one sentence, before it is confirmed."""
    names, more = named(question.names, question.entries, shown=3)
    what = headline_of(question, None)
    what = what[:1].lower() + what[1:]
    if approve:
        return f"You approve: {what} in {job}: {_listed(names, more)}."
    end = f"until {until:%d %b %Y}" if until is not None else "for as long as the plan wants it"
    return f"You reject: {what} in {job}: {_listed(names, more)}. They are left alone {end}."


def must_type(question: Waiting, total: int | None) -> bool:
    """Whether the number is to be typed, as many people are concerned; how many a group has that goes is not known."""
    if question.kind is Kind.GROUP and question.action in (Action.DISABLE, Action.DELETE):
        return True
    return question.count > TYPE_THE_NUMBER or bool(total and question.count > total * _ALL_OF)


def within_of(job: Job | None, question: Waiting) -> datetime | None:
    """Until when somebody is waited for."""
    return question.since + job.approval.within if job is not None else None


def _listed(names: Sequence[str], more: int) -> str:
    if more:
        return f"{', '.join(names)} and {more:,} more"
    return " and ".join(filter(None, (", ".join(names[:-1]), names[-1]))) if names else "nobody"
