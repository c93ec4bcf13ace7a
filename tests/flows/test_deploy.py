"""Deployments for people who run a Prefect server of their own."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from ruamel.yaml import YAML

from flows.serve.jobs_of import jobs_of
from flows.serve.project_file import write_project_file
from tests.flows.workplace import ROOT

JOBS = ROOT / "flows" / "jobs"
LONG = bool(os.environ.get("PROVISOR_LONG"))


def test_the_project_file_is_what_the_shipped_jobs_say(tmp_path: Path, golden: Callable[[Path, str], None]) -> None:
    """It is written by ``provisor deploy flows/jobs --to prefect.yaml``, with paths from its own folder on."""
    file = ROOT / "prefect.yaml"
    made = tmp_path / "prefect.yaml"
    write_project_file(made, jobs_of(JOBS))
    jobs = os.path.relpath(JOBS, tmp_path)
    golden(file, made.read_text(encoding="utf-8").replace(jobs, "flows/jobs"))
    entries = YAML(typ="safe").load(file)["deployments"]
    assert {entry["parameters"]["job"] for entry in entries} == {
        f"flows/jobs/{path.name}" for path in JOBS.glob("*.yaml")
    }


def test_prefect_deploys_the_project_file(prefect_api: str) -> None:
    """``prefect deploy`` makes the deployments, with schedules and one run at a time; again makes no more.

    The short form takes two of the jobs; the long form, with ``PROVISOR_LONG=1``, all of them: ``--all``.
    """
    environment = {**os.environ, "PREFECT_API_URL": prefect_api}
    httpx.post(f"{prefect_api}/work_pools/", json={"name": "provisor", "type": "process"}, timeout=60)
    jobs = [path.stem for path in JOBS.glob("*.yaml")] if LONG else ["hr-to-scim", "scim-to-scim"]
    some = [word for job in jobs for name in (job, f"{job}-*") for word in ("--name", name)]
    for words in (["--all"] if LONG else some, ["--name", "scim-to-scim"]):
        command = [str(Path(sys.executable).with_name("prefect")), "--no-prompt", "deploy", *words]
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
    found: list[dict[str, Any]] = httpx.post(f"{prefect_api}/deployments/filter", json={}, timeout=60).json()
    found = [one for one in found if one["parameters"]["job"].startswith("flows/jobs/")]  # others use the server too
    by_name = {one["name"]: one for one in found}
    assert len(by_name) == len(found) == 6 * len(jobs)
    assert by_name["scim-to-scim"]["schedules"][0]["schedule"]["interval"] == 1200
    assert by_name["scim-to-scim"]["global_concurrency_limit"]["limit"] == 1
    assert by_name["hr-to-scim-restart"]["parameters"] == {"job": "flows/jobs/hr-to-scim.yaml"}


@pytest.mark.usefixtures("prefect_api")
def test_nobody_deploys_to_a_server_that_is_not_there(
    provisor: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The sentence says what would help."""
    monkeypatch.delenv("PREFECT_API_URL")
    monkeypatch.setenv("PREFECT_HOME", "/nowhere")
    said = provisor("deploy", JOBS)
    assert (said.status, "provisor up" in said.err) == (2, True)
