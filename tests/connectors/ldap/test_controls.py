"""Controls as bytes: against the encoder and decoder of python-ldap and pyasn1, which are not ours."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.ldap import controls
from connectors.ldap.controls import Control, SyncMode

ldap_controls = pytest.importorskip("ldap.controls", reason="python-ldap is not installed: see README, Directories")


@given(st.integers(1, 100_000), st.binary(max_size=300))
def test_pages(size: int, cookie: bytes) -> None:
    """The same bytes as python-ldap's, and the cookie comes back."""
    theirs = ldap_controls.SimplePagedResultsControl(True, size=size, cookie=cookie)
    assert controls.paged(size, cookie).value == theirs.encodeControlValue()
    assert controls.cookie_of(controls.paged(size, cookie)) == cookie


def test_assertion_is_a_filter() -> None:
    """``(entryUUID=…)`` as bytes, however long the value is."""
    from ldap.controls.libldap import AssertionControl
    from ldap.controls.simple import ManageDSAITControl  # noqa: F401 - the package is whole

    for value in ("6f9619ff-8b86-d011-b42d-00cf4fc964ff", "x" * 300):
        theirs = AssertionControl(True, f"(entryUUID={value})").encodeControlValue()
        assert controls.assert_equal("entryUUID", value).value == theirs


def test_read_after_a_change() -> None:
    """What is asked for is encoded as python-ldap does."""
    from ldap.controls.readentry import PostReadControl

    theirs = PostReadControl(False, ["entryUUID", "entryCSN"]).encodeControlValue()
    assert controls.post_read("entryUUID", "entryCSN").value == theirs


@given(st.one_of(st.none(), st.binary(max_size=60)))
def test_synchronisation(cookie: bytes | None) -> None:
    """The request is encoded as python-ldap does."""
    from ldap.syncrepl import SyncRequestControl

    # python-ldap sends rhint=FALSE outright, which is its default.
    theirs = SyncRequestControl(True, cookie=cookie, mode="refreshOnly", reloadHint=False).encodeControlValue()
    ours = controls.sync_request(cookie).value or b""
    assert theirs[2:].startswith(ours[2:])


def test_states_of_synchronised_entries() -> None:
    """What became of an entry, and its identifier."""
    uuid = bytes(range(16))
    for number, mode in enumerate(SyncMode):
        value = b"\x30\x15\x0a\x01" + bytes([number]) + b"\x04\x10" + uuid
        assert controls.sync_state(Control("", value)) == (mode, uuid)


def test_identifiers_between_entries() -> None:
    """A set of those who are there, or who were deleted."""
    one, other = bytes(16), bytes(range(16))
    ids = b"\x31\x24\x04\x10" + one + b"\x04\x10" + other
    gone = controls.sync_info(b"\xa3" + bytes([len(ids) + 3]) + b"\x01\x01\xff" + ids)
    assert gone == controls.SyncInfo((one, other), deletes=True)
    there = controls.sync_info(b"\xa3" + bytes([len(ids)]) + ids)
    assert there == controls.SyncInfo((one, other), deletes=False)
    assert controls.sync_info(b"\x80\x03abc").cookie == b"abc"


def test_the_end_of_a_refresh() -> None:
    """The next cookie, and whether deletions were told."""
    assert controls.sync_done(Control("", b"\x30\x08\x04\x03abc\x01\x01\xff")) == controls.SyncDone(b"abc", True)
    assert controls.sync_done(Control("", b"\x30\x05\x04\x03abc")) == controls.SyncDone(b"abc", False)


@pytest.mark.parametrize("value", [b"", b"\x30", b"\x30\x05\x02\x01", b"\x04\x01a", b"\x30\x02\x02\x05"])
def test_bytes_that_are_no_control_are_refused(value: bytes) -> None:
    """A torn answer is an error, never an empty cookie, which would end a listing too soon."""
    with pytest.raises(ValueError, match=r"sequence|element|cookie"):
        controls.cookie_of(Control("", value))


def test_a_read_entry_is_decoded() -> None:
    """The entry that comes with an answer: name, attributes, values."""
    values = b"\x31\x05\x04\x03abc"
    attribute = b"\x30\x0e\x04\x05mails"[:0] + b"\x30\x0b\x04\x02cn" + values
    body = b"\x04\x04dc=x" + b"\x30" + bytes([len(attribute)]) + attribute
    entry = b"\x64" + bytes([len(body)]) + body
    assert controls.read_entry(Control("", entry)) == ("dc=x", {"cn": [b"abc"]})
