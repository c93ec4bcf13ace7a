"""People with a fixed place in every generated export: one of each fate, and those whose data break careless code.

The export generator puts the person of index ``k`` into row ``FIRST_POSITION + k * STEP`` of the file; what is not
given here stays as it was generated. All of it is legal: a correct pipeline ends with every value in the target as it
stands here.
"""

from dataclasses import dataclass, field

FIRST_POSITION = 5
STEP = 9


@dataclass(frozen=True, slots=True)
class FixedPerson:
    """One person. ``key`` names the person in tests and events."""

    key: str
    local: str
    """Local part of sign-in name and mail address."""
    given: str
    surname: str | None
    display: str | None = None
    other: dict[str, str | None] = field(default_factory=dict)
    """Further columns; a ``manager`` of the form ``@key`` means another fixed person, ``@next`` the first joiner."""


def _post(title: str, department: str, country: str, city: str) -> dict[str, str | None]:
    return {"jobTitle": f"{title}, {department}", "department": department, "country": country, "city": city}


# One of each fate. What becomes of them in the second export is said in tests/data/events.py.
CAST = (
    FixedPerson("mover", "dagmar.holm", "Dagmar", "Holm", None, _post("Analyst", "Sales", "DE", "Leipzig")),
    FixedPerson("renamed", "siobhan.o'brien", "Siobhán", "O'Brien", None, _post("Specialist", "Legal", "IE", "Dublin")),
    FixedPerson("leaver_gone", "ravi.menon", "Ravi", "Menon", None, _post("Associate", "Finance", "IN", "Chennai")),
    FixedPerson(
        "leaver_terminated", "tomas.horak", "Tomáš", "Horák", None, _post("Analyst", "Customer Service", "CZ", "Brno")
    ),
    FixedPerson(
        "rehired",
        "leila.haddad",
        "Leïla",
        "Haddad",
        None,
        {**_post("Coordinator", "Logistics", "FR", "Paris"), "status": "terminated"},
    ),
    FixedPerson(
        "unchanged",
        "kofi.annan-mills",
        "Kofi",
        "Annan-Mills",
        None,
        {**_post("Specialist", "Procurement", "GH", "Accra"), "status": "leave"},
    ),
    FixedPerson("left_scope", "yuki.arai", "Yuki", "Arai", None, _post("Specialist", "Marketing", "JP", "東京")),
    FixedPerson(
        "entered_scope",
        "joao.brito",
        "João",
        "Brito",
        None,
        {**_post("Analyst", "Marketing", "PT", "Lisboa"), "employeeType": "contractor"},
    ),
    FixedPerson(
        "never_in_scope",
        "greta.ohm",
        "Greta",
        "Ohm",
        None,
        {**_post("Coordinator", "Facilities", "SE", "Malmö"), "employeeType": "contractor"},
    ),
    FixedPerson("title_cleared", "omar.said", "Omar", "Said", None, _post("Acting Lead", "Logistics", "KE", "Mombasa")),
    FixedPerson(
        "manager_healed",
        "nina.falk",
        "Nina",
        "Falk",
        None,
        {**_post("Analyst", "Research & Development", "NO", "Tromsø"), "manager": "@next"},
    ),
)

LONG_NAME = (
    "Wolfgang-Amadeus-Maximilian-Leopold-Ferdinand-Balthasar-Theophilus-Emanuel-Cornelius-Hieronymus-Augustin-"
    "Benedikt-Cäsar-Dominikus-Ephraim-Fridolin-Gottlieb-Hannibal-Ignatius-Jeremias-Kasimir-Lazarus-Methusalem-"
    "Nepomuk-Ottokar-Pankraz-Quirin-Rochus-Servatius-Traugott-Ulrich-Valentin-Wenzel-Xaver-Ypsilanti-Zacharias-Ende"
)[:300]

NASTY = (
    # Case twins: same person but for case; the sign-in names have to differ.
    FixedPerson("twin_lower", "ann.lee", "Ann", "Lee", "Ann Lee"),
    FixedPerson("twin_upper", "ann.lee2", "ANN", "LEE", "ANN LEE", {"mail": "ANN.LEE2@EXAMPLE.COM"}),
    # Words that other software takes for "nothing", a truth value or a number.
    FixedPerson("none", "none.abebe", "None", "Abebe", "None"),
    FixedPerson("na", "na.na", "NA", "NA"),
    FixedPerson("null", "christopher.null", "Christopher", "null", other={"city": "NULL"}),
    FixedPerson("true", "true.false", "True", "False", "True"),
    FixedPerson("nan", "nan.inf", "Nan", "Inf", "nan"),
    FixedPerson("numbers", "zero.one", "007", "1e5", "00123", {"jobTitle": "0"}),
    FixedPerson("dates", "april.march", "April", "March 2", other={"jobTitle": "3/4"}),
    FixedPerson("dash", "na.slash", "N/A", "-", other={"jobTitle": "#N/A"}),
    # Characters with a meaning somewhere on the way.
    FixedPerson("quotes", "robert.oneil", 'Robert "Bobby"', "O’Neil", other={"jobTitle": 'Says "hello", often'}),
    FixedPerson("statement", "robert.tables", "Robert');", "DROP TABLE users;--"),
    FixedPerson("backslash", "back.slash", "C:\\Users\\Kim", "Back\\", "Kim \\\\ \\n \\u0041"),
    FixedPerson("comma", "james.lee-jr", "James", "Lee, Jr."),
    FixedPerson("newline", "line.feed", "Line", "Feed", other={"jobTitle": "Head of Sales\nand Marketing"}),
    FixedPerson("tab", "tab.stop", "Tab", "Stop\there"),
    FixedPerson("markup", "bold.tag", "<b>Bold</b>", "&amp; Co", "<script>alert(1)</script>"),
    FixedPerson("template", "curly.brace", "{{7*7}}", "%s %d {0}", "${env:SCIM_TOKEN}"),
    FixedPerson("expression", "square.bracket", "[mail]", '"; Join(", "', 'ToLower("[x]")'),
    FixedPerson("formula", "sum.cell", "=SUM(A1:A9)", "+1", "@here"),
    FixedPerson("filter", "filter.or", 'x" or userName pr or "', "*)(uid=*", "a*b?c|d"),
    # Mail addresses.
    FixedPerson("plus", "anna.berg", "Anna", "Berg", other={"mail": "anna+payroll@example.com"}),
    FixedPerson("percent", "half.price", "Half", "Price", other={"mail": "50%off@example.com"}),
    FixedPerson("mail_upper", "upper.case", "Upper", "Case", other={"mail": "UPPER.CASE@example.com"}),
    FixedPerson("no_mail", "no.mail", "Norbert", "Mailos", other={"mail": None}),
    # What is missing.
    FixedPerson("mononym", "suharto", "Suharto", None),
    FixedPerson("no_city", "x.plume", "X", "Plume", other={"city": None}),
    FixedPerson("no_manager", "lone.wolf", "Lone", "Wolf", other={"manager": None}),
    FixedPerson("bare", "bare.minimum", "Bare", None, None, {"mail": None, "manager": None, "department": None}),
    FixedPerson("no_type", "no.type", "Untyped", "Person", other={"employeeType": None}),
    # Scripts, directions, lengths, normal forms.
    FixedPerson("emoji", "zoe.rocket", "Zoë 🚀", "Lindqvist", "👩‍👩‍👧‍👦 Zoë 👍🏽 🇮🇸"),
    FixedPerson("arabic", "fatima.alfihri", "فاطمة", "الفهري", "د. فاطمة الفهري (Dr.)"),
    FixedPerson("hebrew", "noa.bendavid", "נֹעָה", "בן-דוד", "\u200fנעה \u200eABC 123"),
    FixedPerson("persian", "mina.mirza", "می‌نا", "میرزا"),
    FixedPerson("beyond_plane_0", "taro.yoshinoya", "太郎", "𠮷野家", "𠮷野家 太郎"),
    FixedPerson("vietnamese", "tuyet.nguyen", "Thị Ánh Tuyết", "Nguyễn", "Nguyễn Thị Ánh Tuyết"),
    FixedPerson("turkish", "irfan.isikoglu", "İrfan Iğdır", "Işıkoğlu"),
    FixedPerson("icelandic", "thordis.aegisdottir", "Þórdís", "Ægisdóttir"),
    FixedPerson("sharp_s", "heike.gross", "Heike", "GROẞ-Groß"),
    FixedPerson("composed", "jose.composed", "Jos\u00e9", "N\u00fa\u00f1ez"),
    FixedPerson("decomposed", "jose.decomposed", "Jose\u0301", "Nu\u0301n\u0303ez"),
    FixedPerson("ligature", "affine.ligature", "A\ufb03ne", "\u01c4uro"),
    FixedPerson("no_break_space", "jean.luc", "Jean\u00a0Luc", "Du\u2011Pont"),
    FixedPerson("one_letter", "o.e", "O", "É"),
    FixedPerson("long", "wolfgang.ende", LONG_NAME, "Ende", LONG_NAME),
    FixedPerson("particles", "khalid.almaktoum", "Khalid", "bin Rashid al-Maktoum"),
    # Two people who lead a department together and are each other's manager.
    FixedPerson("cycle_one", "iris.castor", "Iris", "Castor", other={"manager": "@cycle_two"}),
    FixedPerson("cycle_two", "leo.pollux", "Leo", "Pollux", other={"manager": "@cycle_one"}),
)

FIXED_PEOPLE = (*CAST, *NASTY)

SMALLEST_EXPORT = FIRST_POSITION + len(FIXED_PEOPLE) * STEP
"""People an export must have for everybody to fit in."""


def position(key: str) -> int:
    """Row of this person in the file, counted from 0."""
    return FIRST_POSITION + STEP * next(k for k, person in enumerate(FIXED_PEOPLE) if person.key == key)


GROUP_NAMES = (
    "Volunteers 🚒 & First Aid",
    'The "A" Team, Europe',
    "فريق الدعم",
    "None",
    "00042",
    "O'Hare \\ Back Office",
)
"""Names of some teams, with the same intent."""
