"""SCIM 2.0 services, as target and as source.

Source: RFC 7643 (schema), RFC 7644 (protocol).
"""

from pathlib import Path

from connectors.contract import Pace, Source, Target
from connectors.registry import Connector
from connectors.scim.settings import ScimSourceSettings, ScimTargetSettings


def _open_source(settings: ScimSourceSettings, *, folder: Path) -> Source:
    from connectors.scim.connector import ScimSource

    return ScimSource(settings, folder=folder)


def _open_target(settings: ScimTargetSettings, *, folder: Path, pace: Pace) -> Target:
    from connectors.scim.connector import ScimTarget

    return ScimTarget(settings, folder=folder, pace=pace)


CONNECTOR = Connector(
    name="scim",
    title="any service that speaks SCIM 2.0",
    source_settings=ScimSourceSettings,
    open_source=_open_source,
    target_settings=ScimTargetSettings,
    open_target=_open_target,
)
