"""Whatever goes wrong on the way: no duplicate, one outcome for each change, and a sentence that helps."""

import logging
import threading
from pathlib import Path
from typing import Any

import pytest

from connectors.contract import Action, Change, Kind, Outcome, Pace, Status, Wanted
from connectors.errors import (
    CredentialsError,
    ErrorCode,
    FatalError,
    SchemaMismatchError,
    SettingsError,
    UnreachableError,
)
from connectors.scim.connector import ScimTarget
from connectors.scim.sending import LOOKS_S
from tests.connectors.clocks import FakeClock
from tests.connectors.scim.changes import WORK, act, apply, apply_one, create, create_group, person, update
from tests.connectors.scim.conftest import Opener
from tests.servers.scim_service import ScimService
from tests.servers.starting import dead_port, html_server, tls_scim_service

LOST: list[tuple[str, dict[str, Any]]] = [
    ("error", {"status": 500}),
    ("error", {"status": 500, "commit": "after"}),
    ("error", {"status": 503}),
    ("error", {"status": 503, "commit": "after"}),
    ("error", {"status": 502, "commit": "after", "page": True}),
    ("reset", {}),
    ("reset", {"commit": "after"}),
    ("truncated", {}),
    ("html", {}),
    ("html", {"commit": "after"}),
    ("not_json", {}),
    ("not_json", {"commit": "after"}),
    ("too_many_requests", {"retry_after": "seconds", "seconds": 7}),
]
HANGS: list[tuple[str, dict[str, Any]]] = [("hang", {"seconds": 9, "commit": commit}) for commit in ("before", "after")]


def user_names(service: ScimService) -> list[str]:
    return sorted(user["userName"] for user in service.users.values())


@pytest.mark.parametrize("unique", ["conflict", "created"])
@pytest.mark.parametrize(("fault", "more"), LOST)
def test_a_create_happens_once(
    service: ScimService, target: ScimTarget, fault: str, more: dict[str, Any], unique: str
) -> None:
    """Struck once, before or after the commit, a create ends done with the right id, or honestly unknown; never twice.

    Also where the service itself would let the same name in twice. It is sent again only to a service that was seen to
    refuse a second account, whatever its schema says.
    """
    service.quirks["duplicate_user_name"] = unique
    service.seed(users=[{"userName": "bob@example.com", "externalId": "somebody else"}])
    proven = unique == "conflict"
    if proven:
        assert apply_one(target, create("bob")).code is ErrorCode.CONFLICT
    service.reset_counts()
    service.set_fault(fault, method="POST", times=1, **more)
    outcome = apply_one(target, create("ann"))
    assert user_names(service).count("ann@example.com") <= 1
    is_there = more.get("commit") == "after" or fault == "truncated"
    if is_there or fault == "too_many_requests" or (proven and fault not in {"html", "not_json"}):
        assert outcome.status is Status.DONE, outcome
        assert service.users[outcome.target_id or ""]["userName"] == "ann@example.com"
    else:
        assert outcome.status is Status.UNKNOWN, outcome
        assert len(service.users) == 1
    assert outcome.attempts == service.requests["POST /Users"] + service.requests["GET /Users"]


@pytest.mark.parametrize("kind", ["error", "reset"])
def test_a_late_list_is_no_proof(service: ScimService, target: ScimTarget, kind: str) -> None:
    """A service that says it has one account for a name, takes two, and shows the first one late, gets one."""
    service.quirks["duplicate_user_name"] = "created"
    service.set_fault("delayed_lists", requests=3)
    service.set_fault(kind, method="POST", times=1, commit="after")
    outcome = apply_one(target, create("ann"))
    assert user_names(service) == ["ann@example.com"]
    assert [outcome.target_id] == list(service.users)


@pytest.mark.parametrize(("fault", "more"), HANGS)
def test_a_create_that_hangs_is_not_sent_again(
    service: ScimService, open_target: Opener, fault: str, more: dict[str, Any]
) -> None:
    """No answer in time may still become an entry: it is looked for, and otherwise left to the next cycle."""
    target = open_target(service.url, timeout_s=0.3)
    service.set_fault(fault, method="POST", **more)
    outcome = apply_one(target, create("ann"))
    assert service.requests["POST /Users"] == 1
    if more["commit"] == "after":
        assert outcome.status is Status.DONE
        assert [outcome.target_id] == list(service.users)
    else:
        assert (outcome.status, outcome.code) == (Status.UNKNOWN, ErrorCode.UNKNOWN_OUTCOME)


def test_a_lost_create_of_a_taken_name_is_a_conflict(service: ScimService, target: ScimTarget) -> None:
    """Somebody else's account with the same name is not mistaken for the one that was to be made."""
    service.seed(users=[{"userName": "ann@example.com", "externalId": "somebody else"}])
    service.set_fault("error", method="POST", status=500, times=1)
    outcome = apply_one(target, create("ann"))
    assert (outcome.status, outcome.code) == (Status.REJECTED, ErrorCode.CONFLICT)
    assert "matching rule" in outcome.message


def test_a_conflict_after_a_lost_answer_is_ours(service: ScimService, target: ScimTarget) -> None:
    """The list is late, the create is sent again and refused as taken: taken by us, so it is done."""
    service.set_fault("delayed_lists", requests=3)
    service.set_fault("reset", method="POST", commit="after", times=1)
    outcome = apply_one(target, create("ann"))
    assert outcome.status is Status.DONE
    assert [outcome.target_id] == list(service.users)


def test_lists_that_are_late_are_waited_for(service: ScimService, target: ScimTarget) -> None:
    """Nothing keeps a second group of the same name out, so the first one is looked for long enough."""
    service.set_fault("delayed_lists", requests=2)
    service.set_fault("reset", method="POST", commit="after", times=1)
    outcome = apply_one(target, create_group("Sales"))
    assert [outcome.target_id] == list(service.groups)
    assert service.requests["POST /Groups"] == 1


def test_what_was_made_a_moment_ago_is_asked_for_again(
    service: ScimService, target: ScimTarget, clock: FakeClock
) -> None:
    """Only where the caller knows that it may be there, and only about values that nobody had so far."""
    apply_one(target, create("bob"))
    service.set_fault("delayed_lists", requests=4)
    apply_one(target, create("ann"))
    names = ["ann@example.com", "bob@example.com", "zoe@example.com"]
    began = clock.now()
    assert len(target.find(Kind.USER, "userName", names[:2], Wanted(()))) == 1
    assert clock.now() == began
    service.reset_counts()
    assert len(target.find(Kind.USER, "userName", names, Wanted(()), late=True)) == 2
    assert 0 < clock.now() - began < 10
    assert service.requests["GET /Users"] < len(names) * len(LOOKS_S)


def test_lists_that_are_too_late_leave_it_unknown(service: ScimService, target: ScimTarget) -> None:
    """Refused as taken after a lost answer, and not to be seen for long: the next cycle finds out by whom."""
    service.set_fault("delayed_lists", requests=50)
    service.set_fault("reset", method="POST", commit="after", times=1)
    outcome = apply_one(target, create("ann"))
    assert (outcome.status, outcome.code) == (Status.UNKNOWN, ErrorCode.UNKNOWN_OUTCOME)
    assert len(service.users) == 1


@pytest.mark.parametrize("status", [400, 403, 429])
def test_a_refusal_after_a_lost_answer_proves_nothing(service: ScimService, target: ScimTarget, status: int) -> None:
    """Whatever a repetition is answered, the first create may be there, and is not called rejected."""
    service.set_fault("delayed_lists", requests=50)
    service.set_fault("error", label="refused", method="POST", after=1, status=status)
    service.set_fault("reset", method="POST", commit="after", times=1)
    outcome = apply_one(target, create("ann"))
    assert outcome.status is Status.UNKNOWN
    assert len(service.users) == 1


def test_a_change_that_may_be_done_is_looked_at_after_throttling(service: ScimService, target: ScimTarget) -> None:
    """A change that failed after it was made, and is throttled ever after, is done."""
    [user] = service.seed(users=[{"userName": "ann", "active": True}])[0]
    service.set_fault("too_many_requests", method="PATCH", after=1)
    service.set_fault("error", method="PATCH", status=500, commit="after", times=1)
    assert apply_one(target, act(Action.DISABLE, user)).status is Status.DONE
    assert service.users[user]["active"] is False


@pytest.mark.parametrize("held", [{}, {"title": "Boss"}, {"displayName": "ann"}])
def test_an_account_that_says_little_is_not_adopted(
    service: ScimService, target: ScimTarget, held: dict[str, str]
) -> None:
    """Looking for what a lost create made may find somebody else's account: whose it is, the matching rules decide."""
    service.seed(users=[{"userName": "ann@example.com", **held}])
    service.set_fault("error", method="POST", status=500, times=1)
    outcome = apply_one(target, create("ann"))
    assert outcome.status is Status.UNKNOWN
    assert outcome.target_id is None
    assert service.requests["POST /Users"] == 1


def test_a_service_that_ignores_filters_leaves_it_unknown(service: ScimService, target: ScimTarget) -> None:
    """When a lost create cannot be looked for, nobody is adopted and nothing is sent again."""
    service.seed(users=[{"userName": "zoe"}])
    service.quirks["filter"] = "ignored"
    service.set_fault("reset", method="POST", times=1)
    outcome = apply_one(target, create("ann"))
    assert outcome.status is Status.UNKNOWN
    assert service.requests["POST /Users"] == 1


def test_a_service_that_fails_every_create(service: ScimService, target: ScimTarget) -> None:
    """Tried a few times, then rejected, where a second account is refused; else left to the next cycle."""
    service.seed(users=[{"userName": "bob@example.com", "externalId": "somebody else"}])
    service.set_fault("error", method="POST", status=500, times=1)
    outcome = apply_one(target, create("ann"))
    assert (outcome.status, outcome.code) == (Status.UNKNOWN, ErrorCode.UNKNOWN_OUTCOME)
    assert service.requests["POST /Users"] == 1
    assert apply_one(target, create("bob")).code is ErrorCode.CONFLICT
    service.reset_counts()
    service.set_fault("error", method="POST", status=500)
    outcome = apply_one(target, create("ann"))
    assert (outcome.status, outcome.code) == (Status.REJECTED, ErrorCode.INTERNAL_SERVER_ERROR)
    assert service.requests["POST /Users"] == 3


def test_groups_are_made_once_too(service: ScimService, target: ScimTarget) -> None:
    """Groups may share a name: the one with our externalId is ours, another one is not."""
    service.seed(groups=[{"displayName": "Sales", "externalId": "another"}])
    service.set_fault("reset", method="POST", commit="after", times=1)
    outcome = apply_one(target, create_group("Sales"))
    assert outcome.status is Status.DONE
    assert len(service.groups) == 2
    assert service.groups[outcome.target_id or ""]["externalId"] == "G-Sales"


@pytest.mark.parametrize("known", [False, True])
@pytest.mark.parametrize("action", [Action.UPDATE, Action.ADD_MEMBERS, Action.REMOVE_MEMBERS])
def test_what_is_not_shown_after_a_lost_answer_is_not_gone(
    service: ScimService, target: ScimTarget, action: Action, known: bool
) -> None:
    """The write was done; that the service does not find the entry at first says nothing about it."""
    users, [group] = service.seed(
        users=[{"userName": name} for name in ("ann", "bob")], groups=[{"displayName": "Sales"}]
    )

    def change(number: int) -> Change:
        if action is Action.UPDATE:
            return update(group, {"displayName": f"Sales {number}"}, kind=Kind.GROUP)
        return act(action, group, kind=Kind.GROUP, members=(users[number],))

    if action is Action.REMOVE_MEMBERS:
        joining = act(Action.ADD_MEMBERS, group, kind=Kind.GROUP, members=tuple(users))
        assert apply_one(target, joining).status is Status.DONE
    if known:  # the form is: then nothing is read before
        assert apply_one(target, change(0)).status is Status.DONE
    read_before = action is not Action.UPDATE and not known
    service.set_fault("reset", method="PATCH", commit="after")
    service.set_fault("error", method="GET", path="/Groups/", status=404, after=int(read_before), times=2)
    outcome = apply_one(target, change(1))
    assert outcome.status is Status.DONE, outcome


@pytest.mark.parametrize(("fault", "more"), LOST)
@pytest.mark.parametrize("action", [Action.UPDATE, Action.DISABLE, Action.DELETE, Action.ADD_MEMBERS])
def test_changes_take_effect_once(
    service: ScimService, target: ScimTarget, action: Action, fault: str, more: dict[str, Any]
) -> None:
    """Struck once, before or after the commit, every other change ends done and applied exactly once.

    The service is one that appends what is added twice a second time.
    """
    service.quirks.update({"members_twice": "doubled", "add_to_emails": "appended"})
    [user], [group] = service.seed(users=[{"userName": "ann", "active": True}], groups=[{"displayName": "Sales"}])
    change = {
        Action.UPDATE: update(user, {WORK: "ann@example.com", "title": "Boss"}),
        Action.DISABLE: act(Action.DISABLE, user),
        Action.DELETE: act(Action.DELETE, user),
        Action.ADD_MEMBERS: act(Action.ADD_MEMBERS, group, kind=Kind.GROUP, members=(user,)),
    }[action]
    service.set_fault(fault, method="PATCH,DELETE", times=1, **more)
    outcome = apply_one(target, change)
    assert outcome.status is Status.DONE, outcome
    match action:
        case Action.UPDATE:
            assert service.users[user]["emails"] == [{"type": "work", "value": "ann@example.com"}]
            assert service.users[user]["title"] == "Boss"
        case Action.DISABLE:
            assert service.users[user]["active"] is False
        case Action.DELETE:
            assert user not in service.users
        case _:
            assert [member["value"] for member in service.groups[group]["members"]] == [user]


def test_a_change_that_never_takes_effect(service: ScimService, target: ScimTarget) -> None:
    """A service that keeps failing gets its changes back later: rejected, with the reason."""
    [user] = service.seed(users=[{"userName": "ann"}])[0]
    service.set_fault("error", method="PATCH", status=503)
    outcome = apply_one(target, act(Action.DISABLE, user))
    assert (outcome.status, outcome.code) == (Status.REJECTED, ErrorCode.INTERNAL_SERVER_ERROR)
    service.clear_fault()
    service.set_fault("too_many_requests", retry_after="absurd")
    outcome = apply_one(target, act(Action.DISABLE, user))
    assert (outcome.status, outcome.code) == (Status.REJECTED, ErrorCode.TOO_MANY_REQUESTS)


def test_deleting_twice_where_that_is_an_error(service: ScimService, target: ScimTarget) -> None:
    """A lost delete is looked at before it is called failed: some services answer 500 to the second one."""
    service.quirks["delete_twice"] = "error_500"
    [user] = service.seed(users=[{"userName": "ann"}])[0]
    service.set_fault("reset", method="DELETE", commit="after", times=1)
    assert apply_one(target, act(Action.DELETE, user)).status is Status.DONE


def test_removing_twice_where_that_is_an_error(service: ScimService, target: ScimTarget) -> None:
    """A refused repetition of a lost change is no failure when what was wanted is there."""
    [user] = service.seed(users=[{"userName": "ann", "title": "Boss", "emails": [{"type": "work", "value": "a@b"}]}])[0]
    service.set_fault("reset", method="PATCH", commit="after", times=1)
    assert apply_one(target, update(user, {WORK: None}, {WORK: "a@b"})).status is Status.DONE
    assert not service.users[user].get("emails")


def test_an_address_is_completed_in_its_place(service: ScimService, target: ScimTarget) -> None:
    """A missing postal code goes into the address that exists, and makes one where there is none."""
    code = 'addresses[type eq "work"].postalCode'
    ids = service.seed(
        users=[{"userName": "a", "addresses": [{"type": "work", "locality": "Rome"}]}, {"userName": "b"}]
    )[0]
    apply(target, *(update(user, {code: "00100"}) for user in ids))
    assert [service.users[user]["addresses"] for user in ids] == [
        [{"type": "work", "locality": "Rome", "postalCode": "00100"}],
        [{"type": "work", "postalCode": "00100"}],
    ]


# -- stop ----------------------------------------------------------------------------------------------------------


def test_a_token_that_expires_stops_everything(service: ScimService, open_target: Opener) -> None:
    """After a 401 nothing more is sent, what was under way is told, and so is what was not sent any more."""
    target = open_target(service.url, pace=Pace(concurrency=4))
    target.check()
    target.traits()
    service.set_fault("expired_token", after=20)
    changes = [create(f"u{number}") for number in range(200)]
    outcomes: list[Outcome] = []
    with pytest.raises(CredentialsError, match="token") as caught:
        target.apply(changes, outcomes.append)
    assert "a-token" not in str(caught.value)
    done = [outcome for outcome in outcomes if outcome.status is Status.DONE]
    assert 20 - 4 <= len(done) == len(service.users) <= 20
    assert {outcome.target_id for outcome in done} == set(service.users)
    sent = service.requests["POST /Users"]
    assert sent <= 20 + 4
    not_sent = [outcome.change_id for outcome in outcomes if outcome.status is Status.NOT_SENT]
    assert (len(not_sent), len(done) + len(not_sent)) == (len(changes) - sent, len(outcomes))


def test_outcomes_come_from_the_calling_thread(service: ScimService, target: ScimTarget) -> None:
    """The ledger behind ``done`` is used from one thread only, the caller's."""
    threads: set[int] = set()
    target.apply([create(f"u{number}") for number in range(20)], lambda _: threads.add(threading.get_ident()))
    assert threads == {threading.get_ident()}


def test_a_caller_that_fails_stops_the_sending(service: ScimService, open_target: Opener) -> None:
    """When an outcome cannot be written down, no further change is sent."""
    target = open_target(service.url, pace=Pace(concurrency=2))
    service.set_fault("latency", seconds=0.002)

    def done(outcome: Outcome) -> None:
        raise OSError("ledger full")

    with pytest.raises(OSError, match="ledger full"):
        target.apply([create(f"u{number}") for number in range(300)], done)
    assert len(service.users) < 100


def test_one_bad_entry_does_not_stop_the_others(service: ScimService, target: ScimTarget) -> None:
    """Text that cannot be sent, or is refused, is that entry's outcome."""
    outcomes = apply(target, create("ann"), create("\ud800"), create("bob", userName=""), create("eve"))
    statuses = [outcome.status for outcome in outcomes.values()]
    assert statuses.count(Status.DONE) == 2
    assert statuses.count(Status.REJECTED) == 2


def test_a_path_that_is_none_stops(target: ScimTarget) -> None:
    """A mapping onto something that is no attribute path is a mistake in the job, not in an entry."""
    with pytest.raises(SettingsError, match="emails"):
        target.apply([create("ann", **{"emails[type]": "x"})], lambda _: None)
    with pytest.raises(SettingsError, match="user name"):
        target.read(Wanted(("user name",)))


def test_not_allowed(service: ScimService, target: ScimTarget) -> None:
    """403 on one write rejects that write; 403 on reading stops."""
    service.set_fault("error", method="POST", status=403)
    outcome = apply_one(target, create("ann"))
    assert (outcome.status, outcome.code) == (Status.REJECTED, ErrorCode.INSUFFICIENT_RIGHTS)
    service.set_fault("error", method="GET", status=403)
    with pytest.raises(CredentialsError, match="not allowed"):
        target.check()


def test_closing(service: ScimService, target: ScimTarget) -> None:
    """A target may be closed before use, twice, and used again; nothing of it stays behind."""
    target.close()
    target.check()
    target.close()
    target.close()
    assert not [thread for thread in threading.enumerate() if thread.name == "scim"]
    target.check()


# -- check ---------------------------------------------------------------------------------------------------------


def failure(target: ScimTarget) -> FatalError:
    with pytest.raises(FatalError) as caught:
        target.check()
    assert "a-token" not in str(caught.value)
    return caught.value


def test_check_of_a_wrong_token(service: ScimService, target: ScimTarget) -> None:
    """The service knows nobody by that token."""
    service.renew_token("another")
    assert isinstance(error := failure(target), CredentialsError)
    assert "token" in str(error)


def test_check_of_a_wrong_address(service: ScimService, open_target: Opener) -> None:
    """A base address that is not one is named together with the question whether it is right."""
    assert isinstance(error := failure(open_target(service.url + "/nowhere")), SettingsError)
    assert "Is the url right?" in str(error)


def test_check_of_a_web_page(open_target: Opener) -> None:
    """A sign-in page is not a SCIM service."""
    with html_server() as page:
        assert isinstance(error := failure(open_target(page.url)), SchemaMismatchError)
    assert "HTML" in str(error)


def test_check_where_nobody_is(open_target: Opener) -> None:
    """Nobody answers is said with the address."""
    with dead_port() as nobody:
        assert isinstance(error := failure(open_target(nobody.url)), UnreachableError)
        assert nobody.url in str(error)


def test_check_of_an_untrusted_service(open_target: Opener, tmp_path: Path) -> None:
    """A certificate of unknown origin names ca_file; with it the service answers."""
    with tls_scim_service(logs=tmp_path) as tls:
        assert isinstance(error := failure(open_target(tls.url)), UnreachableError)
        assert "ca_file" in str(error)
        assert "answers as a SCIM" in open_target(tls.url, ca_file=str(tls.ca_file)).check()


def test_check_of_a_service_that_is_down(service: ScimService, target: ScimTarget) -> None:
    """A service that fails for long is out of reach."""
    service.set_fault("error", status=503)
    assert isinstance(failure(target), UnreachableError)


@pytest.mark.parametrize(("answer", "word"), [("ignored", "ignores filters"), ("refused", "does not answer filters")])
def test_check_notes_useless_filters(service: ScimService, target: ScimTarget, answer: str, word: str) -> None:
    """A service without working filters can be read, and the sentence says what it cannot do."""
    service.seed(users=[{"userName": "ann"}])
    service.quirks["filter"] = answer
    assert word in target.check()


def test_find_refuses_what_was_not_asked_for(service: ScimService, target: ScimTarget) -> None:
    """Nobody is adopted because a filter was ignored."""
    service.seed(users=[{"userName": "zoe"}])
    service.quirks["filter"] = "ignored"
    with pytest.raises(SchemaMismatchError, match="ignores filters"):
        target.find(Kind.USER, "userName", ["ann"], Wanted(()))


@pytest.mark.parametrize("answer", ["dotted_only", "value_path_only"])
def test_find_by_mail_in_either_notation(service: ScimService, target: ScimTarget, answer: str) -> None:
    """Services understand one of two ways to ask for an e-mail address."""
    service.quirks["filter_emails"] = answer
    service.seed(users=[{"userName": "a", "emails": [{"type": "work", "value": "a@b"}]}])
    found = target.find(Kind.USER, WORK, ["c@d", "A@b"], Wanted(("userName",)))
    assert found["userName"].to_list() == ["a"]


def test_nothing_personal_is_logged(
    service: ScimService, target: ScimTarget, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    """No log of any library shows a token, a name or an address book value."""
    caplog.set_level(logging.DEBUG)
    service.set_fault("reset", method="POST", commit="after", times=1)
    outcome = apply_one(target, create("ann"))
    target.find(Kind.USER, "userName", ["ann@example.com"], Wanted(()))
    apply_one(target, act(Action.DELETE, outcome.target_id or ""))
    assert "POST /Users" in caplog.text
    for text in ("a-token", "ann", "O'Brien", outcome.target_id or "-"):
        assert text not in caplog.text.replace("planned", "")


def test_a_change_is_what_it_was(service: ScimService, target: ScimTarget) -> None:
    """Changes are not altered by carrying them out."""
    attributes = person("ann")
    change = Change("c", Kind.USER, Action.CREATE, "ann", None, attributes=attributes)
    apply_one(target, change)
    assert attributes == person("ann")
