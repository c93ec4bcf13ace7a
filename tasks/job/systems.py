"""The systems of a job: a connector's name and that connector's settings, and the sources that are more than one."""

from collections.abc import Mapping
from typing import Annotated, Literal, Self, TypeAlias

from pydantic import BeforeValidator, Field, SerializeAsAny, field_validator, model_validator

from connectors.errors import SettingsError
from connectors.settings import Name, Settings
from tasks.job.problems import finding
from tasks.job.section import Section, Text


class SystemSection(Section):
    """One of the systems of a job: which connector speaks to it, and that connector's settings beside it."""

    connector: str
    """Name of the connector; ``provisor connectors`` lists them."""
    settings: SerializeAsAny[Settings]
    """What the connector needs to know; in YAML these keys lie beside ``connector``."""


Side: TypeAlias = Literal["source", "target"]


def settings_class(connector: str, side: Side) -> type[Settings]:
    """The settings that a connector takes on one side of a job.

    Raises: SettingsError when there is no such connector, or when it cannot be on that side.
    """
    from connectors.registry import find

    found = find(connector)
    settings = found.source_settings if side == "source" else found.target_settings
    if settings is None:
        raise SettingsError(f"The connector {connector} cannot be a {side}.")
    return settings


def system_section(value: object, side: Side) -> object:
    """YAML's keys beside ``connector`` become ``settings``, validated by the connector itself.

    A section that is one reference to a block of Prefect is what that block holds.
    """
    if isinstance(value, str) and value.strip().startswith("${prefect:"):
        from connectors.blocks import Side as BlockSide
        from connectors.blocks import section_of

        try:
            value = section_of(value, BlockSide(side))
        except SettingsError as error:
            raise ValueError(str(error)) from None
    if not isinstance(value, Mapping) or isinstance(value.get("settings"), Settings):
        return value
    name = value.get("connector")
    if not isinstance(name, str):
        raise finding("connector", "Name the connector, like csv, sql or scim; `provisor connectors` lists them.")
    try:
        settings = settings_class(name, side)
    except SettingsError as error:
        raise finding("connector", str(error)) from None
    return {
        "connector": name,
        "settings": settings.model_validate({key: item for key, item in value.items() if key != "connector"}),
    }


OWN_KEYS = ("connector", "name", "prefix", "gives", "join")
"""Keys of a source among several that are not its connector's."""


def compiles(text: str) -> str:
    from tasks.expressions import ExpressionError, compile_expression

    try:
        compile_expression(text)
    except ExpressionError as error:
        raise ValueError(str(error)) from None
    return text


class _NamedSection(SystemSection):
    name: Name
    """What it is called in messages and in ``precedence``."""
    gives: dict[Text, Text] = Field(default_factory=dict)
    """Attributes under the names that the job's rules use: expressions over this source's own attributes, like
    ``hireDate: "[start]"``."""

    @field_validator("gives")
    @classmethod
    def _expressions_compile(cls, gives: dict[str, str]) -> dict[str, str]:
        for name, text in gives.items():
            try:
                compiles(text)
            except ValueError as error:
                raise finding(name, str(error)) from None
        return gives


class PeopleSource(_NamedSection):
    """One of several sources that together provide the population."""

    prefix: str = ""
    """Prefix of its keys in this job, as in ``C-``, so that number 17 in one system is not number 17 in another. Only
    one source may omit it. Changing the prefix turns all its people into different entries."""


class Join(Section):
    """How an entry of a source of attributes is found for a person."""

    people: Text
    """Expression over the attributes of people: ``[employeeId]``."""
    own: Text
    """Expression over the attributes of this source with the same value: ``[employeeNumber]``."""

    @field_validator("people", "own")
    @classmethod
    def _is_an_expression(cls, text: str) -> str:
        return compiles(text)


class AttributeSource(_NamedSection):
    """A source that adds attributes to people from elsewhere; it adds nobody to the population."""

    join: Join
    """By what its entries and the people are put together."""

    @model_validator(mode="after")
    def _gives_something(self) -> Self:
        if not self.gives:
            raise finding("gives", 'Name the attributes that it provides, as in {mail: "[mail]"}.')
        return self


def named_section(value: object) -> object:
    """As :func:`system_section`, for a section with keys of its own beside those of the connector."""
    if not isinstance(value, Mapping):
        return value
    own = {key: item for key, item in value.items() if key in OWN_KEYS and key != "connector"}
    rest = {key: item for key, item in value.items() if key not in own}
    section = system_section(rest, "source")
    return {**section, **own} if isinstance(section, Mapping) else section


SourceSection = Annotated[SystemSection, BeforeValidator(lambda value: system_section(value, "source"))]
TargetSection = Annotated[SystemSection, BeforeValidator(lambda value: system_section(value, "target"))]
PeopleSection = Annotated[PeopleSource, BeforeValidator(named_section)]
AttributesSection = Annotated[AttributeSource, BeforeValidator(named_section)]


def prefix_problem(sources: tuple[PeopleSource, ...]) -> str | None:
    """Why the prefixes do not tell the sources apart; None where they do."""
    bare = [one.name for one in sources if not one.prefix]
    if len(bare) > 1:
        return (
            f"The sources {' and '.join(bare)} have no prefix, and two systems may use the same key for two people: "
            'give a prefix to all sources but one, like prefix: "C-".'
        )
    for one in sources:
        for other in sources:
            if one is not other and one.prefix and other.prefix.startswith(one.prefix):
                return f"The prefix {other.prefix} of {other.name} begins with that of {one.name}: choose another one."
    return None
