"""What a person names is decided about and nothing else; and until when a decision counts."""

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any

import orjson
import pytest

from connectors.contract import Action, Kind
from flows.decisions.approval import asked_about
from flows.decisions.naming import labels_of, named_by
from flows.decisions.persons import DecisionError
from flows.decisions.until import parse_until, refuse_until
from tasks.ledger import Staged

NOW = datetime(2026, 3, 10, 12, tzinfo=UTC)


def held(anchor: str, action: Action = Action.DISABLE, kind: Kind = Kind.USER, **more: Any) -> Staged:
    return Staged(kind, action, anchor, NOW, 1, "too many", **more)


def named(staged: Sequence[Staged], *only: str) -> list[tuple[Kind, str]]:
    return [(one.kind, one.anchor) for one in named_by(staged, only, "hr")]


# --- by name ----------------------------------------------------------------------------------------------------------


def test_an_anchor_is_that_entry_alone() -> None:
    """Not one that differs by case, hyphen or blank, nor one whose id or name in the target is that text."""
    staged = [held(one) for one in ("e-1", "e 1", "E-1")]
    staged += [held("1001"), held("2002", target_id="1001"), held("3003", label="1001"), held("disable"), held("user")]
    for anchor in ("e-1", "e 1", "E-1", "1001", "disable", "user"):
        assert named(staged, anchor) == [(Kind.USER, anchor)]
    for other in ("E 1", "e\u20111", "DISABLED", "e\udcff1"):  # the last one: bytes of a shell that are no text
        with pytest.raises(DecisionError, match="Nothing that waits is called"):
            named(staged, other)


def test_an_id_or_a_name_is_one_entry_or_none() -> None:
    """Where several have it, the sentence says which, and how each is named."""
    staged = [held("1", target_id="id-1", label="Ann Lee"), held("2", label="Bob"), held("3", label="Bob")]
    staged += [held("4", label="id-5"), held("5", target_id="id-5")]
    assert named(staged, "id-1") == named(staged, "Ann Lee") == [(Kind.USER, "1")]
    with pytest.raises(DecisionError, match=r"Bob is not clear, .* user 2 \(Bob\), user 3 \(Bob\)\. .* \"user 2\""):
        named(staged, "Bob")
    with pytest.raises(DecisionError, match=r"id-5 is not clear, .* user 4 \(id-5\), user 5\."):
        named(staged, "id-5")
    with pytest.raises(DecisionError, match="Nothing that waits is called ann lee"):
        named(staged, "ann lee")


def test_a_user_and_a_group_of_one_anchor_are_told_apart() -> None:
    """By the kind before the anchor; everything that waits about the one is meant."""
    staged = [held("7"), held("7", Action.UPDATE), held("7", Action.REMOVE_MEMBERS, Kind.GROUP)]
    with pytest.raises(DecisionError, match="7 is not clear, nothing was decided: it means user 7, group 7"):
        named(staged, "7")
    assert named(staged, "user 7") == [(Kind.USER, "7")] * 2
    assert named(staged, "group 7") == [(Kind.GROUP, "7")]


def test_a_kind_or_an_action_means_all_of_it_unless_an_entry_is_called_so() -> None:
    """An entry with that anchor is meant first; with an entry of that name it is not clear what is meant."""
    staged = [held("1"), held("2", Action.UPDATE), held("3", Action.REMOVE_MEMBERS, Kind.GROUP)]
    assert [one.anchor for one in named_by(staged, ["users"], "hr")] == ["1", "2"]
    for text in ("remove-members", "Remove members", "group"):
        assert [one.anchor for one in named_by(staged, [text], "hr")] == ["3"]
    with pytest.raises(DecisionError, match=r"disable is not clear, .* also means all of that kind or action"):
        named([*staged, held("9", Action.UPDATE, label="disable")], "disable")
    assert named([*staged, held("disable", Action.UPDATE)], "disable") == [(Kind.USER, "disable")]


# --- in a form --------------------------------------------------------------------------------------------------------


def test_each_choice_of_a_form_is_one_entry() -> None:
    """Also where names, keys and characters that are not seen make two of them look the same."""
    staged = [held("7", label="Bob"), held("Bob (7)"), held("a\u0007"), held("a\\x07"), held("a\\x07 [2]")]
    choices = labels_of(staged, 200)
    assert [[one.anchor for one in some] for some in choices.values()] == [[one.anchor] for one in staged]
    assert list(choices)[:2] == ["disable user Bob (7), key 7", "disable user Bob (7), key Bob (7)"]


def test_a_choice_means_what_the_form_has_shown() -> None:
    """Whatever of it still waits by then: a label is not looked up among what is left."""
    asked = orjson.dumps([["one", "Bob, key 1"], ["two", "Bob, key 2"], ["three", "disable user (300)"]]).decode()
    assert asked_about(asked) == {"one", "two", "three"}
    assert asked_about(asked, {"Bob, key 2"}) == {"two"}
    assert asked_about(asked, {"Bob"}) == set()


# --- until ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "moment"),
    [
        ("2026-12-31", datetime(2027, 1, 1, tzinfo=UTC)),
        (date(2026, 12, 31), datetime(2027, 1, 1, tzinfo=UTC)),
        ("2026-12-31T18:00", datetime(2026, 12, 31, 18, tzinfo=UTC)),
        ("2026-12-31 18:00:30+02:00", datetime(2026, 12, 31, 16, 0, 30, tzinfo=UTC)),
        ("", None),
        (None, None),
    ],
)
def test_a_day_counts_to_its_end(given: str | date | None, moment: datetime | None) -> None:
    """A moment to itself; without either there is no end."""
    assert parse_until(given) == moment


@pytest.mark.parametrize(
    "text",
    [
        "20991231",
        "2099-W01-1",
        "2099-12-31T",
        "2099-12-31T18",
        "2026-02-31",
        "0001-01-01T00:00+14:00",
        "soon",
        "\u0662\u0660\u0662\u0666-12-31",
    ],
)
def test_what_is_no_date_is_told_in_one_sentence(text: str) -> None:
    """What other forms of a date mean, people do not agree on."""
    with pytest.raises(
        DecisionError, match=f"^{text.replace('+', '.')} is no date like 2026-01-31, and no moment like"
    ):
        parse_until(text)


@pytest.mark.parametrize("given", ["9999-12-31", date(9999, 12, 31), "9999-12-31T23:59:59Z", "2126-03-11"])
def test_no_decision_counts_for_ever(given: str | date) -> None:
    """A hundred years at most; the sentence says until when, and how to have no end at all."""
    with pytest.raises(
        DecisionError, match=r"until 2126-03-10 at the latest, .* Without a date it counts until nothing"
    ):
        refuse_until(parse_until(given), NOW)
    refuse_until(parse_until("2126-03-09"), NOW)
    with pytest.raises(DecisionError, match="would have run out already"):
        refuse_until(NOW - timedelta(seconds=1), NOW)
