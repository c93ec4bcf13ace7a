"""Salesforce over its REST API: users with profile and role, permission sets and their groups, public groups.

``system`` shows the connector whole.
"""

from typing import Any

from connectors.registry import Connector
from connectors.salesforce.settings import SalesforceSettings, SalesforceTargetSettings


def _open_source(settings: Any, **options: Any) -> Any:
    from connectors.salesforce.system import open_source

    return open_source(settings, **options)


def _open_target(settings: Any, **options: Any) -> Any:
    from connectors.salesforce.system import open_target

    return open_target(settings, **options)


CONNECTOR = Connector(
    name="salesforce",
    title="Salesforce: users, permission sets and public groups",
    source_settings=SalesforceSettings,
    open_source=_open_source,
    target_settings=SalesforceTargetSettings,
    open_target=_open_target,
)
