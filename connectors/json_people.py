"""What connectors to small HR systems share: people in JSON, attributes by dotted paths, who is active, who is held.

A field that a system leaves out may be one that the API user may not see, so that it is never taken for an answer: a
person whose status does not come is held, and a check tells which of the wanted fields nobody has.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

from pydantic import AfterValidator, Field

from connectors.errors import SchemaMismatchError
from connectors.http import HttpSession
from connectors.http_settings import HttpSettings, base_address
from connectors.kit import ACTIVE, KEY, Form, Known, Opening, Page, Row, Switch, open_http, read_only
from connectors.settings import Name, Settings

NO_DATES = frozenset({"0000-00-00", ""})
"""What stands for no value."""


@dataclass(frozen=True, slots=True)
class JsonField:
    """Where an attribute stands in the JSON of one person."""

    path: str
    """Names with dots between them."""
    form: Form = Form.TEXT
    many: bool = False


class PeopleSettings(Settings):
    """A company as a source."""

    CATALOGUE: ClassVar[Mapping[str, JsonField]]
    """What is built in, by name."""

    url: Annotated[str, AfterValidator(base_address)]
    """Address of the API; may contain references."""
    attributes: dict[Name, Name] = Field(default_factory=dict)
    """Attributes of your own: names to paths or ids of fields."""
    timeout_s: Annotated[float, Field(gt=0, le=3600)] = 300.0
    """Seconds to wait for a response, which may contain everybody."""

    @property
    def catalogue(self) -> dict[str, JsonField]:
        """Every attribute that can be read, by name."""
        return {**self.CATALOGUE, **{name: JsonField(path) for name, path in self.attributes.items()}}


def open_people(settings: PeopleSettings, opening: Opening, auth: Mapping[str, Any], *, below: str = "") -> HttpSession:
    """A session that signs in by ``auth``, as a job file says it; ``below``: path of the API under the address."""
    http = {"url": f"{settings.url}{below}", "auth": auth, "timeout_s": settings.timeout_s}
    return open_http(HttpSettings.model_validate(http), opening)


async def people_traits(wire: Any, settings: PeopleSettings) -> Known:
    """Read, never written."""
    del wire
    return Known(users=read_only(settings.catalogue), switch=Switch.steps(), settings=settings)


def fields_of(
    texts: Mapping[str, str], dates: Mapping[str, str], references: Mapping[str, str]
) -> dict[str, JsonField]:
    """A catalogue: names to paths."""
    return {
        **{name: JsonField(path) for name, path in texts.items()},
        **{name: JsonField(path, Form.DATE) for name, path in dates.items()},
        **{name: JsonField(path, Form.REFERENCE) for name, path in references.items()},
    }


def value_at(entry: Any, path: str) -> Any:
    """What stands at a path; None where nothing does. Keys like ``/work/title`` with ``{"value": ...}`` behind them are
    understood too.
    """
    parts = path.split(".")
    for end in range(len(parts), 0, -1):
        key = "/" + "/".join(parts[:end])
        if isinstance(entry, Mapping) and key in entry:
            held = entry[key]
            held = held.get("value") if isinstance(held, Mapping) and "value" in held else held
            return value_at(held, ".".join(parts[end:])) if parts[end:] else held
    for part in parts:
        entry = entry.get(part) if isinstance(entry, Mapping) else None
    return entry


def plain(value: Any, one: JsonField) -> Any:
    """A value in the form of its attribute: text, or a list of texts; None for null."""
    if isinstance(value, list):
        texts = [text for item in value if (text := _text(item)) is not None]
        return (texts or None) if one.many else next(iter(texts), None)
    text = _text(value)
    return None if text is None else [text] if one.many else text


def _text(value: Any) -> str | None:
    if value is None or isinstance(value, Mapping | list):
        return None
    text = str(value).lower() if isinstance(value, bool) else str(value).strip()
    return None if text in NO_DATES else text


def page_of(
    people: Iterable[Any],
    fields: Mapping[str, JsonField],
    wanted: Sequence[str],
    *,
    key: str,
    status: str,
    active: Iterable[str],
    inactive: Iterable[str],
    doubt: str = "",
) -> Page:
    """People as rows. ``key``, ``status``: paths; ``active``, ``inactive``: words of the status, in any case."""
    on, off = ({word.casefold() for word in words} for words in (active, inactive))
    chosen = {name: fields[name] for name in wanted if name in fields}
    rows: list[Row] = []
    unreadable: list[tuple[str | None, str]] = []
    for person in people:
        found = _text(value_at(person, key))
        if found is None:
            unreadable.append((None, f"A person has no {key}."))
            continue
        word = _text(value_at(person, status))
        if word is None or word.casefold() not in on | off:
            said = "is not shown: the API user may not see it" if word is None else f"is {word}, which is not known"
            unreadable.append((found, f"The status ({status}) {said}."))
            continue
        values = {name: plain(value_at(person, one.path), one) for name, one in chosen.items()}
        rows.append({KEY: found, ACTIVE: word.casefold() in on, **values})
    return Page(rows, unreadable=unreadable, doubt=doubt)


def never_filled(people: Sequence[Any], fields: Mapping[str, JsonField]) -> list[str]:
    """Attributes that nobody has a value for."""
    return [
        name for name, one in fields.items() if all(plain(value_at(person, one.path), one) is None for person in people)
    ]


def nobody_has(people: Sequence[Any], fields: Mapping[str, JsonField], whose: str = "Nobody") -> str:
    """A sentence about those, for a check; empty where there is none."""
    empty = never_filled(people, fields) if people else []
    return f" {whose} has a value for {', '.join(empty)}." if empty else ""


def list_in(body: Any, key: str, system: str) -> list[Any]:
    """The entries that an answer holds under a key. Raises: SchemaMismatchError."""
    found = body.get(key) if isinstance(body, Mapping) else None
    if not isinstance(found, list):
        raise SchemaMismatchError(f"{system} returned JSON without a list of {key}. Check the url.")
    return found
