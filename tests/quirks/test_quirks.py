"""Every quirk that the test service has is met by a whole short life: it converges, or one sentence says why not.

What may never happen is asserted for every one of them by the life itself (tests/quirks/lives.py).
"""

import os
import re
from itertools import zip_longest
from pathlib import Path

import pytest

from connectors.gallery import profiles
from tests.quirks.lives import Life
from tests.servers.scim_service import QUIRKS, ScimService

LONG = bool(os.environ.get("PROVISOR_LONG"))

SMALL_PAGES = frozenset(
    {"paging", "past_the_end", "total_results", "cursor", "overlapping_pages", "count_over_largest", "count"}
)
"""Switches about lists that have more than one page."""

NOT_KEPT = "but {} stays as it was, in whatever form it is sent: it does not keep it, or does not show it"
SOFT = "It shows no user with this userName, so it probably keeps one that was deleted"
"""Who was deleted is still there, is not shown, cannot be restored, and keeps the name from whoever comes back."""

REFUSALS = {
    ("external_id", "dropped"): NOT_KEPT.format("externalId"),
    ("enterprise", "dropped"): NOT_KEPT.format("urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:department"),
    ("enterprise", "refused"): "There is no attribute urn:ietf:params:scim:schemas:extension:enterprise:2.0:User",
    ("delete_twice", "soft"): SOFT,
    ("members_shown", "none"): "They may be in it all the same. Nothing else was tried",
    ("patch", "silent_for_groups"): "Nothing else was tried, because members that are not shown would be lost",
    ("overlapping_creates", "any_overlap_error_500"): "The system fail",
    ("paging", "ignored"): "The service ignores paging: asked for users from number 5 on, it gave the first 4",
    ("total_results", "page_size"): "is still incomplete after 3 attempts",
    ("total_results", "missing"): "The service does not say how many users there are",
    ("overlapping_pages", "repeat_last"): "the pages overlap, others may be missing",
    ("odd_user_name", "poisons_lists"): "cannot be listed",
}
"""Answers with which a service cannot be kept in step, and what people are told then; all others converge."""

CASES = [(name, answer) for name, quirk in QUIRKS.items() for answer in quirk.answers[1:]]

APART = (
    # lists
    frozenset(
        {"page_size", "count_over_largest", "count", "past_the_end", "paging", "sorting", "cursor", "odd_user_name"}
        | {"attributes_parameters", "list_cost", "total_results", "overlapping_pages", "bulk", "http", "rate_limit"}
    ),
    # who asks, who is looked for
    frozenset(
        {"wrong_token", "www_authenticate", "discovery", "many_wrong_tokens", "filter", "filter_user_name"}
        | {"filter_external_id", "filter_and", "filter_emails", "filter_unknown", "filter_quotes"}
    ),
    # who is created
    frozenset(
        {"duplicate_user_name", "duplicate_external_id", "external_id", "overlapping_creates", "location", "id_form"}
        | {"enterprise", "unknown_attribute", "empty_user_name", "email_domain"}
    ),
    # groups, and whatever would hide how they are changed
    frozenset(
        {"patch", "put", "operation_case", "patch_nobody", "if_match", "members_twice", "members_without_path"}
        | {"remove_members_filter", "remove_members_list", "replace_members", "remove_all_members", "unknown_member"}
        | {"deleted_member", "delete_twice"}
    ),
)
"""Switches that have nothing to do with those of another set, nor with the rest, which is about changing users."""


def lives() -> list[dict[str, str]]:
    """The quirks of each life. In the long form each answer has its own; so has, always, what ends in a refusal.

    In the short form an answer about lists shares a life with one about looking, one about creating, one about groups
    and one about users.
    """
    alone = [case for case in CASES if LONG or case in REFUSALS]
    others = [case for case in CASES if case not in alone]
    rest = frozenset(QUIRKS) - frozenset().union(*APART)
    streams = [[case for case in others if case[0] in names] for names in (*APART, rest)]
    return [dict([case]) for case in alone] + [dict(filter(None, cases)) for cases in zip_longest(*streams)]


LIVES = lives()

ROWS = {
    "wrong token": ("wrong_token", "www_authenticate", "discovery", "many_wrong_tokens"),
    "duplicate userName": ("duplicate_user_name",),
    "duplicate externalId": ("duplicate_external_id", "external_id"),
    "filter userName eq in another case": ("filter_user_name", "filter"),
    "filter externalId eq": ("filter_external_id",),
    "and": ("filter_and",),
    "filter on e-mail": ("filter_emails",),
    "unknown attribute in a filter": ("filter_unknown",),
    "quotes and backslashes in a filter value": ("filter_quotes",),
    "page size": ("page_size", "count_over_largest", "count"),
    "page past the end": ("past_the_end",),
    "paging parameters": ("paging",),
    "sorting, cursor paging": ("sorting", "cursor"),
    "attributes / excludedAttributes": ("attributes_parameters",),
    "PATCH answer": ("patch_answer", "patch"),
    "active as text": ("active_text", "active_shown"),
    "PATCH without path": ("patch_without_path",),
    "dotted keys in a path-less PATCH": ("dotted_keys",),
    "path name.familyName": ("path_sub_attribute",),
    "path emails[type eq work].value": ("path_element", "path_no_element"),
    "add to emails": ("add_to_emails",),
    "unknown op": ("unknown_operation", "operation_case"),
    "a good operation followed by a bad one": ("good_then_bad",),
    "members add, twice": ("members_twice",),
    "members add without path": ("members_without_path",),
    "remove members by filter": ("remove_members_filter",),
    "remove members with a value list": ("remove_members_list",),
    "replace members": ("replace_members",),
    "remove all members": ("remove_all_members",),
    "unknown member": ("unknown_member",),
    "user deleted, still a member": ("deleted_member",),
    "PUT": ("put",),
    "enterprise extension": ("enterprise",),
    "unknown attribute on create": ("unknown_attribute",),
    "empty or missing userName": ("empty_user_name",),
    "e-mail domain the service dislikes": ("email_domain",),
    "If-Match with a wrong version": ("if_match",),
    "bulk": ("bulk",),
    "DELETE twice": ("delete_twice",),
    "PATCH of nobody": ("patch_nobody",),
    "id": ("id_form",),
    "Location on create": ("location",),
    "sixteen equal creates at once": ("overlapping_creates",),
    "one odd userName": ("odd_user_name",),
    "rate limit": ("rate_limit",),
    "HTTP": ("http",),
    "lists at 2,500 users": ("list_cost",),
}
"""What services were seen to differ in, and the switches that stand for it."""


@pytest.fixture(autouse=True)
def _environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCIM_TOKEN", "a-token")
    monkeypatch.setenv("PROVISOR_HOME", str(tmp_path / "state"))


def live(folder: Path, *, profile: str | None = None, pages: int = 100, **quirks: str) -> Life:
    """A whole life on a service with these quirks, spoken to by a profile of the gallery where one is named."""
    small = not SMALL_PAGES.isdisjoint(quirks)
    sizes = {"default_page_size": 4, "max_page_size": 4} if small else {"default_page_size": pages}
    with ScimService(quirks=quirks, **sizes) as service:
        service.engine.overlap_s = 0.1  # long enough to overlap on a machine that is busy
        life = Life(folder, service, profile=profile)
        try:
            life.live()
        finally:
            life.close()
    return life


def assert_converged(life: Life) -> None:
    assert not life.refusals, life.refusals
    assert life.settled
    assert not life.differences()


@pytest.mark.parametrize("quirks", LIVES, ids=[" ".join(map("-".join, quirks.items())) for quirks in LIVES])
def test_a_service_with_a_quirk(quirks: dict[str, str], tmp_path: Path) -> None:
    """It is kept in step, or one sentence says what it cannot do; nobody is harmed either way."""
    life = live(tmp_path, **quirks)
    refusals = [REFUSALS[case] for case in quirks.items() if case in REFUSALS]
    if refusals:
        assert any(re.search(re.escape(refusals[0]), said) for said in life.refusals), life.refusals
    else:
        assert_converged(life)


def test_every_answer_has_a_life() -> None:
    """Sharing lives loses none; what can only be refused shares with nobody, for nothing would be seen of the other."""
    assert sorted(case for quirks in LIVES for case in quirks.items()) == sorted(CASES)
    assert all(len(quirks) == 1 for quirks in LIVES if not REFUSALS.keys().isdisjoint(quirks.items()))


LIKE = {
    "atlassian": {"delete_twice": "deactivated", "filter_emails": "refused", "filter_and": "refused"},
    "aws-iam-identity-center": {
        "cursor": "demanded",
        "replace_members": "not_implemented",
        "filter_unknown": "refused",
    },
    "databricks": {"filter_emails": "refused", "filter_unknown": "refused"},
    "entra-compatible": {
        **{"operation_case": "capital_only", "active_text": "taken", "path_no_element": "created"},
        **{"remove_members_filter": "not_implemented", "filter_emails": "refused", "bulk": "not_found"},
    },
    "github-enterprise": {"path_element": "not_implemented", "path_no_element": "not_implemented"},
    "gitlab": {"filter_and": "refused", "filter_emails": "refused"},
    "slack": {"delete_twice": "deactivated", "rate_limit": "retry_after_60"},
}
"""Built-in profiles, and services that do what these say of them."""


@pytest.mark.parametrize("profile", profiles())
def test_a_service_like_one_of_the_gallery(profile: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """With its profile it is kept in step, and nothing has to be found out: no form is tried in vain."""
    life = live(tmp_path, profile=profile, **LIKE[profile])
    assert_converged(life)
    assert "provisor probe" not in caplog.text


def test_a_service_as_the_standard_has_it(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Without a quirk nothing is tried that the standard does not have: one PATCH form, no PUT."""
    life = live(tmp_path)
    assert_converged(life)
    assert "provisor probe" not in caplog.text
    assert not any(name.startswith("PUT") for name in life.requests)


WITHOUT_PATCH = [{"patch": patch, "put": put} for patch in ("not_implemented", "silent") for put in ("clears", "keeps")]
COMBINATIONS = [
    *(quirks for quirks in WITHOUT_PATCH if quirks["put"] == "clears"),
    {"patch": "not_allowed", "if_match": "ignored"},
    {"patch": "not_allowed", "if_match": "body_hash"},
    {"operation_case": "capital_only", "active_text": "demanded", "active_shown": "text"},
    {"path_element": "not_implemented", "add_to_emails": "not_implemented", "remove_members_filter": "not_implemented"},
    {"path_sub_attribute": "silent", "path_element": "silent", "remove_attribute": "silent"},
    {"remove_members_filter": "error_500", "remove_members_list": "refused"},
    {"id_form": "user_name", "location": "missing", "filter": "ignored"},
    {"deleted_member": "kept", "patch_answer": "no_content"},
]


@pytest.mark.parametrize("quirks", COMBINATIONS, ids=[" ".join(one.values()) for one in COMBINATIONS])
def test_a_service_with_several_quirks(quirks: dict[str, str], tmp_path: Path) -> None:
    """Services have more than one; where PATCH is not to be had, PUT does everything."""
    assert_converged(live(tmp_path, **quirks))


@pytest.mark.parametrize("quirks", [quirks for quirks in WITHOUT_PATCH if quirks["put"] == "keeps"], ids=str)
def test_where_nothing_can_be_taken_away_it_is_said(quirks: dict[str, str], tmp_path: Path) -> None:
    """A PUT that keeps what it does not name clears no value: the entry fails, and is never said to be done."""
    life = live(tmp_path, **quirks)
    assert any("failed" in said for said in life.refusals), life.refusals


def test_without_patch_and_without_put_nothing_can_be_changed(tmp_path: Path) -> None:
    """Then a sentence says so, once it is found out nothing more is tried, and accounts still come and go."""
    life = live(tmp_path, patch="not_implemented", put="error_500")
    assert any(
        "The system cannot change" in said and "(HTTP 501" in said and "in every form, by PATCH and by PUT" in said
        for said in life.refusals
    ), life.refusals
    assert {"ann@example.com", "fay@example.com"} <= {user["userName"] for user in life.accounts().values()}


def test_every_row_has_its_switches() -> None:
    """Every way in which services were seen to differ is a switch of the test service; a few more were thought of."""
    named = [name for names in ROWS.values() for name in names]
    others = {"manager_text", "remove_attribute", "total_results", "overlapping_pages"}
    others |= {"members_shown", "member_value", "owner"}
    assert set(named) | others == set(QUIRKS)
    assert len(named) == len(set(named))
