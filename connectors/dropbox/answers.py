"""What Dropbox' refusals mean: each tag as one sentence with what to do next.

An error of a route is told by its tag, never by its summary, which ends with dots in any number.
Source: dropbox/dropbox-api-spec, team.stone (errors of each route), auth.stone (AuthError, AccessError).
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

from connectors.dropbox.attributes import EMAIL, EXTERNAL_ID, ROLE
from connectors.errors import CredentialsError, ErrorCode, ProvisorError, SchemaMismatchError
from connectors.http import Answer, Call, Problem, redact
from connectors.kit import refused


class Trouble(NamedTuple):
    """The error in an answer."""

    tag: str = ""
    text: str = ""
    """Dropbox' words."""
    error: Mapping[str, Any] = {}


def problem(answer: Answer) -> Trouble:
    """The error in an answer; empty where it holds none."""
    if answer.status < 400:
        return Trouble()
    try:
        body = answer.json()
        error = body["error"]
        return Trouble(str(error[".tag"]), str(body.get("error_summary", "")), error)
    except (ProvisorError, KeyError, TypeError, AttributeError):
        return Trouble("", answer.body[:600].decode("utf-8", "replace") if answer.status == 400 else "")


class Meaning(NamedTuple):
    """What a tag means: our code, the attribute that it is about, and the sentence with the next step."""

    code: ErrorCode
    about: str
    text: str


_CONFLICT, _VALUE, _MAY_NOT = ErrorCode.CONFLICT, ErrorCode.UNPROCESSABLE_ENTITY, ErrorCode.NOT_PERMITTED
_GONE = ErrorCode.INVALID_ANCHOR
_PERSISTENT = "persistent_id"
_FULL = "The team has no free seat. Buy seats, or remove or suspend members; the next cycle tries again."
_LATER = "Dropbox could not create the account. The next cycle tries again; if it keeps failing, ask Dropbox support."
_SETTING = "Change target.remove in the job."
_LAST = "This is the last admin of the team. Make somebody else an admin first."
_DEST = "The member in target.remove.transfer_files_to"
_SYSTEM = "Dropbox itself manages this group. Leave it out of the job's scope."

MEANINGS: dict[str, Meaning] = {
    # adding
    "team_license_limit": Meaning(_MAY_NOT, "", _FULL),
    "free_team_member_limit_reached": Meaning(_MAY_NOT, "", _FULL),
    "user_already_on_team": Meaning(
        _CONFLICT,
        EMAIL,
        "A member has this address. Add a matching rule on email if it is the same person.",
    ),
    "user_on_another_team": Meaning(
        _CONFLICT, EMAIL, "The address belongs to another Dropbox team. Only its admin or the person can free it."
    ),
    "user_already_paired": Meaning(
        _CONFLICT,
        EMAIL,
        "The account with this address is linked to another team. The person has to unlink it.",
    ),
    "user_migration_failed": Meaning(_VALUE, EMAIL, _LATER),
    "user_creation_failed": Meaning(_VALUE, EMAIL, _LATER),
    "duplicate_external_member_id": Meaning(
        _CONFLICT,
        EXTERNAL_ID,
        "Another member has this external id, perhaps one who was removed in the last days. Add a matching rule on "
        "external_id if it is the same person.",
    ),
    "duplicate_member_persistent_id": Meaning(
        _CONFLICT, _PERSISTENT, "Another member has this persistent id. Correct it there, or in the source."
    ),
    "persistent_id_disabled": Meaning(
        _MAY_NOT,
        _PERSISTENT,
        "The team does not use SAML persistent ids. Remove persistent_id from the mappings, or turn them on.",
    ),
    # profiles
    "no_new_data_specified": Meaning(_VALUE, "", "There was nothing to change. Compare the mappings with the member."),
    "external_id_and_new_external_id_unsafe": Meaning(
        _VALUE, EXTERNAL_ID, "A member is not chosen by the external id that changes. Please report this."
    ),
    "email_reserved_for_other_user": Meaning(
        _CONFLICT, EMAIL, "The address belongs to somebody else. The next cycle tries again in case it becomes free."
    ),
    "external_id_used_by_other_user": Meaning(
        _CONFLICT, EXTERNAL_ID, "Another member has this external id. Correct it there, or in the source."
    ),
    "persistent_id_used_by_other_user": Meaning(
        _CONFLICT, _PERSISTENT, "Another member has this persistent id. Correct it there, or in the source."
    ),
    "set_profile_disallowed": Meaning(_GONE, "", "The member has been removed. The next cycle checks again."),
    "param_cannot_be_empty": Meaning(_VALUE, "", "Dropbox does not clear this. Map a value, or take out clear."),
    "directory_restricted_off": Meaning(
        _MAY_NOT,
        "is_directory_restricted",
        "Directory restrictions are off in this team. Turn them on, or remove the attribute from the mappings.",
    ),
    # roles
    "last_admin": Meaning(_MAY_NOT, ROLE, _LAST),
    "cannot_set_permissions": Meaning(
        _MAY_NOT,
        ROLE,
        "This member cannot have another admin role now: only active ones can. A later cycle tries again.",
    ),
    "role_not_found": Meaning(_VALUE, ROLE, "The team has no such admin role any more. Correct the mapping of role."),
    # suspending and recovering
    "suspend_inactive_user": Meaning(
        _MAY_NOT,
        "active",
        "Dropbox suspends only active members, and this one has not accepted the invitation. Set "
        "target.invited_leavers: remove to withdraw such invitations.",
    ),
    "suspend_last_admin": Meaning(_MAY_NOT, "active", _LAST),
    "unsuspend_non_suspended_member": Meaning(
        _MAY_NOT, "active", "The member is not suspended. There is nothing to do."
    ),
    "user_unrecoverable": Meaning(
        _MAY_NOT,
        EMAIL,
        "The account was removed more than seven days ago, or its files are gone. Delete it for good in the admin "
        "console; then it is made anew.",
    ),
    # removing
    "remove_last_admin": Meaning(_MAY_NOT, "", _LAST),
    "cannot_keep_account_and_transfer": Meaning(_MAY_NOT, "", f"A kept account keeps its files. {_SETTING}"),
    "cannot_keep_account_and_delete_data": Meaning(_MAY_NOT, "", f"A kept account is not wiped. {_SETTING}"),
    "cannot_keep_account_and_permanently_delete": Meaning(_MAY_NOT, "", f"A kept account keeps its files. {_SETTING}"),
    "cannot_keep_account_under_legal_hold": Meaning(
        _MAY_NOT,
        "",
        "A legal hold prevents keeping this account as a personal one. End the hold, or set keep_account: false.",
    ),
    "cannot_keep_account_required_to_sign_tos": Meaning(
        _MAY_NOT,
        "",
        "The account cannot be kept until the team has signed Dropbox's terms. Sign them, or set keep_account: false.",
    ),
    "cannot_keep_account": Meaning(
        _MAY_NOT, "", "Dropbox does not allow keeping the account. Set keep_account: false."
    ),
    "cannot_keep_invited_user_account": Meaning(
        _MAY_NOT, "", "An invited person has no account to keep. Set keep_account: false."
    ),
    "cannot_retain_shares_when_data_wiped": Meaning(
        _MAY_NOT, "", f"Shares cannot be kept if devices are wiped. {_SETTING}"
    ),
    "cannot_retain_shares_when_no_account_kept": Meaning(_MAY_NOT, "", f"Shares need keep_account. {_SETTING}"),
    "cannot_retain_shares_when_team_external_sharing_off": Meaning(
        _MAY_NOT, "", "The team does not share with outsiders. Set retain_team_shares: false."
    ),
    "cannot_permanently_delete_and_transfer": Meaning(_MAY_NOT, "", f"Files are transferred or deleted. {_SETTING}"),
    "email_address_too_long_to_be_disabled": Meaning(
        _VALUE, EMAIL, "The address is too long for a removed account. Shorten it first."
    ),
    "transfer_dest_user_not_found": Meaning(_MAY_NOT, "", f"{_DEST} was not found. Correct it."),
    "transfer_dest_user_not_in_team": Meaning(_MAY_NOT, "", f"{_DEST} is not in the team. Correct it."),
    "transfer_admin_user_not_found": Meaning(
        _MAY_NOT, "", "The admin of Provisor's token was not found. Authorise the app again."
    ),
    "transfer_admin_user_not_in_team": Meaning(
        _MAY_NOT, "", "The admin of Provisor's token is not in the team any more. Authorise the app again."
    ),
    "transfer_admin_is_not_admin": Meaning(
        _MAY_NOT, "", "The account of Provisor's token is no longer a team admin. Authorise the app as one."
    ),
    "unspecified_transfer_admin_id": Meaning(
        _MAY_NOT, "", "A transfer needs an admin, and the token has none. Authorise the app again."
    ),
    "recipient_not_verified": Meaning(_MAY_NOT, "", f"{_DEST} has not verified the address. Verify it first."),
    "removed_and_transfer_dest_should_differ": Meaning(
        _MAY_NOT, "", f"{_DEST} would get the files of its own account. Protect it in the job, or name another one."
    ),
    "removed_and_transfer_admin_should_differ": Meaning(
        _MAY_NOT, "", "This is the account that Provisor signs in with. Protect it in the job."
    ),
    "member_is_transfer_destination": Meaning(
        _MAY_NOT, "", "Files are being transferred to this member. The next cycle tries again."
    ),
    "transfer_in_progress": Meaning(
        _MAY_NOT, "", "The member's files are being transferred. The next cycle tries again."
    ),
    "already_transferred": Meaning(
        _MAY_NOT, "", "The files were transferred before. Remove transfer_files_to to continue."
    ),
    "already_transferred_or_deleted": Meaning(
        _MAY_NOT, "", "The files were transferred or deleted before. Remove transfer_files_to to continue."
    ),
    "user_not_found": Meaning(_GONE, "", "The member is not there. The next cycle looks again."),
    "user_not_in_team": Meaning(_GONE, "", "The member is no longer in the team. The next cycle checks again."),
    # groups
    "group_name_already_used": Meaning(
        _CONFLICT, "group_name", "Another group has this name. Add a matching rule on group_name if it is the same one."
    ),
    "group_name_invalid": Meaning(
        _VALUE, "group_name", "Dropbox does not take this name. Shorten it, without special signs."
    ),
    "external_id_already_in_use": Meaning(
        _CONFLICT, "group_external_id", "Another group has this external id. Correct it there, or in the source."
    ),
    "system_managed_group_disallowed": Meaning(_MAY_NOT, "", _SYSTEM),
    "group_not_found": Meaning(_GONE, "", "The group is not there. The next cycle looks again."),
    "group_not_in_team": Meaning(_GONE, "", "The group is not one of this team. The next cycle looks again."),
    "members_not_in_team": Meaning(_GONE, "", "This member is no longer in the team. The next cycle checks again."),
    "users_not_found": Meaning(_GONE, "", "There is no such member. The next cycle checks again."),
    "user_cannot_be_manager_of_company_managed_group": Meaning(
        _MAY_NOT, "", "A group of the company has no managers of its own. Please report this."
    ),
    "user_must_be_active_to_be_owner": Meaning(
        _MAY_NOT, "", "Only active members can own a group. Please report this."
    ),
    # jobs
    "internal_error": Meaning(_VALUE, "", "Dropbox does not know the result of its job. The next cycle checks again."),
}


def stops_everything(answer: Answer) -> ProvisorError | None:
    """The error for an answer that no other request would change; None for any other answer."""
    trouble = problem(answer)
    if answer.status == 401:
        if trouble.tag == "missing_scope":
            scope = trouble.error.get("required_scope", "")
            return CredentialsError(
                f"The token of the app lacks the scope {scope}. Tick {scope} in the app's permissions, then "
                "authorise the app again: existing tokens do not get the scope.",
                code=ErrorCode.INSUFFICIENT_RIGHTS,
            )
        text = (
            _SIGNED_OUT.get(trouble.tag)
            or "Dropbox does not accept the token. Authorise the app again as a team admin."
        )
        return CredentialsError(f"{text} ({trouble.tag or 'HTTP 401'}).")
    if trouble.tag in _NO_ADMIN:
        return CredentialsError(f"{_NO_ADMIN[trouble.tag]} ({trouble.tag}).")
    return None


_SIGNED_OUT = {
    "user_suspended": "The admin who authorised the app is suspended. Authorise it again as another team admin",
    "route_access_denied": "The app has no access to the team API. Make one with scopes of team members and groups",
    "invalid_select_admin": "The token is not one of an admin. Authorise the app again as a team admin",
}
_NO_ADMIN = {
    "admin_not_active": "The admin who authorised the app is no longer active. Authorise it again as another team "
    "admin",
    "mapping_not_found": "The token belongs to no admin of the team. Authorise the app again as a team admin",
}


def refusal_of(wire: Any, asked: Call, answer: Answer) -> ProvisorError:
    """The error for a read that was refused, with what to do about it."""
    trouble = problem(answer)
    said = redact(trouble.text, length=300) or f"HTTP {answer.status}"
    if answer.status == 400:
        return CredentialsError(
            f"Dropbox cannot {asked.purpose} ({said}). If it speaks of a single user, the token is not one of a team: "
            "make an app with team scopes, and authorise it as a team admin."
        )
    if answer.status == 409:
        return SchemaMismatchError(f"Dropbox cannot {asked.purpose} ({said}). Nothing was written; please report this.")
    return refused(wire, asked, answer, Problem(trouble.tag, said))
