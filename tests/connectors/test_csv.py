"""The csv connector: exact text, honest problems, and files in every state an export can be in."""

import csv
import gzip
import io
import json
import os
import random
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import fsspec
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from connectors.cells import is_misread
from connectors.contract import Form, Kind, Snapshot, Source, Wanted
from connectors.csv import CONNECTOR, delimited
from connectors.errors import SettingsError
from connectors.registry import find, open_source
from tests.connectors import nasty

ALL = ("name", "note", "status", "active", "userName", "givenName", "surname", "title", "phone")


def source(folder: Path, users: dict | None = None, **sections: dict) -> Source:
    # Cells exactly as they stand; what is dropped around values otherwise is tested in test_cells.
    given = {"users": {"path": "people.csv", "key": "id", "verbatim": True, **(users or {})}, **sections}
    return open_source("csv", CONNECTOR.source_settings.model_validate(given), folder=folder)


def read(folder: Path, users: dict | None = None, wanted: tuple = ALL, **sections: dict) -> Snapshot:
    groups = ("id", "name") if sections else None
    return source(folder, users, **sections).read(Wanted(users=wanted, groups=groups))


def put(folder: Path, text: str | bytes, name: str = "people.csv") -> Path:
    path = folder / name
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def lines_of(snapshot: Snapshot) -> list[tuple[str | None, str]]:
    return [(row.key, row.place) for row in snapshot.unreadable]


def nasty_csv(rows, **options) -> str:
    out = io.StringIO(newline="")
    writer = csv.writer(out, **options)
    writer.writerow(nasty.COLUMNS)
    writer.writerows([["" if cell is None else cell for cell in row] for row in rows])
    return out.getvalue()


def cells(frame: pd.DataFrame) -> list[tuple]:
    plain = frame.astype(object).where(frame.notna(), None)
    return [(key, *row) for key, row in zip(frame.index, plain.itertuples(index=False), strict=True)]


def is_exact(snapshot: Snapshot) -> None:
    assert cells(snapshot.users[list(nasty.COLUMNS[1:])]) == [tuple(row) for row in nasty.PEOPLE]
    assert all(dtype == "str" for dtype in snapshot.users.dtypes)
    assert snapshot.users.index.name == "key"
    assert snapshot.users.index.dtype == "str"


# Text


# With other line ends Python's writer leaves a carriage return inside a cell unquoted, which nobody could read back.
DIALECTS = [(csv.QUOTE_MINIMAL, "\r\n"), (csv.QUOTE_ALL, "\r\n"), (csv.QUOTE_ALL, "\n"), (csv.QUOTE_NONNUMERIC, "\n")]


@pytest.mark.parametrize(("quoting", "end"), DIALECTS)
def test_nasty_people_arrive_exactly(tmp_path, quoting, end):
    """Every nasty value arrives as it was written, whatever the quoting and the line ends."""
    put(tmp_path, nasty_csv(nasty.PEOPLE, quoting=quoting, lineterminator=end))
    snapshot = read(tmp_path)
    is_exact(snapshot)
    assert snapshot.complete
    assert snapshot.unreadable == ()


def test_nasty_people_arrive_exactly_the_slow_way(tmp_path):
    """The exact reader, taken when quotes are out of place, gives the same cells as the fast one."""
    put(tmp_path, nasty_csv(nasty.PEOPLE) + 'E-bad,"a"b,,,,\r\n')
    snapshot = read(tmp_path)
    is_exact(snapshot)
    assert not snapshot.complete


def test_repeated_and_null_keys_are_refused_beside_nasty_people(tmp_path):
    """Duplicate keys are refused row by row, null keys are nobody, and everybody else is untouched."""
    put(tmp_path, nasty_csv([*nasty.REPEATED, *nasty.PEOPLE, *nasty.WITHOUT_KEY]))
    snapshot = read(tmp_path)
    is_exact(snapshot)
    assert [row.key for row in snapshot.unreadable] == ["E-again", "E-again", None, None]
    assert not snapshot.complete


def test_words_for_nothing_stay_words(tmp_path):
    """00123, NA, None, null, nan and true are text, not numbers, nulls or booleans."""
    put(tmp_path, "id,name\n00123,NA\nNone,null\nNA,nan\n1.0,true\n")
    assert cells(read(tmp_path).users[["name"]]) == [("00123", "NA"), ("None", "null"), ("NA", "nan"), ("1.0", "true")]


@pytest.mark.parametrize("bad_row", ["", "x\n"], ids=["fast", "slow"])
def test_empty_is_null_unless_kept(tmp_path, bad_row):
    """An empty cell, quoted or not, is null; with keep_empty it is empty text; an empty key is missing all the same."""
    put(tmp_path, f'id,name,note\n1,,""\n{bad_row},x,y\n')
    assert read(tmp_path).users.isna().all(axis=None)
    kept = read(tmp_path, {"keep_empty": True})
    assert cells(kept.users[["name", "note"]]) == [("1", "", "")]
    assert kept.unreadable[-1].key is None


def test_column_names_are_exact(tmp_path):
    """Names keep blanks, case, dots and brackets; columns without a name are left out."""
    names = ['emails[type eq "work"].value', " Name", "name", "a.b"]
    out = io.StringIO()
    csv.writer(out).writerows([["id", *names, "", ""], ["1", "w", "x", "y", "z", "", ""]])
    put(tmp_path, out.getvalue())
    assert cells(read(tmp_path, wanted=tuple(names)).users) == [("1", "w", "x", "y", "z")]
    assert list(source(tmp_path).attributes(Kind.USER)) == ["id", *names]


text_cells = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0\ufffd"), max_size=8).filter(
    lambda text: not is_misread(text)
) | st.text('a,;"\n\r\t\\ ', max_size=6)


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rows=st.lists(st.tuples(text_cells, text_cells), max_size=12),
    delimiter=st.sampled_from(",;\t|"),
    dialect=st.sampled_from(DIALECTS),
    spoiled=st.booleans(),
    encoding=st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]),
)
def test_whatever_python_writes_is_read_back(tmp_path, rows, delimiter, dialect, spoiled, encoding):
    """Round trip of any text in any dialect, by the fast reader and, in a spoiled file, by the exact one."""
    out = io.StringIO(newline="")
    quoting, end = dialect
    writer = csv.writer(out, delimiter=delimiter, quoting=quoting, lineterminator=end)
    writer.writerow(["id", "name", "note"])
    writer.writerows([f"k{number}", *row] for number, row in enumerate(rows))
    if spoiled:
        out.write(f'"a"b{delimiter}{delimiter}{end}')
    put(tmp_path, out.getvalue().encode(encoding))
    snapshot = read(tmp_path, {"delimiter": delimiter, "verbatim": True})
    assert cells(snapshot.users[["name", "note"]]) == [
        (f"k{number}", name or None, note or None) for number, (name, note) in enumerate(rows)
    ]
    assert snapshot.complete is not spoiled


def exact_rows(text: str) -> tuple[list, int]:
    table = delimited._Table("people.csv", bytearray(text.encode()), ",", 0, "", ())
    found = [
        row for row in delimited._exact_rows(table) if isinstance(row.cells, str) or not table.is_nobody(row.cells)
    ]
    found = found[1:]
    good = [tuple(row.cells) for row in found if not isinstance(row.cells, str) and len(row.cells) == 2]
    return good, len(found) - len(good)


@settings(
    max_examples=200 if os.environ.get("PROVISOR_LONG") else 50,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(st.text('ab,"\n\r', max_size=30))
@example('1,"a\n2,"b",c\n')
@example('x,5" pipe\n')
@example('1,"abc')
@example(',"\r"')
def test_fast_and_exact_reader_agree_on_any_bytes(tmp_path, body):
    """For any text at all the connector reports exactly the rows that the exact reader cannot take apart."""
    text = "key,value\n" + body
    put(tmp_path, text)
    good, bad = exact_rows(text)
    rows = [row for row in good if row[0]]
    keys = [key for key, _ in rows]
    snapshot = read(tmp_path, {"key": "key"}, wanted=("value",))
    assert cells(snapshot.users) == [(key, value or None) for key, value in rows if keys.count(key) == 1]
    assert len(snapshot.unreadable) == bad + len(good) - len(rows) + sum(keys.count(key) > 1 for key in keys)


# Problems with rows


def test_ragged_rows_are_told_with_their_line(tmp_path):
    """Too few and too many cells: each row told with its physical line, the others read, nobody's absence proved."""
    put(tmp_path, 'id,name,note\n1,"a\nb",x\n\n2,only\n3,"c\r\nd\r\n",x\n4,a,b,c\n5,e,f\n')
    snapshot = read(tmp_path)
    assert list(snapshot.users.index) == ["1", "3", "5"]
    assert lines_of(snapshot) == [(None, "people.csv, line 5"), (None, "people.csv, line 9")]
    assert [row.reason for row in snapshot.unreadable] == [
        "The row has 2 cells where the header has 3.",
        "The row has 4 cells where the header has 3.",
    ]
    assert "2 rows of people.csv" in snapshot.incomplete[0]


def test_a_last_line_cut_in_the_middle_is_ragged(tmp_path):
    """A truncated export shows in its last line."""
    put(tmp_path, "id,name,note\n1,a,b\n2,c")
    snapshot = read(tmp_path)
    assert lines_of(snapshot) == [(None, "people.csv, line 3")]
    assert not snapshot.complete


def test_no_newline_at_the_end_is_fine(tmp_path):
    """Many writers leave out the last line end."""
    put(tmp_path, "id,name\n1,a\n2,b")
    snapshot = read(tmp_path)
    assert list(snapshot.users.index) == ["1", "2"]
    assert snapshot.complete


@pytest.mark.parametrize("middle", ["", '2,"x\n\ny"\n\n'], ids=["plain", "quoted newlines"])
def test_duplicate_keys_are_told_row_by_row(tmp_path, middle):
    """Every row of a key that is there twice is refused with its line; the key is known, so nothing is incomplete."""
    put(tmp_path, f"id,name\n7,a\n{middle}8,b\n7,c\n7,d\n9,e\n")
    snapshot = read(tmp_path)
    shift = 4 if middle else 0
    assert lines_of(snapshot) == [
        ("7", "people.csv, line 2"),
        ("7", f"people.csv, line {4 + shift}"),
        ("7", f"people.csv, line {5 + shift}"),
    ]
    assert snapshot.unreadable[0].reason.startswith("3 rows have this id")
    assert "7" not in snapshot.users.index
    assert snapshot.complete


def test_lines_are_exact_where_line_ends_are_mixed(tmp_path):
    """A line end inside a cell and a row that ends with a lone carriage return do not cancel out."""
    put(tmp_path, 'id,name\n1,"a\nb"\r7,x\n7,y\n')
    assert lines_of(read(tmp_path)) == [("7", "people.csv, line 4"), ("7", "people.csv, line 5")]


def test_case_twins_are_two_people(tmp_path):
    """Keys are compared exactly."""
    put(tmp_path, "id,name\nabc,a\nABC,b\n")
    assert list(read(tmp_path).users.index) == ["abc", "ABC"]


def test_rows_without_key_make_the_snapshot_incomplete(tmp_path):
    """Nobody knows whose row it is, so nobody's absence is proved; two such rows are not duplicates."""
    put(tmp_path, 'id,name\n1,a\n,b\n"",c\n')
    snapshot = read(tmp_path)
    assert lines_of(snapshot) == [(None, "people.csv, line 3"), (None, "people.csv, line 4")]
    assert "no id" in snapshot.unreadable[0].reason
    assert snapshot.incomplete == (
        "2 rows of people.csv could not be attributed to anybody (first: people.csv, line 3). Correct the export; if "
        "such rows are nobody's, like a line of totals, name them in skip.",
    )


def test_a_quote_that_never_closes(tmp_path):
    """A file that ends inside quotes is cut off: what came before is used, the line is told, nothing is proved."""
    put(tmp_path, 'id,name\n1,a\n2,"b\n3,c\n4,d\n')
    snapshot = read(tmp_path)
    assert list(snapshot.users.index) == ["1"]
    assert lines_of(snapshot) == [(None, "people.csv, lines 3 to 5")]
    assert any("ends inside a quoted cell that begins on line 3" in sentence for sentence in snapshot.incomplete)


def test_a_quote_that_never_closes_on_the_last_line(tmp_path):
    """The same when nothing but the last cell is missing its end."""
    put(tmp_path, 'id,name\n1,a\n2,"b')
    snapshot = read(tmp_path)
    assert lines_of(snapshot) == [(None, "people.csv, line 3")]
    assert not snapshot.complete


def test_a_stray_quote_swallows_no_more_than_it_must(tmp_path):
    """A missing quote swallows rows until the next one; they are told together and reading goes on after them."""
    put(tmp_path, 'id,name\n1,"a\n2,"b",x\n3,c\n')
    snapshot = read(tmp_path)
    assert list(snapshot.users.index) == ["3"]
    assert lines_of(snapshot) == [(None, "people.csv, lines 2 to 3")]
    assert "quote" in snapshot.unreadable[0].reason
    assert not snapshot.complete


def test_inches_in_an_unquoted_cell_are_text(tmp_path):
    """A quote inside an unquoted cell means nothing."""
    put(tmp_path, 'id,name\n1,5" pipe\n2,"5"" pipe"\n')
    assert cells(read(tmp_path).users) == [("1", '5" pipe'), ("2", '5" pipe')]


def test_a_cell_longer_than_a_block(tmp_path):
    """A cell of megabytes (a photograph) is read."""
    photo = "x" * (5 << 20)
    put(tmp_path, f"id,name\n1,{photo}\n2,b\n")
    assert list(read(tmp_path).users["name"].str.len()) == [5 << 20, 1]


def test_lines_are_exact_in_a_long_file(tmp_path):
    """Across blocks and chunks, the line told is the line in the file."""
    dice = random.Random(5)
    out, line, wanted = ["id,name\n"], 2, []
    for number in range(30_000):
        row = dice.choice([f"{number},b\n", f'{number},"b\n\r\nc"\n', f'"{number}","x""\n"\r\n'])
        if number % 9_999 == 7:
            row = f"{number}\n"
            wanted.append((None, f"people.csv, line {line}"))
        out.append(row)
        line += row.count("\n")
    put(tmp_path, "".join(out))
    assert lines_of(read(tmp_path)) == wanted


# Enabled


@pytest.mark.parametrize("word", ["true", "TRUE", "1", "yes", "Y", "active", "Enabled", " true "])
def test_words_that_mean_active(tmp_path, word):
    """Words for true mean active, in any case."""
    put(tmp_path, f"id,active\n1,{word}\n")
    assert read(tmp_path, {"enabled": "active"}).disabled == frozenset()


@pytest.mark.parametrize("word", ["false", "False", "0", "no", "N", "inactive", "DISABLED"])
def test_words_that_mean_disabled(tmp_path, word):
    """Their opposites mean disabled; the person stays in the frame."""
    put(tmp_path, f"id,active\n1,{word}\n")
    snapshot = read(tmp_path, {"enabled": "active"})
    assert snapshot.disabled == {"1"}
    assert list(snapshot.users.index) == ["1"]


@pytest.mark.parametrize("word", ["maybe", "", "2", "on leave"])
def test_a_word_nobody_knows_holds_the_person(tmp_path, word):
    """An unknown word, or none at all, must neither disable a person nor keep one active."""
    put(tmp_path, f"id,active\n1,{word}\n2,no\n")
    snapshot = read(tmp_path, {"enabled": "active"}, wanted=("id",))
    assert lines_of(snapshot) == [("1", "people.csv, line 2")]
    assert "active is" in snapshot.unreadable[0].reason
    assert snapshot.disabled == {"2"}
    assert snapshot.complete


def test_values_that_mean_active(tmp_path):
    """With a list of values everything else means disabled, except an empty cell, which means nothing."""
    put(tmp_path, "id,status\n1,active\n2,LEAVE\n3,terminated\n4,\n5,  \n")
    snapshot = read(tmp_path, {"enabled": {"column": "status", "values": ["active", "leave"]}}, wanted=("name",))
    assert snapshot.disabled == {"3"}
    assert lines_of(snapshot) == [("4", "people.csv, line 5"), ("5", "people.csv, line 6")]
    assert list(snapshot.users.columns) == []


def test_values_may_be_yaml_booleans_and_numbers(tmp_path):
    """YAML reads true and 1 as other things than words; they are compared as text."""
    put(tmp_path, "id,status\n1,true\n2,1\n3,false\n")
    assert read(tmp_path, {"enabled": {"column": "status", "values": [True, 1]}}).disabled == {"3"}


def test_groups_cannot_be_disabled():
    """Only people are switched off."""
    with pytest.raises(ValidationError):
        source(Path(), groups={"path": "groups.csv", "key": "id", "enabled": "active"})


# Problems with whole files


def refused(folder: Path, users: dict | None = None, **sections: dict) -> str:
    with pytest.raises(SettingsError) as caught:
        read(folder, users, **sections)
    return str(caught.value)


def test_a_missing_file_names_the_nearest(tmp_path):
    """The sentence names what is missing and what was probably meant."""
    put(tmp_path, "id\n1\n", "peeple.csv")
    assert refused(tmp_path) == "The file people.csv does not exist. Did you mean peeple.csv?"
    assert "no folder nowhere" in refused(tmp_path, {"path": "nowhere/people.csv"})


def test_a_folder_is_not_a_file(tmp_path):
    """A path to a folder is refused with a sentence."""
    (tmp_path / "people.csv").mkdir()
    assert "is a folder" in refused(tmp_path)


@pytest.mark.parametrize("name", ["people.csv", "people.jsonl", "people.parquet", "people.csv.gz"])
def test_an_empty_file_is_an_export_that_failed(tmp_path, name):
    """Zero bytes are no empty company."""
    put(tmp_path, gzip.compress(b"") if name.endswith(".gz") else b"", name)
    assert refused(tmp_path, {"path": name}) == f"The file {name} is empty. Was the export finished?"


@pytest.mark.parametrize("text", ["\n\n", "\ufeff", "\ufeff\r\n"])
def test_a_file_without_header(tmp_path, text):
    """Blank lines are no header."""
    put(tmp_path, text)
    assert "has no header" in refused(tmp_path)


def test_a_header_without_rows_is_an_empty_company(tmp_path):
    """A header alone is a complete file with nobody in it; guards judge what follows."""
    put(tmp_path, "id,name\n")
    snapshot = read(tmp_path)
    assert len(snapshot.users) == 0
    assert snapshot.users.index.name == "key"
    assert snapshot.users.dtypes["name"] == "str"
    assert snapshot.complete


def test_a_header_without_the_key(tmp_path):
    """The nearest column is named; case and blanks are a near miss."""
    put(tmp_path, "ID ,name\n1,a\n")
    assert refused(tmp_path) == "people.csv has no column 'id'. Did you mean 'ID '? Its first line: 'ID ,name'."
    put(tmp_path, "x,y\n1,a\n")
    assert refused(tmp_path) == "people.csv has no column 'id'. Its columns: 'x', 'y'. Its first line: 'x,y'."


def test_a_header_with_a_name_twice(tmp_path):
    """Nobody can say which column is meant."""
    put(tmp_path, "id,name,name\n1,a,b\n")
    assert "two columns named 'name'" in refused(tmp_path)


def test_a_header_with_a_quote_that_never_closes(tmp_path):
    """A broken header is a broken file."""
    put(tmp_path, 'id,"name\n1,a\n')
    assert "header of people.csv" in refused(tmp_path)


def test_missing_columns_of_enabled_and_members(tmp_path):
    """Every column that the settings name must be there."""
    put(tmp_path, "id,state\n1,a\n")
    put(tmp_path, "id\ng\n", "groups.csv")
    put(tmp_path, "group,user\ng,1\n", "members.csv")
    assert "Did you mean 'state'" in refused(tmp_path, {"enabled": "stat"})
    groups = {"path": "groups.csv", "key": "id"}
    members = {"path": "members.csv", "group": "group", "member": "users"}
    assert refused(tmp_path, groups=groups, members=members).startswith(
        "members.csv has no column 'users'. Did you mean 'user'"
    )


# Encodings


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
@pytest.mark.parametrize("packed", [False, True])
def test_encodings_with_a_mark_need_no_setting(tmp_path, encoding, packed):
    """The byte order mark says the encoding, and is no part of the first column's name."""
    data = "id,name\n1,Zoë 🚀\n".encode(encoding)
    put(tmp_path, gzip.compress(data) if packed else data)
    assert cells(read(tmp_path).users) == [("1", "Zoë 🚀")]


@pytest.mark.parametrize(
    ("encoding", "setting"),
    [("utf-16-be", "utf-16-be"), ("cp1252", "cp1252"), ("utf-8-sig", "utf-8"), ("utf-8-sig", "utf-8-sig")],
)
def test_declared_encodings(tmp_path, encoding, setting):
    """A declared encoding is used; a mark in front of it is skipped."""
    text = "id,name\n1,Zoë €\n"
    put(tmp_path, text.encode(encoding))
    assert cells(read(tmp_path, {"encoding": setting}).users) == [("1", "Zoë €")]


@pytest.mark.parametrize("mark", [b"\xfe\xff", b"\xff\xfe"])
def test_utf_16_in_both_orders(tmp_path, mark):
    """Big and little endian."""
    order = "be" if mark == b"\xfe\xff" else "le"
    put(tmp_path, mark + "id,name\n1,ë\n".encode(f"utf-16-{order}"))
    assert cells(read(tmp_path).users) == [("1", "ë")]
    put(tmp_path, mark + "id,name\n1,ë\n".encode(f"utf-16-{order}"))
    assert cells(read(tmp_path, {"encoding": f"utf-16-{order}"}).users) == [("1", "ë")]


def test_a_wrong_encoding_names_byte_and_line(tmp_path):
    """A person can find the byte; it does not matter whether its column is wanted."""
    put(tmp_path, "id,name\n1,a\n2,Zoë\n3,b\n".encode("cp1252"))
    with pytest.raises(SettingsError, match=r"people.csv is not UTF-8: byte 0xEB at position 16 \(line 3\)"):
        read(tmp_path, wanted=("id",))
    put(tmp_path, b"\xef\xbb\xbfid,name\n1,\xeb\n")
    with pytest.raises(SettingsError, match=r"position 13 \(line 2\)"):
        read(tmp_path)
    put(tmp_path, b"id,name\n1,a\n2,\x81\n")
    with pytest.raises(SettingsError, match=r"not CP1252: byte 0x81 at position 14 \(line 3\).*Correct the encoding"):
        read(tmp_path, {"encoding": "cp1252"})


def test_utf_16_without_a_mark_is_recognised(tmp_path):
    """Zero bytes are no text; the sentence says what to set."""
    put(tmp_path, "id,name\n1,a\n".encode("utf-16-le"))
    assert "utf-16-le" in refused(tmp_path)
    assert len(read(tmp_path, {"encoding": "utf-16-le"}).users) == 1


def test_unknown_encodings_are_refused_in_the_job_file():
    """A typing error in the encoding is found before anything is read."""
    with pytest.raises(ValidationError, match="not a text encoding"):
        source(Path(), {"encoding": "utf-9"})


# Files that are cut off


def test_a_file_that_ends_inside_a_character(tmp_path):
    """The export was cut off: whole lines are used, the snapshot is incomplete."""
    put(tmp_path, "id,name\n1,a\n2,Zoë".encode()[:-1])
    snapshot = read(tmp_path)
    assert list(snapshot.users.index) == ["1"]
    assert "middle of a character" in snapshot.incomplete[0]


def test_a_gzip_that_ends_too_early(tmp_path):
    """What could be unpacked is used up to the last whole line; absence proves nothing."""
    rows = "".join(f"{n},{random.Random(n).random()}\n" for n in range(5_000))
    packed = gzip.compress(b"id,name\n" + rows.encode())
    put(tmp_path, packed[: len(packed) // 2], "people.csv.gz")
    snapshot = read(tmp_path, {"path": "people.csv.gz"})
    assert 1_000 < len(snapshot.users) < 4_000
    assert all(len(value) > 10 for value in snapshot.users["name"].iloc[-2:])
    assert "gzip data end too early" in snapshot.incomplete[0]
    assert f"after line {len(snapshot.users) + 1:,}" in snapshot.incomplete[0]


def test_a_damaged_gzip_is_incomplete(tmp_path):
    """A wrong checksum is not a provably complete file."""
    packed = bytearray(gzip.compress(b"id,name\n1,a\n2,b\n"))
    packed[-6] ^= 1
    put(tmp_path, bytes(packed))
    assert not read(tmp_path).complete


def test_a_gzip_of_which_nothing_can_be_read(tmp_path):
    """Nothing at all is an error, not an empty company."""
    put(tmp_path, gzip.compress(b"id,name\n1,a\n")[:12])
    assert "gzip data end too early" in refused(tmp_path)


def test_gzip_is_recognised_by_content_and_in_several_members(tmp_path):
    """Names lie, and tools append to gzip files."""
    put(tmp_path, gzip.compress(b"id,name\n1,a\n") + gzip.compress(b"2,b\n") + b"\0\0")
    snapshot = read(tmp_path)
    assert list(snapshot.users.index) == ["1", "2"]
    assert snapshot.complete


# Places


def test_addresses(tmp_path):
    """Any fsspec address works, here memory and file."""
    with fsspec.open("memory://exports/people.csv", "wb") as file:
        file.write(b"id,name\n1,a\n")
    assert cells(read(tmp_path, {"path": "memory://exports/people.csv"}).users) == [("1", "a")]
    assert "Did you mean people.csv?" in refused(tmp_path, {"path": "memory://exports/poeple.csv"})
    path = put(tmp_path, "id,name\n1,a\n", "there.csv")
    assert len(read(tmp_path, {"path": path.as_uri()}).users) == 1


def test_addresses_without_their_package(tmp_path):
    """What is missing is said in a sentence."""
    assert "needs a package that is not installed" in refused(tmp_path, {"path": "s3://bucket/people.csv"})
    assert "not an address" in refused(tmp_path, {"path": "nowhere://bucket/people.csv"})


def test_references_in_paths_are_looked_up_and_not_shown(tmp_path, monkeypatch):
    """A path may hold references; messages show the reference."""
    monkeypatch.setenv("EXPORTS", "march")
    (tmp_path / "march").mkdir()
    assert "march/" not in refused(tmp_path, {"path": "${env:EXPORTS}/people.csv"})
    put(tmp_path / "march", "id,name\n1,a\n")
    assert len(read(tmp_path, {"path": "${env:EXPORTS}/people.csv"}).users) == 1


def test_credentials_in_an_address_are_not_shown(tmp_path):
    """Nothing before the @ of an address is told."""
    text = refused(tmp_path, {"path": "nowhere://hr:hidden-word@host/people.csv"})
    assert "hidden-word" not in text


# Settings


def test_formats_by_name_and_by_setting(tmp_path):
    """The ending tells the format, the setting wins, and a name that tells nothing is refused at once."""
    put(tmp_path, "id\tname\n1\ta,b\n", "people.tsv")
    put(tmp_path, "id\tname\n1\ta,b\n", "people.txt")
    assert cells(read(tmp_path, {"path": "people.tsv"}).users) == [("1", "a,b")]
    assert cells(read(tmp_path, {"path": "people.txt", "format": "tsv"}).users) == [("1", "a,b")]
    assert cells(read(tmp_path, {"path": "people.txt", "format": "csv", "delimiter": "\\t"}).users) == [("1", "a,b")]
    with pytest.raises(ValidationError, match="add format"):
        source(tmp_path, {"path": "people.txt"})


@pytest.mark.parametrize("delimiter", ["", ",,", '"', "\n", "§"])
def test_impossible_delimiters(delimiter):
    """One ASCII character that is neither quote nor line end."""
    with pytest.raises(ValidationError, match="one ASCII character"):
        source(Path(), {"delimiter": delimiter})


def test_members_need_groups():
    """Memberships of nothing are a mistake in the job."""
    with pytest.raises(ValidationError, match="without groups"):
        source(Path(), members={"path": "members.csv", "group": "g", "member": "m"})


# Snapshot


def test_only_wanted_columns_that_exist_in_the_order_wanted(tmp_path):
    """Unknown wanted columns are left to the mapping check; the key is a column only if wanted."""
    put(tmp_path, "id,a,b,c\n1,x,y,z\n")
    assert list(read(tmp_path, wanted=("c", "nothing", "a")).users.columns) == ["c", "a"]
    assert cells(read(tmp_path, wanted=("id", "b")).users) == [("1", "1", "y")]


def test_a_whole_snapshot(tmp_path):
    """Users, groups and edges with what else a snapshot says."""
    put(tmp_path, "id,name\n1,a\n2,b\n")
    put(tmp_path, "id,name\ng,Group\n", "groups.csv")
    put(tmp_path, "group,user\ng,1\ng,2\ng,1\ng,h\n,1\nh,\n", "members.csv")
    told: list[int] = []
    src = source(
        tmp_path,
        groups={"path": "groups.csv", "key": "id"},
        members={"path": "members.csv", "group": "group", "member": "user"},
    )
    snapshot = src.read(Wanted(users=("name",), groups=("name",)), since="whatever", progress=told.append)
    assert cells(snapshot.groups) == [("g", "Group")]
    assert snapshot.members.to_dict("list") == {"group": ["g", "g", "g"], "member": ["1", "2", "h"]}
    assert [(row.kind, row.key, row.place) for row in snapshot.unreadable] == [
        (Kind.GROUP, None, "members.csv, line 6"),
        (Kind.GROUP, None, "members.csv, line 7"),
    ]
    assert "2 rows of members.csv" in snapshot.incomplete[0]
    assert snapshot.system == "csv people.csv, groups.csv"
    assert snapshot.requests == 3
    assert snapshot.watermark is None
    assert abs((datetime.now(UTC) - snapshot.read_at).total_seconds()) < 60
    assert told[-1] == 3
    assert told == sorted(told)
    src.close()
    src.close()


def test_no_groups_unless_wanted(tmp_path):
    """Groups None means neither groups nor members are read."""
    put(tmp_path, "id,name\n1,a\n")
    src = source(tmp_path, groups={"path": "missing.csv", "key": "id"})
    snapshot = src.read(Wanted(users=("name",)))
    assert snapshot.requests == 1
    assert snapshot.groups.empty
    assert list(snapshot.members.columns) == ["group", "member"]


def test_check_reads_headers_only(tmp_path):
    """The check proves files, headers and columns, and says what it found."""
    put(tmp_path, "id,name\n" + "1,a\n" * 10)
    put(tmp_path, "key\n", "groups.csv")
    assert source(tmp_path).check() == "The files can be read: people.csv (2 columns)."
    with pytest.raises(SettingsError, match=r"groups.csv has no column 'id'"):
        source(tmp_path, groups={"path": "groups.csv", "key": "id"}).check()


def test_attributes_read_the_head_only(tmp_path):
    """Damage far down in a file does not keep anybody from seeing its columns."""
    put(tmp_path, b"id,name\n" + b"1,abcdefgh\n" * 600_000 + b"\xff\xff")
    src = source(tmp_path)
    assert list(src.attributes(Kind.USER)) == ["id", "name"]
    assert src.attributes(Kind.GROUP) == {}


def test_it_is_a_source_by_the_registry():
    """The registry finds it, and it is what the contract asks for."""
    assert find("csv") is CONNECTOR
    assert isinstance(source(Path()), Source)


# JSON Lines


def test_json_lines(tmp_path):
    """Booleans and lists stay what they are; numbers and everything else become text; nesting becomes dots."""
    entries = [
        {
            "id": 123,
            "active": True,
            "n": 1.5,
            "big": 12345678901234567890123,
            "name": {"given": "Zoë", "x": {"y": "z"}},
        },
        {"id": "00123", "active": None, "n": 7.0, "list": ["a", 1], "name": {"given": ""}},
        {"id": "x", "active": False, "n": "NA", "list": "one", "mails": [{"value": "a@b", "primary": True}]},
    ]
    put(tmp_path, "\n".join(json.dumps(entry) for entry in entries) + "\n\n", "people.jsonl")
    wanted = ("active", "n", "big", "name.given", "name.x.y", "list", "mails", "nothing")
    users = read(tmp_path, {"path": "people.jsonl"}, wanted=wanted).users
    assert list(users.index) == ["123", "00123", "x"]
    assert users["active"].dtype == "boolean"
    assert users["active"].to_list() == [True, pd.NA, False]
    assert users["n"].to_list() == ["1.5", "7", "NA"]
    assert users["big"].iloc[0] == "12345678901234567890123"
    assert users["name.given"].isna().to_list() == [False, True, True]
    assert users["name.x.y"].iloc[0] == "z"
    assert users["list"].to_list() == [None, ["a", "1"], ["one"]]
    assert users["mails"].iloc[2] == [{"value": "a@b", "primary": True}]
    assert list(users.columns) == list(wanted[:-1])


def test_json_lines_of_nasty_people(tmp_path):
    """The nasty people again."""
    lines = [
        json.dumps(dict(zip(nasty.COLUMNS, row, strict=True)), ensure_ascii=n % 2 == 0)
        for n, row in enumerate(nasty.PEOPLE)
    ]
    put(tmp_path, gzip.compress("\r\n".join(lines).encode()), "people.ndjson.gz")
    is_exact(read(tmp_path, {"path": "people.ndjson.gz"}))


def test_json_lines_that_are_none(tmp_path):
    """A broken line is told with its number and leaves the others alone, but nothing is proved any more."""
    lines = [
        '{"id": "1"}',
        '{"id": "2"',
        "[1]",
        '{"id": "\\ud800"}',
        "",
        '{"id": NaN}',
        '{"x": 1}',
        '{"id": "3"}',
        '{"id": "3"}',
    ]
    put(tmp_path, "\n".join(lines), "people.jsonl")
    snapshot = read(tmp_path, {"path": "people.jsonl"})
    assert list(snapshot.users.index) == ["1", "3"]
    assert [place.rpartition(" ")[2] for _, place in lines_of(snapshot)] == ["2", "3", "4", "6"]
    assert "copy of another one" in snapshot.remarks[0]
    assert not snapshot.complete


def test_json_lines_whole_file_problems(tmp_path):
    """One array, or no object at all, is another format; a key that no line has is a wrong setting."""
    put(tmp_path, '[{"id": 1}]', "people.jsonl")
    assert "one JSON array" in refused(tmp_path, {"path": "people.jsonl"})
    put(tmp_path, "id,name\n1,a\n", "people.jsonl")
    assert "No line of people.jsonl" in refused(tmp_path, {"path": "people.jsonl"})
    put(tmp_path, '{"Id": 1}', "people.jsonl")
    assert "Did you mean 'Id'" in refused(tmp_path, {"path": "people.jsonl"})
    put(tmp_path, '{"id": [1]}', "people.jsonl")
    assert "holds lists" in refused(tmp_path, {"path": "people.jsonl"})


def test_json_lines_attributes(tmp_path):
    """Types are guessed from the first lines."""
    put(tmp_path, '{"id": "1", "on": null}\n{"on": true, "n": 1, "l": ["a"], "m": [{"v": 1}]}\n', "people.jsonl")
    found = source(tmp_path, {"path": "people.jsonl"}).attributes(Kind.USER)
    assert {name: (info.form, info.several) for name, info in found.items()} == {
        "id": (Form.TEXT, False),
        "on": (Form.BOOLEAN, False),
        "n": (Form.INTEGER, False),
        "l": (Form.TEXT, True),
        "m": (Form.STRUCTURE, True),
    }


def test_booleans_as_the_enabled_column(tmp_path):
    """A real boolean says it best; null says nothing."""
    put(tmp_path, '{"id":"1","on":true}\n{"id":"2","on":false}\n{"id":"3","on":null}\n', "people.jsonl")
    snapshot = read(tmp_path, {"path": "people.jsonl", "enabled": "on"})
    assert snapshot.disabled == {"2"}
    assert lines_of(snapshot) == [("3", "people.jsonl, line 3")]


# Parquet


def test_parquet(tmp_path):
    """Types come from the file: whole numbers plain even where pandas made them floats, moments in ISO 8601."""
    moment = datetime(2024, 5, 1, 12, 30, 0, 250_000, tzinfo=UTC)
    table = pa.table(
        {
            "id": pa.array([1, 2], pa.int64()),
            "float": pa.array([123.0, 1.5]),
            "large": pa.array([1e20, None]),
            "on": pa.array([True, None]),
            "cents": pa.array([Decimal("1.50"), None], pa.decimal128(10, 2)),
            "day": pa.array([date(2024, 1, 31), None]),
            "moment": pa.array([moment, None], pa.timestamp("us", tz="Europe/Berlin")),
            "local": pa.array([date(2024, 5, 1), None]).cast(pa.timestamp("ns")),
            "list": pa.array([["a", "b"], None]),
            "name": pa.array([{"given": "Zoë", "n": 1}, None]),
            "category": pa.array(["x", ""]).dictionary_encode(),
            "bytes": pa.array([b"\x00\xff", None]),
            "nothing": pa.nulls(2),
        }
    )
    pq.write_table(table, tmp_path / "people.parquet")
    wanted = (*[n for n in table.column_names if n not in ("id", "name")], "name.given", "name.n")
    users = read(tmp_path, {"path": "people.parquet"}, wanted=wanted).users
    assert list(users.index) == ["1", "2"]
    first = users.iloc[0]
    assert users["on"].to_list() == [True, pd.NA]
    assert users["on"].dtype == "boolean"
    assert first["list"] == ["a", "b"]
    assert users["list"].iloc[1] is None
    texts = first.drop(["on", "list"]).to_dict()
    assert pd.isna(texts.pop("nothing"))
    assert texts == {
        "float": "123",
        "large": "100000000000000000000",
        "cents": "1.50",
        "day": "2024-01-31",
        "moment": "2024-05-01T12:30:00.25Z",
        "local": "2024-05-01T00:00:00",
        "category": "x",
        "bytes": "AP8=",
        "name.given": "Zoë",
        "name.n": "1",
    }
    assert users["float"].iloc[1] == "1.5"
    assert users.iloc[1].drop("float").isna().all()
    assert "name.given" in source(tmp_path, {"path": "people.parquet"}).attributes(Kind.USER)
    assert source(tmp_path, {"path": "people.parquet"}).attributes(Kind.USER)["list"].several


def test_parquet_of_nasty_people(tmp_path):
    """The nasty people again; the place of a bad row is its number."""
    rows = [*nasty.PEOPLE, *nasty.REPEATED, *nasty.WITHOUT_KEY]
    columns = dict(zip(nasty.COLUMNS, zip(*rows, strict=True), strict=True))
    pq.write_table(pa.table(columns), tmp_path / "people.parquet")
    snapshot = read(tmp_path, {"path": "people.parquet"})
    is_exact(snapshot)
    count = len(nasty.PEOPLE)
    assert lines_of(snapshot) == [
        ("E-again", f"people.parquet, row {count + 1}"),
        ("E-again", f"people.parquet, row {count + 2}"),
        (None, f"people.parquet, row {count + 3}"),
        (None, f"people.parquet, row {count + 4}"),
    ]


def test_parquet_that_is_none(tmp_path):
    """A truncated Parquet file has no footer: nothing can be read."""
    pq.write_table(pa.table({"id": ["1"] * 100}), tmp_path / "people.parquet")
    whole = (tmp_path / "people.parquet").read_bytes()
    for data in (whole[: len(whole) // 2], b"id,name\n1,a\n"):
        put(tmp_path, data, "people.parquet")
        assert "not a Parquet file, or is cut off" in refused(tmp_path, {"path": "people.parquet"})
