"""Writing back to Employee Central: work mail address, phones and user fields of people who are there already.

Nobody is created, switched off or deleted here. Every record of an upsert has an answer of its own, whatever the
status of the whole; of each sort of entry exactly one is the primary one, so that it is moved within one request.

Source: SAP SuccessFactors HCM Suite OData API, "Upsert", entities PerEmail, PerPhone, User.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from connectors.contract import Action, Attribute, Change, Kind, Pace, Reach, Sameness, Write
from connectors.errors import CredentialsError, ErrorCode, ProvisorError
from connectors.http import Answer, HttpSession, redact
from connectors.kit import (
    KEY,
    Again,
    Done,
    Held,
    KitTarget,
    Known,
    Limits,
    Lost,
    Page,
    Refused,
    Sought,
    Step,
    Stop,
    System,
    Trust,
    Verdict,
    call,
    read_only,
)
from connectors.successfactors.attributes import EMPLOYMENT, USER, entries
from connectors.successfactors.reading import NAMED, People, pages
from connectors.successfactors.settings import USER_FIELDS, SuccessFactorsTargetSettings
from connectors.successfactors.system import PER_S, check_instance, open_session

MAILS, PHONES, USER_ID = "provisor:mails", "provisor:phones", "provisor:user"
"""In rows that were looked for: the entries that are there, and the user of the employment that counts."""
RECORDS = 200
"""Records of one upsert."""
_ENTRIES = tuple(
    f"{node}/{name}"
    for node, names in (
        ("emailNav", ("emailType", "emailAddress", "isPrimary")),
        ("phoneNav", ("phoneType", "phoneNumber", "isPrimary")),
    )
    for name in names
)
_TAKEN = ("unique", "already", "in use", "duplicate")

Record = Mapping[str, Any]


async def _traits(wire: HttpSession, settings: SuccessFactorsTargetSettings) -> Known:
    del wire
    users = {
        path: replace(one, searchable=path == "personIdExternal") for path, one in read_only(settings.catalogue).items()
    }
    # Nobody is created, so that it is never written; a job says all the same how it is worked out.
    users["personIdExternal"] = Attribute(
        "personIdExternal", write=Write.ON_CREATE, unique=Reach.SYSTEM, same=Sameness.EXACT
    )
    users["emailAddress"] = Attribute(
        "emailAddress", searchable=False, fits=r"[^@\s]+@[^@\s]+", fits_told="takes a mail address"
    )
    for path in settings.phone_types:
        users[path] = Attribute(path, same=Sameness.EXACT, searchable=False)
    for path in USER_FIELDS:
        users[path] = Attribute(path, searchable=False, unique=Reach.SYSTEM if path == "username" else None)
    never = (Action.CREATE, Action.DELETE, Action.DISABLE, Action.ENABLE)
    return Known(
        users=users,
        cannot=frozenset((Kind.USER, action) for action in never),
        limits=Limits(find=NAMED, fetch=NAMED, page=settings.page_size, pack=RECORDS, trust=Trust.FIRST),
        settings=settings,
    )


async def _look(wire: HttpSession, known: Known, sought: Sought) -> Page:
    """People by their key, as of today, with the entries that are there."""
    today = datetime.now(UTC).date()
    people = People(wire, known.settings, sought.paths, today, also=(*_ENTRIES, f"{USER}/username"))
    found = await people.named(sought.values, today.isoformat())
    page = people.page(found, {}, None)
    by_key = {str(person["personIdExternal"]): person for person in found}
    rows = []
    for row in page.rows:
        person = by_key[str(row[KEY])]
        chosen: Mapping[str, Any] = next(iter(entries(person.get(EMPLOYMENT))), {})
        shown = entries(chosen.get("userNav"))  # a user who is not shown is not written either
        rows.append(
            {
                **row,
                "personIdExternal": row[KEY],
                MAILS: list(entries(person.get("emailNav"))),
                PHONES: list(entries(person.get("phoneNav"))),
                USER_ID: str(chosen.get("userId") or "") if shown else "",
            }
        )
    return Page(rows)


# Writing


def steps(known: Known, change: Change, held: Held | None) -> Sequence[Step] | Done | Refused:
    """One request for the addresses of a person, one for the phones, one for the user."""
    assert held is not None  # every update needs its row
    settings: SuccessFactorsTargetSettings = known.settings
    key, values = held.key, change.attributes
    made = []
    if "emailAddress" in values:
        wanted = {settings.email_type: _text(values["emailAddress"])}
        records = _entries(held.row[MAILS], wanted, "emailType", "emailAddress", first=settings.email_type)
        made.append(
            _step("PerEmail", [_record("PerEmail", key, "emailType", one) for one in records], {"emailAddress"}, key)
        )
    phones = {settings.phone_types[path]: _text(values[path]) for path in settings.phone_types if path in values}
    if phones:
        records = _entries(held.row[PHONES], phones, "phoneType", "phoneNumber")
        paths = {path for path in settings.phone_types if path in values}
        made.append(_step("PerPhone", [_record("PerPhone", key, "phoneType", one) for one in records], paths, key))
    fields = {path: _text(values[path]) for path in USER_FIELDS if path in values}
    if fields:
        if not (user := held.row[USER_ID]):
            return Refused(ErrorCode.INSUFFICIENT_RIGHTS, next(iter(fields)), "The user of this person is not shown.")
        made.append(_step("User", [{"__metadata": {"uri": f"User({_quoted(user)})"}, **fields}], set(fields), key))
    return [step for step in made if step.request] or Done()


def _text(value: Any) -> str | None:
    return None if value is None else str(value)


def _entries(
    there: Sequence[Record], wanted: Mapping[str, str | None], kind: str, value: str, *, first: str = ""
) -> list[dict[str, Any]]:
    """What to send so that the entries of some types have these values, None for none, and one entry is primary.

    ``first``: the type that becomes the primary one where it has a value; otherwise the one that is stays so.
    """
    before = {str(one.get(kind)): one for one in there}
    after = {type_: str(one.get(value) or "") for type_, one in before.items() if wanted.get(type_, "") is not None}
    after |= {type_: text for type_, text in wanted.items() if text is not None}
    primary = next((type_ for type_ in after if _is_primary(before.get(type_))), next(iter(after), ""))
    primary = first if first in after else primary
    sent = []
    for type_ in dict.fromkeys((*wanted, *after)):
        old = before.get(type_)
        if type_ not in after:
            if old is not None:
                sent.append({kind: type_, "isPrimary": _is_primary(old), "operation": "DELETE"})
        elif type_ in wanted or _is_primary(old) is not (type_ == primary):
            sent.append({kind: type_, value: after[type_], "isPrimary": type_ == primary})
    return sent


def _is_primary(entry: Record | None) -> bool:
    return entry is not None and entry.get("isPrimary") in (True, "true")


def _record(entity: str, key: str, kind: str, entry: Mapping[str, Any]) -> dict[str, Any]:
    content = {name: value for name, value in entry.items() if name != kind}
    names = sorted([(kind, str(entry[kind])), ("personIdExternal", key)])
    uri = f"{entity}({','.join(f'{name}={_quoted(value)}' for name, value in names)})"
    return {"__metadata": {"uri": uri}, **content}


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _step(entity: str, records: list[dict[str, Any]], does: set[str], key: str) -> Step:
    return Step(records, does, serial=key, lane=entity, weight=max(1, len(records)))


def pack(known: Known, some: Sequence[Step]) -> Any:
    """One upsert with the records of all steps."""
    del known
    body = [record for step in some for record in step.request]
    return call("POST", "/upsert?$format=json&purgeType=incremental", "write back", body)


def unpack(known: Known, some: Sequence[Step], answer: Answer) -> list[Any]:
    """For each step what came of its records; None where the answer does not say."""
    del known
    if answer.status != 200:
        return [answer] * len(some)
    try:
        results = {int(one["index"]): one for one in answer.json()["d"]}
    except (ProvisorError, KeyError, TypeError, ValueError):
        return [None] * len(some)
    found: list[Any] = []
    start = 0
    for step in some:
        mine = [results.get(number) for number in range(start, start + len(step.request))]
        found.append(None if None in mine else mine)
        start += len(step.request)
    return found


def verdict(known: Known, step: Step, answer: Any) -> Verdict:
    """What the records of a step have come to, or what the whole request was answered with."""
    del known
    if isinstance(answer, Answer):
        return _refused_whole(answer)
    wrong = next((one for one in answer if one.get("status") != "OK"), None)
    if wrong is None:
        return Done()
    text = redact(str(wrong.get("message") or ""))
    code = ErrorCode.CONFLICT if any(word in text.lower() for word in _TAKEN) else ErrorCode.UNPROCESSABLE_ENTITY
    if wrong.get("httpCode") == 403:
        code = ErrorCode.INSUFFICIENT_RIGHTS
    return Refused(code, next(iter(sorted(step.does))) if len(step.does) == 1 else "", text)


def _refused_whole(answer: Answer) -> Verdict:
    said = f"HTTP {answer.status}"
    match answer.status:
        case 401:
            return Stop(CredentialsError(f"SuccessFactors no longer accepts the token ({said})."))
        case 403:
            return Stop(
                CredentialsError(
                    f"SuccessFactors does not let the API user write ({said}). Give it the right to edit PerEmail, "
                    "PerPhone and User by OData.",
                    code=ErrorCode.INSUFFICIENT_RIGHTS,
                )
            )
        case 429:
            return Again(why=said)
        case status if status >= 500:
            return Lost(f"SuccessFactors failed ({said}).")
        case _:
            return Refused(ErrorCode.UNPROCESSABLE_ENTITY, "", f"SuccessFactors refused the request ({said}).")


SYSTEM = System(
    name="successfactors",
    settings=SuccessFactorsTargetSettings,
    open=open_session,
    traits=_traits,
    check=check_instance,
    pages=pages,
    look=_look,
    steps=steps,
    verdict=verdict,
    pack=pack,
    unpack=unpack,
    needs_row=frozenset({Action.UPDATE}),
    in_flight=2,
    per_s=PER_S,
)


def open_target(settings: SuccessFactorsTargetSettings, *, folder: Path, pace: Pace) -> KitTarget:
    """The instance as a target."""
    return KitTarget(SYSTEM, settings, folder=folder, pace=pace)
