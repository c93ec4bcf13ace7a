"""Fields of users and groups as attributes, their values in ServiceNow's JSON, and conditions of encoded queries.

Source: ServiceNow, Table API; "Dictionary" (sys_dictionary); "Encoded query strings"; "Operators available for filters
and queries".
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

from connectors.kit import KEY, Attribute, Form, Kind, Reach, Sameness, Write
from connectors.kit.values import from_wire
from connectors.servicenow.settings import TERM

USERS, GROUPS, ROLES = "sys_user", "sys_user_group", "sys_user_role"
MEMBERS, GRANTS = "sys_user_grmember", "sys_user_has_role"
TABLES = {
    "department": "cmn_department",
    "location": "cmn_location",
    "company": "core_company",
    "cost_center": "cmn_cost_center",
    "manager": USERS,
}
"""Tables that fields refer to, where the dictionary does not say."""
ROLE = "role:"
"""What keys of roles begin with."""
LONGEST_CONDITION = 5_000
"""Characters of the values of one query, as an address has them; ServiceNow takes about 8,000 in all."""

_FORMS = {"boolean": Form.BOOLEAN, "integer": Form.INTEGER, "longint": Form.INTEGER, "decimal": Form.DECIMAL}
_FORMS |= {"float": Form.DECIMAL, "currency": Form.DECIMAL, "glide_date": Form.DATE, "glide_date_time": Form.DATE}
_FLAGS = frozenset({"active", "locked_out", "vip", "password_needs_reset", "web_service_access_only", "inherited"})
_UNITS = ("%Y-%m-%d %H:%M:%S", "%Y-%m-%d")


def attributes_of(
    table: str, described: Iterable[Mapping[str, str]], shown: Iterable[str], references: Mapping[str, str]
) -> dict[str, Attribute]:
    """Attributes of a table by its dictionary; by the fields of a row where that cannot be read."""
    found = {str(one["element"]): one for one in described if one.get("name") == table and one.get("element")}
    found = found or {name: {} for name in shown}
    return {name: _attribute(table, name, one, references) for name, one in found.items()}


def _attribute(table: str, name: str, said: Mapping[str, str], references: Mapping[str, str]) -> Attribute:
    kind = said.get("internal_type") or ("boolean" if name in _FLAGS else "string")
    refers = said.get("reference") or (TABLES.get(name, "") if not said else "")
    named = table == USERS and name in references
    form = Form.REFERENCE if refers == USERS else _FORMS.get(kind, Form.TEXT)
    fixed = name.startswith("sys_") or said.get("read_only") == "true" or (table == USERS and name == "name")
    blind = kind.startswith("password")
    unique = said.get("unique") == "true" or (table == USERS and name == "user_name")
    longest = said.get("max_length") or ""
    plain = form is Form.TEXT and not refers
    return Attribute(
        name,
        form=form,
        write=Write.NEVER if fixed else Write.BLIND if blind else Write.ALWAYS,
        same=Sameness.EXACT if refers and not named else Sameness.FOLDED,
        unique=Reach.SYSTEM if unique else None,
        required=said.get("mandatory") == "true" and not fixed,
        longest=int(longest) if plain and longest.isdigit() and int(longest) > 0 else None,
        refers_to=frozenset({Kind.USER}) if refers == USERS else frozenset(),
        searchable=not named and not blind,
    )


# Values


def row_of(
    record: Mapping[str, Any], paths: Sequence[str], attributes: Mapping[str, Attribute], references: Mapping[str, str]
) -> dict[str, Any]:
    """An entry by flat paths; what the account is not shown is null, as is what is unset."""
    row: dict[str, Any] = {KEY: record["sys_id"]}
    for path in paths:
        value = record.get(path) or None
        if value is not None and path in references:
            value = record.get(f"{path}.{references[path]}") or value
        row[path] = _value(attributes.get(path) or Attribute(path), value)
    return row


def _value(attribute: Attribute, value: Any) -> Any:
    if not isinstance(value, str):
        return value
    if attribute.form is Form.DATE:
        return _moment(value)
    return from_wire(attribute, value)


def _moment(value: str) -> str:
    try:
        return datetime.strptime(value, _UNITS[0]).strftime("%Y-%m-%dT%H:%M:%SZ")  # noqa: DTZ007
    except ValueError:
        return value


def sent(attribute: Attribute, value: Any) -> str:
    """A value as ServiceNow takes it; empty text clears."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if attribute.form is Form.DATE and "T" in str(value):
        return datetime.fromisoformat(str(value)).astimezone(UTC).strftime(_UNITS[0])
    return str(value)


# Encoded queries


def joined(*parts: str) -> str:
    """Conditions that must all hold."""
    return "^".join(part for part in parts if part)


def below(query: str, field: str) -> str:
    """A query about the record that a field refers to."""
    return joined(*(f"{field}.{term}" for term in query.split("^") if query))


def named_in(query: str) -> list[str]:
    """Fields that a query of the settings looks at."""
    return [found["field"] for term in query.split("^") if (found := TERM.fullmatch(term))]


def meets(query: str, record: Mapping[str, Any]) -> bool:
    """Whether a record is what a query of the settings asks for; ServiceNow drops conditions that are not allowed."""
    return all(_meets(found, record) for term in query.split("^") if (found := TERM.fullmatch(term)))


def _meets(term: Any, record: Mapping[str, Any]) -> bool:
    held, value = str(record.get(term["field"]) or "").casefold(), str(term["value"]).casefold()
    match term["sign"]:
        case "=":
            return held == value
        case "!=":
            return held != value
        case "IN":
            return held in value.split(",")
        case "ISEMPTY":
            return not held
        case _:
            return bool(held)


def lookups(path: str, values: Sequence[str]) -> Iterator[tuple[str, bool]]:
    """Queries for entries with one of the values, and whether they give others too.

    ``^`` cannot be escaped, a comma divides the values of ``IN``, and what begins with ``javascript:`` is run.
    """
    plain: list[str] = []
    size = 0
    for value in values:
        if not value:
            continue
        if "^" in value or value.lower().startswith("javascript:"):
            yield _loose(path, value), True
        elif "," in value or value != value.strip():
            yield f"{path}={value}", False
        else:
            length = len(quote(value)) + 3
            if plain and size + length > LONGEST_CONDITION:
                yield f"{path}IN{','.join(plain)}", False
                plain, size = [], 0
            plain.append(value)
            size += length
    if plain:
        yield f"{path}IN{','.join(plain)}", False


def _loose(path: str, value: str) -> str:
    """A condition without what would be misread: the longest part of the value that is harmless."""
    head = value[len("javascript:") :] if value.lower().startswith("javascript:") else value
    part = max(head.split("^"), key=len)
    harmful = not part or part.lower().startswith("javascript:")
    return f"{path}ISNOTEMPTY" if harmful else f"{path}LIKE{part}"
