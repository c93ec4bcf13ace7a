"""Several sources of one job: people of several systems are one population, and more attributes come from elsewhere.

``reading`` asks every source on its own, so that one that fails takes nothing from the others; ``population`` puts what
was read together; ``enriching`` adds the attributes of second sources by precedence; ``persons`` counts a person once.
``parts`` says which source an entry is of: its key does, by its prefix. All but ``reading`` is pure.
"""

from tasks.sources.parts import incomplete_parts, part_numbers, unseen
from tasks.sources.persons import ended_beside, one_each
from tasks.sources.population import population
from tasks.sources.reading import SOLE, AnySource, Sources, open_source_of, read_parts, source_attributes

__all__ = [
    "SOLE",
    "AnySource",
    "Sources",
    "ended_beside",
    "incomplete_parts",
    "one_each",
    "open_source_of",
    "part_numbers",
    "population",
    "read_parts",
    "source_attributes",
    "unseen",
]
