"""Writes that go together in one request: as good as one by one, whatever the service makes of it."""

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from connectors.contract import Action, Change, Kind, Outcome, Status, Wanted
from connectors.errors import ErrorCode
from connectors.scim import bulk
from connectors.throttle import SystemClock
from tests.connectors.scim.changes import act, apply, create, create_group, update
from tests.connectors.scim.conftest import Opener
from tests.servers.scim_service import ScimService
from tests.servers.starting import scimmy_service

REAL_TRIAL = bulk.TRIAL
TRIAL = REAL_TRIAL // 3
"""With everything else in proportion."""
PEOPLE = 3 * TRIAL
SPREAD = 64
"""Writes that may still go singly after it has been found out that they may go together."""


@pytest.fixture(autouse=True)
def _short_trial(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bulk, "TRIAL", TRIAL)


@pytest.fixture
def serve() -> Iterator[Callable[[str], ScimService]]:
    """Starts services that do this or that with Bulk."""
    running: list[ScimService] = []

    def start(bulk: str) -> ScimService:
        service = ScimService(quirks={"bulk": bulk})
        service.__enter__()
        running.append(service)
        return service

    yield start
    for service in running:
        service.__exit__(None, None, None)


def everybody(count: int = PEOPLE) -> list[Change]:
    return [create(f"p{number}") for number in range(count)]


def names(service: ScimService) -> Counter[str]:
    return Counter(user["userName"] for user in service.users.values())


def all_there_once(service: ScimService, count: int = PEOPLE) -> bool:
    return names(service) == Counter({f"p{number}@example.com": 1 for number in range(count)})


def test_a_whole_life_in_few_requests(
    serve: Callable[[str], ScimService], open_target: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Creates, changes, members and deletes go together; everything is as if each had gone alone."""
    monkeypatch.setattr(bulk, "TRIAL", REAL_TRIAL)
    people = 3 * REAL_TRIAL
    service = serve("honoured")
    target = open_target(service.url)
    made = apply(target, *everybody(people))
    assert all(outcome.status is Status.DONE for outcome in made.values())
    assert all_there_once(service, people)
    assert {made[f"create {user['displayName']}"].target_id for user in service.users.values()} == set(service.users)
    assert REAL_TRIAL <= service.requests["POST /Users"] <= REAL_TRIAL + SPREAD
    together = people - service.requests["POST /Users"]
    assert 0 < service.requests["POST /Bulk"] < together / 5

    ids = list(service.users)
    service.reset_counts()
    changed = apply(target, *(update(one, {"title": "Boss"}, {"title": None}) for one in ids))
    assert all(outcome.status is Status.DONE for outcome in changed.values())
    assert {user["title"] for user in service.users.values()} == {"Boss"}
    assert service.requests["PATCH /Users"] == 0
    assert service.requests["POST /Bulk"] < len(ids) / 5

    groups = apply(target, *(create_group(f"g{number}") for number in range(40)))
    group_ids = [str(outcome.target_id) for outcome in groups.values()]
    few = [act(Action.ADD_MEMBERS, one, kind=Kind.GROUP, members=tuple(ids[:7])) for one in group_ids]
    many = Change("more", Kind.GROUP, Action.ADD_MEMBERS, "x", group_ids[0], members=tuple(ids[7:90]))
    assert all(outcome.status is Status.DONE for outcome in apply(target, *few, many).values())
    held = {id: {member["value"] for member in group["members"]} for id, group in service.groups.items()}
    assert held == {id: set(ids[: 90 if id == group_ids[0] else 7]) for id in group_ids}

    off = apply(target, *(act(Action.DISABLE, one) for one in ids[:200]))
    gone = apply(target, *(act(Action.DELETE, one) for one in ids[200:]))
    assert {outcome.status for outcome in [*off.values(), *gone.values()]} == {Status.DONE}
    assert list(service.users) == ids[:200]
    assert not any(user["active"] for user in service.users.values())


def test_each_is_refused_by_itself(serve: Callable[[str], ScimService], open_target: Opener) -> None:
    """One bad change in a request says what is wrong with it, and the others are done."""
    service = serve("honoured")
    target = open_target(service.url)
    apply(target, *everybody())
    ids = list(service.users)
    taken = update(ids[5], {"userName": "p7@example.com"}, {"userName": "p5@example.com"})
    absent = update("nobody", {"title": "Boss"}, {"title": None})
    fine = [update(one, {"title": "Boss"}, {"title": None}) for one in ids[10:60]]
    outcomes = apply(target, taken, absent, *fine)
    assert outcomes.pop(taken.id).code is ErrorCode.CONFLICT
    assert "no longer exists" in outcomes.pop(absent.id).message
    assert {outcome.status for outcome in outcomes.values()} == {Status.DONE}


@pytest.mark.parametrize(
    ("fault", "more"),
    [
        ("reset", {"commit": "before"}),
        ("reset", {"commit": "after"}),
        ("truncated", {}),
        ("html", {"commit": "after"}),
        ("not_json", {}),
        ("hang", {"commit": "after", "seconds": 2}),
        ("error", {"status": 500, "commit": "after"}),
        ("error", {"status": 503, "commit": "before"}),
        ("error", {"status": 400, "commit": "before"}),
        ("too_many_requests", {}),
    ],
)
def test_a_lost_answer_is_looked_up_for_everybody_in_it(
    serve: Callable[[str], ScimService], open_target: Opener, fault: str, more: dict[str, object]
) -> None:
    """Nobody is created twice, and nobody is missing, when the answer to many creates is lost or none."""
    service = serve("honoured")
    target = open_target(service.url, timeout_s=1)
    [taken], _ = service.seed(users=[{"userName": "taken@example.com", "externalId": "somebody else"}])
    assert apply(target, create("taken"))["create taken"].code is ErrorCode.CONFLICT  # so a second one is refused
    del service.users[taken]
    service.set_fault(fault, path="^/Bulk", after=1, times=2, **more)
    outcomes = apply(target, *everybody())
    assert service.faults[fault].struck == 2
    assert all(outcome.status is Status.DONE for outcome in outcomes.values())
    assert all_there_once(service)
    assert {str(outcome.target_id) for outcome in outcomes.values()} == set(service.users)


@pytest.mark.parametrize("answer", ["refused_403", "not_found", "too_large", "sparse_answers"])
def test_a_service_that_cannot_is_written_to_one_by_one(
    serve: Callable[[str], ScimService], open_target: Opener, answer: str
) -> None:
    """A service that offers Bulk and does not keep its word, or not all of it, gets everybody nevertheless."""
    service = serve(answer)
    outcomes = apply(open_target(service.url), *everybody())
    assert all(outcome.status is Status.DONE for outcome in outcomes.values())
    assert all_there_once(service)
    assert service.requests["POST /Bulk"] > 0
    if answer != "sparse_answers":
        assert service.requests["POST /Bulk"] <= SPREAD


def test_answers_without_names_belong_to_the_entry_they_name(
    serve: Callable[[str], ScimService], open_target: Opener
) -> None:
    """Only creates must be answered with their bulkId; of changes the place is enough, and what is missing is read."""
    service = serve("sparse_answers")
    target = open_target(service.url)
    apply(target, *everybody())
    ids = list(service.users)
    service.reset_counts()
    outcomes = apply(target, *(update(one, {"title": "Boss"}, {"title": None}) for one in ids))
    assert all(outcome.status is Status.DONE for outcome in outcomes.values())
    assert {user["title"] for user in service.users.values()} == {"Boss"}
    read = service.requests["GET /Users"]
    assert len(ids) / 4 < read < len(ids) / 2  # every third answer is missing


def test_what_is_only_said_to_be_done_is_not_believed(serve: Callable[[str], ScimService], open_target: Opener) -> None:
    """A service whose Bulk does nothing is found out with the first entry; the others go one by one."""
    service = serve("no_effect")
    outcomes = apply(open_target(service.url), *everybody())
    unclear = [outcome for outcome in outcomes.values() if outcome.status is not Status.DONE]
    assert [outcome.status for outcome in unclear] == [Status.UNKNOWN]
    assert len(service.users) == PEOPLE - 1
    assert service.requests["POST /Bulk"] == 1


def test_an_independent_service(caplog: pytest.LogCaptureFixture, open_target: Opener, tmp_path: Path) -> None:
    """Somebody else's Bulk is understood: everybody is there once, and changed, whichever way was faster."""
    with scimmy_service(logs=tmp_path) as service, caplog.at_level("INFO", logger="connectors.scim.bulk"):
        target = open_target(service.url, clock=SystemClock())
        made = apply(target, *everybody()[: 2 * TRIAL + SPREAD])
        assert {outcome.status for outcome in made.values()} == {Status.DONE}
        assert any("writes a second together" in record.message for record in caplog.records)
        ids = [str(outcome.target_id) for outcome in made.values()]
        changed = apply(target, *(update(one, {"title": "Boss"}, {"title": None}) for one in ids[:90]))
        assert {outcome.status for outcome in changed.values()} == {Status.DONE}
        found = target.read(Wanted(("userName", "title"), None)).users
    assert sorted(found.index) == sorted(ids)
    assert sorted(found["userName"]) == sorted(f"p{number}@example.com" for number in range(len(made)))
    assert (found.loc[ids[:90], "title"] == "Boss").all()
    assert found["title"].count() == 90


def test_a_slower_way_is_left_again(serve: Callable[[str], ScimService], open_target: Opener) -> None:
    """Bulk is used only where it does more in the same time."""
    service = serve("honoured")
    service.set_fault("latency", path="^/Bulk", seconds=3.0)
    target = open_target(service.url, clock=SystemClock())
    outcomes = apply(target, *everybody())
    bulks = service.requests["POST /Bulk"]
    ids = list(service.users)
    apply(target, *(update(one, {"title": "Boss"}, {"title": None}) for one in ids[:100]))
    assert all(outcome.status is Status.DONE for outcome in outcomes.values())
    assert all_there_once(service)
    assert service.requests["POST /Bulk"] == bulks > 0
    assert service.requests["PATCH /Users"] == 100


def test_nobody_asks_for_a_few(serve: Callable[[str], ScimService], open_target: Opener) -> None:
    """A handful of changes costs no question about Bulk."""
    service = serve("honoured")
    apply(open_target(service.url), *(create(f"p{number}") for number in range(TRIAL - 1)))
    assert service.requests["GET /ServiceProviderConfig"] == service.requests["POST /Bulk"] == 0


def test_halted_together(
    serve: Callable[[str], ScimService], open_target: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a halted target has not sent is said to be so, and what it has sent is known or in doubt."""
    monkeypatch.setattr(bulk, "TRIAL", REAL_TRIAL)  # more than fits all the requests that may be in flight
    service = serve("honoured")
    service.set_fault("latency", path="^/Bulk", after=1, seconds=0.5)
    target = open_target(service.url, clock=SystemClock())
    outcomes: list[Outcome] = []
    sent = threading.Event()

    def told(outcome: Outcome) -> None:
        outcomes.append(outcome)
        if len(outcomes) == REAL_TRIAL + 150:
            target.halt(grace_s=5.0)
            sent.set()

    target.apply([create(f"p{number}") for number in range(20 * REAL_TRIAL)], told)
    assert sent.is_set()
    states = Counter(outcome.status for outcome in outcomes)
    assert sum(states.values()) == 20 * REAL_TRIAL
    assert states[Status.NOT_SENT] > 0
    assert set(states) <= {Status.DONE, Status.NOT_SENT, Status.UNKNOWN}
    assert states[Status.DONE] <= len(service.users) <= states[Status.DONE] + states[Status.UNKNOWN]
