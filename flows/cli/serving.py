"""Commands for whoever lets jobs run by themselves: a server with its UI, deployments, a worker."""

from pathlib import Path
from typing import Annotated

import typer

from flows.cli.answering import WRONG, complain, say

Folder = Annotated[Path, typer.Argument(metavar="[FOLDER]", help="Where the job files are; here without it.")]


def up(
    folder: Folder = Path(),
    port: Annotated[int, typer.Option(min=1024, max=65534, help="Port of the server on this machine.")] = 4200,
    pages_port: Annotated[
        int | None,
        typer.Option(min=1024, max=65535, help="Port of the reports and Data Docs; the one after --port without it."),
    ] = None,
) -> None:
    """Serve the jobs of a folder: a Prefect server with its UI, deployments with their schedules, and a worker."""
    from flows.serve.up import run_up

    raise typer.Exit(run_up(folder, port, pages_port or port + 1))


def deploy(
    folder: Folder = Path(),
    to: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write them to this prefect.yaml instead, for prefect deploy --all."),
    ] = None,
) -> None:
    """Deploy the jobs of a folder to the Prefect server that is up or configured; deploying again updates them."""
    from flows.cycle.home import home
    from flows.serve import local_api
    from flows.serve.jobs_of import jobs_of, refuse_wrong_files
    from flows.serve.prefect_home import find_server

    if to is not None:
        from flows.serve.project_file import write_project_file

        write_project_file(to, jobs_of(folder))
        return
    refuse_wrong_files(folder)
    own = local_api.is_configured()
    if not own and find_server(home()) is None:
        complain("No Prefect server is known here: start one with provisor up, or set PREFECT_API_URL.", WRONG)
    with local_api.serving(home()):
        from connectors.blocks import register
        from flows.serve.automations import find_the_dead
        from flows.serve.deploy import deploy_folder

        register()
        if own:
            find_the_dead()
        for sentence in deploy_folder(folder).sentences:
            say(sentence)
