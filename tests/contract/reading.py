"""Behaviours of listings, finding and traits."""

from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pandas as pd
import pytest

from connectors.contract import Action, Kind, Status
from connectors.errors import FatalError, SchemaMismatchError
from connectors.kit import KEY, Page
from tests.contract.bench import Bench, MemoryBench, apply
from tests.contract.suite import author, behaviour, kit

Pages = Callable[..., AsyncIterator[Page]]


def pages(change: Callable[[Page, int], Page | None]) -> Callable[[Pages], Pages]:
    """A listing whose pages are changed on the way; None drops a page."""

    def broken(honest: Pages) -> Pages:
        async def lying(*arguments: Any) -> AsyncIterator[Page]:
            number = 0
            async for page in honest(*arguments):
                changed = change(page, number)
                number += 1
                if changed is not None:
                    yield changed

        return lying

    return broken


def rules(**parts: Any) -> Any:
    """A lie about the kit's rules for reading."""
    return kit(
        rules=lambda honest: replace(honest, **{name: broken(getattr(honest, name)) for name, broken in parts.items()})
    )


def _drops_last_row(page: Page, number: int) -> Page:
    return replace(page, rows=page.rows[:-1], total=None) if page.next is None else page


@behaviour(1, drops_the_last_row=author(pages=pages(_drops_last_row)))
def everybody_arrives_once(bench: Bench) -> None:
    """2,500 entries over many pages arrive once each, complete."""
    keys = bench.people(2500)
    snapshot = bench.target().read(bench.wanted)
    assert sorted(snapshot.users.index) == sorted(keys)
    assert snapshot.complete


def _swallows(honest: Pages) -> Pages:
    async def lying(*arguments: Any) -> AsyncIterator[Page]:
        held: list[Page] = []
        try:
            async for page in honest(*arguments):
                held += [page]
        except Exception:
            held[-1:] = [replace(held[-1], next=None, total=None)] if held else []
        for page in held:
            yield replace(page, total=None)

    return lying


@behaviour(2, swallows_the_error=author(pages=_swallows))
def a_cut_listing_proves_nothing(bench: Bench) -> None:
    """A page that is lost midway: no snapshot, or one that says it is incomplete."""
    bench.people(1200)
    fault = bench.trouble("cut", verb="page", nth=2, times=99)
    with suppress(FatalError):
        assert not bench.target().read(bench.wanted).complete
    assert fault.fired


@behaviour(3, follows_a_circle=rules(is_circle=lambda honest: lambda cursor, seen: False))
def a_circle_is_stopped(bench: Bench) -> None:
    """A cursor that repeats ends the listing, with a sentence."""
    bench.people(1800)
    bench.trouble("circle", verb="page", times=99)
    try:
        said = bench.target().read(bench.wanted).incomplete
    except FatalError as error:
        said = (str(error),)
    assert any("circle" in sentence for sentence in said)


@behaviour(4, ignores_the_total=rules(agrees=lambda honest: lambda count, total: True))
def counts_must_agree(bench: Bench) -> None:
    """The system counts more than it lists: incomplete."""
    bench.people(30)
    if isinstance(bench, MemoryBench):
        honest = bench.system.pages
        bench.system = replace(bench.system, pages=pages(lambda page, _: replace(page, rows=page.rows[1:]))(honest))
    else:
        bench.trouble("one missing", verb="page")
    assert not bench.target().read(bench.wanted).complete


def _stops_at_empty(honest: Pages) -> Pages:
    async def lying(*arguments: Any) -> AsyncIterator[Page]:
        async for page in honest(*arguments):
            if not page.rows:
                yield replace(page, next=None, total=None)
                return
            yield replace(page, total=None)

    return lying


@behaviour(5, stops_at_an_empty_page=author(pages=_stops_at_empty))
def an_empty_page_is_not_the_end(bench: Bench) -> None:
    """An empty page in the middle is followed by the next."""
    keys = bench.people(1200)
    fault = bench.trouble("empty", verb="page", nth=2)
    snapshot = bench.target().read(bench.wanted)
    assert fault.fired
    assert (len(snapshot.users), snapshot.complete) == (len(keys), True)


def _keeps_quiet(honest: Any) -> Any:
    def take(listing: Any, page: Page, where: str) -> None:
        honest(listing, page, where)
        listing.doubts.clear()

    return take


@behaviour(6, keeps_quiet_about_doubles=rules(take=_keeps_quiet, agrees=lambda honest: lambda count, total: True))
def an_entry_that_comes_twice_is_a_doubt(bench: Bench) -> None:
    """An entry that moved between pages comes once, and somebody else may have been missed."""
    bench.people(1200)
    fault = bench.trouble("doubled", verb="page", nth=2)
    snapshot = bench.target().read(bench.wanted)
    assert fault.fired
    assert snapshot.users.index.is_unique
    assert not snapshot.complete


def _drops_unreadable(page: Page, number: int) -> Page:
    return replace(page, unreadable=(), total=None)


@behaviour(7, drops_what_cannot_be_read=author(pages=pages(_drops_unreadable)))
def a_bad_row_has_a_place_and_a_reason(bench: Bench) -> None:
    """One entry that cannot be read does not take the others with it, and is no leaver."""
    if not isinstance(bench, MemoryBench):
        bench.trouble("unreadable", verb="page")
    good = bench.put(login="fine", name="Fine")
    bad = bench.put(login="bad", name="unreadable")
    snapshot = bench.target().read(bench.wanted)
    assert list(snapshot.users.index) == [good]
    assert [(row.key, bool(row.reason), bool(row.place)) for row in snapshot.unreadable] == [(bad, True, True)]


@behaviour(8, believes_an_empty_list=rules(agrees=lambda honest: lambda count, total: True))
def an_empty_answer_is_not_an_empty_system(bench: Bench) -> None:
    """Rights taken away often look like nobody being there."""
    bench.people(3)
    if isinstance(bench, MemoryBench):
        honest = bench.system.pages
        bench.system = replace(bench.system, pages=pages(lambda page, _: replace(page, rows=()))(honest))
    else:
        bench.trouble("nobody", verb="page")
    assert not bench.target().read(bench.wanted).complete


def _guesses(honest: Any) -> Any:
    def frame_of(*arguments: Any) -> Any:
        frame = honest(*arguments)
        guessed = {path: frame[path].replace({"None": None, "00123": "123"}) for path in frame.columns}
        return frame.assign(**guessed)

    return frame_of


@behaviour(9, guesses_types=rules(frame_of=_guesses))
def values_arrive_in_form(bench: Bench) -> None:
    """Exactly the wanted columns; a person named None and 00123 stay what they are."""
    key = bench.put(login="00123", name="None", level=7)
    snapshot = bench.target().read(bench.wanted)
    assert list(snapshot.users.columns) == list(bench.wanted.users)
    held = bench.values(snapshot, key)
    assert (held["login"], held["name"], held["level"]) == ("00123", "None", "7")


def _folds_empty(page: Page, number: int) -> Page:
    return replace(
        page, rows=[{path: None if value == "" else value for path, value in row.items()} for row in page.rows]
    )


@behaviour(10, folds_empty_into_null=author(pages=pages(_folds_empty)))
def empty_text_is_not_null(bench: Bench) -> None:
    """Null and empty text stay two things."""
    empty, null = bench.put(login="a", name=""), bench.put(login="b", name=None)
    snapshot = bench.target().read(bench.wanted)
    assert (bench.values(snapshot, empty)["name"], bench.values(snapshot, null)["name"]) == ("", None)


def _reads_late(honest: Any) -> Any:
    def take(listing: Any, page: Page, where: str) -> None:
        listing.rows.clear()
        honest(listing, page, where)

    return take


@behaviour(11, tells_only_the_last_page=rules(take=_reads_late))
def progress_is_told(bench: Bench) -> None:
    """How many have been read, never going back, up to all of them."""
    keys = bench.people(1200)
    told: list[int] = []
    bench.target().read(bench.wanted, progress=told.append)
    assert told == sorted(told)
    assert told[-1] == len(keys)


def _forgets_gone(page: Page, number: int) -> Page:
    return replace(page, gone=())


@behaviour(12, forgets_who_is_gone=author(pages=pages(_forgets_gone)))
def a_delta_says_who_came_and_who_went(bench: Bench) -> None:
    """A listing of changes is the difference of two whole ones: it names who is gone, or everybody who is there."""
    keys = bench.people(5)
    target = bench.target()
    before = target.read(bench.wanted)
    if before.watermark is None:
        raise _no_deltas()
    target.apply([bench.change(Action.DELETE, keys[0])], lambda outcome: None)
    bench.edit(keys[1], name="Changed")
    new = bench.put(login="new", name="New")
    after = target.read(bench.wanted, since=before.watermark)
    assert set(after.users.index) == {keys[1], new}
    still_there = after.everybody.get(Kind.USER)
    told_by_absence = set(keys) - set(still_there) if isinstance(still_there, pd.Index) else set()
    assert after.gone[Kind.USER] | told_by_absence == {keys[0]}
    assert not after.reread


def _no_deltas() -> Exception:
    from tests.contract.bench import Gap

    return Gap("The system has no notion of change.")


@behaviour(
    13,
    uses_any_watermark=rules(
        read_envelope=lambda honest: (
            lambda system, known, wanted, text: (dict.fromkeys(Kind, "1"), "") if text else (None, "")
        )
    ),
)
def a_strange_watermark_means_reading_all(bench: Bench) -> None:
    """A watermark of other attributes, or that is nonsense, is not used, and that is said."""
    keys = bench.people(5)
    target = bench.target()
    mark = target.read(replace(bench.wanted, users=bench.wanted.users[:2])).watermark
    if mark is None:
        raise _no_deltas()
    for strange in (mark, "nonsense", "{}"):
        snapshot = target.read(bench.wanted, since=strange)
        assert (len(snapshot.users), bool(snapshot.reread)) == (len(keys), True)


def _no_reread(honest: Pages) -> Pages:
    from connectors.kit import Reread

    async def lying(*arguments: Any) -> AsyncIterator[Page]:
        try:
            async for page in honest(*arguments):
                yield page
        except Reread:
            yield Page(watermark="9")

    return lying


@behaviour(14, takes_a_forgotten_mark_for_no_change=author(pages=_no_reread))
def a_forgotten_watermark_means_reading_all(bench: Bench) -> None:
    """When the system no longer knows the watermark, everything is read."""
    keys = bench.people(5)
    target = bench.target()
    mark = target.read(bench.wanted).watermark
    if mark is None:
        raise _no_deltas()
    fault = bench.trouble("expired", verb="delta")
    snapshot = target.read(bench.wanted, since=mark)
    assert fault.fired
    assert (len(snapshot.users), bool(snapshot.reread)) == (len(keys), True)


# Finding


def look(change: Callable[[Any, Page], Page]) -> Callable[[Any], Any]:
    """A look whose answer is changed."""

    def broken(honest: Any) -> Any:
        async def lying(wire: Any, known: Any, sought: Any) -> Page:
            return change(sought, await honest(wire, known, sought))

        return lying

    return broken


def _exact_only(sought: Any, page: Page) -> Page:
    return (
        page
        if sought.path == KEY
        else replace(page, rows=[row for row in page.rows if row.get(sought.path) in sought.values])
    )


@behaviour(15, compares_text=author(look=look(_exact_only)))
def finding_compares_as_the_system_does(bench: Bench) -> None:
    """Case where it does not count; quotes, stars and backslashes mean themselves."""
    keys = {
        login: bench.put(login=login, name=login) for login in ("Ann.Lee", "o'brien", 'a"b', "50%*_", "back\\slash")
    }
    target, path = bench.target(), bench.path("login")
    for login, key in keys.items():
        assert list(target.find(Kind.USER, path, [login.upper()], bench.wanted).index) == [key]
    assert not len(target.find(Kind.USER, path, ["*", "%", "' OR 1=1"], bench.wanted))


@behaviour(16, takes_the_first=rules(fits=lambda honest: lambda known, sought, row: True))
def a_dropped_condition_stops(bench: Bench) -> None:
    """A system that answers a question with everybody is not believed."""
    bench.people(3)
    fault = bench.trouble("everybody", verb="look")
    with pytest.raises(SchemaMismatchError):
        refuse_all(bench.target().find(Kind.USER, bench.path("login"), ["user00001"], bench.wanted))
    assert fault.fired


def refuse_all(found: Any) -> None:
    """What should have been refused is a failure of the behaviour, not of the test."""
    raise AssertionError(f"{len(found)} entries were believed")


@behaviour(17, gives_one=author(look=look(lambda sought, page: replace(page, rows=page.rows[:1]))))
def two_hits_are_both_told(bench: Bench) -> None:
    """Who matches is not chosen by the connector."""
    keys = [bench.put(login=f"twin{number}", name="Twin") for number in range(2)]
    assert sorted(bench.target().find(Kind.USER, bench.path("name"), ["Twin"], bench.wanted).index) == sorted(keys)


@behaviour(18, asks_once=kit(late=lambda honest: lambda settles_in_s: iter((0.0,))))
def a_late_look_sees_what_shows_late(bench: Bench) -> None:
    """An entry that was made a moment ago is waited for."""
    bench.trouble("late", verb="look")
    key = bench.put(login="late", name="Late")
    if isinstance(bench, MemoryBench):
        bench.store.hidden[key] = 2
    target, path = bench.target(), bench.path("login")
    assert list(target.find(Kind.USER, path, ["late"], bench.wanted, late=True).index) == [key]


@behaviour(19, gives_the_first_range=author(look=look(lambda sought, page: replace(page, edges=page.edges[:1000]))))
def a_fetched_group_has_all_its_members(bench: Bench) -> None:
    """Gone ids are left out; members are whole."""
    keys = bench.people(1500)
    group = bench.put(Kind.GROUP, name="All")
    bench.join(group, *keys)
    found = bench.target().fetch(Kind.GROUP, [group, "987654321"], bench.wanted)
    assert list(found.groups.index) == [group]
    assert sorted(found.members["member"]) == sorted(keys)


def _refuses_silently(honest: Any) -> Any:
    def steps(known: Any, change: Any, held: Any) -> Any:
        return honest(known, replace(change, attributes={**change.attributes, "level": 0}), held)

    return steps


@behaviour(20, claims_what_it_does_not_keep=author(steps=_refuses_silently))
def traits_agree_with_the_server(bench: Bench) -> None:
    """Each role that can be written takes a value and gives it back."""
    wanted = {"login": "ann", "name": "Ann", "title": "Chief", "level": "42", "vip": True, "since": "2026-02-03"}
    known = {role: value for role, value in wanted.items() if role in bench.paths}
    target = bench.target()
    (made,) = apply(target, bench.change(Action.CREATE, **known))
    assert made.status is Status.DONE
    held = bench.values(target.read(bench.wanted), str(made.target_id))
    assert {role: held[role] for role in known} == known


def _everybody_active(page: Page, number: int) -> Page:
    return replace(page, rows=[{**row, "state": "on"} for row in page.rows])


@behaviour(21, says_that_everybody_is_active=author(pages=pages(_everybody_active)))
def active_is_a_boolean(bench: Bench) -> None:
    """Whoever is switched off is read as inactive, and everybody else as active."""
    on, off = bench.put(login="on", name="On"), bench.put(login="off", name="Off")
    target = bench.target()
    apply(target, bench.change(Action.DISABLE, off, active=False))
    column = target.read(bench.wanted).users[bench.switch]
    assert (bool(column[on]), bool(column[off])) == (True, False)
