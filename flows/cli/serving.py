"""Commands that serve: Prefect with deployments and a worker, the pages for people and their users, backups."""

import os
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from flows.cli.answering import WRONG, complain, say

Folder = Annotated[Path, typer.Argument(metavar="[FOLDER]", help="Folder with the job files (default: this one).")]


def up(
    folder: Folder = Path(),
    port: Annotated[int, typer.Option(min=1024, max=65534, help="Port of the Prefect server on this machine.")] = 4200,
    pages_port: Annotated[
        int | None,
        typer.Option(min=1024, max=65535, help="Port of the pages for people (default: --port plus 1)."),
    ] = None,
) -> None:
    """Serve the jobs of a folder: a Prefect server with its UI, scheduled deployments and a worker."""
    from flows.serve.up import run_up

    raise typer.Exit(run_up(folder, port, pages_port or port + 1))


def pages(
    folder: Folder = Path(),
    port: Annotated[int, typer.Option(min=1024, max=65535, help="Port of the pages on this machine.")] = 4201,
) -> None:
    """Serve only the pages for people, without Prefect: overview, people, approvals, access."""
    from flows.serve.pages_alone import run_pages

    raise typer.Exit(run_pages(folder, port))


class UserDeed(StrEnum):
    """Actions on password sign-ins."""

    LIST = "list"
    PUT = "put"
    REMOVE = "remove"


def users(
    deed: Annotated[UserDeed, typer.Argument(help="list users, put (add or change) one, or remove one.")],
    login: Annotated[str, typer.Argument(metavar="LOGIN", help="Login of the user; not for list.")] = "",
    name: Annotated[str, typer.Option(help="Display name.")] = "",
    role: Annotated[
        list[str] | None,
        typer.Option(
            metavar="ROLE[:JOB,JOB]",
            help="viewer, helpdesk, approver or operator, for all jobs or the named ones. Repeatable.",
        ),
    ] = None,
) -> None:
    """Say who may sign in to the pages with a password, and what they may do; the password is asked for."""
    from flows.serve.pages_alone import list_users, put_user, remove_user

    if (deed is UserDeed.LIST) == bool(login):
        raise typer.BadParameter("put and remove take one login, list takes none", param_hint="LOGIN")
    match deed:
        case UserDeed.LIST:
            said, right = list_users(), True
        case UserDeed.REMOVE:
            said, right = remove_user(login)
        case UserDeed.PUT:
            said, right = put_user(login, name, role or [])
    if not right:
        complain(said, WRONG)
    say(said)


def deploy(
    folder: Folder = Path(),
    to: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Write the deployments to this prefect.yaml instead, for prefect deploy --all."
        ),
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
        complain("No Prefect server found: start one with provisor up, or set PREFECT_API_URL.", WRONG)
    with local_api.serving(home()):
        from connectors.blocks import register
        from flows.serve.automations import find_the_dead
        from flows.serve.deploy import deploy_folder

        register()
        if own:
            find_the_dead()
        for sentence in deploy_folder(folder).sentences:
            say(sentence)


def backup(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Backup file, like provisor-2026-11-30.tar.gz.")],
) -> None:
    """Back up the state folder to one file: ledger, log, reports, keys. Cycles can keep running."""
    from flows.cli.backup import back_up
    from flows.cycle.home import home

    elsewhere = bool(os.environ.get("PROVISOR_DATABASE_URL"))
    back_up(home(), file, elsewhere=elsewhere)
    say(f"{file} contains the state of {home()}. It holds names and keys: keep it as safe as the state itself.")
    if elsewhere:
        say("The ledger is not in it, as PROVISOR_DATABASE_URL names a database: copy that too, with pg_dump.")


def restore(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="File written by provisor backup.", exists=True)],
    replace: Annotated[
        bool, typer.Option("--replace", help="Move the state that is there aside, and put the backup in its place.")
    ] = False,
) -> None:
    """Replace the state folder with a backup; each job then reads both sides in full."""
    from flows.cli.backup import restore as put_back
    from flows.cycle.home import home
    from flows.serve.prefect_home import find_server

    if (up := find_server(home())) is not None:
        complain(f"A server is up for {home()}: {up.url}. End it first.", WRONG)
    about, aside = put_back(file, home(), replace=replace)
    say(f"Restored the state of {about.made} to {home()}.")
    if aside is not None:
        say(f"The previous state is in {aside}.")
    if not about.ledger:
        say("The ledger was in a separate database: restore that too, from the same time.")
    say("Look before the next cycle: provisor plan JOB. What was done since then is not in the log any more.")
