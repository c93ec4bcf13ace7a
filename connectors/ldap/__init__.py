"""Directories: OpenLDAP, 389 Directory Server and others by their standard, and Active Directory with all its own.

``system`` shows the connector whole. python-ldap is imported when a connection is opened, so that everything else works
without it.
"""

from functools import partial
from typing import Any

from connectors.ldap.settings import DirectorySettings, DirectoryTargetSettings, LdapSettings, TargetSettings
from connectors.registry import Connector


def _open(side: str, name: str, settings: Any, **options: Any) -> Any:
    from connectors.ldap import system

    return (system.open_source if side == "source" else system.open_target)(name, settings, **options)


CONNECTOR = Connector(
    name="ldap",
    title="LDAP directories: OpenLDAP, 389 Directory Server and others",
    source_settings=DirectorySettings,
    open_source=partial(_open, "source", "ldap"),
    target_settings=DirectoryTargetSettings,
    open_target=partial(_open, "target", "ldap"),
)

ACTIVE_DIRECTORY = Connector(
    name="active-directory",
    title="Active Directory: Windows Server and Samba domain controllers",
    source_settings=LdapSettings,
    open_source=partial(_open, "source", "active-directory"),
    target_settings=TargetSettings,
    open_target=partial(_open, "target", "active-directory"),
)
