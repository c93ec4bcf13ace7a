"""Values of directories, and of Active Directory above all, as people and mappings can read them. Pure functions."""

import re
import struct
import uuid
from datetime import UTC, datetime, timedelta
from enum import IntFlag

_EPOCH = datetime(1601, 1, 1, tzinfo=UTC)
_PAST_ALL_DATES = (datetime(9999, 12, 31, tzinfo=UTC) - _EPOCH) // timedelta(microseconds=1) * 10

NEVER = 9223372036854775807
"""How Active Directory writes that an account does not expire; 0 means the same."""


class AccountControl(IntFlag):
    """Bits of userAccountControl that Provisor looks at. Source: [MS-ADTS] 2.2.16."""

    DISABLED = 0x2
    LOCKED = 0x10
    """Shown in msDS-User-Account-Control-Computed alone."""
    PASSWORD_NOT_REQUIRED = 0x20
    NORMAL = 0x200
    PASSWORD_NEVER_EXPIRES = 0x10000
    SMARTCARD_REQUIRED = 0x40000
    PASSWORD_EXPIRED = 0x800000
    """Shown in msDS-User-Account-Control-Computed alone."""


class GroupType(IntFlag):
    """Bits of groupType. Source: [MS-ADTS] 2.2.12."""

    GLOBAL = 0x2
    DOMAIN_LOCAL = 0x4
    UNIVERSAL = 0x8
    SECURITY = 0x80000000


def signed(number: int) -> int:
    """A 32-bit pattern as the signed number that directories keep: a security group's type is negative."""
    return number - 0x1_0000_0000 if number & 0x8000_0000 else number


def moment_of_filetime(ticks: int) -> datetime | None:
    """A moment from 100 ns ticks since 1601, UTC; None for never (0, the greatest number, and years past 9999)."""
    if ticks <= 0 or ticks >= _PAST_ALL_DATES:
        return None
    return _EPOCH + timedelta(microseconds=ticks // 10)


def filetime_of_moment(moment: datetime | None) -> int:
    """100 ns ticks since 1601; never for None. A moment without a zone is taken as UTC."""
    if moment is None:
        return NEVER
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return (moment - _EPOCH) // timedelta(microseconds=1) * 10


def iso(moment: datetime) -> str:
    """ISO 8601 in UTC, ending with Z; fractions of a second only where there are some."""
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


def iso_of_filetime(text: str) -> str | None:
    """``133500000000000000`` as ISO 8601; None for never. Raises: ValueError."""
    moment = moment_of_filetime(int(text))
    return iso(moment) if moment is not None else None


def filetime_of_iso(text: str | None) -> str:
    """An ISO 8601 date or moment as ticks; null is never. Raises: ValueError."""
    return str(filetime_of_moment(datetime.fromisoformat(text) if text else None))


_GENERALIZED = re.compile(
    r"(?P<date>\d{10})(?P<minute>\d\d)?(?P<second>\d\d)?(?:[.,](?P<fraction>\d+))?(?P<zone>Z|[+-]\d\d(?:\d\d)?)"
)


def iso_of_generalized_time(text: str) -> str:
    """``20261129220730.0Z`` as ISO 8601 in UTC. Raises: ValueError. Source: RFC 4517 section 3.3.13."""
    match = _GENERALIZED.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is not a time as directories write it")
    moment = datetime.strptime(match["date"], "%Y%m%d%H").replace(tzinfo=UTC)
    unit = timedelta(seconds=1) if match["second"] else timedelta(minutes=1) if match["minute"] else timedelta(hours=1)
    moment += timedelta(minutes=int(match["minute"] or 0), seconds=int(match["second"] or 0))
    if match["fraction"]:
        moment += unit * float(f"0.{match['fraction']}")
    if match["zone"] != "Z":
        offset = timedelta(hours=int(match["zone"][1:3]), minutes=int(match["zone"][3:5] or 0))
        moment -= offset if match["zone"][0] == "+" else -offset
    return iso(moment)


def generalized_time_of_iso(text: str) -> str:
    """An ISO 8601 date or moment as ``20261129220730Z``. Raises: ValueError."""
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return moment.astimezone(UTC).strftime("%Y%m%d%H%M%SZ")


def guid_text(raw: bytes) -> str:
    """An objectGUID as text. Its first three fields are little-endian. Raises: ValueError."""
    return str(uuid.UUID(bytes_le=raw))


def guid_bytes(text: str) -> bytes:
    """The bytes of an objectGUID. Raises: ValueError."""
    return uuid.UUID(text).bytes_le


def sid_text(raw: bytes) -> str:
    """An objectSid as text: ``S-1-5-21-…``. Raises: ValueError. Source: [MS-DTYP] 2.4.2.2."""
    if len(raw) < 8 or len(raw) != 8 + 4 * raw[1]:
        raise ValueError("these bytes are not a security identifier")
    parts = struct.unpack(f"<{raw[1]}I", raw[8:])
    return "-".join(["S", str(raw[0]), str(int.from_bytes(raw[2:8], "big")), *map(str, parts)])


def sid_bytes(text: str) -> bytes:
    """The bytes of ``S-1-5-21-…``. Raises: ValueError."""
    mark, *numbers = text.split("-")
    if mark != "S" or len(numbers) < 2:
        raise ValueError(f"{text!r} is not a security identifier")
    revision, authority, *parts = map(int, numbers)
    return bytes([revision, len(parts)]) + authority.to_bytes(6, "big") + struct.pack(f"<{len(parts)}I", *parts)


def relative_id(sid: str) -> int:
    """The last number of a security identifier, which names the account in its domain."""
    return int(sid.rpartition("-")[2])


def password_bytes(password: str) -> bytes:
    """A password as the attribute unicodePwd wants it. Source: [MS-ADTS] 3.1.1.3.1.5.1."""
    return f'"{password}"'.encode("utf-16-le")


PROTECTED_RIDS = frozenset(
    {498, 500, 502, 512, 516, 518, 519, 520, 521, 525, 526, 527, 544, 548, 549, 550, 551, 552, 553}
)
"""Relative identifiers of accounts and groups that run a domain: Administrator, krbtgt, and the groups of
administrators and operators. They are never changed. Source: [MS-ADTS] 3.1.1.6.1, Appendix C of Microsoft's page on
protected accounts."""


def is_protected_sid(sid: str) -> bool:
    """Whether an identifier is one of those that run the domain or the server."""
    if sid.startswith("S-1-5-32-"):
        return True
    return sid.startswith("S-1-5-21-") and relative_id(sid) in PROTECTED_RIDS
