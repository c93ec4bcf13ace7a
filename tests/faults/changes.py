"""The six kinds of change, each alone: what happens in the company, and which requests it takes."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from tests.faults.company import Company, Person, group, person


@dataclass(frozen=True, slots=True)
class Operation:
    """One kind of change."""

    change: Callable[[Company], None]
    """Lets it happen to some in the company."""
    request: str
    """Its requests, as a regular expression over ``METHOD /path``."""
    entries: Callable[[int], str]
    """Anchor of an entry by its number."""
    touched: range
    """Numbers of the entries that it is about; users and groups that it makes are not there before."""
    groups: range = range(0)
    """Numbers of the groups that it is about besides people."""
    made: int = 0
    """How many entries it makes."""

    @property
    def writes(self) -> int:
        """Requests that it takes when nothing goes wrong."""
        return len(self.touched) + len(self.groups) + self.made


def _create(company: Company) -> None:
    for number in range(40, 60):
        company.people[person(number)] = Person(mail=f"p{number}", manager=person(0) if number % 4 == 0 else "")
    for number in range(24, 30):
        company.groups[group(number)] = f"Team {number}"


def _update(company: Company) -> None:
    """Values change, elements appear, a manager changes, a name changes."""
    for number in range(24):
        one = company.people[person(number)]
        one.title = "Boss"
        one.mail = f"new{number}"
        if number % 3 == 1:
            one.manager = person(2)
    for number in range(4):
        company.groups[group(number)] = f"Group {number}"


def _disable(company: Company) -> None:
    for number in range(20, 40):
        company.people[person(number)].status = "terminated"


def _delete(company: Company) -> None:
    for number in range(20, 40):
        del company.people[person(number)]
    for number in range(20, 24):
        del company.groups[group(number)]
        company.members -= {edge for edge in company.members if edge[0] == group(number)}


def _add_members(company: Company) -> None:
    edges = {(group(number), person((number + step) % 20)) for number in range(24) for step in (2, 7)}
    company.members |= {edge for edge in edges if edge[0] in company.groups}


def _remove_members(company: Company) -> None:
    company.members -= {(group(number), person((number + 5) % 20)) for number in range(24)}


OPERATIONS: Mapping[str, Operation] = {
    "create": Operation(_create, "POST /(Users|Groups)", person, range(0), made=26),
    "update": Operation(_update, "PATCH /(Users|Groups)", person, range(24), range(4)),
    "disable": Operation(_disable, "PATCH /Users", person, range(20, 40)),
    "delete": Operation(_delete, "DELETE /(Users|Groups)", person, range(20, 40), range(20, 24)),
    "add members": Operation(_add_members, "PATCH /Groups", group, range(24)),
    "remove members": Operation(_remove_members, "PATCH /Groups", group, range(24)),
}
