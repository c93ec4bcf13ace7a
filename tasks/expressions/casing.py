"""Lower and upper case the way .NET's invariant culture does it: one character for one character.

Python's own ``str.lower`` is not that: it lengthens (``İ``), looks at neighbours (final sigma) and its ``upper`` turns
``ß`` into ``SS``. Arrow's kernels are close but differ in a handful of characters (``ß``, ``ı``, ``İ``), which are
found out once per process and repaired.

Source: .NET documentation, TextInfo.ToLower / ToUpper, CultureInfo.InvariantCulture; Unicode simple case mappings.
"""

from collections.abc import Mapping
from functools import cache
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

Case = Literal["lower", "upper"]

_LAST_CASED = 0x1F000
"""Beyond this no character has case."""

_TURKIC = {
    "lower": {0x49: 0x131, 0x130: 0x69},
    "upper": {0x69: 0x130, 0x131: 0x49},
}
_DOTTED_AND_DOTLESS = {"lower": {0x130: 0x69}, "upper": {0x131: 0x49}}


@cache
def case_table(case: Case, language: str = "") -> Mapping[int, int]:
    """For ``str.translate``: every character whose case changes, in the invariant culture (language "") or another.

    The invariant culture leaves ``İ`` and ``ı`` as they are; other cultures map them to ``i`` and ``I``; Turkish and
    Azerbaijani keep dotted and dotless apart.
    """
    table = {
        code: changed
        for code in range(_LAST_CASED)
        # Most characters have no case at all, and asking them is quick.
        if chr(code).isalpha() or 0x2000 < code < 0x3000 or code == 0x345
        if (changed := _simple(chr(code), case)) != code
    }
    if language in ("tr", "az"):
        return {**table, **_TURKIC[case]}
    if language:
        return {**table, **_DOTTED_AND_DOTLESS[case]}
    table.pop(0x130 if case == "lower" else 0x131, None)
    return table


def _simple(character: str, case: Case) -> int:
    full = character.lower() if case == "lower" else character.upper()
    if len(full) > 1 and case == "upper":
        # Where the full mapping lengthens, the simple one (if any) is the title case: U+1FB3 -> U+1FBC.
        full = character.title()
    return ord(full) if len(full) == 1 else ord(character)


def change_case(text: str, case: Case, language: str = "") -> str:
    """The text in lower or upper case."""
    if text.isascii() and language not in ("tr", "az"):
        return text.lower() if case == "lower" else text.upper()
    return text.translate(case_table(case, language))


def change_case_column(texts: pa.Array, case: Case) -> pa.Array:
    """The texts in lower or upper case of the invariant culture."""
    changed = pc.utf8_lower(texts) if case == "lower" else pc.utf8_upper(texts)
    plain = pc.string_is_ascii(texts)
    if pc.all(plain, min_count=0).as_py():
        return changed
    positions = np.flatnonzero(pc.fill_null(pc.invert(plain), False).to_numpy(zero_copy_only=False))
    suspects = texts.take(pa.array(positions))
    hit = pc.match_substring_regex(suspects, _disagreements(case)).to_numpy(zero_copy_only=False)
    if not hit.any():
        return changed
    mask = np.zeros(len(texts), dtype=bool)
    mask[positions[hit]] = True
    repaired = [change_case(text, case) for text in suspects.filter(pa.array(hit)).to_pylist()]
    return pc.replace_with_mask(changed, pa.array(mask), pa.array(repaired, type=texts.type))


@cache
def _disagreements(case: Case) -> str:
    """A character class of everything that Arrow's kernel maps differently."""
    everything = [chr(code) for code in range(1, _LAST_CASED) if not 0xD800 <= code < 0xE000]
    texts = pa.array(everything, type=pa.large_string())
    arrow = pc.utf8_lower(texts) if case == "lower" else pc.utf8_upper(texts)
    table = case_table(case)
    ours = pa.array([chr(table.get(ord(one), ord(one))) for one in everything], type=pa.large_string())
    odd = texts.filter(pc.not_equal(arrow, ours)).to_pylist()
    return "[" + "".join(f"\\x{{{ord(one):X}}}" for one in odd) + "]" if odd else r"[^\s\S]"
