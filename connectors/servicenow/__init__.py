"""ServiceNow over its Table API: users with department, location, company and manager; groups and roles.

``system`` shows the connector whole.
"""

from connectors.registry import Connector, opened_by
from connectors.servicenow.settings import ServiceNowSettings, ServiceNowTargetSettings

_SYSTEM = "connectors.servicenow.system"

CONNECTOR = Connector(
    name="servicenow",
    title="ServiceNow: users, groups and roles",
    source_settings=ServiceNowSettings,
    open_source=opened_by(_SYSTEM, "open_source"),
    target_settings=ServiceNowTargetSettings,
    open_target=opened_by(_SYSTEM, "open_target"),
)
