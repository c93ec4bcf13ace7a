"""Nasty entries that every connector and stage must carry unharmed; data, no tests.

``PEOPLE`` are correct entries, however odd they look. ``REPEATED`` and ``WITHOUT_KEY`` are the rows that must be
refused, each with a reason, without harm to the others.
"""

COLUMNS = ("id", "userName", "givenName", "surname", "title", "phone")

LONG_NAME = "Adelheid-" * 33 + "End"
"""300 characters."""

PEOPLE: tuple[tuple[str | None, ...], ...] = (
    ("00123", "zero@example.com", "Leading", "Zeros", "0", "+49 30 1234567"),
    ("123", "notzero@example.com", "No", "Zeros", "1e5", "+4930123456"),
    ("E-emoji", "zoe@example.com", "Zoë 🚀", "👩‍👩‍👧‍👦 👍🏽", "🇮🇸", None),
    ("E-arabic", "fatima@example.com", "فاطمة", "الفهري", "\u200fد. فاطمة (Dr.)", None),
    ("E-hebrew", "noa@example.com", "נֹעָה", "בן-דוד", "\u200eABC \u200f123", None),
    ("E-apostrophe", "o'brien@example.com", "Siobhán", "O'Brien", "O’Brien's deputy", None),
    ("E-long", "long@example.com", LONG_NAME, LONG_NAME[::-1], LONG_NAME * 10, None),
    ("E-twin", "ann.lee@example.com", "Ann", "Lee", None, None),
    ("e-twin", "ANN.LEE@EXAMPLE.COM", "ANN", "LEE", None, None),
    ("None", "none@example.com", "None", "None", "none", None),
    ("NA", "na@example.com", "NA", "N/A", "#N/A", None),
    ("null", "null@example.com", "null", "NULL", "nil", None),
    ("nan", "nan@example.com", "nan", "NaN", "inf", None),
    ("true", "true@example.com", "True", "false", "yes", None),
    ("007", "bond@example.com", "1e5", "0x10", "3/4", "007"),
    ("2024-02-30", "dates@example.com", "April", "March 2", "2024-01-01 00:00:00", None),
    ('E-"quoted"', "quotes@example.com", 'Robert "Bobby"', '"', '""', '"starts'),
    ("E-\\back\\", "back@example.com", "C:\\Users\\Kim", "\\", '\\"', "\\n \\u0041"),
    ("E,comma", "comma@example.com", "James", "Lee, Jr.", ",", ",,"),
    ("E;semicolon\tand tab", "tab@example.com", "Tab\there", ";", "|", "\t"),
    ("E-newline", "lines@example.com", "Line\nFeed", "Carriage\r\nReturn", "Old\rMac", '"\n"'),
    ("E-percent", "50%off@example.com", "%s", "%(name)s", "100%", "%00"),
    ("E-plus", "anna+payroll@example.com", "+1", "=SUM(A1:A9)", "@here", "+49-170-0000000"),
    ("E-statement", "tables@example.com", "Robert');", "DROP TABLE users;--", ":name", "${env:HOME}"),
    ("E-markup", "markup@example.com", "<b>", "&amp;", "<script>alert(1)</script>", "{{7*7}}"),
    ("E-composed", "composed@example.com", "Jos\u00e9", "\ufb03", None, None),
    ("E-decomposed", "decomposed@example.com", "Jose\u0301", "ffi", None, None),
    ("E-plane", "plane@example.com", "\U00020bb7\u91ce\u5bb6", "太郎", None, None),
    (" E-blanks ", " blanks@example.com ", "  two", "two  ", " ", "\u00a0"),
    ("E-bare", None, None, None, None, None),
)
"""Key first; None is null. No two keys are equal, though some differ only in case or in leading zeros."""

REPEATED: tuple[tuple[str | None, ...], ...] = (
    ("E-again", "first@example.com", "First", "Again", None, None),
    ("E-again", "second@example.com", "Second", "Again", None, None),
)
"""Two people with one key: neither can be used."""

WITHOUT_KEY: tuple[tuple[str | None, ...], ...] = (
    (None, "nobody@example.com", "No", "Key", None, None),
    (None, "nobody2@example.com", "No", "Key", None, None),
)
"""Null is no key, and two nulls are not one person."""
