"""An independent check of the log: whole lives full of trouble, held against what the service itself has committed.

In every cycle of a life something happens in the company, and something goes wrong: the run is killed, or stopped and
overtaken, answers are lost, lists and answers are late. The service takes doubles. When the trouble is over, the app
must be as the company says, the ledger at rest, and the provisioning log must have exactly one line for each change
that the service has committed, and none for others. 2 lives on each database in the short form, 100 with
``PROVISOR_LONG=1``.
"""

import os
import random
import shutil
import signal
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import timedelta
from itertools import count
from pathlib import Path

import pytest

from flows.cycle.lease import LEASE
from flows.cycle.systems import open_ledger
from tests.faults.company import JOB, Company, Person, group, person
from tests.faults.conftest import Bench
from tests.faults.findings import strangers_of, wrong_in_the_app, wrong_in_the_ledger, wrong_in_the_log
from tests.faults.killing import Death, trap
from tests.faults.lateness import Lateness, lateness
from tests.faults.nursery import Nursery
from tests.faults.stopping import stopped
from tests.servers.scim_service import ScimService
from tests.servers.starting import DatabaseServer

DATABASES = ("sqlite", "postgresql")
LIVES: Mapping[str, Sequence[int]] = (
    dict.fromkeys(DATABASES, range(100))
    if os.environ.get("PROVISOR_LONG")
    else {"sqlite": (1, 6), "postgresql": (3, 4)}
)
"""By database; those of the short form have every kind of trouble, and are stopped seven times between them."""
CYCLES = 4
LEASE_S = 3.0
CALM = 3
"""Cycles without trouble after which a life must have come to rest."""
EVENTS = ("come or go", "come or go", "title", "mail", "manager", "status", "team", "member", "member")
CAME = "came-"
"""How the mail begins of somebody who has come since the life began."""
NUMBERS = count(1)
seen: Counter[str] = Counter()


@dataclass
class Life:
    """A company, its app, and who runs its cycles."""

    bench: Bench
    nursery: Nursery
    chance: random.Random
    late: Lateness
    database: str | None

    @property
    def ledger(self) -> Path | str:
        return self.database or self.bench.folder / "state" / "ledger.sqlite"

    def pass_by(self) -> None:
        """A cycle's time: something happens, and something goes wrong."""
        service = self.bench.service
        happen(self.bench.company, self.chance)
        self.bench.company.write(self.bench.folder)
        self.late.begin(late=self.chance.random() < 0.4)
        if self.late.on:
            service.set_fault("delayed_lists", requests=5)
        if self.chance.random() < 0.4:
            lose_answers(service, self.chance)
        trouble = self.chance.choice(["none", "kill", "kill", "stop"])
        choice = self.chance.choice(["auto", "reconcile"])
        seen.update([trouble, "late" if self.late.on else "", *service.faults])
        match trouble:
            case "kill":
                self._kill(choice)
            case "stop":
                self._stop(choice)
            case _:
                self.bench.driver.cycle(choice)
        service.clear_fault()
        self.bench.driver.now += timedelta(minutes=self.chance.choice([20, 70]))

    def _kill(self, choice: str) -> None:
        bench = self.bench
        death = Death.draw(self.chance, 25)
        with (
            trap(bench.service, death.nth, death.commit) as snare,
            self.nursery.run(bench.folder, bench.driver.now, choice, database=self.database) as run,
        ):
            snare.pid = run.pid
            if not death.nth and not run.wait(1.5 * death.share):
                os.kill(run.pid, signal.SIGKILL)
            assert run.wait(), "the run neither ended nor died"
        bench.service.drop_connections()
        bench.driver.now += LEASE

    def _stop(self, choice: str) -> None:
        bench = self.bench
        after = self.chance.randrange(12)
        with (
            self.nursery.run(bench.folder, bench.driver.now, choice, lease_s=LEASE_S, database=self.database) as run,
            stopped(run, bench.service, after=after, method="POST,PATCH,DELETE", ledger=self.ledger) as it,
        ):
            if it.stopped:
                time.sleep(LEASE_S)
                bench.driver.now += LEASE
                happen(bench.company, self.chance)
                bench.company.write(bench.folder)
                bench.driver.cycle()
        assert run.wait(), "it hangs"
        seen.update(["overtaken"] if it.stopped else [])


def happen(company: Company, chance: random.Random) -> None:
    """Some changes at once, of whatever kind. Members, and managers, are people who stay.

    What the app must hold in the end depends on nothing but the last export: who comes, or comes back, has a mail, as
    none leaves alone what is there; and is never terminated, as nobody gets an account who is terminated before the
    first run that is let finish. Each group has somebody who stays in it, also when it is made anew: a guard holds what
    would take all members of a group at once.
    """
    staying = [person(number) for number in range(20)]
    for _ in range(chance.randint(3, 12)):
        number, one = chance.randrange(20, 46), chance.choice(staying)
        anchor, team_number = person(number), chance.randrange(26)
        team, stays = group(team_number), person(team_number % 20)
        match chance.choice(EVENTS):
            case "come or go":
                if company.people.pop(anchor, None) is None:
                    company.people[anchor] = Person(mail=f"{CAME}{anchor}", manager=chance.choice(["", one]))
            case "title":
                company.people[one].title = chance.choice(["Clerk", "Boss", "Head", "Temp"])
            case "mail":
                company.people[one].mail = f"m{chance.randrange(1_000)}-{one}"
            case "manager":
                company.people[one].manager = chance.choice([other for other in staying if other > one] or [""])
            case "status" if anchor in company.people and not company.people[anchor].mail.startswith(CAME):
                company.people[anchor].status = chance.choice(["active", "terminated"])
            case "team":
                if company.groups.pop(team, None) is None:
                    company.groups[team] = f"Team {chance.randrange(1_000)} {team}"
                company.members = {edge for edge in company.members if edge[0] != team}
                company.members |= {(team, stays)} if team in company.groups else set()
            case "member" if team in company.groups and one != stays:
                company.members ^= {(team, one)}


def lose_answers(service: ScimService, chance: random.Random) -> None:
    """Some writes are not answered; some of these have been carried out."""
    kind = chance.choice(["error", "reset", "hang"])
    settings = {"hang": {"seconds": 30}}.get(kind, {})
    commit = chance.choice(["before", "after"])
    service.set_fault(kind, method="POST,PATCH,DELETE", probability=0.25, commit=commit, **settings)


@pytest.mark.parametrize(("database", "seed"), [(name, seed) for name in DATABASES for seed in LIVES[name]])
def test_the_log_says_what_the_service_has_committed(
    bench: Bench, nursery: Nursery, request: pytest.FixtureRequest, database: str, seed: int
) -> None:
    """Exactly one line for each committed change, and none for others, whatever has happened."""
    chance, service = random.Random(f"{database} {seed}"), bench.service
    service.quirks["duplicate_user_name"] = "created"
    request.addfinalizer(service.quirks.reset)
    url = None
    with ExitStack() as stack:
        if database == "postgresql":
            server: DatabaseServer = request.getfixturevalue("postgresql_server")
            url = server.create_database(f"life_{next(NUMBERS)}")
            patch = stack.enter_context(pytest.MonkeyPatch.context())
            patch.setenv("PROVISOR_DATABASE_URL", url)
            bench.start_anew()
            assert bench.driver.cycle().report is not None
        late = stack.enter_context(lateness(service, lambda: bench.driver.now))
        strangers = strangers_of(service)
        ledger = stack.enter_context(open_ledger())
        lines_before = len(ledger.log(JOB, limit=None))
        service.reset_counts()
        life = Life(bench, nursery, chance, late, url)
        for _ in range(CYCLES):
            life.pass_by()
        late.begin(late=False)
        for _ in range(CALM):
            bench.driver.now += timedelta(hours=25)  # nobody waits in escrow any more
            report = bench.driver.cycle().report
        assert report is not None
        assert report.state == "done", report.message
        assert bench.driver.preview("reconcile").empty
        log = ledger.log(JOB, limit=None)
        new = log.head(len(log) - lines_before)
        assert wrong_in_the_app(service, bench.company.expected(), strangers) == []
        assert wrong_in_the_ledger(ledger, service) == []
        everybody = {id for held in (service.users, service.groups) for id in held}
        gone = {id for entry in service.log for verb, id in entry.effects}
        assert wrong_in_the_log(service, new, everybody | gone) == []
        bench.driver.close()
        bench.driver._ledger = None
    shutil.rmtree(bench.folder / "state", ignore_errors=True)


def test_lives_were_full_of_trouble() -> None:
    """The cases above say something only as long as something goes wrong in them."""
    print(f"What went wrong, and how often: {dict(seen)}")
    assert min(seen[trouble] for trouble in ("kill", "stop", "late", "overtaken")) > 0
