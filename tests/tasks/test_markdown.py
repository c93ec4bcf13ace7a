"""Markdown: data is words in it, never a heading, a link, an image, a cell or a list."""

import ast
from pathlib import Path

import pytest

from tasks.markdown import Markdown, code, link, markdown, page, row

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("data", "shown"),
    [
        ("![b](http://evil.example/x.png)", r"!\[b\](http:\/\/evil.example/x.png)"),
        ("[click](javascript:x)", r"\[click\](javascript:x)"),
        ("x\n# Approved by admin", r"x\\n# Approved by admin"),
        ("# Approved by admin", r"\# Approved by admin"),
        ("   # still", r"\# still"),
        ("1. first", r"1\. first"),
        ("- item", r"\- item"),
        ("> quote", r"\> quote"),
        ("=== ", r"\=== "),
        ("<img src=x>", r"\<img src=x\>"),
        ("&lt;b&gt;", r"\&lt;b\&gt;"),
        ("a|b `c` *d* _e_ ~f~", r"a\|b \`c\` \*d\* \_e\_ \~f\~"),
        ("www.evil.example a@b.example", r"www\.evil.example a\@b.example"),
        ("\x1b[31m", r"\\x1b\[31m"),
    ],
)
def test_data_is_words(data: str, shown: str) -> None:
    """Each thing that Markdown would do with it is switched off, and the letters stay."""
    assert markdown(data) == shown


def test_filling_in_escapes_all_that_is_not_ours() -> None:
    """What is Markdown already stays live; everything else is data, numbers with their form too."""
    assert Markdown("**{}** of {:,} by {}").format("*a*", 1234, code("x")) == r"**\*a\*** of 1,234 by `x`"
    assert Markdown(", ").join(["_a_", Markdown("_b_")]) == r"\_a\_, _b_"
    assert Markdown("**a** ") + "*b*" == r"**a** \*b\*"


def test_code_cannot_be_left() -> None:
    """The fence is longer than any in the text, and a cell ends where we end it."""
    assert code("a`b``c") == "```a`b``c```"
    assert code("`") == "`` ` ``"
    assert code("a\nb") == r"`a\nb`"
    assert row("a|b", code("c|d"), 1) == r"| a\|b | `c\|d` | 1 |"


def test_links_lead_to_pages_only() -> None:
    """No address runs a script, and none ends before its end."""
    assert link("a]b", "https://x.example/a)b c") == r"[a\]b](https://x.example/a%29b%20c)"
    assert link("a", "javascript:alert(1)") == "a"


def test_lines_are_ours() -> None:
    """A page is joined of lines that are Markdown."""
    assert page([Markdown("# {}").format("a\n# b"), Markdown("c")]) == "# a\\\\n# b\nc"


def test_only_literals_are_made_markdown() -> None:
    """``Markdown(f"...{name}")`` would let data pass; outside of its own module nobody writes that."""
    wrong = []
    for path in [*ROOT.glob("flows/**/*.py"), *ROOT.glob("tasks/**/*.py"), *ROOT.glob("connectors/**/*.py")]:
        if path == ROOT / "tasks" / "markdown.py":
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Markdown"):
                continue
            if not (len(node.args) == 1 and isinstance(node.args[0], ast.Constant)):
                wrong.append(f"{path.relative_to(ROOT)}:{node.lineno}")
    assert wrong == []
