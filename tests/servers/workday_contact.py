"""What the Workday tenant of ours keeps of work contact data, and the rules by which it lets them be changed.

Strict where Workday is strict: ids of types, devices, usages and country codes are those of the tenant; one entry of
each sort is the primary one; an event that is not to complete by itself changes nothing until somebody approves it.
Nothing of the product is in here.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from html import escape
from itertools import count
from typing import Any

NS = {"wd": "urn:com.workday/bsvc"}
WD = "{urn:com.workday/bsvc}"
CODES = {"DEU_49": "49", "AUS_61": "61", "USA_1": "1", "BRB_1246": "1246"}
DEVICES = ("Landline", "Mobile", "Fax")
_NUMBERS = count(1)


@dataclass(frozen=True)
class Way:
    """One address or number."""

    id: str
    value: str
    device: str = ""
    usage: str = "WORK"
    primary: bool = False
    public: bool = True


def ways_of(state: dict[str, Any], number: str) -> list[Way]:
    """Everything that somebody can be reached by: as a change left it, else as it was put in, one value of each."""
    if "ways" in state:
        return list(state["ways"])
    phones = [name for name in ("Landline", "Mobile") if name.lower() in state]
    found = [Way(f"PHONE-{number}-{name}", state[name.lower()], name, primary=name == phones[0]) for name in phones]
    for usage, key in (("HOME", "home_mail"), ("WORK", "mail")):
        if state.get(key):
            found.append(Way(f"EMAIL-{number}-{usage}", state[key], usage=usage, primary=True))
    return found


def rendered(ways: list[Way]) -> str:
    """As Get_Workers shows them."""
    made = ""
    for one in sorted(ways, key=lambda way: not way.device):
        usage = (
            f'<wd:Usage_Data wd:Public="{int(one.public)}"><wd:Type_Data wd:Primary="{int(one.primary)}">'
            f'<wd:Type_Reference><wd:ID wd:type="Communication_Usage_Type_ID">{one.usage}</wd:ID></wd:Type_Reference>'
            "</wd:Type_Data></wd:Usage_Data>"
        )
        if one.device:
            made += (
                f'<wd:Phone_Data wd:E164_Formatted_Phone="{escape(one.value)}"><wd:Phone_Device_Type_Reference><wd:ID '
                f'wd:type="Phone_Device_Type_ID">{one.device}</wd:ID></wd:Phone_Device_Type_Reference>{usage}'
                f'<wd:Phone_Reference><wd:ID wd:type="Phone_ID">{one.id}</wd:ID></wd:Phone_Reference></wd:Phone_Data>'
            )
        else:
            made += (
                f"<wd:Email_Address_Data><wd:Email_Address>{escape(one.value)}</wd:Email_Address>{usage}"
                f'<wd:Email_Reference><wd:ID wd:type="Email_ID">{one.id}</wd:ID></wd:Email_Reference>'
                "</wd:Email_Address_Data>"
            )
    return made


def changed(ways: list[Way], data: Any, refuse: Callable[[str], Exception]) -> list[Way]:
    """What there is after an event. ``data``: Person_Contact_Information_Data."""
    found = list(ways)
    for sort, place in (("Phone", "Person_Phone_Information_Data"), ("Email", "Person_Email_Information_Data")):
        section = data.find(f"wd:{place}", NS)
        if section is not None:
            found = _sort_changed(found, section, sort, refuse)
    return found


def _sort_changed(ways: list[Way], section: Any, sort: str, refuse: Callable[[str], Exception]) -> list[Way]:
    mine = [one for one in ways if bool(one.device) is (sort == "Phone") and one.usage == "WORK"]
    others = [one for one in ways if one not in mine]
    replaces = section.get(f"{WD}Replace_All") in ("1", "true")
    kept = [] if replaces else list(mine)
    for one in section.iterfind(f"wd:{sort}_Information_Data", NS):
        id_ = _id(one, f"wd:{sort}_Reference", f"{sort}_ID")
        deletes = one.get(f"{WD}Delete") in ("1", "true")
        if replaces and (id_ or deletes):
            raise refuse("Do not submit a reference or Delete when Replace All is true.")
        if id_ and not any(way.id == id_ for way in kept):
            raise refuse(f"Invalid ID value. '{id_}' is not a valid ID value for type = '{sort}_ID'")
        if deletes:
            if not id_:
                raise refuse("Delete needs a reference.")
            kept = [way for way in kept if way.id != id_]
            continue
        way = _way(one, sort, id_, refuse)
        if not id_ and way.primary:  # the primary one is replaced in its place
            before = next((old for old in kept if old.primary), None)
            way = replace(way, id=before.id) if before is not None else way
        if any(old.id == way.id for old in kept):
            kept = [way if old.id == way.id else old for old in kept]
        else:
            kept.append(way)
    if kept and sum(way.primary for way in kept) != 1:
        raise refuse(f"There must be exactly one primary {sort.lower()} of the usage WORK.")
    return [*others, *kept]


def _way(one: Any, sort: str, id_: str, refuse: Callable[[str], Exception]) -> Way:
    usage = one.find("wd:Usage_Data", NS)
    kind = usage.find("wd:Type_Data", NS)
    if kind is None or _id(kind, "wd:Type_Reference", "Communication_Usage_Type_ID") != "WORK":
        raise refuse("Only the usage WORK may be submitted.")
    primary, public = kind.get(f"{WD}Primary") in ("1", "true"), usage.get(f"{WD}Public") in ("1", "true")
    id_ = id_ or f"{sort.upper()}-NEW-{next(_NUMBERS)}"
    data = one.find(f"wd:{sort}_Data", NS)
    if data is None:
        raise refuse(f"{sort} Data is required.")
    if sort == "Email":
        address = data.findtext("wd:Email_Address", namespaces=NS) or ""
        if address.count("@") != 1 or " " in address:
            raise refuse("Enter a valid email address.")
        return Way(id_, address, primary=primary, public=public)
    device = _id(data, "wd:Device_Type_Reference", "Phone_Device_Type_ID")
    code = _id(data, "wd:Country_Code_Reference", "Country_Phone_Code_ID")
    number = data.findtext("wd:Complete_Phone_Number", namespaces=NS) or ""
    if device not in DEVICES:
        raise refuse(f"Invalid ID value. '{device}' is not a valid ID value for type = 'Phone_Device_Type_ID'")
    if code not in CODES:
        raise refuse(f"Invalid ID value. '{code}' is not a valid ID value for type = 'Country_Phone_Code_ID'")
    if not number.isdigit():
        raise refuse("Enter a phone number in digits only.")
    return Way(id_, f"+{CODES[code]}{number}", device, primary=primary, public=public)


def _id(place: Any, path: str, kind: str) -> str:
    found = place.find(f"{path}/wd:ID[@wd:type='{kind}']", NS)
    return "" if found is None else (found.text or "")
