"""Reads both systems: settings of a job -> facts and two snapshots.

What is read is what the job names and no more: the attributes of its mappings, filters, matching rules and checks.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace

from connectors.contract import Attribute, Kind, Snapshot, Target, Traits, Wanted
from connectors.errors import SchemaMismatchError
from tasks.assignment import computed_roles
from tasks.expressions import compile_expression
from tasks.job import Checked, EntryRules, Job, Operator
from tasks.sources import AnySource, Sources, read_parts

Progress = Callable[[int], None]

COMPUTED = frozenset({"IsSoftDeleted"})
"""Source attributes that Provisor computes itself, so no system is asked for them."""


GROUP_NAMES = ("displayName", "name")
"""Attributes by which a job may name a group; a source that lacks one ignores it."""

READ_AGAIN = 3
"""Times a target is listed until a listing is complete: somebody may change it while it is read."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What the two systems say about themselves; asked once per cycle."""

    traits: Traits
    """What the target can do."""
    target: Mapping[Kind, Mapping[str, Attribute] | None]
    """The target's attributes by path; None where it has no schema."""
    source: Mapping[Kind, Mapping[str, Attribute] | None]
    """The source's attributes; None where it cannot tell."""
    given: Mapping[str, Mapping[str, Attribute] | None] = field(default_factory=dict)
    """Of several sources: by name what each gives for users, by the names that rules use; None where it cannot tell."""
    own: Mapping[str, Mapping[str, Attribute] | None] = field(default_factory=dict)
    """The same by the names that the sources use themselves."""


def survey(source: AnySource, target: Target) -> Facts:
    """What the two systems can do and which attributes they have. Raises: FatalError."""
    traits, attributes = target.traits(), {kind: target.attributes(kind) for kind in Kind}
    own = source.own_attributes() if isinstance(source, Sources) else {}
    return replace(survey_source(source), traits=traits, target=attributes, own=own)


def survey_source(source: AnySource) -> Facts:
    """What the source alone says about itself; the target is not asked. Raises: FatalError."""
    return Facts(
        traits=Traits(),
        target=dict.fromkeys(Kind),
        source={kind: source.attributes(kind) for kind in Kind},
        given=source.of_each(Kind.USER) if isinstance(source, Sources) else {},
    )


@dataclass(frozen=True, slots=True)
class Needs:
    """Attribute paths that a job reads from its two systems."""

    source: Wanted
    target: Wanted


def needs_of(job: Job, traits: Traits) -> Needs:
    """Which attributes the job's rules name, per system and kind; sorted, so that requests do not vary."""
    groups = job.groups
    return Needs(
        source=Wanted(
            users=_source_attributes(job, Kind.USER, job.users),
            groups=_source_groups(job),
        ),
        target=Wanted(
            users=_target_attributes(job.users, traits.switch),
            groups=_target_attributes(groups, None) if groups is not None else None,
        ),
    )


def read_sources(
    job: Job,
    source: AnySource,
    facts: Facts,
    *,
    known: Mapping[str, Snapshot] | None = None,
    progress: Progress | None = None,
) -> dict[str, Snapshot]:
    """Every source of the job as it is now, limited to what the job names; see ``tasks.sources.read_parts``.

    Where earlier snapshots are ``known`` and a source can tell, only what changed since is read and merged into them.
    Raises: FatalError.
    """
    wanted = needs_of(job, facts.traits).source
    return read_parts(job, source, wanted, known=known, progress=progress)


def read_target(job: Job, target: Target, facts: Facts, *, progress: Progress | None = None) -> Snapshot:
    """The whole target as it is now, limited to what the job maps or matches by.

    An incomplete listing would make doubles of people who are there already, so it is read again, and refused when it
    stays incomplete. Raises: FatalError.
    """
    wanted = needs_of(job, facts.traits).target
    for _ in range(READ_AGAIN):
        snapshot = target.read(wanted, progress=progress)
        if snapshot.complete:
            return snapshot
    reasons = " ".join(snapshot.incomplete)
    raise SchemaMismatchError(
        f"The listing of the target ({snapshot.system}) is still incomplete after {READ_AGAIN} attempts, and "
        f"creating accounts from it would create duplicates: {reasons} Nothing was written."
    )


def expressions_of(rules: EntryRules) -> Iterable[tuple[tuple[str | int, ...], str]]:
    """Every expression of the rules with its key inside the section: ``("attributes", "title", "expression")``."""
    for number, rule in enumerate(rules.matching):
        yield ("matching", number, "source"), rule.source
    for path, mapping in rules.attributes.items():
        if mapping.expression is not None:
            yield ("attributes", path, "expression"), mapping.expression
        if mapping.reference is not None:
            yield ("attributes", path, "reference"), mapping.reference


def dates_of(job: Job) -> Iterable[tuple[tuple[str, str], str]]:
    """Every expression about first and last days with its key: ``("leavers", "date")``."""
    for section, rules in (("joiners", job.joiners), ("leavers", job.leavers)):
        if rules is not None:
            for key, text in rules.expressions.items():
                yield (section, key), text


def joins_of(job: Job) -> Iterable[tuple[tuple[str | int, ...], str]]:
    """Every expression over people's attributes that puts entries of several sources together, with its key."""
    if job.same_person is not None:
        yield ("same_person",), job.same_person
    for number, section in enumerate(job.enrich):
        yield ("enrich", number, "join", "people"), section.join.people


def clause_attributes(rules: EntryRules) -> set[str]:
    """Attributes that the scoping filters look at; a clause about memberships looks at groups instead."""
    clauses = (clause for group in rules.scope for clause in group)
    return {clause.attribute for clause in clauses if clause.operator is not Operator.MEMBER_OF}


def _source_groups(job: Job) -> tuple[str, ...] | None:
    """What to read of the source's groups: for their own rules, or to find by name those that users must be in."""
    clauses = (clause for group in job.users.scope for clause in group)
    table = job.assignment.table
    listed = bool(job.assignment.groups) or (table is not None and table.group is not None)
    sought = listed or any(clause.operator is Operator.MEMBER_OF for clause in clauses)
    if job.groups is None and not sought:
        return None
    mapped = _source_attributes(job, Kind.GROUP, job.groups) if job.groups is not None else ()
    return tuple(sorted({*mapped, *GROUP_NAMES})) if sought else mapped


def computed_attributes(job: Job, kind: Kind) -> frozenset[str]:
    """Source attributes of one kind that Provisor adds itself."""
    return COMPUTED | computed_roles(job.assignment, kind)


def _source_attributes(job: Job, kind: Kind, rules: EntryRules) -> tuple[str, ...]:
    named = clause_attributes(rules)
    for _, text in expressions_of(rules):
        named |= compile_expression(text).attributes
    if kind is Kind.USER:
        for _, text in (*dates_of(job), *joins_of(job)):
            named |= compile_expression(text).attributes
    for check in job.checks.of(Checked(f"source.{kind}s")):
        named |= set(_columns(check.arguments))
    return tuple(sorted(named - computed_attributes(job, kind)))


def _columns(arguments: Mapping[str, object]) -> Iterable[str]:
    """Columns that an expectation names: ``column``, ``column_A``, ``column_list``, ..."""
    for key, value in arguments.items():
        if key.startswith("column") and isinstance(value, str):
            yield value
        elif key.startswith("column") and isinstance(value, list):
            yield from (name for name in value if isinstance(name, str))


def _target_attributes(rules: EntryRules, switch: str | None) -> tuple[str, ...]:
    """Mapped paths, paths matched by, and the attribute that switches accounts off."""
    paths = {*rules.attributes, *(rule.target for rule in rules.matching)}
    return tuple(sorted(paths | {switch} if switch is not None else paths))
