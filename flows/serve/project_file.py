"""The deployments of jobs as a ``prefect.yaml``, for people who run a Prefect server of their own."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.scalarstring import LiteralScalarString

from flows.serve.deploy import FORMS, POOL, Form, tags_of
from flows.show.picture import picture
from tasks.job import Job
from tasks.markdown import NOTHING, markdown, page

_HEAD = """\
# The deployments of the jobs, for people who run a Prefect server of their own: prefect deploy --all
# Written by: provisor deploy FOLDER --to prefect.yaml. The worker runs in this folder.
"""


def write_project_file(path: Path, jobs: Sequence[Job]) -> None:
    """Writes the file; the paths of the jobs in it are from its folder on."""
    yaml = YAML()
    yaml.width = 120
    yaml.indent(mapping=2, sequence=4, offset=2)
    with path.open("w", encoding="utf-8") as file:
        file.write(_HEAD)
        yaml.dump(project_file(jobs, path.absolute().parent), file)


def project_file(jobs: Sequence[Job], folder: Path) -> dict[str, Any]:
    """The same deployments as the content of a ``prefect.yaml`` in a folder, for ``prefect deploy --all``.

    Prefect makes the forms itself there: they ask for the job file too, with the right one filled in.
    """
    return {
        "name": "provisor",
        "pull": [{"prefect.deployments.steps.set_working_directory": {"directory": "{{ $PWD }}"}}],
        "deployments": [_entry(job, form, folder) for job in jobs for form in FORMS],
    }


def _entry(job: Job, form: Form, folder: Path) -> dict[str, Any]:
    file = os.path.relpath(job.file, folder)
    shown = job.model_copy(update={"file": Path(file)})
    entry: dict[str, Any] = {
        "name": form.name(job),
        "entrypoint": form.entrypoint,
        "description": LiteralScalarString(page([markdown(form.says), NOTHING, picture(shown), NOTHING])),
        "tags": tags_of(job, form),
        "version": job.fingerprint()[:12],
        "parameters": {"job": file},
        "enforce_parameter_schema": True,
        "work_pool": {"name": POOL},
    }
    if form.exclusive:
        entry["concurrency_limit"] = {"limit": 1, "collision_strategy": "ENQUEUE"}
    if form.scheduled and (schedule := job.schedule) is not None:
        rhythm = (
            {"cron": schedule.cron} if schedule.rhythm is None else {"interval": int(schedule.rhythm.total_seconds())}
        )
        entry["schedules"] = [{**rhythm, "timezone": schedule.timezone}]
    return entry
