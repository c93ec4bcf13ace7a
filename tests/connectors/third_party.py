"""A connector from somebody else, installed as they would install it: a module and an entry point on the path."""

from pathlib import Path

NAME = "third_party_directory"

MODULE = '''
"""A directory that can be read and written, and a feed that can only be read."""
from enum import StrEnum

from pydantic import Field

from connectors.registry import Connector
from connectors.settings import Secret, Settings


class Bearer(Settings):
    bearer: Secret
    """Token."""


class Basic(Settings):
    user: str
    password: Secret


class Paging(StrEnum):
    INDEX = "index"
    CURSOR = "cursor"


class DirectorySettings(Settings):
    """A directory with an interface over HTTP."""

    url: str
    """Address of the directory. A second sentence."""
    auth: Bearer | Basic
    paging: Paging = Paging.INDEX
    page_size: int = Field(default=100, ge=1)


class Table(Settings):
    """One file."""

    path: str
    """Path of the file, relative to the job file."""
    key: str


class FeedSettings(Settings):
    users: Table
    groups: Table | None = None


class Opened:
    def __init__(self, settings, folder, pace=None):
        self.settings, self.folder, self.pace = settings, folder, pace


def open_it(settings, *, folder, pace=None):
    return Opened(settings, folder, pace)


directory = Connector("directory", "A directory", DirectorySettings, open_it, DirectorySettings, open_it)
feed = Connector("feed", "A feed", FeedSettings, open_it)
not_a_connector = object()
'''

ENTRY_POINTS = """
[provisor.connectors]
directory = third_party_directory:directory
feed = third_party_directory:feed
nonsense = third_party_directory:not_a_connector
lonely = third_party_directory_that_is_not_there:connector
"""


def install(folder: Path) -> Path:
    """Puts the connectors ``directory`` and ``feed`` (and two broken ones) into a folder, to be added to the path."""
    information = folder / "third_party_directory-1.0.dist-info"
    information.mkdir()
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: third-party-directory\nVersion: 1.0\n")
    (information / "entry_points.txt").write_text(ENTRY_POINTS)
    (folder / "third_party_directory.py").write_text(MODULE)
    return folder
