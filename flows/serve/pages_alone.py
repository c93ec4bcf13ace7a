"""``provisor pages``: the pages by themselves; and ``provisor users``: who may sign in to them with a password."""

import getpass
import signal
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

from rich.markup import escape

from connectors.errors import SettingsError
from flows.cycle.home import home
from flows.cycle.systems import now, open_ledger
from flows.serve.prefect_home import find_server, keys_file, keys_of
from flows.serve.web.rights import Grant, Rights, Role
from flows.serve.web.serving import serving_pages
from flows.serve.web.signing_in import SHORTEST_PASSWORD, hash_password
from flows.show.console import console
from tasks.ledger import LocalUser


def run_pages(folder: Path, port: int) -> int:
    """Serves the pages until it is told to end; gives the exit status. Raises: SettingsError, LedgerError."""
    state, out, told = home(), console(), threading.Event()
    if not folder.is_dir():
        raise SettingsError(f"{folder} is not a folder: give the folder with the job files.")
    keys, up = keys_of(state), find_server(state)
    prefect = up.url.removesuffix("/api") if up is not None else ""
    with serving_pages(state, folder, port, keys.sign_in, prefect=prefect) as address:
        out.print(f"The pages are running: [bold]{address}[/]")
        if out.is_terminal:
            login, _, password = keys.sign_in.partition(":")
            out.print(f"Sign in as      [bold]{escape(login)}[/] with the password [bold]{escape(password)}[/]")
        else:
            out.print(f"Sign in with the value of sign_in in {escape(str(keys_file(state)))}")
        out.print("Ctrl-C ends it.")
        signal.signal(signal.SIGTERM, lambda *_: told.set())
        try:
            while not told.wait(1):
                pass
        except KeyboardInterrupt:
            pass
    return 0


def list_users() -> str:
    """All users, and what they may do."""
    with open_ledger() as ledger:
        users = ledger.sign_ins.users()
    lines = [f"{one.login}  {one.name}  {Rights.of(one.grants).roles}" for one in users]
    return (
        "\n".join(lines) or "Nobody signs in with a password. Put somebody in: provisor users put LOGIN --role viewer"
    )


def put_user(login: str, name: str, roles: Sequence[str]) -> tuple[str, bool]:
    """Puts a user in, or changes one; gives a sentence, and whether it was done."""
    try:
        grants = [_grant(text) for text in roles]
    except ValueError as error:
        return str(error), False
    if not grants:
        return f"Give {login} a role: --role viewer, helpdesk, approver or operator.", False
    password = _ask_password(login)
    if len(password) < SHORTEST_PASSWORD:
        return f"The password is too short: use {SHORTEST_PASSWORD} characters or more. Nothing was changed.", False
    with open_ledger() as ledger:
        kept = [one.as_json() for one in grants]
        ledger.sign_ins.put_user(LocalUser(login, name, hash_password(password), kept), now=now())
    return f"{login} may sign in as {Rights(grants).roles}.", True


def remove_user(login: str) -> tuple[str, bool]:
    """Removes a user, whose sessions end; gives a sentence, and whether it was done."""
    with open_ledger() as ledger:
        if ledger.sign_ins.drop_user(login):
            return f"{login} can no longer sign in.", True
    return f"There is no user {login}: provisor users list", False


def _grant(text: str) -> Grant:
    """``approver:hr-to-scim,hr-to-crm``. Raises: ValueError."""
    role, _, jobs = text.partition(":")
    if role not in set(Role):
        raise ValueError(f"There is no role {role!r}: use {', '.join(Role)}.")
    return Grant(Role(role), tuple(filter(None, (job.strip() for job in jobs.split(",")))))


def _ask_password(login: str) -> str:
    """Asks a person for it; otherwise one line of standard input: it is never a word of a command."""
    if not sys.stdin.isatty():
        return sys.stdin.readline().rstrip("\n")
    return getpass.getpass(f"Password of {login}: ")
