"""The connector as a whole: a Workday tenant as a source of people."""

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from connectors.kit import KitSource, Known, Limits, Opening, Switch, System, read_only
from connectors.workday.asking import Question, page_in, workers_request
from connectors.workday.attributes import ACTIVE_PATH, REFERENCES_ONLY, compile_paths, response_group
from connectors.workday.reading import pages, server_time
from connectors.workday.settings import Population, WorkdaySettings
from connectors.workday.soap import WorkdayWire

PER_S = 5.0
"""Requests a second: what tenants are known to bear."""
SAMPLE = 50
"""Workers that a check looks at."""


def _open(settings: WorkdaySettings, opening: Opening) -> WorkdayWire:
    return WorkdayWire(settings, opening)


async def _traits(wire: WorkdayWire, settings: WorkdaySettings) -> Known:
    del wire
    paths = settings.catalogue
    compile_paths(paths)
    response_group({name: paths[name] for name in settings.attributes})
    return Known(
        users=read_only(paths),
        switch=Switch.words(ACTIVE_PATH, on=True, off=False),
        limits=Limits(page=settings.page_size),
        settings=settings,
    )


async def check_tenant(wire: WorkdayWire, known: Known) -> str:
    """What there is, in a sentence. Raises: FatalError, RetryableError."""
    settings: WorkdaySettings = known.settings
    now = await server_time(wire, settings)
    counts = []
    question = Question(settings.version, settings.population, REFERENCES_ONLY, now, now.date(), 1)
    sorts = {
        "employees": Population(contingent=False, inactive=False),
        "contingent workers": Population(employees=False, inactive=False),
    }
    everybody = await _total(wire, replace(question, population=Population()))
    active = 0
    for noun, population in sorts.items():
        total = await _total(wire, replace(question, population=population))
        active += total or 0
        counts.append(f"{total:,} active {noun}" if total is not None else f"an unknown number of {noun}")
    if everybody is not None:
        counts.append(f"{everybody - active:,} who have left")
    skew = abs((datetime.now(UTC) - now).total_seconds())
    clock = f" Its clock and ours are {skew:,.0f} s apart." if skew > 60 else ""
    empty = await _never_filled(wire, settings, question) if settings.attributes else ()
    said = f" Of your own attributes, none of {SAMPLE} workers has a value for {', '.join(empty)}." if empty else ""
    return f"Connected to Workday {settings.version}: {', '.join(counts)}.{clock}{said}"


async def _total(wire: WorkdayWire, question: Question) -> int | None:
    return page_in(await wire.ask("count the workers", workers_request(question, 1))).total


async def _never_filled(wire: WorkdayWire, settings: WorkdaySettings, question: Question) -> tuple[str, ...]:
    """Attributes of the job's own that no worker of a sample has: a path of another version, or a missing right."""
    paths = {name: settings.catalogue[name] for name in settings.attributes}
    sample = replace(question, group=response_group(paths), count=SAMPLE)
    reader, filled = compile_paths(paths), set[str]()
    for worker in page_in(await wire.ask("read some workers", workers_request(sample, 1))).workers:
        filled |= {name for name, value in zip(paths, reader.values(worker), strict=True) if value is not None}
    return tuple(name for name in paths if name not in filled)


SYSTEM = System(
    name="workday",
    settings=WorkdaySettings,
    open=_open,
    traits=_traits,
    check=check_tenant,
    pages=pages,
    in_flight=4,
    per_s=PER_S,
)


def open_source(settings: WorkdaySettings, *, folder: Path, per_s: float | None = PER_S) -> KitSource:
    """The tenant as a source. ``per_s``: requests a second at most."""
    return KitSource(replace(SYSTEM, per_s=per_s), settings, folder=folder)
