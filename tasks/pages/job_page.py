"""The page of a job: what it does in words, and how close it is to its limits. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from tasks.job import AttributeMapping, Job, Limit, Removal, Schedule
from tasks.ledger import Cycle

_AT = 62.5
"""Where on a gauge the limit lies, in percent."""
_NEAR = 0.8


@dataclass(frozen=True, slots=True)
class Gauge:
    """How much of a limit is used."""

    name: str
    value: int
    limit: int
    filled: float
    """Percent of the width."""
    look: str
    """``low``, ``near``, ``over``."""

    @property
    def said(self) -> str:
        """``80, at most 50``."""
        return f"{self.value:,}, at most {self.limit:,}"


@dataclass(frozen=True, slots=True)
class Rule:
    """One mapping as a person reads it."""

    path: str
    formula: str
    when: str


def gauge(name: str, value: int, limit: Limit, population: int) -> Gauge | None:
    """A gauge of a limit; None where nothing limits a population of this size."""
    most = most_of(limit, population)
    if most is None:
        return None
    share = value / most if most else (2.0 if value else 0.0)
    look = "over" if value > most else "near" if share >= _NEAR else "low"
    return Gauge(name, value, most, round(min(share, 1.6) * _AT, 1), look)


def most_of(limit: Limit, population: int) -> int | None:
    """How many go without a person: what trips first."""
    found = [] if limit.count is None else [limit.count]
    if population >= limit.minimum:
        found.append(int(limit.fraction * population))
    return min(found, default=None)


def gauges_of(job: Job, cycles: Sequence[Cycle], held: int, removed_day: int, removed_week: int) -> list[Gauge]:
    """The guards, with what the last cycle and the last days have used. ``cycles``: newest first."""
    ended = [one for one in cycles if one.ended is not None and not one.kind.partial]
    last = ended[0] if ended else None
    accounts = next((one.target_count for one in ended if one.target_count), 0) or 0
    counts = [one.source_count for one in ended if one.source_count is not None]
    removals = sum(last.counts.get(name, 0) for name in ("disabled", "deleted")) if last is not None else 0
    found = [
        gauge(
            "Users and groups disabled or deleted by the last cycle, including held ones",
            removals + held,
            job.limits.removals,
            accounts,
        ),
        gauge("Users and groups disabled or deleted in 24 hours", removed_day, job.limits.budget.per_day, accounts),
        gauge("Users and groups disabled or deleted in 7 days", removed_week, job.limits.budget.per_week, accounts),
        gauge(
            "Accounts changed by the last cycle",
            last.counts.get("updated", 0) if last else 0,
            job.limits.updates,
            accounts,
        ),
    ]
    if len(counts) > 1:
        missing = max(counts[1] - counts[0], 0)
        found.append(gauge("Users fewer in the source than before", missing, job.limits.source, counts[1]))
    return [one for one in found if one is not None]


def rules_of(mappings: dict[str, AttributeMapping]) -> list[Rule]:
    """Mappings as people read them."""
    return [Rule(path, _formula(one), _when(one)) for path, one in mappings.items()]


def _formula(one: AttributeMapping) -> str:
    if one.reference is not None:
        return f"reference {one.reference}"
    if one.expression is not None:
        return " ".join(one.expression.split())
    if one.constant is not None:
        return f'"{one.constant}"' if isinstance(one.constant, str) else str(one.constant)
    return "only a default"


def _when(one: AttributeMapping) -> str:
    parts = [str(one.apply).replace("_", " ")]
    if one.default is not None:
        parts.append(f"empty: {one.default}")
    if one.clear:
        parts.append("cleared when empty")
    if one.redact:
        parts.append("redacted")
    return "; ".join(parts)


def leavers_of(job: Job) -> list[tuple[str, str]]:
    """What happens to accounts of people who leave, by how they left."""
    rules = job.deprovision
    ways = {
        "Gone from the source": rules.deleted,
        "Disabled in the source": rules.disabled,
        "Out of scope": rules.out_of_scope,
        "No longer assigned": rules.unassigned,
    }
    done = {
        Removal.DISABLE: "the account is disabled",
        Removal.DELETE: "the account is deleted",
        Removal.KEEP: "the account stays as it is",
    }
    said = [(way, done[removal]) for way, removal in ways.items()]
    if rules.delete_after is not None:
        said.append(("Later", f"disabled accounts are deleted after {_length(rules.delete_after)}"))
    return said


def schedule_of(schedule: Schedule | None) -> str:
    """When cycles begin, in words."""
    if schedule is None:
        return "Cycles are started by hand."
    if schedule.after:
        before = f"{' or '.join(schedule.after)} has changed something"
        often = f"every {_length(schedule.rhythm)}" if schedule.rhythm is not None else f"by cron: {schedule.cron}"
        said = f"A cycle begins when {before}, and {often}"
        said += f" ({schedule.timezone})" if schedule.cron is not None else ""
    elif schedule.rhythm is not None:
        said = f"A cycle starts every {_length(schedule.rhythm)}"
    else:
        said = f"Cycles start by cron: {schedule.cron} ({schedule.timezone})"
    pauses = ", ".join(map(str, schedule.blackout))
    return f"{said}, but not from {pauses}." if pauses else f"{said}."


def _length(length: timedelta) -> str:
    seconds = int(length.total_seconds())
    for unit, size in (("day", 86_400), ("hour", 3_600), ("minute", 60)):
        if seconds % size == 0 and seconds >= size:
            many = seconds // size
            return f"{many} {unit}s" if many != 1 else f"{unit}"
    return f"{seconds} seconds"
