"""Workday: employees and contingent workers by Get_Workers, with people before their first day. Needs the extra ``hr``.

``system`` shows the connector whole, ``attributes`` what can be read.
"""

from typing import Any

from connectors.errors import SettingsError
from connectors.registry import Connector
from connectors.workday.settings import WorkdaySettings


def _open_source(settings: Any, **options: Any) -> Any:
    try:
        from connectors.workday.system import open_source
    except ModuleNotFoundError as error:
        if error.name != "lxml":
            raise
        raise SettingsError("The connector workday needs the package lxml: pip install 'provisor[hr]'.") from error
    return open_source(settings, **options)


CONNECTOR = Connector(
    name="workday",
    title="Workday, by Get_Workers: employees and contingent workers",
    source_settings=WorkdaySettings,
    open_source=_open_source,
)
