"""Several workers load one target: together they are no quicker than it allows, and nobody waits for the others."""

import os
import subprocess
import sys
import threading
from datetime import UTC, datetime
from pathlib import Path

import pytest

from flows.cycle.pace import PRESENT, Share, sharing
from tasks.ledger import Ledger, LedgerError
from tests.flows.workplace import ROOT
from tests.servers.scim_service import ScimService

RATE, EACH = 40, 240

WORKER = """
import asyncio, os, sys
from datetime import UTC, datetime
from pathlib import Path
from connectors.contract import Pace
from connectors.http import Call, Effect, HttpSession
from connectors.http_settings import HttpSettings
from flows.cycle.pace import Share, sharing
from tasks.ledger import Ledger

name, url, rate, number = sys.argv[1], sys.argv[2], float(sys.argv[3]), int(sys.argv[4])

def create(one):
    body = b'{"schemas":["urn:ietf:params:scim:schemas:core:2.0:User"],"userName":"%s"}' % f"{name}-{one}".encode()
    return Call("POST", "/Users", "create", effect=Effect.ONCE, body=body)

async def load(share):
    settings = HttpSettings.model_validate({"url": url, "auth": {"bearer": "${env:SCIM_TOKEN}"}})
    session = HttpSession(settings, folder=Path(), pace=Pace(concurrency=16, rate_per_s=rate, share=share))
    answers = await asyncio.gather(*(session.send(create(one)) for one in range(number)))
    await session.close()
    assert {answer.status for answer in answers} == {201}

with Ledger.open(None, Path(os.environ["PROVISOR_HOME"])) as ledger:
    share = Share()
    print("ready", flush=True)
    sys.stdin.readline()
    with sharing(ledger, url, name, share, clock=lambda: datetime.now(UTC)):
        asyncio.run(load(share))
"""


def worker(name: str, url: str, home: Path) -> "subprocess.Popen[str]":
    """A process that is about to load the target."""
    return subprocess.Popen(
        [sys.executable, "-c", WORKER, name, url, str(RATE), str(EACH)],
        env=os.environ | {"PYTHONPATH": str(ROOT), "PROVISOR_HOME": str(home), "SCIM_TOKEN": "a-token"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def test_two_processes_share_what_a_target_allows(tmp_path: Path) -> None:
    """The target counts: it hardly ever has to refuse a request, although each of the two may use all of its rate, and
    both get their part of it for as long as both are at work.
    """
    with ScimService() as service:
        service.set_fault("token_bucket", rate_per_s=RATE, burst=RATE // 2, headers="none")
        Ledger.open(None, tmp_path).close()
        workers = [worker(name, service.url, tmp_path) for name in ("one", "two")]
        try:
            for process in workers:
                assert process.stdout is not None
                assert process.stdout.readline() == "ready\n"
            for process in workers:
                assert process.stdin is not None
                process.stdin.write("go\n")
                process.stdin.flush()
            for process in workers:
                process.communicate(timeout=120)
                assert process.returncode == 0
        finally:
            for process in workers:
                process.kill()
        assert service.statuses[201] == 2 * EACH
        assert service.statuses[429] <= EACH // 40, "a machine that is busy may let a look at the others come late"
        senders = [request.json()["userName"].partition("-")[0] for request in service.log]
    both = senders[senders.index("two") if senders[0] == "one" else senders.index("one") :]
    first_to_end = max("one", "two", key=lambda name: -_last(both, name))
    both = both[: _last(both, first_to_end) + 1]
    assert min(both.count("one"), both.count("two")) > len(both) / 4


def _last(names: list[str], name: str) -> int:
    return len(names) - 1 - names[::-1].index(name)


class WatchedLedger(Ledger):
    """Says when somebody has looked; is away on purpose now and then."""

    away = False

    def watch(self) -> "WatchedLedger":
        self.looked = threading.Semaphore(0)
        return self

    def share_pace(self, *args: str, **more: object) -> int:
        try:
            if self.away:
                raise LedgerError("the database is away")
            return super().share_pace(*args, **more)  # type: ignore[arg-type]
        finally:
            self.looked.release()


def test_who_comes_and_goes_is_seen(tmp_path: Path) -> None:
    """A share shrinks when somebody joins, stays while the ledger is away, and grows when the other has left."""
    now = datetime(2026, 3, 2, tzinfo=UTC)
    with WatchedLedger.open(None, tmp_path) as ledger, Ledger.open(None, tmp_path) as other:
        share = Share()

        def look() -> None:
            for _ in range(2):  # the first may have begun before
                assert ledger.looked.acquire(timeout=30)

        with sharing(ledger.watch(), "scim a", "hr", share, clock=lambda: now, patient=False, every_s=0.001):
            assert share() == 1
            other.share_pace("scim a", "crm", now=now, duration=PRESENT)
            look()
            while ledger.looked.acquire(blocking=False):
                pass
            look()
            assert share() == 0.5
            ledger.away = True
            look()
            assert share() == 0.5
            ledger.away = False
            other.leave_pace("scim a", "crm")
            while ledger.looked.acquire(blocking=False):
                pass
            look()
            assert share() == 1
        assert other.share_pace("scim a", "crm", now=now, duration=PRESENT) == 1


def test_an_interruption_leaves_nobody_behind(tmp_path: Path) -> None:
    """A run that ends badly does not count any more."""
    now = datetime(2026, 3, 2, tzinfo=UTC)
    with Ledger.open(None, tmp_path) as ledger:
        with (
            pytest.raises(KeyboardInterrupt),
            sharing(ledger, "scim a", "hr", Share(), clock=lambda: now, patient=False),
        ):
            raise KeyboardInterrupt
        assert ledger.share_pace("scim a", "crm", now=now, duration=PRESENT) == 1
