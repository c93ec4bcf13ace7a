"""Holds a job's rules against the attributes that its two systems really have.

Pure, but for reading the job file and the header of its assignment table.

A mapping that reads an attribute the source does not have would quietly write nothing for everybody; one that writes
what the target does not know would be refused a thousand times in the night. Both are said before anything is read.
"""

from collections.abc import Iterator, Mapping

from connectors.contract import AttributeInfo
from tasks.assignment import table_problems
from tasks.expressions import check_expression
from tasks.extract import Facts, computed_attributes, expressions_of
from tasks.job import EntryRules, Job, JobError, Operator, Problem
from tasks.job.problems import did_you_mean, nearest
from tasks.job.yaml import Document, Key, read_yaml, spelled


def check_agreement(job: Job, facts: Facts) -> None:
    """Passes when everything that the job names is there, as far as the systems can tell.

    Raises: JobError with every problem and its line in the job file.
    """
    problems = list(_problems(job, facts))
    if problems:
        raise JobError(problems)


def _problems(job: Job, facts: Facts) -> Iterator[Problem]:
    document = read_yaml(job.file) if job.file.is_file() else None
    if job.assignment.table is not None:
        for key, message in table_problems(job.assignment.table, job.folder):
            yield _problem(job, document, ("assignment", "table", key), message)
    for kind, rules in job.rules.items():
        section = f"{kind}s"
        source, target = facts.source.get(kind), facts.target.get(kind)
        if source is not None:
            known = {*source, *computed_attributes(job, kind)}
            yield from _source_problems(job, document, section, rules, known)
        if target is not None:
            yield from _target_problems(job, document, section, rules, target)


def _source_problems(
    job: Job, document: Document | None, section: str, rules: EntryRules, known: set[str]
) -> Iterator[Problem]:
    for key, text in expressions_of(rules):
        place = _written(document, (section, *key))
        for error in check_expression(text, attributes=known):
            if document is None:
                yield Problem(job.file, None, None, spelled(place), error.problem, error.caret())
                continue
            line, column = document.place_in_text(place, error.line, error.column)
            yield Problem(job.file, line, column, spelled(place), error.problem, error.caret())
    for group_number, group in enumerate(rules.scope):
        for number, clause in enumerate(group):
            if clause.operator is not Operator.MEMBER_OF and clause.attribute not in known:
                message = f"The source has no attribute {clause.attribute}.{did_you_mean(clause.attribute, known)}"
                yield _problem(job, document, (section, "scope", group_number, number, "attribute"), message)


def _target_problems(
    job: Job,
    document: Document | None,
    section: str,
    rules: EntryRules,
    schema: Mapping[str, AttributeInfo],
) -> Iterator[Problem]:
    for path in rules.attributes:
        info = _info(schema, path)
        if info is None:
            near = nearest(path, schema)
            hint = f" Did you mean {near}?" if near else ""
            yield _problem(job, document, (section, "attributes", path), f"The target has no attribute {path}.{hint}")
        elif info.mutability == "readOnly":
            message = f"The target does not let anybody write {path}: it is read-only."
            yield _problem(job, document, (section, "attributes", path), message)
    for number, rule in enumerate(rules.matching):
        if _info(schema, rule.target) is None:
            message = f"The target has no attribute {rule.target}.{did_you_mean(rule.target, schema)}"
            yield _problem(job, document, (section, "matching", number, "target"), message)


def _info(schema: Mapping[str, AttributeInfo], path: str) -> AttributeInfo | None:
    return schema.get(path)


def _written(document: Document | None, key: Key) -> Key:
    """The key as the file has it: a mapping may be written as text instead of as an object."""
    return key if document is None or document.has(key) else key[:-1]


def _problem(job: Job, document: Document | None, key: Key, message: str) -> Problem:
    if document is None:
        return Problem(job.file, None, None, spelled(key), message)
    return document.problem(key, message)
