"""Faults that a service of ours strikes with on purpose."""

from dataclasses import dataclass


@dataclass
class Fault:
    """Something that goes wrong on purpose."""

    name: str
    verb: str
    nth: int = 1
    times: int = 1
    seen: int = 0
    fired: int = 0

    def strikes(self, verb: str) -> bool:
        """Whether it strikes now."""
        if verb != self.verb:
            return False
        self.seen += 1
        if self.seen < self.nth or self.fired >= self.times:
            return False
        self.fired += 1
        return True
