"""Connections that end in the middle, and servers that are busy: everything happens once, and is known afterwards."""

from collections.abc import Iterator

import pytest

from connectors.contract import Action, Change, Kind, Status
from connectors.errors import UnreachableError
from tests.connectors.ldap.places import WANTED, Place, apply, change
from tests.servers.directories.proxy import Proxy, Request, windows

BUSY = 51
CUTS = pytest.mark.parametrize("cut", ["before", "after"])
"""The server never sees the request, or carries it out and the answer is lost."""


@pytest.fixture(params=["openldap", "samba"])
def wire(request: pytest.FixtureRequest) -> Iterator[tuple[Place, Proxy]]:
    """A place, and a proxy before its directory."""
    place: Place = request.getfixturevalue(f"in_{request.param}")
    with windows(place.directory) as proxy:
        place.url = proxy.url
        yield place, proxy
        place.close()


def joiner(place: Place) -> Change:
    """The create of one person, who can be found again."""
    known_by = ("sAMAccountName",) if place.is_ad else ("uid",)
    return change(Action.CREATE, attributes=place.person(1, description="new"), known_by=known_by)


@CUTS
def test_a_create_whose_answer_is_lost_is_made_once(wire: tuple[Place, Proxy], cut: str) -> None:
    """It is looked for before it is sent again, and its key is known."""
    place, proxy = wire
    trouble = proxy.trouble(Request.ADD, cut=cut)
    (made,) = apply(place.target(), joiner(place))
    assert trouble.fired == 1
    assert made.status is Status.DONE
    assert proxy.counts[Request.ADD] == (2 if cut == "before" else 1)
    assert list(place.directory.search(place.unit, "(employeeNumber=1)")) != []
    assert made.target_id in place.target().read(WANTED).users.index


@CUTS
def test_changes_whose_answers_are_lost_are_done(wire: tuple[Place, Proxy], cut: str) -> None:
    """An update, a member who leaves and a delete: what the directory holds decides."""
    place, proxy = wire
    target = place.target()
    first, second = (
        one.target_id or "" for one in apply(target, joiner(place), change(Action.CREATE, attributes=place.person(2)))
    )
    attributes = {"cn": "crew"} | ({"sAMAccountName": f"crew-{place.tag}"} if place.is_ad else {})
    (crew,) = apply(target, change(Action.CREATE, kind=Kind.GROUP, attributes=attributes))
    apply(target, change(Action.ADD_MEMBERS, crew.target_id, kind=Kind.GROUP, members=(first, second)))

    proxy.trouble(Request.MODIFY, cut=cut)
    assert apply(target, change(Action.UPDATE, first, attributes={"sn": "Anders"}))[0].status is Status.DONE
    (held,) = place.directory.search(place.unit, "(employeeNumber=1)").values()
    assert held["sn"] == ["Anders"]

    proxy.trouble(Request.MODIFY, cut=cut)
    leave = change(Action.REMOVE_MEMBERS, crew.target_id, kind=Kind.GROUP, members=(first,))
    assert apply(target, leave)[0].status is Status.DONE
    (group,) = place.directory.search(place.groups, "(cn=crew)").values()
    (still_there,) = place.directory.search(place.unit, "(employeeNumber=2)")
    assert [one.casefold() for one in group["member"] if one] == [still_there.casefold()]

    proxy.trouble(Request.DELETE, cut=cut)
    assert apply(target, change(Action.DELETE, first))[0].status is Status.DONE
    assert place.directory.search(place.unit, "(employeeNumber=1)") == {}
    assert [one.fired for one in proxy.troubles] == [1, 1, 1]


def test_a_busy_server_is_asked_again(wire: tuple[Place, Proxy]) -> None:
    """Result 51 says that nothing happened, so the create is sent again."""
    place, proxy = wire
    proxy.trouble(Request.ADD, code=BUSY)
    assert apply(place.target(), joiner(place))[0].status is Status.DONE
    assert proxy.counts[Request.ADD] == 2


def test_a_listing_that_breaks_off_is_no_listing(wire: tuple[Place, Proxy]) -> None:
    """Wherever the connection ends while a directory is read, there is no snapshot, and the reason is said."""
    place, proxy = wire
    place.put(25)
    source = place.source(limits={"page": 10})
    assert len(source.read(WANTED).users) == 25
    before = proxy.counts[Request.SEARCH]
    assert len(source.read(WANTED).users) == 25
    searches = proxy.counts[Request.SEARCH] - before
    broken: list[str] = []
    for number in range(1, searches + 1):
        trouble = proxy.trouble(Request.SEARCH, nth=number, cut="after")
        try:
            snapshot = source.read(WANTED)
        except UnreachableError as error:
            broken.append(str(error))
        else:  # a question that could be asked again
            assert snapshot.complete
            assert len(snapshot.users) == 25
        assert trouble.fired == 1
    assert any("in the middle of a listing" in one for one in broken)
