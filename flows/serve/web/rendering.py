"""Turns what pages say into HTML: one Jinja environment, and how figures, times and values are written."""

import hashlib
import json
from collections.abc import Mapping
from datetime import date, datetime, tzinfo
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

from jinja2 import Environment, FileSystemLoader, StrictUndefined, pass_context
from jinja2.runtime import Context
from markupsafe import Markup, escape

from tasks.pages.layout import took
from tasks.pages.sentences import clock_time, day_of

_HERE = Path(__file__).parent
STATIC = _HERE / "static"
_LONGEST = 400
"""Characters of a value that are shown; the rest is in the exports."""


def here() -> tzinfo:
    """The time zone of this machine, in which times are shown."""
    zone = datetime.now().astimezone().tzinfo
    assert zone is not None
    return zone


@cache
def environment() -> Environment:
    """The one environment of all pages."""
    made = Environment(
        loader=FileSystemLoader(_HERE / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_finalized,
    )
    made.filters |= {
        "number": lambda value: f"{value:,}",
        "when": _when,
        "day": lambda moment: day_of(moment, here()),
        "took": took,
        "value": shown_value,
        "lowered": lambda text: text[:1].lower() + text[1:],
        "segment": lambda text: quote(str(text), safe=""),
        "name": plain_name,
    }
    made.globals |= {"query": query, "asset": asset}
    return made


def query(**parts: object) -> str:
    """The part of an address after its path, without what is empty."""
    given = {name: str(value) for name, value in parts.items() if value not in (None, "", 0, False)}
    return f"?{urlencode(given)}" if given else ""


@cache
def asset(name: str) -> str:
    """The address of a file that belongs to the pages; it changes with its content."""
    digest = hashlib.sha256((STATIC / name).read_bytes()).hexdigest()[:12]
    return f"/static/{digest}/{name}"


@pass_context
def _when(context: Context, moment: datetime | None) -> Markup | str:
    if moment is None:
        return ""
    text = clock_time(moment, here(), context["now"])
    return Markup('<time datetime="{}">{}</time>').format(moment.isoformat(timespec="seconds"), text)


def plain_name(text: object) -> Markup:
    """A name that comes from outside: kept apart from the direction of the sentence, control characters visible."""
    return Markup("<bdi>{}</bdi>").format(_visible(str(text)))


def shown_value(value: object) -> Markup:
    """A value of an attribute, as people read it."""
    match value:
        case None | "":
            return Markup('<span class="dim">nothing</span>')
        case bool():
            return Markup("true" if value else "false")
        case str():
            text = value
        case bytes():
            text = f"{len(value):,} bytes"
        case date():
            text = value.isoformat()
        case list() | tuple() if all(isinstance(one, str) for one in value):
            text = ", ".join(value)
        case _:
            text = _json_text(value)
    text = _visible(text)
    cut = text if len(text) <= _LONGEST else f"{text[:_LONGEST]} …"
    return Markup("<bdi>{}</bdi>").format(escape(cut))


def _json_text(value: object) -> str:
    """Any other value as JSON, whatever is in it."""
    try:
        return json.dumps(value, ensure_ascii=False, default=str)
    except (TypeError, ValueError, RecursionError):
        return f"a value that cannot be shown ({type(value).__name__})"


def _finalized(value: object) -> object:
    """Whatever a template writes, wherever: no control character and no mark of direction gets into a page."""
    if not isinstance(value, str) or value.isprintable():
        return value
    return Markup(_shown_lines(value)) if isinstance(value, Markup) else _shown_lines(value)


def _shown_lines(text: str) -> str:
    return "\n".join(_visible(line) for line in text.split("\n"))


def _visible(text: str) -> str:
    """Control characters and marks that turn the direction of what follows become visible."""
    if text.isprintable():
        return text
    return "".join(_letter(letter) for letter in text)


def _letter(letter: str) -> str:
    joins = letter in "\u200c\u200d"  # parts of names in Persian and Hindi, and of emoji
    return letter if letter.isprintable() or joins else " " if letter in "\n\t " else "\ufffd"


def render_page(template: str, content: Mapping[str, Any]) -> str:
    """A whole page, or the part of one."""
    return environment().get_template(template).render(content)
