"""Microsoft Entra ID over Microsoft Graph: users, groups, memberships, managers, app assignments, by delta queries.

``system`` shows the connector whole.
"""

from typing import Any

from connectors.entra.settings import EntraSettings, EntraTargetSettings
from connectors.registry import Connector


def _open_source(settings: Any, **options: Any) -> Any:
    from connectors.entra.system import open_source

    return open_source(settings, **options)


def _open_target(settings: Any, **options: Any) -> Any:
    from connectors.entra.system import open_target

    return open_target(settings, **options)


CONNECTOR = Connector(
    name="entra",
    title="Microsoft Entra ID over Microsoft Graph",
    source_settings=EntraSettings,
    open_source=_open_source,
    target_settings=EntraTargetSettings,
    open_target=_open_target,
)
