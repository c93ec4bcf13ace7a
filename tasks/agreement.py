"""Holds a job's rules against the attributes that its two systems really have.

Pure, but for reading the job file and the header of its assignment table.

A mapping that reads an attribute the source does not have would quietly write nothing for everybody; one that writes
what the target does not know would be refused a thousand times in the night. Both are said before anything is read.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache
from typing import TypeAlias

from connectors.contract import Attribute, Form, Kind, Write
from tasks.assignment import table_problems
from tasks.expressions import check_expression
from tasks.extract import Facts, computed_attributes, dates_of, expressions_of, joins_of
from tasks.job import Apply, AttributeMapping, AttributeSource, EntryRules, Job, JobError, Operator, Problem
from tasks.job.problems import did_you_mean, nearest
from tasks.job.yaml import Document, Key, read_yaml, spelled

_Reader: TypeAlias = Callable[[], Document | None]
"""Gives the job file's document, None where there is no file; it is read for the first problem that has a place."""


def _reader(job: Job) -> _Reader:
    return cache(lambda: read_yaml(job.file) if job.file.is_file() else None)


def check_agreement(job: Job, facts: Facts) -> None:
    """Passes when everything that the job names is there, as far as the systems can tell.

    Raises: JobError with every problem and its line in the job file.
    """
    problems = list(_problems(job, facts))
    if problems:
        raise JobError(problems)


def doubts_about(job: Job, facts: Facts) -> list[Problem]:
    """What may be meant, but is likely a slip, by what the target says of itself; targets are often wrong about that.

    An attribute that it demands and that no mapping gives, or that is to be cleared; a value that it does not name
    among those it expects.
    """
    document = _reader(job)
    return [
        doubt
        for kind, rules in job.rules.items()
        if (schema := facts.target.get(kind)) is not None
        for doubt in _doubts(job, document, f"{kind}s", rules, schema)
    ]


def _problems(job: Job, facts: Facts) -> Iterator[Problem]:
    document = _reader(job)
    if job.assignment.table is not None:
        for key, message in table_problems(job.assignment.table, job.folder):
            yield _problem(job, document, ("assignment", "table", key), message)
    yield from _source_conflicts(job, document, facts.given)
    yield from _own_problems(job, document, facts.own)
    if (users := facts.source.get(Kind.USER)) is not None:
        yield from _wrong_expressions(job, document, dates_of(job), {*users, *computed_attributes(job, Kind.USER)})
    for kind, rules in job.rules.items():
        section = f"{kind}s"
        source, target = facts.source.get(kind), facts.target.get(kind)
        if source is not None:
            known = {*source, *computed_attributes(job, kind)}
            yield from _source_problems(job, document, section, rules, known)
        if target is not None:
            yield from _target_problems(job, document, section, rules, target)


def _source_conflicts(
    job: Job, document: _Reader, given: Mapping[str, Mapping[str, Attribute] | None]
) -> Iterator[Problem]:
    """Attributes of second sources that others give as well, joins over attributes that are not there, and orders that
    name a source which does not give the attribute."""
    people = [one.name for one in job.people]
    here = {name for source in people for name in given.get(source) or ()}
    told = all(given.get(source) is not None for source in people)
    for number, section in enumerate(job.enrich):
        for attribute in section.gives:
            others = [one for one in people if (known := given.get(one)) is None or attribute in known]
            others += [one.name for one in job.enrich if one is not section and attribute in one.gives]
            if others and attribute not in job.precedence:
                givers = [section.name, *others]
                message = (
                    f"{attribute} comes from {' and '.join(givers)}: say under precedence which counts, like "
                    f"{attribute}: [{', '.join(givers)}]."
                )
                yield _problem(job, document, ("enrich", number, "gives", attribute), message)
    if told:
        joins = ((key, text) for key, text in joins_of(job))
        yield from _wrong_expressions(job, document, joins, here | {name for one in job.enrich for name in one.gives})
    for attribute, order in job.precedence.items():
        for name in order:
            known = given.get(name)
            if known is not None and attribute not in known:
                yield _problem(job, document, ("precedence", attribute), f"{name} does not provide {attribute}.")


def _own_problems(job: Job, document: _Reader, own: Mapping[str, Mapping[str, Attribute] | None]) -> Iterator[Problem]:
    """Expressions of one of several sources over attributes that it does not have."""
    for section, several in (("sources", job.sources), ("enrich", job.enrich)):
        for number, one in enumerate(several):
            known = own.get(one.name)
            if known is None:
                continue
            named = [((section, number, "gives", name), text) for name, text in one.gives.items()]
            if isinstance(one, AttributeSource):
                named.append(((section, number, "join", "own"), one.join.own))
            yield from _wrong_expressions(job, document, named, set(known))


def _source_problems(
    job: Job, document: _Reader, section: str, rules: EntryRules, known: set[str]
) -> Iterator[Problem]:
    named = (((section, *key), text) for key, text in expressions_of(rules))
    yield from _wrong_expressions(job, document, named, known)
    for group_number, group in enumerate(rules.scope):
        for number, clause in enumerate(group):
            if clause.operator is not Operator.MEMBER_OF and clause.attribute not in known:
                message = f"The source has no attribute {clause.attribute}.{did_you_mean(clause.attribute, known)}"
                yield _problem(job, document, (section, "scope", group_number, number, "attribute"), message)


def _wrong_expressions(
    job: Job, document: _Reader, named: Iterable[tuple[tuple[str | int, ...], str]], known: set[str]
) -> Iterator[Problem]:
    """Problems of expressions, each given with its keys in the job file."""
    for key, text in named:
        for error in check_expression(text, attributes=known):
            place = _written(document, key)
            written = document()
            if written is None:
                yield Problem(job.file, None, None, spelled(place), error.problem, error.caret())
                continue
            line, column = written.place_in_text(place, error.line, error.column)
            file = written.file_of(written.node(place))
            yield Problem(file, line, column, spelled(place), error.problem, error.caret())


def _target_problems(
    job: Job,
    document: _Reader,
    section: str,
    rules: EntryRules,
    schema: Mapping[str, Attribute],
) -> Iterator[Problem]:
    for path in rules.attributes:
        info = _info(schema, path)
        if info is None:
            near = nearest(path, schema)
            hint = f" Did you mean {near}?" if near else ""
            yield _problem(job, document, (section, "attributes", path), f"The target has no attribute {path}.{hint}")
        elif info.write is Write.NEVER:
            message = f"The target does not let anybody write {path}: it is read-only."
            yield _problem(job, document, (section, "attributes", path), message)
        else:
            for key, message in _misfits(path, rules.attributes[path], info):
                yield _problem(job, document, _written(document, (section, "attributes", path, key)), message)
    for number, rule in enumerate(rules.matching):
        info = _info(schema, rule.target)
        if info is None:
            message = f"The target has no attribute {rule.target}.{did_you_mean(rule.target, schema)}"
            yield _problem(job, document, (section, "matching", number, "target"), message)
        elif info.write is Write.BLIND:
            message = f"The target never shows {rule.target}, so nobody can be found by it."
            yield _problem(job, document, (section, "matching", number, "target"), message)


def _misfits(path: str, mapping: AttributeMapping, info: Attribute) -> Iterator[tuple[str, str]]:
    """What is wrong about the values that a mapping would write: the key that says so, and a sentence."""
    if info.form is Form.STRUCTURE and not info.several and mapping.constant is None:
        yield "expression", f"The target keeps {path} in parts: map each of them, with its name behind a dot."
        return
    for key, value in (("constant", mapping.constant), ("default", mapping.default)):
        kind = _kind_missed(value, info)
        if kind:
            yield key, f"The target requires {kind} for {path}."


_TYPES: dict[Form, tuple[type | tuple[type, ...], str]] = {
    Form.BOOLEAN: (bool, "true or false"),
    Form.INTEGER: (int, "a whole number"),
    Form.DECIMAL: ((int, float), "a number"),
}


def _kind_missed(value: object, info: Attribute) -> str | None:
    """In words what the target wants instead of a value; None where the value fits."""
    if value is None or info.several or info.form not in _TYPES:
        return None
    wanted, words = _TYPES[info.form]
    fits = isinstance(value, wanted) and (info.form is Form.BOOLEAN or not isinstance(value, bool))
    return None if fits or _reads_as(value, info.form) else words


def _reads_as(value: object, form: Form) -> bool:
    """True for text that the connector writes as what is wanted: ``"true"``, ``"12"``."""
    if not isinstance(value, str):
        return False
    text = value.strip().lower()
    return text in {"true", "false"} if form is Form.BOOLEAN else text.lstrip("-").replace(".", "", 1).isdigit()


def _demanded(rules: EntryRules, schema: Mapping[str, Attribute]) -> Iterator[str]:
    """Whole attributes that an account cannot be created without, and that no mapping touches."""
    if not rules.actions.create:
        return
    given = {_whole(path).lower() for path in rules.attributes}
    for path in schema:
        info = schema[path]
        settable = info.write is not Write.NEVER and path not in {"schemas", "id"}
        if info.required and settable and _whole(path) == path and path.lower() not in given and ":" not in path:
            yield path


def _parts_demanded(rules: EntryRules, schema: Mapping[str, Attribute]) -> Iterator[tuple[str, str]]:
    """Parts that the target demands of a structure that mappings give other parts of, each with the structure."""
    plain = {_without_filter(path).lower() for path in rules.attributes}
    touched = {_whole(path).lower() for path in rules.attributes}
    for path, info in schema.items():
        whole = _whole(path)
        part = whole != path and info.required and info.write is not Write.NEVER
        if part and whole.lower() in touched and whole.lower() not in plain and path.lower() not in plain:
            yield path, whole


def _without_filter(path: str) -> str:
    return re.sub(r"\[[^\]]*\]", "", path)


def _whole(path: str) -> str:
    """The attribute that a path is a part of."""
    urn, colon, name = path.rpartition(":") if "[" not in path else ("", "", path)
    return f"{urn}{colon}{name.partition('[')[0].partition('.')[0]}"


def _doubts(
    job: Job, document: _Reader, section: str, rules: EntryRules, schema: Mapping[str, Attribute]
) -> Iterator[Problem]:
    for path in _demanded(rules, schema):
        message = f"The target demands {path} of everybody, and no mapping gives it."
        yield _problem(job, document, (section, "attributes"), message)
    for path, whole in _parts_demanded(rules, schema):
        message = f"The target demands {path} wherever {whole} is given, and no mapping gives it."
        yield _problem(job, document, (section, "attributes"), message)
    for path, mapping in rules.attributes.items():
        info = _info(schema, path)
        if info is None:
            continue
        if info.write is Write.ON_CREATE and mapping.apply is not Apply.ON_CREATE and rules.actions.update:
            message = (
                f"The target takes {path} only when it creates an entry: add apply: on_create, or changes are refused."
            )
            yield _problem(job, document, (section, "attributes", path), message)
        if mapping.clear and info.required:
            message = f"The target demands {path} of everybody, so it may refuse that it is cleared."
            yield _problem(job, document, _written(document, (section, "attributes", path, "clear")), message)
        for key, value in (("constant", mapping.constant), ("default", mapping.default)):
            if info.longest is not None and isinstance(value, str) and len(value) > info.longest:
                message = (
                    f"The target takes {info.longest:,} characters at most for {path}, and this has {len(value):,}."
                )
                yield _problem(job, document, _written(document, (section, "attributes", path, key)), message)
        if not info.values:
            continue
        expected = {value.casefold() for value in info.values}
        for key, value in (("constant", mapping.constant), ("default", mapping.default)):
            if isinstance(value, str) and value.casefold() not in expected:
                message = f"The target names {', '.join(info.values)} for {path}, not {value}."
                yield _problem(job, document, _written(document, (section, "attributes", path, key)), message)


def _info(schema: Mapping[str, Attribute], path: str) -> Attribute | None:
    return schema.get(path)


def _written(document: _Reader, key: Key) -> Key:
    """The key as the file has it: a mapping may be written as text instead of as an object."""
    written = document()
    return key if written is None or written.has(key) else key[:-1]


def _problem(job: Job, document: _Reader, key: Key, message: str) -> Problem:
    written = document()
    if written is None:
        return Problem(job.file, None, None, spelled(key), message)
    return written.problem(key, message)
