"""What Prefect's pages show of a plan and of the last cycles."""

from dataclasses import replace

from tasks.artifacts import cells_of, plan_rows, reasons_of
from tasks.chart import draw
from tasks.ledger import CycleState
from tests.tasks.pages.samples import SECRET, checked, cycles


def test_the_plans_table_says_old_and_new() -> None:
    """Every attribute that changes, what it was and what it will be; what is redacted is said to be, and no more."""
    rows = list(plan_rows(checked()))
    changed = [row["old → new"] for row in rows if row["what"] == "update user"]
    assert any(one.startswith("title: Clerk → Boss; nickName: redacted") for one in changed), changed[:5]
    created = [row["old → new"] for row in rows if row["what"] == "create user"]
    assert any("userName: 李小龙; active: true; title: Clerk" in one for one in created), created
    assert "2 members: p12, p13" in [row["old → new"] for row in rows]
    assert SECRET not in str(rows)


def test_the_chart_shows_what_is_held_and_stopped_beside_a_large_cycle() -> None:
    """The large one is cut, its number above it, and the others keep their height."""
    newest, second, third, *others = cycles()
    large = replace(newest, counts={"created": 3_000})
    held = replace(second, counts={"updated": 9, "staged": 80}, state=CycleState.STAGED)
    stopped = replace(third, counts={}, state=CycleState.STOPPED)
    drawn = draw([large, held, stopped, *others])
    assert ">3,000</text>" in drawn
    assert drawn.count("stroke-dasharray") == 2  # in the legend, and of the cycle
    assert drawn.count("m0-8l-8 8") == 2
    assert draw([replace(newest, counts={})]) == ""


def test_cells_are_text_although_prefect_reads_them_as_markdown() -> None:
    """A name is no link, no picture and no tag, and an address does not become one either."""
    [row] = cells_of([{"who": "![x](http://evil.example/p.png) <b> ada@example.com", "entries": 3}])
    assert row == {"who": r"!\[x\](http:\/\/evil.example/p.png) \<b\> ada\@example.com", "entries": 3}


def test_members_are_counted_one_by_one_everywhere() -> None:
    """The reasons below a heading add up to the number in it."""
    blocks = [block for block in checked().blocks if "members" in block.table]
    told = [int(line.split()[1].replace(",", "")) for line in reasons_of(blocks)]
    members = sum(len(members) for block in blocks for members in block.table["members"])
    assert (sum(told), members > sum(map(len, blocks))) == (members, True)
