"""How a connector declares its settings, and how credentials stay references until the moment they are used.

A setting is text in a job file. Any text may hold references (``${env:NAME}``, ``${file:path}``,
``${prefect:block-name}``); a setting of type :data:`Secret` must be made of references alone, so that a credential can
never be written into a job file. References are resolved by :func:`reveal` when a connector opens its connection; what
is kept, printed, compared and fingerprinted is always the reference.
"""

import os
import re
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated

from dotenv import dotenv_values
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from connectors.errors import SettingsError

_REFERENCE = re.compile(r"\$\{(env|file|prefect):([^}]+)\}")

ENVIRONMENT_FILE = ".env"
"""Beside a job file: values of ``${env:NAME}`` that the environment does not set."""

Name = Annotated[str, Field(min_length=1)]
"""What something is called: a column, a table, a file."""


class Settings(BaseModel):
    """Base of every settings section: unknown keys are refused, values do not change after loading."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    def place(self, *, folder: Path) -> str | None:
        """Where the system of these settings is, in one spelling and without credentials; None: its ``url`` says it.

        Two jobs whose targets are at the same place share its accounts, whatever else their settings say. Raises:
        SettingsError.
        """
        return None


def _only_references(text: str) -> str:
    if not _REFERENCE.search(text) or _REFERENCE.sub("", text).strip():
        raise ValueError(
            "a credential must be a reference, never a value: write ${env:NAME}, ${file:path} or ${prefect:block-name}"
        )
    return text


Secret = Annotated[str, AfterValidator(_only_references)]
"""A credential, as a reference."""


def path_alone(value: object) -> object:
    """An attribute in its long form, where it is given by its path alone."""
    return {"path": value} if isinstance(value, str) else value


def is_secret(mark: object) -> bool:
    """Whether a mark on a type is the one of :data:`Secret`."""
    return isinstance(mark, AfterValidator) and mark.func is _only_references


def match_reference(text: str) -> str | None:
    """The block's name in a text that is one reference to a block and nothing else."""
    match = _REFERENCE.fullmatch(text.strip())
    return match[2].strip() if match is not None and match[1] == "prefect" else None


def file_of(text: str, *, folder: Path) -> Path | None:
    """The file that a text refers to, where it is one reference to a file and nothing else."""
    match = _REFERENCE.fullmatch(text.strip())
    return folder / Path(match[2].strip()).expanduser() if match is not None and match[1] == "file" else None


def reveal(text: str, *, folder: Path) -> str:
    """The text with every reference replaced by what it points to; relative files are looked up from ``folder``.

    Raises: SettingsError naming the reference (never the value) when it points to nothing.
    """

    def look_up(match: re.Match[str]) -> str:
        scheme, name = match.group(1), match.group(2).strip()
        if scheme == "env":
            return _variable(name, folder / ENVIRONMENT_FILE)
        if scheme == "file":
            path = folder / Path(name).expanduser()
            return _file_text(path, reference=name)
        return _prefect_block(name)

    return _REFERENCE.sub(look_up, text)


def _variable(name: str, file: Path) -> str:
    """A variable of the environment, or of the file beside the job."""
    if value := os.environ.get(name):
        return value
    try:
        there = dotenv_values(file)
    except OSError as error:
        raise SettingsError(f"The file {file} cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError:
        there = None  # the error itself would carry the file's bytes along
    if there is None:
        raise SettingsError(f"The file {file} is not UTF-8 text: save it as UTF-8.")
    if value := there.get(name):
        return value
    reference = f"The environment variable {name} (referred to by ${{env:{name}}})"
    if name in there or name in os.environ:
        raise SettingsError(f"{reference} is empty: give it a value, in the environment or in {file}.")
    near = get_close_matches(name, [*there, *os.environ], n=1, cutoff=0.8)
    near += [other for other in [*there, *os.environ] if other.casefold() == name.casefold()]
    told = f"is not set, and {file} does not set it either"
    if near:
        raise SettingsError(f"{reference} {told}. Did you mean {near[0]}?")
    raise SettingsError(f"{reference} {told}. Put a line there: {name}=value.")


def _file_text(path: Path, *, reference: str) -> str:
    try:
        text = path.read_text(encoding="utf-8").strip()
    except OSError as error:
        raise SettingsError(
            f"The file {path} (referred to by ${{file:{reference}}}) cannot be read: {error.strerror}."
        ) from error
    except UnicodeDecodeError:
        text = ""  # the error itself would carry the file's bytes along
    if not text:
        raise SettingsError(f"The file {path} (referred to by ${{file:{reference}}}) holds no text.")
    return text


def _prefect_block(name: str) -> str:
    """The value of a Secret block, or after a dot the secret in a connection's block."""
    block, _, path = name.partition(".")
    if path:
        from connectors.blocks import secret_in

        if (value := secret_in(block, path)) is not None:
            return value
        raise SettingsError(f"There is no block named {block} (referred to by ${{prefect:{name}}}).")
    from httpx import HTTPError
    from prefect.blocks.system import Secret as SecretBlock

    try:
        # Inside a running event loop Prefect would give a coroutine; `_sync` is its way to ask for the value itself.
        value = SecretBlock.load(name, _sync=True).get()  # type: ignore[call-arg, union-attr]
    except ValueError as error:
        raise SettingsError(
            f"There is no Prefect Secret block named {name} (referred to by ${{prefect:{name}}})."
        ) from error
    except (HTTPError, RuntimeError) as error:
        raise SettingsError(f"Prefect does not answer, so ${{prefect:{name}}} cannot be looked up: {error}") from error
    return str(value)
