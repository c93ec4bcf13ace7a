"""Proposes a first job from an export: which column is the key, who has left, which column means what. Pure.

Every guess carries its reason, because a person reads the proposed job before anything is done with it. Rules of job
templates are written about a few well-known attributes (``WELL_KNOWN``); a proposal says which columns of the export
these are.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import pandas as pd

from connectors.rows import DISABLED_WORDS, ENABLED_WORDS

WELL_KNOWN: Mapping[str, str] = {
    "employeeId": "employeeid employeenumber employeeno empid empno personnelnumber personnelno workerid personid "
    "staffid staffnumber personalnummer matricule id guid objectid",
    "userPrincipalName": "userprincipalname upn username userid login loginname logon account accountname "
    "samaccountname uid benutzername",
    "mail": "mail email emailaddress workemail businessemail primaryemail primaryworkemail emailwork",
    "givenName": "givenname firstname forename fname preferredfirstname legalfirstname vorname prenom nombre nome",
    "surname": "surname lastname familyname sn lname legallastname nachname apellido apellidos cognome",
    "displayName": "displayname fullname name employeename preferredname cn anzeigename",
    "jobTitle": "jobtitle title position positiontitle businesstitle role stelle poste",
    "department": "department departmentname dept orgunit organizationalunit team abteilung service",
    "company": "company companyname organization organisation legalentity employer firma societe",
    "manager": "manager managerid managernumber manageremployeeid supervisor supervisorid reportsto vorgesetzter",
    "telephoneNumber": "telephonenumber phone phonenumber workphone businessphone telefon telephone",
    "mobile": "mobile mobilephone cellphone cell handy portable",
    "city": "city town location office ort ville ciudad",
    "country": "country countrycode co c land pays pais",
    "costCenter": "costcenter costcentre kostenstelle",
}
"""Attributes that templates are written about, and how exports call them: lower case, letters and digits alone."""

SAME_NAME = "the column of this name"
"""Reason of a guess that needs none."""
_STATE_NAMES = (
    "status employmentstatus employeestatus workerstatus accountstatus state active isactive enabled accountenabled "
    "isenabled"
).split()
_LEFT_NAMES = "disabled isdisabled terminated isterminated inactive left deleted issoftdeleted".split()
_LAST_DAY_NAMES = "lastday enddate terminationdate leavingdate contractend lastworkingday austritt".split()
_WORKING = frozenset(
    {"leave", "on leave", "paid leave", "parental leave", "employed", "current", "a", "hired", "working"}
    | {"aktiv", "actif", "activo", "attivo"}
)
"""Words of exports for people who keep their access, besides those that files may always use."""
_MOST_STATES = 15
_MANAGERS_KNOWN = 0.8
"""Part of the managers that must be keys of the export before the column is taken for a reference."""


@dataclass(frozen=True, slots=True)
class Guess:
    """An expression over the export's columns, and why it is proposed."""

    expression: str
    why: str


@dataclass(frozen=True, slots=True)
class WhoIsThere:
    """The column that says who still works here."""

    column: str
    values: tuple[str, ...]
    """Values that mean so; empty where the column holds words for true and false."""
    why: str


@dataclass(frozen=True, slots=True)
class Proposal:
    """What an export seems to mean."""

    key: Guess | None
    """The column that identifies a person, as its bare name; None where no column can."""
    there: WhoIsThere | None
    known: Mapping[str, Guess] = field(default_factory=dict)
    """Well-known attributes that the export has, or that can be made of what it has."""
    last_day: str | None = None
    """A column that looks like people's last day."""
    doubts: tuple[str, ...] = ()
    """What a person should look at before the first run."""


def propose(people: pd.DataFrame) -> Proposal:
    """What the columns of an export seem to mean; columns hold text, NaN for an empty cell."""
    by_name: dict[str, str] = {}
    for column in map(str, people.columns):
        by_name.setdefault(plain_name(column), column)
    found = {
        known: _named(by_name, names.split(), known)
        for known, names in WELL_KNOWN.items()
        if any(name in by_name for name in names.split())
    }
    key, doubts = _key(people, found.get("employeeId"))
    if "manager" in found and (problem := _no_reference(people, found["manager"], key)):
        del found["manager"]
        doubts.append(problem)
    return Proposal(
        key=key,
        there=_who_is_there(people, by_name),
        known=found | _derived(found),
        last_day=next((by_name[name] for name in _LAST_DAY_NAMES if name in by_name), None),
        doubts=tuple(doubts),
    )


def rewritten(expression: str, known: Mapping[str, Guess]) -> str | None:
    """A template's expression over the export's columns; None where it needs an attribute that the export lacks."""
    names = set(re.findall(r"\[(\w+)\]", expression)) - {"IsSoftDeleted"}
    if any(name not in known for name in names):
        return None
    return re.sub(r"\[(\w+)\]", lambda match: known[match[1]].expression if match[1] in known else match[0], expression)


def plain_name(name: str) -> str:
    """A column's name as it is compared: lower case, letters and digits alone."""
    return re.sub(r"[^a-z0-9]", "", name.casefold().replace("é", "e").replace("í", "i"))


def _named(by_name: Mapping[str, str], names: Iterable[str], known: str) -> Guess:
    column = next(by_name[name] for name in names if name in by_name)
    why = SAME_NAME if plain_name(column) == known.casefold() else f"the column {column} is what others call {known}"
    return Guess(f"[{column}]", why)


def _key(people: pd.DataFrame, named: Guess | None) -> tuple[Guess | None, list[str]]:
    """A column that has a value for everybody and the same for no two people, the well-known one before others."""
    if named is not None:
        column = named.expression[1:-1]
        values = people[column]
        if values.notna().all() and values.is_unique:
            return Guess(column, f"filled and different for each of {len(people):,} people"), []
        empty, doubled = int(values.isna().sum()), int(values.dropna().duplicated(keep=False).sum())
        doubt = (
            f"{column} looks like the key, but {empty:,} rows lack it and {doubled:,} share theirs with another row."
        )
        return Guess(column, "the column that looks like the key"), [f"{doubt} Those rows will be left alone."]
    for column in map(str, people.columns):
        values = people[column]
        if len(people) and values.notna().all() and values.is_unique:
            why = f"the first column that is filled and different for each of {len(people):,} people"
            return Guess(column, why), [f"The key is {column}: is that what never changes about a person, even a name?"]
    return None, ["No column identifies a person: the export needs a column that is always filled and unique."]


def _no_reference(people: pd.DataFrame, manager: Guess, key: Guess | None) -> str | None:
    """Why a column of managers cannot be a reference; None where it can."""
    column = manager.expression[1:-1]
    values = people[column].dropna()
    if key is None or not len(values):
        return f"{column} is empty, so nobody gets a manager from it."
    part = float(values.isin(people[key.expression]).mean())
    if part >= _MANAGERS_KNOWN:
        return None
    return (
        f"{column} is left out: only {part:.0%} of its values are keys ({key.expression}) of people in the export, "
        "and managers are looked up by key."
    )


def _derived(found: Mapping[str, Guess]) -> dict[str, Guess]:
    """Well-known attributes that can be made of others."""
    made: dict[str, Guess] = {}
    if "userPrincipalName" not in found and "mail" in found:
        made["userPrincipalName"] = Guess(
            found["mail"].expression, "the export has no login, so the e-mail address is used"
        )
    if "mail" not in found and "userPrincipalName" in found:
        made["mail"] = Guess(
            found["userPrincipalName"].expression, "the export has no e-mail address; the login may be one"
        )
    given, family = found.get("givenName"), found.get("surname")
    if "displayName" not in found and given is not None and family is not None:
        made["displayName"] = Guess(f'Join(" ", {given.expression}, {family.expression})', "made of both names")
    return made


def _who_is_there(people: pd.DataFrame, by_name: Mapping[str, str]) -> WhoIsThere | None:
    for name in (*_STATE_NAMES, *_LEFT_NAMES):
        if name not in by_name:
            continue
        column = by_name[name]
        counts = people[column].dropna().str.strip().value_counts()
        if counts.empty or len(counts) > _MOST_STATES:
            continue
        if there := _states(column, counts, reversed_words=name in _LEFT_NAMES):
            return there
    return None


def _states(column: str, counts: "pd.Series[int]", *, reversed_words: bool) -> WhoIsThere | None:
    stay = DISABLED_WORDS if reversed_words else ENABLED_WORDS | _WORKING
    values = tuple(str(value) for value in counts.index if str(value).casefold() in stay)
    if not values:
        return None
    others = ", ".join(f"{value} ({count:,})" for value, count in counts.items() if str(value) not in values)
    plain_words = not reversed_words and all(
        str(value).casefold() in ENABLED_WORDS | DISABLED_WORDS for value in counts.index
    )
    why = f"everybody else is disabled: {others or 'nobody today'}"
    return WhoIsThere(column, () if plain_words else values, why)
