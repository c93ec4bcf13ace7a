"""Reads a job file: YAML -> Job, or every problem of the file at once, each with its line and what would be right."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from connectors.errors import SettingsError
from tasks.job.clauses import REGEXES
from tasks.job.models import AssignmentMode, Job
from tasks.job.problems import JobError, Problem, Severity, did_you_mean, nearest
from tasks.job.systems import AttributeSource, PeopleSource, SystemSection, settings_class
from tasks.job.values import regex_warning
from tasks.job.yaml import Document, Key, odd_blank, quoted, read_yaml, spelled

_SYSTEMS = ("source", "target")
_NAMED_SYSTEMS: dict[str, type[SystemSection]] = {"sources": PeopleSource, "enrich": AttributeSource}
"""Sections that are lists of systems, and what each of these may have beside the keys of its connector."""
_NO_KEYS = ("file", "warnings")
"""Fields of a job that its file does not have."""
_KINDS = ("users", "groups")
_WORDS = re.compile(r"\w[\w .@/-]*")
_PASSWORD_IN_ADDRESS = re.compile(r"://[^/?#\s:]*:(?P<password>[^/\s]+)@")
_ANY_REFERENCE = re.compile(r"\$\{(?P<scheme>[^}:]*)(?P<colon>:?)[^}]*\}")
_SCHEMES = ("env", "file", "prefect")
_REFERENCES = "${env:NAME}, ${file:path} or ${prefect:block-name}"


def read_job_file(path: Path) -> Job:
    """The job in a YAML file. Raises: JobError with every problem of the file, in the order of its lines."""
    document = read_yaml(path)
    job, problems = _validate(document)
    problems += [
        problem
        for look in (_expression_problems, _matching_problems, _credential_problems)
        for problem in look(document)
    ]
    if not any(problem.key == "source" for problem in problems):
        problems += _missing_source(document)
    known = {(problem.file, problem.line, problem.column) for problem in document.problems}
    problems = document.problems + [one for one in problems if (one.file, one.line, one.column) not in known]
    if problems or job is None:
        raise JobError(
            sorted(
                dict.fromkeys(problems),
                key=lambda found: (found.file != path, str(found.file), found.line or 0, found.column or 0),
            )
        )
    return job.model_copy(update={"warnings": tuple(_warnings(document, job))})


def _validate(document: Document) -> tuple[Job | None, list[Problem]]:
    """The job, or what its models say against it."""
    try:
        data = {key: value for key, value in document.data.items() if key not in _NO_KEYS}
        return Job.model_validate({**data, "file": document.path}), _own_key_problems(document)
    except ValidationError as error:
        details = error.errors(include_url=False)
    causes = [detail for detail in _likely(document, details) if not _follows(document, detail, details)]
    return None, _own_key_problems(document) + [_model_problem(document, detail) for detail in causes]


def _missing_source(document: Document) -> list[Problem]:
    """A job has a source or several; the model says so only where everything else is right."""
    if document.has(("source",)) or document.has(("sources",)):
        return []
    return [document.problem(("source",), _missing(document, (), "source"), node=document.key_node(()))]


def _own_key_problems(document: Document) -> list[Problem]:
    """Some fields of a job are no keys of a job file."""
    return [
        document.problem((name,), _unknown_key(name, _keys_of([Job])), node=document.key_node((name,)))
        for name in _NO_KEYS
        if document.has((name,))
    ]


# What the models say, in sentences


def _likely(document: Document, details: list[ErrorDetails]) -> list[ErrorDetails]:
    """Without errors of alternatives that were not meant: of a union's members the one with the fewest errors counts.

    pydantic puts the name of the member into the error's place; there it names nothing that is in the document.
    """
    members: dict[tuple[Key, str | int], list[ErrorDetails]] = {}
    member_of: list[tuple[Key, str | int] | None] = []
    for detail in details:
        member = _union_member(document, detail)
        member_of.append(member)
        if member is not None:
            members.setdefault(member, []).append(detail)
    best = {
        place: min((len(found), rank, name) for rank, ((at, name), found) in enumerate(members.items()) if at == place)[
            2
        ]
        for place in {place for place, _ in members}
    }
    return [
        detail
        for detail, member in zip(details, member_of, strict=True)
        if member is None or best[member[0]] == member[1]
    ]


def _follows(document: Document, detail: ErrorDetails, details: list[ErrorDetails]) -> bool:
    """Whether an error only follows from another one: an empty list whose items are wrong, a key that is misspelled."""
    if detail["type"] == "too_short":
        return bool(document.value(_written_key(document, detail["loc"])))
    if detail["type"] != "missing":
        return False
    *section, name = detail["loc"]
    known = _keys_of(_models_at(document, _written_key(document, tuple(section))))
    return any(
        other["type"] == "extra_forbidden"
        and list(other["loc"][:-1]) == section
        and nearest(str(other["loc"][-1]), known) == name
        for other in details
    )


def _union_member(document: Document, detail: ErrorDetails) -> tuple[Key, str | int] | None:
    """Where a union lies and the name of its member that complains; None where no union is involved."""
    may_lack_its_end = detail["type"] in ("missing", "job") or detail["loc"][-1:] == ("[key]",)
    place = detail["loc"][:-1] if may_lack_its_end else detail["loc"]
    for end, part in enumerate(place):
        if not document.has((*place[:end], part)):
            inside_check = place[0] == "checks" and part in ("expectation", "arguments")
            return None if inside_check else (place[:end], part)
    return None


def _model_problem(document: Document, detail: ErrorDetails) -> Problem:
    key = _written_key(document, detail["loc"])
    match detail["type"]:
        case "missing":
            name = str(detail["loc"][-1])
            return document.problem((*key, name), _missing(document, key, name), node=document.key_node(key))
        case "extra_forbidden":
            message = _unknown_key(
                str(key[-1]), _keys_of(_models_at(document, key[:-1]), connector=_system_at(key) is not None)
            )
            return document.problem(key, message, node=document.key_node(key))
        case "job" if not document.has(detail["loc"]):
            return document.problem((*key, detail["loc"][-1]), detail["msg"])
        case _:
            at_key = detail["loc"][-1:] == ("[key]",)
            node = document.key_node(key) if at_key else None
            return document.problem(key, _sentence(document, detail, key), node=node)


def _written_key(document: Document, place: Key) -> Key:
    """The key in the file that an error's place means: without names of union members and of made-up fields."""
    key: Key = ()
    for part in place:
        if document.has((*key, part)):
            key = (*key, part)
        elif part == "expectation" and isinstance(check := document.value(key), dict):
            key = (*key, next(name for name in check if name != "on_failure"))
    return key


def _missing(document: Document, section: Key, name: str) -> str:
    for model in _models_at(document, section):
        field = model.model_fields.get(name)
        if field is not None and field.description:
            return f"This key is required and missing. {_first_sentence(field.description)}"
    return "This key is required and missing."


def _first_sentence(description: str) -> str:
    text = " ".join(description.replace("``", "").split())
    return re.split(r"(?<=\.)\s", text, maxsplit=1)[0]


def _unknown_key(name: str, known: list[str]) -> str:
    if odd := odd_blank(name):
        return odd
    near = did_you_mean(name, known)
    return (
        f"There is no key {name!r} here.{near}"
        if near
        else f"There is no key {name!r} here; known: {', '.join(known)}."
    )


def _sentence(document: Document, detail: ErrorDetails, key: Key) -> str:
    """What would be right. Values of a system's section are never repeated: one of them may be a credential."""
    value, context = detail["input"], detail.get("ctx", {})
    secretive = _system_at(key) is not None
    match detail["type"]:
        case "value_error":
            return _ended(str(context["error"]))
        case "enum" | "literal_error":
            return _choice(value, re.findall(r"'([^']*)'", str(context["expected"])), secretive=secretive)
        case "string_type":
            return _text_wanted(value, str(document.node(key).value), secretive=secretive)
        case "bool_type" | "bool_parsing":
            return "Must be true or false."
        case "int_type" | "int_parsing" | "int_from_float":
            return "Must be a whole number."
        case "float_type" | "float_parsing":
            return "Must be a number: 0.1 is 10 %." if key[-1] == "fraction" else "Must be a number."
        case "greater_than_equal":
            return f"Must be {context['ge']:g} or more."
        case "greater_than":
            return f"Must be more than {context['gt']:g}."
        case "less_than":
            return f"Must be less than {context['lt']:g}."
        case "less_than_equal":
            share = ": 0.1 is 10 %" if key[-1] == "fraction" else ""
            return f"Must be {context['le']:g} or less{share}."
        case "tuple_type" | "list_type":
            return "Must be a list: put [ ] around it, or - in front of every item."
        case "dict_type" | "model_type" | "model_attributes_type":
            keys = ", ".join(_keys_of(_models_at(document, key), connector=secretive))
            return f"Must be a section with keys of its own{f': {keys}' if keys else ''}."
        case "too_short":
            return "Must hold at least one."
        case "string_too_short":
            return "Must not be empty."
        case _:
            return _ended(detail["msg"])


def _choice(value: object, choices: list[str], *, secretive: bool) -> str:
    near = did_you_mean(value, choices) if isinstance(value, str) else ""
    if secretive or not isinstance(value, str):
        return f"Must be one of {', '.join(choices)}.{near}"
    return f"{value!r} is not one of {', '.join(choices)}.{near}"


def _text_wanted(value: object, written: str, *, secretive: bool) -> str:
    match value:
        case bool() | int() | float() if not secretive:
            return f'Must be text: put it in quotes: "{written}".'
        case bool() | int() | float():
            return "Must be text: put it in quotes."
        case [str() as name] if not secretive:
            return f'YAML reads square brackets as a list: put it in quotes: "[{name}]".'
        case None:
            return "Is empty: write text, or leave it out."
        case _:
            return "Must be one text."


def _ended(text: str) -> str:
    if text.partition(" ")[0].isalpha():  # a name like expect_... stays as it is spelled
        text = text[:1].upper() + text[1:]
    return text if text.endswith((".", "?", "!", '"', "'")) else f"{text}."


# Which models stand behind a key


def _models_at(document: Document, key: Key) -> list[type[BaseModel]]:
    """The models whose keys may be written in the section under ``key``."""
    annotations: list[Any] = [Job]
    for number, part in enumerate(key):
        annotations = [inner for outer in annotations for inner in _inside(outer, part)]
        if _system_at(key) == key[: number + 1]:
            annotations = _settings_models(document, key[: number + 1])
    return [model for annotation in annotations for model in _plain(annotation) if isinstance(model, type)]


def _system_at(key: Key) -> Key | None:
    """The section of a system in which a key lies: ``source``, or the number of one of ``sources``."""
    if key[:1] and key[0] in _SYSTEMS:
        return key[:1]
    return key[:2] if key[:1] and key[0] in _NAMED_SYSTEMS and len(key) > 1 else None


def _settings_models(document: Document, system: Key) -> list[Any]:
    connector = document.value((*system, "connector"))
    own = [_NAMED_SYSTEMS[str(system[0])]] if system[0] in _NAMED_SYSTEMS else []
    try:
        return [settings_class(connector, "target" if system[0] == "target" else "source"), *own]
    except (SettingsError, TypeError):
        return own or [SystemSection]


def _plain(annotation: Any) -> Iterator[Any]:
    """An annotation without its metadata; each member of a union."""
    origin = get_origin(annotation)
    if origin is Annotated:
        yield from _plain(get_args(annotation)[0])
    elif origin in (Union, UnionType):
        for member in get_args(annotation):
            yield from _plain(member)
    elif origin is not None or (isinstance(annotation, type) and issubclass(annotation, BaseModel)):
        yield annotation


def _inside(annotation: Any, part: str | int) -> Iterator[Any]:
    """Annotations of what lies under one part of a key."""
    for plain in _plain(annotation):
        arguments = get_args(plain)
        match get_origin(plain):
            case None:
                for name, field in plain.model_fields.items():
                    if part in (name, field.alias):
                        yield field.annotation
            case origin if arguments and isinstance(origin, type):
                yield arguments[1] if issubclass(origin, dict) else arguments[0]


def _keys_of(models: Iterable[type[BaseModel]], *, connector: bool = False) -> list[str]:
    keys = [field.alias or name for model in models for name, field in model.model_fields.items()]
    return [*(["connector"] if connector else []), *(key for key in keys if key not in (*_NO_KEYS, "settings"))]


# What no model can see


def _expressions(document: Document) -> Iterator[tuple[Key, str]]:
    """Every text of the file that is an expression."""
    for kind in _KINDS:
        attributes = document.value((kind, "attributes"))
        for name, mapping in attributes.items() if isinstance(attributes, dict) else ():
            key: Key = (kind, "attributes", name)
            if isinstance(mapping, str):
                yield key, mapping
            elif isinstance(mapping, dict):
                for option in ("expression", "reference"):
                    if isinstance(text := mapping.get(option), str):
                        yield (*key, option), text
        rules = document.value((kind, "matching"))
        for number, rule in enumerate(rules if isinstance(rules, list) else ()):
            if isinstance(rule, dict) and isinstance(text := rule.get("source"), str):
                yield (kind, "matching", number, "source"), text


def _expression_problems(document: Document) -> Iterator[Problem]:
    from tasks.expressions import Place, check_expression

    for key, text in _expressions(document):
        option = key[3] if len(key) > 3 else "expression"
        place = {"source": Place.MATCHING, "reference": Place.REFERENCE}.get(str(option), Place.MAPPING)
        if not text:
            continue  # the models say it
        if (rest := document.cut_off(key)) is not None and _is_open(text):
            whole = quoted(f"{text} {rest.lstrip()}")
            yield document.problem(key, f"YAML takes ' #' for the start of a comment: put the text in quotes: {whole}")
        elif _WORDS.fullmatch(text) and not re.fullmatch(r"-?\d+(\.\d+)?", text):
            yield document.problem(key, _not_an_expression(text))
        elif place is Place.MAPPING and text.startswith("SelectUniqueValue") and not _applies_on_create(document, key):
            message = "SelectUniqueValue chooses once: write {expression: 'SelectUniqueValue(...)', apply: on_create}."
            yield document.problem(key, message)
        else:
            for error in check_expression(text, place=place):
                line, column = document.place_in_text(key, error.line, error.column)
                yield Problem(
                    document.file_of(document.node(key)),
                    line,
                    column,
                    spelled(key),
                    _ended(error.problem),
                    error.caret(),
                )


def _applies_on_create(document: Document, key: Key) -> bool:
    """Whether a mapping is written only when an account is created; one in its short form never is."""
    return bool(document.value((*key[:3], "apply")) == "on_create")


def _is_open(text: str) -> bool:
    """Whether quotes or parentheses are opened and not closed."""
    outside = re.sub(r'"(\\.|[^"\\])*"', "", text)
    return '"' in outside or outside.count("(") > outside.count(")")


def _not_an_expression(text: str) -> str:
    return f'This is no expression. For the attribute write "[{text}]", for a fixed text {{constant: {text}}}.'


def _matching_problems(document: Document) -> Iterator[Problem]:
    """A matching attribute must be written by a mapping, or the accounts we create are not recognised again."""
    for kind in _KINDS:
        attributes, rules = document.value((kind, "attributes")), document.value((kind, "matching"))
        if not isinstance(attributes, dict) or not isinstance(rules, list):
            continue
        for number, rule in enumerate(rules):
            target = rule.get("target") if isinstance(rule, dict) else None
            if not isinstance(target, str):
                continue
            key: Key = (kind, "matching", number, "target")
            mapping = attributes.get(target)
            if target not in attributes:
                near = (
                    did_you_mean(target, attributes)
                    or f" Add it, like {target}: {{expression: ..., apply: on_create}}."
                )
                yield document.problem(key, f"{target!r} has no mapping in {kind}.attributes.{near}")
            elif isinstance(mapping, bool | int | float) or (isinstance(mapping, dict) and "constant" in mapping):
                message = (
                    f"{target!r} is a constant, the same for everybody: match by an attribute that tells people apart."
                )
                yield document.problem(key, message)


def _warnings(document: Document, job: Job) -> Iterator[Problem]:
    """What can be carried out, but is probably not meant."""
    yield from (replace(found, severity=Severity.WARNING) for found in _doubts(document, job))


def _doubts(document: Document, job: Job) -> Iterator[Problem]:
    assignment, table = job.assignment, job.assignment.table
    by_group = assignment.groups or (table is not None and table.group is not None)
    if job.groups is not None and assignment.mode is AssignmentMode.ASSIGNED and not by_group:
        message = "The job provisions groups but assigns none, so no group is in scope: list them under assignment."
        yield document.problem(("groups",), message, node=document.key_node(("groups",)))
    for kind, rules in job.rules.items():
        for group_number, group in enumerate(rules.scope):
            for number, clause in enumerate(group):
                warning = regex_warning(str(clause.value)) if clause.operator in REGEXES else None
                if warning is not None:
                    yield document.problem((f"{kind}s", "scope", group_number, number, "value"), warning)


def _credential_problems(document: Document) -> Iterator[Problem]:
    for section in (*_SYSTEMS, *_NAMED_SYSTEMS, "assignment", "notify"):
        for key, text in document.texts((section,)):
            found = _PASSWORD_IN_ADDRESS.search(_ANY_REFERENCE.sub("$", text))
            if found and found["password"].strip("$"):
                message = f"A password must be a reference, never a value: in its place write {_REFERENCES}."
                yield document.problem(key, message)
            for reference in _ANY_REFERENCE.finditer(text):
                if reference["scheme"] not in _SCHEMES or not reference["colon"]:
                    yield document.problem(key, f"This refers to nothing: references are {_REFERENCES}.")
