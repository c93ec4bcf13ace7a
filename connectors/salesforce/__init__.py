"""Salesforce over its REST API: users with profile and role, permission sets and their groups, public groups.

``system`` shows the connector whole.
"""

from connectors.registry import Connector, opened_by
from connectors.salesforce.settings import SalesforceSettings, SalesforceTargetSettings

_SYSTEM = "connectors.salesforce.system"

CONNECTOR = Connector(
    name="salesforce",
    title="Salesforce: users, permission sets and public groups",
    source_settings=SalesforceSettings,
    open_source=opened_by(_SYSTEM, "open_source"),
    target_settings=SalesforceTargetSettings,
    open_target=opened_by(_SYSTEM, "open_target"),
)
