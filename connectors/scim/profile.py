"""How one service wants to be spoken to: a small YAML file that people can read and edit.

A profile lies beside the job (``app.example.com.profile.yaml``, named after the service's host) or is one of the
built-in ones in ``connectors/gallery``. ``provisor probe`` writes it. A service without one is spoken to as the
standard has it, and what it turns out not to understand is found out anew in every cycle.
"""

import difflib
import io
from collections.abc import Iterable
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import Field, ValidationError

from connectors.errors import SettingsError
from connectors.gallery import profile_text, profiles
from connectors.settings import Settings

SUFFIX = ".profile.yaml"


class PatchForm(StrEnum):
    """How changed attributes are sent."""

    PATHS = "paths"
    """PATCH, one operation for each attribute with its path: RFC 7644 to the letter."""
    CAPITALS = "capitals"
    """The same with Add, Replace, Remove."""
    ENTRA = "entra"
    """PATCH as Microsoft Entra sends it by default: Add, Replace, Remove, and ``active`` as text."""
    ATTRIBUTES = "attributes"
    """PATCH that replaces whole attributes, ``name`` or ``emails``, with what was read and is to be changed."""
    OBJECT = "object"
    """PATCH with one operation without a path, whose value holds whole attributes."""
    DOTTED = "dotted"
    """PATCH with one operation without a path and dotted keys, as Entra sends it with aadOptscim062020."""
    BLANK = "blank"
    """PATCH with paths; what is to be cleared is replaced by empty text."""
    PUT = "put"
    """The entry is read, changed and sent back whole."""
    PUT_NULLS = "put_nulls"
    """As ``put``; what is cleared is null instead of absent."""


class MemberForm(StrEnum):
    """How members are added and removed."""

    PATHS = "paths"
    """PATCH, as the standard has it: add to ``members``, remove at ``members[value eq "id"]``."""
    VALUES = "values"
    """PATCH, as Entra does by default: Add and Remove at ``members`` with a list of values."""
    REPLACE = "replace"
    """PATCH that replaces the whole list."""
    PUT = "put"
    """The group is read, changed and sent back whole."""


class MembersShown(StrEnum):
    """Which members a group shows."""

    ALL = "all"
    SOME = "some"
    """The first hundred, say, or those that Provisor has added."""
    NONE = "none"
    """An empty list, whatever members the group has."""


class MemberValue(StrEnum):
    """What stands for a member in a group's list."""

    ID = "id"
    """The ``id`` of the user or group, as the standard has it."""
    USER_NAME = "user_name"
    """The ``userName`` of the user."""
    REF = "ref"
    """The ``id``, which is taken only with ``$ref``, the member's address, beside it."""


class Truth(StrEnum):
    """How ``active`` is sent."""

    BOOLEAN = "boolean"
    TEXT = "text"
    """``"True"`` and ``"False"``."""


class Paging(StrEnum):
    """How lists are read page by page."""

    AUTO = "auto"
    """By index; by cursor where the service refuses that, by search where it takes no notice of it."""
    INDEX = "index"
    CURSOR = "cursor"
    """RFC 9865."""
    SEARCH = "search"
    """By index, in the body of POST to ``.search``: RFC 7644 section 3.4.3."""
    NONE = "none"
    """The first answer is the whole list."""


class EmailFilter(StrEnum):
    """How a filter on one of several addresses is written."""

    BOTH = "both"
    VALUE_PATH = "value_path"
    """``emails[type eq "work" and value eq "a@example.com"]``"""
    DOTTED = "dotted"
    """``emails.value eq "a@example.com"``"""
    NONE = "none"


class Filters(Settings):
    """What may be asked for by filter."""

    supported: bool = True
    """False where a filter is refused, ignored, or never finds anybody."""
    emails: EmailFilter = EmailFilter.BOTH
    blind: tuple[str, ...] = ()
    """Attributes by which the service finds nobody, even where an account has the value."""


class NotKept(Settings):
    """Attributes that the service accepts and forgets."""

    users: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()


class Profile(Settings):
    """How to speak to one service, and what was found out about it."""

    service: str = ""
    """What the service is called."""
    sources: tuple[str, ...] = ()
    """Addresses of the pages that say so, of a built-in profile."""
    probed: str = ""
    """When it was found out, and with or without writing; empty for what is known from documents."""
    patch: PatchForm = PatchForm.PATHS
    """How changes are sent first; a form that has no effect gives way to the next."""
    add_members: MemberForm = MemberForm.PATHS
    remove_members: MemberForm = MemberForm.PATHS
    members_shown: MembersShown = MembersShown.ALL
    member_value: MemberValue = MemberValue.ID
    active: Truth = Truth.BOOLEAN
    etag: bool = True
    """Whether an entry that is sent back whole goes with If-Match, where the service gives versions, so that nobody
    else's change is overwritten.
    """
    delete: bool = True
    """False where users cannot be deleted, only disabled."""
    groups: bool = True
    """False where there are no groups."""
    members_per_request: Annotated[int, Field(ge=1, le=10_000)] = 100
    bulk: Annotated[int, Field(ge=0, le=10_000)] | None = None
    """Changes in one bulk request at most, 0 for no bulk requests; None for what the service says of itself. Whether
    they are used is tried out: they have to be faster.
    """
    paging: Paging = Paging.AUTO
    page_size: Annotated[int, Field(ge=1, le=10_000)] | None = None
    """Entries asked for in one list request, unless the job says it; None for the connector's own choice."""
    count: bool = True
    """False where the service fails on the parameter count: lists are asked for without it, as long as they come."""
    filters: Filters = Filters()
    doubles: bool | None = None
    """Whether it takes a second user of the same name, if only in another case. Then joiners are looked up before they
    are created, whatever the service says of itself. False, where it was seen to refuse one: then a create that was not
    answered is sent again. None: nobody has tried.
    """
    soft_delete: bool = False
    """Whether a deleted user can still be read by its id."""
    not_kept: NotKept = NotKept()
    observed: dict[str, str] = Field(default_factory=dict)
    """Question to answer, for people: what a probe saw, or what the documents say. Nothing is decided by it."""


STANDARD = Profile()
"""What RFC 7643 and RFC 7644 say."""


def file_name(url: str) -> str:
    """What the profile of the service at an address is called: by host, and port where one is named."""
    parts = urlsplit(url)
    host = (parts.hostname or "service").replace(":", "-")
    return f"{host}{f'-{parts.port}' if parts.port else ''}{SUFFIX}"


def find_profile(named: str | None, *, url: str, folder: Path) -> Profile:
    """The profile that a job names: a file beside it, or a built-in one; without a name the file for the service.

    Raises: SettingsError.
    """
    if named is None:
        beside = folder / file_name(url)
        return read_profile(beside) if beside.is_file() else STANDARD
    built_in = profiles()
    if named in built_in:
        return parse(profile_text(named), place=f"profile {named}")
    path = folder / Path(named).expanduser()
    if path.suffix in {".yaml", ".yml"}:
        return read_profile(path)
    near = difflib.get_close_matches(named, built_in, n=1)
    hint = f"Did you mean {near[0]}?" if near else f"There are: {', '.join(built_in)}."
    raise SettingsError(f"There is no built-in profile {named!r}, and it is no .yaml file. {hint}")


def read_profile(path: Path) -> Profile:
    """The profile in a file. Raises: SettingsError."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise SettingsError(f"The profile {path} cannot be read: {reason}.") from error
    return parse(text, place=str(path))


def parse(text: str, *, place: str) -> Profile:
    """The profile that a YAML text holds. Raises: SettingsError."""
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    try:
        return Profile.model_validate(YAML(typ="safe", pure=True).load(text) or {})
    except YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        raise SettingsError(f"{place} is not YAML{f', line {mark.line + 1}' if mark else ''}.") from error
    except ValidationError as error:
        raise SettingsError(f"{place} is not a profile. {' '.join(_sentences(error))}") from error


def _sentences(error: ValidationError) -> Iterable[str]:
    for problem in error.errors():
        yield f"{'.'.join(map(str, problem['loc'])) or 'It'}: {problem['msg']}."


def write(profile: Profile) -> str:
    """The profile as YAML, with what each setting means; what is as the standard has it is left out."""
    from ruamel.yaml import YAML
    from ruamel.yaml.comments import CommentedMap

    document = CommentedMap()
    for name, value in profile.model_dump(mode="json", exclude_defaults=True).items():
        document[name] = _plain(value)
        meaning = Profile.model_fields[name].description or _meaning_of(name)
        if meaning:
            document.yaml_set_comment_before_after_key(name, before=meaning.replace("``", ""))
    document.yaml_set_start_comment(
        "How this service wants to be spoken to. Made by `provisor probe`; may be edited.\n"
        "What is not here is as RFC 7643 and RFC 7644 have it.\n"
    )
    yaml = YAML()
    yaml.width = 120
    text = io.StringIO()
    yaml.dump(document, text)
    return text.getvalue()


def _meaning_of(name: str) -> str:
    annotation = Profile.model_fields[name].annotation
    if not isinstance(annotation, type) or not issubclass(annotation, StrEnum):
        return ""
    return f"{(annotation.__doc__ or '').rstrip('.')}: {', '.join(annotation)}."


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value
