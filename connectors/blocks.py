"""Connections as blocks of Prefect: a typed form for each connector, and job files that name a block.

``target: ${prefect:our-app}`` in a job takes the settings of the block ``our-app``. What is secret in it stays there:
the job holds a reference to it (``${prefect:our-app.auth.bearer}``), which is looked up when the connection is opened.
Prefect is imported by the functions that talk to it.
"""

import types
from collections.abc import Mapping
from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, Field, SecretStr, create_model
from pydantic.fields import FieldInfo

from connectors.errors import SettingsError
from connectors.registry import find, names
from connectors.settings import Settings, is_secret, match_reference

if TYPE_CHECKING:
    from prefect.blocks.core import Block


class Side(StrEnum):
    """On which side of a job a connection can be."""

    SOURCE = "source"
    TARGET = "target"


def slug_of(connector: str, side: Side) -> str:
    """How Prefect calls the type of a connection's block: ``scim-target``."""
    return f"{connector}-{side}"


@cache
def block_class(connector: str, side: Side) -> "type[Block]":
    """The block of a connector on one side of a job: ``ScimTarget``, ``CsvSource``.

    Its form has what the connector's settings have; a credential is entered itself, not as a reference.
    Raises: SettingsError when the connector cannot be on that side.
    """
    from prefect.blocks.core import Block

    found = find(connector)
    settings = found.source_settings if side is Side.SOURCE else found.target_settings
    if settings is None:
        raise SettingsError(f"The connector {connector} cannot be a {side}.")
    name = f"{connector.capitalize()}{side.capitalize()}"
    made = create_model(name, __base__=Block, __module__=__name__, **_fields(settings))
    made.__doc__ = settings.__doc__
    made._block_type_name = f"{connector.upper() if len(connector) < 5 else connector.capitalize()} {side}"
    made._block_type_slug = slug_of(connector, side)
    made._description = f"{found.title}. In a job: {side}: ${{prefect:NAME}}"
    return made


def register() -> list[str]:
    """Makes the blocks of all connectors known to the configured Prefect API; gives the names of their types."""
    registered = []
    for connector in names():
        found = find(connector)
        for side, settings in ((Side.SOURCE, found.source_settings), (Side.TARGET, found.target_settings)):
            if settings is not None:
                made = block_class(connector, side)
                made.register_type_and_schema(_sync=True)  # type: ignore[call-arg]
                registered.append(str(made._block_type_name))
    return registered


def section_of(reference: str, side: Side) -> dict[str, Any]:
    """What a job's section says that is one reference to a block: the connector and its settings.

    Secrets are references again. Raises: SettingsError.
    """
    name = match_reference(reference)
    if name is None:
        raise SettingsError(f"{reference} is no reference to a block: write ${{prefect:block-name}}.")
    for connector in names():
        if (data := _data(slug_of(connector, side), name, secrets=False)) is not None:
            settings = find(connector).source_settings if side is Side.SOURCE else find(connector).target_settings
            if settings is not None:
                return {"connector": connector, **_referring(settings, data, name)}
    raise SettingsError(f"There is no block called {name} that holds a connection to a {side} (${{prefect:{name}}}).")


def secret_in(name: str, path: str) -> str | None:
    """A secret of a connection's block, by its path in it; None when there is no such block.

    Raises: SettingsError.
    """
    for connector in names():
        for side in Side:
            data = _data(slug_of(connector, side), name, secrets=True)
            if data is not None:
                value: Any = data
                for key in path.split("."):
                    value = value.get(key) if isinstance(value, Mapping) else None
                if not isinstance(value, str) or not value:
                    raise SettingsError(f"The block {name} holds no {path} (${{prefect:{name}.{path}}}).")
                return value
    return None


def _data(slug: str, name: str, *, secrets: bool) -> dict[str, Any] | None:
    """What a block holds; None when there is none of this type and name."""
    from httpx import HTTPError
    from prefect.client.orchestration import get_client
    from prefect.exceptions import ObjectNotFound

    try:
        with get_client(sync_client=True) as client:
            document = client.read_block_document_by_name(name, slug, include_secrets=secrets)
    except ObjectNotFound:
        return None
    except (HTTPError, RuntimeError) as error:
        raise SettingsError(f"Prefect does not answer, so ${{prefect:{name}}} cannot be looked up: {error}") from error
    return dict(document.data)


def _referring(settings: type[BaseModel], data: Mapping[str, Any], name: str) -> dict[str, Any]:
    """A block's data as settings: secrets become references, what was left empty is left out."""
    said: dict[str, Any] = {}
    for key, field in settings.model_fields.items():
        at = field.alias or key
        value = data.get(key)
        if value is None or value == "":
            continue
        part = _model_in(field.annotation)
        if _holds_secret(field):
            said[at] = f"${{prefect:{name}.{key}}}"
        elif part is not None and isinstance(value, Mapping):
            said[at] = _referring(part, value, f"{name}.{key}")
        else:
            said[at] = value
    return said


def _fields(settings: type[BaseModel]) -> dict[str, Any]:
    """The fields of a block, or of a part of one."""
    made: dict[str, Any] = {}
    for name, field in settings.model_fields.items():
        kind: Any = SecretStr if _holds_secret(field) else _plain(field.annotation)
        if not field.is_required() and type(None) in get_args(field.annotation) and type(None) not in get_args(kind):
            kind = kind | None
        text = " ".join((field.description or "").replace("``", "`").split())
        default = ... if field.is_required() else field.get_default(call_default_factory=True)
        made[name] = (kind, Field(default=_jsonable(default), description=text or None))
    return made


def _plain(annotation: Any) -> Any:
    """A type as a form knows it: settings become parts of the block, constraints are left to the settings."""
    origin = get_origin(annotation)
    if origin is Annotated:
        return _plain(get_args(annotation)[0])
    if origin in (Union, types.UnionType):
        return Union[tuple(_plain(one) for one in get_args(annotation))]  # noqa: UP007 (of a list known now only)
    if origin in (tuple, list):
        return list[_plain(get_args(annotation)[0])]  # type: ignore[misc]
    if origin is Literal or origin is not None:
        return annotation
    if annotation is Path:
        return str
    if isinstance(annotation, type) and issubclass(annotation, Settings):
        return _part(annotation)
    return annotation


@cache
def _part(settings: type[BaseModel]) -> type[BaseModel]:
    return create_model(settings.__name__, __doc__=settings.__doc__, **_fields(settings))


def _holds_secret(field: FieldInfo) -> bool:
    return any(map(is_secret, field.metadata)) or any(
        is_secret(mark)
        for one in get_args(field.annotation)
        if get_origin(one) is Annotated
        for mark in get_args(one)[1:]
    )


def _model_in(annotation: Any) -> type[BaseModel] | None:
    for one in (annotation, *get_args(annotation)):
        if isinstance(one, type) and issubclass(one, Settings):
            return one
    return None


def _jsonable(default: Any) -> Any:
    return list(default) if isinstance(default, tuple) else default
