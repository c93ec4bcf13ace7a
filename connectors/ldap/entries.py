"""Entries as they come over the wire, as rows of Python values."""

import re
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from connectors.contract import ACTIVE, ADDRESS, STATE, Attribute, Form, Kind
from connectors.kit.system import KEY
from connectors.ldap import names, values
from connectors.ldap.schema import DISABLED, FILETIMES, GUIDS, NAME, PARENT, SIDS, STATE_WORD
from connectors.ldap.settings import SwitchedBy
from connectors.ldap.values import AccountControl

_COMPUTED = frozenset({PARENT, NAME, DISABLED, STATE_WORD, ACTIVE, STATE})
_RANGE = re.compile(r"^(?P<name>[^;]+);range=(?P<start>\d+)-(?P<end>\d+|\*)$", re.IGNORECASE)
_LOCKED_FOR_GOOD = "000001010000Z"
"""Value of pwdAccountLockedTime of an account that only an administrator can open. Source: OpenLDAP, ppolicy."""


def decode_key(attribute: str, held: Sequence[bytes]) -> str | None:
    """A key as text; None where there is none, or more than one."""
    if len(held) != 1:
        return None
    if attribute.lower() in GUIDS:
        return values.guid_text(held[0]) if len(held[0]) == 16 else None
    return held[0].decode("utf-8", errors="replace")


def encode_key(attribute: str, key: str) -> str | bytes:
    """A key as a filter wants it."""
    if attribute.lower() not in GUIDS:
        return key
    try:
        return values.guid_bytes(key)
    except ValueError:
        return key


def parse_extended(name: str) -> tuple[str | None, str]:
    """Key and plain name of ``<GUID=…>;<SID=…>;CN=…``; no key where it is a plain name already."""
    key = None
    if name.startswith("<GUID="):
        end = name.index(">;")
        key, name = name[6:end], name[end + 2 :]
        if "-" not in key:
            key = values.guid_text(bytes.fromhex(key))
    if name.startswith("<SID="):
        name = name[name.index(">;") + 2 :]
    return key, name


@dataclass(frozen=True, slots=True)
class Range:
    """A part of an attribute's values."""

    name: str
    start: int
    end: int | None
    """None where there are no more."""


def parse_range(attribute: str) -> Range | None:
    """``member;range=0-1499`` taken apart; None for an attribute that came whole."""
    match = _RANGE.match(attribute)
    if match is None:
        return None
    return Range(match["name"], int(match["start"]), None if match["end"] == "*" else int(match["end"]))


Resolve = Callable[[str], str | None]
"""From a name to the key of that entry, None where it is nobody that is known."""


@dataclass(slots=True)
class Decoder:
    """Turns entries of one kind into rows."""

    kind: Kind
    key_attribute: str
    attributes: Mapping[str, Attribute]
    """By wanted path."""
    active_directory: bool
    switch_by: SwitchedBy
    expired_is_inactive: bool
    """Whether an account past its date counts as switched off: in a source it does."""
    now: datetime = field(default_factory=lambda: datetime.now(UTC))

    def asked(self) -> tuple[str, ...]:
        """Attributes to ask the server for."""
        found = dict.fromkeys(path for path in self.attributes if path not in _COMPUTED)
        if not self.active_directory:
            found[self.key_attribute] = None
        else:
            found |= dict.fromkeys(("objectGUID", "objectSid"))
        if self.kind is Kind.USER:
            found |= dict.fromkeys(self._state_attributes())
            if self.active_directory:
                found["adminCount"] = None
        return tuple(found)

    def _state_attributes(self) -> tuple[str, ...]:
        match self.switch_by:
            case SwitchedBy.ACCOUNT_CONTROL:
                wanted = ("userAccountControl", "accountExpires")
                state = {STATE_WORD, STATE} & set(self.attributes)
                return (*wanted, "msDS-User-Account-Control-Computed") if state else wanted
            case SwitchedBy.PPOLICY:
                return ("pwdAccountLockedTime", "pwdEndTime")
            case SwitchedBy.ACCOUNT_LOCK:
                return ("nsAccountLock",)
        return ()

    def row(self, name: str, held: Mapping[str, list[bytes]], resolve: Resolve) -> dict[str, Any] | None:
        """One entry, attributes in lower case; None where it shows no key."""
        extended, dn = parse_extended(name)
        key = extended or decode_key(self.key_attribute, held.get(self.key_attribute.lower(), []))
        if key is None:
            return None
        row: dict[str, Any] = {KEY: key, ADDRESS: dn}
        if self.kind is Kind.USER and self.switch_by != SwitchedBy.NONE:
            self._state(row, held)
        for path, attribute in self.attributes.items():
            if path in _COMPUTED:
                continue
            raw = held.get(path.lower())
            row[path] = None if not raw else self._value(path, attribute, raw, resolve)
        if PARENT in self.attributes:
            row[PARENT] = names.parent_of(dn)
        if NAME in self.attributes:
            row[NAME] = dn
        if self.active_directory:
            self._account(row, held)
        return row

    def _account(self, row: dict[str, Any], held: Mapping[str, list[bytes]]) -> None:
        """What decides whether an account may be touched at all."""
        for name in ("userAccountControl", "adminCount"):
            raw = held.get(name.lower())
            if raw:
                row.setdefault(name, int(raw[0]))
        sid = held.get("objectsid")
        if sid:
            row.setdefault("objectSid", values.sid_text(sid[0]))

    def _state(self, row: dict[str, Any], held: Mapping[str, list[bytes]]) -> None:
        """Whether the account is active, and the word for its state."""
        disabled, locked, expired = self._flags(held)
        unknown = self.switch_by == SwitchedBy.ACCOUNT_CONTROL and not held.get("useraccountcontrol")
        active = not disabled and not (expired and self.expired_is_inactive)
        row[ACTIVE] = None if unknown else active
        word = "disabled" if disabled else "expired" if expired else "locked" if locked else "active"
        row[STATE] = row[STATE_WORD] = None if unknown else word
        row[DISABLED] = None if unknown else disabled

    def _flags(self, held: Mapping[str, list[bytes]]) -> tuple[bool, bool, bool]:
        """Disabled, locked, expired."""

        def first(name: str) -> str:
            return held.get(name, [b""])[0].decode("ascii", errors="replace")

        match self.switch_by:
            case SwitchedBy.ACCOUNT_CONTROL:
                control = int(first("useraccountcontrol") or 0)
                computed = int(first("msds-user-account-control-computed") or 0)
                end = values.moment_of_filetime(int(first("accountexpires") or 0))
                expired = end is not None and end <= self.now
                return bool(control & AccountControl.DISABLED), bool(computed & AccountControl.LOCKED), expired
            case SwitchedBy.PPOLICY:
                locked = first("pwdaccountlockedtime")
                end_text = first("pwdendtime")
                expired = (
                    bool(end_text) and datetime.fromisoformat(values.iso_of_generalized_time(end_text)) <= self.now
                )
                return locked == _LOCKED_FOR_GOOD, bool(locked), expired
            case SwitchedBy.ACCOUNT_LOCK:
                return first("nsaccountlock").lower() == "true", False, False
        return False, False, False

    def _value(self, path: str, attribute: Attribute, raw: list[bytes], resolve: Resolve) -> Any:
        if attribute.form is Form.TEXT and not attribute.several and path.lower() not in _TEXT_FROM_BYTES:
            return raw[0].decode("utf-8", errors="replace")
        found = [self._one(path, attribute, one, resolve) for one in raw]
        if attribute.several:
            return sorted((one for one in found if one is not None), key=str)
        return found[0]

    def _one(self, path: str, attribute: Attribute, raw: bytes, resolve: Resolve) -> Any:
        lower = path.lower()
        if lower in GUIDS:
            return values.guid_text(raw) if len(raw) == 16 else raw.hex()
        if lower in SIDS:
            return values.sid_text(raw)
        if attribute.form is Form.BYTES:
            return raw
        text = raw.decode("utf-8", errors="replace")
        match attribute.form:
            case Form.BOOLEAN:
                return text.upper() == "TRUE"
            case Form.INTEGER:
                return int(text)
            case Form.DATE:
                if self.active_directory and lower in FILETIMES:
                    return values.iso_of_filetime(text)
                return values.iso_of_generalized_time(text)
            case Form.REFERENCE:
                key, dn = parse_extended(text)
                return key or resolve(dn) or dn
        return text


_TEXT_FROM_BYTES = SIDS | GUIDS


def encode_value(path: str, attribute: Attribute, value: Any, *, active_directory: bool) -> bytes:
    """One value as the directory takes it. Raises: ValueError."""
    if isinstance(value, bytes):
        return value
    match attribute.form:
        case Form.BOOLEAN:
            return b"TRUE" if value else b"FALSE"
        case Form.DATE:
            if active_directory and path.lower() in FILETIMES:
                return values.filetime_of_iso(str(value)).encode()
            return values.generalized_time_of_iso(str(value)).encode()
    return str(value).encode()


def uuid_of(raw: bytes) -> str:
    """An entryUUID as text, from the bytes that synchronisation tells."""
    return str(uuid.UUID(bytes=raw))
