"""What is held back, tried later, or stopped: guards, escrow and quarantine."""

from datetime import timedelta
from enum import StrEnum
from typing import Annotated

from pydantic import Field

from tasks.job.section import Section, Text
from tasks.job.values import Duration


class Limit(Section):
    """How much one cycle may do before a person is asked: up to ``count`` and up to ``fraction`` of all."""

    count: Annotated[int, Field(strict=True, ge=0)] | None = 500
    """So many at most; null: any number."""
    fraction: Annotated[float, Field(strict=True, ge=0, le=1)] = 0.1
    """So many at most, of what there is: 0 to 1."""
    minimum: Annotated[int, Field(strict=True, ge=0)] = 20
    """Smallest population to which the fraction applies."""


class SourceLimit(Limit):
    """How much smaller the source may be than it was, before nothing is concluded from anybody's absence."""

    count: Annotated[int, Field(strict=True, ge=0)] | None = None
    """So many users fewer at most, and so many memberships; null: any number."""
    fraction: Annotated[float, Field(strict=True, ge=0, le=1)] = 0.2
    """So many users fewer at most, of those there were, and so many memberships: 0 to 1."""


class UpdatesLimit(Limit):
    """How many entries of one kind a cycle may change.

    The default lets anything through in small jobs; in all others it stops at half of the accounts, which no ordinary
    day changes. Where the job itself is new or has changed, a plan file that was reviewed is carried out all the same.
    """

    count: Annotated[int, Field(strict=True, ge=0)] | None = None
    """So many at most; null: any number."""
    fraction: Annotated[float, Field(strict=True, ge=0, le=1)] = 0.5
    """So many at most, of the accounts there are: 0 to 1."""
    minimum: Annotated[int, Field(strict=True, ge=0)] = 100
    """Smallest population to which the fraction applies."""


class DayLimit(Limit):
    """Removals within 24 hours."""

    count: Annotated[int, Field(strict=True, ge=0)] | None = 1000
    """So many at most; null: any number."""
    fraction: Annotated[float, Field(strict=True, ge=0, le=1)] = 0.2
    """So many at most, of what there was at their beginning: 0 to 1."""


class WeekLimit(Limit):
    """Removals within seven days."""

    count: Annotated[int, Field(strict=True, ge=0)] | None = 2500
    """So many at most; null: any number."""
    fraction: Annotated[float, Field(strict=True, ge=0, le=1)] = 0.3
    """So many at most, of what there was at their beginning: 0 to 1."""


class Budget(Section):
    """Accounts disabled and deleted over time, whatever number of cycles it takes; approved ones do not count."""

    per_day: DayLimit = DayLimit()
    """In the last 24 hours including this cycle."""
    per_week: WeekLimit = WeekLimit()
    """In the last seven days including this cycle."""


class MembershipLimits(Limit):
    """How many members may be removed from groups, over the whole target; leavers do not count."""

    count: Annotated[int, Field(strict=True, ge=0)] | None = None
    """So many memberships in one cycle at most; null: any number."""
    fraction: Annotated[float, Field(strict=True, ge=0, le=1)] = 0.2
    """So many in one cycle at most, of those there are: 0 to 1."""
    per_day: DayLimit = DayLimit(count=None)
    """In the last 24 hours including this cycle; also per group."""
    per_week: WeekLimit = WeekLimit(count=None)
    """In the last seven days including this cycle; also per group."""


class Administrators(Section):
    """Groups of the target in which somebody must be left."""

    groups: tuple[Text, ...] = ()
    """Groups by anchor, id in the target, or name."""
    minimum: Annotated[int, Field(strict=True, ge=1)] = 1
    """Number of active members that each group must keep."""


class Limits(Section):
    """Guards: changes over a limit are held until a person approves or rejects them; the rest goes ahead."""

    removals: Limit = Limit()
    """Accounts disabled or deleted in one cycle: users, groups, and both together. Below the minimum, three or more are
    held if they are more than half, unless the fraction allows more. The same applies to memberships, budget and
    source."""
    members: Limit = Limit()
    """Members removed from one group in one cycle."""
    memberships: MembershipLimits = MembershipLimits()
    """Members removed from all groups together, in one cycle and over several."""
    attribute: Limit = Limit()
    """Entries of one kind that lose one attribute in one cycle."""
    updates: UpdatesLimit = UpdatesLimit()
    """Entries of one kind updated in one cycle."""
    budget: Budget = Budget()
    """Accounts disabled and deleted over several cycles."""
    source: SourceLimit = SourceLimit()
    """Users and memberships missing from the source, compared with the last cycle that read it completely and trusted
    it."""
    administrators: Administrators = Administrators()
    """Groups that must keep an active member, whatever the source says."""


class EscrowRules(Section):
    """When a failed entry is retried: in the next cycle, then at doubling intervals."""

    first_gap: Duration = timedelta(minutes=40)
    """Waiting time after the second failure; it doubles after each further one."""
    longest_gap: Duration = timedelta(hours=24)
    """Longest waiting time."""
    give_up_after: Duration = timedelta(days=28)
    """How long after the first failure an entry is retried. After that, only when it changes or on request."""


class QuarantineRules(Section):
    """When a job has failed so much that it is tried less and less often. Failures are counted per cycle."""

    floor: Annotated[int, Field(strict=True, ge=1)] = 5_000
    """Number of failures below which neither the proportion nor the totals are checked."""
    proportion: Annotated[float, Field(strict=True, ge=0, le=1)] = 0.4
    """Failed share of everything tried, 0 to 1, references left out: more than this is too much."""
    failures: Annotated[int, Field(strict=True, ge=0)] = 40_000
    """Failures, references left out: more than this is too much, whatever else went well."""
    total: Annotated[int, Field(strict=True, ge=0)] = 60_000
    """Failures with references (managers, members): more than this is too much."""
    all_of: Annotated[int, Field(strict=True, ge=1)] = 20
    """For small jobs: at least this many first attempts, and every one of them failed."""
    stops: Annotated[int, Field(strict=True, ge=1)] = 12
    """Cycles in a row that could not be carried out at all, because a system did not answer, for example."""
    give_up_after: Duration = timedelta(days=28)
    """How long a quarantined job is retried. After that, only a person can resume it."""


class NotBy(StrEnum):
    """Who may not approve."""

    INITIATOR = "initiator"
    """The person who started the cycle in which it was held."""


class Approval(Section):
    """Who decides on held changes, and how long a deployment's run waits for the decision."""

    within: Duration = timedelta(days=3)
    """How long it waits. Then what it waits for is rejected for as long again, and after that asked anew."""
    by: tuple[Text, ...] = ()
    """Operating system logins of those who may decide. Without any, everybody who can run commands."""
    not_by: NotBy | None = None
    """``initiator``: the person who started the cycle in which something was held does not approve it."""
