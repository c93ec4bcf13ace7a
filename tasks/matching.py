"""Finds for every desired entry the account it owns in the target. Pure.

A linked entry keeps its account whatever its attributes say. Anyone else is looked up by the matching rules in order of
precedence, stopping at the first rule that finds something. Two candidates mean that nobody is touched.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from connectors.contract import Kind
from connectors.errors import ErrorCode
from tasks.job import MatchingRule
from tasks.keys import Rows, find, pick, texts
from tasks.mapping import Desired, Held, Mask
from tasks.membership import is_among

LINKED = "linked"
Owners = Callable[[Kind, Sequence[str]], Mapping[str, str]]
"""Says which of some accounts other jobs of the same target own: target id to the job."""


def owned_nowhere(_kind: Kind, _target_ids: Sequence[str]) -> dict[str, str]:
    """There are no other jobs."""
    return {}


@dataclass(slots=True)
class Matches:
    """Which account belongs to whom. Rows are positions in ``desired.frame`` and in the target's frame."""

    row: Rows
    """Per desired entry: row of its account in the target's frame, -1 where it has none."""
    how: npt.NDArray[np.object_]
    """Per desired entry: ``linked``, ``matched by <attribute>``, or None."""
    link: Rows
    """Per desired entry: position of its link, -1 where it has none."""
    link_row: Rows
    """Per link: row of its account in the target's frame, -1 where the account is gone."""
    held: list[Held] = field(default_factory=list)
    """Entries that must not be touched: two candidates, or one account claimed twice."""
    blocked: npt.NDArray[np.bool_] = field(default_factory=lambda: np.zeros(0, dtype=bool))
    """Desired entries that are in ``held``."""
    released: list[str] = field(default_factory=list)
    """Anchors whose linked account a new anchor that matches it takes over: gone from the source, or ended there."""

    taken: dict[str, str] = field(default_factory=dict)
    """Per anchor in ``desired.frame`` that takes an account over: the anchor it was linked to until now."""

    waiting: dict[str, str] = field(default_factory=dict)
    """Per anchor that is to get a name which another entry gives up: that entry's anchor."""

    @property
    def vanished(self) -> npt.NDArray[np.bool_]:
        """Desired entries whose linked account is no longer in the target."""
        gone: npt.NDArray[np.bool_] = self.link >= 0
        gone[gone] = self.link_row[self.link[gone]] < 0
        return gone

    @property
    def link_is_used(self) -> npt.NDArray[np.bool_]:
        """Links of desired entries."""
        used = np.zeros(len(self.link_row), dtype=bool)
        used[self.link[self.link >= 0]] = True
        return used


def match_entries(
    rules: tuple[MatchingRule, ...],
    desired: Desired,
    existing: pd.DataFrame,
    links: pd.DataFrame,
    *,
    present: pd.Index,
    exact: frozenset[str],
    elsewhere: Owners = owned_nowhere,
    ended: pd.Index | None = None,
    same_person: Callable[[str, str], bool] = lambda _new, _old: True,
    aliases: "pd.Series[str] | None" = None,
    unseen: pd.Index | None = None,
    rewritten: frozenset[str] = frozenset(),
) -> Matches:
    """The account of every desired entry.

    ``existing``: the target's complete frame, index is the target id. ``links``: index is the anchor, column
    ``target_id``. ``present``: anchors of everybody the source has. ``exact``: target paths compared with case.
    ``elsewhere``: says which accounts other jobs own: they are never adopted. ``ended``: anchors of those in
    ``present`` who must have no account (disabled, out of scope): a record that goes on under another anchor takes the
    account over, as when a contractor becomes an employee; ``same_person`` is asked with the new and the old anchor.
    ``aliases``: other anchors of people, index is the other one, value the one in ``desired``: an account that is
    linked to another anchor of a person is the person's. ``unseen``: anchors of those who are not in ``present`` and
    may be there all the same.
    """
    count = len(desired.frame)
    link = find(texts(desired.frame.index), texts(links.index))
    link_row = find(texts(links["target_id"]), texts(existing.index))
    linked = link >= 0
    row = np.full(count, -1, dtype=np.int64)
    row[linked] = link_row[link[linked]]
    how = np.full(count, None, dtype=object)
    how[row >= 0] = LINKED
    matches = Matches(row=row, how=how, link=link, link_row=link_row, blocked=np.zeros(count, dtype=bool))

    if aliases is not None and len(aliases):
        _go_on(matches, desired, links, aliases)
    _refuse_pending(matches, desired)
    link_of_row = _inverse(link_row, len(existing))
    hidden = pd.Index([], dtype="str") if unseen is None else unseen
    over = pd.Index([], dtype="str") if ended is None else ended
    over = over.append(desired.frame.index[desired.disabled])
    for number, (rule, keys) in enumerate(zip(rules, desired.keys, strict=True)):
        if rule.target in existing:
            first = number == 0
            _match_by(
                *(rule, keys, first, matches, desired, existing, links, link_of_row),
                *(present.append(hidden), over, hidden, same_person, exact),
                moving=rule.target in rewritten,
            )
    _refuse_doubles(matches, desired, existing)
    _refuse_look_alikes(rules, matches, desired, existing, exact)
    _refuse_others(matches, desired, existing, elsewhere)
    _give_back(matches, desired, links)
    matches.held.sort(key=lambda entry: entry.anchor)
    matches.released.sort()
    return matches


def _match_by(
    rule: MatchingRule,
    keys: "pd.Series[str]",
    first: bool,
    matches: Matches,
    desired: Desired,
    existing: pd.DataFrame,
    links: pd.DataFrame,
    link_of_row: Rows,
    present: pd.Index,
    ended: pd.Index,
    unseen: pd.Index,
    same_person: Callable[[str, str], bool],
    exact: frozenset[str],
    *,
    moving: bool,
) -> None:
    """One rule, for the entries that have no account yet.

    Disabled entries whose value somebody else goes on with have no claim to an account. Other entries that share a
    value of the first rule are refused even when no account has it yet: it names the account that would be created.
    Sharing a value of a later rule (a common mailbox) matters only where it leads to an account.
    """
    open_rows = np.flatnonzero((matches.row < 0) & ~matches.blocked & keys.notna().to_numpy())
    open_rows = _with_a_claim(open_rows, keys, matches, desired, rule.target, exact)
    if not len(open_rows):
        return
    wanted = _key(texts(keys).take(pa.array(open_rows)), rule.target, exact).dictionary_encode()
    offered = _key(texts(existing[rule.target]), rule.target, exact)

    def hold(position: int, code: ErrorCode, reason: str) -> None:
        at = int(open_rows[position])
        matches.blocked[at] = True
        anchor = str(desired.frame.index[at])
        matches.held.append(Held(desired.kind, anchor, code, reason, label=str(desired.labels.iloc[at])))

    # Entries that want the same value have the same number.
    number, numbers = np.asarray(wanted.indices), len(wanted.dictionary)
    number_of_row = find(offered, wanted.dictionary)
    candidates = np.bincount(number_of_row[number_of_row >= 0], minlength=numbers)[number]
    found = _inverse(number_of_row, numbers)[number]
    shared = (np.bincount(number, minlength=numbers)[number] > 1) & ((candidates > 0) | first)

    for position in np.flatnonzero(shared):
        reason = f"Several entries of the source have the same value for {rule.target}, by which accounts are matched."
        hold(int(position), ErrorCode.DUPLICATE_SOURCE_ENTRIES, reason)
    for position in np.flatnonzero((candidates > 1) & ~shared):
        reason = f"{candidates[position]} accounts of the target match by {rule.target}; none of them is touched."
        hold(int(position), ErrorCode.DUPLICATE_TARGET_ENTRIES, reason)

    single = (candidates == 1) & ~shared
    owner = np.full(len(open_rows), -1, dtype=np.int64)
    owner[single] = link_of_row[found[single]]
    if moving:
        leaving = _gives_up(owner, desired, wanted, matches, rule.target, exact)
        for position in np.flatnonzero(leaving):
            anchor = str(desired.frame.index[int(open_rows[position])])
            matches.waiting[anchor] = str(links.index[int(owner[position])])
        single, owner = single & ~leaving, np.where(leaving, -1, owner)
    owned = np.flatnonzero(owner >= 0)
    still_there = is_among(links.index.take(owner[owned]), texts(present)) if len(owned) else owned
    over = is_among(links.index.take(owner[owned]), texts(ended)) if len(owned) else owned
    for position, owner_is_there, owner_ended in zip(owned, still_there, over, strict=True):
        link = int(owner[position])
        new, old = int(open_rows[position]), str(links.index[link])
        goes_on = owner_ended and not desired.disabled[new] and same_person(str(desired.frame.index[new]), old)
        if owner_is_there and owner_ended and desired.disabled[new]:
            reason = (
                f"The account that matches by {rule.target} belongs to the source entry {old}, which has ended like "
                "this one. It goes over to nobody; to move it, enable one of the two in the source."
            )
            hold(int(position), ErrorCode.DUPLICATE_SOURCE_ENTRIES, reason)
        elif owner_is_there and owner_ended and not goes_on:
            reason = (
                f"The account that matches by {rule.target} belongs to the source entry {old}, which has ended "
                "under another name. If they are the same person, make their names agree; if not, give this one "
                "another value."
            )
            hold(int(position), ErrorCode.DUPLICATE_SOURCE_ENTRIES, reason)
        elif owner_is_there and not goes_on:
            where = "which its source does not show completely now" if old in unseen else "which is still there"
            reason = f"The account that matches by {rule.target} belongs to the source entry {old}, {where}."
            hold(int(position), ErrorCode.DUPLICATE_SOURCE_ENTRIES, reason)
        else:
            matches.released.append(old)
            matches.taken[str(desired.frame.index[new])] = old
            _take_from(matches, link)
    adopted = single & ~matches.blocked[open_rows]
    matches.row[open_rows[adopted]] = found[adopted]
    matches.how[open_rows[adopted]] = f"matched by {rule.target}"


def _go_on(matches: Matches, desired: Desired, links: pd.DataFrame, aliases: "pd.Series[str]") -> None:
    """Accounts of people who are known by another anchor now: the link goes over, whatever the attributes say."""
    other = find(texts(links.index), texts(aliases.index))
    owner = find(pick(texts(aliases), other), texts(desired.frame.index))
    for link in np.flatnonzero((owner >= 0) & (matches.link_row >= 0)).tolist():
        at, old = int(owner[link]), str(links.index[link])
        if matches.link[at] >= 0 or matches.row[at] >= 0:
            continue  # the person has an account by the present anchor, or by another one before
        matches.row[at] = matches.link_row[link]
        matches.how[at] = f"the same person as {old}"
        matches.released.append(old)


def _refuse_pending(matches: Matches, desired: Desired) -> None:
    """Entries without an account of whom nobody can say now which one is theirs, or what it would be created with."""
    waits = is_among(desired.frame.index, texts(desired.pending)) & (matches.row < 0) & (matches.link < 0)
    for at in np.flatnonzero(waits).tolist():
        matches.blocked[at] = True
        reason = (
            "An attribute by which accounts are matched, or that is written on create alone, cannot be told now, "
            "because its source is incomplete or contradicts itself. The entry waits until it can."
        )
        anchor, label = str(desired.frame.index[at]), str(desired.labels.iloc[at])
        matches.held.append(Held(desired.kind, anchor, ErrorCode.IMPORT_SKIPPED, reason, label=label))


def _gives_up(
    owner: Rows, desired: Desired, wanted: pa.Array, matches: Matches, path: str, exact: frozenset[str]
) -> Mask:
    """Entries whose value is that of an account whose owner (a row of the links) is to have another value now."""
    gives_up = np.zeros(len(owner), dtype=bool)
    owned, values = np.flatnonzero(owner >= 0), desired.frame[path]
    if len(owned) and values.dtype != object:
        row_of_link = _inverse(matches.link, int(max(owner.max(), matches.link.max())) + 1)
        holder = row_of_link[owner[owned]]
        holder = np.where((holder >= 0) & ~matches.blocked[holder], holder, -1)
        now = _key(texts(values.astype("str")), path, exact).take(pa.array(holder, mask=holder < 0))
        same = pc.equal(now, wanted.dictionary_decode().take(pa.array(owned)))
        gives_up[owned] = ~np.asarray(pc.fill_null(same, True), dtype=bool)
    return gives_up


def _with_a_claim(
    open_rows: Rows,
    keys: "pd.Series[str]",
    matches: Matches,
    desired: Desired,
    path: str,
    exact: frozenset[str],
) -> Rows:
    """The open rows without disabled entries whose value an active entry has too: that record goes on for them."""
    disabled = desired.disabled[open_rows]
    if not disabled.any():
        return open_rows
    values = _key(texts(keys), path, exact)
    of_active = values.filter(pa.array(~desired.disabled))
    followed = find(values.take(pa.array(open_rows)), of_active) >= 0
    return open_rows[~(disabled & followed)]


def _take_from(matches: Matches, link: int) -> None:
    """The account of an ended record is no longer its own."""
    at = np.flatnonzero(matches.link == link)
    matches.row[at], matches.how[at], matches.link[at] = -1, None, -1


def _give_back(matches: Matches, desired: Desired, links: pd.DataFrame) -> None:
    """An account that was to go over and that nobody gets in the end stays its owner's: its link still ends access."""
    if not matches.released:
        return
    got = set(matches.row[matches.row >= 0].tolist())
    at_links = links.index.get_indexer(pd.Index(matches.released, dtype="str")).tolist()
    link_of = dict(zip(matches.released, at_links, strict=True))
    back = {old for old, at in link_of.items() if int(matches.link_row[at]) not in got}
    matches.released = [old for old in link_of if old not in back]
    matches.taken = {
        new: old
        for new, old in matches.taken.items()
        if old not in back and int(matches.row[desired.frame.index.get_loc(new)]) == int(matches.link_row[link_of[old]])
    }
    again = pd.Index(sorted(back), dtype="str")
    for at, old in zip(desired.frame.index.get_indexer(again).tolist(), again, strict=True):
        if at >= 0:
            matches.link[at], matches.row[at] = link_of[old], matches.link_row[link_of[old]]
            matches.how[at] = LINKED


def _refuse_doubles(matches: Matches, desired: Desired, existing: pd.DataFrame) -> None:
    """Two entries that reached one account by different rules: neither gets it by matching."""
    holders = np.flatnonzero(matches.row >= 0)
    claims = np.bincount(matches.row[holders], minlength=len(existing))
    for position in holders[claims[matches.row[holders]] > 1]:
        if matches.how[position] == LINKED:
            continue
        matches.blocked[position] = True
        matches.row[position] = -1
        matches.how[position] = None
        reason = "Another entry of the source matches the same account of the target; it is not touched."
        anchor, label = str(desired.frame.index[position]), str(desired.labels.iloc[position])
        matches.held.append(Held(desired.kind, anchor, ErrorCode.DUPLICATE_SOURCE_ENTRIES, reason, label=label))


def _refuse_others(matches: Matches, desired: Desired, existing: pd.DataFrame, elsewhere: Owners) -> None:
    """Accounts that another job of the same target owns: two owners would undo each other's work."""
    adopted = np.flatnonzero((matches.row >= 0) & (matches.how != LINKED))
    ids = existing.index.take(matches.row[adopted])
    owners = elsewhere(desired.kind, ids.tolist()) if len(ids) else {}
    for position, target_id in zip(adopted.tolist(), ids.tolist(), strict=True):
        if target_id not in owners:
            continue
        matches.blocked[position] = True
        matches.row[position] = -1
        matches.how[position] = None
        reason = f"The account that matches belongs to the job {owners[target_id]}, which provisions the same target."
        anchor, label = str(desired.frame.index[position]), str(desired.labels.iloc[position])
        matches.held.append(Held(desired.kind, anchor, ErrorCode.DUPLICATE_TARGET_ENTRIES, reason, label=label))


_PLAIN = r"[^\x21-\x7E]"
"""Texts without it look like nothing but themselves."""
_UNSEEN = r"[\s\p{Z}\p{Cf}]+"


def _refuse_look_alikes(
    rules: tuple[MatchingRule, ...], matches: Matches, desired: Desired, existing: pd.DataFrame, exact: frozenset[str]
) -> None:
    """Joiners for whom an account is there whose name looks the same: a second one would not be told from it."""
    for rule, keys in zip(rules, desired.keys, strict=True):
        joining = (matches.row < 0) & (matches.link < 0) & ~matches.blocked & ~desired.disabled
        rows = np.flatnonzero(joining & keys.notna().to_numpy())
        if not len(rows) or rule.target not in existing or existing[rule.target].dtype == object:
            continue
        offered = texts(existing[rule.target].astype("str"))
        wanted = texts(keys).take(pa.array(rows))
        found = find(_as_seen(wanted, rule.target, exact), _as_seen(offered, rule.target, exact))
        equal = find(_key(wanted, rule.target, exact), _key(offered, rule.target, exact)) >= 0  # it is given up
        for position in np.flatnonzero((found >= 0) & ~equal):
            at = int(rows[position])
            shown = (
                ""
                if rule.target in desired.redacted
                else _spelled(offered[int(found[position])], wanted[int(position)])
            )
            reason = (
                f"The target has an account whose {rule.target} looks the same, but differs in characters that nobody "
                f"sees{shown}. No second one is created: correct one of the two values."
            )
            matches.blocked[at] = True
            anchor, label = str(desired.frame.index[at]), str(desired.labels.iloc[at])
            matches.held.append(Held(desired.kind, anchor, ErrorCode.DUPLICATE_TARGET_ENTRIES, reason, label=label))


def _as_seen(values: pa.Array, path: str, exact: frozenset[str]) -> pa.Array:
    """Values without what cannot be seen, letters composed."""
    odd = np.flatnonzero(np.asarray(pc.fill_null(pc.match_substring_regex(values, _PLAIN), False)))
    if len(odd):
        mask = np.zeros(len(values), dtype=bool)
        mask[odd] = True
        seen = pc.replace_substring_regex(pc.utf8_normalize(values.take(pa.array(odd)), form="NFKC"), _UNSEEN, "")
        values = pc.replace_with_mask(values, pa.array(mask), seen)
    return _key(values, path, exact)


def _spelled(there: pa.Scalar, wanted: pa.Scalar) -> str:
    return f": {there.as_py()!a} there, {wanted.as_py()!a} here"


def _inverse(positions: Rows, size: int) -> Rows:
    """For each of ``size`` places the first element that points to it, -1 where none does."""
    inverse = np.full(size, -1, dtype=np.int64)
    pointing = np.flatnonzero(positions >= 0)[::-1]
    inverse[positions[pointing]] = pointing
    return inverse


def _key(values: pa.Array, path: str, exact: frozenset[str]) -> pa.Array:
    return values if path in exact else pc.utf8_lower(values)
