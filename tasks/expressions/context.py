"""What an evaluation may look at besides the entry."""

import datetime as dt
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random, SystemRandom


@dataclass(frozen=True, slots=True)
class Context:
    """The surroundings of one evaluation; the language has no clock, no chance and no target of its own."""

    now: dt.datetime = field(default_factory=lambda: dt.datetime.now(dt.UTC))
    """What Now() gives; UTC."""
    default_domain: str | None = None
    """What DefaultDomain() gives; None where the job does not say."""
    random: Random = field(default_factory=SystemRandom)
    """Where Guid and RandomString draw from; seed one to repeat a run."""
    taken: Callable[[str], bool] | None = None
    """Whether the target has a value already, for SelectUniqueValue; None means that nothing is taken."""
    keep_empty: bool = False
    """The job keeps empty texts of the source apart from null; Coalesce then does too."""
