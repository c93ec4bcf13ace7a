"""From an imported job to the text of a job file: YAML with comments that say what was left out and what to fill in."""

import io
import textwrap
from collections.abc import Iterator, Sequence
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.scalarstring import DoubleQuotedScalarString, FoldedScalarString

from connectors.contract import Kind
from flows.cli.entra_import.rules import NOBODY, Handling, ImportedJob, Section
from tasks.expressions.lexer import tokenize

_WIDTH = 110
"""Characters of a line from which on an expression is folded and options go on lines of their own."""

_HEADINGS = {
    Handling.LEFT_OUT: "Left out, because a job cannot hold it:",
    Handling.CHANGED: "Not as it was; please look at it:",
}


def job_text(job: ImportedJob) -> str:
    """The job file."""
    yaml = YAML()
    yaml.width = 10_000
    yaml.indent(mapping=2, sequence=2, offset=0)
    stream = io.StringIO()
    yaml.dump(_document(job), stream)
    return "".join([*_heading(job), "\n", stream.getvalue()])


def _heading(job: ImportedJob) -> Iterator[str]:
    yield "# yaml-language-server: $schema=job.schema.json\n"
    yield "#\n"
    yield from _comment(f"Imported from a Microsoft Entra synchronization schema: {job.source} to {job.target}.")
    yield from _comment("Fill in source and target, then run: provisor check FILE")
    yield from _comment("For help while editing: provisor schema --out job.schema.json")
    for handling, heading in _HEADINGS.items():
        findings = [finding for finding in job.findings if finding.handling is handling]
        if findings:
            yield "#\n"
            yield from _comment(heading)
            for finding in findings:
                yield from _comment(str(finding), first="#   - ", then="#     ")


def _comment(text: str, *, first: str = "# ", then: str = "# ") -> Iterator[str]:
    text = " ".join(text.split())  # a line break of any alphabet would end the comment
    lines = textwrap.wrap(text, 116, initial_indent=first, subsequent_indent=then, break_on_hyphens=False)
    return (f"{line}\n" for line in lines)


def _document(job: ImportedJob) -> CommentedMap:
    document = CommentedMap({"name": job.name, "source": _source(job), "target": _target(job)})
    document["users"] = _rules(job.users, job.anchors[Kind.USER])
    if job.groups is not None:
        document["groups"] = _rules(job.groups, job.anchors[Kind.GROUP])
    document["deprovision"] = _in_line(job.deprovision)
    limits = {"removals": _in_line({"count": 500, "fraction": 0.1, "minimum": 20})}
    document["limits"] = CommentedMap(limits)
    remarks = {**_REMARKS, "source": "\n".join([_REMARKS["source"], *_graph_remarks(job)])}
    for section in list(document)[1:]:
        document.yaml_set_comment_before_after_key(section, before="\n" + remarks.get(section, ""))
    return document


_REMARKS = {
    "source": "fill in: the files, or another connector (provisor connectors lists them)",
    "target": "fill in: the address of the app's SCIM service; the token is read from the environment",
    "limits": "what may be taken away by one cycle before a person is asked",
}


_TENANTS = {"azure active directory", "microsoft entra id"}
"""How schemas call the tenant's own directory, in lower case."""
_GRAPH_NAMES = {
    "objectId": "id",
    "mobile": "mobilePhone",
    "telephoneNumber": "businessPhones",
    "facsimileTelephoneNumber": "faxNumber",
    "physicalDeliveryOfficeName": "officeLocation",
    "immutableId": "onPremisesImmutableId",
    "dirSyncEnabled": "onPremisesSyncEnabled",
}
"""Attributes that Graph, and with it the connector, calls otherwise than a synchronization schema does.

Source: Microsoft Graph, user resource type; Microsoft Entra, "Customize user provisioning attribute mappings".
"""


def _graph_remarks(job: ImportedJob) -> Iterator[str]:
    """How to read the tenant itself, where the schema's source is one: its attributes have other names there."""
    if job.source.casefold() not in _TENANTS:
        return
    yield "to read the tenant itself, take source and assignment of flows/jobs/entra-to-scim.yaml"
    used = {column for columns in job.columns.values() for column in columns} | set(job.anchors.values())
    other = [f"[{there}] for [{name}]" for name, there in _GRAPH_NAMES.items() if name in used]
    if other:
        yield f"and write {', '.join(other)}"


def _source(job: ImportedJob) -> CommentedMap:
    source = CommentedMap({"connector": "csv"})
    source["users"] = CommentedMap({"path": "users.csv", "key": job.anchors[Kind.USER]})
    _say_columns(source, "users", job.columns[Kind.USER])
    if job.groups is not None:
        source["groups"] = CommentedMap({"path": "groups.csv", "key": job.anchors[Kind.GROUP]})
        _say_columns(source, "groups", job.columns[Kind.GROUP])
    if job.members and job.groups is not None:
        source["members"] = _in_line({"path": "members.csv", "group": "group", "member": "member"})
    return source


def _say_columns(source: CommentedMap, section: str, columns: Sequence[str]) -> None:
    lines = textwrap.wrap(" ".join(", ".join(columns).split()), 100, break_long_words=False, break_on_hyphens=False)
    remark = "\n".join(["columns that the job reads:", *(f"  {line}" for line in lines)])
    if section == "users":
        remark += "\na column that says who is enabled makes IsSoftDeleted true for the others: enabled: accountEnabled"
    source.yaml_set_comment_before_after_key(section, before=remark, indent=2)


def _target(job: ImportedJob) -> CommentedMap:
    target = CommentedMap({"connector": "scim", "url": "https://app.example.com/scim/v2"})
    target["auth"] = _in_line({"bearer": DoubleQuotedScalarString("${env:SCIM_TOKEN}")})
    return target


def _rules(section: Section, anchor: str) -> CommentedMap:
    rules = CommentedMap()
    for key, value in section.items():
        match key:
            case "scope":
                rules[key] = _scope(value, anchor)
            case "matching":
                rules[key] = CommentedSeq([_options(rule) for rule in value])
            case "attributes":
                rules[key] = CommentedMap({path: _mapping(mapping) for path, mapping in value.items()})
            case _:
                rules[key] = _in_line(value) if isinstance(value, dict) else value
    return rules


def _scope(scope: Any, anchor: str) -> CommentedSeq:
    if scope == NOBODY:
        never: list[Section] = [{"attribute": anchor, "operator": operator} for operator in ("IS NULL", "IS NOT NULL")]
        groups = CommentedSeq([CommentedSeq([_in_line(clause) for clause in never])])
        groups.yaml_set_comment_before_after_key(
            0, before="nobody passes: write the clauses that were left out", indent=2
        )
        return groups
    return CommentedSeq([CommentedSeq([_options(clause) for clause in group]) for group in scope])


def _mapping(mapping: Any) -> Any:
    return _expression(mapping) if isinstance(mapping, str) else _options(mapping)


def _options(options: Section) -> CommentedMap:
    """Options on one line where they fit."""
    written = CommentedMap({key: _value(key, value) for key, value in options.items()})
    if sum(len(key) + len(str(value)) + 6 for key, value in options.items()) < _WIDTH:
        written.fa.set_flow_style()
        for key, value in written.items():
            if isinstance(value, FoldedScalarString):  # folding needs lines of its own
                written[key] = str(value)
    return written


def _value(key: str, value: Any) -> Any:
    if key in ("expression", "reference", "source") and isinstance(value, str):
        return _expression(value)
    if isinstance(value, list):
        return _in_line_list(value)
    return value


def _in_line(values: Section) -> CommentedMap:
    written = CommentedMap(values)
    written.fa.set_flow_style()
    return written


def _in_line_list(values: list[Any]) -> CommentedSeq:
    written = CommentedSeq(values)
    written.fa.set_flow_style()
    return written


def _expression(text: str) -> Any:
    """An expression as a job file has it: an attribute in double quotes, a long one folded between its parts."""
    if text.startswith("[") and '"' not in text and "\\" not in text:
        return DoubleQuotedScalarString(text)
    if len(text) <= _WIDTH:
        return text
    folded = FoldedScalarString(text)
    folded.fold_pos = list(_folds(text))
    return folded


def _folds(text: str) -> Iterator[int]:
    """Places of single blanks between the parts of an expression, so that lines stay short."""
    line_start, previous = 0, -1
    for token in tokenize(text):
        gap = token.start - 1
        if token.end - line_start > _WIDTH - 10 and previous > line_start:
            yield previous
            line_start = previous + 1
        if gap > 0 and text[gap] == " ":
            previous = gap
