"""Benches of systems that are only read: HR systems of our own, looked at by the part of the contract that is about
reading. What one of them cannot show, or shows in its own way, is declared below with a reason.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from connectors import registry
from connectors.contract import Action, Change, Kind, Outcome, Snapshot, Status, Wanted
from connectors.kit import ACTIVE, KitSource
from connectors.successfactors.system import SYSTEM as SUCCESSFACTORS
from connectors.workday.system import SYSTEM as WORKDAY
from tests.contract.bench import Bench, Fired, Gap
from tests.servers import small_hr_service, successfactors_service, workday_service
from tests.servers.small_hr_service import SmallHrService
from tests.servers.successfactors_service import SuccessFactorsService
from tests.servers.workday_service import WorkdayService


@dataclass
class Struck:
    """A fault that a simulator counts."""

    count: Callable[[], int]

    @property
    def fired(self) -> int:
        return self.count()


class Desk:
    """A source, and HR's desk in the place of the writes that behaviours make: people go, or are switched off."""

    def __init__(self, source: Any, bench: "SourceBench") -> None:
        self._source, self._bench = source, bench

    def read(self, wanted: Wanted, **more: Any) -> Snapshot:
        found: Snapshot = self._source.read(wanted, **more)
        return found

    def apply(self, changes: Sequence[Change], done: Callable[[Outcome], None]) -> None:
        for change in changes:
            assert change.target_id is not None
            if change.action is Action.DELETE:
                self._bench.remove(change.target_id)
            else:
                self._bench.switch_off(change.target_id)
            done(Outcome(change.id, Status.DONE))

    def close(self) -> None:
        self._source.close()


@dataclass
class SourceBench(Bench):
    """A system that is only read."""

    switch: str = ACTIVE

    @property
    def wanted(self) -> Wanted:
        return Wanted((*self.paths.values(), self.switch))

    def source(self) -> Any:
        """The connector's source."""
        raise NotImplementedError

    def target(self, **settings: Any) -> Any:
        self.opened.append(Desk(self.source(), self))
        return self.opened[-1]

    def remove(self, key: str) -> None:
        """Somebody is no longer there."""
        raise NotImplementedError

    def switch_off(self, key: str) -> None:
        """Somebody has left, and is still shown."""
        raise NotImplementedError

    def see(self, kind: Kind = Kind.USER) -> dict[str, dict[str, Any]]:
        raise Gap("Nothing is written, so that nothing has to be looked at.")


@dataclass
class WorkdayBench(SourceBench):
    """A tenant."""

    service: WorkdayService = field(default_factory=WorkdayService)

    def source(self) -> KitSource:
        user = {"username": workday_service.USER, "password": "${file:secret}"}
        settings = WORKDAY.settings.model_validate(
            {"url": self.service.url, "version": "v44.0", "auth": {"user": user}}
        )
        return KitSource(WORKDAY, settings, folder=self.folder, clock=self.clock)

    def put(self, kind: Kind = Kind.USER, **values: Any) -> str:
        number = f"N{len(self.service.workers):05}"
        fields = {"login": "user", "name": "first", "level": "title"}
        held: dict[str, Any] = {fields[role]: str(value) for role, value in values.items() if value is not None}
        for _ in range(2 if values.get("name") == "unreadable" else 1):  # two active workers with one number
            self.service.put(number, entered=self.service.now if self.opened else None, **held)
        return number

    def _wids(self, key: str) -> list[str]:
        return [wid for wid, one in self.service.workers.items() if one.number == key]

    def edit(self, key: str, **values: Any) -> None:
        self.service.now += timedelta(minutes=1)
        self.service.change(self._wids(key)[0], first=values["name"])

    def remove(self, key: str) -> None:
        self.service.now += timedelta(hours=1)
        self.service.hidden |= set(self._wids(key))

    def switch_off(self, key: str) -> None:
        self.service.end(self._wids(key)[0], self.service.now.date() - timedelta(days=1))

    def trouble(self, fault: str, *, verb: str = "", nth: int = 1, times: int = 1) -> Fired:
        words = {"cut": "cut", "doubled": "doubled", "one missing": "missing row", "unreadable": ""}
        if fault == "nobody":
            self.service.hidden |= set(self.service.workers)
            return Struck(lambda: 1)
        if fault not in words:
            raise Gap(f"Workday does not show {fault}.")
        self.service.troubles = [""] * (nth - 1) + [words[fault]] * times
        return Struck(lambda: nth - 1 + times - len(self.service.troubles))


@dataclass
class SuccessFactorsBench(SourceBench):
    """An instance."""

    service: SuccessFactorsService = field(default_factory=SuccessFactorsService)

    def source(self) -> KitSource:
        saml = {"client_id": successfactors_service.CLIENT, "key": "${file:sf.key}", "certificate": "sf.crt"}
        auth = {"saml": saml | {"user": successfactors_service.API_USER}}
        given = {"url": self.service.url, "company": successfactors_service.COMPANY, "auth": auth, "page_size": 500}
        settings = SUCCESSFACTORS.settings.model_validate(given)
        return KitSource(SUCCESSFACTORS, settings, folder=self.folder, clock=self.clock)

    def put(self, kind: Kind = Kind.USER, **values: Any) -> str:
        key = f"N{len(self.service.people):05}"
        person = self.service.put(key, jobTitle=str(values.get("level", "Clerk")))
        person.personal["firstName"] = values.get("name")
        assert person.employments[0].account is not None
        person.employments[0].account["username"] = values["login"]
        if values.get("name") == "unreadable":
            person.employments[0].account = None
        return key

    def edit(self, key: str, **values: Any) -> None:
        self.service.people[key].personal["firstName"] = values["name"]

    def remove(self, key: str) -> None:
        del self.service.people[key]

    def switch_off(self, key: str) -> None:
        self.service.change(key, self.service.today - timedelta(days=1), status="T")

    def trouble(self, fault: str, *, verb: str = "", nth: int = 1, times: int = 1) -> Fired:
        service = self.service
        if fault == "one missing":
            service.hidden.add(next(iter(service.people)))
        elif fault == "nobody":
            service.hidden |= set(service.people)
        elif fault in ("cut", "empty", "circle", "doubled"):
            service.troubles[nth + (fault == "circle")] = fault
            return Struck(lambda: service.struck)
        else:
            raise Gap(f"SuccessFactors does not show {fault}.")
        return Struck(lambda: 1)


@dataclass
class SmallHrBench(SourceBench):
    """One of the small HR systems."""

    service: SmallHrService = field(default_factory=SmallHrService)
    settings: Mapping[str, Any] = field(default_factory=dict)

    def source(self) -> Any:
        one = registry.find(self.name)
        assert one.source_settings is not None
        return registry.open_source(self.name, one.source_settings.model_validate(self.settings), folder=self.folder)

    def put(self, kind: Kind = Kind.USER, **values: Any) -> str:
        key = str(len(self.service.people) + 1)
        fields = {"name": "firstName", "login": "jobTitle", "level": "department"}
        held = {fields[role]: value for role, value in values.items() if role in fields}
        self.service.people[key] = held | ({"strange": True} if values.get("name") == "unreadable" else {})
        return key

    def edit(self, key: str, **values: Any) -> None:
        self.service.people[key]["firstName"] = values["name"]

    def remove(self, key: str) -> None:
        del self.service.people[key]

    def switch_off(self, key: str) -> None:
        self.service.people[key]["left"] = True

    def trouble(self, fault: str, *, verb: str = "", nth: int = 1, times: int = 1) -> Fired:
        if fault == "unreadable":
            return Struck(lambda: 1)
        if self.name == "bamboohr" and fault in ("one missing", "nobody"):
            people = list(self.service.people)
            self.service.unlisted = set(people if fault == "nobody" else people[:1])
            return Struck(lambda: 1)
        if self.name != "personio" or fault not in ("cut", "empty", "circle", "doubled"):
            raise Gap(f"{self.name} does not show {fault}.")
        self.service.troubles[nth + (fault == "circle")] = fault
        return Struck(lambda: self.service.struck)


@contextmanager
def _workday(folder: Path) -> Iterator[SourceBench]:
    (folder / "secret").write_text(workday_service.PASSWORD, encoding="ascii")
    with workday_service.serving() as service:
        paths = {"login": "UserID", "name": "FirstName", "level": "BusinessTitle"}
        made = WorkdayBench(folder, name="workday", paths=paths, service=service, switch="Active")
        yield from _closing(made)


@contextmanager
def _successfactors(folder: Path) -> Iterator[SourceBench]:
    key, certificate = successfactors_service.key_pair()
    (folder / "sf.key").write_text(key, encoding="ascii")
    (folder / "sf.crt").write_text(certificate, encoding="ascii")
    today = datetime.now(UTC).date()
    with successfactors_service.serving(SuccessFactorsService(today=today, certificate=certificate)) as service:
        paths = {"login": "username", "name": "firstName", "level": "jobTitle"}
        yield from _closing(SuccessFactorsBench(folder, name="successfactors", paths=paths, service=service))


def _small(
    name: str, settings: Callable[[str], dict[str, Any]], texts: tuple[str, str]
) -> Callable[[Path], AbstractContextManager[SourceBench]]:
    @contextmanager
    def opened(folder: Path) -> Iterator[SourceBench]:
        (folder / "key").write_text(small_hr_service.KEY, encoding="ascii")
        with small_hr_service.serving() as service:
            paths = {"name": "firstName", "login": texts[0], "level": texts[1]}
            made = SmallHrBench(folder, name=name, paths=paths, service=service, settings=settings(service.url))
            yield from _closing(made)

    return opened


def _closing(bench: SourceBench) -> Iterator[SourceBench]:
    try:
        yield bench
    finally:
        bench.close()


SOURCES: dict[str, Callable[[Path], AbstractContextManager[SourceBench]]] = {
    "bamboohr": _small(
        "bamboohr", lambda url: {"url": f"{url}/api/v1", "api_key": "${file:key}"}, ("jobTitle", "department")
    ),
    "hibob": _small(
        "hibob",
        lambda url: {"url": f"{url}/v1", "service_user": "${file:key}", "token": "${file:key}"},
        ("title", "department"),
    ),
    "personio": _small(
        "personio",
        lambda url: {"url": url, "client_id": "a-client", "secret": "${file:key}"},
        ("lastName", "preferredName"),
    ),
    "successfactors": _successfactors,
    "workday": _workday,
}

RULES = (*range(1, 15), 21)
"""Behaviours that are about reading alone."""

GAPS: dict[tuple[str, str], str] = {}
"""Bench and behaviour to the reason: the system has nothing to show it with."""
OTHERWISE: dict[tuple[str, str], str] = {}
"""The same of what the system does in another way, by its nature."""

for _name in SOURCES:
    OTHERWISE[_name, "empty_text_is_not_null"] = "HR systems have no empty text: what has no value is null."
for _name in ("bamboohr", "hibob"):
    for _rule in (
        "a_cut_listing_proves_nothing",
        "a_circle_is_stopped",
        "an_empty_page_is_not_the_end",
        "an_entry_that_comes_twice_is_a_doubt",
    ):
        GAPS[_name, _rule] = "One answer holds everybody: there are no pages that could go wrong."
for _name in ("hibob", "personio"):
    for _rule in ("counts_must_agree", "an_empty_answer_is_not_an_empty_system"):
        GAPS[_name, _rule] = "It says no count. A cycle refuses a source without anybody."
for _name in ("bamboohr", "hibob", "personio", "successfactors"):
    for _rule in (
        "a_delta_says_who_came_and_who_went",
        "a_strange_watermark_means_reading_all",
        "a_forgotten_watermark_means_reading_all",
    ):
        GAPS[_name, _rule] = "Everybody is read in every cycle."
GAPS["successfactors", "a_bad_row_has_a_place_and_a_reason"] = "Jobs that are not shown are in its own tests."
GAPS["workday", "a_circle_is_stopped"] = "Pages have numbers."
GAPS["workday", "an_empty_page_is_not_the_end"] = "Pages have numbers: an empty one is people who are missing, a doubt."
GAPS["workday", "a_forgotten_watermark_means_reading_all"] = "A watermark is a moment, and no moment is forgotten."
OTHERWISE["workday", "an_empty_answer_is_not_an_empty_system"] = (
    "Who may not be seen is not counted either. A cycle refuses a source without anybody."
)
