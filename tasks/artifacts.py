"""What people see of a cycle in Prefect's UI: plan, counts with a chart, failures, guards, and where to look further.

Prefect is imported by the functions that talk to it. A cycle in a shell, outside a flow run, leaves no
artifacts.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby, islice
from uuid import UUID

import orjson

from connectors.contract import short_path
from tasks.advice import advice_for
from tasks.chart import draw
from tasks.checks import Checked, Verdict
from tasks.ledger import Cycle
from tasks.markdown import NOTHING, Markdown, code, drawing, link, markdown, page, row, table_head
from tasks.plan import Block
from tasks.plan.compare import canonical
from tasks.report import CycleReport, allowed, spoken

HEAD = 500
"""Changes shown in the plan's table."""

CHARTED = 30
"""Cycles shown in the chart."""

_MEMBERS = 20
"""Members that are named for each group."""

_REASONS = 10
"""Reasons that are listed for each kind of change."""


def publish_plan(checked: Checked, *, cycle: int | None = None, expected: str = "") -> None:
    """The plan as a page, what is done and held and why, and its first changes as a table to search in.

    ``cycle``: its number within the job; None where it only looks ahead. ``expected``: a sentence about how long it
    will take.
    """
    plan = checked.plan
    lines = [Markdown("{} → {}").format(plan.source, plan.target), NOTHING, *table_head("what", "how many", numbers=1)]
    lines += [row(action, f"{count:,}") for action, count in plan.counts().items()] or [row("nothing to do", 0)]
    lines += [NOTHING, markdown(expected)] if expected else []
    lines += _guards(checked)
    for title, blocks in _alike(checked.blocks):
        lines += [NOTHING, Markdown("### {} · {}").format(title, _how_many(blocks)), NOTHING, *reasons_of(blocks)]
    rows = list(islice(plan_rows(checked), HEAD))
    table = key_of(plan.job, "changes")
    total = sum(map(len, (*checked.staged, *checked.blocks)))
    # Members are counted one by one above; here a group with its members is one line.
    shown = f"the first {len(rows):,} of {total:,} accounts and groups" if total > len(rows) else "all of it"
    if rows:
        lines += [NOTHING, Markdown("As a table, {}: {}.").format(shown, link(table, f"/artifacts/key/{table}"))]
        if cycle is not None:
            look = code(f"provisor log {plan.job} --cycle {cycle}")
            lines += [NOTHING, Markdown("Results, entry by entry: {}.").format(look)]
    publish_page(lines, key=key_of(plan.job, "plan"), about=f"Plan of {plan.job}")
    if rows:
        publish_table(rows, key=table, about=f"Plan of {plan.job}: {shown}")


def _guards(checked: Checked) -> list[Markdown]:
    if not checked.verdicts and not checked.waiting:
        return []
    lines = [NOTHING, Markdown("## Held back by guards"), NOTHING]
    for verdict in checked.verdicts:
        lines += [Markdown("> {}").format(verdict.sentence), NOTHING]
    if checked.verdicts:
        lines += [row("guard", "about", "counted", "of", "allowed", "held")]
        lines += [Markdown("| --- | --- | ---: | ---: | --- | ---: |")]
        lines += [_verdict_row(verdict) for verdict in checked.verdicts]
    for title, blocks in _alike(checked.staged):
        lines += [NOTHING, Markdown("### held: {} · {}").format(title, _how_many(blocks)), NOTHING, *reasons_of(blocks)]
    if checked.waiting:
        job = checked.plan.job
        decide = Markdown("Resume the run to decide, or write {} or {}.")
        lines += [NOTHING, decide.format(code(f"provisor approve {job}"), code(f"provisor reject {job}"))]
    return lines


def _verdict_row(verdict: Verdict) -> Markdown:
    return row(
        verdict.guard,
        verdict.subject,
        f"{verdict.counted:,}",
        f"{verdict.population:,}",
        allowed(verdict.limit),
        f"{verdict.held:,}",
    )


def _alike(blocks: Sequence[Block]) -> Iterator[tuple[str, list[Block]]]:
    """Blocks that do the same to the same kind of entry, with what that is called."""
    for what, some in groupby(blocks, key=_what):
        yield what, list(some)


def _how_many(blocks: Sequence[Block]) -> str:
    """``221``, or ``134 in 7 groups``: each change of memberships is a group's."""
    count = sum(map(len, blocks))
    if "members" not in blocks[0].table:
        return f"{count:,}"
    members = sum(int(block.table["members"].map(len).sum()) for block in blocks)
    return f"{members:,} in {_counted(count, 'group')}"


def reasons_of(blocks: Sequence[Block]) -> list[Markdown]:
    """The reasons of changes as a list, the most frequent first."""
    counts: Counter[str] = Counter()
    for block in blocks:
        sizes = block.table["members"].map(len) if "members" in block.table else block.table["reason"].map(lambda _: 1)
        for reason, count in sizes.groupby(block.table["reason"]).sum().items():
            counts[str(reason)] += int(count)
    lines = [Markdown("- {:,} × {}").format(count, reason) for reason, count in counts.most_common(_REASONS)]
    more = len(counts) - len(lines)
    return [*lines, Markdown("- and {:,} other reasons").format(more)] if more > 0 else lines


def plan_rows(checked: Checked) -> Iterator[dict[str, str]]:
    """The changes, those that are held first, as rows of a table."""
    for held, blocks in (("held: ", checked.staged), ("", checked.blocks)):
        for block in blocks:
            head = block.take(slice(HEAD))
            entries = head.table[["label", "anchor", "reason"]].astype(str)
            for (label, anchor, reason), values in zip(entries.itertuples(index=False), _values(head), strict=True):
                yield {
                    "what": f"{held}{_what(block)}",
                    "entry": f"{label} ({anchor})",
                    "old → new": values,
                    "why": reason,
                }


def _what(block: Block) -> str:
    """``disable user``; members are a group's anyway."""
    return str(block.action) if "members" in block.table else f"{block.action} {block.kind}"


def _values(block: Block) -> list[str]:
    """For each row ``title: Clerk → Boss``, attribute by attribute; of a new account what it gets.

    Redacted values stay hidden.
    """
    if "members" in block.table:
        return [_named(members) for members in block.table["members"]]
    if block.after is None:
        return [""] * len(block)
    said: list[list[str]] = [[] for _ in range(len(block))]
    touched = block.after.notna() if block.touched is None else block.touched
    nothing = [None] * len(block)
    for path in block.after.columns:
        news = block.after[path].tolist()
        olds = block.before[path].tolist() if block.before is not None and path in block.before.columns else nothing
        for place in touched[path].to_numpy(dtype=bool).nonzero()[0]:
            new = _shown(block, path, news[place])
            if block.before is not None:
                new = f"{_shown(block, path, olds[place])} → {new}"
            said[place].append(f"{short_path(path)}: {new}")
    return ["; ".join(one) for one in said]


def _shown(block: Block, path: str, value: object) -> str:
    if path in block.redacted:
        return "redacted"
    match canonical(value):
        case None:
            return "nothing"
        case str() as text:
            return text
        case found:
            return orjson.dumps(found, default=str).decode()


def _named(members: Sequence[str]) -> str:
    """``3 members: ada, bea, cleo``; of many the first."""
    more = len(members) - _MEMBERS
    names = ", ".join(members[:_MEMBERS]) + (f" and {more:,} more" if more > 0 else "")
    return f"{_counted(len(members), 'member')}: {names}"


def _counted(count: int, what: str) -> str:
    return f"{count:,} {what}{'s' if count != 1 else ''}"


def publish_report(report: CycleReport, cycles: Sequence[Cycle] = ()) -> None:
    """What the cycle did, as one page, and its failures by code as a table.

    ``cycles``: the job's last ones, the newest first, for the chart.
    """
    from prefect.context import FlowRunContext

    if FlowRunContext.get() is None:
        return
    publish_page(_page(report, cycles), key=key_of(report.job, "cycle"), about=report.message)
    _publish_failures(report)


def _page(report: CycleReport, cycles: Sequence[Cycle]) -> list[Markdown]:
    """The cycle's page."""
    lines = [Markdown("> {}").format(report.standing), NOTHING] if report.standing else []
    lines += table_head("what", "count", numbers=1)
    lines += [row(spoken(name), f"{count:,}") for name, count in report.counts.items() if count]
    lines += [row("unchanged", f"{report.unchanged:,}")]
    if len(cycles) > 1 and (chart := draw(cycles[:CHARTED])):
        last = min(len(cycles), CHARTED)
        lines += [NOTHING, Markdown("## Changes per cycle, the last {}").format(last), NOTHING]
        lines += [drawing("Changes per cycle", chart)]
    for title, sentences in (
        ("Held back by guards", report.guards),
        ("Data checks", _findings(report)),
        ("Drift", report.drift.sentences if report.drift is not None else ()),
        ("How the target was read", [report.seen] if report.seen else []),
    ):
        if sentences:
            lines += [NOTHING, Markdown("## {}").format(title), NOTHING]
            lines += [Markdown("- {}").format(sentence) for sentence in sentences]
    if report.seconds:
        lines += [NOTHING, Markdown("## Time"), NOTHING, *table_head("part", "seconds", numbers=1)]
        lines += [row(part, f"{seconds:.1f}") for part, seconds in report.seconds.items()]
    lines += [NOTHING, Markdown("## Look further"), NOTHING]
    lines += _links(report)
    lines += [Markdown("- every change: {}").format(code(f"provisor log {report.job} --cycle {report.cycle}"))]
    lines += [Markdown("- state of the job: {}").format(code(f"provisor status {report.job}"))]
    return lines


def _findings(report: CycleReport) -> list[str]:
    """The data checks that did not hold, and how many of them are no news."""
    as_before = len(report.findings) - len(report.news)
    return [*report.news, *([f"{as_before:,} more fail as in the last cycle."] if as_before else [])]


def _links(report: CycleReport) -> Iterator[Markdown]:
    """The cycle's pages: as links where they are served, else as paths."""
    for name, address, path in (
        ("the report of the run", report.page_address, report.page),
        ("the Data Docs of the run", report.docs_address, report.docs),
    ):
        if address:
            yield Markdown("- {}").format(link(name, address))
        elif path:
            yield Markdown("- {}: {}").format(name, code(path))


def _publish_failures(report: CycleReport) -> None:
    codes = Counter(str(item.code or "") for item in report.failures)
    codes.update(str(item.code) for item in report.held)
    if codes:
        # Messages may hold what a target said about people: they are in the provisioning log only.
        table = [{"code": code, "entries": count, "what to do": _advice(code)} for code, count in codes.most_common()]
        publish_table(table, key=key_of(report.job, "failures"), about="What failed or was held, by code")


def _advice(code: str) -> str:
    advice = advice_for(code)
    return advice.action if advice is not None else ""


def publish_page(lines: Sequence[Markdown], *, key: str, about: str) -> None:
    """A page as an artifact of the run: every page of ours passes through here. ``about``: said above it."""
    from prefect.artifacts import create_markdown_artifact

    create_markdown_artifact(page(lines), key=key, description=markdown(about))


def publish_table(rows: Sequence[Mapping[str, object]], *, key: str, about: str) -> None:
    """A table as an artifact of the run."""
    from prefect.artifacts import create_table_artifact

    create_table_artifact(cells_of(rows), key=key, description=markdown(about))


def cells_of(rows: Sequence[Mapping[str, object]]) -> list[dict[str, object]]:
    """Rows as Prefect's UI takes them: it reads every text in a cell as Markdown, and data must not be live."""
    return [
        {name: str(markdown(value)) if isinstance(value, str) else value for name, value in one.items()} for one in rows
    ]


def begin_progress(job: str, total: int, *, left: str = "") -> UUID:
    """A progress artifact at zero. ``left``: how long it will take, for people."""
    from prefect.artifacts import create_progress_artifact

    description = f"Loading {total:,} requests" + (f", {left}" if left else "")
    artifact = create_progress_artifact(0.0, key=key_of(job, "progress"), description=description)
    assert isinstance(artifact, UUID)  # a coroutine only where an event loop runs
    return artifact


def move_progress(artifact: UUID, done: int, total: int, *, left: str = "") -> None:
    """Moves the bar: ``12,300 of 50,000 requests, about 3 min left``."""
    from prefect.artifacts import update_progress_artifact

    description = f"{done:,} of {total:,} requests" + (f", {left}" if left else "")
    update_progress_artifact(artifact, progress=100.0 * done / total, description=description)


def key_of(job: str, what: str) -> str:
    """Artifact keys hold lower-case letters, digits and hyphens only."""
    return "".join(letter if letter.isalnum() and letter.isascii() else "-" for letter in f"{job}-{what}".lower())
