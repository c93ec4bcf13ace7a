"""Which connectors there are, found by name and imported only when a job names them.

Built-in connectors are listed here; anybody else's join by an entry point of the group ``provisor.connectors`` whose
name is the connector's name and whose object is a :class:`Connector`.
"""

import difflib
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any

from connectors.errors import SettingsError
from connectors.settings import Settings

if TYPE_CHECKING:  # the contract imports pandas; names and settings must not wait for that
    from connectors.contract import Pace, Source, Target

ENTRY_POINT_GROUP = "provisor.connectors"

BUILT_IN: dict[str, str] = {
    "active-directory": "connectors.ldap.active_directory",
    "bamboohr": "connectors.bamboohr",
    "csv": "connectors.csv",
    "dropbox": "connectors.dropbox",
    "entra": "connectors.entra",
    "hibob": "connectors.hibob",
    "ldap": "connectors.ldap",
    "personio": "connectors.personio",
    "salesforce": "connectors.salesforce",
    "scim": "connectors.scim",
    "servicenow": "connectors.servicenow",
    "sql": "connectors.sql",
    "successfactors": "connectors.successfactors",
    "workday": "connectors.workday",
    "workday-report": "connectors.workday.report",
}
"""Connector name to the module that holds its ``CONNECTOR``."""


@dataclass(frozen=True, slots=True)
class Connector:
    """What a connector brings: its settings and how to open it, as a source, as a target, or both.

    The opening functions take the validated settings and ``folder``, the job file's folder, from which relative paths
    and ``${file:}`` references are looked up; a target also takes its ``pace``. They do not touch the network or the
    disk: ``check`` and ``read`` do.
    """

    name: str
    title: str
    """One line for the connector table."""
    source_settings: type[Settings] | None = None
    open_source: "Callable[..., Source] | None" = None
    target_settings: type[Settings] | None = None
    open_target: "Callable[..., Target] | None" = None


def opened_by(module: str, function: str) -> Callable[..., Any]:
    """A function of a module that is imported at its first call, so that a name and settings are known at once."""

    def open_it(settings: Settings, **options: Any) -> Any:
        return getattr(import_module(module), function)(settings, **options)

    return open_it


def names() -> list[str]:
    """Names of all connectors that can be used here, sorted."""
    return sorted({*BUILT_IN, *(point.name for point in entry_points(group=ENTRY_POINT_GROUP))})


def find(name: str) -> Connector:
    """The connector of this name.

    Raises: SettingsError with the nearest name when there is none, or with what is missing when it cannot be imported.
    """
    points = (
        [] if name in BUILT_IN else [point for point in entry_points(group=ENTRY_POINT_GROUP) if point.name == name]
    )
    if name not in BUILT_IN and not points:
        near = difflib.get_close_matches(name.lower(), names(), n=1)
        hint = f"Did you mean {near[0]}?" if near else f"There are: {', '.join(names())}."
        raise SettingsError(f"There is no connector named {name!r}. {hint}")
    try:
        connector: Any = points[0].load() if points else import_module(BUILT_IN[name]).CONNECTOR
    except (ImportError, AttributeError) as error:
        raise SettingsError(
            f"The connector {name} cannot be loaded: {error}. Is everything it needs installed?"
        ) from error
    if not isinstance(connector, Connector):
        raise SettingsError(f"The entry point of connector {name!r} is not a connectors.registry.Connector.")
    return connector


def open_source(name: str, settings: Settings, *, folder: Path) -> "Source":
    """The connector of this name, opened as a source. Raises: SettingsError when it cannot be one."""
    connector = find(name)
    if connector.open_source is None:
        raise SettingsError(f"The connector {name} cannot be a source.")
    return connector.open_source(settings, folder=folder)


def open_target(name: str, settings: Settings, *, folder: Path, pace: "Pace | None" = None) -> "Target":
    """The connector of this name, opened as a target. Raises: SettingsError when it cannot be one."""
    connector = find(name)
    if connector.open_target is None:
        raise SettingsError(f"The connector {name} cannot be a target.")
    if pace is None:
        from connectors.contract import Pace

        pace = Pace()
    return connector.open_target(settings, folder=folder, pace=pace)
