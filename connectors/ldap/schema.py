"""A directory's schema as attributes: what each holds, how values compare, who may write it."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from connectors.contract import ACTIVE, Attribute, Count, Counted, Form, Kind, Place, Reach, Sameness, Write

PARENT = "parentDistinguishedName"
"""The container that an entry lies in; writing it moves the entry."""
NAME = "distinguishedName"
"""The entry's whole name; it cannot be written."""
DISABLED = "accountDisabled"
"""Whether a user is switched off, as a boolean that mappings of a source can read."""
STATE_WORD = "accountState"
"""What a user's account is: active, disabled, locked or expired."""

_SYNTAXES: Mapping[str, Form] = {
    "1.3.6.1.4.1.1466.115.121.1.7": Form.BOOLEAN,
    "1.3.6.1.4.1.1466.115.121.1.12": Form.REFERENCE,
    "1.3.6.1.4.1.1466.115.121.1.24": Form.DATE,
    "1.3.6.1.4.1.1466.115.121.1.53": Form.DATE,
    "1.3.6.1.4.1.1466.115.121.1.27": Form.INTEGER,
    "1.2.840.113556.1.4.906": Form.INTEGER,
    "1.3.6.1.4.1.1466.115.121.1.5": Form.BYTES,
    "1.3.6.1.4.1.1466.115.121.1.8": Form.BYTES,
    "1.3.6.1.4.1.1466.115.121.1.23": Form.BYTES,
    "1.3.6.1.4.1.1466.115.121.1.28": Form.BYTES,
    "1.3.6.1.4.1.1466.115.121.1.40": Form.BYTES,
    "1.2.840.113556.1.4.907": Form.BYTES,
}
FILETIMES = frozenset(
    name.lower()
    for name in (
        "accountExpires",
        "badPasswordTime",
        "lastLogoff",
        "lastLogon",
        "lastLogonTimestamp",
        "lockoutTime",
        "pwdLastSet",
        "msDS-UserPasswordExpiryTimeComputed",
    )
)
"""Active Directory's numbers that are moments."""
SIDS = frozenset({"objectsid", "sidhistory", "tokengroups"})
GUIDS = frozenset({"objectguid", "ms-ds-consistencyguid", "msexchmailboxguid"})

_LONGEST: Mapping[str, int] = {
    "cn": 64,
    "displayname": 256,
    "givenname": 64,
    "sn": 64,
    "initials": 6,
    "employeeid": 16,
    "employeenumber": 512,
    "employeetype": 256,
    "company": 64,
    "department": 64,
    "division": 256,
    "title": 128,
    "mail": 256,
    "telephonenumber": 64,
    "mobile": 64,
    "facsimiletelephonenumber": 64,
    "physicaldeliveryofficename": 128,
    "streetaddress": 1024,
    "l": 128,
    "st": 128,
    "postalcode": 40,
    "c": 3,
    "co": 128,
    "description": 1024,
    "info": 1024,
    "userprincipalname": 1024,
}
"""Characters at most in Active Directory. Source: Microsoft's Active Directory schema, rangeUpper."""
_PRINTABLE = r"[A-Za-z0-9'()+,\-./:=? ]"
_FITS: Mapping[str, tuple[str, str]] = {
    "1.3.6.1.4.1.1466.115.121.1.26": (r"[\x00-\x7F]*", "takes ASCII alone here"),
    "1.3.6.1.4.1.1466.115.121.1.44": (_PRINTABLE + "+", "takes letters of ASCII, digits and '()+,-./:=? here"),
    "1.3.6.1.4.1.1466.115.121.1.50": (_PRINTABLE + "+", "takes letters of ASCII, digits and '()+,-./:=? here"),
    "1.3.6.1.4.1.1466.115.121.1.11": (_PRINTABLE + "{2}", "takes a country's two letters here"),
    "1.3.6.1.4.1.1466.115.121.1.36": (r"[0-9 ]+", "takes digits and blanks here"),
}
"""What texts of a syntax may hold. Source: RFC 4517 section 3.3. Active Directory does not look."""
_ACCOUNT_NAME = (
    r"""[^\x00-\x1F"/\\\[\]:;|=,+*?<>]*[^\x00-\x1F"/\\\[\]:;|=,+*?<>.]""",
    """does not take the characters "/\\[]:;|=,+*?<> in sAMAccountName, nor a dot at its end""",
)
"""Source: Microsoft, Naming properties."""
_ACCOUNT_NAME_LONGEST = {Kind.USER: 20, Kind.GROUP: 256}
_ONE_ON_ACCOUNTS = frozenset({"description"})
"""Multi-valued in Active Directory's schema, single on users and groups."""
_SERVER_KEEPS = frozenset(
    {
        "objectguid",
        "objectsid",
        "whencreated",
        "whenchanged",
        "usncreated",
        "usnchanged",
        "memberof",
        "distinguishedname",
        "primarygrouptoken",
        "tokengroups",
        "canonicalname",
        "pwdlastset",
        "lastlogon",
        "lastlogontimestamp",
        "lockouttime",
        "badpasswordtime",
        "badpwdcount",
        "logoncount",
        "admincount",
        "objectcategory",
        "useraccountcontrol",
        "objectclass",
        "structuralobjectclass",
        "entryuuid",
        "nsuniqueid",
        "entrycsn",
        "entrydn",
        "createtimestamp",
        "modifytimestamp",
        "creatorsname",
        "modifiersname",
        "nsaccountlock",
        "pwdaccountlockedtime",
    }
)
_SECRET = frozenset({"unicodepwd", "userpassword"})

_TYPE = re.compile(
    r"NAME\s+(?:'(?P<name>[^']+)'|\(\s*(?P<names>(?:'[^']+'\s*)+)\))"
    r"|SUP\s+(?P<sup>[\w.-]+)|EQUALITY\s+'?(?P<equality>[\w.-]+)|SYNTAX\s+'?(?P<syntax>[\d.]+)"
    r"|(?P<single>SINGLE-VALUE)|(?P<fixed>NO-USER-MODIFICATION)|USAGE\s+(?P<usage>\w+)"
)
_CLASS = re.compile(
    r"NAME\s+(?:'(?P<name>[^']+)'|\(\s*(?P<names>(?:'[^']+'\s*)+)\))"
    r"|SUP\s+(?:\(\s*(?P<sups>[^)]*)\)|(?P<sup>[\w-]+))|MUST\s+(?:\(\s*(?P<musts>[^)]*)\)|(?P<must>[\w-]+))"
)


@dataclass(frozen=True, slots=True)
class AttributeType:
    """One attribute as the schema defines it."""

    names: tuple[str, ...]
    sup: str = ""
    equality: str = ""
    syntax: str = ""
    single: bool = False
    fixed: bool = False
    """Users may not write it."""


def parse_type(text: str) -> AttributeType:
    """One value of attributeTypes. Source: RFC 4512 section 4.1.2."""
    found: dict[str, str] = {}
    listed: tuple[str, ...] = ()
    for match in _TYPE.finditer(re.sub(r"DESC\s+'(?:[^'\\]|\\.)*'", "", text)):
        if match["name"] or match["names"]:
            listed = (match["name"],) if match["name"] else tuple(re.findall(r"'([^']+)'", match["names"]))
            continue
        found |= {name: value for name, value in match.groupdict().items() if value}
    return AttributeType(
        names=listed,
        sup=found.get("sup", ""),
        equality=found.get("equality", ""),
        syntax=found.get("syntax", ""),
        single="single" in found,
        fixed="fixed" in found,
    )


def mandatory(classes: Iterable[str], definitions: Iterable[str]) -> frozenset[str]:
    """Attributes in lower case that entries of these classes must have. Source: RFC 4512 section 4.1.1."""
    known: dict[str, tuple[list[str], list[str]]] = {}
    for text in definitions:
        names: list[str] = []
        sups: list[str] = []
        musts: list[str] = []
        for match in _CLASS.finditer(re.sub(r"DESC\s+'(?:[^'\\]|\\.)*'", "", text)):
            if match["name"] or match["names"]:
                names = [match["name"]] if match["name"] else re.findall(r"'([^']+)'", match["names"])
            elif match["sup"] or match["sups"]:
                sups += _words(match["sup"] or match["sups"])
            else:
                musts += _words(match["must"] or match["musts"])
        for name in names:
            known[name.lower()] = (sups, musts)
    found: set[str] = set()
    waiting = [name.lower() for name in classes]
    seen: set[str] = set()
    while waiting:
        name = waiting.pop()
        if name in seen or name not in known:
            continue
        seen.add(name)
        sups, musts = known[name]
        waiting += sups
        found |= set(musts)
    return frozenset(found - {"objectclass"})


def _words(text: str) -> list[str]:
    return [word.strip().lower() for word in text.split("$") if word.strip()]


def attributes_of(
    kind: Kind,
    definitions: Iterable[str],
    *,
    required: frozenset[str],
    rdn: str,
    active_directory: bool,
    member: str,
) -> dict[str, Attribute]:
    """Attributes by path, spelled as the schema spells them, with those that Provisor adds."""
    types = [parse_type(text) for text in definitions]
    by_name = {name.lower(): one for one in types for name in one.names}
    found: dict[str, Attribute] = {}
    for one in types:
        whole = _inherited(one, by_name)
        for name in one.names:
            made = _attribute(name, whole, required=required, rdn=rdn, active_directory=active_directory)
            found[name] = _bounded(made, kind) if active_directory else _of_syntax(made, whole)
    found.pop(member, None)
    return {**found, **_own(kind)}


def _inherited(one: AttributeType, by_name: Mapping[str, AttributeType]) -> AttributeType:
    seen: set[str] = set()
    whole = one
    sup = one.sup.lower()
    while sup and sup not in seen and sup in by_name:
        seen.add(sup)
        above = by_name[sup]
        whole = replace(whole, syntax=whole.syntax or above.syntax, equality=whole.equality or above.equality)
        sup = above.sup.lower()
    return whole


def _attribute(
    name: str, one: AttributeType, *, required: frozenset[str], rdn: str, active_directory: bool
) -> Attribute:
    lower = name.lower()
    form = _SYNTAXES.get(one.syntax, Form.TEXT)
    if active_directory and lower in FILETIMES:
        form = Form.DATE
    elif lower in SIDS or lower in GUIDS or lower in ("entryuuid", "nsuniqueid"):
        form = Form.TEXT
    single = one.single or (active_directory and lower in _ONE_ON_ACCOUNTS)
    write = Write.ALWAYS
    if lower in _SECRET:
        write = Write.BLIND
    elif one.fixed or lower in _SERVER_KEEPS:
        write = Write.NEVER
    exact = one.equality.lower().startswith("caseexact") or (
        not active_directory and one.equality == "octetStringMatch"
    )
    unique = None
    if active_directory and lower in ("samaccountname", "userprincipalname"):
        unique = Reach.SYSTEM
    elif lower == rdn.lower():
        unique = Reach.CONTAINER
    return Attribute(
        path=name,
        form=form,
        # A name is written with one value; what else the attribute holds is nobody's business.
        count=Count.ONE
        if single or lower == rdn.lower() or (not active_directory and lower in _ONE_IN_PRACTICE)
        else Count.SET,
        write=write,
        same=Sameness.EXACT if exact else Sameness.NAME if form is Form.REFERENCE else Sameness.SQUEEZED,
        unique=unique,
        required=lower in required,
        holds_empty=False,
        refers_to=frozenset({Kind.USER}) if form is Form.REFERENCE else frozenset(),
        place=Place.NAME if lower == rdn.lower() else None,
    )


def _bounded(attribute: Attribute, kind: Kind) -> Attribute:
    """What Active Directory takes: lengths are counted in UTF-16, whose units are what it stores."""
    lower = attribute.path.lower()
    if lower == "samaccountname":
        fits, told = _ACCOUNT_NAME
        return replace(attribute, longest=_ACCOUNT_NAME_LONGEST[kind], counted=Counted.UTF16, fits=fits, fits_told=told)
    return replace(attribute, longest=_LONGEST.get(lower), counted=Counted.UTF16)


def _of_syntax(attribute: Attribute, one: AttributeType) -> Attribute:
    """What other directories take: what the attribute's syntax allows."""
    fits, told = _FITS.get(one.syntax, ("", ""))
    return replace(attribute, fits=fits, fits_told=told)


_ONE_IN_PRACTICE = frozenset(
    {
        "uid",
        "cn",
        "sn",
        "givenname",
        "initials",
        "mail",
        "title",
        "ou",
        "o",
        "l",
        "st",
        "street",
        "postalcode",
        "postaladdress",
        "employeenumber",
        "employeetype",
        "departmentnumber",
        "businesscategory",
        "telephonenumber",
        "mobile",
        "homephone",
        "facsimiletelephonenumber",
        "roomnumber",
        "description",
        "carlicense",
        "manager",
        "secretary",
        "labeleduri",
        "owner",
    }
)
"""Attributes that the standard lets hold several values and that people map one value to. Others are lists."""


def _own(kind: Kind) -> dict[str, Attribute]:
    added = [
        Attribute(PARENT, same=Sameness.NAME, place=Place.CONTAINER, searchable=False),
        Attribute(NAME, same=Sameness.NAME, write=Write.NEVER),
    ]
    if kind is Kind.USER:
        added += [
            Attribute(ACTIVE, form=Form.BOOLEAN, searchable=False),
            Attribute(DISABLED, form=Form.BOOLEAN, write=Write.NEVER, searchable=False),
            Attribute(STATE_WORD, write=Write.NEVER, searchable=False),
        ]
    return {one.path: one for one in added}


def spelled(attributes: Mapping[str, Attribute], paths: Sequence[str]) -> dict[str, Attribute]:
    """What is known of paths, whatever case they are written in; plain text where nothing is."""
    by_lower = {name.lower(): one for name, one in attributes.items()}
    return {path: by_lower.get(path.lower()) or Attribute(path) for path in paths}
