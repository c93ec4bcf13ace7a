"""Cells as they were meant, rows that are nobody, copies, and files that are something else than the export."""

from datetime import date, datetime

import openpyxl
import pandas as pd
import pytest

from connectors.cells import is_misread, tidy
from connectors.contract import Kind, Snapshot, Wanted
from connectors.csv import CONNECTOR
from connectors.errors import SettingsError
from connectors.registry import open_source

HEADER = "id,login,status"
ENABLED = {"column": "status", "values": ["active"]}


def source(folder, text, **users):
    name = users.pop("path", "people.csv")
    if text is not None:
        (folder / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    given = {"users": {"path": name, "key": "id", **users}}
    return open_source("csv", CONNECTOR.source_settings.model_validate(given), folder=folder)


def read(folder, text, **users) -> Snapshot:
    return source(folder, text, **users).read(Wanted(users=("login", "status")))


def logins(snapshot: Snapshot) -> dict[str, str]:
    return dict(snapshot.users["login"])


def refused(folder, text, **users) -> str:
    with pytest.raises(SettingsError) as error:
        source(folder, text, **users).attributes(Kind.USER)
    with pytest.raises(SettingsError):
        read(folder, text, **users)
    return str(error.value)


# --- what nobody sees ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cell", "meant"),
    [
        ("ann@x ", "ann@x"),
        ("\u00a0ann@x\u00a0", "ann@x"),
        ("ann@x\0\0\0", "ann@x"),
        ("a\u200bnn@x", "ann@x"),
        ("\ufeffann@x", "ann@x"),
        ("an\ufeffn@x", "ann@x"),
        ("jo\u0308rg@x", "j\u00f6rg@x"),
        ("A\u00a0B", "A\u00a0B"),
        ("\u200fדנה", "\u200fדנה"),
        ("神\ufa19", "神\ufa19"),
        ("👩\u200d👧", "👩\u200d👧"),
        ("Zoë", "Zoë"),
        (" ", None),
        ("\u00a0", None),
    ],
)
def test_what_looks_the_same_is_the_same(cell, meant):
    """Blanks around, padding and hidden characters go, letters are composed; whatever shows something stays."""
    found = tidy(pd.Series(["x", cell, None, "é"], dtype="str"), keep_empty=False)
    assert [None if pd.isna(one) else one for one in found] == ["x", meant, None, "é"]


def test_keys_are_tidied_on_both_sides_of_a_membership(tmp_path):
    """A blank behind a key in one file does not make another person of it."""
    (tmp_path / "groups.csv").write_text("id\nG\n")
    (tmp_path / "members.csv").write_text("g,m\nG ,1\nG,\u00a02\n,\n")
    (tmp_path / "people.csv").write_text("id,login\n1 ,a\n2,b\n")
    given = {
        "users": {"path": "people.csv", "key": "id"},
        "groups": {"path": "groups.csv", "key": "id"},
        "members": {"path": "members.csv", "group": "g", "member": "m"},
    }
    opened = open_source("csv", CONNECTOR.source_settings.model_validate(given), folder=tmp_path)
    found = opened.read(Wanted(users=("login",), groups=()))
    assert list(found.users.index) == ["1", "2"]
    assert found.members.to_numpy().tolist() == [["G", "1"], ["G", "2"]]
    assert found.complete


# --- rows that are nobody, or anybody ------------------------------------------------------------------------------


@pytest.mark.parametrize("end", [",,\n,,\n", " , ,\n", "\x1a", "\r\n\x1a", "\n\n\n", '"","",""\n', ",,,,\n", "\0\0"])
def test_blank_rows_are_nobody(tmp_path, end):
    """Rows of separators, Ctrl-Z and padding behind the last line leave the source complete."""
    found = read(tmp_path, f"{HEADER}\n1,a,active\n{end}")
    assert (logins(found), found.complete, found.unreadable) == ({"1": "a"}, True, ())


def test_a_row_with_something_in_it_is_somebody(tmp_path):
    """Its key is missing, and so is everything that is read; but somebody is meant."""
    found = read(tmp_path, "id,login,status,room\n1,a,active,\n,,,12\n")
    assert not found.complete
    assert "skip" in found.incomplete[0]


@pytest.mark.parametrize("footer", ["Total: 30", "Total,30,", "Total;x,,", "Summe 30,,,,,"])
def test_footers_are_skipped_where_the_job_says_so(tmp_path, footer):
    """Whatever number of cells they have."""
    found = read(tmp_path, f"{HEADER}\n1,a,active\n{footer}\n", skip=["^Total", "^Summe"])
    assert (logins(found), found.complete) == ({"1": "a"}, True)


@pytest.mark.parametrize("key", ["1.23457E+11", "1,2E+15", "#N/A", "#REF!", "######", "9" * 1001])
def test_a_spoilt_key_is_nobodys_and_proves_nothing(tmp_path, key):
    """Absence of anybody is not proved by a file in which somebody has no key of their own."""
    found = read(tmp_path, f'{HEADER}\n1,a,active\n"{key}",b,active\n')
    assert (logins(found), found.complete) == ({"1": "a"}, False)
    assert found.unreadable[0].key is None
    assert found.unreadable[0].place == "people.csv, line 3"


@pytest.mark.parametrize("key", ["123457000000", "123456789012345000"])
def test_long_keys_that_a_spreadsheet_has_rounded_to_one_are_nobodys(tmp_path, key):
    """Two people became one number: neither of them is gone, and nobody else is because of it."""
    found = read(tmp_path, f"{HEADER}\n1,a,active\n{key},b,active\n{key},c,active\n")
    assert (logins(found), found.complete) == ({"1": "a"}, False)
    assert {row.key for row in found.unreadable} == {None}
    assert "rounded" in found.unreadable[0].reason
    assert "column as text" in found.unreadable[0].reason


@pytest.mark.parametrize("key", ["120000000000", "1200", "123456789010"])
def test_keys_that_end_in_zeros_are_somebodys(tmp_path, key):
    """Alone on its row a key is what it is; shared by two rows it is rounded only where digits were lost."""
    alone = read(tmp_path, f"{HEADER}\n{key},b,active\n")
    assert (logins(alone), alone.complete) == ({key: "b"}, True)
    twice = read(tmp_path, f"{HEADER}\n1,a,active\n{key},b,active\n{key},c,active\n")
    known = {row.key for row in twice.unreadable}
    assert known == ({None} if key == "120000000000" else {key})


def test_keys_that_only_look_like_numbers_stay(tmp_path):
    """Ids of letters and digits are nobody's long numbers."""
    found = read(tmp_path, f"{HEADER}\n12E4,a,active\n00123,b,active\nE+11,c,active\n1E5,d,active\n#7,e,active\n")
    assert list(found.users.index) == ["12E4", "00123", "E+11", "1E5", "#7"]
    assert found.complete


@pytest.mark.parametrize(
    "login", ["j\u00c3\u00b6rg@x", "M\u00c3\u00bcller", "Zo\u00c3\u00ab \u00e2\u20ac\u201c", "J\ufffdrg"]
)
def test_text_in_the_wrong_encoding_holds_its_row(tmp_path, login):
    """Nobody is renamed to it, and nobody is gone."""
    found = read(tmp_path, f"{HEADER}\n1,a,active\n2,{login},active\n")
    assert (logins(found), found.complete) == ({"1": "a"}, True)
    assert (found.unreadable[0].key, login in found.unreadable[0].reason) == ("2", False)


@pytest.mark.parametrize("text", ["SÃO PAULO", "Ångström", "Â", "naïve Ã", "Ærø", "IRMÃ\u00a0Ana", "Đặng", "ö\u00b6"])
def test_names_are_not_taken_for_a_wrong_encoding(text):
    """Letters that stand alone in names."""
    assert not is_misread(text)


def test_a_zero_byte_inside_refuses_one_row(tmp_path):
    """One row is one row; whoever it calls disabled is disabled."""
    found = read(tmp_path, f"{HEADER}\n1,a,active\n2,b\0c,active\n3,d\0e,left\n", enabled=ENABLED)
    assert logins(found) == {"1": "a"}
    assert [(row.key, row.place) for row in found.unreadable] == [
        ("2", "people.csv, line 3"),
        ("3", "people.csv, line 4"),
    ]
    assert found.disabled == {"3"}


# --- copies --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("second", ["2,b,active", "2,b ,active", "2\u00a0,b,active"])
def test_copies_that_are_alike_count_once(tmp_path, second):
    """With a word about it."""
    found = read(tmp_path, f"{HEADER},x\n1,a,active,\n2,b,active,7\n{second},8\n")
    assert (logins(found), found.unreadable, found.complete) == ({"1": "a", "2": "b"}, (), True)
    assert found.remarks == (
        "One row of people.csv is a copy of another one and counted once (first: people.csv, line 4).",
    )


@pytest.mark.parametrize("order", [1, -1])
@pytest.mark.parametrize(
    ("rows", "disabled", "aside"),
    [
        (["2,b,left", "2,c,left"], {"2"}, []),
        (["2,b,left", "2,c,left", "2,c,left"], {"2"}, []),
        (["2,b,left", "2,b,active"], set(), ["2"]),
        (["2,b,left", "2,b,"], set(), ["2"]),
        (["2,b,active", "2,c,active"], set(), ["2", "2"]),
        (["2,b,#N/A", "2,c,#N/A"], set(), ["2", "2"]),
        (["2,b,left", "2,b,left"], {"2"}, []),
    ],
)
def test_copies_that_agree_that_she_has_left(tmp_path, rows, disabled, aside, order):
    """Then she has, in whatever order they come; else nothing is known of her."""
    found = read(tmp_path, "\n".join([HEADER, "1,a,active", *rows[::order], ""]), enabled=ENABLED)
    assert found.disabled == disabled
    kept = found.set_aside.get(Kind.USER)
    assert ([] if kept is None else list(kept.index)) == aside


# --- another file than the export ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("<!DOCTYPE html><html><body>Sign in</body></html>", ["a web page", "<!DOCTYPE html>", "again"]),
        ('{"error": "report not ready"}', ["is JSON", "report not ready", "again"]),
        ("[]", ["is JSON"]),
        ("People of 1 November\n\nid,login,status\n1,a,active\n", ["line 3", "header: 3", "People of 1 November"]),
        ("employee,mail\n1,a\n", ["no column 'id'", "employee,mail"]),
        (b"PK\x03\x04rest", ["a workbook", "format: xlsx"]),
        (b"%PDF-1.7", ["a PDF"]),
    ],
)
def test_another_file_is_named_with_its_first_line_and_what_to_do(tmp_path, text, words):
    """Whoever is called at night reads what lies there instead of the export."""
    said = refused(tmp_path, text)
    assert "people.csv" in said
    assert [word for word in words if word not in said] == []


@pytest.mark.parametrize("sign", [";", "\t", "|"])
@pytest.mark.parametrize("mark", [False, True])
def test_separators_are_recognised(tmp_path, sign, mark):
    """As a spreadsheet of another country saves them; and it is said, so that a change can be seen."""
    text = f"{HEADER}\n1,a,active\n".replace(",", sign)
    found = read(tmp_path, f"sep={sign}\r\n{text}" if mark else text)
    assert logins(found) == {"1": "a"}
    assert "separated by" in found.system
    told = read(tmp_path, text, delimiter=sign)
    assert (logins(told), told.system) == ({"1": "a"}, "csv people.csv")


def test_lines_are_counted_from_the_top_of_the_file(tmp_path):
    """Also below a title or a line about the separator."""
    title = read(tmp_path, f"Title\n\n{HEADER}\n1,a,active\n,b,active\n", header=3)
    assert title.unreadable[0].place == "people.csv, line 5"
    mark = read(tmp_path, "sep=;\nid;login;status\n1;a;active\n;b;active\n1;c\n")
    assert [row.place for row in mark.unreadable] == ["people.csv, line 5", "people.csv, line 4"]


@pytest.mark.parametrize("end", ["\r", "\r\n", "\n"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_line_ends_and_encodings_of_other_systems(tmp_path, end, encoding):
    """Old Macs, Windows, exports in UTF-16."""
    text = end.join([HEADER, "1,jörg,active", "2,b,active", ""])
    assert logins(read(tmp_path, text.encode(encoding))) == {"1": "jörg", "2": "b"}


# --- workbooks -----------------------------------------------------------------------------------------------------


def workbook(path, rows, *, title="People", more=(), epoch=None):
    made = openpyxl.Workbook()
    if epoch is not None:
        made.epoch = epoch
    made.active.title = title
    for row in rows:
        made.active.append(row)
    for name in more:
        made.create_sheet(name)
    made.save(path)


@pytest.mark.parametrize("epoch", [None, openpyxl.utils.datetime.CALENDAR_MAC_1904])
def test_a_workbook_is_read_as_it_is_meant(tmp_path, epoch):
    """Numbers without .0, dates as ISO 8601 in both date systems, booleans, text that looks like a number."""
    rows = [
        ["id", "login", "status"],
        [100, "ann", date(2027, 12, 31)],
        ["00101", 12.5, datetime(2027, 12, 31, 17, 30)],  # noqa: DTZ001
        [123456789012, True, None],
        [None, None, None],
        [1234567890123456, "lost", "x"],
    ]
    workbook(tmp_path / "people.xlsx", rows, epoch=epoch)
    found = read(tmp_path, None, path="people.xlsx")
    assert found.users.fillna("").to_dict("index") == {
        "100": {"login": "ann", "status": "2027-12-31"},
        "00101": {"login": "12.5", "status": "2027-12-31T17:30:00"},
        "123456789012": {"login": "true", "status": ""},
    }
    assert [(row.key, row.place) for row in found.unreadable] == [(None, "people.xlsx, row 6")]


def test_sheet_and_header_row_are_chosen(tmp_path):
    """A title above, a footer below, a second sheet: each is named, with what to set."""
    rows = [["Staff"], ["id", "login", "status"], ["1", "a", "x"], ["Total", 1]]
    workbook(tmp_path / "people.xlsx", rows, more=["Notes"])
    assert "Set sheet" in refused(tmp_path, None, path="people.xlsx")
    assert "no sheet 'Peopel'" in refused(tmp_path, None, path="people.xlsx", sheet="Peopel")
    assert "header: 2" in refused(tmp_path, None, path="people.xlsx", sheet="People")
    found = read(tmp_path, None, path="people.xlsx", sheet="People", header=2, skip=["^Total"])
    assert (logins(found), found.complete) == ({"1": "a"}, True)


def test_what_is_no_workbook_says_so(tmp_path):
    """A page instead of the file."""
    assert "not a workbook" in refused(tmp_path, "<html>Sign in</html>", path="people.xlsx")
