"""Reads entries from files: CSV, TSV, JSON Lines, Parquet and workbooks, here or at any fsspec address.

``users``, ``groups`` and ``members`` are one file each. A row that cannot be used is reported with its line and leaves
the others alone; a file that cannot be what the job says stops the cycle.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Self

from pydantic import model_validator

from connectors.contract import Attribute, Kind, Pace, Snapshot, Target, Unreadable, Wanted, no_entries, no_members
from connectors.csv.files import File
from connectors.csv.tables import columns_of, read_rows
from connectors.csv.target import SYSTEM, FileTargetSettings
from connectors.file_section import FileSection
from connectors.registry import Connector
from connectors.rows import (
    Checked,
    EdgeSection,
    EntrySection,
    PersonSection,
    aside_of,
    check_edges,
    check_entries,
    require_columns,
)
from connectors.settings import Settings

Progress = Callable[[int], None]


class PersonFile(PersonSection, FileSection):
    """A file with one person per row."""


class GroupFile(EntrySection, FileSection):
    """A file with one group per row."""


class EdgeFile(EdgeSection, FileSection):
    """A file with one membership per row."""


class CsvSettings(Settings):
    """The files of a source."""

    users: PersonFile
    """One person per row."""
    groups: GroupFile | None = None
    """One group per row."""
    members: EdgeFile | None = None
    """One membership per row."""

    @model_validator(mode="after")
    def _members_need_groups(self) -> Self:
        if self.members is not None and self.groups is None:
            raise ValueError("members are given without groups: add groups: {path, key}")
        return self


class CsvSource:
    """Entries in files. Nothing is kept open between calls."""

    def __init__(self, settings: CsvSettings, folder: Path) -> None:
        self._settings = settings
        self._folder = folder

    def check(self) -> str:
        """Read the headers. Raises: FatalError."""
        found = []
        for section in (self._settings.users, self._settings.groups, self._settings.members):
            if section is not None:
                file = File(section, self._folder)
                names = columns_of(file)
                require_columns(section.required, names, where=file.label)
                found.append(f"{file.label} ({len(names)} columns)")
        return f"The files can be read: {', '.join(found)}."

    def attributes(self, kind: Kind) -> Mapping[str, Attribute] | None:
        """Columns of the header; of JSON Lines, what the first lines hold. Raises: FatalError."""
        section = self._settings.users if kind is Kind.USER else self._settings.groups
        return columns_of(File(section, self._folder)) if section is not None else {}

    def read(
        self,
        wanted: Wanted,
        *,
        since: str | None = None,
        progress: Progress | None = None,
    ) -> Snapshot:
        """Everything in the files; they do not know what changed, so ``since`` changes nothing. Raises: FatalError."""
        settings, read_at = self._settings, datetime.now(UTC)
        counter = _Counter(progress)
        users = self._entries(settings.users, Kind.USER, wanted.users, counter)
        parts, files = [users], [_named(settings.users, users, self._folder)]
        groups, members = no_entries(), no_members()
        if wanted.groups is not None and settings.groups is not None:
            parts.append(self._entries(settings.groups, Kind.GROUP, wanted.groups, counter))
            groups = parts[-1].frame
            files.append(_named(settings.groups, parts[-1], self._folder))
            if settings.members is not None:
                parts.append(self._edges(settings.members, counter))
                members = parts[-1].frame
        unreadable: list[Unreadable] = [row for part in parts for row in part.unreadable]
        return Snapshot(
            system=f"csv {', '.join(files)}",
            users=users.frame,
            groups=groups,
            members=members,
            read_at=read_at,
            incomplete=tuple(sentence for part in parts for sentence in part.incomplete),
            unreadable=tuple(unreadable),
            disabled=users.disabled,
            set_aside=aside_of(parts),
            remarks=tuple(remark for part in parts for remark in part.remarks),
            requests=len(parts),
        )

    def close(self) -> None:
        """Nothing is open."""

    def _entries(
        self, section: PersonFile | GroupFile, kind: Kind, wanted: Sequence[str], counter: "_Counter"
    ) -> Checked:
        file = File(section, self._folder)
        rows = read_rows(file, section.required, wanted, keep_empty=section.keep_empty, progress=counter.tell)
        checked = check_entries(rows, section, kind, wanted=wanted, where=file.label)
        counter.add(len(rows.frame))
        return checked

    def _edges(self, section: EdgeFile, counter: "_Counter") -> Checked:
        file = File(section, self._folder)
        rows = read_rows(file, section.required)
        checked = check_edges(rows, section, where=file.label)
        counter.add(0)
        return checked


def _named(section: FileSection, checked: Checked, folder: Path) -> str:
    """What people call the file, with what was recognised of its layout."""
    label = File(section, folder).label
    return f"{label} ({checked.layout})" if checked.layout else label


class _Counter:
    """Adds up the entries of several files."""

    def __init__(self, progress: Progress | None) -> None:
        self._progress = progress
        self._before = 0

    def tell(self, count: int) -> None:
        """So many entries of the present file have been read."""
        if self._progress is not None:
            self._progress(self._before + count)

    def add(self, count: int) -> None:
        """The present file is finished."""
        self._before += count


def _open_source(settings: CsvSettings, *, folder: Path) -> CsvSource:
    return CsvSource(settings, folder)


def _open_target(settings: FileTargetSettings, *, folder: Path, pace: Pace) -> Target:
    from connectors.kit import KitTarget

    return KitTarget(SYSTEM, settings, folder=folder, pace=pace)


CONNECTOR = Connector(
    name="csv",
    title="Files: CSV, TSV, JSON, JSON Lines, Parquet, Excel; sources also at any fsspec address",
    source_settings=CsvSettings,
    open_source=_open_source,
    target_settings=FileTargetSettings,
    open_target=_open_target,
)
