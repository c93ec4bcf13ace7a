"""Parts of job files that several jobs share, and environments: what is joined, what wins, and what a mistake says."""

import os
from pathlib import Path

import pytest

from flows.serve.jobs_of import jobs_of, named_files
from tasks.job import JobError, load_job

BASE = """\
source: {connector: csv, users: {path: people.csv, key: employeeId}}
target:
  connector: scim
  url: https://test.example.com/v2
  auth: {bearer: "${env:SCIM_TOKEN}"}
users:
  matching: [{source: "[login]", target: userName}]
  attributes:
    userName: "[login]"
    title: "[jobTitle]"
"""
LIMITS = "limits: {removals: {count: 20, fraction: 0.1}}\nprotect: [admin@example.com]\n"
JOB = """\
name: hr-to-app
include: [shared/base.yaml, shared/limits.yaml]
target: {url: https://app.example.com/v2}
users: {attributes: {title: "Left([jobTitle], 9)"}}
limits: {removals: {count: 5}}
protect: [root@example.com]
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A job in a folder, its parts in another below it."""
    (tmp_path / "shared").mkdir()
    (tmp_path / "shared/base.yaml").write_text(BASE)
    (tmp_path / "shared/limits.yaml").write_text(LIMITS)
    (tmp_path / "job.yaml").write_text(JOB)
    return tmp_path


def test_mappings_are_joined_and_the_job_wins(folder: Path) -> None:
    """Key by key, at every depth; lists and single values are replaced."""
    job = load_job(folder / "job.yaml")
    assert job.target.settings.model_dump()["url"] == "https://app.example.com/v2"
    assert {path: rule.expression for path, rule in job.users.attributes.items()} == {
        "userName": "[login]",
        "title": "Left([jobTitle], 9)",
    }
    assert (job.limits.removals.count, job.limits.removals.fraction) == (5, 0.1)
    assert job.protect == ("root@example.com",)


def test_an_environment_is_a_job_that_includes_one(folder: Path) -> None:
    """Its own name and address, everything else as it is; a folder's jobs are its own files, not those below it."""
    (folder / "staging.yaml").write_text(
        "include: job.yaml\nname: hr-to-staging\ntarget: {url: https://s.example.com/v2}\n"
    )
    job = load_job(folder / "staging.yaml")
    assert (job.name, job.limits.removals.count) == ("hr-to-staging", 5)
    assert [one.name for one in jobs_of(folder)] == ["hr-to-app", "hr-to-staging"]
    assert named_files(folder).keys() == {"hr-to-app", "hr-to-staging"}


def test_a_change_of_a_shared_part_changes_the_job(folder: Path) -> None:
    """A cycle knows that the configuration is another one."""
    before = load_job(folder / "job.yaml").fingerprint()
    (folder / "shared/base.yaml").write_text(BASE.replace('userName: "[login]"', "userName: ToLower([login])"))
    assert load_job(folder / "job.yaml").fingerprint() != before


def test_a_mistake_is_told_in_the_file_that_it_is_in(folder: Path) -> None:
    """File and line of the part, also for an expression; problems of the job itself come first."""
    base = BASE.replace('userName: "[login]"\n', "userName: ToLowr([login])\n")
    assert base != BASE
    (folder / "shared/base.yaml").write_text(base)
    (folder / "job.yaml").write_text(JOB.replace("protect:", "protekt:"))
    with pytest.raises(JobError) as caught:
        load_job(folder / "job.yaml")
    first, second = caught.value.problems
    assert (first.file.name, first.line, second.file.name, second.line) == ("job.yaml", 6, "base.yaml", 9)
    assert "ToLowr" in str(second)


@pytest.mark.parametrize(
    ("include", "says"),
    [
        ("shared/bse.yaml", "There is no file shared/bse.yaml to include"),
        ("[{a: b}]", "Name the files to include"),
        ("job.yaml", "job.yaml includes this file, which includes it"),
        ("shared/loop.yaml", "includes this file, which includes it"),
        ("shared/list.yaml", "A job file holds keys at its top level"),
    ],
)
def test_what_cannot_be_included(folder: Path, include: str, says: str) -> None:
    """One sentence with its place; a circle ends."""
    (folder / "shared/loop.yaml").write_text("include: ../job.yaml\n")
    (folder / "shared/list.yaml").write_text("- a\n")
    (folder / "job.yaml").write_text(f"include: {include}\n{JOB.replace('include:', '# ')}")
    with pytest.raises(JobError, match=says):
        load_job(folder / "job.yaml")


def test_a_file_that_was_changed_is_another_one(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run reads its job file several times and composes the same text once: what is written there counts, however
    lately it was written, in the file and in what it includes; and so does how deep it may be nested."""
    file, shared = folder / "job.yaml", folder / "shared/limits.yaml"
    first = load_job(file)
    assert (load_job(file), load_job(file).protect) == (first, ("root@example.com",))
    times = file.stat().st_atime_ns, file.stat().st_mtime_ns
    file.write_text(JOB.replace("root@", "boss@"))
    os.utime(file, ns=times)
    assert load_job(file).protect == ("boss@example.com",)
    shared.write_text(LIMITS.replace("0.1", "0.2"))
    assert load_job(file).limits.removals.fraction == 0.2
    monkeypatch.setenv("PROVISOR_YAML_DEPTH", "1")
    with pytest.raises(JobError, match="nested deeper than 1 levels"):
        load_job(file)
