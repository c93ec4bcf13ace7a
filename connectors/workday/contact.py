"""Work contact data of a worker: what is there, and the event that changes it. Pure.

Entries that a job does not write stay as they are: an event never replaces all of them, and names what it changes by
its own id. Of each sort, mail addresses and phones, one entry is the primary one as long as there are any.

Source: Workday Web Services, Human_Resources, "Change_Work_Contact_Information", "Get_Workers" (Contact_Data).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from typing import Any

from connectors.workday.attributes import NAMESPACE
from connectors.workday.soap import element, flag, reference

_NS = {"wd": NAMESPACE}
_USAGE = "wd:Usage_Data[wd:Type_Data/wd:Type_Reference/wd:ID[@wd:type='Communication_Usage_Type_ID']='WORK']"
_TRUE = ("1", "true")


class UnknownCodeError(ValueError):
    """A phone number whose country code the settings do not know."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One mail address, or one phone."""

    value: str
    """The address; of a phone the number as E.164."""
    id: str = ""
    """Workday's own id of it; empty for a new one."""
    device: str = ""
    """Of a phone: the id of its device type."""
    primary: bool = False
    public: bool = True
    gone: bool = False
    """Whether it is to be taken away."""


@dataclass(frozen=True, slots=True)
class Contact:
    """What a worker can be reached by at work."""

    mails: tuple[Entry, ...] = ()
    phones: tuple[Entry, ...] = ()

    def mail(self) -> Entry | None:
        """The address that counts: the primary one, if it is shown to everybody."""
        return next((one for one in self.mails if one.primary and one.public), None)

    def phone(self, device: str) -> Entry | None:
        """The number that counts of a sort of device: the first that is shown to everybody."""
        return next((one for one in self.phones if one.device == device and one.public), None)


@dataclass(frozen=True, slots=True)
class ContactEvent:
    """A request that changes contact data of one person."""

    person: tuple[str, str]
    """Type and value of the id by which Workday knows the person."""
    effective: date
    contact: Contact
    """The entries to be written, and no others."""


def contact_of(worker: Any) -> Contact:
    """Work addresses and phones of a worker's element, in its order."""
    data = worker.find("wd:Worker_Data/wd:Personal_Data/wd:Contact_Data", _NS)
    if data is None:
        return Contact()
    mails = [
        _entry(one, one.findtext("wd:Email_Address", namespaces=_NS), "Email")
        for one in data.iterfind("wd:Email_Address_Data", _NS)
    ]
    phones = [
        _entry(one, one.get(f"{{{NAMESPACE}}}E164_Formatted_Phone"), "Phone")
        for one in data.iterfind("wd:Phone_Data", _NS)
    ]
    return Contact(tuple(filter(None, mails)), tuple(filter(None, phones)))


def _entry(found: Any, value: str | None, sort: str) -> Entry | None:
    usage = next(iter(found.xpath(_USAGE, namespaces=_NS)), None)
    if usage is None:
        return None

    def id_of(place: str, kind: str) -> str:
        held = found.find(f"wd:{place}/wd:ID[@wd:type='{kind}']", _NS)
        return "" if held is None else (held.text or "").strip()

    return Entry(
        value=(value or "").strip(),
        id=id_of(f"{sort}_Reference", f"{sort}_ID"),
        device=id_of("Phone_Device_Type_Reference", "Phone_Device_Type_ID") if sort == "Phone" else "",
        primary=any(one.get(f"{{{NAMESPACE}}}Primary") in _TRUE for one in usage.iterfind("wd:Type_Data", _NS)),
        public=usage.get(f"{{{NAMESPACE}}}Public") in _TRUE,
    )


def changed(there: Contact, mail: str | None, phones: Mapping[str, str | None], *, with_mail: bool) -> Contact:
    """The entries to be sent, so that the address and the numbers by device are these; None takes one away.

    ``with_mail``: whether the address is to be written at all. What is written stays primary or additional as it was.
    """
    mails = _with(there.mails, there.mail(), "", mail) if with_mail else ()
    sent = list(there.phones)
    touched: list[Entry] = []
    for device, number in phones.items():
        before = there.phone(device)
        for one in _with(sent, before, device, number):
            touched = [other for other in touched if not other.id or other.id != one.id] + [one]
            sent = [other for other in sent if not other.id or other.id != one.id] + ([] if one.gone else [one])
    return Contact(tuple(mails), tuple(touched))


def _with(entries: Sequence[Entry], before: Entry | None, device: str, value: str | None) -> list[Entry]:
    """What to send so that one entry has a value: itself, and the one that takes its place as the primary one."""
    if value is not None and before is not None:
        return [replace(before, value=value)]
    if value is not None:
        # A new primary address takes the place of the old one; a number beside others becomes an additional one.
        primary = not device or not any(one.primary for one in entries)
        return [Entry(value, device=device, primary=primary)]
    if before is None:
        return []
    left = [one for one in entries if one.id != before.id]
    gone = replace(before, gone=True, primary=before.primary and not left)
    return [gone, replace(left[0], primary=True)] if before.primary and left else [gone]


def event_request(event: ContactEvent, version: str, codes: Mapping[str, str]) -> Any:
    """The body of the request. Raises: UnknownCodeError."""
    mails = [_mail(one) for one in event.contact.mails]
    phones = [_phone(one, codes) for one in event.contact.phones]
    return element(
        "Change_Work_Contact_Information_Request",
        element(
            "Business_Process_Parameters",
            element("Auto_Complete", text=flag(True)),
            element("Run_Now", text=flag(True)),
        ),
        element(
            "Change_Work_Contact_Information_Data",
            reference("Person_Reference", *event.person),
            element("Event_Effective_Date", text=event.effective.isoformat()),
            element(
                "Person_Contact_Information_Data",
                element("Person_Phone_Information_Data", *phones, Replace_All=flag(False)) if phones else None,
                element("Person_Email_Information_Data", *mails, Replace_All=flag(False)) if mails else None,
            ),
        ),
        version=version,
    )


def _mail(entry: Entry) -> Any:
    return element(
        "Email_Information_Data",
        None if entry.gone else element("Email_Data", element("Email_Address", text=entry.value)),
        _usage(entry),
        reference("Email_Reference", "Email_ID", entry.id) if entry.id else None,
        **({"Delete": flag(True)} if entry.gone else {}),
    )


def _phone(entry: Entry, codes: Mapping[str, str]) -> Any:
    data = None
    if not entry.gone:
        code, number = split(entry.value, codes)
        data = element(
            "Phone_Data",
            reference("Device_Type_Reference", "Phone_Device_Type_ID", entry.device),
            reference("Country_Code_Reference", "Country_Phone_Code_ID", code),
            element("Complete_Phone_Number", text=number),
        )
    return element(
        "Phone_Information_Data",
        data,
        _usage(entry),
        reference("Phone_Reference", "Phone_ID", entry.id) if entry.id else None,
        **({"Delete": flag(True)} if entry.gone else {}),
    )


def _usage(entry: Entry) -> Any:
    kind = element("Type_Data", reference("Type_Reference", "Communication_Usage_Type_ID", "WORK"))
    kind.set(f"{{{NAMESPACE}}}Primary", flag(entry.primary))
    usage = element("Usage_Data", kind)
    usage.set(f"{{{NAMESPACE}}}Public", flag(entry.public))
    return usage


def split(number: str, codes: Mapping[str, str]) -> tuple[str, str]:
    """Workday's id of a number's country code, and the rest of the number. Raises: UnknownCodeError."""
    digits = number.removeprefix("+")
    fitting = [code for code in codes if digits.startswith(code)]
    if not fitting:
        raise UnknownCodeError("phone_codes has no code for the start of this number.")
    code = max(fitting, key=len)
    return codes[code], digits.removeprefix(code)
