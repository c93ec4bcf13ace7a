"""What ``provisor up`` keeps in the state folder: the keys of its server, and where that server answers.

Known before Prefect is imported, so that a run in a shell finds the server that is up and shows in its UI too.
"""

import base64
import json
import os
import secrets
import urllib.error
import urllib.request
from dataclasses import asdict, dataclass, field
from pathlib import Path

from connectors.errors import SettingsError
from tasks.private import make_folder, replace_file

_USER = "provisor"


@dataclass(frozen=True, slots=True)
class Keys:
    """What keeps others out of the server; made once, readable by its owner alone."""

    sign_in: str = field(repr=False)
    """User and password, as Prefect's API and its sign-in page take them: ``provisor:…``."""
    encryption: str = field(repr=False)
    """Fernet key of what blocks hold; without one of its own Prefect keeps it in the same database."""

    @property
    def settings(self) -> dict[str, str]:
        """What a server is told of them."""
        return {
            "PREFECT_SERVER_API_AUTH_STRING": self.sign_in,
            "PREFECT_SERVER_ENCRYPTION_KEY": self.encryption,
        }


@dataclass(frozen=True, slots=True)
class Address:
    """Where the server that is up answers."""

    url: str
    """Of the API, as ``PREFECT_API_URL`` takes it."""
    pid: int
    """The process of ``provisor up``."""
    pages: str = ""
    """Where the reports and Data Docs are served."""


def prefect_folder(home: Path) -> Path:
    """Prefect's part of the state folder, made when it is not there; nobody else can look into it."""
    return make_folder(home / "prefect")


def keys_of(home: Path) -> Keys:
    """The keys of this state folder, made when there are none. Raises: SettingsError when they cannot be read."""
    file = keys_file(home)
    if not file.exists():
        made = Keys(f"{_USER}:{secrets.token_urlsafe(24)}", base64.urlsafe_b64encode(os.urandom(32)).decode())
        replace_file(file, json.dumps(asdict(made)).encode())
        return made
    try:
        return Keys(**json.loads(file.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        raise SettingsError(
            f"The keys in {file} cannot be read. Without them the blocks of this state folder cannot be read either: "
            "put the file back, or delete it and enter the blocks anew."
        ) from None


def keys_file(home: Path) -> Path:
    """Where the keys lie."""
    return prefect_folder(home) / "keys.json"


def announce(home: Path, address: Address) -> None:
    """Says to runs of this state folder that a server is up."""
    replace_file(_address_file(home), json.dumps(asdict(address)).encode())


def withdraw(home: Path) -> None:
    """Takes back what was announced."""
    _address_file(home).unlink(missing_ok=True)


def find_server(home: Path) -> Address | None:
    """Where the server answers that is up for this state folder; None where none is, or it does not answer."""
    try:
        address = Address(**json.loads(_address_file(home).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None
    return address if answers(address.url) else None


def answers(url: str, *, timeout_s: float = 5) -> bool:
    """Whether a Prefect API answers at this address."""
    try:
        with urllib.request.urlopen(f"{url}/health", timeout=timeout_s):
            return True
    except (urllib.error.URLError, OSError):
        return False


def _address_file(home: Path) -> Path:
    return home / "prefect" / "up.json"
