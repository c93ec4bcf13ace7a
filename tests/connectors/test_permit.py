"""A session asks before every request whether it may still send, and sends nothing after a no."""

import asyncio
import time
from pathlib import Path

import pytest

from connectors.contract import Action, Change, Kind, Outcome, Pace, Status
from connectors.scim.connector import ScimTarget
from connectors.scim.settings import ScimTargetSettings
from tests.servers.scim_service import ScimService


class Countdown:
    """A permit that ends after so many requests."""

    def __init__(self, requests: int) -> None:
        self.left = requests

    def __call__(self) -> bool:
        self.left -= 1
        return self.left >= 0


def apply(
    service: ScimService, tmp_path: Path, permit: Countdown, count: int, monkeypatch: pytest.MonkeyPatch
) -> list[Outcome]:
    """Creates so many users, and gives what was told of them."""
    monkeypatch.setenv("SCIM_TOKEN", "a-token")
    settings = ScimTargetSettings.model_validate({"url": service.url, "auth": {"bearer": "${env:SCIM_TOKEN}"}})
    target = ScimTarget(settings, folder=tmp_path, pace=Pace(concurrency=4, permit=permit))
    changes = [
        Change(f"c{number}", Kind.USER, Action.CREATE, f"a{number}", None, {"userName": f"u{number}@example.com"})
        for number in range(count)
    ]
    outcomes: list[Outcome] = []
    try:
        target.apply(changes, outcomes.append)
    finally:
        target.close()
    return outcomes


@pytest.mark.parametrize("requests", [0, 3, 12, 17])
@pytest.mark.parametrize("quirks", [{}, {"bulk": "honoured"}])
def test_nothing_is_sent_without_a_permit(
    tmp_path: Path, requests: int, quirks: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not the rest of a batch, not a repetition, not a look at what was done; and each change is told of once."""
    with ScimService() as service:
        outcomes = apply(service, tmp_path, Countdown(requests), 40, monkeypatch)
        assert sum(service.requests.values()) == requests
        done = {one.change_id for one in outcomes if one.status in (Status.DONE, Status.UNKNOWN)}
        assert len(service.users) <= len(done)
        assert sorted(one.change_id for one in outcomes) == sorted(f"c{number}" for number in range(40))
        assert {one.status for one in outcomes} <= {Status.DONE, Status.UNKNOWN, Status.NOT_SENT}


def test_a_request_that_waited_for_its_turn_is_asked_about_when_its_turn_comes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The permit ends while the first requests are under way: those that wait behind them are never sent."""
    with ScimService() as service:
        permit = Countdown(1_000)
        service.set_fault("latency", method="POST", seconds=0.3)

        def end_it() -> None:
            while service.engine.most_in_flight < 4:
                time.sleep(0.005)
            permit.left = 0

        loop = asyncio.new_event_loop()
        ending = loop.run_in_executor(None, end_it)
        outcomes = apply(service, tmp_path, permit, 40, monkeypatch)
        loop.run_until_complete(ending)
        loop.close()
        assert service.requests["POST /Users"] == len(service.users) <= 1 + 4  # the first is created alone
        assert [one.status for one in outcomes].count(Status.NOT_SENT) >= 35
