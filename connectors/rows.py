"""From rows of any table-like system to entries: values as text, keys checked, who is switched off, edges.

A reader (a file format, a database) delivers :class:`Rows` as they are; :func:`check_entries` and :func:`check_edges`
decide which of them can be used and say why the others cannot. A row is left out when nobody can say whose it is
(no key, or a key that other rows have too) or whether the person is active; that never stops the others.
"""

import base64
import difflib
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, time
from decimal import Decimal
from enum import IntEnum
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import BeforeValidator, Field

from connectors.cells import TEXT as TEXT
from connectors.cells import UNREADABLE_CELL, is_error, rounded_keys, spoilt_keys, tidy, unusable
from connectors.contract import Kind, Unreadable
from connectors.errors import SettingsError
from connectors.settings import Name as Name
from connectors.settings import Settings

Mask = npt.NDArray[np.bool_]

_STATES_TOLD = 5
ENABLED_WORDS = frozenset({"true", "1", "yes", "y", "active", "enabled"})
DISABLED_WORDS = frozenset({"false", "0", "no", "n", "inactive", "disabled"})


# Settings


def _words(value: object) -> object:
    """YAML reads ``true`` and ``1`` as other things than words."""
    if not isinstance(value, list | tuple):
        return value
    return [text_of(item) if isinstance(item, bool | int) else item for item in value]


class Enabled(Settings):
    """Which column says whether a person is active."""

    column: Name
    """Name of the column."""
    values: Annotated[tuple[Name, ...], BeforeValidator(_words)] = ()
    """Values that mean active, in any case; every other value means disabled. Without them the column must hold
    words for true and false: true, 1, yes, y, active, enabled and their opposites, in any case."""


def _long_form(value: object) -> object:
    return {"column": value} if isinstance(value, str) else value


class EntrySection(Settings):
    """What every kind of table says about its entries."""

    key: Name
    """Column that identifies an entry for ever."""
    keep_empty: Annotated[bool, Field(strict=True)] = False
    """Whether an empty cell is empty text; otherwise it is null."""
    verbatim: Annotated[bool, Field(strict=True)] = False
    """Whether cells are taken exactly as they stand. Otherwise blanks and zero bytes around a value and characters that
    show nothing are dropped, and letters are composed (NFC), so that values that look the same are the same."""

    @property
    def required(self) -> tuple[str, ...]:
        """Columns without which the entries cannot be read."""
        return (self.key,)


class PersonSection(EntrySection):
    """The same for people, who may be switched off."""

    enabled: Annotated[Enabled, BeforeValidator(_long_form, json_schema_input_type=str | Enabled)] | None = None
    """Column that says whether a person is active; without it everybody is."""

    @property
    def required(self) -> tuple[str, ...]:
        """Columns without which the entries cannot be read."""
        return (self.key,) if self.enabled is None else tuple(dict.fromkeys((self.key, self.enabled.column)))


class EdgeSection(Settings):
    """What every kind of table says about its memberships."""

    group: Name
    """Column with the key of the group."""
    member: Name
    """Column with the key of the user, or of the group inside the group."""
    verbatim: Annotated[bool, Field(strict=True)] = False
    """Whether keys are used verbatim, as in the entries' own section."""

    @property
    def required(self) -> tuple[str, ...]:
        """Columns without which the memberships cannot be read."""
        return (self.group, self.member)


# Columns


def nearest(name: str, names: Iterable[str]) -> str | None:
    """The name that was probably meant; difference in case and blanks counts for little."""
    plain: dict[str, str] = {}
    for candidate in names:
        plain.setdefault(candidate.strip().casefold(), candidate)
    found = difflib.get_close_matches(name.strip().casefold(), plain, n=1)
    return plain[found[0]] if found else None


def require_columns(required: Iterable[str], names: Collection[str], *, where: str) -> None:
    """Raises: SettingsError for the first column that is not there, with the nearest that is."""
    for name in required:
        if name not in names:
            near = nearest(name, names)
            listed = ", ".join(repr(n) for n in list(names)[:20]) or "none"
            hint = f"Did you mean {near!r}?" if near else f"Its columns: {listed}."
            raise SettingsError(f"{where} has no column {name!r}. {hint}")


def wanted_columns(required: Iterable[str], wanted: Iterable[str], names: Collection[str]) -> list[str]:
    """Columns to read: the required ones, then whatever is wanted and exists."""
    return list(dict.fromkeys([*required, *(name for name in wanted if name in names)]))


def text_series(values: pa.Array | pa.ChunkedArray, *, keep_empty: bool) -> "pd.Series[Any]":
    """An Arrow text column as a ``str`` column, without copying; empty text becomes null unless it is to be kept."""
    if not keep_empty:
        empty = pc.equal(values, "")
        if pc.any(empty).as_py():
            values = pc.if_else(empty, pa.scalar(None, values.type), values)
    if isinstance(values, pa.ChunkedArray):
        # Many small chunks make every later `take` slow.
        values = values.combine_chunks()
    return pd.Series(values, dtype=TEXT)


def boolean_series(values: pa.Array | pa.ChunkedArray) -> "pd.Series[Any]":
    """An Arrow boolean column as a ``boolean`` column."""
    if isinstance(values, pa.ChunkedArray):
        values = values.combine_chunks()
    true = np.array(pc.fill_null(values, False), dtype=bool)
    return pd.Series(pd.arrays.BooleanArray(true, np.array(pc.is_null(values), dtype=bool)), copy=False)


def object_series(values: Sequence[object]) -> "pd.Series[Any]":
    """Lists and dicts as an ``object`` column with None for null."""
    cells = np.empty(len(values), dtype=object)
    cells[:] = [value if isinstance(value, list | dict) or value is None else [value] for value in values]
    return pd.Series(cells, dtype=object)


def number_text(value: Decimal) -> str:
    """A number written out: exact, no exponent, no fraction where it is whole."""
    if not value.is_finite() or abs(value.adjusted()) > 400:
        return str(value)
    return format(value.to_integral_value() if value == value.to_integral_value() else value, "f")


def text_of(value: object) -> str:
    """One scalar as text: whole numbers plain, decimals exact, moments ISO 8601 (UTC where the zone is known), bytes
    in base64, booleans ``true`` and ``false``."""
    match value:
        case str():
            return value
        case bool():
            return "true" if value else "false"
        case int():
            return str(value)
        case float():
            return number_text(Decimal(repr(value)))
        case Decimal():
            return format(value, "f") if value.is_finite() and abs(value.adjusted()) <= 400 else str(value)
        case datetime():
            return moment_text(value)
        case date() | time():
            return value.isoformat()
        case bytes() | bytearray() | memoryview():
            return base64.b64encode(value).decode("ascii")
        case _:
            return str(value)


def moment_text(value: datetime) -> str:
    """ISO 8601: in UTC with ``Z`` where the zone is known, otherwise as it stands, for nobody knows the zone."""
    if value.tzinfo is None:
        return value.isoformat()
    return value.astimezone(UTC).isoformat().replace("+00:00", "Z")


def plain(value: object) -> object:
    """A value for an object column: lists and dicts of text and booleans, None for null."""
    match value:
        case None | bool():
            return value
        case list() | tuple() | set() | frozenset():
            return [plain(item) for item in value]
        case Mapping():
            return {str(name): plain(item) for name, item in value.items()}
        case _:
            return text_of(value)


_COMPLEX = (list, tuple, set, frozenset, dict)


@dataclass(slots=True)
class Column:
    """One column of Python values that grows chunk by chunk; memory holds the chunks as Arrow, not as objects."""

    chunks: list[pa.Array | list[object]] = field(default_factory=list)

    def add(self, values: Sequence[object]) -> None:
        """The next rows."""
        types = {type(value) for value in values} - {type(None)}
        if not types:
            self.chunks.append(pa.nulls(len(values)))
        elif types == {str}:
            self.chunks.append(pa.array(values, pa.large_string()))
        elif types == {bool}:
            self.chunks.append(pa.array(values, pa.bool_()))
        elif any(issubclass(kind, _COMPLEX) for kind in types):
            self.chunks.append([plain(value) for value in values])
        else:
            texts = [None if value is None else text_of(value) for value in values]
            self.chunks.append(pa.array(texts, pa.large_string()))

    def finish(self, *, keep_empty: bool) -> "pd.Series[Any]":
        """The whole column: boolean if every value is, lists and dicts if any value is one, otherwise text."""
        if any(isinstance(chunk, list) for chunk in self.chunks):
            every = [chunk if isinstance(chunk, list) else chunk.to_pylist() for chunk in self.chunks]
            return object_series([None if value == "" and not keep_empty else value for c in every for value in c])
        arrays = [chunk for chunk in self.chunks if isinstance(chunk, pa.Array)]
        types = {array.type for array in arrays} - {pa.null()}
        if types == {pa.bool_()}:
            return boolean_series(pa.chunked_array([array.cast(pa.bool_()) for array in arrays], pa.bool_()))
        texts = [array.cast(pa.large_string()) for array in arrays]
        return text_series(pa.chunked_array(texts, pa.large_string()), keep_empty=keep_empty)


def frame_of(columns: "Mapping[str, pd.Series[Any]]", *, rows: int) -> pd.DataFrame:
    """The columns side by side, rows numbered from 0."""
    return pd.DataFrame(dict(columns), index=pd.RangeIndex(rows), copy=False)


# Rows


@dataclass(frozen=True, slots=True)
class BadRow:
    """A row that could not even be taken apart, so nobody knows whose it is."""

    place: str
    reason: str


@dataclass(slots=True)
class Rows:
    """What a system delivered, before anybody looked at the keys."""

    frame: pd.DataFrame
    """Rows numbered from 0 in the order they came; the required columns, and the wanted ones that exist."""
    places: Callable[[Sequence[int]], list[str]]
    """Where rows can be found, by their numbers in ascending order."""
    bad: list[BadRow] = field(default_factory=list)
    incomplete: list[str] = field(default_factory=list)
    """Why a row that is not here may exist all the same."""
    are_blank: Callable[[Sequence[int]], Sequence[bool]] = lambda rows: [True] * len(rows)
    """Whether rows without a value in any column that was read, given by their numbers, hold nothing else either."""
    layout: str = ""
    """What was recognised although nobody said it: ``separated by semicolons``."""


@dataclass(frozen=True, slots=True)
class Checked:
    """What can be used of the rows, and why the rest cannot."""

    frame: pd.DataFrame
    unreadable: tuple[Unreadable, ...]
    incomplete: tuple[str, ...]
    disabled: frozenset[str] = frozenset()
    set_aside: pd.DataFrame | None = None
    """Rows that cannot be used but may show that somebody has left, as ``Snapshot.set_aside``."""
    remarks: tuple[str, ...] = ()
    """What was put right by itself, one sentence each."""
    layout: str = ""
    """As ``Rows.layout``."""


class _State(IntEnum):
    DISABLED = 0
    ENABLED = 1
    UNKNOWN = 2


def check_entries(rows: Rows, section: EntrySection, kind: Kind, *, wanted: Iterable[str], where: str) -> Checked:
    """Entries by key. ``wanted`` are the columns of the frame, in this order, as far as they exist.

    Rows that hold nothing are nobody. Copies of a row that are alike in everything that is read count once. A person
    whom all rows of a key call disabled is disabled, whatever else these rows hold. Raises: SettingsError when the key
    column holds lists.
    """
    frame = _tidied(rows.frame, section)
    blank = _blank(rows, frame)
    keys = _key_texts(frame[section.key], section.key, where)
    missing = _missing(keys)
    enabled = section.enabled if isinstance(section, PersonSection) else None
    states = _states(frame, enabled)
    reasons: dict[int, tuple[str | None, str]] = {}
    if enabled is not None:
        for number in np.flatnonzero(states == _State.UNKNOWN).tolist():
            reasons[number] = (keys[number].as_py(), _unknown_state(enabled.column, frame[enabled.column].iloc[number]))
    unsound = _unsound(frame)
    for number, why in unsound.reasons.items():
        reasons.setdefault(number, (keys[number].as_py(), why))
    spare = _copies_that_are_alike(frame, keys, missing | blank)
    copies = _copies(keys, leave_out=spare | missing | blank)
    for number in np.flatnonzero(copies > 1).tolist():
        reason = (
            f"{copies[number]} rows have this {section.key} and differ; none is used: nobody can say which is right."
        )
        reasons[number] = (keys[number].as_py(), reason)
    for number in np.flatnonzero(rounded_keys(keys, copies > 1)).tolist():
        reason = (
            f"{copies[number]} rows have the {section.key} {keys[number].as_py()}, which ends in zeros as a long "
            "number does that a spreadsheet has rounded, so nobody knows whose rows they are: export the file again, "
            "with this column as text."
        )
        reasons[number] = (None, reason)
    # Last, for rows without a key are not each other's copies.
    for mask, why in spoilt_keys(keys):
        for number in np.flatnonzero(mask).tolist():
            reasons[number] = (None, f"Its {section.key} {why}.")
    for number in np.flatnonzero(missing).tolist():
        reasons[number] = (None, f"The row has no {section.key}, so nobody knows whose it is.")
    for number in unsound.rows_of(section.key):
        reasons[number] = (None, unsound.reasons[number])
    for number in np.flatnonzero(blank | spare).tolist():
        reasons.pop(number, None)
    unreadable, lost = _unreadable(rows, kind, reasons)

    owned = ~blank & ~spare & ~missing
    owned[[number for number, (key, _) in reasons.items() if key is None]] = False
    active = pa.array(owned & (states != _State.DISABLED))
    disabled = frozenset(keys.filter(pa.array(owned & (states == _State.DISABLED))).to_pylist())
    if (copies > 1).any():
        disabled -= frozenset(keys.filter(active).to_pylist())
    columns = [name for name in dict.fromkeys(wanted) if name in frame]
    aside = np.array([n for n, (key, _) in reasons.items() if key is not None and active[n].as_py()], dtype=np.int64)
    set_aside = _by_key(unsound.masked(frame)[columns].iloc[aside], keys.take(pa.array(aside))) if len(aside) else None
    good = ~blank & ~spare
    good[list(reasons)] = False
    return Checked(
        frame=_by_key(frame[columns], keys)
        if good.all()
        else _by_key(frame.loc[good, columns], keys.filter(pa.array(good))),
        unreadable=unreadable,
        incomplete=(*rows.incomplete, *_lost_rows(where, lost, section)),
        disabled=disabled,
        set_aside=set_aside,
        remarks=(*_alike_remark(rows, spare, where), *_nobody_active(frame, states, enabled, where)),
        layout=rows.layout,
    )


def _tidied(frame: pd.DataFrame, section: EntrySection | EdgeSection) -> pd.DataFrame:
    if section.verbatim:
        return frame
    keep_empty = isinstance(section, EntrySection) and section.keep_empty
    return frame_of({str(name): tidy(column, keep_empty=keep_empty) for name, column in frame.items()}, rows=len(frame))


def _by_key(frame: pd.DataFrame, keys: pa.Array) -> pd.DataFrame:
    return frame.set_axis(pd.Index(text_series(keys, keep_empty=True), name="key", copy=False))


def _blank(rows: Rows, frame: pd.DataFrame) -> Mask:
    """Rows that hold nothing at all: nobody."""
    blank = np.ones(len(frame), dtype=bool)
    for name in frame.columns:
        column = frame[name]
        if not blank.any():
            return blank
        empty = column.isna().to_numpy(dtype=bool)
        if isinstance(column.dtype, pd.StringDtype) and not empty.all():
            text = pa.array(column.array, from_pandas=True)
            nothing = pc.or_(pc.equal(text, ""), pc.utf8_is_space(text))
            empty = empty | np.asarray(pc.fill_null(nothing, False), dtype=bool)
        blank &= empty
    numbers = np.flatnonzero(blank)
    if len(numbers):
        blank[numbers] = np.asarray(rows.are_blank(numbers.tolist()), dtype=bool)
    return blank


@dataclass(slots=True)
class _Unsound:
    """Cells that hold no value."""

    reasons: dict[int, str] = field(default_factory=dict)
    """The first reason of each row."""
    cells: dict[str, Mask] = field(default_factory=dict)
    """By column."""

    def rows_of(self, column: str) -> list[int]:
        return np.flatnonzero(self.cells[column]).tolist() if column in self.cells else []

    def masked(self, frame: pd.DataFrame) -> pd.DataFrame:
        """The frame with a mark that no filter can be judged by in place of these cells."""
        texts = {name: mask for name, mask in self.cells.items() if isinstance(frame[name].dtype, pd.StringDtype)}
        return frame.assign(**{name: frame[name].mask(mask, UNREADABLE_CELL) for name, mask in texts.items()})


def _unsound(frame: pd.DataFrame) -> _Unsound:
    found = _Unsound()
    for name, column in frame.items():
        for mask, why in unusable(column):
            found.cells[str(name)] = found.cells.get(str(name), np.zeros(len(frame), dtype=bool)) | mask
            for number in np.flatnonzero(mask).tolist():
                found.reasons.setdefault(number, f"Its {name} {why}.")
    return found


def _copies_that_are_alike(frame: pd.DataFrame, keys: pa.Array, without: Mask) -> Mask:
    """Rows that are there before, alike in every column that is read."""
    spare = np.zeros(len(frame), dtype=bool)
    at = np.flatnonzero(_copies(keys, leave_out=without) > 1)
    if len(at):
        some = frame.iloc[at]
        plain = {n: some[name].map(repr) if some[name].dtype == object else some[name] for n, name in enumerate(some)}
        spare[at] = pd.DataFrame(plain).duplicated().to_numpy(dtype=bool)
    return spare


def _alike_remark(rows: Rows, spare: Mask, where: str) -> tuple[str, ...]:
    numbers = np.flatnonzero(spare)
    if not len(numbers):
        return ()
    count = "One row" if len(numbers) == 1 else f"{len(numbers):,} rows"
    verb = "is a copy" if len(numbers) == 1 else "are copies"
    return (f"{count} of {where} {verb} of another one and counted once (first: {rows.places([int(numbers[0])])[0]}).",)


def aside_of(parts: Sequence[Checked]) -> dict[Kind, pd.DataFrame]:
    """Rows set aside of users and groups, given in this order, as ``Snapshot.set_aside``."""
    kinds = zip((Kind.USER, Kind.GROUP), parts, strict=False)
    return {kind: part.set_aside for kind, part in kinds if part.set_aside is not None}


def all_keys(column: "pd.Series[Any]", name: str, where: str) -> pd.Index | None:
    """Every key of a table as the index of its entries would have them; None where one is missing or comes twice.

    Raises: SettingsError when the column holds lists.
    """
    keys = _key_texts(column, name, where)
    if _missing(keys).any() or (_copies(keys) > 1).any() or any(mask.any() for mask, _ in spoilt_keys(keys)):
        return None
    index: pd.Index = pd.Index(text_series(keys, keep_empty=True), name="key", copy=False)
    return index


def check_edges(rows: Rows, section: EdgeSection, *, where: str) -> Checked:
    """Memberships with both ends known, each once, in the order they came.

    Raises: SettingsError when a column holds lists.
    """
    frame = _tidied(rows.frame, section)
    blank = _blank(rows, frame)
    if blank.any():
        kept = np.flatnonzero(~blank)
        places = rows.places
        rows = replace(rows, places=lambda numbers: places(kept[list(numbers)].tolist()))
        frame = frame.loc[~blank].reset_index(drop=True)
    groups = _key_texts(frame[section.group], section.group, where)
    members = _key_texts(frame[section.member], section.member, where)
    without_group, without_member = _missing(groups), _missing(members)
    reasons: dict[int, tuple[str | None, str]] = {}
    for column, keys, without in ((section.group, groups, without_group), (section.member, members, without_member)):
        for mask, why in (*spoilt_keys(keys), *unusable(frame[column])):
            without |= mask
            for number in np.flatnonzero(mask).tolist():
                reasons[number] = (None, f"Its {column} {why}.")
    for number in np.flatnonzero(without_member).tolist():
        missing = (None, f"The row has no {section.member}, so nobody knows who belongs to the group.")
        reasons.setdefault(number, missing)
    for number in np.flatnonzero(without_group).tolist():
        missing = (None, f"The row has no {section.group}, so nobody knows which group it is about.")
        reasons.setdefault(number, missing)
    unreadable, lost = _unreadable(rows, Kind.GROUP, reasons)

    group_codes, member_codes = _codes(groups), _codes(members)
    pairs = pd.Series(group_codes * (int(member_codes.max(initial=0)) + 1) + member_codes)
    good = ~(pairs.duplicated().to_numpy() | without_group | without_member)
    if not good.all():
        groups, members = groups.filter(pa.array(good)), members.filter(pa.array(good))
    frame = frame_of(
        {"group": text_series(groups, keep_empty=True), "member": text_series(members, keep_empty=True)},
        rows=len(groups),
    )
    incomplete = (*rows.incomplete, *_lost_rows(where, lost, section))
    return Checked(frame=frame, unreadable=unreadable, incomplete=incomplete, layout=rows.layout)


def _key_texts(column: "pd.Series[Any]", name: str, where: str) -> pa.Array:
    if column.dtype == object:
        raise SettingsError(f"The column {name!r} of {where} holds lists; a key must be one value.")
    texts = pa.array(column.array).cast(pa.large_string())
    return texts.combine_chunks() if isinstance(texts, pa.ChunkedArray) else texts


def _missing(keys: pa.Array) -> Mask:
    return np.asarray(pc.fill_null(pc.equal(keys, ""), True))


def _codes(keys: pa.Array) -> npt.NDArray[np.int64]:
    """Equal keys, equal numbers; null is 0."""
    indices = pc.fill_null(pc.dictionary_encode(keys).indices.cast(pa.int64()), -1)
    return np.asarray(indices) + 1


def _copies(keys: pa.Array, *, leave_out: Mask | None = None) -> npt.NDArray[np.int64]:
    """For each row how many rows have its key; rows without one count as having the same. 0 for those left out."""
    codes = _codes(keys)
    if leave_out is None or not leave_out.any():
        copies: npt.NDArray[np.int64] = np.bincount(codes, minlength=1)[codes]
        return copies
    copies = np.bincount(codes[~leave_out], minlength=int(codes.max(initial=0)) + 1)[codes]
    copies[leave_out] = 0
    return copies


def _states(frame: pd.DataFrame, enabled: Enabled | None) -> npt.NDArray[np.int8]:
    """Enabled, disabled or unknown, row by row. Null is unknown: a hole in an export must not switch people off."""
    if enabled is None:
        return np.full(len(frame), _State.ENABLED, dtype=np.int8)
    column = frame[enabled.column]
    if column.dtype == object:
        return np.full(len(frame), _State.UNKNOWN, dtype=np.int8)
    coded = pc.dictionary_encode(_key_texts(column, enabled.column, ""))
    active = {value.strip().casefold() for value in enabled.values}
    of_words = [_state_of(word.strip().casefold(), active) for word in coded.dictionary.to_pylist()]
    states = np.array([*of_words, _State.UNKNOWN], dtype=np.int8)
    indices: npt.NDArray[np.int64] = np.asarray(pc.fill_null(coded.indices.cast(pa.int64()), len(of_words)))
    return states[indices]


def _nobody_active(
    frame: pd.DataFrame, states: npt.NDArray[np.int8], enabled: Enabled | None, where: str
) -> Iterable[str]:
    """A sentence where no row at all is active: then the words that mean so are often wrong."""
    if enabled is None or not enabled.values or not len(states) or not (states == _State.DISABLED).all():
        return
    counts = frame[enabled.column].dropna().value_counts().head(_STATES_TOLD)
    found = ", ".join(f"{value} ({count:,})" for value, count in counts.items())
    yield (
        f"Nobody in {where} is active: {enabled.column} is never {' or '.join(enabled.values)}; it is {found}. If "
        "that is not so, correct enabled.values."
    )


def _state_of(word: str, active: set[str]) -> _State:
    if is_error(word.upper()):
        return _State.UNKNOWN
    if active:
        return _State.ENABLED if word in active else _State.DISABLED if word else _State.UNKNOWN
    if word in ENABLED_WORDS:
        return _State.ENABLED
    return _State.DISABLED if word in DISABLED_WORDS else _State.UNKNOWN


def _unknown_state(column: str, value: object) -> str:
    if isinstance(value, list | dict):
        return f"{column} holds a list, so nobody knows whether this person is active."
    if value is None or pd.isna(value) or not str(value).strip():  # type: ignore[call-overload]
        return f"{column} is empty, so nobody knows whether this person is active."
    known = "true, 1, yes, y, active, enabled or their opposites"
    return (
        f"{column} is {str(value)[:40]!r}, which is none of {known}. List the words that mean active: enabled.values."
    )


def _unreadable(
    rows: Rows, kind: Kind, reasons: Mapping[int, tuple[str | None, str]]
) -> tuple[tuple[Unreadable, ...], list[str]]:
    """Every row that cannot be used, and the places of those that nobody knows the owner of."""
    numbers = sorted(reasons)
    unreadable = [Unreadable(kind, None, row.place, row.reason) for row in rows.bad]
    for number, place in zip(numbers, rows.places(numbers) if numbers else (), strict=True):
        key, reason = reasons[number]
        unreadable.append(Unreadable(kind, key, place, reason))
    return tuple(unreadable), [row.place for row in unreadable if row.key is None]


def _lost_rows(where: str, places: Sequence[str], section: Settings) -> tuple[str, ...]:
    if not places:
        return ()
    count = "One row" if len(places) == 1 else f"{len(places):,} rows"
    told = f"{count} of {where} could not be attributed to anybody (first: {places[0]})."
    if hasattr(section, "skip"):
        told += " Correct the export; if such rows are nobody's, like a line of totals, name them in skip."
    return (told,)
