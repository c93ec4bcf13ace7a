"""A load that two processes send, by Dask: it comes to the same as without."""

import pickle
import re
import subprocess
import sys
from contextlib import suppress
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path
from urllib.parse import urlsplit

import orjson
import pandas as pd
import psutil
import pytest

from connectors.contract import Kind
from connectors.errors import UnreachableError
from flows.cycle.cluster import PROCESSES
from flows.cycle.preview import decide, look
from flows.cycle.systems import open_ledger, open_systems
from flows.show.plan_json import write_plan
from tasks.expressions import Context
from tasks.job import load_job
from tasks.mapping import map_entries
from tasks.scope import select
from tests.data.expected import desired_state
from tests.data.people import generate
from tests.flows.reading_back import differences, read_back
from tests.flows.workplace import Command, Workplace, writes
from tests.servers.scim_service import ScimService

JOB = "hr-to-scim"
BATCH_SIZE = 25
WITHIN_S = 300
"""Far more than it takes: a run that waits for ever is found out."""


@pytest.fixture
def spread(workplace: Workplace) -> Workplace:
    """A workplace whose job is loaded by two processes, also when half of it is done."""
    generate(people=500, groups=8, plain=True).write(workplace.export)
    return workplace.save(load={"batch_size": BATCH_SIZE, "concurrency": 8, "workers": "dask"})


def said_of_everybody() -> pd.DataFrame:
    """The provisioning log in the order of the changes; times are left out, and ids of the target are anchors."""
    with open_ledger() as ledger:
        lines = ledger.log(JOB, limit=None)
        anchors = {id_: anchor for kind in Kind for anchor, id_ in ledger.links(JOB, kind)["target_id"].items()}
    lines = lines.drop(columns=["id", "time", "duration_ms", "initiator", "source", "target"])
    lines["target_id"] = lines["target_id"].map(anchors)
    lines["modified"] = [
        re.sub("|".join(map(re.escape, anchors)), lambda found: anchors[found[0]], str(what))
        for what in lines["modified"]
    ]
    return lines.sort_values(["change_id", "kind", "anchor", "message"]).reset_index(drop=True)


@pytest.mark.usefixtures("plain_runs")
def test_it_comes_to_the_same_as_without(
    spread: Workplace, service: ScimService, prefect_api: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Accounts, memberships and every line of the log. Credentials are not among what the processes are given."""
    from flows.cycle.cluster import Loading
    from flows.cycle.lease import LEASE

    given = pickle.dumps(Loading(load_job(spread.job), "the target", fence=1, lease=LEASE))
    assert (b"SCIM_TOKEN" in given, b"a-token" in given) == (True, False)
    wanted = desired_state(spread.export)
    done = spread.call("run", str(spread.job), PREFECT_API_URL=prefect_api)
    assert done.status == 0, done.err
    assert differences(read_back(service.url), wanted) == []
    by_processes = said_of_everybody()

    with ScimService(max_page_size=500) as other:
        without = Workplace.make(tmp_path / "without", url=other.url).use(spread.export)
        without.save(load={"batch_size": 25, "concurrency": 8})
        monkeypatch.setenv("PROVISOR_HOME", str(without.home))
        assert without.cycle().exit_status == 0
        assert differences(read_back(other.url), wanted) == []
        assert other.requests["POST /Users"] == service.requests["POST /Users"] == len(wanted.users)
        pd.testing.assert_frame_equal(by_processes, said_of_everybody())


@pytest.mark.usefixtures("plain_runs")
def test_a_process_that_dies_stops_the_run_and_the_next_one_goes_on(
    spread: Workplace, service: ScimService, prefect_api: str
) -> None:
    """Killed without a word while both send: nothing is sent a second time before it was looked for."""
    wanted = desired_state(spread.export)
    service.set_fault("latency", seconds=0.1, method="POST")
    run = spread.start("run", str(spread.job), PREFECT_API_URL=prefect_api)
    try:
        while service.requests["POST /Users"] < 60 or not (senders := _caught_in_a_batch(run.pid, service)):
            with pytest.raises(subprocess.TimeoutExpired):  # a run that ends by itself fails the test here
                run.wait(0.05)
        senders[0].kill()
        senders[1].resume()
        out, err = run.communicate(timeout=WITHIN_S)
    finally:
        run.kill()
        run.communicate()
    assert (run.returncode, "Traceback" in err) == (4, False), err
    assert "One of the processes that work for the run died" in out + err
    there = len(service.users)
    assert 60 <= there < len(wanted.users)
    with open_ledger() as ledger:
        assert ledger.open_attempts(JOB)

    service.clear_fault()
    before = service.requests["POST /Users"]
    report = spread.save(load={}).cycle()
    assert report.exit_status == 0, report.message
    assert differences(read_back(service.url), wanted) == []
    assert service.requests["POST /Users"] - before == len(wanted.users) - there
    with open_ledger() as ledger:
        assert ledger.open_attempts(JOB) == []
    service.reset_counts()
    assert spread.cycle().exit_status == 0
    assert not writes(service)


def _senders(run: int, service: ScimService) -> list[psutil.Process]:
    """Processes of a run that are connected with the service, but for the run itself."""
    port = urlsplit(service.url).port
    return [
        one
        for one in psutil.Process(run).children(recursive=True)
        if any(connection.raddr and connection.raddr.port == port for connection in one.net_connections())
    ]


def _caught_in_a_batch(run: int, service: ScimService) -> list[psutil.Process]:
    """Both processes that send, held still, when each has a batch under way; else none, and nobody is held.

    One that is caught in the middle of a transaction keeps everybody out of the ledger, and is let go as well.
    """
    senders = _senders(run, service)
    for one in senders:
        one.suspend()
    with suppress(UnreachableError), open_ledger() as ledger:
        if len(senders) == PROCESSES and len(ledger.open_attempts(JOB)) > BATCH_SIZE:
            return senders
    for one in senders:
        one.resume()
    return []


@pytest.mark.usefixtures("prefect_api")
def test_two_processes_map_and_the_plan_is_the_same_byte_for_byte(
    workplace: Workplace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also of people who are there to break careless code; the run itself maps nothing then."""
    from flows.cycle.cluster import mapping

    job, context = load_job(workplace.job), Context(now=datetime(2026, 3, 15, tzinfo=UTC))
    with open_ledger() as ledger, open_systems(job) as systems, mapping(where=lambda *_: True) as mapper:
        seen = look(job, systems, ledger, context)
        plans = []
        for who in (map_entries, mapper):
            decision = decide(job, systems, seen.source, seen.sight, seen.recalled, seen.facts, context, mapper=who)
            write_plan(plan := BytesIO(), decision)
            plans.append(plan.getvalue())
            monkeypatch.setattr("tasks.partition.map_entries", None)
    assert plans[0] == plans[1]
    assert len(orjson.loads(plans[0])["changes"]) > 200


def test_what_is_mapped_quickly_is_mapped_here(workplace: Workplace, monkeypatch: pytest.MonkeyPatch) -> None:
    """To send entries to and fro takes longer than most mappings do; no process is started for these."""
    from flows.cycle import cluster

    job, context = load_job(workplace.job), Context(now=datetime(2026, 3, 15, tzinfo=UTC))
    with open_ledger() as ledger, open_systems(job) as systems:
        seen = look(job, systems, ledger, context)
    scoped = select(job.users, seen.source, Kind.USER, assignment=None, now=context.now)
    assert not cluster.pays(job.users, scoped, context)
    monkeypatch.setattr(cluster, "WORTHWHILE_S", 0)
    monkeypatch.setattr(cluster, "SENDING_S", 0)
    assert cluster.pays(job.users, scoped, context)


def test_without_the_package_it_is_said(spread: Workplace, provisor: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """At the line that asks for it, before anything is read."""
    monkeypatch.setitem(sys.modules, "prefect_dask", None)
    said = provisor("check", spread.job)
    assert said.status == 2
    assert "prefect-dask is not installed here" in said.out + said.err
