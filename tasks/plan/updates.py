"""Which accounts differ from what they should be, and in which attributes. Pure."""

import numpy as np
import pandas as pd

from connectors.contract import Action, Kind
from tasks.job import Apply, Removal
from tasks.mapping import Held, Mask, only_default, referenced_paths, with_defaults
from tasks.matching import LINKED
from tasks.plan.blocks import Block, Cause, Rows, Situation, Wave
from tasks.plan.compare import differs, differs_without_case, fingerprints
from tasks.plan.references import leave_out_unresolved


def update_entries(
    s: Situation, rows: Rows, *, owners: "pd.Series[str]", reachable: pd.Index, notes: list[Held]
) -> tuple[list[Block], Rows]:
    """Blocks of updates, enables and disables of in-scope entries; and the rows that are as they should be.

    ``rows``: positions in the desired frame of everybody who has an account. ``owners``: index target id, value anchor,
    to read the target's references. ``reachable``: anchors that references may point to.
    """
    if not len(rows):
        return [], rows
    everybody = len(rows) == len(s.desired.frame)
    desired = with_defaults(s.rules, s.desired.frame if everybody else s.desired.frame.iloc[rows], creating=False)
    desired = _with_activity(s, desired, s.desired.disabled[rows])
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
    case_only: dict[str, Mask] = {}
    for path in desired.columns:
        mapping = s.rules.attributes.get(path)
        if (mapping is not None and mapping.apply is Apply.ON_CREATE) or path not in s.existing:
            continue
        held_now = s.existing[path].take(s.matches.row[rows]).reset_index(drop=True)
        if path in references:
            held_now = _as_anchors(held_now, owners)
            desired = leave_out_unresolved(s.desired.kind, desired, path, table, reachable, notes)
        wanted = desired[path]
        if mapping is not None and mapping.apply is Apply.ADD_ONLY:
            wanted = _with_existing_values(wanted, held_now)
            desired = desired.assign(**{path: wanted})
        different = differs(wanted, held_now)
        if not (mapping is not None and mapping.clear):
            different &= wanted.notna().to_numpy()
        if mapping is not None and only_default(mapping):
            different &= held_now.isna().to_numpy()
        elif mapping is not None and mapping.clear and mapping.default is not None:
            # Created with the default because the source had nothing: there is nothing to clear until it has something.
            different &= ~(wanted.isna() & (held_now.astype("str") == str(mapping.default))).to_numpy(dtype=bool)
        if path in s.desired.untouched:
            different &= ~s.desired.untouched[path][rows]
        if not different.any():
            continue
        if path not in s.exact:
            at = np.flatnonzero(different)
            same_word = ~differs_without_case(wanted.iloc[at], held_now.iloc[at])
            if same_word.any():
                case_only[path] = np.zeros(len(rows), dtype=bool)
                case_only[path][at[same_word]] = True
        touched[path], before[path] = different, held_now
    _forget_old_spellings(s, rows, touched, case_only)
    return _update_blocks(s, rows, table, desired, before, touched)


def _with_activity(s: Situation, desired: pd.DataFrame, disabled: Mask) -> pd.DataFrame:
    """Whoever the source disables is disabled also where the job maps no such attribute, unless the job keeps them."""
    path = s.disable_attribute
    if path is None:
        return desired
    if s.deprovision.disabled is not Removal.DISABLE and path in desired:
        return desired.assign(**{path: desired[path].mask(disabled)}) if disabled.any() else desired
    if path not in desired and disabled.any() and s.deprovision.disabled is Removal.DISABLE:
        switched_off = pd.Series(pd.NA, index=desired.index, dtype="boolean")
        switched_off[disabled] = False
        return desired.assign(**{path: switched_off})
    return desired


def _forget_old_spellings(s: Situation, rows: Rows, touched: dict[str, Mask], case_only: dict[str, Mask]) -> None:
    """Differences in case alone count only when the entry's desired state is not the one last written."""
    if not case_only:
        return
    somewhere = np.logical_or.reduce(list(case_only.values()))
    at = np.flatnonzero(somewhere)
    known = np.zeros(len(rows), dtype=bool)
    known[at] = s.written_as_desired(rows[at])
    for path, mask in case_only.items():
        touched[path] &= ~(mask & known)


def _as_anchors(ids: pd.Series, owners: "pd.Series[str]") -> "pd.Series[str]":
    """Target ids as the anchors that own them; an account nobody owns differs from every anchor."""
    mapped = ids.map(owners) if len(owners) else pd.Series(np.nan, index=ids.index, dtype="str")
    unknown = mapped.isna() & ids.notna()
    mapped = mapped.astype("str")
    if unknown.any():
        mapped[unknown] = "account " + ids[unknown].astype("str")
    return mapped


def _with_existing_values(wanted: pd.Series, held_now: pd.Series) -> pd.Series:
    """For add-only mappings: the values there are, and the wanted ones that are missing."""

    def merge(new: object, old: object) -> object:
        if not isinstance(new, list):
            return new
        there = old if isinstance(old, list) else []
        missing = [item for item in new if item not in there]
        return [*there, *missing] if missing else there

    merged = [merge(new, old) for new, old in zip(wanted.array, held_now.array, strict=True)]
    return pd.Series(merged, index=wanted.index, dtype=object) if wanted.dtype == object else wanted


def _update_blocks(
    s: Situation,
    rows: Rows,
    table: pd.DataFrame,
    desired: pd.DataFrame,
    before: dict[str, pd.Series],
    touched: dict[str, Mask],
) -> tuple[list[Block], Rows]:
    changed = np.logical_or.reduce([np.zeros(len(rows), dtype=bool), *touched.values()])
    switch = s.disable_attribute
    disabling = np.zeros(len(rows), dtype=bool)
    enabling = np.zeros(len(rows), dtype=bool)
    if switch in touched:
        off = (desired[switch] == False).fillna(False).to_numpy(dtype=bool)  # noqa: E712 (a column, not a truth value)
        disabling, enabling = touched[switch] & off, touched[switch] & ~off
    deleting = s.desired.disabled[rows] & (s.deprovision.disabled is Removal.DELETE and s.rules.actions.delete)
    kinds = (
        (Wave.UPDATE_USERS, Action.UPDATE, changed & ~disabling & ~enabling & ~deleting),
        (Wave.UPDATE_USERS, Action.ENABLE, enabling & ~deleting),
        (Wave.DISABLE, Action.DISABLE, disabling & ~deleting),
    )
    paths = [path for path in desired.columns if path in touched]
    matrix = pd.DataFrame({path: touched[path] for path in paths}, index=table.index)
    blocks = []
    for wave, action, mask in kinds:
        at = np.flatnonzero(mask)
        if not len(at) or not s.rules.actions.update:
            continue
        at = at[np.argsort(table["anchor"].to_numpy(dtype=object)[at], kind="stable")]
        part = table.iloc[at].reset_index(drop=True)
        part["reason"] = _update_reasons(s, rows[at], action)
        part["state"] = _states(s, rows[at], action)
        if action is Action.DISABLE:
            part["cause"] = Cause.DISABLED
        blocks.append(
            Block(
                wave=Wave.GROUPS if s.desired.kind is Kind.GROUP else wave,
                kind=s.desired.kind,
                action=action,
                table=part,
                after=desired[paths].iloc[at].reset_index(drop=True),
                desired=s.desired.frame.iloc[rows[at]].reset_index(drop=True),
                before=pd.DataFrame({path: before[path].iloc[at].array for path in paths}),
                touched=matrix.iloc[at].reset_index(drop=True),
                references=referenced_paths(s.rules) & frozenset(paths),
                redacted=s.desired.redacted,
            )
        )
    if deleting.any():
        gone = (
            table.loc[deleting]
            .sort_values("anchor")
            .reset_index(drop=True)
            .assign(reason=Cause.DISABLED.value, cause=Cause.DISABLED)
        )
        blocks.append(Block(wave=Wave.DELETE, kind=s.desired.kind, action=Action.DELETE, table=gone))
    return blocks, rows[~changed & ~deleting]


def _states(s: Situation, rows: Rows, action: Action) -> "pd.Series[str]":
    """What the links' state will be: an update leaves an account active or disabled as it is."""
    match action:
        case Action.DISABLE:
            active = np.zeros(len(rows), dtype=bool)
        case Action.ENABLE:
            active = np.ones(len(rows), dtype=bool)
        case _:
            active = s.active(s.matches.row[rows])
    return pd.Series(np.where(active, "active", "disabled"), dtype="str")


def _update_reasons(s: Situation, rows: Rows, action: Action) -> "pd.Series[str]":
    how = pd.Series(s.matches.how[rows], dtype="str")
    match action:
        case Action.DISABLE:
            return pd.Series(Cause.DISABLED.value, index=range(len(rows)), dtype="str")
        case Action.ENABLE:
            changed = "active in the source again"
        case _:
            changed = "changed in the source"
    reasons = pd.Series(changed, index=range(len(rows)), dtype="str")
    reasons[s.written_as_desired(rows)] = "changed in the target by others"
    return reasons.where(how == LINKED, "adopted, " + how)


def settle_links(s: Situation, rows: Rows, unchanged: Rows) -> pd.DataFrame:
    """Links to write before loading: adopted accounts, and entries found equal whose fingerprint is not known yet.

    Index: anchor; columns target_id, label, state, how, fingerprint (NA where changes are pending).
    """
    adopted = rows[s.matches.how[rows] != LINKED]
    digest = pd.Series(fingerprints(s.desired.frame.iloc[unchanged]), dtype="Int64")
    news = ~(s.written(unchanged) == digest).fillna(False).to_numpy(dtype=bool)
    equal = pd.Series(digest.array, index=s.desired.frame.index.take(unchanged))
    chosen = np.union1d(adopted, unchanged[news])
    anchors = s.desired.frame.index.take(chosen).rename("anchor")
    active = s.active(s.matches.row[chosen])
    return pd.DataFrame(
        {
            "target_id": pd.Series(s.existing.index.take(s.matches.row[chosen]), index=anchors, dtype="str"),
            "label": pd.Series(s.desired.labels.take(chosen).array, index=anchors, dtype="str"),
            "state": pd.Series(np.where(active, "active", "disabled"), index=anchors, dtype="str"),
            "how": pd.Series(s.matches.how[chosen], index=anchors, dtype="str"),
            "fingerprint": equal.reindex(anchors).astype("Int64"),
        },
        index=anchors,
    )
