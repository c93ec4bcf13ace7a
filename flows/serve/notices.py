"""Tells the people of the jobs what the Prefect server finds out by itself: a run that died, a run that is overdue.

The server sends these: where a run died there is nobody else. ``provisor up`` has its server load this module, so that
it knows the block. Jobs and addresses may refer to blocks, for which a client has to ask the server: that is a process
of its own, since the server cannot be its own client.
"""

import os
import sys
from pathlib import Path

import orjson
from anyio import run_process
from prefect.blocks.abstract import NotificationBlock
from pydantic import Field


class JobNotice(NotificationBlock):
    """Sends a notice to the addresses that the jobs of a folder have under ``notify``."""

    _block_type_name = "Provisor job notice"
    _block_type_slug = "provisor-job-notice"
    _description = "Tells the people of the jobs in a folder, by the addresses that stand under notify in each job."

    folder: str = Field(description="Folder with the job files.")
    api: str = Field(default="", description="Address of the Prefect API that holds the blocks of these jobs.")

    async def notify(self, body: str, subject: str | None = None) -> None:
        """Sends it to the addresses of the job that the subject begins with: ``hr-to-app-reconcile: …``."""
        told = orjson.dumps({"folder": self.folder, "body": body, "subject": subject or ""})
        environment = {**os.environ, "PREFECT_API_URL": self.api} if self.api else None
        await run_process([sys.executable, "-m", __name__], input=told, env=environment)


def tell(folder: Path, body: str, subject: str) -> None:
    """Sends a notice to the people of the job whose deployment the subject begins with."""
    from flows.serve.jobs_of import jobs_of
    from tasks.notify import send

    deployment = subject.partition(":")[0]
    about = [job for job in jobs_of(folder) if deployment == job.name or deployment.startswith(f"{job.name}-")]
    for job in sorted(about, key=lambda job: len(job.name))[-1:]:
        send(job, subject, body.split("\n"))


if __name__ == "__main__":
    told = orjson.loads(sys.stdin.buffer.read())
    tell(Path(told["folder"]), told["body"], told["subject"])
