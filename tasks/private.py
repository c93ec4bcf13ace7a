"""Files and folders that their owner alone may read: whatever is kept on disk is about people."""

import os
import secrets
from pathlib import Path

FOLDER_MODE, FILE_MODE = 0o700, 0o600


def make_folder(folder: Path) -> Path:
    """The folder, made with those above it that are missing; what is there keeps its mode. Raises: OSError."""
    for missing in reversed([one for one in (folder, *folder.parents) if not one.exists()]):
        missing.mkdir(mode=FOLDER_MODE, exist_ok=True)  # with parents=True they get what the umask leaves
    return folder


def own_folder(folder: Path) -> Path:
    """As :func:`make_folder`, for one that nobody else has a use for: opened to others, it is closed again."""
    make_folder(folder).chmod(FOLDER_MODE)
    return folder


def make_file(path: Path) -> Path:
    """The file, empty where it was missing; opened to others, it is closed again. Raises: OSError."""
    path.touch(mode=FILE_MODE)
    if path.stat().st_mode & 0o777 != FILE_MODE:
        path.chmod(FILE_MODE)
    return path


def write_file(path: Path, content: bytes) -> None:
    """Writes a file that is private from its first byte on."""
    make_file(path).write_bytes(content)


def replace_file(path: Path, content: bytes) -> None:
    """As :func:`write_file`, at once or not at all."""
    new = path.with_name(f"{path.name}.{secrets.token_hex(4)}.new")
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, FILE_MODE), "wb") as file:
        file.write(content)
    new.replace(path)


def kept_secret(path: Path) -> bytes:
    """Random bytes that are made once and then stay the same; the first process that makes the file decides.

    Raises: OSError.
    """
    new = path.with_name(f"{path.name}.{secrets.token_hex(4)}.new")
    if not path.exists():
        write_file(new, secrets.token_bytes(32))
        try:
            os.link(new, path)
        except FileExistsError:
            pass
        finally:
            new.unlink()
    return path.read_bytes()
