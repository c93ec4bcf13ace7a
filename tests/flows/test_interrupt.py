"""A run that is interrupted while it loads ends within seconds, leaves a ledger that says what is open, and the next
one goes on.

The interrupted run is a process with Prefect; those after it are plain. With Dask, SIGTERM belongs to the long form
(``PROVISOR_LONG=1``): both signals reach the run alone, which halts its processes in one and the same way.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
import sqlalchemy as sa
from prefect.exceptions import ObjectNotFound

from flows.cycle.systems import open_ledger
from tests.data.expected import desired_state
from tests.flows.reading_back import differences, read_back
from tests.flows.workplace import COMMAND, ROOT, Said, Workplace
from tests.servers.scim_service import ScimService

pytestmark = pytest.mark.usefixtures("prefect_api", "plain_runs")

JOB = "hr-to-scim"
LONG = bool(os.environ.get("PROVISOR_LONG"))
WITHIN_S = 60
"""Far more than it takes: a run that waits for ever is found out."""


def attempts() -> dict[str, str]:
    """Every attempt there ever was, and its status, by the change's id."""
    with open_ledger() as ledger, ledger._database.reading() as connection:
        return {row.change_id: row.status for row in connection.execute(sa.text("SELECT * FROM attempt"))}


def interrupted(
    small: Workplace, api: str, when: Callable[[], bool], how: signal.Signals, *words: str, **load: Any
) -> tuple[Said, float]:
    """Interrupts a run as soon as something is true; gives what it said, and how long its end took."""
    small.save(load={"batch_size": 40, "concurrency": 4, **load})
    process = small.start("run", str(small.job), *words, PREFECT_API_URL=api)
    try:
        while not when():
            with pytest.raises(subprocess.TimeoutExpired):  # a run that ends by itself fails the test here
                process.wait(0.01)
        began = time.monotonic()
        process.send_signal(how)
        out, err = process.communicate(timeout=WITHIN_S)
        return Said(process.returncode, out, err), time.monotonic() - began
    finally:
        process.kill()
        process.communicate()


def next_run_goes_on(small: Workplace, service: ScimService) -> None:
    """The next cycle ends in the desired state, and the one after it has nothing to do."""
    service.clear_fault()
    wanted = desired_state(small.export)
    assert small.cycle().exit_status == 0
    assert differences(read_back(service.url), wanted) == []
    names = [user["userName"].lower() for user in service.users.values()]
    assert len(set(names)) == len(names) == len(wanted.users)
    with open_ledger() as ledger:
        assert ledger.open_attempts(JOB) == []
    service.reset_counts()
    assert small.cycle().exit_status == 0
    assert not [request for request in service.requests if not request.startswith("GET")]


def creates(service: ScimService) -> int:
    return service.requests["POST /Users"]


def slow_down(service: ScimService) -> None:
    """The service is quick at first and then so slow that a load which goes on takes more than a minute: what was sent
    tells whether it was interrupted, on a busy machine too.
    """
    service.set_fault("latency", seconds=0.05, method="POST,PATCH")
    service.set_fault("latency", label="slow", seconds=1.5, method="POST,PATCH", after=45)


ALL = 229
"""Creates of a load that is not interrupted."""


@pytest.mark.parametrize(
    ("how", "workers"),
    [
        pytest.param(signal.SIGTERM, "threads", id="cancelled"),
        pytest.param(signal.SIGINT, "threads", id="Ctrl-C"),
        pytest.param(signal.SIGINT, "dask", id="Ctrl-C, processes"),
        *([pytest.param(signal.SIGTERM, "dask", id="cancelled, processes")] if LONG else []),
    ],
)
def test_what_is_under_way_is_finished_and_nothing_else_is_open(
    small: Workplace, service: ScimService, prefect_api: str, how: signal.Signals, workers: str
) -> None:
    """Requests that were sent get their answers, the others were never about to be sent: no attempt stays open."""
    slow_down(service)
    said, took_s = interrupted(small, prefect_api, lambda: creates(service) > 50, how, workers=workers)
    print(f"ended {took_s:.1f} s after {how.name}")
    sent = creates(service)
    assert sent < ALL, "it went on sending"
    with open_ledger() as ledger:
        cycle = ledger.last_cycle(JOB)
        assert cycle is not None
        assert (cycle.state, cycle.message.split(";")[0]) == ("stopped", "Stopped: Interrupted")
        assert cycle.counts["created"] == sent, said.err
        assert ledger.open_attempts(JOB) == []
    assert len(attempts()) == sent
    assert "Traceback" not in said.err
    next_run_goes_on(small.save(load={}), service)


@pytest.mark.parametrize("commit", ["after", "before"])
def test_what_is_never_answered_is_all_that_stays_open(
    small: Workplace, service: ScimService, prefect_api: str, commit: str
) -> None:
    """Requests that hang are given up after some seconds; they, and no others, are looked for by the next run, and
    nobody has failed or has to wait because of them.
    """
    service.set_fault("hang", method="POST", path="^/Users", after=50, commit=commit, seconds=600)
    hung = service.faults["hang"]
    _, took_s = interrupted(small, prefect_api, lambda: hung.struck >= 4, signal.SIGTERM)
    print(f"ended {took_s:.1f} s after SIGTERM")
    assert hung.struck == 4
    with open_ledger() as ledger:
        assert len(ledger.open_attempts(JOB)) == 4
        assert ledger.escrows(JOB) == []
    service.drop_connections()
    assert len(attempts()) == creates(service)
    next_run_goes_on(small, service)


@pytest.mark.parametrize(
    ("fault", "settings"),
    [("too_many_requests", {"seconds": 100}), ("error", {"status": 503, "retry_after": "seconds", "seconds": 100})],
    ids=["after 429", "after 503"],
)
def test_waiting_is_over_at_once(
    small: Workplace, service: ScimService, prefect_api: str, fault: str, settings: dict[str, Any]
) -> None:
    """A run that waits because it was asked to does not wait any more, and what was refused was not sent."""
    # The first of its kind goes alone, and is looked at; so does a create with an attribute that those before had not.
    method, seen = ("POST", 20) if fault == "too_many_requests" else ("PATCH", 1)
    service.set_fault("latency", method=method, seconds=0.3)  # four are under way before the first one is answered
    service.set_fault(fault, method=method, after=seen, **settings)
    switch = service.faults[fault]
    _, took_s = interrupted(small, prefect_api, lambda: switch.struck >= 4, signal.SIGTERM)
    print(f"ended {took_s:.1f} s after SIGTERM")
    assert switch.struck == 4
    with open_ledger() as ledger:
        cycle = ledger.last_cycle(JOB)
        assert cycle is not None
        assert cycle.state == "stopped"
        assert len(ledger.open_attempts(JOB)) == (0 if fault == "too_many_requests" else 4)
    next_run_goes_on(small, service)


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT], ids=["cancelled", "Ctrl-C"])
def test_reading_is_interrupted_too(
    small: Workplace, service: ScimService, prefect_api: str, how: signal.Signals
) -> None:
    """A run that waits before it has read everything has nothing to finish."""
    service.set_fault("too_many_requests", method="GET", path="^/Users", seconds=100)
    _, took_s = interrupted(small, prefect_api, lambda: service.faults["too_many_requests"].struck > 0, how)
    print(f"ended {took_s:.1f} s after {how.name}")
    with open_ledger() as ledger:
        cycle = ledger.last_cycle(JOB)
        assert cycle is not None
        assert cycle.state == "stopped"
    assert not attempts()
    next_run_goes_on(small, service)


def test_the_one_document_is_written_also_then(small: Workplace, service: ScimService, prefect_api: str) -> None:
    """It says what was done, and the status that the command ends with."""
    service.set_fault("latency", seconds=0.2, method="POST,PATCH")
    said, _ = interrupted(small, prefect_api, lambda: creates(service) >= 20, signal.SIGINT, "--json")
    document = said.document
    assert document["exit_status"] == said.status == 130
    assert (document["state"], document["counts"]["created"]) == ("stopped", creates(service))
    assert document["error"].startswith("Interrupted")


def test_a_terminal_interrupts_the_run_and_not_its_api(small: Workplace, service: ScimService) -> None:
    """Ctrl-C reaches every process of the terminal; the local API lives on until the run has said how it ended."""
    service.set_fault("latency", seconds=0.2, method="POST,PATCH")
    small.save(load={"batch_size": 40, "concurrency": 4})
    process = subprocess.Popen(
        [str(COMMAND), "run", str(small.job)],
        cwd=small.folder,
        env=small.environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        while creates(service) < 20:
            with pytest.raises(subprocess.TimeoutExpired):
                process.wait(0.01)
        os.killpg(process.pid, signal.SIGINT)
        out, err = process.communicate(timeout=WITHIN_S)
    finally:
        process.kill()
        process.communicate()
    assert process.returncode == 130
    assert "Interrupted; what was sent is recorded" in out
    assert "Traceback" not in err
    with open_ledger() as ledger:
        assert ledger.open_attempts(JOB) == []


SERVE = """
import sys
from flows.provision import provision

provision.serve(name="cancelled", parameters={"job": sys.argv[1]}, print_starting_message=False)
"""


def test_a_run_that_is_cancelled_in_the_ui(small: Workplace, service: ScimService, prefect_api: str) -> None:
    """Whoever runs deployments ends the run's process when somebody cancels it: it ends as a cancelled one, with
    nothing open, and its job is free.
    """
    from prefect.client.orchestration import get_client
    from prefect.states import Cancelling, Scheduled

    slow_down(service)
    small.save(load={"batch_size": 40, "concurrency": 4})
    runner = subprocess.Popen(
        [sys.executable, "-c", SERVE, str(small.job)],
        cwd=ROOT,
        env=small.environment(PREFECT_API_URL=prefect_api, PREFECT_RUNNER_POLL_FREQUENCY="1"),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        with get_client(sync_client=True) as client:
            run = None
            while creates(service) < 50:
                with pytest.raises(subprocess.TimeoutExpired):
                    runner.wait(0.2)
                if run is None:
                    with suppress(ObjectNotFound):
                        deployment = client.read_deployment_by_name("provision/cancelled")
                        run = client.create_flow_run_from_deployment(deployment.id, state=Scheduled())
            assert run is not None
            began = time.monotonic()
            client.set_flow_run_state(run.id, Cancelling(), force=True)
            while not (state := client.read_flow_run(run.id).state).is_final():
                with pytest.raises(subprocess.TimeoutExpired):
                    runner.wait(0.1)
            print(f"ended {time.monotonic() - began:.1f} s after it was cancelled")
            assert state.is_cancelled(), state
    finally:
        runner.terminate()
        runner.wait(60)
    with open_ledger() as ledger:
        cycle = ledger.last_cycle(JOB)
        assert cycle is not None
        assert cycle.state == "stopped"
        assert ledger.open_attempts(JOB) == []
    assert len(attempts()) == creates(service) < ALL
    next_run_goes_on(small, service)
