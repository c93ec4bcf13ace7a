"""The connector as a whole: SuccessFactors Employee Central as a source of people."""

from dataclasses import replace
from pathlib import Path

from connectors.http import Call, HttpSession
from connectors.kit import KitSource, Known, Limits, Opening, Switch, System, open_http, read_only
from connectors.successfactors.attributes import nodes, value_of
from connectors.successfactors.reading import count, pages, refusal_of
from connectors.successfactors.settings import SuccessFactorsSettings

PER_S = 3.0
"""Requests a second: SAP asks clients to keep few."""
SAMPLE = 20
"""People that a check looks at."""


def open_session(settings: SuccessFactorsSettings, opening: Opening) -> HttpSession:
    """A session that is not signed in yet."""
    return open_http(settings.http(), opening)


async def _traits(wire: HttpSession, settings: SuccessFactorsSettings) -> Known:
    del wire
    return Known(
        users=read_only(settings.catalogue),
        switch=Switch.steps(),
        limits=Limits(page=settings.page_size),
        settings=settings,
    )


async def check_instance(wire: HttpSession, known: Known) -> str:
    """What there is, in a sentence. Raises: ProvisorError."""
    settings: SuccessFactorsSettings = known.settings
    people = await count(wire)
    said = f"SuccessFactors answers for company {settings.company}: {people:,} people."
    if not settings.attributes:
        return said
    paths = {name: settings.catalogue[name] for name in settings.attributes}
    expand, _ = nodes(one.path for one in paths.values())
    asked = Call("GET", f"/PerPerson?$format=json&$top={SAMPLE}&$expand={expand}", "read some people")
    answer = await wire.send(asked)
    if answer.status != 200:
        raise refusal_of(wire, asked, answer)
    found = answer.json()["d"]["results"]
    empty = [name for name, one in paths.items() if all(value_of(person, one) is None for person in found)]
    return said + (
        f" Of your own attributes, none of {SAMPLE} people has a value for {', '.join(empty)}." if empty else ""
    )


SYSTEM = System(
    name="successfactors",
    settings=SuccessFactorsSettings,
    open=open_session,
    traits=_traits,
    check=check_instance,
    pages=pages,
    in_flight=2,
    per_s=PER_S,
)


def open_source(settings: SuccessFactorsSettings, *, folder: Path, per_s: float | None = PER_S) -> KitSource:
    """The instance as a source. ``per_s``: requests a second at most."""
    return KitSource(replace(SYSTEM, per_s=per_s), settings, folder=folder)
