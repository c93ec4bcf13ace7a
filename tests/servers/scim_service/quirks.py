"""Ways in which SCIM services differ, each a switch with named answers.

The table below is the whole list: one row per question that services answer differently. The first answer is what this
service does by default, and is what the standard says wherever it says anything. An answer applies from the next
request on.
"""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Quirk:
    """One question and the answers that services give to it; the first is the default."""

    question: str
    answers: tuple[str, ...]


def _quirk(question: str, *answers: str) -> Quirk:
    return Quirk(question, answers)


QUIRKS: dict[str, Quirk] = {
    # signing in
    "wrong_token": _quirk("what a 401 carries", "scim_body", "text", "html", "empty"),
    "www_authenticate": _quirk("does a 401 name the scheme", "sent", "missing"),
    "discovery": _quirk("are /ServiceProviderConfig, /Schemas, /ResourceTypes open", "closed", "open"),
    "many_wrong_tokens": _quirk("after 60 wrong tokens in a minute", "refused_401", "refused_429"),
    # uniqueness
    "duplicate_user_name": _quirk(
        "a userName that is taken",
        "conflict",
        "conflict_without_scim_type",
        "error_500_html",
        "created_in_other_case",
        "created",
    ),
    "duplicate_external_id": _quirk("an externalId that is taken", "created", "conflict"),
    "external_id": _quirk("is externalId kept", "stored", "dropped"),
    "overlapping_creates": _quirk(
        "writes that overlap in time", "in_turn", "equal_ones_error_500", "any_overlap_error_500"
    ),
    # filters
    "filter": _quirk("is a filter looked at", "honoured", "ignored", "refused", "silent_empty"),
    "filter_user_name": _quirk("userName eq in another case", "match", "no_match", "ignored"),
    "filter_external_id": _quirk("externalId eq", "exact", "case_blind", "silent_empty"),
    "filter_and": _quirk("and", "honoured", "some_pairs", "clause_dropped", "silent_empty", "refused"),
    "filter_emails": _quirk(
        "a filter on e-mail addresses", "both", "dotted_only", "value_path_only", "silent_empty", "refused"
    ),
    "filter_unknown": _quirk("an attribute the service does not know", "silent_empty", "refused"),
    "filter_quotes": _quirk("quotes and backslashes in a filter value", "honoured", "refused", "no_match"),
    # lists
    "page_size": _quirk("entries on a page, and the most there are", "as_started", "20_of_100", "50_of_200", "all"),
    "count_over_largest": _quirk("more per page than the service gives", "capped", "refused"),
    "count": _quirk("the count parameter", "honoured", "error_500"),
    "past_the_end": _quirk("a page past the end", "empty", "first_page", "error_500"),
    "paging": _quirk("startIndex and count", "honoured", "ignored", "honoured_in_search"),
    "sorting": _quirk("sortBy", "honoured", "ignored", "refused_403", "not_implemented"),
    "cursor": _quirk("the cursor parameter", "honoured", "ignored", "refused_403", "not_implemented", "demanded"),
    "attributes_parameters": _quirk("attributes and excludedAttributes", "honoured", "ignored"),
    "odd_user_name": _quirk("somebody is called a % b", "fine", "poisons_lists"),
    "list_cost": _quirk("what an entry on a page costs", "nothing", "milliseconds"),
    "total_results": _quirk("totalResults", "exact", "page_size", "missing", "text"),
    "overlapping_pages": _quirk("does a page begin where the last ended", "in_order", "repeat_last"),
    # changing
    "patch_answer": _quirk(
        "what PATCH answers", "no_content_for_groups", "body", "no_content", "no_content_when_unchanged"
    ),
    "patch": _quirk("PATCH at all", "honoured", "not_implemented", "not_allowed", "silent", "silent_for_groups"),
    "operation_case": _quirk('the op "replace" and the op "Replace"', "both", "lower_only", "capital_only"),
    "active_text": _quirk('active as the text "False"', "refused", "taken", "demanded"),
    "active_shown": _quirk("active in answers", "boolean", "text"),
    "manager_text": _quirk("the manager's id instead of the complex value", "refused", "taken"),
    "patch_without_path": _quirk("PATCH without a path", "honoured", "known_only", "replaces_complex"),
    "dotted_keys": _quirk("dotted keys in a PATCH without a path", "honoured", "silent"),
    "path_sub_attribute": _quirk("path name.familyName", "honoured", "silent"),
    "path_element": _quirk(
        'path emails[type eq "work"].value where there is such an element',
        "honoured",
        "silent",
        "not_implemented",
        "error_500",
    ),
    "path_no_element": _quirk(
        'path emails[type eq "work"].value where there is no such element',
        "no_target",
        "created",
        "silent",
        "not_implemented",
        "error_500",
    ),
    "add_to_emails": _quirk(
        "add to emails",
        "appended",
        "appended_twice",
        "one_per_type",
        "list_replaced",
        "not_implemented",
        "refused_with_type",
    ),
    "remove_attribute": _quirk("remove of an attribute", "honoured", "silent", "refused"),
    "unknown_operation": _quirk("an op that does not exist", "refused", "applied"),
    "good_then_bad": _quirk("a good operation followed by a bad one", "nothing_kept", "good_half_kept"),
    "put": _quirk("PUT", "clears", "keeps", "ignores_members", "demands_attributes", "error_500"),
    "patch_nobody": _quirk("PATCH of an id that does not exist", "not_found", "not_found_html", "error_500"),
    "if_match": _quirk("If-Match with a wrong version", "honoured", "ignored", "body_hash"),
    # members
    "members_twice": _quirk("a member added again", "once", "doubled"),
    "members_without_path": _quirk("add members without a path", "honoured", "refused", "replaces_all"),
    "remove_members_filter": _quirk('remove members[value eq "id"]', "honoured", "not_implemented", "error_500"),
    "remove_members_list": _quirk("remove members with a list of values", "honoured", "refused"),
    "replace_members": _quirk("replace members", "honoured", "adds", "not_implemented"),
    "remove_all_members": _quirk("remove members, nothing more", "honoured", "silent", "refused"),
    "unknown_member": _quirk("a member nobody knows", "stored", "refused", "error_500", "dropped"),
    "members_shown": _quirk("which members a group shows", "all", "none", "first_twenty", "first_ten"),
    "member_value": _quirk("what stands for a member", "id", "user_name", "ref_demanded"),
    "deleted_member": _quirk("a deleted user's memberships", "removed", "kept"),
    # creating
    "enterprise": _quirk("the enterprise extension", "stored", "must_be_named", "dropped", "refused"),
    "unknown_attribute": _quirk("an attribute the service does not know", "stored", "refused", "dropped"),
    "empty_user_name": _quirk("no userName, or an empty one", "refused", "created"),
    "email_domain": _quirk("an address at a domain ending in .invalid", "stored", "refused"),
    "id_form": _quirk("what an id looks like", "uuid", "hex", "integer", "random", "user_name"),
    "location": _quirk("where the new resource's address is", "full", "missing", "path"),
    # the rest
    "owner": _quirk(
        "an account whose userName begins with owner is switched off", "done", "shown_active", "error_in_200", "silent"
    ),
    "delete_twice": _quirk("DELETE of something deleted", "not_found", "error_500", "soft", "deactivated"),
    "rate_limit": _quirk("too many requests", "none", "retry_after_60", "resets_above_four", "forbidden_403"),
    "bulk": _quirk(
        "/Bulk", "not_implemented", "honoured", "refused_403", "not_found", "too_large", "no_effect", "sparse_answers"
    ),
    "http": _quirk("connections", "keep_alive", "http_1_0"),
}
"""Name of the switch to its question and answers."""


_TAKE_TIME = ("overlapping_creates", "list_cost", "rate_limit")


class Quirks(dict[str, str]):
    """The answers in force; a name or answer that is not in the table is refused."""

    def __init__(self, given: Mapping[str, str] | None = None) -> None:
        super().__init__({name: quirk.answers[0] for name, quirk in QUIRKS.items()})
        self.slow = False
        """True when an answer takes time, so that requests may overlap."""
        self.update(given or {})

    def __setitem__(self, name: str, answer: str) -> None:
        if name not in QUIRKS:
            raise KeyError(f"there is no quirk {name!r}; there are: {', '.join(QUIRKS)}")
        if answer not in QUIRKS[name].answers:
            raise ValueError(f"{name} cannot be {answer!r}; it is one of: {', '.join(QUIRKS[name].answers)}")
        super().__setitem__(name, answer)
        self.slow = any(self[name] != QUIRKS[name].answers[0] for name in _TAKE_TIME)

    def __delitem__(self, name: str) -> None:
        self[name] = QUIRKS[name].answers[0]

    def update(self, *given: Mapping[str, str], **named: str) -> None:  # type: ignore[override]
        """Let several questions be answered otherwise."""
        for name, answer in dict(*given, **named).items():
            self[name] = answer

    def reset(self) -> None:
        """Back to the defaults."""
        for name in QUIRKS:
            del self[name]

    def changed(self) -> dict[str, str]:
        """The answers that are not the default."""
        return {name: answer for name, answer in self.items() if answer != QUIRKS[name].answers[0]}
