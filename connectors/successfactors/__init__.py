"""SAP SuccessFactors Employee Central: people by OData v2, with those who are to come. Needs the extra ``hr``.

``system`` shows the connector whole, ``attributes`` what can be read.
"""

from typing import Any

from connectors.registry import Connector
from connectors.successfactors.settings import SuccessFactorsSettings


def _open_source(settings: Any, **options: Any) -> Any:
    from connectors.successfactors.system import open_source

    return open_source(settings, **options)


CONNECTOR = Connector(
    name="successfactors",
    title="SAP SuccessFactors Employee Central, by OData",
    source_settings=SuccessFactorsSettings,
    open_source=_open_source,
)
