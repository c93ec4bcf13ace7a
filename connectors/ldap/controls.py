"""LDAP controls and extended operations as bytes: encoded and decoded by pure functions.

Only the little of BER that they need: sequences, integers, octet strings, enumerations, booleans.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum


class Oid(StrEnum):
    """Names of controls, extended operations and capabilities on the wire."""

    PAGED = "1.2.840.113556.1.4.319"
    EXTENDED_DN = "1.2.840.113556.1.4.529"
    SHOW_DELETED = "1.2.840.113556.1.4.417"
    PERMISSIVE_MODIFY = "1.2.840.113556.1.4.1413"
    DOMAIN_SCOPE = "1.2.840.113556.1.4.1339"
    ASSERTION = "1.3.6.1.1.12"
    PRE_READ = "1.3.6.1.1.13.1"
    POST_READ = "1.3.6.1.1.13.2"
    SYNC_REQUEST = "1.3.6.1.4.1.4203.1.9.1.1"
    SYNC_STATE = "1.3.6.1.4.1.4203.1.9.1.2"
    SYNC_DONE = "1.3.6.1.4.1.4203.1.9.1.3"
    SYNC_INFO = "1.3.6.1.4.1.4203.1.9.1.4"
    START_TLS = "1.3.6.1.4.1.1466.20037"
    MODIFY_PASSWORD = "1.3.6.1.4.1.4203.1.11.1"
    WHO_AM_I = "1.3.6.1.4.1.4203.1.11.3"
    ACTIVE_DIRECTORY = "1.2.840.113556.1.4.800"
    """Capability: the server is a domain controller."""
    ACTIVE_DIRECTORY_LIGHTWEIGHT = "1.2.840.113556.1.4.1851"
    MATCH_ALL_BITS = "1.2.840.113556.1.4.803"
    """Matching rule: all of these bits are set."""


@dataclass(frozen=True, slots=True)
class Control:
    """One control of a request or an answer."""

    oid: str
    value: bytes | None = None
    critical: bool = False


# BER

_BOOLEAN, _INTEGER, _OCTETS, _ENUMERATED, _SEQUENCE, _SET = 0x01, 0x02, 0x04, 0x0A, 0x30, 0x31


def _tlv(tag: int, content: bytes) -> bytes:
    length = len(content)
    if length < 0x80:
        return bytes((tag, length)) + content
    size = length.to_bytes((length.bit_length() + 7) // 8, "big")
    return bytes((tag, 0x80 | len(size))) + size + content


def _integer(number: int, tag: int = _INTEGER) -> bytes:
    return _tlv(tag, number.to_bytes(number.bit_length() // 8 + 1, "big", signed=True))


def _parts(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Tag and content of the elements side by side. Raises: ValueError."""
    position = 0
    while position < len(data):
        if position + 2 > len(data):
            raise ValueError("an element ends in its header")
        tag, length = data[position], data[position + 1]
        position += 2
        if length & 0x80:
            size = length & 0x7F
            length = int.from_bytes(data[position : position + size], "big")
            position += size
        if position + length > len(data):
            raise ValueError("an element is longer than what holds it")
        yield tag, data[position : position + length]
        position += length


def _sequence(data: bytes) -> list[tuple[int, bytes]]:
    parts = list(_parts(data))
    if len(parts) != 1 or parts[0][0] != _SEQUENCE:
        raise ValueError("a sequence was expected")
    return list(_parts(parts[0][1]))


# Reading


def paged(size: int, cookie: bytes = b"") -> Control:
    """The next page. Source: RFC 2696."""
    return Control(Oid.PAGED, _tlv(_SEQUENCE, _integer(size) + _tlv(_OCTETS, cookie)), critical=True)


def cookie_of(control: Control) -> bytes:
    """The cookie of a page's answer; empty after the last page. Raises: ValueError."""
    parts = _sequence(control.value or b"")
    if len(parts) != 2 or parts[1][0] != _OCTETS:
        raise ValueError("the control of a page holds no cookie")
    return parts[1][1]


def extended_dn() -> Control:
    """Names come as ``<GUID=…>;<SID=…>;CN=…``, the identifiers as text. Source: [MS-ADTS] 3.1.1.3.4.1.5."""
    return Control(Oid.EXTENDED_DN, _tlv(_SEQUENCE, _integer(1)), critical=True)


def show_deleted() -> Control:
    """Deleted entries are shown. Source: [MS-ADTS] 3.1.1.3.4.1.14."""
    return Control(Oid.SHOW_DELETED, critical=True)


def domain_scope() -> Control:
    """No referrals to other parts of the forest. Source: [MS-ADTS] 3.1.1.3.4.1.2."""
    return Control(Oid.DOMAIN_SCOPE, critical=False)


class SyncMode(StrEnum):
    """What became of an entry. Source: RFC 4533 section 2.2."""

    PRESENT = "present"
    ADD = "add"
    MODIFY = "modify"
    DELETE = "delete"


def sync_request(cookie: bytes | None) -> Control:
    """What changed since the cookie, once. Source: RFC 4533 section 2.2 (refreshOnly)."""
    content = _integer(1, _ENUMERATED) + (_tlv(_OCTETS, cookie) if cookie is not None else b"")
    return Control(Oid.SYNC_REQUEST, _tlv(_SEQUENCE, content), critical=True)


def sync_state(control: Control) -> tuple[SyncMode, bytes]:
    """What became of one entry, and its entryUUID as bytes. Raises: ValueError."""
    parts = _sequence(control.value or b"")
    modes = list(SyncMode)
    if len(parts) < 2 or parts[0][1][-1] >= len(modes):
        raise ValueError("the control of a synchronised entry holds no state")
    return modes[parts[0][1][-1]], parts[1][1]


@dataclass(frozen=True, slots=True)
class SyncDone:
    """The end of a refresh."""

    cookie: bytes | None
    deletes: bool
    """True where the server told who was deleted; otherwise who was not told to be present is gone."""


def sync_done(control: Control) -> SyncDone:
    """How a refresh ended. Raises: ValueError."""
    cookie, deletes = None, False
    for tag, content in _sequence(control.value or b""):
        if tag == _OCTETS:
            cookie = content
        elif tag == _BOOLEAN:
            deletes = content != b"\x00"
    return SyncDone(cookie, deletes)


@dataclass(frozen=True, slots=True)
class SyncInfo:
    """A message between entries."""

    uuids: tuple[bytes, ...] = ()
    deletes: bool = False
    """True where the identifiers are of entries that were deleted, otherwise of some that are there unchanged."""
    cookie: bytes | None = None


def sync_info(value: bytes) -> SyncInfo:
    """An intermediate message of a refresh. Raises: ValueError. Source: RFC 4533 section 2.5."""
    ((tag, content),) = list(_parts(value))
    if tag == 0x80:
        return SyncInfo(cookie=content)
    cookie, deletes, uuids = None, False, []
    for inner, part in _parts(content):
        if inner == _OCTETS:
            cookie = part
        elif inner == _BOOLEAN and tag == 0xA3:
            deletes = part != b"\x00"
        elif inner == _SET:
            uuids = [uuid for _, uuid in _parts(part)]
    return SyncInfo(tuple(uuids), deletes, cookie)


# Writing


def permissive_modify() -> Control:
    """Values that are there need not be added, and those that are not need not be deleted. Source: [MS-ADTS]."""
    return Control(Oid.PERMISSIVE_MODIFY, critical=False)


def assert_equal(attribute: str, value: str) -> Control:
    """The request is carried out only while the entry's attribute holds the value. Source: RFC 4528."""
    return Control(
        Oid.ASSERTION,
        _tlv(0xA3, _tlv(_OCTETS, attribute.encode()) + _tlv(_OCTETS, value.encode())),
        critical=True,
    )


def post_read(*attributes: str) -> Control:
    """The entry as it is after the request comes with the answer. Source: RFC 4527."""
    return Control(
        Oid.POST_READ, _tlv(_SEQUENCE, b"".join(_tlv(_OCTETS, name.encode()) for name in attributes)), critical=False
    )


def read_entry(control: Control) -> tuple[str, dict[str, list[bytes]]]:
    """Name and attributes of an entry that came with an answer. Raises: ValueError."""
    ((tag, content),) = list(_parts(control.value or b""))
    if tag not in (0x64, _SEQUENCE):
        raise ValueError("the control holds no entry")
    (_, name), (_, listed) = list(_parts(content))
    attributes = {}
    for _, attribute in _parts(listed):
        (_, label), (_, values) = list(_parts(attribute))
        attributes[label.decode()] = [value for _, value in _parts(values)]
    return name.decode(), attributes


def modify_password(dn: str, password: str | None) -> bytes:
    """The value of an extended request that sets a password; without one the server makes it. Source: RFC 3062."""
    content = _tlv(0x80, dn.encode())
    if password is not None:
        content += _tlv(0x82, password.encode())
    return _tlv(_SEQUENCE, content)
