"""Jobs that run after others: HR to directory, directory to apps. Pure; a job is known by its name here."""

from collections.abc import Iterator, Mapping, Sequence

from tasks.job.models import Job
from tasks.job.problems import Problem, did_you_mean
from tasks.job.yaml import read_yaml

After = Mapping[str, Sequence[str]]
"""The jobs of a folder by name, each with the names of the jobs that it runs after."""


def chain_problems(job: Job, after: After) -> Iterator[Problem]:
    """What is wrong with the place of a job among the others: a name that no job has, and a circle."""
    for name in job.after:
        if name not in after:
            others = sorted(after.keys() - {job.name})
            there = did_you_mean(name, others) or (f" There are: {', '.join(others)}." if others else "")
            yield _problem(job, f"No job of this folder is called {name}.{there}")
    if circle := circle_of(job.name, after):
        way = " after ".join(circle)
        yield _problem(job, f"These jobs wait for each other in a circle: {way}. Remove after from one of them.")


def circle_of(name: str, after: After) -> list[str]:
    """The shortest way from a job over the jobs that it runs after back to itself, both ends named; empty: none."""
    ways, seen = [[name]], {name}
    while ways:
        longer = []
        for way in ways:
            for before in after.get(way[-1], ()):
                if before == name:
                    return [*way, name]
                if before not in seen:
                    seen.add(before)
                    longer.append([*way, before])
        ways = longer
    return []


def followers_of(name: str, after: After) -> list[str]:
    """The jobs that run right after a job, by name."""
    return sorted(one for one, before in after.items() if name in before)


def chain_from(name: str, after: After) -> list[str]:
    """All jobs that come after a job, directly or not, each behind all of those that it waits for; no circle."""
    coming: set[str] = set()
    look = [name]
    while look:
        for one in followers_of(look.pop(), after):
            if one not in coming:
                coming.add(one)
                look.append(one)
    order: list[str] = []
    while coming:
        ready = sorted(one for one in coming if coming.isdisjoint(after[one]))
        order += ready or sorted(coming)  # a circle is refused before; it must not hang here
        coming -= set(order)
    return order


def _problem(job: Job, message: str) -> Problem:
    key = ("schedule", "after")
    if not job.file.is_file():
        return Problem(job.file, None, None, ".".join(key), message)
    return read_yaml(job.file).problem(key, message)
