"""A SCIM service as source."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from connectors.contract import Form, Kind, Snapshot, Source, Wanted
from connectors.errors import SettingsError
from connectors.registry import find, open_source
from connectors.scim.connector import ScimSource
from tests.connectors.scim.changes import MANAGER
from tests.servers.scim_service import ScimService

PEOPLE: list[dict[str, Any]] = [
    {"id": "i1", "userName": "ann", "externalId": "E1", "active": True},
    {"id": "i2", "userName": "bob", "externalId": "E2", "active": False,
     MANAGER.rpartition(":")[0]: {"manager": {"value": "i1"}}},
    {"id": "i3", "userName": "eve", "externalId": "E3"},
    {"id": "i4", "userName": "nobody"},
    {"id": "i5", "userName": "twin 1", "externalId": "T"},
    {"id": "i6", "userName": "twin 2", "externalId": "T"},
]  # fmt: skip
GROUPS: list[dict[str, Any]] = [
    {"id": "g1", "displayName": "Sales", "members": [{"value": name} for name in ("i1", "i2", "i4")]},
    {"id": "g2", "displayName": "All", "members": [{"value": "g1"}]},
]
WANTED = Wanted(("userName", MANAGER, f"{MANAGER}.value"), ("displayName",))


def source_at(service: ScimService, **settings: Any) -> Source:
    """The service as a job's source."""
    chosen = find("scim").source_settings
    assert chosen is not None
    given = chosen.model_validate({"url": service.url, "auth": {"bearer": "${env:SCIM_TOKEN}"}, **settings})
    source = open_source("scim", given, folder=Path())
    assert isinstance(source, Source)
    return source


def read(service: ScimService, **settings: Any) -> Snapshot:
    service.seed(users=PEOPLE, groups=GROUPS)
    source = source_at(service, **settings)
    try:
        assert "answers as a SCIM" in source.check()
        assert (source.attributes(Kind.USER) or {})["userName"].form is Form.TEXT
        return source.read(WANTED)
    finally:
        source.close()


def test_by_id(service: ScimService) -> None:
    """Users by their id; who is not active is disabled, and only the wanted columns are given."""
    snapshot = read(service)
    assert snapshot.complete
    assert snapshot.users.index.to_list() == ["i1", "i2", "i3", "i4", "i5", "i6"]
    assert list(snapshot.users.columns) == list(WANTED.users)
    assert snapshot.disabled == {"i2"}
    assert snapshot.users.loc["i2", MANAGER] == "i1"
    assert snapshot.members.to_numpy().tolist() == [["g1", "i1"], ["g1", "i2"], ["g1", "i4"], ["g2", "g1"]]
    assert json.loads(snapshot.watermark or "").keys() == {"user", "group"}


def test_by_another_key(service: ScimService) -> None:
    """Key, memberships and managers speak the same language; who cannot be named is unreadable, not gone."""
    snapshot = read(service, key="externalId")
    assert snapshot.users.index.to_list() == ["E1", "E2", "E3"]
    assert snapshot.disabled == {"E2"}
    assert snapshot.users.loc["E2", MANAGER] == "E1"
    assert snapshot.users.loc["E2", f"{MANAGER}.value"] == "E1"
    assert snapshot.users[MANAGER].dtype == "str"
    assert snapshot.members.to_numpy().tolist() == [["g1", "E1"], ["g1", "E2"], ["g2", "g1"]]
    assert sorted((entry.key, entry.place) for entry in snapshot.unreadable if entry.key) == [
        ("T", "/Users/i5"),
        ("T", "/Users/i6"),
    ]
    assert [entry.place for entry in snapshot.unreadable if entry.key is None] == ["/Users/i4"]
    assert not snapshot.complete


def test_settings_are_cheap(tmp_path: Path) -> None:
    """Opening touches neither network nor files: only check and read do."""
    settings = find("scim").source_settings
    assert settings is not None
    source = open_source(
        "scim", settings.model_validate({"url": "https://127.0.0.1:1", "ca_file": "absent.pem"}), folder=tmp_path
    )
    assert isinstance(source, ScimSource)
    with pytest.raises(SettingsError, match=r"absent\.pem"):
        source.check()


@pytest.fixture
def source(service: ScimService) -> Iterator[Source]:
    """A source with ann and bob, and a group of them, last changed at known moments."""
    service.seed(
        users=[{"id": name, "userName": name, "active": True} for name in ("ann", "bob")],
        groups=[
            {"id": "g1", "displayName": "Sales", "members": [{"value": "ann"}]},
            {"id": "g2", "displayName": "All"},
        ],
    )
    opened = source_at(service, overlap_s=0)
    yield opened
    opened.close()


def test_a_delta_holds_what_changed_and_says_how_many_there_are(service: ScimService, source: Source) -> None:
    """By meta.lastModified; with the memberships of changed groups only. Two more requests for the counts."""
    wanted = Wanted(("userName",), ("displayName",))
    first = source.read(wanted)
    assert first.watermark is not None
    service.users["bob"] = service.users["bob"] | {"userName": "bobby"}
    service.groups["g2"] = service.groups["g2"] | {"members": [{"value": "bob"}]}
    user, group = (
        shelf[key]["meta"]["lastModified"] for shelf, key in ((service.users, "bob"), (service.groups, "g2"))
    )
    delta = source.read(wanted, since=json.dumps({"user": user, "group": group}))
    assert delta.users["userName"].to_dict() == {"bob": "bobby"}
    assert delta.groups.index.to_list() == ["g2"]
    assert delta.members.to_numpy().tolist() == [["g2", "bob"]]
    assert delta.everybody == {Kind.USER: 2, Kind.GROUP: 2}
    assert not delta.all_members
    assert json.loads(delta.watermark or "") == {"user": user, "group": group}


def test_a_change_that_is_shown_late_is_seen(service: ScimService) -> None:
    """A service with several nodes may show a change a while after later ones; it is asked from 15 minutes before."""
    service.seed(users=[{"id": name, "userName": name, "active": True} for name in ("ann", "bob")], groups=[])
    source = source_at(service)
    wanted = Wanted(("userName",))
    moment = datetime.now(UTC) + timedelta(minutes=14)
    delta = source.read(wanted, since=json.dumps({"user": moment.isoformat()}))
    assert set(delta.users.index) == {"ann", "bob"}
    assert json.loads(delta.watermark or "") == {"user": moment.isoformat()}  # it never moves back
    source.close()


def test_a_source_that_pages_by_cursor() -> None:
    """RFC 9865: everything, and what changed since, is read from cursor to cursor; nobody twice and nobody left out."""
    with ScimService(quirks={"cursor": "demanded"}, max_page_size=3) as service:
        service.seed(users=[{"id": f"u{number}", "userName": f"user {number}"} for number in range(10)])
        opened = source_at(service, overlap_s=0)
        first = opened.read(Wanted(("userName",)))
        assert first.complete, first.incomplete
        assert sorted(first.users.index) == [f"u{number}" for number in range(10)]
        for number in range(5):
            service.users[f"u{number}"] = service.users[f"u{number}"] | {"title": "new"}
        service.reset_counts()
        moment = service.users["u0"]["meta"]["lastModified"]
        delta = opened.read(Wanted(("userName",)), since=json.dumps({"user": moment}))
        opened.close()
    assert sorted(delta.users.index) == [f"u{number}" for number in range(5)]
    assert delta.everybody == {Kind.USER: 10}
    answered = [entry.path for entry in service.log if "filter=" in entry.path and entry.status == 200]
    assert ["cursor=" in path for path in answered] == [True, True]


@pytest.mark.parametrize("filters", ["ignored", "refused", "silent_empty"])
def test_a_service_that_cannot_filter_is_read_whole_or_found_out(filters: str) -> None:
    """Entries that did not change since, and refusals, show that the delta is none; an empty answer adds up with what
    is known, and what changed shows at the next whole read.
    """
    with ScimService(quirks={"filter": filters}) as service:
        service.seed(users=[{"id": name, "userName": name, "active": True} for name in ("ann", "bob")])
        opened = source_at(service)
        snapshot = opened.read(Wanted(("userName",)), since=json.dumps({"user": "2099-01-01T00:00:00Z"}))
        opened.close()
    if filters == "silent_empty":
        assert snapshot.everybody == {Kind.USER: 2}
    else:
        assert not snapshot.everybody
        assert sorted(snapshot.users.index) == ["ann", "bob"]
