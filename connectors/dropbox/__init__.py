"""Dropbox teams over the native team API: members with seats, states and admin roles, and groups.

``system`` shows the connector whole.
"""

from connectors.dropbox.settings import DropboxSettings, DropboxTargetSettings
from connectors.registry import Connector, opened_by

_SYSTEM = "connectors.dropbox.system"

CONNECTOR = Connector(
    name="dropbox",
    title="Dropbox teams: members, admin roles and groups",
    source_settings=DropboxSettings,
    open_source=opened_by(_SYSTEM, "open_source"),
    target_settings=DropboxTargetSettings,
    open_target=opened_by(_SYSTEM, "open_target"),
)
