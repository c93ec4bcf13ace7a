"""What a person means who names held changes: one entry by one name, and never more than was named."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence

from connectors.contract import Kind
from flows.decisions.persons import DecisionError, lower_ascii
from tasks.ledger import Item, Staged
from tasks.printable import printable

_LISTED = 8
"""Entries that a sentence names."""

_Entry = tuple[Kind, str]


def named_by(staged: Sequence[Staged], only: Sequence[str], job: str) -> list[Staged]:
    """What a person has named, in the order of what is held. Raises: DecisionError for a name that is not clear.

    A name is an anchor, exactly as it is; where no anchor is, an id in the target or a name that only one entry has;
    where none is, a kind (``user``, ``groups``) or an action (``disable``, ``remove-members``). ``user 1001`` names an
    entry of one kind, where a user and a group share an anchor.
    """
    if not staged:
        raise DecisionError(f"Nothing of {job} waits for approval.")
    meant: set[Staged] = set()
    unknown = []
    for name in only:
        found = _meant_by(staged, name)
        meant.update(found)
        unknown += [] if found else [name]
    if unknown:
        raise DecisionError(
            f"Nothing that waits is called {' or '.join(unknown)}: name an anchor, an id in the target or a name "
            f"exactly as it is written, user, group, or an action. provisor status {job} shows what waits."
        )
    return [one for one in staged if one in meant]


def _meant_by(staged: Sequence[Staged], name: str) -> list[Staged]:
    """What one name means; empty where it means nothing. Raises: DecisionError where it may mean several entries."""
    some = _of_one_entry(staged, name, lambda one: one.anchor == name)
    if some:
        return some
    if some := [one for one in staged if f"{one.kind} {one.anchor}" == name]:
        return some
    words = [one for one in staged if _word(name) in _words(one)]
    some = _of_one_entry(staged, name, lambda one: name in (one.target_id, one.label))
    if some and words:
        raise _unclear(name, _entries(some), f", and {name} also means all of that kind or action")
    return some or words


def _of_one_entry(staged: Sequence[Staged], name: str, fits: Callable[[Staged], bool]) -> list[Staged]:
    some = [one for one in staged if fits(one)]
    entries = _entries(some)
    if len(entries) > 1:
        raise _unclear(name, entries)
    return some


def _entries(some: Iterable[Staged]) -> dict[_Entry, Staged]:
    return {(one.kind, one.anchor): one for one in some}


def _unclear(name: str, entries: dict[_Entry, Staged], more: str = "") -> DecisionError:
    shown = [_called(one) for one in list(entries.values())[:_LISTED]]
    rest = f" and {len(entries) - _LISTED:,} more" if len(entries) > _LISTED else ""
    entry = next(iter(entries.values()))
    return DecisionError(
        f"{name} is not clear, nothing was decided: it means {', '.join(shown)}{rest}{more}. Name each entry by "
        f'its kind and anchor, as "{entry.kind} {entry.anchor}".'
    )


def _called(one: Staged) -> str:
    label = f" ({one.label})" if one.label and one.label != one.anchor else ""
    return f"{one.kind} {one.anchor}{label}"


def _word(text: str) -> str:
    return lower_ascii(text).replace("-", " ")


def _words(one: Staged) -> frozenset[str]:
    return frozenset((str(one.kind), f"{one.kind}s", str(one.action)))


def labels_of(items: Sequence[Staged], limit: int) -> dict[str, list[Staged]]:
    """What can be selected in a form, by a label that nothing else has; beyond ``limit`` whole kinds of changes can."""
    if len(items) > limit:
        by_kind: dict[str, list[Staged]] = {}
        for one in items:
            by_kind.setdefault(f"{one.action} {one.kind}", []).append(one)
        return {f"{name} ({len(some):,})": some for name, some in sorted(by_kind.items())}
    by_item: dict[Item, list[Staged]] = {}
    for one in items:
        by_item.setdefault(one.key, []).append(one)
    labels = [label_of(some[0]) for some in by_item.values()]
    twice = Counter(labels)
    anchors = (printable(anchor) for _, _, anchor in by_item)
    labels = [
        f"{label}, key {anchor}" if twice[label] > 1 else label for label, anchor in zip(labels, anchors, strict=True)
    ]
    return dict(zip(_numbered(labels), by_item.values(), strict=True))


def label_of(one: Staged) -> str:
    """One held change as a form lists it."""
    return printable(f"{one.action} {one.kind} " + (f"{one.label} ({one.anchor})" if one.label else one.anchor))


def _numbered(labels: Sequence[str]) -> list[str]:
    """The labels; of equal ones, and these are keys that cannot be told apart by eye, each has a number."""
    taken = Counter(labels)
    given: Counter[str] = Counter()
    unlike = []
    for label in labels:
        given[label] += 1
        name = label if taken[label] == 1 else f"{label} [{given[label]}]"
        while name != label and taken[name]:
            given[label] += 1
            name = f"{label} [{given[label]}]"
        taken[name] += name != label
        unlike.append(name)
    return unlike
