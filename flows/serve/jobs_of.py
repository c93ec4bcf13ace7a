"""The jobs of a folder: every YAML file in it that is one."""

from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from connectors.errors import ProvisorError
from tasks.job import Job, JobError, Problem, load_job
from tasks.job.chains import chain_problems, followers_of

_MARKS = {"source", "target", "users", "include"}
"""Sections of which a file that is meant to be a job has at least one."""


def jobs_of(folder: Path) -> list[Job]:
    """Every job of a folder, by its whole path, in the order of their names. Files that are about something else,
    as ``prefect.yaml``, are left out.

    Raises: JobError with every problem of every file; for a folder without jobs; for a name that two jobs have.
    """
    if not folder.is_dir():
        raise _wrong(folder, "This is not a folder: give the folder with the job files.")
    jobs: list[Job] = []
    problems: list[Problem] = []
    for path in _files(folder.absolute()):
        if not _is_meant_to_be_one(path):
            continue
        try:
            job = load_job(path)
        except JobError as error:
            problems += error.problems
            continue
        if (other := next((one for one in jobs if one.name == job.name), None)) is not None:
            problems += _wrong(path, f"{other.file.name} has a job called {job.name} too: rename one of them.").problems
        jobs.append(job)
    after = chains_of(folder)
    problems += [problem for job in jobs for problem in chain_problems(job, after)]
    if problems:
        raise JobError(problems)
    if not jobs:
        raise _wrong(folder, "There is no job file in this folder: provisor init --source people.csv writes one.")
    return sorted(jobs, key=lambda job: job.name)


def named_files(folder: Path) -> dict[str, Path]:
    """The files of a folder that are meant to be jobs, by the name of the job; none of them is checked."""
    contents = {path: _content(path) for path in _files(folder)}
    return {
        str(content.get("name") or path.stem): path
        for path, content in contents.items()
        if not _MARKS.isdisjoint(content)
    }


def files_named(folder: Path, name: str) -> list[Path]:
    """The files of a folder whose job has this name: one, where no copy was forgotten."""
    return [
        path
        for path in _files(folder)
        if not _MARKS.isdisjoint(content := _content(path)) and str(content.get("name") or path.stem) == name
    ]


def chains_of(folder: Path) -> dict[str, tuple[str, ...]]:
    """The jobs of a folder by name, each with those that it runs after; of a file that is wrong nothing is known."""
    return {name: _after(path) for name, path in named_files(folder).items()}


def next_after(job: Job) -> list[str]:
    """The jobs of a job's folder that run right after it; other files are not read for that."""
    if not any(map(_mentions_others, _files(job.folder))):
        return []
    return followers_of(job.name, chains_of(job.folder))


def refuse_wrong_chain(job: Job) -> None:
    """Passes when the jobs after which a job runs lie in its folder, and wait for it in no circle. Raises: JobError."""
    if job.after and (problems := list(chain_problems(job, chains_of(job.folder)))):
        raise JobError(problems)


def _after(path: Path) -> tuple[str, ...]:
    """Only a file in which something is written about it is read as a whole."""
    content = _content(path)
    schedule = content.get("schedule")
    if not content.get("include") and not (isinstance(schedule, dict) and "after" in schedule):
        return ()
    try:
        return load_job(path).after
    except ProvisorError:  # also one whose connection is a block, where no server is up
        return ()


def refuse_wrong_files(folder: Path) -> None:
    """Passes when the job files of a folder can be read, as far as that can be said before a server is asked.

    Raises: JobError.
    """
    if not _need_blocks(folder):
        jobs_of(folder)


def _need_blocks(folder: Path) -> bool:
    """True when a job of a folder takes a connection from a block: only a server that answers can say what it is."""
    contents = map(_content, _files(folder))
    return any(isinstance(content.get(side), str) for content in contents for side in ("source", "target"))


def _mentions_others(path: Path) -> bool:
    """Whether it may say that its job runs after others, which then is found out by reading it."""
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
    return "after" in text or "include" in text


def _files(folder: Path) -> list[Path]:
    return sorted([*folder.glob("*.yaml"), *folder.glob("*.yml")])


def _is_meant_to_be_one(path: Path) -> bool:
    return not _MARKS.isdisjoint(_content(path))


def _content(path: Path) -> dict[str, Any]:
    """What stands in a file; of one that cannot be read all that makes it a job, so that it is said what is wrong."""
    try:
        content = YAML(typ="safe", pure=True).load(path)  # as the job itself is read
    except (YAMLError, OSError, UnicodeDecodeError):
        return dict.fromkeys(_MARKS)
    return content if isinstance(content, dict) else {}


def _wrong(path: Path, message: str) -> JobError:
    return JobError([Problem(path, None, None, "", message)])
