"""The world after a job's first cycle: carried out once for each job and export, then copied for every other test."""

import random
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

from tests.flows.workplace import Workplace
from tests.servers.scim_service import ScimService

FirstCycle = Callable[[Workplace], None]
"""The fixture ``first_cycle``."""


@dataclass(frozen=True, slots=True)
class _Kept:
    """What a first cycle has left."""

    home: Path
    users: list[dict[str, Any]]
    groups: list[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class FirstCycles:
    """First cycles of workplaces whose service is always at the same address; ``folder`` keeps their state folders."""

    folder: Path
    _kept: dict[str, _Kept] = field(default_factory=dict)

    def play(self, workplace: Workplace, service: ScimService) -> None:
        """Everybody of the export gets an account, and nothing is left to do; the service has counted no request."""
        key = _key(workplace)
        if (kept := self._kept.get(key)) is None:
            assert workplace.cycle().exit_status == 0
            home = self.folder / key
            shutil.copytree(workplace.home, home)
            self._kept[key] = _Kept(home, list(service.users.values()), list(service.groups.values()))
        else:
            shutil.copytree(kept.home, workplace.home)
            service.seed(users=kept.users, groups=kept.groups)
            service.application.random = random.Random(key)  # else the ids of those who come are given a second time
        service.reset_counts()


def _key(workplace: Workplace) -> str:
    """Another one for everything that a cycle may depend on."""
    files = [workplace.job, *sorted(workplace.export.glob("*.csv"))]
    return sha256(b"\0".join(file.read_bytes() for file in files)).hexdigest()
