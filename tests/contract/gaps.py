"""What a system cannot show of the contract, and what it does in its own way, and why. A gap that has closed fails."""

GAPS: dict[tuple[str, str], str] = {}
"""Bench and behaviour to the reason: the system has nothing to show it with."""

OTHERWISE: dict[tuple[str, str], str] = {}
"""The same of what the system does in another way, by its nature."""

_NO_PAGES = "It is read in one transaction: there are no pages that could go wrong."
for _name in (
    "a_cut_listing_proves_nothing",
    "a_circle_is_stopped",
    "counts_must_agree",
    "an_empty_page_is_not_the_end",
    "an_entry_that_comes_twice_is_a_doubt",
    "an_empty_answer_is_not_an_empty_system",
):
    GAPS["sql", _name] = _NO_PAGES
GAPS["sql", "a_bad_row_has_a_place_and_a_reason"] = "A table's rows can always be read."
for _name in (
    "a_delta_says_who_came_and_who_went",
    "a_strange_watermark_means_reading_all",
    "a_forgotten_watermark_means_reading_all",
):
    GAPS["sql", _name] = "A target's tables have no notion of change."
GAPS["sql", "a_dropped_condition_stops"] = "A database does not ignore conditions."
GAPS["sql", "a_late_look_sees_what_shows_late"] = "What is committed is shown."
GAPS["sql", "lists_keep_all_their_values"] = "SQLite has no lists; PostgreSQL's are shown in its own tests."
GAPS["sql", "what_was_done_of_several_steps_is_told"] = "Each change is one step."
GAPS["sql", "a_job_is_waited_for"] = "A database has no jobs."
GAPS["sql", "a_system_that_asks_for_peace_gets_it"] = (
    "Transactions that collide are tried again; shown in its own tests."
)
GAPS["sql", "each_change_of_a_pack_has_its_own_verdict"] = "Its answers have no holes; mixed ones are in its own tests."
GAPS["sql", "wrong_credentials_stop"] = "Credentials are asked for with each connection; shown in its own tests."
GAPS["sql", "a_lost_answer_means_one_effect"] = "Shown in its own tests, with a backend that is ended in mid-commit."
GAPS["sql", "what_is_never_shown_is_not_missed"] = "Tables show everything."

_NO_FAULTS = "A file is read and written as a whole: there is nothing in between that could go wrong."
for _name in (
    "a_cut_listing_proves_nothing",
    "a_circle_is_stopped",
    "counts_must_agree",
    "an_empty_page_is_not_the_end",
    "an_entry_that_comes_twice_is_a_doubt",
    "a_bad_row_has_a_place_and_a_reason",
    "an_empty_answer_is_not_an_empty_system",
    "a_dropped_condition_stops",
    "a_late_look_sees_what_shows_late",
    "what_is_never_shown_is_not_missed",
    "what_was_done_of_several_steps_is_told",
    "a_lost_answer_means_one_effect",
    "each_change_of_a_pack_has_its_own_verdict",
    "a_job_is_waited_for",
    "a_system_that_asks_for_peace_gets_it",
    "wrong_credentials_stop",
):
    GAPS["csv", _name] = _NO_FAULTS
for _name in (
    "a_delta_says_who_came_and_who_went",
    "a_strange_watermark_means_reading_all",
    "a_forgotten_watermark_means_reading_all",
):
    GAPS["csv", _name] = "Files do not know what changed."
for _name in ("null_clears", "a_conflict_names_its_attribute", "a_refusal_has_no_value_in_it"):
    GAPS["csv", _name] = "A cell takes any text; nothing but a key is refused, which its own tests show."
GAPS["csv", "lists_keep_all_their_values"] = "A cell holds one value."
OTHERWISE["csv", "empty_text_is_not_null"] = "An empty cell is null in CSV; the other formats tell them apart."
OTHERWISE["csv", "finding_compares_as_the_system_does"] = "Text in files is compared word for word."
OTHERWISE["csv", "deleting_twice_is_fine"] = "The key is the person's own: a new row with it is the same entry."
OTHERWISE["csv", "a_rename_keeps_the_entry"] = "The login is the key here, and keys never change."
OTHERWISE["csv", "halted_means_nothing_more"] = "A file is written as a whole, with all changes of a pack."

for _name in (
    "a_delta_says_who_came_and_who_went",
    "a_strange_watermark_means_reading_all",
    "a_forgotten_watermark_means_reading_all",
):
    GAPS["scim", _name] = "A target is read whole; what changed is asked of sources, which their own tests show."
GAPS["scim", "lists_keep_all_their_values"] = "The standard's users have no list of plain values."
GAPS["scim", "what_was_done_of_several_steps_is_told"] = "A create is one request; one without a title is shown above."
GAPS["scim", "each_change_of_a_pack_has_its_own_verdict"] = "Bulk is tried out by large loads alone: its own tests."
GAPS["scim", "a_job_is_waited_for"] = "The standard has no jobs."
OTHERWISE["scim", "a_bad_row_has_a_place_and_a_reason"] = "What has no id has no key; it is told by its place."

GAPS["entra", "a_bad_row_has_a_place_and_a_reason"] = "Whatever Graph lists has an id, and any text may be a value."
GAPS["entra", "lists_keep_all_their_values"] = "Graph's lists are of one number, or without order."
GAPS["entra", "what_is_never_shown_is_not_missed"] = "Passwords are put in by the wire; its own tests show that."
GAPS["entra", "what_was_done_of_several_steps_is_told"] = "A manager who is refused is in its own tests."
GAPS["entra", "each_change_of_a_pack_has_its_own_verdict"] = "Requests are not packed."
GAPS["entra", "a_job_is_waited_for"] = "Graph does what is asked here at once."
GAPS["salesforce", "a_bad_row_has_a_place_and_a_reason"] = "A query gives whole records or none."
GAPS["salesforce", "a_forgotten_watermark_means_reading_all"] = "A watermark is a moment, and no moment is forgotten."
GAPS["salesforce", "lists_keep_all_their_values"] = "Lists of choices are sets."
GAPS["salesforce", "what_is_never_shown_is_not_missed"] = "Passwords are not ours to set."
GAPS["salesforce", "what_was_done_of_several_steps_is_told"] = "Freezing and deactivating are shown in its own tests."
GAPS["salesforce", "a_job_is_waited_for"] = "Collections are answered at once."
GAPS["salesforce", "a_system_that_asks_for_peace_gets_it"] = "Salesforce never says how long; shown in its own tests."
OTHERWISE["salesforce", "a_delta_says_who_came_and_who_went"] = "Users are never deleted."
OTHERWISE["salesforce", "deleting_twice_is_fine"] = "Users are never deleted."

for _name in (
    "a_delta_says_who_came_and_who_went",
    "a_strange_watermark_means_reading_all",
    "a_forgotten_watermark_means_reading_all",
):
    GAPS["dropbox", _name] = "Dropbox has no listing of changes: each cycle lists everybody."
GAPS["dropbox", "a_bad_row_has_a_place_and_a_reason"] = "Whoever is listed has a key and a profile."
GAPS["dropbox", "lists_keep_all_their_values"] = "A member has no list that can be written."
GAPS["dropbox", "what_is_never_shown_is_not_missed"] = "Passwords are not ours to set."
GAPS["dropbox", "what_was_done_of_several_steps_is_told"] = "A create is one request; profile and role: its own tests."
OTHERWISE["dropbox", "empty_text_is_not_null"] = "A name that is not there is an empty one."
OTHERWISE["dropbox", "finding_compares_as_the_system_does"] = (
    "External ids compare exactly; addresses, which do not, may not be any text: its own tests."
)
GAPS["servicenow", "a_bad_row_has_a_place_and_a_reason"] = "Every row has a sys_id, and any text may be a value."
GAPS["servicenow", "a_forgotten_watermark_means_reading_all"] = "A watermark is a moment, and no moment is forgotten."
GAPS["servicenow", "lists_keep_all_their_values"] = "Fields of users hold one value."
GAPS["servicenow", "what_was_done_of_several_steps_is_told"] = "What a write leaves out is shown in its own tests."
GAPS["servicenow", "a_job_is_waited_for"] = "The Table API does what is asked here at once."
OTHERWISE["servicenow", "empty_text_is_not_null"] = "What is unset is empty text there."
OTHERWISE["servicenow", "a_delta_says_who_came_and_who_went"] = "Deletions are not told, only how many there are."

for _bench in ("active_directory", "ldap"):
    for _name in ("a_circle_is_stopped", "counts_must_agree", "an_empty_page_is_not_the_end"):
        GAPS[_bench, _name] = (
            "The server keeps the place in a listing, and counts nothing: cut listings show what it can."
        )
    GAPS[_bench, "an_entry_that_comes_twice_is_a_doubt"] = (
        "A listing is of one moment: nothing moves between its pages."
    )
    GAPS[_bench, "a_bad_row_has_a_place_and_a_reason"] = (
        "Any value has a form; keys that are hidden are in its own tests."
    )
    GAPS[_bench, "an_empty_answer_is_not_an_empty_system"] = "Rights are the directory's; its own tests take them away."
    GAPS[_bench, "empty_text_is_not_null"] = "A directory has no empty text."
    GAPS[_bench, "a_dropped_condition_stops"] = "A directory does not ignore filters."
    GAPS[_bench, "a_late_look_sees_what_shows_late"] = "What is written is shown, on the server that it was written to."
    GAPS[_bench, "lists_keep_all_their_values"] = "A directory's lists have no order."
    GAPS[_bench, "a_job_is_waited_for"] = "A directory does at once what it is asked."
    GAPS[_bench, "a_system_that_asks_for_peace_gets_it"] = (
        "A server says that it is busy, never how long: its own tests."
    )
    GAPS[_bench, "each_change_of_a_pack_has_its_own_verdict"] = "Each request has its own answer; mixed ones are shown."
    GAPS[_bench, "what_was_done_of_several_steps_is_told"] = (
        "Passwords and moves that are refused are in its own tests."
    )
    OTHERWISE[_bench, "wrong_credentials_stop"] = "A connection has several requests under way; no more are sent."
    GAPS[_bench, "a_forgotten_watermark_means_reading_all"] = (
        "Marks that a server no longer knows are in its own tests."
    )
GAPS["active_directory", "what_is_never_shown_is_not_missed"] = "Passwords are the connector's own; shown in its tests."
