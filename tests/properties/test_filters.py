"""Any filter on any cell is decided by the written table, and by nothing else."""

import os
from datetime import UTC, datetime

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.contract import Kind, Snapshot, no_entries, no_members
from tasks.cells import QUESTION_OF, VERDICTS, CellKind, Question, Ruling, kind_of, moments_in, numbers_in
from tasks.job import EntryRules, Operator
from tasks.job.values import moment_of
from tasks.scope import select

NOW = datetime(2026, 3, 15, 12, tzinfo=UTC)

EXAMPLES = {
    CellKind.NOTHING: [None, ""],
    CellKind.BIT: ["0", "1", "1.0", "0.00", " 1"],
    CellKind.EIGHT_DIGITS: ["20271231", "99991231", "20200229"],
    CellKind.DAY_NUMBER: ["46752", "10000", "99999", "46752 "],
    CellKind.WHOLE: ["40", "-5", "+7", "007", "20271340", "9223372036854775808", "132537600000000000"],
    CellKind.DECIMAL: ["37.5", "37,5", "10.50", "-0.1", "1.234,5", "1,234.5", "1\u00a0234,5", ".5", "1,234,567"],
    CellKind.UNSURE_NUMBER: ["1,234", "20,000", "-1,000"],
    CellKind.DATE: ["2027-12-31", "31.12.2027", "12/31/2027", "31/12/2027", "2027-12-31T17:00:00Z", "1 May 2027"],
    CellKind.UNSURE_DATE: ["05/12/2027", "01/04/2026", "4-1-2026", "31.12.27", "12/31/99"],
    CellKind.WORD: ["true", "No", "WAHR", "nein", " y"],
    CellKind.NO_VALUE: ["#N/A", "#REF!", "#DIV/0!", "########", " #NV", "a\0b", "\0"],
    CellKind.TEXT: [
        "#1",
        "C#",
        "#",
        "soon",
        " ",
        "NULL",
        "40 h",
        "2027-02-30",
        "2027-12",
        "1e5",
        "--5",
        "٣",
        "12:00",
        "31.12.",
    ],
}

CLAUSES = [
    {"operator": "IS NULL"},
    {"operator": "IS NOT NULL"},
    {"operator": "IS TRUE"},
    {"operator": "IS FALSE"},
    *({"operator": name, "value": value} for name in ("EQUALS", "NOT EQUALS", "IN") for value in ("40", "soon")),
    *({"operator": name, "value": "2"} for name in ("Includes", "STARTS_WITH", "ENDS_WITH")),
    *({"operator": name, "value": "^[0-9]+$"} for name in ("REGEX MATCH", "NOT REGEX MATCH")),
    *(
        {"operator": name, "value": value}
        for name in ("Greater_Than", "Greater_Than_OR_EQUALS", "LESS_THAN", "LESS_THAN_OR_EQUALS")
        for value in (0, 20, 37, 1234, 10**30)
    ),
    *({"operator": name, "value": value} for name in ("&", "!&") for value in (1, 8, 2**70)),
    *(
        {"operator": name, "value": value}
        for name in ("BEFORE", "AFTER")
        for value in ("now", "2026-01-05", "now+600d", "1999-06-01")
    ),
]


def ruled(clause: dict, cell: str | None) -> str:
    """What the product makes of it."""
    return all_ruled(clause, [cell])[0]


def all_ruled(clause: dict, cells: list[str | None]) -> list[str]:
    """What the product makes of each of the cells of one column."""
    wanted = EntryRules(
        scope=[[{"attribute": "a", **clause}]],
        matching=[{"source": "[a]", "target": "userName"}],
        attributes={"userName": "[a]"},
    )
    keys = [f"k{number}" for number in range(len(cells))]
    users = pd.DataFrame({"a": pd.Series([*cells, "x"], index=[*keys, "other"], dtype="str")})
    world = Snapshot(system="test", users=users, groups=no_entries(), members=no_members(), read_at=NOW)
    found = select(wanted, world, Kind.USER, assignment=None, now=NOW)
    return ["true" if key in found.entries.index else "held" if key in found.held.index else "false" for key in keys]


def by_the_table(clause: dict, cell: str | None) -> str:
    """What the table makes of it; a comparison is done by hand."""
    operator = (
        EntryRules(
            scope=[[{"attribute": "a", **clause}]],
            matching=[{"source": "[a]", "target": "userName"}],
            attributes={"userName": "[a]"},
        )
        .scope[0][0]
        .operator
    )
    question = QUESTION_OF[operator]
    ruling = VERDICTS[question][kind_of(cell)]
    if ruling in (Ruling.FALSE, Ruling.HELD):
        return str(ruling)
    answers = _answers(question, operator, clause.get("value"), cell)
    assert len(answers) == 1 or ruling is Ruling.EACH_WAY
    return str(answers.pop()).lower() if len(answers) == 1 else "held"


def _answers(question: Question, operator: Operator, value: object, cell: str | None) -> set[bool]:
    match question:
        case Question.PRESENCE:
            return {(not cell) == (operator is Operator.IS_NULL)}
        case Question.TEXT:
            return {_text_holds(operator, str(value), cell or "")}
        case Question.TRUTH:
            yes = (cell or "").strip().lower().rstrip("0") in ("true", "wahr", "y", "1", "1.")
            return {yes == (operator is Operator.IS_TRUE)}
        case Question.ORDER:
            return {_order_holds(operator, number, int(str(value))) for number in numbers_in(cell or "")}
        case Question.BITS:
            return {
                bool(int(number) & int(str(value))) == (operator is Operator.BITS) for number in numbers_in(cell or "")
            }
        case Question.MOMENT:
            limit = moment_of(str(value), NOW)
            return {m < limit if operator is Operator.BEFORE else m > limit for m in moments_in(cell or "")}


def _text_holds(operator: Operator, value: str, cell: str) -> bool:
    digits = cell.isascii() and cell.isdigit()
    return {
        Operator.EQUALS: cell == value,
        Operator.NOT_EQUALS: cell != value,
        Operator.IN: cell == value,
        Operator.INCLUDES: value in cell,
        Operator.STARTS_WITH: cell.startswith(value),
        Operator.ENDS_WITH: cell.endswith(value),
        Operator.REGEX_MATCH: digits,
        Operator.NOT_REGEX_MATCH: not digits,
    }[operator]


def _order_holds(operator: Operator, number: object, value: int) -> bool:
    return {
        Operator.GREATER_THAN: number > value,
        Operator.GREATER_THAN_OR_EQUALS: number >= value,
        Operator.LESS_THAN: number < value,
        Operator.LESS_THAN_OR_EQUALS: number <= value,
    }[operator]


@pytest.mark.parametrize("kind", CellKind)
def test_every_kind_of_cell_is_known_by_its_examples(kind):
    """The kinds of the table are those that cells have."""
    assert {kind_of(cell) for cell in EXAMPLES[kind]} == {kind}


@pytest.mark.parametrize("kind", CellKind)
@pytest.mark.parametrize("clause", CLAUSES, ids=lambda clause: " ".join(map(str, clause.values())))
def test_the_table_decides(clause, kind):
    """Every operator on every kind of cell."""
    for cell in EXAMPLES[kind]:
        assert ruled(clause, cell) == by_the_table(clause, cell), cell


CELLS = st.one_of(
    st.none(),
    st.text(max_size=12),
    st.text(alphabet="0123456789.,-/ +:TZeE'", max_size=14),
    st.integers(-(10**20), 10**20).map(str),
    st.decimals(allow_nan=False, allow_infinity=False, places=2).map(str),
    st.dates().map(str),
    st.datetimes(timezones=st.just(UTC)).map(lambda moment: moment.isoformat()),
    st.dates().map(lambda day: f"{day:%d.%m.%Y}"),
    st.dates().map(lambda day: f"{day:%m/%d/%Y}"),
)


@settings(max_examples=500 if "PROVISOR_LONG" in os.environ else 10, deadline=None)
@given(
    clause=st.sampled_from(
        [
            one
            for one in CLAUSES
            if "REGEX" not in one["operator"] and "IS T" not in one["operator"] and "IS F" not in one["operator"]
        ]
    ),
    cells=st.lists(CELLS, min_size=20, max_size=20),
)
def test_the_table_decides_for_any_cell(clause, cells):
    """Whatever somebody writes into the cells of a column."""
    assert dict(zip(cells, all_ruled(clause, cells), strict=True)) == {
        cell: by_the_table(clause, cell) for cell in cells
    }


def test_every_operator_has_its_question():
    """MEMBER_OF alone looks at no cell."""
    assert set(QUESTION_OF) == set(Operator) - {Operator.MEMBER_OF}
    assert {question: set(row) for question, row in VERDICTS.items()} == {
        question: set(CellKind) for question in Question
    }
