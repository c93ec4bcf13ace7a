"""The terminal: everything that commands show to people goes through what is made here.

Whatever Rich is given, markup, cells of a table, text built piece by piece, is made printable on its way: no text from
elsewhere moves the cursor, sets a title, turns the reading order or begins a line of its own.
"""

import sys
from collections.abc import Iterable
from typing import Any

import rich.console
import rich.text
from rich.segment import Segment

from tasks.printable import printable, printable_lines

AnyText = rich.text.Text
"""Text made here, or by Rich itself of such text."""


class Terminal(rich.console.Console):
    """Rich's console for text of which not all is ours."""

    def render_str(self, text: str, **options: Any) -> rich.text.Text:
        """Markup as text: every string that is printed, and every cell of a table, passes through here."""
        return super().render_str(printable(text), **options)

    def show_cells(self, cells: Iterable[str]) -> None:
        """One line of cells with tabs between, as it is, for whatever searches in it."""
        self.file.write("\t".join(map(printable, cells)) + "\n")

    def _render_buffer(self, buffer: Iterable[Segment]) -> str:
        """The last step before the stream: what came another way is made printable; lines are Rich's own here."""
        return super()._render_buffer(
            part if part.control else Segment(printable_lines(part.text), part.style) for part in buffer
        )


class Text(rich.text.Text):
    """Rich's text for pieces of which not all are ours; each stays on its line."""

    def __init__(self, text: str = "", *args: Any, **options: Any) -> None:
        super().__init__(printable(text), *args, **options)

    @classmethod
    def of_lines(cls, text: str, **options: Any) -> "Text":
        """A text of ours that has several lines."""
        made = cls(**options)
        rich.text.Text.append(made, printable_lines(text))
        return made

    def append(self, text: AnyText | str, style: Any = None) -> "Text":
        """Adds a piece."""
        super().append(printable(text) if isinstance(text, str) else text, style)
        return self

    def append_text(self, text: AnyText) -> "Text":
        """Adds a text with its styles."""
        super().append_text(text)
        return self


def console(*, stderr: bool = False) -> Terminal:
    """A console that wraps nothing away when it is not a terminal."""
    stream = sys.stderr if stderr else sys.stdout
    return Terminal(file=stream, highlight=False, soft_wrap=not stream.isatty())
