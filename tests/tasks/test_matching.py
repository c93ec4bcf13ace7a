"""Who gets which account: links first, then rules in order, and nobody when it is not certain."""

import numpy as np
import pandas as pd
import pytest

from connectors.contract import Kind
from connectors.errors import ErrorCode
from tasks.job import MatchingRule
from tasks.mapping import Desired
from tasks.matching import LINKED, match_entries

RULES = (
    MatchingRule(source="[upn]", target="userName"),
    MatchingRule(source="[number]", target="externalId"),
)


def desired(**people: tuple[str | None, str | None]) -> Desired:
    """People by anchor with their values for the two rules."""
    index = pd.Index(list(people), name="key", dtype="str")
    keys = [pd.Series([values[at] for values in people.values()], index=index, dtype="str") for at in (0, 1)]
    return Desired(
        kind=Kind.USER,
        frame=pd.DataFrame(index=index),
        keys=keys,
        labels=keys[0].fillna(pd.Series(index, index=index, dtype="str")),
        disabled=np.zeros(len(index), dtype=bool),
    )


def existing(**accounts: tuple[str | None, str | None]) -> pd.DataFrame:
    """Accounts by target id with their userName and externalId."""
    index = pd.Index(list(accounts), name="key", dtype="str")
    return pd.DataFrame(
        {
            "userName": pd.Series([values[0] for values in accounts.values()], index=index, dtype="str"),
            "externalId": pd.Series([values[1] for values in accounts.values()], index=index, dtype="str"),
        },
        index=index,
    )


def links(**ids: str) -> pd.DataFrame:
    """Links by anchor."""
    return pd.DataFrame(
        {"target_id": pd.Series(list(ids.values()), index=list(ids), dtype="str")},
        index=pd.Index(list(ids), name="anchor", dtype="str"),
    )


def match(people: Desired, accounts: pd.DataFrame, known: pd.DataFrame, *, gone: tuple[str, ...] = ()):
    present = people.frame.index.append(known.index[~known.index.isin([*gone, *people.frame.index])])
    return match_entries(RULES, people, accounts, known, present=present, exact=frozenset({"externalId"}))


def accounts_of(people: Desired, accounts: pd.DataFrame, matches) -> dict[str, str | None]:
    return {
        anchor: accounts.index[row] if row >= 0 else None
        for anchor, row in zip(people.frame.index, matches.row, strict=True)
    }


def test_a_link_wins_over_every_attribute():
    """A linked entry keeps its account whatever its attributes say: a rename never moves anybody."""
    people = desired(p1=("new@x", "1"))
    accounts = existing(a=("old@x", "1"), b=("new@x", "9"))
    matches = match(people, accounts, links(p1="a"))
    assert accounts_of(people, accounts, matches) == {"p1": "a"}
    assert list(matches.how) == [LINKED]


def test_rules_are_tried_in_order_until_one_finds_something():
    """The second rule is for those whom the first does not find."""
    people = desired(p1=("ann@x", "7"), p2=("bob@x", "8"))
    accounts = existing(a=("ANN@X", "8x"), b=("robert@x", "8"))
    matches = match(people, accounts, links())
    assert accounts_of(people, accounts, matches) == {"p1": "a", "p2": "b"}
    assert list(matches.how) == ["matched by userName", "matched by externalId"]


def test_case_counts_only_where_the_target_says_so():
    """userName is compared without case, externalId with it."""
    people = desired(p1=("ANN@x", None), p2=(None, "abc"))
    accounts = existing(a=("ann@X", None), b=(None, "ABC"))
    assert accounts_of(people, accounts, match(people, accounts, links())) == {"p1": "a", "p2": None}


def test_null_matches_nobody():
    """Two people without an employee number are not the same person."""
    people = desired(p1=(None, None), p2=(None, None))
    accounts = existing(a=(None, None), b=(None, None))
    matches = match(people, accounts, links())
    assert accounts_of(people, accounts, matches) == {"p1": None, "p2": None}
    assert not matches.held


def test_two_candidates_mean_no_write():
    """Two accounts that match: neither is touched, nothing is created, and the reason is said."""
    people = desired(p1=("ann@x", "1"))
    accounts = existing(a=("ann@x", None), b=("ANN@x", "1"))
    matches = match(people, accounts, links())
    assert accounts_of(people, accounts, matches) == {"p1": None}
    assert matches.blocked.tolist() == [True]
    assert [held.code for held in matches.held] == [ErrorCode.DUPLICATE_TARGET_ENTRIES]
    assert "2 accounts" in matches.held[0].reason


def test_two_entries_for_one_account_get_nothing():
    """Two people of the source who claim one account: a guess would give one of them the other's access."""
    people = desired(p1=("ann@x", "1"), p2=("Ann@x", "2"), p3=("eve@x", "3"))
    accounts = existing(a=("ann@x", None))
    matches = match(people, accounts, links())
    assert accounts_of(people, accounts, matches) == {"p1": None, "p2": None, "p3": None}
    assert [(held.anchor, held.code) for held in matches.held] == [
        ("p1", ErrorCode.DUPLICATE_SOURCE_ENTRIES),
        ("p2", ErrorCode.DUPLICATE_SOURCE_ENTRIES),
    ]


def test_sharing_a_later_rules_value_holds_nobody_without_an_account():
    """A common mailbox must not keep two joiners from getting their accounts."""
    people = desired(p1=("ann@x", "shared"), p2=("bob@x", "shared"))
    matches = match(people, existing(z=("zoe@x", "z")), links())
    assert not matches.held
    assert not matches.blocked.any()


def test_two_rules_that_lead_to_one_account_give_it_to_nobody():
    """One finds it by name, the other by number: that is not certain either."""
    people = desired(p1=("ann@x", None), p2=("new@x", "1"))
    accounts = existing(a=("ann@x", "1"))
    matches = match(people, accounts, links())
    assert accounts_of(people, accounts, matches) == {"p1": None, "p2": None}
    assert {held.anchor for held in matches.held} == {"p1", "p2"}


def test_an_account_of_somebody_present_is_not_taken():
    """A joiner who matches a linked person's account is held: two people would share one account."""
    people = desired(p2=("ann@x", "2"))
    accounts = existing(a=("ann@x", "1"))
    matches = match(people, accounts, links(p1="a"))
    assert accounts_of(people, accounts, matches) == {"p2": None}
    assert "p1" in matches.held[0].reason


def test_a_rehire_with_a_new_anchor_takes_the_old_account():
    """The old anchor is gone from the source, so its account is free for whoever matches it."""
    people = desired(p2=("ann@x", "2"))
    accounts = existing(a=("ann@x", "1"))
    matches = match(people, accounts, links(p1="a"), gone=("p1",))
    assert accounts_of(people, accounts, matches) == {"p2": "a"}
    assert matches.released == ["p1"]


def test_a_vanished_account_is_noticed():
    """The link points to an account that is not in the target any more."""
    people = desired(p1=("ann@x", "1"))
    matches = match(people, existing(b=("bob@x", "2")), links(p1="a"))
    assert matches.vanished.tolist() == [True]
    assert matches.row.tolist() == [-1]


@pytest.mark.parametrize("seed", range(5))
def test_order_of_inputs_does_not_matter(seed):
    """Shuffled people, accounts and links give everybody the same account."""
    generator = np.random.default_rng(seed)
    people = {f"p{n}": (f"user{n}@x", str(n)) for n in range(40)}
    accounts = {f"a{n}": (f"USER{n}@x" if n % 3 else None, str(n) if n % 2 else None) for n in range(40)}
    known = {f"p{n}": f"a{n}" for n in range(0, 40, 7)}

    def shuffled(mapping: dict) -> dict:
        return {key: mapping[key] for key in generator.permutation(list(mapping))}

    def result(people: dict, accounts: dict, known: dict):
        wanted, there = desired(**people), existing(**accounts)
        matches = match(wanted, there, links(**known))
        return accounts_of(wanted, there, matches), [held.anchor for held in matches.held]

    assert result(people, accounts, known)[0] == dict(
        sorted(
            result(shuffled(people), shuffled(accounts), shuffled(known))[0].items(), key=lambda item: int(item[0][1:])
        )
    )


# --- what looks the same -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("there", "here"),
    [
        ("j\u00f6rg@x", "jo\u0308rg@x"),
        ("ann@x", "ann@x\u00a0"),
        ("ann@x", "a\u200bnn@x"),
        ("ann@x ", "Ann@x"),
        ("Ａnn@x", "Ann@x"),
    ],
)
@pytest.mark.parametrize("swapped", [False, True])
def test_no_second_account_beside_one_that_looks_the_same(there, here, swapped):
    """Nobody could tell the two apart: the joiner is held, and the reason spells what cannot be seen."""
    there, here = (here, there) if swapped else (there, here)
    people = desired(p1=(here, "1"), p2=("bob@x", "2"))
    matches = match(people, existing(a=(there, "9"), b=("eve@x", "8")), links())
    assert [(one.anchor, one.code) for one in matches.held] == [("p1", ErrorCode.DUPLICATE_TARGET_ENTRIES)]
    assert ascii(there) in matches.held[0].reason
    assert matches.blocked.tolist() == [True, False]


def test_names_that_differ_to_the_eye_are_two():
    """Accents and letters of other alphabets are other names."""
    people = desired(p1=("jorg@x", "1"), p2=("аnn@x", "2"))
    matches = match(people, existing(a=("j\u00f6rg@x", "9"), b=("ann@x", "8")), links())
    assert matches.held == []
