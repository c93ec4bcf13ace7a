"""A job on one page, as Markdown that Prefect's UI shows beside its deployments: from where to where, who, and when."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from flows.show.why_sentence import clause_text
from tasks.job import AssignmentMode, EntryRules, Job, Limit, Schedule, SystemSection
from tasks.markdown import NOTHING, Markdown, code, page, row

_UNITS = ((timedelta(days=1), "day"), (timedelta(hours=1), "hour"), (timedelta(minutes=1), "minute"))


def picture(job: Job) -> Markdown:
    """The job's page; credentials are in no part of it."""
    facts = {
        "Who": _who(job),
        "Leavers": _leavers(job),
        "Asks first": _limit(job.limits.removals),
        "Checks": _checks(job),
        "Starts": schedule_sentence(job.schedule),
        "Lists the whole target": str(job.reconcile).replace("_", " "),
        "File": code(job.file),
    }
    bold = Markdown("**{}**")
    rules = f"━━ {_rules(job)} ━━▶"
    lines = [
        Markdown("| source | | target |"),
        Markdown("| :---: | :---: | :---: |"),
        row(bold.format(" + ".join(one.connector for one in _sources(job))), rules, bold.format(job.target.connector)),
        row(Markdown("<br>").join(map(_where, _sources(job))), "", _where(job.target)),
        NOTHING,
        *(Markdown("- **{}**: {}").format(name, fact) for name, fact in facts.items() if fact),
    ]
    return page(lines)


def schedule_sentence(schedule: Schedule | None) -> str:
    """``after hr-to-ad, and every 20 minutes, not from 22:00 to 06:00 (Europe/Berlin)``."""
    if schedule is None:
        return "by hand"
    when = f"after {' or '.join(schedule.after)}, and " if schedule.after else ""
    when += f"every {spoken(schedule.rhythm)}" if schedule.rhythm is not None else f"by cron {schedule.cron}"
    never = " nor ".join(f"from {window}" for window in schedule.blackout)
    return f"{when}{f', not {never}' if never else ''} ({schedule.timezone})"


def spoken(length: timedelta) -> str:
    """``20 minutes``, ``1 day and 6 hours``."""
    parts = []
    for unit, name in _UNITS:
        count, length = divmod(length, unit)
        if count:
            parts.append(f"{count} {name}{'s' if count > 1 else ''}")
    if length:
        parts.append(f"{length.total_seconds():.0f} seconds")
    return " and ".join(parts)


def _checks(job: Job) -> str:
    """``3 on source.users``, where the job has checks of its own."""
    counts = {field.alias or name: getattr(job.checks, name) for name, field in type(job.checks).model_fields.items()}
    return ", ".join(
        f"{len(checks)} on {frame}" for frame, checks in counts.items() if isinstance(checks, tuple) and checks
    )


def _sources(job: Job) -> list[SystemSection]:
    """The sources of people, then those of more attributes."""
    return [*job.people, *job.enrich]


def _where(section: SystemSection) -> Markdown:
    """What a person would call the system: its address, or the names of its files and tables."""
    settings = section.settings.model_dump(mode="json", exclude_none=True)
    url = settings.get("url", [])
    places = [url] if isinstance(url, str) else list(url)
    places += [part for key in ("users", "groups", "members") if (part := _origin(settings.get(key)))]
    return Markdown("<br>").join(map(code, places))


def _origin(part: Any) -> str:
    if not isinstance(part, Mapping):
        return ""
    return str(part.get("path") or part.get("table") or ("a query" if "query" in part else ""))


def _rules(job: Job) -> str:
    said = [f"{len(job.users.attributes)} attributes of users"]
    if job.groups is not None:
        said.append(f"{len(job.groups.attributes)} of groups, members")
    return ", ".join(said)


def _who(job: Job) -> str:
    assigned = "everybody in the source"
    if job.assignment.mode is AssignmentMode.ASSIGNED:
        by = [f"{len(job.assignment.users)} users"] if job.assignment.users else []
        by += [f"members of {len(job.assignment.groups)} groups"] if job.assignment.groups else []
        by += [f"those in {job.assignment.table.path}"] if job.assignment.table is not None else []
        assigned = f"assigned: {', '.join(by)}"
    return assigned + _filter(job.users)


def _filter(rules: EntryRules) -> str:
    groups = [" and ".join(clause_text(clause) for clause in group) for group in rules.scope]
    return f", if {'; or if '.join(groups)}" if groups else ""


def _leavers(job: Job) -> str:
    rules = job.deprovision
    ways = {name: str(getattr(rules, name)) for name in ("unassigned", "out_of_scope", "disabled", "deleted")}
    if len(set(ways.values())) == 1:
        said = f"accounts: {rules.deleted}"
    else:
        said = ", ".join(f"{name.replace('_', ' ')}: {what}" for name, what in ways.items())
    return f"{said}; deleted {spoken(rules.delete_after)} after that" if rules.delete_after is not None else said


def _limit(limit: Limit) -> str:
    count = f"more than {limit.count:,} accounts or " if limit.count is not None else "more than "
    return f"when {count}{limit.fraction * 100:.4g}% would be disabled or deleted in one cycle"
