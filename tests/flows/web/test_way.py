"""A person's page leads through all jobs of a chain: HR to the directory, the directory to an app."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd
import pytest

from connectors.contract import Kind
from flows.serve.web import pages_looking
from flows.serve.web.way import Stop, way_of
from tasks.job import Job
from tasks.ledger import CycleKind, Known, Ledger
from tests.flows.web.conftest import Served

NOW = datetime(2026, 3, 10, tzinfo=UTC)
PLACES = {"hr-to-ad": ("hr", "ad"), "ad-to-apps": ("ad", "apps"), "ad-to-mail": ("ad", "mail"), "other": ("hr", "ad")}
CHAIN = ["hr-to-ad", "ad-to-apps", "ad-to-mail", "other"]


def job(name: str) -> Job:
    read, written = PLACES[name]
    people = {"table": "account", "key": "id"}
    after = {"after": "hr-to-ad"} if read == "ad" else {"every": "1d"}
    return Job.model_validate(
        {
            "name": name,
            "source": {"connector": "sql", "url": f"sqlite:///{read}.db", "users": people},
            "target": {"connector": "sql", "url": f"sqlite:///{written}.db", "users": people},
            "users": {"matching": [{"source": "[name]", "target": "name"}], "attributes": {"name": "[name]"}},
            "schedule": after,
        }
    )


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with Ledger.open(None, tmp_path) as opened:
        for name, anchor, target in (
            ("hr-to-ad", "21001", "guid-1"),
            ("ad-to-apps", "guid-1", "app-7"),
            ("ad-to-mail", "guid-1", "box-9"),
            ("other", "guid-1", "x"),
        ):
            cycle = opened.begin_cycle(name, CycleKind.INITIAL, fingerprint="f", now=NOW)
            frame = pd.DataFrame({"target_id": [target]}, index=pd.Index([anchor], dtype="str"), dtype="str")
            opened.put_links(name, Kind.USER, frame, cycle_id=cycle.id, now=NOW)
            opened.directory.put(name, [Known(Kind.USER, anchor, "Ada")])
        yield opened


def test_the_way_is_the_same_from_each_of_its_ends(ledger: Ledger) -> None:
    """By the account that one job makes and the next one reads; a job that is in no chain is not on it, although it
    knows the same key."""
    files = {name: job(name) for name in CHAIN}

    def way(name: str, anchor: str, may_see: list[str]) -> list[Stop]:
        return way_of(ledger, files, may_see, Kind.USER, name, anchor)

    assert way("hr-to-ad", "21001", CHAIN) == [
        Stop("hr-to-ad", "21001", here=True),
        Stop("ad-to-apps", "guid-1"),
        Stop("ad-to-mail", "guid-1"),
    ]
    assert way("ad-to-apps", "guid-1", CHAIN) == [Stop("hr-to-ad", "21001"), Stop("ad-to-apps", "guid-1", here=True)]
    assert way("other", "guid-1", CHAIN) == way("hr-to-ad", "99", CHAIN) == []
    assert way("hr-to-ad", "21001", ["hr-to-ad"]) == []  # what a reader may not see is on no way


def test_the_page_shows_the_way(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """The job that the page is about is no link."""
    stops = [Stop("hr-to-scim", "000004", here=True), Stop("scim-to-apps", "id/1")]
    monkeypatch.setattr(pages_looking, "way_of", lambda *_: stops)
    page = served.client("hella").get("/people/hr-to-scim/000004").text
    assert 'Through the jobs: <b>hr-to-scim</b> → <a href="/people/scim-to-apps/?key=id%2F1">scim-to-apps</a>' in page
