"""Puts what several sources say together: their people are one population, their groups one set of groups. Pure.

Keys get the prefix of their source. An attribute is what the source gives by that name, or its own attribute of that
name. A key that an attribute read by a reference holds, or that a group names as a member, is one of the same source
where that has such an entry, and otherwise stands as it is: the key of an entry of another source.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from connectors.contract import Kind, Snapshot, SourcePart, Unreadable, no_members
from tasks.expressions import Context, compile_expression
from tasks.job import EntryRules, Job, PeopleSource
from tasks.keys import find, texts
from tasks.membership import is_among
from tasks.sources.enriching import enriched
from tasks.sources.parts import prefixed
from tasks.sources.stacking import stacked


@dataclass(slots=True)
class _Piece:
    """One source, with the keys and the names of the population."""

    part: SourcePart
    snapshot: Snapshot
    failed: Mapping[str, Mapping[str, str]]
    """By attribute and key, why a value could not be worked out."""
    known: Mapping[Kind, pa.Array]
    """Its keys as the population has them, readable or not."""


def population(job: Job, read: Mapping[str, Snapshot], context: Context, *, names: Collection[str]) -> Snapshot:
    """The people of all sources, with what second sources add. ``read``: every source by name, as it was read.

    ``names``: attributes of users that rules read. What a source has under another name is left behind: what is hidden
    by the name that rules use would be shown by its own.
    """
    if job.source is not None and not job.enrich:
        return next(iter(read.values()))
    pieces = _without_foreign(
        [_piece(section, read[section.name], context, names) for section in job.people], job.people
    )
    references = {kind: reference_attributes(rules) for kind, rules in job.rules.items()}
    snapshots = [_with_references(piece, references) for piece in pieces]
    users = stacked([one.users for one in snapshots])
    added = enriched(job, users, [piece.part for piece in pieces], read, context, _failures(pieces))
    alone = pieces[0] if len(pieces) == 1 else None
    return Snapshot(
        system=", ".join(read[name].system for name in read),
        users=added.users,
        groups=stacked([one.groups for one in snapshots]),
        members=_members(pieces),
        read_at=min(one.read_at for one in read.values()),
        incomplete=() if alone is None else alone.snapshot.incomplete,
        parts=() if alone is not None else tuple(piece.part for piece in pieces),
        unreadable=tuple(row for one in snapshots for row in one.unreadable),
        set_aside=_set_aside(snapshots),
        remarks=tuple(f"{name}: {remark}" for name, one in read.items() for remark in one.remarks),
        disabled=frozenset[str]().union(*(one.disabled for one in snapshots)),
        assignments=_assignments(snapshots),
        requests=sum(one.requests for one in read.values()),
        unknown=added.unknown,
        unsure=added.unsure,
        disputes=added.disputes,
        given=added.given,
    )


def _failures(pieces: Sequence[_Piece]) -> dict[str, dict[str, str]]:
    found: dict[str, dict[str, str]] = {}
    for piece in pieces:
        for attribute, failed in piece.failed.items():
            found.setdefault(attribute, {}).update(failed)
    return found


def _piece(section: PeopleSource, snapshot: Snapshot, context: Context, names: Collection[str]) -> _Piece:
    """One source with its keys prefixed and its attributes by the names of the rules."""
    name, prefix = section.name, section.prefix
    users, failed = _as_given(section, snapshot.users, context, names)
    aside = {
        kind: _keyed(prefix, _as_given(section, frame, context, names)[0] if kind is Kind.USER else frame)
        for kind, frame in snapshot.set_aside.items()
    }
    unreadable = tuple(
        replace(row, key=None if row.key is None else f"{prefix}{row.key}", place=f"{name}: {row.place}")
        for row in snapshot.unreadable
    )
    own = replace(
        snapshot,
        users=_keyed(prefix, users),
        groups=_keyed(prefix, snapshot.groups),
        unreadable=unreadable,
        set_aside=aside,
        disabled=frozenset(f"{prefix}{key}" for key in snapshot.disabled),
        assignments=_assigned(prefix, snapshot),
    )
    part = SourcePart(
        name=name,
        prefix=prefix,
        users=len(users),
        groups=getattr(section.settings, "groups", section) is not None,
        incomplete=snapshot.incomplete or (() if len(users) else ("It has no users at all.",)),
    )
    known = {kind: _known(own, kind) for kind in Kind}
    reasons = {attribute: {f"{prefix}{key}": why for key, why in found.items()} for attribute, found in failed.items()}
    return _Piece(part, own, reasons, known)


def _keyed(prefix: str, frame: pd.DataFrame) -> pd.DataFrame:
    if not prefix:
        return frame
    return frame.set_axis(pd.Index(prefixed(prefix, frame.index), name="key", dtype="str"))


def _known(snapshot: Snapshot, kind: Kind) -> pa.Array:
    unread = [row.key for row in snapshot.unreadable if row.kind is kind and row.key is not None]
    return pa.concat_arrays([texts(snapshot.entries(kind).index), pa.array(unread, type=pa.large_string())])


def _as_given(
    section: PeopleSource, frame: pd.DataFrame, context: Context, names: Collection[str]
) -> tuple[pd.DataFrame, dict[str, dict[str, str]]]:
    """The frame with what the source gives; by attribute and key what could not be worked out, which is null."""
    values: dict[str, pd.Series] = {}
    failed: dict[str, dict[str, str]] = {}
    for attribute, text in section.gives.items():
        column = compile_expression(text).column(frame, context)
        values[attribute] = column.values
        if column.failed:
            failed[attribute] = {
                key: f"{section.name} provides no {attribute}: {why}" for key, why in column.failed.items()
            }
    own = frame[[name for name in frame.columns if name in names and name not in values]]
    return own.assign(**values), failed


def _without_foreign(pieces: list[_Piece], sections: Sequence[PeopleSource]) -> list[_Piece]:
    """Without entries of the source that has no prefix whose keys look like those of another one: nobody can tell
    whose they are, so neither proves anybody's absence."""
    others = tuple(one.prefix for one in sections if one.prefix)
    for number, piece in enumerate(pieces):
        if piece.part.prefix or not others:
            continue
        for kind in Kind:
            frame = piece.snapshot.entries(kind)
            begins = np.array([key.startswith(others) for key in frame.index], dtype=bool)
            if not begins.any():
                continue
            first = str(frame.index[int(np.flatnonzero(begins)[0])])
            other = next(one for one in sections if one.prefix and first.startswith(one.prefix))
            why = (
                f"{int(begins.sum()):,} keys of {kind}s of {piece.part.name} begin with the prefix of {other.name} "
                f"(like {first}): choose another prefix for {other.name}."
            )
            rows = tuple(Unreadable(kind, None, f"{piece.part.name}: {kind} {key}", why) for key in frame.index[begins])
            snapshot = replace(piece.snapshot, unreadable=(*piece.snapshot.unreadable, *rows))
            kept = frame.loc[~begins]
            piece.snapshot = replace(snapshot, users=kept) if kind is Kind.USER else replace(snapshot, groups=kept)
            piece.part = replace(piece.part, incomplete=(*piece.part.incomplete, why))
            at = [one.part.name for one in pieces].index(other.name)
            pieces[at].part = replace(pieces[at].part, incomplete=(*pieces[at].part.incomplete, why))
        pieces[number] = piece
    return pieces


# --- keys inside ---------------------------------------------------------------------------------------------------


def reference_attributes(rules: EntryRules) -> frozenset[str]:
    """Source attributes that references read."""
    named: set[str] = set()
    for mapping in rules.attributes.values():
        if mapping.reference is not None:
            named |= compile_expression(mapping.reference).attributes
    return frozenset(named)


def _with_references(piece: _Piece, attributes: Mapping[Kind, frozenset[str]]) -> Snapshot:
    """The source with keys of the population where its attributes name its own users."""
    if not piece.part.prefix:
        return piece.snapshot
    frames = {}
    for kind in Kind:
        frame = piece.snapshot.entries(kind)
        columns = {
            name: _qualified(frame[name], piece)
            for name in sorted(attributes.get(kind, frozenset()) & set(frame.columns))
        }
        frames[kind] = frame.assign(**columns) if columns else frame
    return replace(piece.snapshot, users=frames[Kind.USER], groups=frames[Kind.GROUP])


def _qualified(column: pd.Series, piece: _Piece) -> pd.Series:
    prefix, own = piece.part.prefix, piece.known[Kind.USER]
    if column.dtype != object:
        keys = _population_keys(texts(column.astype("str")), prefix, own)
        return pd.Series(keys, index=column.index, dtype="str")
    here = set(own.to_pylist())

    def of(value: Any) -> Any:
        return f"{prefix}{value}" if isinstance(value, str) and f"{prefix}{value}" in here else value

    cells = [[of(item) for item in cell] if isinstance(cell, list) else of(cell) for cell in column.array]
    return pd.Series(cells, index=column.index, dtype=object)


def _population_keys(keys: pa.Array, prefix: str, own: pa.Array) -> pa.Array:
    """Keys with the prefix where the source has such an entry, and otherwise as they are."""
    full = pc.binary_join_element_wise(pa.scalar(prefix, keys.type), keys, pa.scalar("", keys.type))
    return pc.if_else(pa.array(find(full, own) >= 0), full, keys)


def _members(pieces: Sequence[_Piece]) -> pd.DataFrame:
    """The memberships of all sources. A member is an entry of the group's own source, or else one of another source."""
    everybody = pa.concat_arrays([piece.known[Kind.USER] for piece in pieces])
    frames = [no_members()]
    for piece in pieces:
        edges, prefix = piece.snapshot.members, piece.part.prefix
        if prefix and len(edges):
            members = texts(edges["member"])
            full = prefixed(prefix, edges["member"])
            own = is_among(pd.Index(full, dtype="str"), pa.concat_arrays(list(piece.known.values())))
            others = is_among(edges["member"], everybody) & ~own
            members = pc.if_else(pa.array(others), members, full)
            edges = pd.DataFrame(
                {
                    "group": pd.Series(prefixed(prefix, edges["group"]), dtype="str"),
                    "member": pd.Series(members, dtype="str"),
                }
            )
        frames.append(edges)
    return pd.concat(frames, ignore_index=True).drop_duplicates(ignore_index=True)


def _set_aside(snapshots: Sequence[Snapshot]) -> dict[Kind, pd.DataFrame]:
    found = {}
    for kind in Kind:
        frames = [one.set_aside[kind] for one in snapshots if kind in one.set_aside]
        if frames:
            found[kind] = stacked(frames)
    return found


def _assigned(prefix: str, snapshot: Snapshot) -> pd.DataFrame | None:
    """Assignments of a source; a group may be named instead of given by its key, and names have no prefix."""
    rows = snapshot.assignments
    if rows is None or not prefix:
        return rows
    keyed = (rows["kind"] == Kind.USER).to_numpy(dtype=bool) | is_among(rows["key"], texts(snapshot.groups.index))
    keys = pc.if_else(pa.array(keyed), prefixed(prefix, rows["key"]), texts(rows["key"]))
    return rows.assign(key=pd.Series(keys, index=rows.index, dtype="str"))


def _assignments(snapshots: Sequence[Snapshot]) -> pd.DataFrame | None:
    """Who is assigned according to the sources themselves."""
    frames = [one.assignments for one in snapshots if one.assignments is not None]
    return pd.concat(frames, ignore_index=True) if frames else None
