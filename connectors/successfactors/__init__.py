"""SAP SuccessFactors Employee Central: people by OData v2, with those who are to come. Needs the extra ``hr``.

``system`` shows the source whole, ``attributes`` what can be read; ``writeback`` is the target.
"""

from connectors.registry import Connector, opened_by
from connectors.successfactors.settings import SuccessFactorsSettings, SuccessFactorsTargetSettings

_SYSTEM = "connectors.successfactors.system"

CONNECTOR = Connector(
    name="successfactors",
    title="SAP SuccessFactors Employee Central, by OData; mail, phones and user names written back",
    source_settings=SuccessFactorsSettings,
    open_source=opened_by(_SYSTEM, "open_source"),
    target_settings=SuccessFactorsTargetSettings,
    open_target=opened_by("connectors.successfactors.writeback", "open_target"),
)
