"""Active Directory's types, both ways; vectors are taken from Microsoft's documents and from real servers."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.ldap import values


@pytest.mark.parametrize("ticks", ["0", "9223372036854775807", "9223372032559808511", "-1"])
def test_an_account_that_never_expires_has_no_date(ticks: str) -> None:
    """0, the greatest number and what lies past the year 9999 all mean never; none of them is 1601."""
    assert values.iso_of_filetime(ticks) is None


def test_dates_both_ways() -> None:
    """100 ns ticks since 1601, UTC."""
    assert values.iso_of_filetime("116444736000000000") == "1970-01-01T00:00:00Z"
    assert values.iso_of_filetime("133485408000000000") == "2024-01-01T00:00:00Z"
    assert values.filetime_of_iso("2024-01-01") == "133485408000000000"
    assert values.filetime_of_iso("2024-01-01T01:00:00+01:00") == "133485408000000000"
    assert values.filetime_of_iso(None) == "9223372036854775807"


@given(st.datetimes(timezones=st.just(UTC)).filter(lambda moment: 1601 < moment.year < 9999))
def test_a_moment_survives(moment: datetime) -> None:
    """Nothing of a moment is lost on the way to the directory and back."""
    assert values.moment_of_filetime(values.filetime_of_moment(moment)) == moment


@pytest.mark.parametrize(
    ("text", "iso"),
    [
        ("20261129220730.0Z", "2026-11-29T22:07:30Z"),
        ("20261129220730Z", "2026-11-29T22:07:30Z"),
        ("202611292207Z", "2026-11-29T22:07:00Z"),
        ("20261129230730+0100", "2026-11-29T22:07:30Z"),
        ("2026112922.5Z", "2026-11-29T22:30:00Z"),
        ("20261129220730.25Z", "2026-11-29T22:07:30.250000Z"),
    ],
)
def test_generalized_time(text: str, iso: str) -> None:
    """All forms that RFC 4517 allows."""
    assert values.iso_of_generalized_time(text) == iso


def test_generalized_time_back() -> None:
    """A date of the source as a directory keeps it; what is no time is refused."""
    assert values.generalized_time_of_iso("2026-11-29T23:07:30+01:00") == "20261129220730Z"
    with pytest.raises(ValueError, match="not a time"):
        values.iso_of_generalized_time("29.11.2026")


def test_identifiers() -> None:
    """The first fields of a GUID are little-endian; so are the numbers of a SID, but not its authority."""
    raw = bytes.fromhex("ff19966f868b11d0b42d00cf4fc964ff")
    assert values.guid_text(raw) == "6f9619ff-8b86-d011-b42d-00cf4fc964ff"
    assert values.guid_bytes("6f9619ff-8b86-d011-b42d-00cf4fc964ff") == raw
    sid = "S-1-5-21-2036752007-3294678857-2826896201-1104"
    assert values.sid_text(values.sid_bytes(sid)) == sid
    assert values.sid_bytes("S-1-5-32-544").hex() == "01020000000000052000000020020000"
    with pytest.raises(ValueError, match="not a security identifier"):
        values.sid_text(b"\x01\x05abc")


@given(st.binary(min_size=16, max_size=16))
def test_a_guid_survives(raw: bytes) -> None:
    """Every key comes back as the same bytes."""
    assert values.guid_bytes(values.guid_text(raw)) == raw


def test_group_types_are_signed() -> None:
    """A security group's type has the sign bit set, so directories keep it as a negative number."""
    flags = values.GroupType.SECURITY | values.GroupType.GLOBAL
    assert values.signed(flags) == -2147483646
    assert values.signed(values.GroupType.UNIVERSAL) == 8


def test_a_password_is_quoted_and_in_utf_16() -> None:
    """Source: [MS-ADTS] 3.1.1.3.1.5.1."""
    assert values.password_bytes("newPw") == b'"\x00n\x00e\x00w\x00P\x00w\x00"\x00'


@pytest.mark.parametrize(
    ("sid", "protected"),
    [
        ("S-1-5-21-1-2-3-500", True),
        ("S-1-5-21-1-2-3-502", True),
        ("S-1-5-21-1-2-3-512", True),
        ("S-1-5-21-1-2-3-519", True),
        ("S-1-5-32-544", True),
        ("S-1-5-21-1-2-3-513", False),
        ("S-1-5-21-1-2-3-1500", False),
        ("S-1-5-21-500-2-3-1104", False),
    ],
)
def test_who_runs_a_domain_is_protected(sid: str, protected: bool) -> None:
    """Administrators, operators and krbtgt by their last number, everything built in, and nobody else."""
    assert values.is_protected_sid(sid) is protected
