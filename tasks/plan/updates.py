"""Which accounts differ from what they should be, and in which attributes. Pure."""

from collections.abc import Iterable, Mapping

import numpy as np
import pandas as pd

from connectors.contract import Action, Form, Kind, Place, Sameness, Value
from connectors.errors import ErrorCode
from tasks.job import Apply, Drift, Removal
from tasks.keys import Rows, ascending, texts
from tasks.mapping import Held, Mask, only_default, referenced_paths, with_defaults
from tasks.matching import LINKED
from tasks.plan.blocks import Block, Cause, Drifted, DriftKind, Situation, Wave
from tasks.plan.compare import differs, differs_in_words, differs_without_case, fingerprints, squeezed
from tasks.plan.elements import elements_of, same_elements, with_missing_elements
from tasks.plan.leavers import deletes_of
from tasks.plan.people import People
from tasks.plan.references import (
    as_anchors,
    as_lists,
    leave_out_unresolved,
    lists_of_anchors,
    unowned_id,
    with_unowned,
)
from tasks.plan.written import packed


def update_entries(
    s: Situation, rows: Rows, *, owners: "pd.Series[str]", people: People, notes: list[Held]
) -> tuple[list[Block], Rows, list[Drifted]]:
    """Blocks of updates, enables and disables of in-scope entries; the rows that are as they should be; and the
    accounts that others have changed.

    ``rows``: positions in the desired frame of everybody who has an account. ``owners``: index target id, value anchor,
    to read the target's references. ``people``: what is said of whom cannot be referred to now.
    """
    if not len(rows):
        return [], rows, []
    assert s.reachable is not None
    reachable = s.reachable
    everybody = len(rows) == len(s.desired.frame)
    desired = s.desired.frame if everybody else s.desired.frame.iloc[rows]
    desired = with_defaults(s.rules, s.desired, desired, rows, creating=False)
    desired = _with_activity(s, desired, rows)
    table = pd.DataFrame(
        {
            "anchor": pd.Series(desired.index, dtype="str"),
            "target_id": pd.Series(s.existing.index.take(s.matches.row[rows]), dtype="str"),
            "label": s.desired.labels.take(rows).array,
        }
    )
    desired = desired.reset_index(drop=True)
    references = referenced_paths(s.rules) & set(desired.columns)
    touched: dict[str, Mask] = {}
    before: dict[str, pd.Series] = {}
    spelling: dict[str, Mask] = {}
    dangling: dict[str, Mask] = {}
    for path in desired.columns:
        if path in s.desired.redacted and path not in s.existing:
            _write_unseen(s, path, rows, desired, touched, before)
            continue
        if path not in s.existing or _chosen_once(s, path):
            continue
        held_now = s.existing[path].take(s.matches.row[rows]).reset_index(drop=True)
        left_alone = s.desired.untouched[path][rows] if path in s.desired.untouched else np.zeros(len(rows), dtype=bool)
        exact = path in s.exact or path in references
        if path in references:
            if desired[path].dtype == object or held_now.dtype == object:
                held_now = lists_of_anchors(held_now, owners)
                desired = desired.assign(**{path: as_lists(desired[path])})
            else:
                held_now = as_anchors(held_now, owners)
            dangling[path] = _dangling(s, desired[path], held_now)
            referred = desired[path]
            desired = leave_out_unresolved(s.desired.kind, desired, path, table, reachable, notes, people)
            left_alone = left_alone | (referred.notna() & desired[path].isna()).to_numpy(dtype=bool)
            if referred.dtype == object:
                desired = desired.assign(**{path: with_unowned(desired[path], held_now, of=referred)})
        if _only_adds(s, path):
            desired = desired.assign(**{path: _added(desired[path], held_now, exact=exact)})
        different = _wanted_changes(s, path, desired[path], held_now) & ~left_alone
        if _case_means_nothing(s, path):
            at = np.flatnonzero(different)
            different[at] = differs_without_case(desired[path].iloc[at], held_now.iloc[at])
        elif _blanks_mean_nothing(s, path):
            at = np.flatnonzero(different)
            different[at] = differs(squeezed(desired[path].iloc[at]), squeezed(held_now.iloc[at]))
        if not different.any():
            continue
        at = np.flatnonzero(different)
        same = _same_in_other_words(s, path, desired[path].iloc[at], held_now.iloc[at], exact=exact)
        if same.any():
            spelling[path] = np.zeros(len(rows), dtype=bool)
            spelling[path][at[same]] = True
        touched[path], before[path] = different, held_now
    written = _written(s, rows, touched)
    for path, mask in spelling.items():  # the wanted value in other words counts only where it was not written last
        touched[path] &= ~(mask & written[path])
    _note_impossible(s, rows, table, notes)
    drift = _drift(s, rows, desired, touched, written, dangling)
    drifted = _leave_drift(s, table, desired, touched, drift)
    _place_returners(s, rows, desired, touched, before, drift)
    return *_update_blocks(s, rows, table, desired, before, touched, drift), drifted


def _place_returners(
    s: Situation,
    rows: Rows,
    desired: pd.DataFrame,
    touched: dict[str, Mask],
    before: dict[str, pd.Series],
    drift: dict[str, Mask],
) -> None:
    """Accounts that are switched on again go where their mapping says, wherever switching them off has put them."""
    switch = s.switch
    if switch is None or switch not in touched:
        return
    on = touched[switch] & (desired[switch] == True).fillna(False).to_numpy(dtype=bool)  # noqa: E712 (a column)
    if not on.any():
        return
    for path in desired.columns:
        if path in s.schema and s.schema[path].place is Place.CONTAINER and path in s.existing:
            placed = on & desired[path].notna().to_numpy(dtype=bool)
            touched[path] = touched.get(path, np.zeros(len(rows), dtype=bool)) | placed
            drift.setdefault(path, np.zeros(len(rows), dtype=bool))
            before.setdefault(path, s.existing[path].take(s.matches.row[rows]).reset_index(drop=True))


def _written(s: Situation, rows: Rows, touched: Mapping[str, Mask]) -> dict[str, Mask]:
    """By path, the rows whose value is the one last written; only looked for where something is to be changed."""
    at = np.flatnonzero(_anything(len(rows), touched) & (s.matches.how[rows] == LINKED))
    written = {path: np.zeros(len(rows), dtype=bool) for path in touched}
    if len(at):
        for path, mask in s.written_attributes(rows[at], touched).items():
            written[path][at] = mask
    return written


def _anything(count: int, touched: Mapping[str, Mask]) -> Mask:
    """Rows in which at least one attribute is to be changed."""
    changed: Mask = np.logical_or.reduce([np.zeros(count, dtype=bool), *touched.values()])
    return changed


def _dangling(s: Situation, wanted: pd.Series, held_now: pd.Series) -> Mask:
    """References to an account that is gone from the target, or that the wanted person had before the present one.

    Nobody has chosen that: it came about when the account was made again.
    """
    dangling = np.zeros(len(held_now), dtype=bool)
    names = {name for cell in held_now.dropna() for name in (cell if isinstance(cell, list) else [cell])}
    ids = {name: id_ for name in names if (id_ := unowned_id(name)) is not None}
    if not ids:
        return dangling
    there = set(s.people_there) if s.people_there is not None else set(ids.values())
    gone = {name for name, id_ in ids.items() if id_ not in there}
    former = {name: str(s.former[id_]) for name, id_ in ids.items() if id_ in s.former.index}
    for row, (cell, want) in enumerate(zip(held_now.array, wanted.array, strict=True)):
        held = cell if isinstance(cell, list) else [cell]
        owners = want if isinstance(want, list) else [want]
        dangling[row] = any(name in gone or former.get(name, "") in owners for name in held if isinstance(name, str))
    return dangling


def _drift(
    s: Situation,
    rows: Rows,
    desired: pd.DataFrame,
    touched: Mapping[str, Mask],
    written: Mapping[str, Mask],
    dangling: Mapping[str, Mask],
) -> dict[str, Mask]:
    """By path, the rows whose value was changed outside Provisor: it differs, and is to be what was last written."""
    nothing = np.zeros(len(rows), dtype=bool)
    drift = {path: mask & written[path] & ~dangling.get(path, nothing) for path, mask in touched.items()}
    switch = s.switch
    if (
        switch is not None and switch in drift and switch not in s.desired.frame
    ):  # no rule says what it should be: what we did last does
        states = s.remembered("state", rows)
        off = (desired[switch] == False).fillna(False).to_numpy(dtype=bool)  # noqa: E712 (a column, not a truth value)
        linked = s.matches.how[rows] == LINKED
        drift[switch] = touched[switch] & linked & off & (states == "disabled").to_numpy(dtype=bool)
    return drift


def _leave_drift(
    s: Situation, table: pd.DataFrame, desired: pd.DataFrame, touched: dict[str, Mask], drift: Mapping[str, Mask]
) -> list[Drifted]:
    """The accounts that were changed outside Provisor; takes these changes out of what is written unless the job
    corrects them. People who must not have access are disabled again whatever the job says.
    """
    at = np.flatnonzero(_anything(len(table), drift))
    if not len(at):
        return []
    corrected = np.full(len(table), s.drift is Drift.CORRECT)
    switch = s.switch
    off = np.zeros(len(table), dtype=bool)
    if switch is not None and switch in drift:
        off = drift[switch] & (desired[switch] == False).fillna(False).to_numpy(dtype=bool)  # noqa: E712 (as above)
        corrected |= off
    drifted = [
        Drifted(
            s.desired.kind,
            str(table["anchor"].iloc[row]),
            str(table["label"].iloc[row]),
            DriftKind.CHANGED,
            tuple(path for path, mask in drift.items() if mask[row]),
            corrected=bool(corrected[row]),
        )
        for row in at
    ]
    if s.drift is Drift.REPORT:
        for path, mask in drift.items():
            touched[path] = touched[path] & ~(mask & ~off if path == switch else mask)
    return drifted


def _write_unseen(
    s: Situation, path: str, rows: Rows, desired: pd.DataFrame, touched: dict[str, Mask], before: dict[str, pd.Series]
) -> None:
    """A value that is never kept, so that nobody knows what the target holds: written when the entry has changed."""
    mapping = s.rules.attributes.get(path)
    if _chosen_once(s, path) or (mapping is not None and only_default(mapping)):
        return
    clears = mapping is not None and mapping.clear
    wanted = desired[path].notna().to_numpy(dtype=bool) | clears
    written = wanted & ~s.written_as_desired(rows)
    if written.any():
        touched[path], before[path] = written, pd.Series(pd.NA, index=desired.index, dtype=desired[path].dtype)


def _chosen_once(s: Situation, path: str) -> bool:
    """True for attributes that are written when the account is created and never again."""
    mapping = s.rules.attributes.get(path)
    return path in s.desired.candidates or (mapping is not None and mapping.apply is Apply.ON_CREATE)


def _case_means_nothing(s: Situation, path: str) -> bool:
    mapping, info = s.rules.attributes.get(path), s.schema.get(path)
    if info is not None and info.same is Sameness.NAME and info.form is Form.TEXT:
        return True  # servers show a container as it was spelled when it was made
    return mapping is not None and mapping.exact_case is False


def _blanks_mean_nothing(s: Situation, path: str) -> bool:
    return path in s.schema and s.schema[path].same is Sameness.SQUEEZED


def _only_adds(s: Situation, path: str) -> bool:
    mapping = s.rules.attributes.get(path)
    return path in s.desired.add_only or (mapping is not None and mapping.apply is Apply.ADD_ONLY)


def _added(wanted: pd.Series, held_now: pd.Series, *, exact: bool) -> pd.Series:
    """For add-only mappings: what there is and what is missing; a single value that is there stays."""
    if wanted.dtype == object or held_now.dtype == object:
        return with_missing_elements(wanted, held_now, exact=exact)
    return wanted.where(_empty(held_now))


def _wanted_changes(s: Situation, path: str, wanted: pd.Series, held_now: pd.Series) -> Mask:
    """Rows whose value has to be written; null leaves alone what is there, or clears it where the job says so."""
    different = differs(wanted, held_now)
    mapping = s.rules.attributes.get(path)
    null = wanted.isna().to_numpy(dtype=bool)
    if mapping is None or not mapping.clear or _only_adds(s, path):
        different &= ~null
    elif null.any():
        # There is nothing to clear, or the account was created with the default because the source had nothing: then
        # there is nothing to clear until the source has had something.
        different &= ~(null & (_empty(held_now) | _is_default(held_now, s.desired.defaults.get(path))))
    if mapping is not None and only_default(mapping):
        different &= _empty(held_now)
    return different


def _empty(held_now: pd.Series) -> Mask:
    """Rows for which the target has nothing: null, the empty text, no element."""
    if held_now.dtype == object:
        return np.fromiter((not elements_of(value) for value in held_now.array), dtype=bool, count=len(held_now))
    empty = held_now.isna()
    if isinstance(held_now.dtype, pd.StringDtype):
        empty |= held_now == ""
    return empty.to_numpy(dtype=bool)


def _is_default(held_now: pd.Series, default: Value) -> Mask:
    if default is None:
        return np.zeros(len(held_now), dtype=bool)
    defaults = pd.Series([default] * len(held_now), dtype=object)
    return same_elements(defaults, held_now.astype(object), exact=False)


def _same_in_other_words(s: Situation, path: str, wanted: pd.Series, held_now: pd.Series, *, exact: bool) -> Mask:
    """Rows where the target keeps the wanted value in its own way: other case, fewer blanks where these do not count,
    or an element's other sub-attributes."""
    if _blanks_mean_nothing(s, path):
        return ~differs_in_words(wanted, held_now)
    if wanted.dtype == object or held_now.dtype == object:
        return same_elements(wanted, held_now, exact=exact)
    return np.zeros(len(wanted), dtype=bool) if exact else ~differs_without_case(wanted, held_now)


def _with_activity(s: Situation, desired: pd.DataFrame, rows: Rows) -> pd.DataFrame:
    """People whom the source disables are disabled even where the job maps no such attribute, unless it keeps them.

    Where it maps none, an account that Provisor has disabled is enabled when its owner is active and in scope again.
    """
    path, disabled = s.switch, s.desired.disabled[rows]
    if path is None:
        return desired
    disables = disabled & _is_to_be_disabled(s, rows)
    if path in desired:
        left = disabled & ~disables
        return desired.assign(**{path: desired[path].mask(left)}) if left.any() else desired
    switch = pd.Series(pd.NA, index=desired.index, dtype="boolean")
    switch[disables] = False
    switch[_disabled_by_us(s, rows) & ~disabled] = True
    return desired.assign(**{path: switch}) if switch.notna().any() else desired


def _is_to_be_disabled(s: Situation, rows: Rows) -> Mask:
    """Whose account is disabled when the source disables its owner: what is only adopted now, too."""
    match s.deprovision.disabled:
        case Removal.DISABLE:
            return np.ones(len(rows), dtype=bool)
        case Removal.DELETE:
            adopted: Mask = s.matches.how[rows] != LINKED
            return adopted
        case Removal.KEEP:
            return np.zeros(len(rows), dtype=bool)


def _is_to_be_deleted(s: Situation, rows: Rows) -> Mask:
    """Whose account is deleted when the source disables its owner: never in the cycle that adopts it."""
    if not (s.rules.actions.delete and s.traits.does(s.desired.kind, Action.DELETE)):
        return np.zeros(len(rows), dtype=bool)
    disabled: Mask = s.desired.disabled[rows] & (s.matches.how[rows] == LINKED)
    if s.deprovision.disabled is Removal.DELETE:
        return disabled
    if s.deprovision.disabled is Removal.KEEP or not disabled.any():
        return np.zeros(len(rows), dtype=bool)
    return disabled & s.grace_is_over(s.remembered("state", rows), s.remembered("state_since", rows))


def _disabled_by_us(s: Situation, rows: Rows) -> Mask:
    states = s.remembered("state", rows)
    linked = s.matches.how[rows] == LINKED
    ours: Mask = linked & (states == "disabled").to_numpy(dtype=bool) & ~s.active(s.matches.row[rows])
    return ours


def _standing(s: Situation, rows: Rows) -> Mask:
    """Which links are to say active. An account that others disabled does, where the job maps no such attribute.

    Otherwise it would be enabled later on, as if Provisor had disabled it.
    """
    active = s.active(s.matches.row[rows])
    if s.switch in s.desired.frame:
        return active
    return active | ~(_disabled_by_us(s, rows) | s.desired.disabled[rows])


def _deletes_disabled(s: Situation) -> bool:
    return s.deprovision.disabled is Removal.DELETE and s.rules.actions.delete


def _note_impossible(s: Situation, rows: Rows, table: pd.DataFrame, notes: list[Held]) -> None:
    """Says who stays active although the source disables them, because the target cannot do what the job wants."""
    why = None
    if _deletes_disabled(s) and not s.traits.does(s.desired.kind, Action.DELETE):
        why = "The target cannot delete accounts; set deprovision to disable or keep."
    elif s.deprovision.disabled is Removal.DISABLE and s.rules.actions.update and s.traits.switch is None:
        why = "The target cannot disable accounts; set deprovision to delete or keep."
    if why is None:
        return
    for position in np.flatnonzero(s.desired.disabled[rows]):
        anchor, label = str(table["anchor"].iloc[position]), str(table["label"].iloc[position])
        notes.append(Held(s.desired.kind, anchor, ErrorCode.NOT_PERMITTED, why, label=label))


def _update_blocks(
    s: Situation,
    rows: Rows,
    table: pd.DataFrame,
    desired: pd.DataFrame,
    before: dict[str, pd.Series],
    touched: dict[str, Mask],
    drift: Mapping[str, Mask],
) -> tuple[list[Block], Rows]:
    changed = _anything(len(rows), touched)
    ours = _anything(len(rows), {path: mask & ~drift[path] for path, mask in touched.items()})
    switch = s.switch
    disabling = np.zeros(len(rows), dtype=bool)
    enabling = np.zeros(len(rows), dtype=bool)
    if switch in touched:
        off = (desired[switch] == False).fillna(False).to_numpy(dtype=bool)  # noqa: E712 (a column, not a truth value)
        disabling, enabling = touched[switch] & off, touched[switch] & ~off
    deleting = _is_to_be_deleted(s, rows)
    paths = [path for path in desired.columns if path in touched]
    matrix = pd.DataFrame({path: touched[path] for path in paths}, index=table.index)
    others = [path for path in paths if path != switch]
    more = disabling & matrix[others].to_numpy(dtype=bool).any(axis=1)
    # What switches somebody off goes by itself: no other attribute of the request can be refused in its place.
    kinds = (
        (Wave.UPDATE_USERS, Action.UPDATE, changed & ~disabling & ~enabling & ~deleting),
        (Wave.UPDATE_USERS, Action.UPDATE, more & ~deleting),
        (Wave.UPDATE_USERS, Action.ENABLE, enabling & ~deleting),
        (Wave.DISABLE, Action.DISABLE, disabling & ~deleting & ~more),
        (Wave.DISABLE, Action.DISABLE, more & ~deleting),
    )
    blocks = []
    for wave, action, mask in kinds:
        at = np.flatnonzero(mask)
        if not len(at) or not s.rules.actions.update:
            continue
        at = at[ascending(texts(table["anchor"].take(at)))]
        part = table.iloc[at].reset_index(drop=True)
        unsaid = None
        if action is Action.ENABLE and switch is not None:
            unsaid = before[switch].iloc[at].isna().to_numpy(dtype=bool)
        part["reason"] = _update_reasons(s, rows[at], action, drifted=~ours[at], unsaid=unsaid)
        part["state"] = _states(s, rows[at], action)
        chosen = paths
        if action is Action.DISABLE:
            part["cause"] = Cause.DISABLED
            chosen = [path for path in paths if path == switch]
        elif action is Action.UPDATE:
            chosen = others
        in_part = bool(more[at[0]])
        blocks.append(
            Block(
                wave=Wave.GROUPS if s.desired.kind is Kind.GROUP else wave,
                kind=s.desired.kind,
                action=action,
                table=part,
                after=desired[chosen].iloc[at].reset_index(drop=True),
                desired=s.as_written(rows[at]).reset_index(drop=True),
                rules=s.said,
                withheld=_other_half(matrix.iloc[at], chosen) if in_part else frozenset(),
                before=pd.DataFrame({path: before[path].iloc[at].array for path in chosen}),
                touched=matrix[chosen].iloc[at].reset_index(drop=True),
                references=referenced_paths(s.rules) & frozenset(chosen),
                redacted=s.desired.redacted,
            )
        )
    if deleting.any():
        gone = table.loc[deleting].sort_values("anchor").assign(cause=Cause.DISABLED)
        gone["reason"] = _disabled_since(s, gone["anchor"]).array
        held_now = s.matches.row[rows[gone.index]]
        blocks.append(deletes_of(s, gone.reset_index(drop=True), held_now))
    return blocks, rows[~changed & ~deleting]


def _other_half(touched: pd.DataFrame, chosen: list[str]) -> frozenset[str]:
    """What the other half of a change writes: neither half alone is the desired state, the next cycle compares it."""
    return frozenset(path for path in touched.columns if path not in chosen and touched[path].any())


def _states(s: Situation, rows: Rows, action: Action) -> "pd.Series[str]":
    """What the links' state will be: an update leaves an account active or disabled as it is."""
    match action:
        case Action.DISABLE:
            active = np.zeros(len(rows), dtype=bool)
        case Action.ENABLE:
            active = np.ones(len(rows), dtype=bool)
        case _:
            active = _standing(s, rows)
    return pd.Series(np.where(active, "active", "disabled"), dtype="str")


def _update_reasons(
    s: Situation, rows: Rows, action: Action, *, drifted: Mask, unsaid: Mask | None
) -> "pd.Series[str]":
    """``unsaid``: accounts to enable of which the target does not say whether they are on."""
    how = pd.Series(s.matches.how[rows], dtype="str")
    match action:
        case Action.DISABLE:
            return _disabled_since(s, s.desired.frame.index.take(rows))
        case Action.ENABLE:
            changed = "active in the source again"
        case _:
            changed = "changed in the source"
    reasons = pd.Series(changed, index=range(len(rows)), dtype="str")
    if unsaid is not None:
        reasons[unsaid] = "active in the source, and the target does not say whether the account is on"
    reasons[drifted] = "changed in the target outside Provisor"
    reasons = reasons.where(how == LINKED, "adopted, " + how)
    taken = s.matches.taken
    if taken:
        anchors = s.desired.frame.index[rows]
        reasons += [f"; until now the account of {taken[one]}" if one in taken else "" for one in anchors]
    return reasons


def _disabled_since(s: Situation, anchors: Iterable[str]) -> "pd.Series[str]":
    """Why people are disabled: the date by which they have left, or that the source says so."""
    reasons = s.scoped.left.reindex(list(anchors)).fillna(Cause.DISABLED.value)
    return reasons.astype("str").reset_index(drop=True)


def settle_links(s: Situation, rows: Rows, unchanged: Rows) -> pd.DataFrame:
    """Links to write before loading: adopted accounts, and entries found equal whose fingerprint is not known yet.

    Index: anchor; columns target_id, label, state, how, fingerprint (NA where changes are pending), and written (None
    where they are), see ``tasks.plan.written``.
    """
    digests = pd.Series(pd.NA, index=range(len(s.desired.frame)), dtype="Int64")
    digests.iloc[unchanged] = fingerprints(s.as_written(unchanged), s.said)
    news = np.zeros(len(digests), dtype=bool)
    news[rows] = s.matches.how[rows] != LINKED
    news[unchanged] |= ~(s.written(unchanged) == digests.take(unchanged).array).fillna(False).to_numpy(dtype=bool)
    chosen = np.flatnonzero(news)
    known = digests.take(chosen).notna().to_numpy(dtype=bool)
    written = pd.Series([None] * len(chosen), dtype=object)
    if known.any():
        written[known] = packed(s.as_written(chosen[known]), s.said, without=s.desired.redacted)
    anchors = s.desired.frame.index.take(chosen).rename("anchor")
    active = _standing(s, chosen)
    return pd.DataFrame(
        {
            "target_id": pd.Series(s.existing.index.take(s.matches.row[chosen]), index=anchors, dtype="str"),
            "label": pd.Series(s.desired.labels.take(chosen).array, index=anchors, dtype="str"),
            "state": pd.Series(np.where(active, "active", "disabled"), index=anchors, dtype="str"),
            "how": pd.Series(s.matches.how[chosen], index=anchors, dtype="str"),
            "fingerprint": pd.Series(digests.take(chosen).array, index=anchors),
            "written": pd.Series(written.array, index=anchors),
        },
        index=anchors,
    )
