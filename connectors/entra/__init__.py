"""Microsoft Entra ID over Microsoft Graph: users, groups, memberships, managers, app assignments, by delta queries.

``system`` shows the connector whole.
"""

from connectors.entra.settings import EntraSettings, EntraTargetSettings
from connectors.registry import Connector, opened_by

_SYSTEM = "connectors.entra.system"

CONNECTOR = Connector(
    name="entra",
    title="Microsoft Entra ID over Microsoft Graph",
    source_settings=EntraSettings,
    open_source=opened_by(_SYSTEM, "open_source"),
    target_settings=EntraTargetSettings,
    open_target=opened_by(_SYSTEM, "open_target"),
)
