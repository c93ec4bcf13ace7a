"""Profiles: files that say how a service wants to be spoken to."""

from pathlib import Path

import pytest

from connectors.contract import Action, Kind, Reach, Status, Wanted
from connectors.errors import SchemaMismatchError, SettingsError
from connectors.gallery import profiles
from connectors.scim.profile import STANDARD, PatchForm, Profile, file_name, find_profile, parse, write
from tests.connectors.scim.changes import act, apply_one, create, create_group, update
from tests.connectors.scim.conftest import Opener
from tests.servers.scim_service import ScimService

URL = "https://app.example.com/scim"
ODD = Profile(
    service="Odd",
    patch="put",
    active="text",
    page_size=7,
    paging="cursor",
    filters={"emails": "dotted"},
    not_kept={"users": ["title"]},
    observed={"create": "HTTP 201", "a: b": "#1"},
)


def test_what_is_written_is_what_is_read() -> None:
    """A profile survives its file, and the file says only what is not as the standard has it."""
    text = write(ODD)
    assert parse(text, place="x") == ODD
    assert "remove_members" not in text
    assert parse(write(STANDARD), place="x") == STANDARD
    assert parse("", place="x") == STANDARD


def test_every_setting_explains_itself() -> None:
    """Whoever opens the file finds each setting's meaning or its possible values above it."""
    lines = write(ODD).splitlines()
    named = [number for number, line in enumerate(lines) if line.partition(":")[0] in Profile.model_fields]
    explained = {lines[number].partition(":")[0] for number in named if lines[number - 1].startswith("# ")}
    assert {"patch", "active", "page_size", "paging", "observed"} <= explained


@pytest.mark.parametrize(
    ("url", "name"),
    [
        (URL, "app.example.com.profile.yaml"),
        ("http://127.0.0.1:8080/v2", "127.0.0.1-8080.profile.yaml"),
        ("https://[::1]:99/", "--1-99.profile.yaml"),
    ],
)
def test_the_file_is_named_after_the_service(url: str, name: str) -> None:
    """Two jobs with one target share its profile; a job finds it without being told."""
    assert file_name(url) == name


def test_where_a_profile_is_looked_for(tmp_path: Path) -> None:
    """The file that is named, else the file for the service, else the standard."""
    assert find_profile(None, url=URL, folder=tmp_path) == STANDARD
    (tmp_path / file_name(URL)).write_text(write(ODD))
    assert find_profile(None, url=URL, folder=tmp_path) == ODD
    (tmp_path / "mine.yaml").write_text("patch: object\n")
    assert find_profile("mine.yaml", url=URL, folder=tmp_path).patch is PatchForm.OBJECT
    assert find_profile("slack", url=URL, folder=tmp_path).service == "Slack"


@pytest.mark.parametrize(
    ("named", "text", "message"),
    [
        ("slak", None, "Did you mean slack"),
        ("absent.yaml", None, "cannot be read: No such file"),
        ("bad.yaml", "patch: [", "bad.yaml is not YAML, line"),
        ("bad.yaml", "patch: sometimes", "patch: Input should be 'paths'"),
        ("bad.yaml", "patsch: put", "patsch: Extra inputs are not permitted"),
        ("bad.yaml", "- a", "is not a profile"),
    ],
)
def test_a_profile_that_is_none_is_said(tmp_path: Path, named: str, text: str | None, message: str) -> None:
    """What is wrong, and where, in a sentence."""
    if text is not None:
        (tmp_path / named).write_text(text)
    with pytest.raises(SettingsError, match=message.replace("[", r"\[")):
        find_profile(named, url=URL, folder=tmp_path)


@pytest.mark.parametrize("name", profiles())
def test_built_in_profiles_cite_their_sources(name: str, tmp_path: Path) -> None:
    """Every built-in profile can be read and names the pages that it was made from."""
    profile = find_profile(name, url=URL, folder=tmp_path)
    assert profile.service
    assert profile.sources
    assert all(source.startswith("https://") for source in profile.sources)
    assert not profile.probed


def test_the_built_in_profiles_are_all_there() -> None:
    """A folder that lost its files would pass the test above."""
    assert profiles() == [
        *("atlassian", "aws-iam-identity-center", "databricks", "entra-compatible", "github-enterprise", "gitlab"),
        "slack",
    ]


def test_the_connector_goes_by_the_profile(service: ScimService, open_target: Opener, tmp_path: Path) -> None:
    """What the profile says is what is sent, from the first request on."""
    path = tmp_path / "odd.yaml"
    path.write_text("patch: put\nadd_members: replace\nremove_members: values\nmembers_per_request: 3\ndelete: false\n")
    target = open_target(service.url, profile=str(path))
    traits = target.traits()
    assert traits.members_per_change == 3
    assert not traits.does(Kind.USER, Action.DELETE)
    user = apply_one(target, create("ann")).target_id or ""
    group = apply_one(target, create_group("Sales")).target_id or ""
    service.reset_counts()
    assert apply_one(target, update(user, {"title": "Boss"})).status is Status.DONE
    assert {"PUT /Users"} == {name for name in service.requests if not name.startswith("GET")}
    apply_one(target, act(Action.ADD_MEMBERS, group, kind=Kind.GROUP, members=(user,)))
    apply_one(target, act(Action.REMOVE_MEMBERS, group, kind=Kind.GROUP, members=(user,)))
    sent = [entry.json()["Operations"][0]["op"] for entry in service.log if entry.method == "PATCH"]
    assert sent == ["replace", "Remove"]


def test_what_a_service_does_not_keep_is_not_offered(service: ScimService, open_target: Opener, tmp_path: Path) -> None:
    """A mapping to it is an error of the job, before anything is sent."""
    path = tmp_path / "odd.yaml"
    path.write_text("not_kept: {users: [title]}\n")
    infos = open_target(service.url, profile=str(path)).attributes(Kind.USER)
    assert infos is not None
    assert infos.get("title") is None
    assert infos.get("nickName") is not None


def test_what_finds_nobody_is_not_asked_for_and_doubles_are_looked_for(
    service: ScimService, open_target: Opener, tmp_path: Path
) -> None:
    """By the profile, whatever the service says of itself: that a user name stands only once is not believed."""
    path = tmp_path / "odd.profile.yaml"
    path.write_text("doubles: true\nfilters: {blind: [externalId]}\n")
    target, plain = open_target(service.url, profile=str(path)), open_target(service.url)
    assert [one.attributes(Kind.USER)["userName"].unique for one in (plain, target)] == [Reach.SYSTEM, None]
    with pytest.raises(SchemaMismatchError, match="finds nobody by externalId"):
        target.find(Kind.USER, "externalId", ["7"], Wanted(()))
    assert not service.requests["GET /Users"]


def test_lists_by_cursor(open_target: Opener, tmp_path: Path) -> None:
    """RFC 9865: from cursor to cursor, where the profile says so or the index is refused."""
    path = tmp_path / "odd.yaml"
    path.write_text("paging: cursor\npage_size: 3\n")
    for settings, quirks in (({"profile": str(path)}, {}), ({}, {"cursor": "demanded"})):
        with ScimService(quirks=quirks, max_page_size=3) as service:
            service.seed(count=10)
            snapshot = open_target(service.url, **settings).read(Wanted(("userName",)))
            assert snapshot.complete, snapshot.incomplete
            assert len(snapshot.users) == 10
            pages = [entry.path for entry in service.log if "cursor=at-" in entry.path]
            assert len(pages) == 3
