"""``provisor why`` on one page, for people and as JSON."""

from datetime import datetime, timedelta
from typing import Any

from rich.markup import escape
from rich.measure import Measurement
from rich.padding import Padding
from rich.table import Table

from connectors.contract import Value, short_path
from flows.show.console import AnyText, Terminal, Text
from flows.show.explain import LONGEST_VALUE, result
from flows.show.log import record_of, why
from flows.show.plan import table
from flows.show.why import LINES, Attribute, Evidence
from flows.show.why_sentence import clause_text, sentence, shown
from tasks.advice import advice_for
from tasks.cells import QUESTION_OF, Question, moments_in
from tasks.escrow import given_up
from tasks.job import Schedule
from tasks.ledger import REDACTED, StagedState
from tasks.scope import ClauseVerdict

_UNFOLDED = 2000
"""Columns of a table that nobody looks at in a terminal."""
_NEVER = "when somebody runs it"


def as_json(evidence: Evidence) -> dict[str, Any]:
    """The page as plain values."""
    who = evidence.who
    page: dict[str, Any] = {
        "job": evidence.job.name,
        "asked": evidence.asked,
        "known": who is not None,
        "why": sentence(evidence),
        "standing": _standing(evidence),
    }
    if who is None:
        return page
    plans = evidence.plans
    return page | {
        "entry": {
            "kind": str(who.kind),
            "anchor": who.anchor,
            "label": evidence.label or None,
            "target_id": evidence.target_id,
        },
        "outage": evidence.outage or None,
        "source": _source(evidence),
        "scope": _scope(evidence),
        "link": _link(evidence),
        "in_target": None if evidence.outage else evidence.account is not None,
        "protected": evidence.protected,
        "attributes": [_attribute(one) for one in evidence.attributes],
        "plan": {
            "changes": plans.runs,
            "staged": plans.staged,
            "memberships": [{"action": action, "group": group} for action, group in plans.groups],
            "held": [{"code": str(one.code), "reason": one.reason, "advice": _advice(one.code)} for one in plans.held],
            "notes": [{"code": str(one.code), "reason": one.reason} for one in plans.notes],
            "drift": [
                {"what": str(one.what), "attributes": list(one.attributes), "corrected": one.corrected}
                for one in plans.drifted
            ],
            "passed_over": plans.passed_over,
            "owned_by_job": plans.by_others,
        },
        "escrow": _escrow(evidence),
        "decisions": [
            {
                "action": str(one.action),
                "state": str(one.state),
                "since": one.since,
                "guard": one.guard,
                "who": one.who,
                "why": one.why,
                "until": one.until,
            }
            for one in evidence.decisions
        ],
        "unanswered": [
            {"change_id": one.change_id, "action": str(one.action), "sent_at": one.sent_at}
            for one in evidence.unanswered
        ],
        "log": [record_of(line) for line in evidence.log[:LINES]],
    }


def _source(evidence: Evidence) -> dict[str, Any] | None:
    source = evidence.source
    if source is None:
        return None
    row = source.unreadable
    state = "unreadable" if row is not None else "present" if source.present else "gone"
    place = {"place": row.place, "reason": row.reason} if row is not None else {}
    return {"system": source.system, "state": state, **place, "values": source.values}


def _scope(evidence: Evidence) -> dict[str, Any] | None:
    scope = evidence.scope
    if scope is None or not scope.present:
        return None
    return {
        "in_scope": scope.in_scope,
        "assigned": scope.assigned,
        "assigned_by": [*(["itself"] if scope.by_key else []), *(" > ".join(one.path) for one in scope.by_groups)],
        "disabled_in_source": scope.disabled,
        "waiting": scope.waiting or None,
        "left": scope.left or None,
        "coming": list(scope.coming),
        "groups": [
            [
                {
                    "clause": clause_text(verdict.clause),
                    "holds": None if verdict.doubt else verdict.holds,
                    "value": REDACTED if verdict.hidden else _memberships(verdict.value),
                    "understood_as": None if verdict.hidden else _understood(verdict),
                }
                for verdict in group
            ]
            for group in scope.groups
        ],
    }


def _understood(verdict: ClauseVerdict) -> str | None:
    """The day that a cell was read as, where it is not written as the standard has it."""
    clause, value = verdict.clause, verdict.value
    if QUESTION_OF[clause.operator] is not Question.MOMENT or not isinstance(value, str):
        return None
    days = list(dict.fromkeys(f"{moment:%Y-%m-%d}" for moment in moments_in(value, clause.format)))
    return None if not days or value.strip().startswith(days[0]) else " or ".join(days)


def _memberships(value: Value) -> Value:
    """For MEMBER_OF the ways to the group, else the value."""
    return [" > ".join(one.path) for one in value] if isinstance(value, tuple) else value


def _link(evidence: Evidence) -> dict[str, Any] | None:
    link = evidence.link
    if link is None:
        return None
    return {
        "target_id": link.target_id,
        "how": link.how or None,
        "linked_at": link.linked_at,
        "state": str(link.state),
        "state_since": link.state_since,
        "changed_at": link.changed_at,
    }


def _attribute(one: Attribute) -> dict[str, Any]:
    mapped = one.mapped
    found: dict[str, Any] = {"target": one.path}
    if mapped is not None:
        found |= {name: value for name, value in mapped.as_json().items() if name not in ("tree", "target")}
    found |= {"in_target": one.now, "would_change": one.written}
    return found | ({"after": one.after} if one.written else {})


def _advice(code: Any) -> str | None:
    advice = advice_for(code)
    return advice.action if advice is not None else None


def _escrow(evidence: Evidence) -> dict[str, Any] | None:
    escrow = evidence.escrow
    if escrow is None:
        return None
    return {
        "code": str(escrow.code) if escrow.code else None,
        "message": escrow.message,
        "advice": _advice(escrow.code),
        "attempts": escrow.attempts,
        "first_failed": escrow.first_failed,
        "next_attempt": None if given_up(escrow) else escrow.next_attempt,
    }


def _standing(evidence: Evidence) -> dict[str, Any]:
    last, pause, quarantine = evidence.last_cycle, evidence.pause, evidence.quarantine
    return {
        "last_cycle": last
        and {"number": last.number, "kind": str(last.kind), "state": str(last.state), "began": last.began},
        "paused": pause and {"since": pause.since, "who": pause.who, "why": pause.why},
        "quarantine": quarantine
        and {"since": quarantine.began, "reason": quarantine.reason, "message": quarantine.message},
        "next_cycle": _next_cycle(evidence),
    }


def _next_cycle(evidence: Evidence) -> str:
    """When a cycle may come, in words."""
    schedule, last = evidence.job.schedule, evidence.last_cycle
    after = f"after {' or '.join(evidence.job.after)}, or " if evidence.job.after else ""
    if evidence.pause is not None:
        return "not before the job is resumed"
    if evidence.quarantine is not None and evidence.quarantine.next_attempt is None:
        return "not on its own: the job was given up in quarantine"
    if evidence.quarantine is not None and evidence.quarantine.next_attempt is not None:
        return f"not before {_minute(evidence.quarantine.next_attempt)}, because of the quarantine"
    match schedule:
        case Schedule(rhythm=timedelta() as rhythm):
            due = evidence.now if last is None else max(evidence.now, last.began + rhythm)
            return f"{after}on schedule, about {_minute(due)}"
        case Schedule(cron=cron):
            return f"{after}on schedule: {cron} ({schedule.timezone})"
        case _:
            return _NEVER


# --- for people ----------------------------------------------------------------------------------------------------


def show(out: Terminal, evidence: Evidence) -> None:
    """The page: the sentence first, then the way of the entry from the source to the target."""
    out.print(Text(sentence(evidence), style="bold"))
    if evidence.who is None:
        return
    page = as_json(evidence)
    entry = page["entry"]
    out.print()
    names = [
        entry["label"],
        entry["anchor"] and f"anchor {entry['anchor']}",
        entry["target_id"] and f"id {entry['target_id']}",
    ]
    _row(out, str(entry["kind"]), " · ".join(filter(None, names)))
    _show_source(out, page)
    _show_scope(out, page)
    _show_link(out, page)
    _show_waiting(out, page)
    _show_plan(out, page)
    _show_standing(out, page)
    _show_attributes(out, evidence)
    _show_log(out, evidence)


def _row(out: Terminal, name: str, text: str, *, style: str = "") -> None:
    out.print(Text(f"{name:<12}", style="dim").append(text, style=style))


def _show_source(out: Terminal, page: dict[str, Any]) -> None:
    source = page["source"]
    if source is None:
        return
    where = f" · {source['place']}: {source['reason']}" if source["state"] == "unreadable" else ""
    _row(out, "source", f"{source['state']} in {source['system']}{where}")
    values = [f"{name} {shown(value)}" for name, value in source["values"].items() if value is not None]
    if values:
        _row(out, "", ", ".join(values), style="dim")


def _show_scope(out: Terminal, page: dict[str, Any]) -> None:
    scope = page["scope"]
    if scope is None:
        return
    by = f" by {', '.join(scope['assigned_by'])}" if scope["assigned_by"] else ""
    _row(out, "assignment", f"{'assigned' if scope['assigned'] else 'not assigned'}{by}")
    disabled = f", {scope['left'] or 'disabled in the source'}" if scope["disabled_in_source"] else ""
    inside = "in scope" if scope["in_scope"] else scope["waiting"] or "out of scope"
    _row(out, "scope", f"{inside}{disabled}")
    for event in scope["coming"]:
        _row(out, "coming", event)
    for number, group in enumerate(scope["groups"]):
        for clause in group:
            mark, colour = ("✓", "green") if clause["holds"] else ("✗", "red")
            if clause["holds"] is None:
                mark, colour = "?", "yellow"
            prefix = "or " if number and clause is group[0] else "and" if clause is not group[0] else "   "
            line = Text(f"{'':<12}{prefix} ").append(mark, style=colour)
            read = f", understood as {clause['understood_as']}" if clause["understood_as"] else ""
            out.print(line.append(f" {clause['clause']}").append(f" · {shown(clause['value'])}{read}", style="dim"))


def _show_link(out: Terminal, page: dict[str, Any]) -> None:
    link = page["link"]
    if link is not None:
        how = link["how"] or "linked"
        there = "" if page["in_target"] or page["outage"] else ", but not in the target as it is known now"
        _row(
            out,
            "account",
            f"{how} {_minute(link['linked_at'])}, {link['state']} since {_minute(link['state_since'])}{there}",
        )
    elif page["in_target"]:
        _row(out, "account", "in the target, and not linked")
    elif page["outage"] is None:
        _row(out, "account", "none")
    if page["protected"]:
        _row(out, "protection", "the job protects the account: it is never disabled or deleted")
    if (owner := page["plan"]["owned_by_job"]) is not None:
        _row(out, "owner", f"the job {owner}")


def _show_waiting(out: Terminal, page: dict[str, Any]) -> None:
    if escrow := page["escrow"]:
        times = "1 attempt" if escrow["attempts"] == 1 else f"{escrow['attempts']} attempts"
        due = f"next attempt {_minute(escrow['next_attempt'])} or later" if escrow["next_attempt"] else "given up"
        _row(
            out,
            "escrow",
            f"{times} since {_minute(escrow['first_failed'])}, {due} · {escrow['code']} · {escrow['message']}",
        )
        _row(out, "", escrow["advice"] or "", style="dim")
    for one in page["decisions"]:
        decided = (
            "" if one["state"] == StagedState.STAGED else f" by {one['who']}{': ' + one['why'] if one['why'] else ''}"
        )
        until = f", until {_minute(one['until'])}" if one["until"] else ""
        _row(
            out,
            "guard",
            f"{one['action']} {one['state']}{decided}{until} · since {_minute(one['since'])}: {one['guard']}",
        )
    for one in page["unanswered"]:
        _row(
            out,
            "unanswered",
            f"{one['action']} sent {_minute(one['sent_at'])}; the next cycle reads back the result",
        )


def _show_plan(out: Terminal, page: dict[str, Any]) -> None:
    plan = page["plan"]
    for held in plan["held"]:
        _row(out, "held", f"{held['code']}: {held['reason']}")
        _row(out, "", held["advice"] or "", style="dim")
    for note in plan["notes"]:
        _row(out, "incomplete", note["reason"])
    for one in plan["drift"]:
        what = f"{one['what']}: {', '.join(map(short_path, one['attributes']))}" if one["attributes"] else one["what"]
        _row(out, "drift", f"{what}, {'corrected' if one['corrected'] else 'reported only'}")
    for name, changes in (("now", plan["changes"]), ("now held", plan["staged"])):
        for change in changes:
            _row(out, name, f"{change['action']}: {change['reason']}")
    for one in plan["memberships"]:
        _row(out, "now", f"{one['action']}: {one['group']}")
    waits = any((plan["changes"], plan["staged"], plan["memberships"], plan["held"]))
    if not waits and page["outage"] is None:
        _row(out, "now", "nothing to do")


def _show_standing(out: Terminal, page: dict[str, Any]) -> None:
    standing = page["standing"]
    if pause := standing["paused"]:
        _row(
            out,
            "paused",
            f"since {_minute(pause['since'])} by {pause['who']}{': ' + pause['why'] if pause['why'] else ''}",
        )
    if quarantine := standing["quarantine"]:
        _row(
            out, "quarantine", f"since {_minute(quarantine['since'])} ({quarantine['reason']}): {quarantine['message']}"
        )
    last = standing["last_cycle"]
    said = (
        f"cycle {last['number']} ({last['kind']}) {_minute(last['began'])}, {last['state'].replace('_', ' ')}"
        if last
        else "none"
    )
    _row(out, "last cycle", said)
    _row(out, "next cycle", standing["next_cycle"])


def _show_listing(out: Terminal, listing: Table) -> None:
    """A table, as wide as it is; where a terminal would fold it, a record for each row instead."""
    if not out.is_terminal:
        width, out.width = out.width, _UNFOLDED
        out.print(listing)
        out.width = width
        return
    if Measurement.get(out, out.options.update(max_width=_UNFOLDED), listing).maximum <= out.width:
        out.print(listing)
        return
    heads = [str(column.header) for column in listing.columns]
    longest = max(map(len, heads[1:]))
    for first, *others in zip(*(column.cells for column in listing.columns), strict=True):
        out.print(_cell(out, first), style="bold")
        for head, cell in zip(heads[1:], others, strict=True):
            if text := _cell(out, cell):
                out.print(Padding(Text(f"{head.ljust(longest)}  ", style="dim").append_text(text), (0, 0, 0, 2)))


def _cell(out: Terminal, cell: object) -> AnyText:
    return cell if isinstance(cell, AnyText) else out.render_str(str(cell))


def _show_attributes(out: Terminal, evidence: Evidence) -> None:
    if not evidence.attributes:
        return
    out.print()
    listing = table("attribute", "the mapping gives", "the target has", "the next cycle writes", "mapping")
    for one in evidence.attributes:
        gives, origin = Text(""), ""
        if (mapped := one.mapped) is not None:
            origin = " ".join(mapped.origin.split())
            if mapped.explanation is not None:
                gives = result(mapped.explanation, limit=LONGEST_VALUE)
            else:
                gives = Text(REDACTED if mapped.hidden else shown(mapped.mapping.constant))
        writes = shown(one.after, evidence.names) if one.written else ""
        listing.add_row(
            escape(short_path(one.path)), gives, escape(shown(one.now, evidence.names)), escape(writes), escape(origin)
        )
    _show_listing(out, listing)


def _show_log(out: Terminal, evidence: Evidence) -> None:
    out.print()
    if not evidence.log:
        out.print("The log has nothing about it.")
        return
    listing = table("time", "cycle", "action", "status", "why", "change")
    for line in evidence.log[:LINES]:
        cells = [_minute(line.time), str(line.cycle or ""), line.action, line.status, why(line), line.change_id or ""]
        listing.add_row(*map(escape, cells))
    _show_listing(out, listing)
    for code in sorted({line.code for line in evidence.log[:LINES] if line.code}):
        out.print(Text(f"{code}: ", style="dim").append(_advice(code) or ""))
    if len(evidence.log) > LINES:
        more = len(evidence.log) - LINES
        out.print(Text(f"… and {more:,} older lines: provisor log {evidence.job.name} --identity …", style="dim"))


def _minute(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M}"
