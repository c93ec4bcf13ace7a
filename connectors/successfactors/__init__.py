"""SAP SuccessFactors Employee Central: people by OData v2, with those who are to come. Needs the extra ``hr``.

``system`` shows the connector whole, ``attributes`` what can be read.
"""

from connectors.registry import Connector, opened_by
from connectors.successfactors.settings import SuccessFactorsSettings

_SYSTEM = "connectors.successfactors.system"

CONNECTOR = Connector(
    name="successfactors",
    title="SAP SuccessFactors Employee Central, by OData",
    source_settings=SuccessFactorsSettings,
    open_source=opened_by(_SYSTEM, "open_source"),
)
