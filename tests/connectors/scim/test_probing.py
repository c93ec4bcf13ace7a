"""What a probe sees of a service, and that it leaves nothing behind."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from connectors.contract import Pace, Wanted
from connectors.errors import FatalError
from connectors.scim.connector import ScimTarget
from connectors.scim.probing import Finding, Probe, Probed
from connectors.scim.profile import Profile
from connectors.scim.settings import ScimTargetSettings
from tests.connectors.clocks import FakeClock
from tests.servers.scim_service import ScimService, application

ANN = {"userName": "Ann@example.com", "emails": [{"type": "work", "value": "ann@example.com"}]}
PEOPLE = [ANN, *({"userName": f"u{number}@example.com"} for number in range(4))]


def settings_of(url: str) -> ScimTargetSettings:
    return ScimTargetSettings.model_validate({"url": url, "auth": {"bearer": "${env:SCIM_TOKEN}"}})


def probe(
    service: ScimService, *, write: bool = True, folder: Path = Path(), tell: Callable[[Finding], None] = lambda _: None
) -> Probed:
    one = Probe(settings_of(service.url), folder=folder, write=write, tell=tell, clock=FakeClock())
    try:
        return one.run(when="2026-01-02")
    finally:
        one.close()


def probe_quirks(*, write: bool = True, **quirks: str) -> tuple[Probed, ScimService]:
    with ScimService(quirks=quirks, default_page_size=3) as service:
        service.seed(users=PEOPLE)
        return probe(service, write=write), service


def answers(probed: Probed) -> dict[str, str]:
    return {f"{one.question}{f' by {one.form}' if one.form else ''}": one.answer for one in probed.findings}


def settings(probed: Probed) -> dict[str, Any]:
    return probed.profile.model_dump(mode="json", exclude_defaults=True, exclude={"probed", "observed"})


def test_reading_only_reads() -> None:
    """Without leave to write nothing but GET is sent, and what can be seen so is seen."""
    probed, service = probe_quirks(write=False)
    assert {name.partition(" ")[0] for name in service.requests} == {"GET"}
    seen = answers(probed)
    assert seen["/Schemas"] == "served"
    assert seen["startIndex and count"] == "honoured"
    assert seen["userName eq in another case"] == "found"
    assert seen["a page past the end"] == "empty"
    assert probed.profile.probed == "2026-01-02, reading only"
    assert settings(probed) == {}


def test_writing_leaves_nothing_behind() -> None:
    """A user and a group come and go; nobody else is touched, and both say by their names what they are."""
    with ScimService() as service:
        service.seed(users=PEOPLE, groups=[{"displayName": "Sales"}])
        before = (dict(service.users), dict(service.groups))
        probed = probe(service)
        assert (dict(service.users), dict(service.groups)) == before
        created = [entry.json() for entry in service.log if entry.method == "POST" and entry.status == 201]
    assert [one.get("userName") or one["displayName"] for one in created] != []
    assert all("provisor-probe-" in (one.get("userName") or one["displayName"]) for one in created)
    assert not probed.left_behind
    assert settings(probed) == {"doubles": False}


@pytest.mark.parametrize(
    ("quirks", "expected"),
    [
        ({"patch": "not_implemented"}, {"patch": "put", "add_members": "put", "remove_members": "put"}),
        (
            {"operation_case": "capital_only"},
            {"patch": "capitals", "add_members": "values", "remove_members": "values"},
        ),
        ({"active_text": "demanded"}, {"active": "text"}),
        ({"path_sub_attribute": "silent", "path_element": "silent"}, {"patch": "attributes"}),
        ({"remove_members_filter": "not_implemented"}, {"remove_members": "values"}),
        ({"remove_members_filter": "error_500", "remove_members_list": "refused"}, {"remove_members": "replace"}),
        ({"delete_twice": "soft"}, {"soft_delete": True}),
        ({"filter": "ignored"}, {"filters": {"supported": False}}),
        ({"filter": "silent_empty"}, {"filters": {"supported": False}}),
        ({"filter_external_id": "silent_empty"}, {"filters": {"blind": ["externalId"]}}),
        ({"duplicate_user_name": "created_in_other_case"}, {"doubles": True}),
        ({"bulk": "no_effect"}, {"bulk": 0}),
        ({"filter_emails": "dotted_only"}, {"filters": {"emails": "dotted"}}),
        ({"cursor": "demanded"}, {"paging": "cursor"}),
        ({"paging": "honoured_in_search"}, {"paging": "search", "page_size": 3}),
        ({"count_over_largest": "refused", "page_size": "20_of_100"}, {"page_size": 100}),
        ({"enterprise": "dropped"}, {"not_kept": None}),
    ],
    ids=lambda value: " ".join(map(str, value.values())) if isinstance(value, dict) else None,
)
def test_what_is_seen_becomes_the_profile(quirks: dict[str, str], expected: dict[str, Any]) -> None:
    """Each way in which a service differs is found out, and the profile says how to ask it."""
    probed, _ = probe_quirks(**quirks)
    found = settings(probed)
    if "not_kept" in expected:
        assert found["not_kept"]["users"] == ["urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:department"]
    else:
        assert found == {"doubles": False} | expected


@pytest.mark.parametrize(
    ("quirks", "question", "answer"),
    [
        ({"duplicate_user_name": "conflict_without_scim_type"}, "the same userName again", "HTTP 409, no scimType"),
        ({"duplicate_user_name": "error_500_html"}, "the same userName again", "HTTP 500, an HTML page"),
        ({"duplicate_user_name": "created_in_other_case"}, "the same in another case", "created: there are two"),
        ({"filter_and": "clause_dropped"}, "and with a clause that is false", "a clause was dropped"),
        ({"filter_user_name": "no_match"}, "userName eq in another case", "not found"),
        ({"past_the_end": "first_page"}, "a page past the end", "not empty"),
        ({"paging": "ignored"}, "startIndex and count", "ignored"),
        ({"if_match": "ignored"}, "PUT with If-Match and the wrong version", "HTTP 200"),
        ({"add_to_emails": "list_replaced"}, "an element of a list by paths", "done"),
        ({"id_form": "user_name"}, "what an id looks like", "the userName itself"),
        ({"external_id": "dropped"}, "not kept by a create", "externalId"),
        ({"delete_twice": "error_500"}, "delete again", "HTTP 500"),
        ({"total_results": "missing"}, "totalResults", "not said"),
        ({"bulk": "honoured"}, "a change in a bulk request", "done"),
        ({"bulk": "no_effect"}, "a change in a bulk request", "answered with yes, not done"),
        ({"bulk": "refused_403"}, "a change in a bulk request", "HTTP 403"),
    ],
    ids=lambda value: " ".join(value.values()) if isinstance(value, dict) else None,
)  # fmt: skip
def test_what_is_seen_is_told(quirks: dict[str, str], question: str, answer: str) -> None:
    """What no setting depends on is for people to know."""
    probed, _ = probe_quirks(**quirks)
    assert answers(probed)[question].startswith(answer)


def test_nothing_stays_when_the_service_breaks_off() -> None:
    """A probe that cannot go on removes what it has made."""
    with ScimService() as service:
        service.seed(users=PEOPLE)

        def revoke(finding: Finding) -> None:
            if finding.subject == "changes":
                raise RuntimeError("somebody pulled the plug")

        with pytest.raises(RuntimeError):
            probe(service, tell=revoke)
        assert not [user for user in service.users.values() if "probe" in user["userName"]]


def test_nothing_stays_after_an_interruption(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C is no reason to leave a test user behind."""
    with ScimService() as service:
        one = Probe(settings_of(service.url), folder=Path(), write=True, clock=FakeClock())
        run = one._loop.run

        def interrupted(work: Any, *args: Any) -> Any:
            result = run(work, *args)
            if work == one._interview:
                raise KeyboardInterrupt
            return result

        async def half_an_interview() -> None:
            await one._guest.ask_about_users()

        monkeypatch.setattr(one, "_interview", half_an_interview)
        monkeypatch.setattr(one._loop, "run", interrupted)
        with pytest.raises(KeyboardInterrupt):
            one.run(when="now")
        one.close()
        assert not service.users


def test_what_cannot_be_removed_is_said() -> None:
    """A service that does not delete keeps the test user; its name and id are told."""
    with ScimService() as service:
        service.set_fault("error", method="DELETE", status=403)
        probed = probe(service)
        [user] = [one for one in service.users.values() if one["userName"].endswith("@example.com")]
    assert any(user["id"] in sentence and user["userName"] in sentence for sentence in probed.left_behind)
    assert probed.profile.delete is False


def test_a_token_that_ends_half_way_is_said() -> None:
    """What stops the probe is told, with what may have stayed behind."""
    with ScimService() as service:
        service.set_fault("expired_token", after=20)
        with pytest.raises(FatalError, match="provisor-probe-"):
            probe(service)


def test_an_older_profile_does_not_colour_what_is_seen(tmp_path: Path) -> None:
    """A probe asks the service, not the file of the last one."""
    with ScimService() as service:
        from connectors.scim.profile import file_name, write

        (tmp_path / file_name(service.url)).write_text(write(Profile(patch="put", active="text", delete=False)))
        assert settings(probe(service, folder=tmp_path)) == {"doubles": False}


def test_what_a_create_loses_is_written_down(monkeypatch: pytest.MonkeyPatch) -> None:
    """A service that keeps neither names nor displayName: the profile says so, and mappings to them are refused."""
    clean = application.clean

    def forgetful(resource: dict[str, Any], *how: Any) -> dict[str, Any]:
        return {name: held for name, held in clean(resource, *how).items() if name not in {"displayName", "name"}}

    monkeypatch.setattr(application, "clean", forgetful)
    probed, _ = probe_quirks()
    assert set(probed.profile.not_kept.users) == {"displayName", "name.givenName", "name.familyName"}


def test_a_refused_test_user_says_why() -> None:
    """The service's own words are in the finding."""
    with ScimService(default_page_size=3) as service:
        service.seed(users=PEOPLE)
        service.set_fault("error", status=400, method="POST", path="/Users$", detail="Seat limit reached")
        probed = probe(service)
    assert "Seat limit reached" in answers(probed)["create, active as a boolean"]


@pytest.mark.parametrize("twins", ["conflict", "created"])
def test_test_users_that_a_service_keeps_are_reported(twins: str) -> None:
    """It deletes only softly: each test user that is still there is named, with its id."""
    probed, service = probe_quirks(delete_twice="soft", duplicate_user_name=twins)
    kept = [id for id, user in service.users.items() if str(user["userName"]).startswith("provisor-probe")]
    assert sorted(id for id in kept if any(id in sentence for sentence in probed.left_behind)) == sorted(kept)
    assert kept


def test_a_service_that_fails_on_count_is_asked_without_it(tmp_path: Path) -> None:
    """The probe writes it down, and by that profile no list is asked for with a count."""
    probed, _ = probe_quirks(write=False, count="error_500")
    assert settings(probed)["count"] is False
    path = tmp_path / "odd.profile.yaml"
    path.write_text("count: false\n")
    with ScimService(quirks={"count": "error_500"}, default_page_size=3) as service:
        service.seed(users=PEOPLE)
        target = ScimTarget(
            settings_of(service.url).model_copy(update={"profile": str(path)}), folder=tmp_path, pace=Pace()
        )
        assert len(target.read(Wanted(("userName",))).users) == len(PEOPLE)
        target.close()
        assert not [entry for entry in service.log if "count=" in entry.path]


@pytest.mark.parametrize(("quirk", "expected"), [("user_name", "user_name"), ("ref_demanded", "ref"), ("id", "id")])
def test_what_stands_for_a_member_is_found_out(quirk: str, expected: str) -> None:
    """Lists that hold names, and services that want addresses, are seen, and written into the profile."""
    probed, _ = probe_quirks(member_value=quirk)
    assert probed.profile.member_value.value == expected
    assert answers(probed)["add to members by paths"] == "done"
