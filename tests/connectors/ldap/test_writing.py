"""What is sent for a change, as data: passwords that nobody sees, and what is missing said in a sentence."""

import sys

import pytest

from connectors.contract import Attribute
from connectors.errors import SettingsError
from connectors.ldap import wire
from connectors.ldap.lines import Write
from connectors.ldap.requests import Add, Extended, Modify, Op
from connectors.ldap.settings import DirectorySettings
from connectors.ldap.writing import protected, random_password

SIMPLE = {"simple": {"user": "cn=x", "password": "${env:PASSWORD}"}}


def test_random_passwords_are_strong_and_all_different() -> None:
    """Four sorts of characters, the length that was asked for, and never the same one twice."""
    made = [random_password(20) for _ in range(500)]
    assert len(set(made)) == 500
    for one in made:
        assert len(one) == 20
        assert any(letter.islower() for letter in one)
        assert any(letter.isupper() for letter in one)
        assert any(letter.isdigit() for letter in one)
        assert any(not letter.isalnum() for letter in one)


def test_no_request_shows_its_values() -> None:
    """Requests end up in logs and error texts; what they carry must not."""
    for request in (
        Add("cn=x", {"unicodePwd": [b"s3cret"]}),
        Modify("cn=x", [(Op.REPLACE, "unicodePwd", [b"s3cret"])]),
        Extended("1.2.3", b"s3cret"),
    ):
        assert "s3cret" not in repr(request)
    assert "s3cret" not in repr(Write(Add("cn=x", {}), password=b"s3cret"))


@pytest.mark.parametrize(
    ("row", "refused"),
    [
        ({"objectSid": "S-1-5-21-1-2-3-500"}, True),
        ({"objectSid": "S-1-5-21-1-2-3-1104", "adminCount": 1}, True),
        ({"objectSid": "S-1-5-21-1-2-3-1104", "adminCount": 0}, False),
        ({"objectSid": "S-1-5-21-1-2-3-1104"}, False),
        ({}, False),
    ],
)
def test_who_runs_the_domain_is_not_written(row: dict[str, object], refused: bool) -> None:
    """By well-known number, or by the mark that the domain leaves."""
    assert bool(protected(row)) is refused


@pytest.mark.parametrize("url", ["ldap://dc1.example.com", "ldap://10.0.0.1:389"])
def test_passwords_do_not_go_over_the_network_in_the_clear(url: str) -> None:
    """A job that would send one is refused when it is read, and when a reference says so, before anything is sent."""
    with pytest.raises(ValueError, match="unencrypted"):
        DirectorySettings.model_validate({"url": url, "auth": SIMPLE})
    DirectorySettings.model_validate({"url": url, "auth": SIMPLE, "start_tls": True})
    DirectorySettings.model_validate({"url": "ldap://127.0.0.1", "auth": SIMPLE})


def test_a_reference_cannot_hide_an_unencrypted_address(monkeypatch: pytest.MonkeyPatch, tmp_path: object) -> None:
    """What a reference stands for is looked at before anything is sent."""
    pytest.importorskip("ldap", reason=wire.MISSING)
    monkeypatch.setenv("HOST", "ldap://dc1.example.com")
    settings = DirectorySettings.model_validate({"url": "${env:HOST}", "auth": SIMPLE})
    with pytest.raises(SettingsError, match="nothing was sent"):
        wire.connect(settings, "${env:HOST}", folder=tmp_path)  # type: ignore[arg-type]


def test_what_is_missing_is_said_in_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without python-ldap a job says what to install, and nothing else is affected."""
    monkeypatch.setitem(sys.modules, "ldap", None)
    with pytest.raises(SettingsError, match="libldap2-dev"):
        wire.library()


def test_attributes_are_found_whatever_case_they_are_written_in() -> None:
    """Directories do not tell case in names of attributes; neither do job files."""
    from connectors.ldap.schema import spelled

    known = {"sAMAccountName": Attribute("sAMAccountName", required=True)}
    assert spelled(known, ("samaccountname", "other"))["samaccountname"].required
