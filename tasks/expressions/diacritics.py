"""Latin letters without their diacritics; every other script is left exactly as it is.

The published table of the function (261 pairs) is reproduced by: canonical decomposition, dropping the combining marks,
and a short list of letters that do not decompose. Beyond the table the same idea goes on: a letter whose Unicode name
is "LATIN ... LETTER X WITH ..." becomes X, and letters with names of their own follow the machine-readable passport.

Source: Microsoft Entra ID, expression reference, NormalizeDiacritics; ICAO Doc 9303 part 3 section 6 (transliteration).
"""

import re
import unicodedata
from collections.abc import Mapping
from functools import cache

_OWN_NAMES = {
    "æ": "ae", "Æ": "AE", "ø": "oe", "Ø": "OE", "œ": "oe", "Œ": "OE", "ß": "ss", "ẞ": "SS",
    "ł": "l", "Ł": "L", "ı": "i", "ȷ": "j", "đ": "d", "Đ": "D", "ð": "d", "Ð": "D", "þ": "th", "Þ": "TH",
    "ŋ": "n", "Ŋ": "N", "ĸ": "q", "ə": "e", "Ə": "E", "ǝ": "e", "Ǝ": "E", "ɛ": "e", "Ɛ": "E", "ɔ": "o", "Ɔ": "O",
    "ɩ": "i", "Ɩ": "I", "ʃ": "s", "Ʃ": "S", "ʒ": "z", "Ʒ": "Z", "ɣ": "g", "Ɣ": "G", "ʊ": "u", "Ʊ": "U", "ʋ": "v",
    "Ʋ": "V", "ƿ": "w", "Ƿ": "W", "ȝ": "y", "Ȝ": "Y",
}  # fmt: skip

_LATIN_RANGES = (
    (0x00C0, 0x02B0),
    (0x1D00, 0x1DC0),
    (0x1E00, 0x1F00),
    (0x2C60, 0x2C80),
    (0xA720, 0xA800),
    (0xAB30, 0xAB70),
    (0xFB00, 0xFB07),
)
_MARK_RANGES = ((0x0300, 0x0370), (0x1AB0, 0x1B00), (0x1DC0, 0x1E00), (0x20D0, 0x2100), (0xFE20, 0xFE30))
_LETTER = re.compile(r"LATIN (?P<case>SMALL|CAPITAL) LETTER (?:AFRICAN )?(?P<letter>[A-Z]{1,2})(?: WITH .*)?")
_MARKS = "".join(f"\\u{first:04x}-\\u{last - 1:04x}" for first, last in _MARK_RANGES)


def normalize_diacritics(text: str) -> str:
    """The text with every Latin letter reduced to its base letters."""
    if text.isascii():
        return text
    # Marks go first, and only behind a Latin letter: in other scripts a mark is part of the spelling.
    return _marks_after_latin().sub(r"\1", text).translate(_table())


def normalize_diacritics_of_all(texts: list[str]) -> list[str]:
    """The same for many texts: one pass over all of them for each letter that occurs."""
    joined = "\0".join(texts)
    if joined.count("\0") != len(texts) - 1:
        return [normalize_diacritics(text) for text in texts]
    occurring = set(joined)
    if any(first <= ord(character) < last for character in occurring for first, last in _MARK_RANGES):
        joined = _marks_after_latin().sub(r"\1", joined)
    table = _table()
    for letter in occurring:
        if (base := table.get(ord(letter))) is not None:
            joined = joined.replace(letter, base)
    return joined.split("\0")


@cache
def _table() -> Mapping[int, str]:
    letters = (chr(code) for first, last in _LATIN_RANGES for code in range(first, last))
    return {ord(letter): base for letter in letters if (base := _base(letter)) != letter}


@cache
def _marks_after_latin() -> re.Pattern[str]:
    latin = "".join(
        f"\\u{code:04x}"
        for first, last in _LATIN_RANGES
        for code in range(first, last)
        if unicodedata.category(chr(code))[0] == "L" and "LATIN" in unicodedata.name(chr(code), "")
    )
    return re.compile(f"([A-Za-z{latin}])[{_MARKS}]+")


def _base(letter: str) -> str:
    if letter in _OWN_NAMES:
        return _OWN_NAMES[letter]
    if "LATIN" not in unicodedata.name(letter, ""):
        return letter
    decomposed = unicodedata.normalize("NFKD", letter)
    if decomposed != letter:
        kept = (part for part in decomposed if unicodedata.category(part) in ("Lu", "Ll", "Lt", "Lo"))
        return "".join(_base(part) for part in kept) or letter
    named = _LETTER.fullmatch(unicodedata.name(letter))
    if named is None:
        return letter
    base = named.group("letter")
    return base if named.group("case") == "CAPITAL" else base.lower()
