"""Behaviours of writes, memberships, faults and ends."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from connectors.contract import Action, Kind, Outcome, Status
from connectors.errors import CredentialsError, ErrorCode
from connectors.kit import Done, Look, Lost, Refused, Step
from connectors.kit.settling import Resend, hold
from tests.contract.bench import Bench, MemoryBench, apply
from tests.contract.reading import refuse_all
from tests.contract.suite import author, behaviour, kit


def steps(change: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Steps for a change that says something else."""
    return lambda honest: lambda known, one, held: honest(known, change(one), held)


def verdicts(change: Callable[[Any, Any, Any], Any]) -> Callable[[Any], Any]:
    """A verdict that is changed: by step, answer and the honest verdict."""
    return lambda honest: lambda known, step, answer: change(step, answer, honest(known, step, answer))


def requests(bench: Bench, verb: str) -> int:
    """Requests of a kind that have arrived; benches that do not count say none."""
    return sum(one[0] == verb for one in bench.store.sent) if isinstance(bench, MemoryBench) else 0


def _loses_one(change: Any) -> Any:
    return replace(change, attributes={path: value for path, value in change.attributes.items() if path != "name"})


@behaviour(
    22,
    gives_the_login_as_id=author(
        verdict=verdicts(lambda step, answer, honest: Done("ann") if isinstance(honest, Done) and honest.id else honest)
    ),
    loses_a_value=author(steps=steps(_loses_one)),
)
def a_create_gives_an_id_for_ever(bench: Bench) -> None:
    """The key of the new entry, which holds every value that was sent."""
    (made,) = apply(bench.target(), bench.change(Action.CREATE, login="ann", name="Ann", level="7"))
    assert made.status is Status.DONE
    assert list(bench.see()) == [made.target_id]
    held = bench.entry(str(made.target_id))
    assert (held["login"], held["name"], str(held["level"])) == ("ann", "Ann", "7")


def _whole_entry(change: Any) -> Any:
    blank = {"name": None, "title": None, "level": None}
    return change if change.action is not Action.UPDATE else replace(change, attributes={**blank, **change.attributes})


@behaviour(23, writes_the_whole_entry=author(steps=steps(_whole_entry)))
def an_update_touches_what_changed(bench: Bench) -> None:
    """What somebody else changed at the same time survives."""
    key = bench.put(login="ann", name="Ann", level=1)
    target = bench.target()
    target.read(bench.wanted)
    bench.edit(key, level=2)
    (outcome,) = apply(target, bench.change(Action.UPDATE, key, name="Anna", before={"name": "Ann"}))
    held = bench.entry(key)
    assert (outcome.status, held["name"], str(held["level"])) == (Status.DONE, "Anna", "2")


def _skips_null(change: Any) -> Any:
    return replace(change, attributes={path: value for path, value in change.attributes.items() if value is not None})


@behaviour(24, skips_null=author(steps=steps(_skips_null)))
def null_clears(bench: Bench) -> None:
    """Null clears, absent leaves alone."""
    key = bench.put(login="ann", name="Ann", title="Chief")
    apply(bench.target(), bench.change(Action.UPDATE, key, title=None, name="Anna", before={"title": "Chief"}))
    held = bench.entry(key)
    assert (held.get("title"), held["name"], held["login"]) == (None, "Anna", "ann")


def _last_only(change: Any) -> Any:
    cut = {path: value[-1:] if isinstance(value, list) else value for path, value in change.attributes.items()}
    return replace(change, attributes=cut)


@behaviour(25, keeps_the_last=author(steps=steps(_last_only)))
def lists_keep_all_their_values(bench: Bench) -> None:
    """All values, in their order."""
    key = bench.put(login="ann", name="Ann")
    path = bench.path("nicknames")
    target = bench.target()
    apply(target, bench.change(Action.UPDATE, key, nicknames=["c", "a", "b"]))
    assert target.read(bench.wanted).users.loc[key, path] == ["c", "a", "b"]


def _second_off_fails(honest: Any) -> Any:
    seen: list[Any] = []

    def verdict(known: Any, step: Any, answer: Any) -> Any:
        off = step.request[0] == "update" and step.request[3].get("state") == "off"
        seen.extend([step] if off else [])
        return Refused(ErrorCode.CONFLICT, "state") if off and len(seen) > 1 else honest(known, step, answer)

    return verdict


@behaviour(
    26,
    second_is_an_error=author(verdict=_second_off_fails),
    takes_memberships_too=author(
        steps=lambda honest: (
            lambda known, one, held: [
                *honest(known, one, held),
                *([Step(("delete", one.kind, one.target_id))] if one.action is Action.DISABLE else []),
            ]
        )
    ),
)
def switching_off_twice_is_fine(bench: Bench) -> None:
    """Off, off again, on: done each time, and everything else as it was."""
    key = bench.put(login="ann", name="Ann", level=7)
    group = bench.put(Kind.GROUP, name="g")
    bench.join(group, key)
    target = bench.target()
    for active in (False, False, True):
        action = Action.ENABLE if active else Action.DISABLE
        (outcome,) = apply(target, bench.change(action, key, active=active))
        assert outcome.status is Status.DONE
        assert bench.entry(key)["active"] is active
    assert str(bench.entry(key)["level"]) == "7"
    assert bench.edges() == {(group, key)}


@behaviour(
    27,
    gone_is_an_error=author(
        verdict=verdicts(
            lambda step, answer, honest: Refused(ErrorCode.INVALID_ANCHOR) if isinstance(honest, Look) else honest
        )
    ),
)
def deleting_twice_is_fine(bench: Bench) -> None:
    """Gone is what was wanted; an entry made anew under the same name stays."""
    key = bench.put(login="ann", name="Ann")
    target = bench.target()
    (first,) = apply(target, bench.change(Action.DELETE, key))
    again = bench.put(login="ann", name="Ann")
    (second,) = apply(target, bench.change(Action.DELETE, key))
    assert (first.status, second.status) == (Status.DONE, Status.DONE)
    assert list(bench.see()) == [again]


def _made_anew(honest: Any) -> Any:
    def lying(known: Any, change: Any, held: Any) -> Any:
        if "login" not in change.attributes or change.action is Action.CREATE:
            return honest(known, change, held)
        return [
            Step(("delete", change.kind, change.target_id)),
            Step(("create", change.kind, dict(change.attributes), ())),
        ]

    return lying


@behaviour(28, deletes_and_creates=author(steps=_made_anew))
def a_rename_keeps_the_entry(bench: Bench) -> None:
    """Another name, the same key, the same memberships."""
    key, group = bench.put(login="ann", name="Ann"), bench.put(Kind.GROUP, name="g")
    bench.join(group, key)
    apply(bench.target(), bench.change(Action.UPDATE, key, login="anna", before={"login": "ann"}))
    assert bench.entry(key)["login"] == "anna"
    assert bench.edges() == {(group, key)}


@behaviour(
    29,
    conflict_for_everything=author(
        verdict=verdicts(
            lambda step, answer, honest: Refused(ErrorCode.CONFLICT, "login") if isinstance(honest, Refused) else honest
        )
    ),
)
def a_conflict_names_its_attribute(bench: Bench) -> None:
    """The others of the batch go on; other refusals are no conflicts."""
    bench.put(login="ann", name="Ann")
    taken, fine, long = apply(
        bench.target(),
        bench.change(Action.CREATE, login="ann", name="Second"),
        bench.change(Action.CREATE, login="bob", name="Bob"),
        bench.change(Action.CREATE, login="carl", title="x" * 41),
    )
    assert (taken.status, taken.code, fine.status) == (Status.REJECTED, ErrorCode.CONFLICT, Status.DONE)
    assert bench.path("login") in taken.refused
    assert (long.status, long.code) == (bench.refused_create, ErrorCode.UNPROCESSABLE_ENTITY)


@behaviour(30, says_the_value=kit(redact=lambda honest: lambda text, values=(), **kw: text))
def a_refusal_has_no_value_in_it(bench: Bench) -> None:
    """Code and a sentence, and nothing that was sent."""
    secret = "confidential-" + "x" * 41
    (outcome,) = apply(bench.target(), bench.change(Action.CREATE, login="ann", title=secret))
    assert outcome.code is not None
    assert outcome.message
    assert "confidential" not in f"{outcome.message} {dict(outcome.refused)}"


def _compares_everything(honest: Any) -> Any:
    async def settle(at: Any, change: Any, step: Any, *, lost: bool) -> Any:
        settled = await honest(at, change, step, lost=lost)
        listing = await hold(at, change)
        row = listing.rows.get(change.target_id or "", {})
        return settled if all(row.get(path) == value for path, value in change.attributes.items()) else Lost("differs")

    return settle


@behaviour(31, compares_what_is_not_shown=kit(settle=_compares_everything))
def what_is_never_shown_is_not_missed(bench: Bench) -> None:
    """A password cannot be read back; what can be proves the write."""
    key = bench.put(login="ann", name="Ann")
    fired = bench.trouble("lost after", verb="update", times=2)
    (outcome,) = apply(bench.target(), bench.change(Action.UPDATE, key, name="Anna", secret="geheim"))
    assert fired.fired
    assert outcome.status is Status.DONE
    assert bench.entry(key)["name"] == "Anna"


@behaviour(32, says_rejected=kit(done_in_part=lambda honest: lambda done: False))
def what_was_done_of_several_steps_is_told(bench: Bench) -> None:
    """The second step of a create is refused: the account is there, and is told with what was refused."""
    if not isinstance(bench, MemoryBench):
        bench.trouble("second step", verb="create")
        return
    honest = bench.system.steps
    assert honest is not None

    def two(known: Any, change: Any, held: Any) -> Any:
        if change.action is not Action.CREATE:
            return honest(known, change, held)
        title = change.attributes["title"]
        first = honest(known, replace(change, attributes={"login": change.attributes["login"]}), held)
        return [
            *first,
            *honest(
                known, replace(change, action=Action.UPDATE, target_id="u000001", attributes={"title": title}), held
            ),
        ]

    bench.system = replace(bench.system, steps=two)
    (outcome,) = apply(bench.target(), bench.change(Action.CREATE, login="ann", title="x" * 41))
    assert (outcome.status, outcome.target_id) == (Status.PARTLY, "u000001")
    assert list(outcome.refused) == ["title"]
    assert list(bench.see()) == ["u000001"]


# Members


@behaviour(
    33,
    ghost_is_done=author(
        verdict=verdicts(lambda step, answer, honest: Done() if isinstance(honest, Refused) else honest)
    ),
    whole_call_fails=kit(splits=lambda honest: lambda members: False),
)
def all_but_the_ghost_join(bench: Bench) -> None:
    """Some are in already, one is nobody: the rest joins, and the ghost is named."""
    keys, group = bench.people(200), bench.put(Kind.GROUP, name="g")
    bench.join(group, *keys[:3])
    members = (*keys, "987654321")
    (outcome,) = apply(bench.target(), bench.change(Action.ADD_MEMBERS, group, kind=Kind.GROUP, members=members))
    assert {member for _, member in bench.edges()} == set(keys)
    assert (outcome.status, list(outcome.refused)) == (Status.PARTLY, ["987654321"])


@behaviour(34, leaves_first=kit(placeholder=lambda honest: lambda *arguments: []))
def a_group_that_needs_a_member_has_one(bench: Bench) -> None:
    """The last member may leave; the entry that stands in is never seen."""
    key, group = bench.put(login="ann", name="Ann"), bench.put(Kind.GROUP, name="g")
    bench.join(group, key)
    target = bench.target(needs_member=True)
    if isinstance(bench, MemoryBench):
        bench.store.strict = True
    (outcome,) = apply(target, bench.change(Action.REMOVE_MEMBERS, group, kind=Kind.GROUP, members=[key]))
    assert outcome.status is Status.DONE
    assert (group, key) not in bench.edges()
    assert not len(target.read(bench.wanted).members)


@behaviour(
    35,
    forgets_the_serial=author(
        steps=lambda honest: lambda known, one, held: [replace(step, serial=None) for step in honest(known, one, held)]
    ),
)
def changes_of_one_group_never_overlap(bench: Bench) -> None:
    """Two changes of a group at the same time end as one after the other."""
    keys, groups = bench.people(60), [bench.put(Kind.GROUP, name=f"g{number}") for number in range(3)]
    changes = [
        bench.change(Action.ADD_MEMBERS, group, kind=Kind.GROUP, members=keys[start : start + 10])
        for start in range(0, 60, 10)
        for group in groups
    ]
    outcomes = apply(bench.target(concurrency=8), *changes)
    assert {one.status for one in outcomes} == {Status.DONE}
    assert bench.edges() == {(group, key) for group in groups for key in keys}
    if isinstance(bench, MemoryBench):
        assert not bench.store.races


@behaviour(
    36,
    replaces_the_list=author(
        steps=lambda honest: (
            lambda known, one, held: [
                *(
                    [Step(("members", one.target_id, (), tuple(_OTHERS)))]
                    if one.action is Action.ADD_MEMBERS and _OTHERS
                    else []
                ),
                *honest(known, one, held),
            ]
        )
    ),
)
def other_members_stay(bench: Bench) -> None:
    """Who joins takes nobody else's place."""
    first, second, group = (
        bench.put(login="a", name="A"),
        bench.put(login="b", name="B"),
        bench.put(Kind.GROUP, name="g"),
    )
    bench.join(group, first)
    _OTHERS[:] = [first]
    apply(bench.target(), bench.change(Action.ADD_MEMBERS, group, kind=Kind.GROUP, members=[second]))
    _OTHERS.clear()
    assert bench.edges() == {(group, first), (group, second)}


_OTHERS: list[str] = []


# Faults


def _repeats_blindly(honest: Any) -> Any:
    async def settle(at: Any, change: Any, step: Any, *, lost: bool) -> Any:
        return Resend(change)

    return settle


@behaviour(
    37,
    repeats_blindly=kit(settle=_repeats_blindly),
    adopts_a_namesake=author(ours=lambda honest: lambda known, change, row: True),
)
def a_lost_answer_means_one_effect(bench: Bench) -> None:
    """Lost before or after the effect: one entry. A namesake is not taken for ours."""
    target = bench.target()
    for number, fault in enumerate(("lost after", "lost before")):
        fired = bench.trouble(fault, verb="create")
        (outcome,) = apply(target, bench.change(Action.CREATE, login=f"user{number}", name="Ann"))
        assert fired.fired
        assert outcome.status is Status.DONE
        assert [entry["login"] for entry in bench.see().values()].count(f"user{number}") == 1
    stranger = bench.put(login="taken", name="Somebody Else")
    bench.trouble("lost before", verb="create")
    (outcome,) = apply(target, bench.change(Action.CREATE, login="taken", name="Ann"))
    assert (outcome.status, outcome.code) == (Status.REJECTED, ErrorCode.CONFLICT)
    assert bench.entry(stranger)["name"] == "Somebody Else"


@behaviour(
    38,
    shifts_by_one=author(
        unpack=lambda honest: lambda known, steps_, answer: [*list(honest(known, steps_, answer))[1:], ("done",)]
    ),
)
def each_change_of_a_pack_has_its_own_verdict(bench: Bench) -> None:
    """Mixed answers, a missing answer, and a pack refused whole."""
    bench.put(login="taken", name="Taken")
    target = bench.target(pack=10, concurrency=1)
    logins = ["a", "taken", "b", "c"]
    outcomes = apply(target, *(bench.change(Action.CREATE, login=login, name=login) for login in logins))
    assert [one.status for one in outcomes] == [Status.DONE, Status.REJECTED, Status.DONE, Status.DONE]
    for login, one in zip(logins, outcomes, strict=True):
        if one.status is Status.DONE:
            assert bench.entry(str(one.target_id))["login"] == login
    for number, fault in enumerate(("hole in pack", "short pack", "pack refused")):
        fired = bench.trouble(fault, verb="pack")
        outcomes = apply(target, *(bench.change(Action.CREATE, login=f"p{number}{n}", name="P") for n in range(3)))
        assert fired.fired
        assert {one.status for one in outcomes} == {Status.DONE}
        assert sum(str(entry["login"]).startswith(f"p{number}") for entry in bench.see().values()) == 3


@behaviour(
    39,
    accepted_is_done=author(
        verdict=verdicts(lambda step, answer, honest: Done("u000001") if answer[0] == "later" else honest)
    ),
)
def a_job_is_waited_for(bench: Bench) -> None:
    """What the system does later is done when it is done; a job that failed is refused."""
    target = bench.target()
    for fault, status in (("not yet", Status.DONE), ("job failed", Status.REJECTED)):
        bench.trouble("job", verb="create")
        fired = bench.trouble(fault, verb="poll")
        (outcome,) = apply(target, bench.change(Action.CREATE, login=fault, name="Ann"))
        assert fired.fired
        assert outcome.status is status
    assert [entry["login"] for entry in bench.see().values()] == ["not yet"]


@behaviour(40, does_not_wait=kit(waits=lambda honest: lambda asked, usual: 0.0))
def a_system_that_asks_for_peace_gets_it(bench: Bench) -> None:
    """The wait that it asks for, and nothing refused."""
    fault = bench.trouble("throttled", verb="create", times=2)
    (outcome,) = apply(bench.target(concurrency=1), bench.change(Action.CREATE, login="ann", name="Ann"))
    assert fault.fired == 2
    assert outcome.status is Status.DONE
    assert sum(bench.clock.slept) >= 4.0


@behaviour(41, goes_on=kit(stops=lambda honest: lambda error: False))
def wrong_credentials_stop(bench: Bench) -> None:
    """Nothing more is sent, and whatever was not sent is told as such."""
    fault = bench.trouble("not trusted", verb="create", times=999)
    told: list[Outcome] = []
    changes = [bench.change(Action.CREATE, login=f"user{number}", name="Ann") for number in range(50)]
    target = bench.target(concurrency=2)
    with pytest.raises(CredentialsError):
        refuse_all(target.apply(changes, told.append) or told)
    assert fault.fired <= (4 if bench.renews else 2)
    assert {one.status for one in told} <= {Status.NOT_SENT, Status.UNKNOWN}
    assert len({one.change_id for one in told}) == len(told)


@behaviour(42, sends_one_more=kit(halts=lambda honest: lambda halted: False))
def halted_means_nothing_more(bench: Bench) -> None:
    """What was not sent is told at once, and every change exactly once."""
    target = bench.target(concurrency=1)
    halt = target.halt  # type: ignore[attr-defined]
    changes = [bench.change(Action.CREATE, login=f"user{number}", name="Ann") for number in range(1000)]
    outcomes = apply(target, *changes, while_told=lambda outcome: halt(grace_s=30.0))
    done = [one for one in outcomes if one.status is Status.DONE]
    assert len(done) == len(bench.see())
    assert len(done) < 1000
    assert {one.status for one in outcomes} == {Status.DONE, Status.NOT_SENT}
