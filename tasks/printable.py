"""Text from elsewhere as people may see it: nothing in it moves a cursor, begins a line of its own or turns the reading
order. Pure.

What shows a text passes it through here, each at the one place through which everything goes: ``flows.show.console``
for the terminal, ``flows.log_lines`` for logs, ``tasks.markdown`` for artifacts, ``tasks.pages.layout`` for pages,
``tasks.notify`` for notices. What machines read keeps its values: JSON spells these characters as escapes.
"""

import re

_UNSEEN = re.compile(
    "["
    "\x00-\x1f\x7f-\x9f"  # controls, among them escape, line feed, and the C1 forms that terminals obey as well
    "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"  # marks, embeddings, overrides and isolates of the reading order
    "\u2028\u2029"  # separators of lines and paragraphs
    "\u200b\u2060-\u2065\u206a-\u206f\ufeff\ufff9-\ufffb"  # of no width: two names would look the same
    "\U000e0000-\U000e007f"  # tags, a hidden copy of ASCII
    "\ud800-\udfff"  # halves of characters: no terminal and no file takes them
    "]"
)
_SHORT = {"\n": r"\n", "\r": r"\r", "\t": r"\t"}


def printable(text: str) -> str:
    """The text on one line, with every character that is not seen, or does something, spelled as an escape: ``\\x1b``.

    Letters of every script, combining marks and the joiners that names and emoji need stay as they are.
    """
    return _UNSEEN.sub(_spelled, text) if _UNSEEN.search(text) else text


def printable_lines(text: str, *, indent: str = "") -> str:
    """The same line by line, for a text of ours that has several. ``indent``: goes before every line but the first."""
    return f"\n{indent}".join(map(printable, text.split("\n")))


def _spelled(found: re.Match[str]) -> str:
    letter = found.group()
    if letter in _SHORT:
        return _SHORT[letter]
    code = ord(letter)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


_IN_JSON = re.compile(
    rb"\x7f|\xc2[\x80-\x9f]|\xd8\x9c|\xe2\x80[\x8b\x8e\x8f\xa8-\xae]|\xe2\x81[\xa0-\xaf]|\xef\xbb\xbf|\xef\xbf[\xb9-\xbb]"
    rb"|\xf3\xa0[\x80\x81][\x80-\xbf]"
)
"""The same characters in UTF-8; JSON never holds the others raw."""


def printable_json(document: bytes | memoryview) -> bytes | memoryview:
    """A JSON document that says the same and may be looked at: what is not seen is spelled ``\\u009b``."""
    return _IN_JSON.sub(_spelled_in_json, document) if _IN_JSON.search(document) else document


def _spelled_in_json(found: re.Match[bytes]) -> bytes:
    units = found.group().decode().encode("utf-16-be")
    return b"".join(b"\\u%s" % units[at : at + 2].hex().encode() for at in range(0, len(units), 2))
