"""A target on a service of our own, with time that passes at once."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from connectors.contract import Pace
from connectors.scim.connector import ScimTarget
from connectors.scim.settings import ScimTargetSettings
from connectors.throttle import Clock
from tests.connectors.clocks import FakeClock
from tests.servers.scim_service import ScimService

Opener = Callable[..., ScimTarget]


@pytest.fixture(autouse=True)
def _token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCIM_TOKEN", "a-token")


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def service() -> Iterator[ScimService]:
    with ScimService() as running:
        yield running


@pytest.fixture
def open_target(clock: FakeClock) -> Iterator[Opener]:
    """Opens targets by address and closes them at the end."""
    opened: list[ScimTarget] = []

    def opener(url: str, *, pace: Pace | None = None, clock: Clock = clock, **settings: object) -> ScimTarget:
        chosen = ScimTargetSettings.model_validate({"url": url, "auth": {"bearer": "${env:SCIM_TOKEN}"}, **settings})
        target = ScimTarget(chosen, folder=Path(), pace=pace or Pace(), clock=clock)
        opened.append(target)
        return target

    yield opener
    for target in opened:
        target.close()


@pytest.fixture
def target(service: ScimService, open_target: Opener) -> ScimTarget:
    return open_target(service.url)
