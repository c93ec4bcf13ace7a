"""How deep a JSON text nests, found without parsing it: what walks through a parsed value goes one call a level."""

import re

MOST_LEVELS = 50
"""Where no setting says otherwise: the deepest answer of any system here has eight."""
_ESCAPED = re.compile(rb"\\.", re.DOTALL)
_MARKS = b'[]{}"'
_OTHERS = bytes(set(range(256)) - set(_MARKS))
_PIECE = 1 << 20


def nests_deeper(text: bytes, most: int) -> bool:
    """True when lists and objects lie in each other deeper than so many levels; of a text that is no JSON, whatever.

    A text with few brackets is not looked at, so that this costs nothing for single entries.
    """
    if text.count(b"[") + text.count(b"{") <= most:
        return False
    import numpy as np

    steps = np.zeros(256, dtype=np.int8)
    steps[[*b"[{"]], steps[[*b"]}"]] = 1, -1
    if b"\\" in text:
        text = _ESCAPED.sub(b"", text)
    marks = np.frombuffer(text.translate(None, _OTHERS), dtype=np.uint8)
    level = quotes = 0
    for start in range(0, len(marks), _PIECE):
        piece = marks[start : start + _PIECE]
        quoted = np.cumsum(piece == ord('"'), dtype=np.int32) + quotes
        levels = np.cumsum(np.where(quoted & 1, 0, steps[piece]), dtype=np.int32) + level
        if levels.max() > most:
            return True
        level, quotes = int(levels[-1]), int(quoted[-1])
    return False
