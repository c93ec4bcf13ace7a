"""Workday: employees and contingent workers by Get_Workers, with people before their first day. Needs the extra ``hr``.

``system`` shows the source whole, ``attributes`` what can be read; ``writeback`` is the target.
"""

from importlib import import_module
from typing import Any

from connectors.errors import SettingsError
from connectors.registry import Connector
from connectors.workday.settings import WorkdaySettings, WorkdayTargetSettings


def _opened(module: str, function: str) -> Any:
    def open_it(settings: Any, **options: Any) -> Any:
        try:
            return getattr(import_module(module), function)(settings, **options)
        except ModuleNotFoundError as error:
            if error.name != "lxml":
                raise
            raise SettingsError("The connector workday needs the package lxml: pip install 'provisor[hr]'.") from error

    return open_it


CONNECTOR = Connector(
    name="workday",
    title="Workday, by Get_Workers: employees and contingent workers; mail, phones and user names written back",
    source_settings=WorkdaySettings,
    open_source=_opened("connectors.workday.system", "open_source"),
    target_settings=WorkdayTargetSettings,
    open_target=_opened("connectors.workday.writeback", "open_target"),
)
