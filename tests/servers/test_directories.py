"""The directories that tests are run against are what they claim to be, and leave nothing behind."""

import pytest

from tests.servers.directories import Directory

NASTY = 'Jo, "the # bracket" (Ünsal) \\ + <x>; * '


@pytest.fixture(params=["openldap", "ds389", "samba"])
def directory(request: pytest.FixtureRequest) -> Directory:
    server: Directory = request.getfixturevalue(request.param)
    return server


def test_a_directory_keeps_what_it_is_given(directory: Directory) -> None:
    """Names with every letter that needs an escape go in and are read back, and the next test finds none of it."""
    person = "user" if directory.kind == "samba" else "inetOrgPerson"
    with directory.fresh() as unit:
        escaped = 'Jo\\, \\"the # bracket\\" (Ünsal) \\\\ \\+ \\<x\\>\\; *'
        directory.add({f"CN={escaped},{unit}": {"objectClass": person, "sn": "Ünsal", "description": NASTY}})
        (entry,) = directory.search(unit, f"(objectClass={person})").values()
        assert entry["description"] == [NASTY]
        assert entry["cn"] == [NASTY.strip()]
    assert directory.search(unit) == {}


def test_sign_ins_are_told_apart(directory: Directory) -> None:
    """The right password is accepted, a wrong one is refused with result 49."""
    assert directory.bind_status(directory.admin, directory.password) == 0
    assert directory.bind_status(directory.admin, "wrong") == 49
