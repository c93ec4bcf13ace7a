"""``provisor explain --job JOB --entry KEY``: what mappings give for a real entry. Only the job's source is read."""

import datetime as dt
import difflib
from collections.abc import Collection, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from random import SystemRandom
from typing import Any

import pandas as pd

from connectors.contract import Attribute, Kind, Snapshot, Traits, Value, Wanted, short_path
from flows.show.console import Terminal, Text, console
from flows.show.explain import (
    LONGEST_VALUE,
    Explanation,
    WrongRequestError,
    explain_expression,
    read_attributes,
    read_now,
    result,
    show_explanation,
    shown,
    write_json,
)
from tasks.acting import as_it_acts
from tasks.agreement import check_agreement
from tasks.expressions import Context, State, check_expression, compile_expression
from tasks.expressions.rows import kind_of
from tasks.extract import computed_attributes, needs_of, survey_source
from tasks.history import plain
from tasks.job import AttributeMapping, EntryRules, Job, load_job
from tasks.job.problems import did_you_mean
from tasks.ledger import REDACTED
from tasks.scope import SOFT_DELETED, select
from tasks.sources import AnySource, open_source_of, read_parts

_NAMES_SEARCHED = 50_000
"""Keys of a source among which a similar one is looked for; in more it would take too long."""


@dataclass(frozen=True, slots=True)
class SourceEntry:
    """One entry as a job's source has it."""

    kind: Kind
    key: str
    system: str
    """What was read, for people."""
    values: Mapping[str, Value]
    """Every attribute that the job names, IsSoftDeleted among them."""
    known: frozenset[str]
    """Names of all attributes that entries of this kind can have."""
    outside: str | None
    """Why the entry is out of scope; None when it is in scope."""

    def as_json(self) -> dict[str, Any]:
        """Who it is, as plain values."""
        found = {"kind": str(self.kind), "key": self.key, "source": self.system, "in_scope": self.outside is None}
        return found if self.outside is None else found | {"reason": self.outside}


def read_entry(job: Job, key: str, *, now: dt.datetime, expression: str | None = None) -> SourceEntry:
    """The entry with this key, or with this value of a matching attribute; only the source is read.

    ``expression`` names attributes that are wanted besides those of the job. Raises: WrongRequestError when there is no
    such entry or when there are several; JobError, FatalError.
    """
    snapshot, known = read_alone(job, Context(now=now), expression=expression)
    kind, found = _find(job, snapshot, key, now=now)
    scoped = select(job.rules[kind], snapshot, kind, assignment=job.assignment, now=now)
    inside = found in scoped.entries.index
    frame = scoped.entries if inside else snapshot.entries(kind)
    values = row_of(frame, found)
    if not inside:
        values[SOFT_DELETED] = True
    names = known[kind]
    return SourceEntry(
        kind=kind,
        key=found,
        system=snapshot.system,
        values=values,
        known=frozenset(frame.columns if names is None else names) | computed_attributes(job, kind),
        outside=None if inside else str(scoped.out[found] if found in scoped.out.index else scoped.held[found]),
    )


def read_alone(
    job: Job, context: Context, *, expression: str | None = None
) -> tuple[Snapshot, Mapping[Kind, Mapping[str, Attribute] | None]]:
    """The source as it acts, and its attributes by kind; the target is not asked. Raises: JobError, FatalError."""
    with (
        closing(open_source_of(job)) as source,
        console(stderr=True).status("reading the source …"),
    ):
        facts = survey_source(source)
        check_agreement(job, facts)
        wanted = _wanted(job, source, expression)
        return as_it_acts(job, read_parts(job, source, wanted), context, wanted=wanted), facts.source


def _wanted(job: Job, source: AnySource, expression: str | None) -> Wanted:
    """What the job reads, and what the expression reads besides, as far as the source has it."""
    wanted = needs_of(job, Traits()).source
    if expression is None or check_expression(expression):
        return wanted  # what is wrong with the expression is said with the source's attributes at hand

    def with_named(paths: tuple[str, ...], kind: Kind) -> tuple[str, ...]:
        named = compile_expression(expression).attributes - computed_attributes(job, kind)
        known = source.attributes(kind)
        return tuple(sorted({*paths, *(named if known is None else named & set(known))}))

    groups = None if wanted.groups is None else with_named(wanted.groups, Kind.GROUP)
    return Wanted(users=with_named(wanted.users, Kind.USER), groups=groups)


def row_of(frame: pd.DataFrame, key: str) -> dict[str, Value]:
    place = frame.index.get_loc(key)
    assert isinstance(place, int), "keys are unique in a snapshot"
    return {str(name): frame[name].iloc[place] for name in frame.columns}


def shown_row(frame: pd.DataFrame, key: str, hidden: Collection[str] = ()) -> dict[str, Value]:
    """One row as plain values, None for null, with a mark in place of what is in hidden columns."""
    cells = {name: plain(value) for name, value in row_of(frame, key).items()}
    return {name: REDACTED if value is not None and name in hidden else value for name, value in cells.items()}


def _find(job: Job, snapshot: Snapshot, key: str, *, now: dt.datetime) -> tuple[Kind, str]:
    """Kind and key of the entry that a person means."""
    for kind in job.rules:
        if key in snapshot.entries(kind).index:
            return kind, key
    matches = [
        (kind, match)
        for kind, rules in job.rules.items()
        for match in with_matching_value(rules, snapshot.entries(kind), key, now)
    ]
    if len(matches) == 1:
        return matches[0]
    if matches:
        keys = ", ".join(match for _, match in matches[:10])
        raise WrongRequestError(f"{len(matches)} entries of the source match by {key}: {keys}. Give the key of one.")
    for row in snapshot.unreadable:
        if row.key == key:
            raise WrongRequestError(f"{key} could not be read from the source ({row.place}): {row.reason}")
    raise WrongRequestError(f"{snapshot.system} has no entry {key}.{_similar_key(snapshot, key)}")


def with_matching_value(rules: EntryRules, frame: pd.DataFrame, value: str, now: dt.datetime) -> list[str]:
    """Keys of entries whose value of some matching rule is this one, in any case."""
    found: dict[str, None] = {}
    for rule in rules.matching:
        column = compile_expression(rule.source).column(frame, Context(now=now)).values
        hits = column.astype("str").str.lower() == value.lower()
        found.update(dict.fromkeys(str(key) for key in frame.index[hits.fillna(False)]))
    return list(found)


def _similar_key(snapshot: Snapshot, key: str) -> str:
    keys = [str(one) for kind in Kind for one in snapshot.entries(kind).index]
    if len(keys) > _NAMES_SEARCHED:
        return " An entry is known by its key in the source."
    near = difflib.get_close_matches(key, keys, n=5)
    best = next((one for one in near if key in one or one in key), near[0] if near else None)
    return f" Did you mean {best}?" if best else " An entry is known by its key in the source."


# --- every mapping of a job ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class MappedAttribute:
    """What one mapping of a job gives for one entry."""

    target: str
    """Attribute path of the target."""
    mapping: AttributeMapping
    explanation: Explanation | None = None
    """None for a constant, and for a mapping that has a default and nothing else."""

    @property
    def failed(self) -> bool:
        """True when the entry would be held because of this mapping."""
        return self.explanation is not None and self.explanation.failed

    @property
    def hidden(self) -> bool:
        """True when the value may not be shown."""
        return self.mapping.redact or (self.explanation is not None and self.explanation.hidden)

    @property
    def origin(self) -> str:
        """Where the value comes from, as people read it."""
        mapping = self.mapping
        if mapping.reference is not None:
            return f"{mapping.reference}, the key of another entry"
        if mapping.expression is not None:
            return mapping.expression
        return "default, where the target is empty" if mapping.constant is None else "constant"

    def as_json(self) -> dict[str, Any]:
        """The mapping as plain values."""
        mapping = self.mapping
        found: dict[str, Any] = {"target": self.target, "apply": str(mapping.apply)}
        if self.explanation is None:
            value = mapping.constant
            found |= {"value": REDACTED if self.hidden else value, "type": kind_of(value)}
        else:
            found |= self.explanation.as_json()
        if mapping.reference is not None:
            found["reference"] = True
        if mapping.default is not None:
            found["default"] = REDACTED if self.hidden else mapping.default
        return found


def explain_mappings(job: Job, entry: SourceEntry, context: Context) -> list[MappedAttribute]:
    """What every mapping of the job gives for the entry, in the order of the job file."""
    explained = []
    for target, mapping in job.rules[entry.kind].attributes.items():
        text = mapping.expression if mapping.expression is not None else mapping.reference
        explanation = None
        if text is not None:
            expression = compile_expression(text)
            hidden = mapping.redact or expression.redacted
            explanation = Explanation(expression, expression.trace(entry.values, context), hidden=hidden)
        explained.append(MappedAttribute(target, mapping, explanation))
    return explained


def show_mappings(out: Terminal, explained: Sequence[MappedAttribute]) -> None:
    """Target attribute, value, and below it the expression."""
    names = [short_path(one.target) for one in explained]
    width = max(map(len, names), default=0)
    for name, one in zip(names, explained, strict=True):
        out.print(Text().append(name.ljust(width + 2), style="bold").append_text(_mapped_value(one)))
        out.print(Text(" " * (width + 2) + " ".join(one.origin.split()), style="dim"))


def _mapped_value(one: MappedAttribute) -> Text:
    mapping, explanation = one.mapping, one.explanation
    if explanation is None:
        value = mapping.default if mapping.constant is None else mapping.constant
        return Text(REDACTED, style="dim") if one.hidden else shown(value)
    text = result(explanation, limit=LONGEST_VALUE)
    if explanation.trace.state is State.EVALUATED and explanation.trace.value is None and mapping.default is not None:
        default = Text(REDACTED, style="dim") if one.hidden else shown(mapping.default)
        text.append("; on create the default ", style="dim").append_text(default)
    return text


# --- the command ---------------------------------------------------------------------------------------------------


def run_explain_entry(
    path: Path, key: str, expression: str | None, given: Sequence[str], now: str | None, *, as_json: bool
) -> int:
    """Explains one expression, or every mapping, for a real entry; gives the exit status.

    Attributes that are ``given`` stand for what the entry would have otherwise. Raises: WrongRequestError, JobError,
    FatalError.
    """
    moment, instead = read_now(now), read_attributes(given)
    job = load_job(path)
    entry = read_entry(job, key, now=moment, expression=expression)
    for name in instead:
        if name not in entry.known:
            raise WrongRequestError(f"The source has no attribute [{name}].{did_you_mean(name, entry.known)}")
    context = Context(now=moment, random=SystemRandom())
    values = {**entry.values, **instead}
    if expression is not None:
        explanation = explain_expression(expression, values, context, known=entry.known, redacting=True)
        if as_json:
            write_json({"job": job.name, "entry": entry.as_json(), **explanation.as_json()})
        else:
            _show_entry(console(), entry)
            show_explanation(console(), explanation)
        return int(explanation.failed)
    explained = explain_mappings(job, replace(entry, values=values), context)
    if as_json:
        mappings = [one.as_json() for one in explained]
        write_json({"job": job.name, "entry": entry.as_json(), "mappings": mappings})
    else:
        _show_entry(console(), entry)
        show_mappings(console(), explained)
    return int(any(one.failed for one in explained))


def _show_entry(out: Terminal, entry: SourceEntry) -> None:
    line = Text(f"{entry.kind} ").append(entry.key, style="bold").append(f"  {entry.system}", style="dim")
    out.print(line)
    if entry.outside is not None:
        reason = entry.outside[:1].upper() + entry.outside[1:]
        sentence = f"{reason}. So IsSoftDeleted is true, and the other mappings are not written."
        out.print(Text(f"! {sentence}", style="yellow"))
    out.print()
