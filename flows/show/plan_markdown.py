"""A plan as Markdown, for a comment of a merge request: counts, what waits and why, the first changes of each kind."""

from typing import Any

from connectors.contract import short_path
from flows.cycle.preview import Decision
from flows.show.plan import alike
from flows.show.plan_json import changes_of
from tasks.markdown import NOTHING, Markdown, markdown, page, row, table_head
from tasks.plan import Block

_LONGEST_CELL = 80


def plan_as_markdown(decision: Decision, *, limit: int | None) -> Markdown:
    """The plan as one text; ``limit``: changes of each kind that are listed, None for all."""
    checked = decision.checked
    plan = checked.plan
    counts = plan.counts()
    lines = [Markdown("## Plan of {}").format(plan.job), NOTHING]
    lines += [Markdown("{} → {}").format(plan.source, plan.target), NOTHING]
    if counts:
        lines += [
            *table_head("what", "changes", numbers=1),
            *(row(what, f"{count:,}") for what, count in counts.items()),
        ]
    else:
        lines.append(Markdown("Nothing to do."))
    lines += _waiting(decision, limit)
    for blocks in alike(checked.blocks):
        lines += _section(blocks, "", limit)
    lines += _held(decision, limit)
    return page(lines)


def _waiting(decision: Decision, limit: int | None) -> list[Markdown]:
    checked = decision.checked
    if not checked.staged:
        return []
    lines = [NOTHING, Markdown("### Waiting for approval"), NOTHING]
    lines += [Markdown("> {}").format(verdict.sentence) for verdict in checked.verdicts]
    for blocks in alike(checked.staged):
        lines += _section(blocks, "held: ", limit)
    return lines


def _section(blocks: list[Block], mark: str, limit: int | None) -> list[Markdown]:
    """A folded table with the changes of one kind."""
    total = sum(map(len, blocks))
    room = total if limit is None else min(limit, total)
    what = f"{mark}{blocks[0].action} {blocks[0].kind}"
    lines = [NOTHING, Markdown("<details><summary>{}: {:,}</summary>").format(what, total), NOTHING]
    lines += table_head("entry", "why", "from → to")
    for block in blocks:
        for change in changes_of(block.take(slice(0, room))):
            lines.append(row(_called(change), change["reason"], _values(change)))
        room = max(0, room - len(block))
    shown = len(lines) - 5
    lines += [NOTHING, Markdown("and {:,} more").format(total - shown)] if shown < total else []
    return [*lines, NOTHING, Markdown("</details>")]


def _called(change: dict[str, Any]) -> str:
    label, anchor = change["label"], change["anchor"]
    return f"{label} ({anchor})" if label and label != anchor else anchor


def _values(change: dict[str, Any]) -> Markdown:
    before, after = change.get("before"), change.get("after") or {}
    parts = []
    for path, value in after.items():
        name, new = short_path(path), _shown(value)
        if before is None:
            parts.append(Markdown("{}: {}").format(name, new))
        else:
            parts.append(Markdown("{}: {} → {}").format(name, _shown(before.get(path)), new))
    if members := change.get("members"):
        more = f" and {len(members) - 8:,} more" if len(members) > 8 else ""
        parts.append(markdown(f"{', '.join(map(str, members[:8]))}{more}"))
    return Markdown("; ").join(parts)


def _shown(value: Any) -> str:
    text = "nothing" if value is None else str(value)
    return text if len(text) <= _LONGEST_CELL else f"{text[:_LONGEST_CELL]}…"


def _held(decision: Decision, limit: int | None) -> list[Markdown]:
    held = decision.checked.plan.held
    if not held:
        return []
    some = held if limit is None else held[:limit]
    lines = [NOTHING, Markdown("<details><summary>left alone: {:,}</summary>").format(len(held)), NOTHING]
    lines += [Markdown("- {} {}: {}").format(one.kind, one.label or one.anchor, one.reason) for one in some]
    if len(some) < len(held):
        lines.append(Markdown("- and {:,} more").format(len(held) - len(some)))
    return [*lines, NOTHING, Markdown("</details>")]
