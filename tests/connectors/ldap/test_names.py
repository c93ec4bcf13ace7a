"""Distinguished names and filters: whatever a name holds, it means one entry and never a pattern."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.ldap import names

NASTY = st.text(
    st.one_of(
        st.sampled_from(',+"\\<>;=# *()\0äÖß'), st.characters(exclude_categories=["Cs"], exclude_characters="\r\n")
    ),
    min_size=1,
    max_size=20,
)


@given(NASTY, NASTY)
def test_a_value_comes_back_from_the_name_it_was_put_into(value: str, container: str) -> None:
    """Commas, quotes, backslashes, blanks at the ends and the like are part of the value, not of the name."""
    dn = names.join(names.rdn("cn", value), names.rdn("ou", container), "dc=example")
    assert names.parse(dn) == ((("cn", value),), (("ou", container),), (("dc", "example"),))


@given(NASTY)
def test_a_name_is_split_between_its_levels(value: str) -> None:
    """The container of an entry is found whatever the entry's own name holds."""
    dn = names.join(names.rdn("cn", value), "ou=people,dc=example")
    assert names.split(dn) == (names.rdn("cn", value), "ou=people,dc=example")
    assert names.lies_below(dn, "OU=People, DC=example")


@given(NASTY, NASTY)
def test_names_are_the_same_only_when_their_values_are(one: str, other: str) -> None:
    """The normal form forgets case and doubled blanks, nothing else."""

    def folded(text: str) -> str:
        return names._BLANKS.sub(" ", text).casefold()

    same = names.same(names.rdn("cn", one), names.rdn("CN", other))
    assert same == (folded(one) == folded(other))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("CN=Jo Müller,OU=People,DC=example", "cn=jo müller, ou=people, dc=EXAMPLE"),
        (r"cn=O\,Brien,dc=x", r"CN=O\2CBrien,DC=x"),
        (r"cn=Br\C3\BCcke,dc=x", "cn=Brücke,dc=x"),
        ("cn=a  b,dc=x", "cn=a b,dc=x"),
        ("ou=b+cn=a,dc=x", "CN=a + OU=b,dc=x"),
        ('cn="a,b",dc=x', r"cn=a\,b,dc=x"),
        (r"cn=1\=2,dc=x", "cn=1=2,dc=x"),
    ],
)
def test_spellings_of_one_name(one: str, other: str) -> None:
    """Servers write a name as they like; it is still the same entry."""
    assert names.same(one, other)


@pytest.mark.parametrize("text", ["people", "=x", "cn=a,", 'cn="a', "cn=a\\", "cn=a,,dc=x"])
def test_what_is_not_a_name_is_refused(text: str) -> None:
    """A container mapped to nonsense must not become some other container."""
    with pytest.raises(ValueError, match="is not a distinguished name"):
        names.parse(text)


def test_an_entry_beside_the_base_does_not_lie_below_it() -> None:
    """``ou=people2`` is not part of ``ou=people``, nor is a base inside its own child."""
    assert not names.lies_below("ou=people2,dc=x", "ou=people,dc=x")
    assert not names.lies_below("cn=a,ou=otherpeople,dc=x", "ou=people,dc=x")
    assert not names.lies_below("dc=x", "ou=people,dc=x")
    assert names.lies_below("dc=x", "")


@given(NASTY)
def test_no_value_can_change_a_filter(value: str) -> None:
    """Brackets, stars and backslashes of a value are hexadecimal, so that the filter keeps its shape."""
    text = names.equals("cn", value)
    inner = text[len("(cn=") : -1]
    assert not set(inner) & set("()*\0")
    assert names.escape_filter(value.encode()).replace("\\", "") == value.encode().hex()


def test_a_name_inside_a_filter_is_escaped_twice() -> None:
    """A member's name with a comma and a bracket stands in a filter with both escapes."""
    dn = names.join(names.rdn("cn", "O,Brien (Jo)"), "dc=x")
    assert names.equals("member", dn) == r"(member=cn=O\5c,Brien \28Jo\29,dc=x)"
    assert names.any_of([names.equals("a", "1"), names.equals("b", "2")]) == "(|(a=1)(b=2))"
    assert names.all_of(["", "(a=1)"]) == "(a=1)"
