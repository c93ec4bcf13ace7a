"""What people know the entries of a plan by: what the pages find them by and show beside their names."""

from collections.abc import Iterator, Mapping, Sequence

import pandas as pd

from connectors.contract import Kind, Snapshot
from tasks.job import EntryRules, Job
from tasks.ledger import Known
from tasks.mapping import redacted_paths
from tasks.plan import EntryPlan, Plan

_LOGINS = ("username", "userprincipalname", "samaccountname", "uid", "login", "mail", "email")
"""Attributes of a target by which people sign in, the usual first."""
_PLACES: Mapping[str, Sequence[str]] = {
    "title": ("title", "jobtitle"),
    "department": ("department",),
    "company": ("organization", "company", "companyname", "o"),
    "place": ("locality", "l", "city", "officelocation"),
    "manager": ("manager",),
}
"""What places somebody in an organisation, and what targets call it."""
_NAMES = ("displayname", "formatted", "cn")
"""Attributes that hold what people call somebody, the usual first."""
_FOUND_BY = ("externalid", "employeenumber", "employeeid", "mail", "value", "userprincipalname", "nickname")
_MAIL = "emails"


def known_entries(job: Job, plan: Plan, *, everybody: bool) -> Iterator[Known]:
    """What the entries that a plan touches are known by, without what is redacted; ``everybody``: all in scope."""
    for kind, mine in plan.entries.items():
        rules = job.rules.get(kind)
        if rules is not None:
            yield from _of_kind(kind, rules, mine, None if everybody else _touched(mine))


def _touched(mine: EntryPlan) -> set[str]:
    anchors = {str(anchor) for anchor in mine.settled.index}
    for block in mine.blocks:
        anchors.update(map(str, block.table["anchor"]))
    return anchors


def _of_kind(kind: Kind, rules: EntryRules, mine: EntryPlan, anchors: set[str] | None) -> Iterator[Known]:
    if anchors is not None and not anchors:
        return
    frame = mine.wanted.result()
    if anchors is not None:
        frame = frame.loc[frame.index.isin(anchors)]
    hidden = redacted_paths(rules)
    paths = [str(path) for path in frame.columns if str(path) not in hidden]
    login = _login_of(rules, paths)
    places = {name: path for name, ends in _PLACES.items() if (path := _ending(paths, ends)) is not None}
    called = _ending(paths, _NAMES)
    also = [path for path in paths if path != login and (_end(path) in _FOUND_BY or path.startswith(_MAIL))]
    columns = {path: _texts(frame[path]) for path in {*places.values(), *also, *filter(None, (login, called))}}
    for row, anchor in enumerate(map(str, frame.index)):
        details = {name: text for name, path in places.items() if (text := columns[path][row])}
        label = mine.labels.get(anchor)
        yield Known(
            kind,
            anchor,
            (columns[called][row] if called else "") or (str(label) if label is not None and label == label else ""),
            columns[login][row] if login else "",
            details,
            details.pop("manager", ""),
            tuple(filter(None, (columns[path][row] for path in also))),
        )


def unmanaged_names(job: Job, plan: Plan, listing: Snapshot) -> Iterator[tuple[Kind, dict[str, tuple[str, str]]]]:
    """Accounts of a listing that belong to no entry, by kind: label and login by id, without what is redacted."""
    for kind, mine in plan.entries.items():
        rules, ids = job.rules.get(kind), mine.unmanaged.result()
        if rules is None:
            continue
        frame = listing.entries(kind)
        frame = frame.loc[frame.index.intersection(ids)]
        hidden = redacted_paths(rules)
        paths = [str(path) for path in frame.columns if str(path) not in hidden]
        login, called = _login_of(rules, paths) or _ending(paths, _LOGINS), _ending(paths, _NAMES)
        labels, logins = (_texts(frame[path]) if path else [""] * len(frame) for path in (called, login))
        yield kind, dict(zip(map(str, frame.index), zip(labels, logins, strict=True), strict=True))


def _login_of(rules: EntryRules, paths: Sequence[str]) -> str | None:
    matching = [rule.target for rule in rules.matching if rule.target in paths]
    usual = [path for name in _LOGINS for path in matching if _end(path) == name]
    return next(iter([*usual, *matching]), None)


def _ending(paths: Sequence[str], ends: Sequence[str]) -> str | None:
    return next((path for end in ends for path in paths if _end(path) == end), None)


def _end(path: str) -> str:
    """The last part of a path: ``department`` of an extension's, ``value`` of a multi-valued attribute's."""
    return path.rpartition(":")[2].rpartition(".")[2].lower()


def _texts(column: pd.Series) -> list[str]:
    return [value if isinstance(value, str) else "" for value in column.tolist()]
