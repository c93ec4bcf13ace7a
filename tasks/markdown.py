"""Markdown of which only our own words can be more than words. Pure.

``Markdown`` is text that may be live; everything else is data. ``Markdown("**{}** waits").format(name)`` fills data
in and escapes it, so that a name is never a heading, a link, an image or a cell. Only literals are made ``Markdown``:
a test looks at every call. What publishes artifacts takes nothing else.
"""

import base64
import re
from collections.abc import Iterable
from string import Formatter
from typing import Any, SupportsIndex

from tasks.printable import printable

_LIVE = re.compile(r"[\\`*_\[\]<>|~&@]|(?<=:)//|(?<=www)\.", re.IGNORECASE)
"""What means something within a line; addresses become links even without brackets."""
_AT_START = re.compile(r"(?:[#>+=-]|\d{1,9}[.)])")
"""What makes something of a line that begins so."""
_BARE_PIPE = re.compile(r"(?<!\\)\|")


class Markdown(str):
    """Text that is ours, and may be live."""

    __slots__ = ()

    def format(self, *args: object, **kwargs: object) -> "Markdown":
        """Fills in values; what is not ``Markdown`` itself is escaped."""
        return Markdown(_FILLING.vformat(self, args, kwargs))

    def join(self, parts: Iterable[str], /) -> "Markdown":
        """The parts with this between them; what is not ``Markdown`` itself is escaped."""
        return Markdown(str.join(self, (markdown(part) for part in parts)))

    def __add__(self, other: str, /) -> "Markdown":
        return Markdown(str.__add__(self, markdown(other)))

    def __mul__(self, times: SupportsIndex, /) -> "Markdown":
        return Markdown(str.__mul__(self, times))


NOTHING = Markdown("")
"""An empty line."""


class _Filling(Formatter):
    def format_field(self, value: Any, spec: str) -> str:
        return value if isinstance(value, Markdown) else markdown(format(value, spec))


_FILLING = _Filling()


def markdown(text: object) -> Markdown:
    """Data as Markdown that shows exactly its letters, on one line."""
    if isinstance(text, Markdown):
        return text
    said = printable(str(text)).lstrip()
    said = _LIVE.sub(lambda found: "".join(f"\\{letter}" for letter in found.group()), said)
    if _AT_START.match(said):
        mark = re.search(r"[#>+=.)-]", said)
        assert mark is not None
        said = f"{said[: mark.start()]}\\{said[mark.start() :]}"
    return Markdown(said)


def code(text: object) -> Markdown:
    """Data as code."""
    said = printable(str(text))
    fence = "`" * (max(map(len, re.findall("`+", said)), default=0) + 1)
    room = " " if said.startswith("`") or said.endswith("`") else ""
    return Markdown(f"{fence}{room}{said}{room}{fence}") if said else Markdown("")


def link(name: object, address: str) -> Markdown:
    """A link to a page of ours. ``address``: of the web, or of this server."""
    if not re.match(r"https?://|/", address):
        return markdown(name)
    safe = re.sub(r"[^A-Za-z0-9\-._~:/?#@!$&'*+,;=%]", lambda found: f"%{ord(found.group()) & 0xFF:02x}", address)
    return Markdown(f"[{markdown(name)}]({safe})")


def drawing(name: str, svg: str) -> Markdown:
    """A picture of ours that stands in its own address: no file, no network."""
    address = f"data:image/svg+xml;base64,{base64.b64encode(svg.encode()).decode()}"
    return Markdown(f"![{markdown(name)}]({address})")


def table_head(*names: str, numbers: int = 0) -> list[Markdown]:
    """The first two lines of a table. ``numbers``: how many columns, from the right, hold numbers."""
    words = len(names) - numbers
    return [row(*names), Markdown(f"| {' | '.join(['---'] * words + ['---:'] * numbers)} |")]


def row(*cells: object) -> Markdown:
    """One row of a table."""
    return Markdown(f"| {' | '.join(_BARE_PIPE.sub(_escaped_pipe, markdown(cell)) for cell in cells)} |")


def _escaped_pipe(found: re.Match[str]) -> str:
    return f"\\{found.group()}"


def page(lines: Iterable[Markdown]) -> Markdown:
    """Lines as one text; an empty one parts paragraphs."""
    return Markdown(str.join("\n", lines))
