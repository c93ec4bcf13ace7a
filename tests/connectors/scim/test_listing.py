"""Lists: read to the end where they can be, and never called complete where they may not be."""

from typing import Any

import pandas as pd
import pytest

from connectors.contract import Kind, Snapshot, Wanted
from connectors.errors import SchemaMismatchError, SettingsError, UnreachableError
from connectors.scim.codec import Codec
from connectors.scim.columns import Collector
from connectors.scim.connector import ScimTarget
from connectors.scim.listing import page_of
from connectors.scim.schema import STANDARD
from tests.connectors.scim.conftest import Opener
from tests.servers.scim_service import ScimService

COUNT = 57
WANTED = Wanted(("userName", "active"))


def read(service: ScimService, open_target: Opener, *, page_size: int = 10, **quirks: str) -> Snapshot:
    service.quirks.update(quirks)
    service.seed(count=COUNT)
    return open_target(service.url, page_size=page_size).read(WANTED)


def everybody(service: ScimService) -> list[str]:
    return sorted(service.users)


@pytest.mark.parametrize(
    "quirks",
    [
        {},
        {"past_the_end": "first_page"},
        {"past_the_end": "error_500"},
        {"count_over_largest": "refused"},
        {"count": "error_500"},
        {"total_results": "text"},
        {"attributes_parameters": "ignored"},
    ],
)
@pytest.mark.parametrize("page_size", [10, 56, 57, 58, 5000])
def test_readable_lists(service: ScimService, open_target: Opener, quirks: dict[str, str], page_size: int) -> None:
    """Whatever page size is asked for and granted, everybody is read once, and the list is complete."""
    snapshot = read(service, open_target, page_size=page_size, **quirks)
    assert snapshot.complete, snapshot.incomplete
    assert sorted(snapshot.users.index) == everybody(service)
    assert snapshot.unreadable == ()


@pytest.mark.parametrize(
    ("quirks", "sentence"),
    [
        ({"total_results": "missing"}, "does not say how many"),
        ({"total_results": "page_size"}, "gives more behind the last"),
        ({"overlapping_pages": "repeat_last"}, "came twice"),
    ],
)
def test_doubtful_lists(service: ScimService, open_target: Opener, quirks: dict[str, str], sentence: str) -> None:
    """A list that does not add up is read as far as it goes, and is not complete."""
    snapshot = read(service, open_target, **quirks)
    assert not snapshot.complete
    assert sentence in " ".join(snapshot.incomplete)
    assert snapshot.users.index.is_unique


def test_paging_that_is_ignored(service: ScimService, open_target: Opener) -> None:
    """The same page again and again is an error after two of them, not a loop and not a small company."""
    service.application.default_page_size = 20
    with pytest.raises(SchemaMismatchError, match="ignores paging"):
        read(service, open_target, paging="ignored")
    assert service.requests["GET /Users"] < 10


@pytest.mark.parametrize("fault", [{"kind": "error", "status": 503}, {"kind": "hang", "seconds": 2.0}], ids=str)
def test_a_failure_that_passes_says_nothing_about_paging(
    service: ScimService, open_target: Opener, fault: dict[str, Any]
) -> None:
    """Where GET ignores paging the list is searched instead: a busy service is asked again, and is not given up."""
    service.application.default_page_size = 20
    service.quirks["paging"] = "honoured_in_search"
    service.seed(count=COUNT)
    service.set_fault(**fault, path="/Users/.search", times=1)
    snapshot = open_target(service.url, page_size=10, timeout_s=1).read(WANTED)
    assert snapshot.complete, snapshot.incomplete
    assert sorted(snapshot.users.index) == everybody(service)


def test_a_list_that_moves(service: ScimService, open_target: Opener, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody who leaves or joins while the pages are read makes the snapshot incomplete."""
    for change in ("leave", "join"):
        service.clear()
        service.seed(count=COUNT)
        target = open_target(service.url, page_size=10)
        original = Collector.add
        done: list[bool] = []

        def add(self: Collector, page: Any, change: str = change, done: list[bool] = done) -> None:
            original(self, page)  # noqa: B023
            if not done:
                done.append(True)
                if change == "leave":
                    del service.users[next(iter(service.users))]
                else:
                    service.seed(users=[{"userName": "late"}])

        monkeypatch.setattr(Collector, "add", add)
        snapshot = target.read(WANTED)
        monkeypatch.setattr(Collector, "add", original)
        assert not snapshot.complete, change
        assert "while they were read" in " ".join(snapshot.incomplete)


def test_one_poisoned_entry(service: ScimService, open_target: Opener) -> None:
    """An entry that makes its page fail is left out and named by its place; the others are read."""
    service.seed(count=COUNT)
    ids = list(service.users)
    target = open_target(service.url, page_size=10)
    # every request whose window covers the 34th entry fails
    for number, (start, count) in enumerate([(31, 10), (31, 5), (33, 3), (34, 2), (34, 1)]):
        service.set_fault("error", status=400, contains=f"startIndex={start}&count={count}", label=str(number))
    snapshot = target.read(WANTED)
    assert not snapshot.complete
    assert [unreadable.place for unreadable in snapshot.unreadable] == ["/Users, number 34 of the list"]
    assert set(ids) - set(snapshot.users.index) == {ids[33]}


def test_a_service_that_fails_midway(service: ScimService, open_target: Opener) -> None:
    """A read that cannot be finished is an error, not a shorter list."""
    service.seed(count=COUNT)
    target = open_target(service.url, page_size=10)
    service.set_fault("error", status=503, path=r"^/Users", after=2)
    with pytest.raises((UnreachableError, SchemaMismatchError)):
        target.read(WANTED)


@pytest.mark.parametrize("fault", ["reset", "truncated", "error", "too_many_requests"])
def test_faults_on_the_way(service: ScimService, open_target: Opener, fault: str) -> None:
    """One request in ten fails in some way, and the snapshot is complete all the same."""
    service.seed(count=COUNT)
    target = open_target(service.url, page_size=5)
    service.set_fault(fault, probability=0.1, path=r"^/Users")
    snapshot = target.read(WANTED)
    assert snapshot.complete, snapshot.incomplete
    assert sorted(snapshot.users.index) == everybody(service)


def test_groups_are_not_read_unless_wanted(service: ScimService, target: ScimTarget) -> None:
    """Wanted.groups None means no request for groups; finding groups does not load their members."""
    service.seed(count=3, group_count=2, members_per_group=2)
    snapshot = target.read(WANTED)
    assert service.requests["GET /Groups"] == 0
    assert list(snapshot.members.columns) == ["group", "member"]
    target.find(Kind.GROUP, "displayName", ["Group 0001"], WANTED)
    assert all("excludedAttributes=members" in entry.path for entry in service.log if entry.path.startswith("/Groups"))


def test_members_that_lists_leave_out(
    service: ScimService, target: ScimTarget, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where no listed group shows members, each group is asked for them."""
    [user] = service.seed(users=[{"userName": "a"}])[0]
    [group, _] = service.seed(groups=[{"displayName": "one", "members": [{"value": user}]}, {"displayName": "two"}])[1]
    original = Collector.add

    def add_without_members(self: Collector, page: Any) -> None:
        original(self, [{name: value for name, value in entry.items() if name != "members"} for entry in page])

    monkeypatch.setattr(Collector, "add", add_without_members)
    snapshot = target.read(Wanted((), ("displayName",)))
    assert snapshot.members.to_numpy().tolist() == [[group, user]]


# -- columns -------------------------------------------------------------------------------------------------------


def frame(pages: list[list[Any]], *paths: str) -> pd.DataFrame:
    collector = Collector(Codec(STANDARD[Kind.USER]), paths)
    for page in pages:
        collector.add(page)
    return collector.frame()


def test_values_keep_their_text() -> None:
    """Leading zeros, a person named None and numbers where text is expected stay what they are."""
    made = frame(
        [[{"id": "1", "userName": "None", "title": "007"}], [{"id": 2, "userName": 3, "title": ""}]],
        "userName",
        "title",
    )
    assert made.index.to_list() == ["1", "2"]
    assert made["userName"].to_list() == ["None", "3"]
    assert made["title"].to_list() == ["007", ""]
    assert str(made["userName"].dtype) == "str"


def test_booleans_that_are_text() -> None:
    """A service that gives "True" and "false" means booleans; what is none is null."""
    made = frame(
        [[{"id": str(n), "active": value} for n, value in enumerate(["True", "false", True, None, "?"])]], "active"
    )
    assert made["active"].dtype == "boolean"
    assert made["active"].isna().to_list() == [False, False, False, True, True]
    assert made["active"].dropna().to_list() == [True, False, True]


def test_lists_and_objects_stay_what_they_are() -> None:
    """Multi-valued attributes are lists, also an unknown one that shows itself on a later page only."""
    pages = [
        [{"id": "1", "urn:x:y": {"z": "text"}}],
        [{"id": "2", "roles": [{"value": "a"}], "urn:x:y": {"z": ["list"]}}],
    ]
    made = frame(pages, "roles", "roles.value", "urn:x:y:z")
    assert made["roles"].to_list() == [None, [{"value": "a"}]]
    assert made["roles.value"].to_list() == [None, ["a"]]
    assert made["urn:x:y:z"].to_list() == ["text", ["list"]]


def test_lists_of_one_length_stay_lists() -> None:
    """Two people with two addresses each are two lists, not a table."""
    emails = [{"value": "a"}, {"value": "b"}]
    made = frame([[{"id": "1", "emails": emails}, {"id": "2", "emails": emails}]], "emails.value", "emails")
    assert made["emails.value"].to_list() == [["a", "b"], ["a", "b"]]
    assert made["emails"].to_list() == [emails, emails]


def test_no_entries_have_the_right_types() -> None:
    """An empty frame has the columns and types of a full one."""
    made = frame([[]], "userName", "active", "emails")
    assert [str(dtype) for dtype in made.dtypes] == ["str", "boolean", "object"]
    assert (made.index.name, str(made.index.dtype)) == ("key", "str")


def test_entries_without_id_are_left_out_by_place() -> None:
    """What has no id is nobody that could be changed; its place is known."""
    collector = Collector(Codec(STANDARD[Kind.USER]), ["userName"])
    collector.add([{"id": "1"}, {"userName": "x"}, None, {"id": ""}])
    collector.add([{"id": "2"}, "text"])
    assert collector.skipped == [2, 3, 4, 6]
    assert collector.frame().index.to_list() == ["1", "2"]


@pytest.mark.parametrize("body", [[], "x", None, {"totalResults": 3}, {"totalResults": 1, "Resources": {}}, {}])
def test_what_is_no_list(body: Any) -> None:
    """A document that is no list response is an error, not an empty company."""
    with pytest.raises(SchemaMismatchError):
        page_of(body, what="users")


def test_wrong_paths_are_the_jobs_mistake(target: ScimTarget) -> None:
    """A path that cannot be parsed is found before anything is read."""
    with pytest.raises(SettingsError):
        target.find(Kind.USER, "emails[", ["x"], WANTED)
