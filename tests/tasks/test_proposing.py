"""What an export seems to mean: the key, who has left, which column is which, and what is doubtful about it."""

import pandas as pd
import pytest

from tasks.proposing import propose, rewritten


def export(**columns: list[str | None]) -> pd.DataFrame:
    return pd.DataFrame({name.replace("_", " "): pd.Series(values, dtype="str") for name, values in columns.items()})


PEOPLE = export(
    Personnel_No=["1", "2", "3"],
    First_Name=["Ann", "Bo", "Cy"],
    Nachname=["Lee", "Ek", "Fox"],
    EMail=["ann@example.com", "bo@example.com", "cy@example.com"],
    Supervisor=[None, "1", "1"],
    Employment_Status=["Active", "On leave", "Terminated"],
    End_Date=[None, None, "2026-01-31"],
)


def test_an_export_with_names_of_its_own() -> None:
    """Columns are known by what others call them; what can be made of others is made."""
    found = propose(PEOPLE)
    assert found.key is not None
    assert (found.key.expression, found.last_day) == ("Personnel No", "End Date")
    assert found.there is not None
    assert (found.there.column, found.there.values) == ("Employment Status", ("Active", "On leave"))
    assert found.there.why == "everybody else is disabled: Terminated (1)"
    assert rewritten("[employeeId]", found.known) == "[Personnel No]"
    assert rewritten("[userPrincipalName]", found.known) == "[EMail]"
    assert rewritten("[displayName]", found.known) == 'Join(" ", [First Name], [Nachname])'
    assert rewritten("[manager]", found.known) == "[Supervisor]"
    assert rewritten("Not([IsSoftDeleted])", found.known) == "Not([IsSoftDeleted])"
    assert rewritten("[jobTitle]", found.known) is None
    assert found.doubts == ()


def test_words_for_true_and_false_need_no_list() -> None:
    """A column that files understand by themselves is named alone; one that says who has left is turned round."""
    enabled = propose(export(id=["1", "2"], enabled=["true", "false"])).there
    assert enabled is not None
    assert (enabled.column, enabled.values) == ("enabled", ())
    left = propose(export(id=["1", "2"], terminated=["no", "yes"])).there
    assert left is not None
    assert (left.column, left.values) == ("terminated", ("no",))


@pytest.mark.parametrize(
    ("people", "key", "doubt"),
    [
        (
            export(employeeId=["1", "1", "2", None], login=["a", "b", "c", "d"]),
            "employeeId",
            "1 rows lack it and 2 share",
        ),
        (export(staff=["1", "2"], login=["a", "b"]), "staff", "is that what never changes"),
        (export(team=["a", "a"], city=["x", "x"]), None, "No column identifies a person"),
    ],
    ids=["doubled and empty", "no well-known name", "nothing to tell people apart"],
)
def test_a_doubtful_key(people: pd.DataFrame, key: str | None, doubt: str) -> None:
    """The column is still proposed where there is one, and a sentence says what is doubtful about it."""
    found = propose(people)
    assert (found.key.expression if found.key is not None else None) == key
    assert doubt in " ".join(found.doubts)


def test_managers_who_are_no_keys() -> None:
    """A column of names is no reference: it is left out, and a sentence says why."""
    found = propose(PEOPLE.assign(Supervisor=pd.Series([None, "Ann Lee", "Ann Lee"], dtype="str")))
    assert "manager" not in found.known
    assert "only 0% of its values are keys" in " ".join(found.doubts)


def test_a_column_of_free_text_says_nothing_about_who_left() -> None:
    """Fifteen states at most, and one of them known: otherwise everybody would be disabled by a guess."""
    assert propose(export(id=["1", "2"], status=["gold", "silver"])).there is None
    many = [str(number) for number in range(20)]
    assert propose(export(id=many, status=["active", *many[1:]])).there is None
