"""Roles, and what each may see and do, job by job."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class Role(StrEnum):
    """What somebody may do."""

    VIEWER = "viewer"
    """Reads everything of the jobs, and changes nothing: an auditor."""
    HELPDESK = "helpdesk"
    """Looks at persons and groups, and provisions one of them now."""
    APPROVER = "approver"
    """Reads everything of the jobs, and decides about what their guards hold."""
    OPERATOR = "operator"
    """Reads everything, plans, runs, pauses and resumes; does not decide about what guards hold."""


_READING = frozenset({Role.VIEWER, Role.APPROVER, Role.OPERATOR})


class Deed(StrEnum):
    """What somebody may be allowed to do about a job."""

    READ = "read"
    """All its pages."""
    FIND = "find"
    """Its people and groups."""
    PROVISION = "provision"
    """One entry, now."""
    DECIDE = "decide"
    """About what guards hold."""
    OPERATE = "operate"
    """Plan, run, pause, resume."""


_ROLES: dict[Deed, frozenset[Role]] = {
    Deed.READ: _READING,
    Deed.FIND: _READING | {Role.HELPDESK},
    Deed.PROVISION: frozenset({Role.HELPDESK, Role.OPERATOR}),
    Deed.DECIDE: frozenset({Role.APPROVER}),
    Deed.OPERATE: frozenset({Role.OPERATOR}),
}


@dataclass(frozen=True, slots=True)
class Grant:
    """One role, for some jobs or for all."""

    role: Role
    jobs: tuple[str, ...] = ()
    """Names of jobs; all where there are none."""

    def as_json(self) -> dict[str, Any]:
        """As the ledger keeps it."""
        return {"role": str(self.role), "jobs": list(self.jobs)}


@dataclass(frozen=True, slots=True)
class Rights:
    """All that somebody may do."""

    grants: Sequence[Grant] = field(default=())

    @classmethod
    def of(cls, kept: Iterable[dict[str, Any]]) -> "Rights":
        """From what the ledger keeps; a role that is no longer known gives nothing."""
        known = {str(role) for role in Role}
        return cls([Grant(Role(one["role"]), tuple(one.get("jobs") or ())) for one in kept if one["role"] in known])

    def may(self, deed: Deed, job: str) -> bool:
        """Whether something may be done about a job."""
        return any(one.role in _ROLES[deed] and (not one.jobs or job in one.jobs) for one in self.grants)

    def may_somewhere(self, deed: Deed) -> bool:
        """Whether it may be done about any job."""
        return any(one.role in _ROLES[deed] for one in self.grants)

    def operates_all(self) -> bool:
        """Whether everything here is theirs to operate: who sees the log of sign-ins."""
        return any(one.role is Role.OPERATOR and not one.jobs for one in self.grants)

    def among(self, deed: Deed, jobs: Collection[str]) -> list[str]:
        """Those of the jobs about which it may be done, in their order."""
        return [job for job in jobs if self.may(deed, job)]

    @property
    def roles(self) -> str:
        """In words."""
        return "; ".join(map(_spoken, self.grants)) or "no role"


def _spoken(grant: Grant) -> str:
    return f"{grant.role} of {', '.join(grant.jobs)}" if grant.jobs else str(grant.role)
