"""From a synchronization schema to the sections of a job, and everything that does not fit into one. Pure."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, TypeAlias

from pydantic import ValidationError

from connectors.contract import Kind
from connectors.scim.paths import PathError, parse_path
from flows.cli.entra_import.schema import (
    AttributeDefinition,
    AttributeMapping,
    Clause,
    ClauseGroup,
    EntraSchemaError,
    Node,
    ObjectMapping,
    Schema,
    SynchronizationRule,
)
from flows.cli.entra_import.sources import expression_of, negates_soft_deleted
from tasks.expressions import Place, check_expression, compile_expression
from tasks.extract import COMPUTED
from tasks.job import Clause as JobClause
from tasks.job import Operator
from tasks.scope import SOFT_DELETED

Section: TypeAlias = dict[str, Any]
"""One section of a job file as plain values."""

_CORE = re.compile(r"urn:ietf:params:scim:schemas:core:2\.0:(?:User|Group):", re.IGNORECASE)
_APPLY = {"always": None, "objectaddonly": "on_create", "multivalueaddonly": "add_only"}
_METADATA = {
    "escrowbehavior": ("default", "Provisor holds every entry that fails and tries it again, first at the next cycle"),
    "disposition": ("normal", "a Provisor job has no disposition"),
    "unsynchronized": ("false", "an object that is not synchronized has no place in a job"),
    "disablemonitoringforchanges": ("false", "a Provisor cycle processes every change"),
}
"""Options of an object mapping: their usual value, and why another one is not carried over."""

NOBODY = "nobody"
"""Stands for a filter that lets nobody pass."""


class Handling(StrEnum):
    """What became of a part of the schema that a job cannot hold as it is."""

    LEFT_OUT = "left out"
    CHANGED = "changed"


@dataclass(frozen=True, slots=True)
class Finding:
    """One part of the schema that is not in the job as it was."""

    handling: Handling
    place: str
    """Where in the job it belongs: ``users.attributes.title``."""
    sentence: str
    """What became of it, and why."""

    def __str__(self) -> str:
        return " ".join(f"{self.place}: {self.sentence}".split())


@dataclass(slots=True)
class ImportedJob:
    """What a schema amounts to."""

    name: str
    source: str
    """The directory that the entries come from."""
    target: str
    """The directory that they go to."""
    users: Section
    groups: Section | None
    members: bool
    """Whether memberships are provisioned."""
    anchors: dict[Kind, str]
    """The source attribute that identifies an entry for ever."""
    columns: dict[Kind, list[str]]
    """Source attributes that the sections read, sorted."""
    deprovision: Section
    findings: list[Finding]


@dataclass(slots=True)
class _Carrier:
    """Takes one object mapping over into one section, and collects what does not fit."""

    section: str
    source: Mapping[str, AttributeDefinition]
    target: Mapping[str, AttributeDefinition]
    findings: list[Finding]
    attributes: dict[str, Any] = field(default_factory=dict)
    expressions: dict[str, str] = field(default_factory=dict)
    """Target path to the expression that it is mapped by."""
    members: AttributeMapping | None = None
    switches_off: bool = False
    """Whether accounts are disabled by a mapping of IsSoftDeleted."""

    def leave_out(self, place: str, sentence: str) -> None:
        self.findings.append(Finding(Handling.LEFT_OUT, f"{self.section}.{place}", sentence))

    def changed(self, place: str, sentence: str) -> None:
        self.findings.append(Finding(Handling.CHANGED, f"{self.section}.{place}", sentence))


def import_schema(schema: Schema) -> ImportedJob:
    """The job that a schema amounts to. Raises: EntraSchemaError when it provisions no users."""
    findings: list[Finding] = []
    chosen = _choose(schema, findings)
    if "users" not in chosen:
        raise EntraSchemaError("The schema has no mapping of users, and a job needs one.")
    rule, _ = chosen["users"]
    sections: dict[str, Section] = {}
    carriers: dict[str, _Carrier] = {}
    for name in ("users", "groups"):
        if name not in chosen:
            continue
        carrier = _carrier(schema, name, *chosen[name], findings)
        section = _section(carrier, chosen[name][1])
        if section is not None:
            sections[name], carriers[name] = section, carrier
    if "users" not in sections:
        raise EntraSchemaError("None of the user mappings can be imported:\n" + "\n".join(map(str, findings)))
    anchors = {kind: _anchor(schema, chosen, f"{kind}s") for kind in Kind}
    source, target = rule.source_directory_name or "source", rule.target_directory_name or "target"
    return ImportedJob(
        name=_job_name(source, target),
        source=source,
        target=target,
        users=sections["users"],
        groups=sections.get("groups"),
        members="groups" in carriers and carriers["groups"].members is not None,
        anchors=anchors,
        columns={kind: _columns(sections.get(f"{kind}s"), anchors[kind]) for kind in Kind},
        deprovision=_deprovision(carriers["users"], chosen["users"][1]),
        findings=findings,
    )


# --- what is carried over ------------------------------------------------------------------------------------------


def _choose(schema: Schema, findings: list[Finding]) -> dict[str, tuple[SynchronizationRule, ObjectMapping]]:
    """The object mapping of each section: the enabled one of the rule that runs first."""
    chosen: dict[str, tuple[SynchronizationRule, ObjectMapping]] = {}
    for rule in sorted(schema.synchronization_rules, key=lambda one: (one.priority is None, one.priority or 0)):
        _look_at_rule(rule, findings)
        for mapping in sorted(rule.object_mappings, key=lambda one: one.enabled is False):
            section = mapping.section
            if section is None:
                sentence = f"“{mapping.title}” maps {mapping.source_object_name} objects; a job has users and groups."
                findings.append(Finding(Handling.LEFT_OUT, "job", sentence))
            elif section in chosen:
                sentence = f"“{mapping.title}” is a second mapping of {section}; make a job of its own of it."
                findings.append(Finding(Handling.LEFT_OUT, section, sentence))
            elif section == "groups" and mapping.enabled is False:
                findings.append(
                    Finding(Handling.LEFT_OUT, section, f"“{mapping.title}” is switched off in the schema.")
                )
            else:
                chosen[section] = rule, mapping
    return chosen


def _look_at_rule(rule: SynchronizationRule, findings: list[Finding]) -> None:
    for name, content in (("groupFilter", rule.group_filter), ("containerFilter", rule.container_filter)):
        if content and any(content.values()):
            sentence = (
                f"the {name} of the rule “{rule.name}” ({json.dumps(content, ensure_ascii=False)}) has no counterpart; "
                "list the groups under assignment, or give the source only these entries."
            )
            findings.append(Finding(Handling.LEFT_OUT, "assignment", sentence))


def _carrier(
    schema: Schema, section: str, rule: SynchronizationRule, mapping: ObjectMapping, findings: list[Finding]
) -> _Carrier:
    target = schema.definitions(rule.target_directory_name, mapping.target_object_name)
    return _Carrier(
        section=section,
        source=schema.definitions(rule.source_directory_name, mapping.source_object_name),
        target={_CORE.sub("", name): definition for name, definition in target.items()},
        findings=findings,
    )


def _section(carrier: _Carrier, mapping: ObjectMapping) -> Section | None:
    """One section of the job; None where nothing of it can be carried over."""
    for attribute in mapping.attribute_mappings:
        _carry_attribute(carrier, attribute)
    if not carrier.expressions:
        sentence = f"no mapping of “{mapping.title}” can be imported."
        carrier.findings.append(Finding(Handling.LEFT_OUT, carrier.section, sentence))
        return None
    section: Section = {}
    if scope := _scope(carrier, mapping):
        section["scope"] = scope
    section["matching"] = _matching(carrier, mapping)
    section["attributes"] = carrier.attributes
    if actions := _actions(carrier, mapping):
        section["actions"] = actions
    if carrier.members is not None and (carrier.members.flow_type or "").casefold() == "multivalueaddonly":
        section["members"] = "additive"
    if carrier.section == "groups" and carrier.members is None:
        carrier.changed("members", "the schema does not map members, so no memberships are read from the source.")
    _look_at_metadata(carrier, mapping)
    return section


def _actions(carrier: _Carrier, mapping: ObjectMapping) -> Section:
    flows = mapping.flows
    if mapping.enabled is False:
        carrier.changed("actions", f"“{mapping.title}” is switched off in the schema, so every action is off.")
        flows = frozenset()
    actions = {"create": "add" in flows, "update": "update" in flows, "delete": "delete" in flows}
    return {} if all(actions.values()) else actions


def _look_at_metadata(carrier: _Carrier, mapping: ObjectMapping) -> None:
    for entry in mapping.metadata:
        usual, why = _METADATA.get(entry.key.casefold(), (None, ""))
        if usual is not None and entry.plain.casefold() not in ("", usual):
            sentence = f"the option {entry.key} is {entry.plain} in the schema; {why}."
            carrier.findings.append(Finding(Handling.LEFT_OUT, carrier.section, sentence))


# --- attributes ----------------------------------------------------------------------------------------------------


def _carry_attribute(carrier: _Carrier, mapping: AttributeMapping) -> None:
    path = _CORE.sub("", mapping.target_attribute_name)
    place = f"attributes.{path}"
    if path == "members" and carrier.section == "groups":
        carrier.members = mapping
        if mapping.source is not None and mapping.source.type.casefold() != "attribute":
            carrier.changed("members", "members were computed by an expression; here they are the source's own.")
        return
    if path in carrier.attributes:
        carrier.leave_out(place, "a second mapping of the same attribute; the first is kept.")
        return
    if path.casefold() == "objectfilter":
        carrier.leave_out(
            place,
            f"this is no attribute but a way to skip entries ({_told(mapping.source)}); write a filter under scope, or "
            "use IgnoreObjectFlow in the mapping of another attribute.",
        )
        return
    options = _options(carrier, mapping, path)
    if options is None:
        return
    _look_at_path(carrier, path)
    carrier.attributes[path] = options["expression"] if list(options) == ["expression"] else options


def _options(carrier: _Carrier, mapping: AttributeMapping, path: str) -> Section | None:
    """A mapping of the job in its long form; None where it cannot be carried over."""
    place = f"attributes.{path}"
    source = mapping.source
    if source is None or (source.type.casefold() == "constant" and source.name is not None):
        constant = mapping.default_value if source is None else source.name
        if constant is None:
            return None  # mapped to nothing: the target is left alone, here as there
        return _with_apply(carrier, mapping, path, {"constant": _typed(carrier, path, constant)})
    reference = _is_reference(carrier, source, path)
    text, problem = expression_of(source, place=Place.REFERENCE if reference else Place.MAPPING)
    if problem is not None:
        carrier.leave_out(place, f"{text} cannot be used: {problem}")
        return None
    soft_deleted = _soft_deleted(carrier, path, text)
    if soft_deleted is not None:
        carrier.expressions[path] = soft_deleted
        return {"expression": soft_deleted}
    if reference:
        carrier.changed(
            place, f"{text} refers to another entry: the source must give that entry's key, and its id is written."
        )
        return _with_apply(carrier, mapping, path, {"reference": text})
    carrier.expressions[path] = text
    options = _with_apply(carrier, mapping, path, {"expression": text})
    if mapping.default_value is not None:
        options["default"] = _typed(carrier, path, mapping.default_value)
    if _clears(carrier, mapping, text, path):
        options["clear"] = True
    if (definition := carrier.target.get(path)) and definition.case_exact:
        options["exact_case"] = True
    return options


def _soft_deleted(carrier: _Carrier, path: str, text: str) -> str | None:
    """``Not([IsSoftDeleted])`` for every way in which a schema says that an account is active."""
    direct = text == f"[{SOFT_DELETED}]" and path.casefold() in ("active", "isactive", "accountenabled")
    if not direct and not negates_soft_deleted(text):
        return None
    if direct:
        carrier.changed(f"attributes.{path}", f"[{SOFT_DELETED}] is inverted, as the service does.")
    carrier.switches_off = True
    return f"Not([{SOFT_DELETED}])"


def _with_apply(carrier: _Carrier, mapping: AttributeMapping, path: str, options: Section) -> Section:
    place = f"attributes.{path}"
    flow = (mapping.flow_type or "Always").casefold()
    apply = _APPLY.get(flow, "on_create")
    if flow not in _APPLY:
        carrier.changed(
            place, f"the flow type {mapping.flow_type} is not known; it is written when an account is created."
        )
    if apply != "on_create" and str(options.get("expression", "")).startswith("SelectUniqueValue"):
        carrier.changed(place, "SelectUniqueValue chooses once, so it is written when an account is created.")
        apply = "on_create"
    if (mapping.flow_behavior or "").casefold() == "flowalways":
        carrier.leave_out(place, "FlowAlways sends a value that has not changed; Provisor sends what differs.")
    if mapping.export_missing_references:
        carrier.leave_out(
            place, "exportMissingReferences: a reference that cannot be resolved is set by a later cycle."
        )
    return options if apply is None else options | {"apply": apply}


def _clears(carrier: _Carrier, mapping: AttributeMapping, text: str, path: str) -> bool:
    """Whether null clears the target: where both gates are open, the source attributes' and the target's."""
    definition = carrier.target.get(path)
    at_target = bool(mapping.flow_null_values or (definition is not None and definition.flow_null_values))
    if not at_target:
        return False
    read = compile_expression(text).attributes
    at_source = all(name in carrier.source and carrier.source[name].flow_null_values for name in read)
    if not at_source:
        carrier.changed(
            f"attributes.{path}", "null may flow to the target but not from the source: no clear. Add clear: true."
        )
    return at_source


def _is_reference(carrier: _Carrier, source: Node, path: str) -> bool:
    """Whether the value is another entry: as the directories say, or a manager where they say nothing."""
    definition = carrier.target.get(path)
    if definition is not None and definition.type is not None:
        return definition.type.casefold() == "reference"
    if source.type.casefold() != "attribute":
        return False
    read = carrier.source.get(source.name or "")
    if read is not None and read.type is not None:
        return read.type.casefold() == "reference"
    return "manager" in (path.rpartition(":")[2].casefold(), (source.name or "").casefold())


def _typed(carrier: _Carrier, path: str, text: str) -> str | bool | int:
    """A constant in the type that the target's directory gives the attribute; constants are always text in a schema."""
    definition = carrier.target.get(path)
    match (definition.type or "").casefold() if definition is not None else "":
        case "boolean" if text.casefold() in ("true", "false"):
            return text.casefold() == "true"
        case "integer" if re.fullmatch(r"-?[0-9]{1,18}", text):
            return int(text)
        case _:
            return text


def _look_at_path(carrier: _Carrier, path: str) -> None:
    try:
        parse_path(path)
    except PathError as error:
        carrier.changed(f"attributes.{path}", f"{error} Keep it only for a target that names its attributes so.")


def _told(source: Node | None) -> str:
    return "no source" if source is None else expression_of(source)[0]


# --- matching ------------------------------------------------------------------------------------------------------


def _matching(carrier: _Carrier, mapping: ObjectMapping) -> list[Section]:
    """The matching rules in order of precedence; an assumed one where the schema has none that can be used."""
    rules: list[Section] = []
    marked = [attribute for attribute in mapping.attribute_mappings if (attribute.matching_priority or 0) > 0]
    for attribute in sorted(marked, key=lambda one: one.matching_priority or 0):
        path = _CORE.sub("", attribute.target_attribute_name)
        text = carrier.expressions.get(path)
        if text is None:
            carrier.leave_out(
                "matching", f"{path}: it is not mapped by an expression here, so it cannot tell people apart."
            )
        elif problems := check_expression(text, place=Place.MATCHING):
            carrier.leave_out("matching", f"{path}: {problems[0]}")
        else:
            rules.append({"source": text, "target": path})
    return rules or [_assumed(carrier)]


def _assumed(carrier: _Carrier) -> Section:
    usable = [path for path, text in carrier.expressions.items() if not check_expression(text, place=Place.MATCHING)]
    if not usable:
        raise EntraSchemaError(f"No mapping of {carrier.section} can be used to recognise existing accounts.")
    usual = [path for path in ("userName", "displayName", "externalId") if path in usable]
    path = (usual or usable)[0]
    carrier.changed("matching", f"the schema names no usable matching attribute; {path} is assumed. Please check it.")
    return {"source": carrier.expressions[path], "target": path}


# --- scope ---------------------------------------------------------------------------------------------------------


def _scope(carrier: _Carrier, mapping: ObjectMapping) -> list[list[Section]] | str:
    """Groups of clauses; `NOBODY` where the schema has a filter and nothing of it can be carried over."""
    found = mapping.scope
    if found is None:
        return []
    for name, groups in (
        ("inputFilterGroups", found.input_filter_groups),
        ("categoryFilterGroups", found.category_filter_groups),
    ):
        if dropped := " | ".join(_written(group) for group in groups if group.clauses):
            carrier.leave_out(
                "scope",
                f"{name} are experimental and have no counterpart: entries that they kept away are in scope now. They "
                f"say: {dropped}.",
            )
    written = [group for group in found.groups if group.clauses]
    carried = [clauses for group in written if (clauses := _clauses(carrier, group)) is not None]
    if written and not carried:
        carrier.changed("scope", "no group of clauses can be carried over, so nobody is in scope until you write one.")
        return NOBODY
    return carried


def _clauses(carrier: _Carrier, group: ClauseGroup) -> list[Section] | None:
    """The clauses of one group; None where one of them cannot be carried over: without it too many would pass."""
    carried = []
    for clause in group.clauses:
        section, problem = _clause(carrier, clause)
        if section is None:
            title = f"“{group.name}”" if group.name else "a group of clauses"
            carrier.leave_out("scope", f"{title} ({_written(group)}), because of {clause}: {problem}")
            return None
        carried.append(section)
    return carried


def _clause(carrier: _Carrier, clause: Clause) -> tuple[Section | None, str]:
    """A clause of the job, or why there is none."""
    membership = re.sub(r"\W|_", "", clause.operator_name).casefold() in ("ismemberof", "memberof")
    if membership or clause.source_operand_name.casefold() == "ismemberof":
        attribute = clause.source_operand_name if "member" not in clause.source_operand_name.casefold() else "objectId"
        return None, (
            "the service itself does not support IsMemberOf; write "
            f"{{attribute: {attribute}, operator: MEMBER_OF, value: [group]}} with keys or names of its groups."
        )
    values: list[str | int] = [value for value in clause.values if value.strip()]
    section: Section = {"attribute": clause.source_operand_name, "operator": clause.operator_name}
    if len(values) > 1 and clause.operator_name.casefold() == "equals":
        section["operator"] = Operator.IN
        values = [list(values)]  # type: ignore[list-item]
    if len(values) > 1:
        return None, f"{clause.operator_name} takes one value, and here are {len(values)}."
    if values:
        section["value"] = values[0]
    return _validated(section)


def _validated(section: Section) -> tuple[Section | None, str]:
    """The clause in the spelling of a job file; numbers are text in a schema."""
    attempts = [section]
    if isinstance(value := section.get("value"), str) and re.fullmatch(r"[0-9]{1,18}", value.strip()):
        attempts.append(section | {"value": int(value)})
    problem = ""
    for attempt in attempts:
        try:
            clause = JobClause.model_validate(attempt)
        except ValidationError as error:
            problem = " ".join(detail["msg"] for detail in error.errors(include_url=False))
            continue
        return attempt | {"operator": str(clause.operator)}, ""
    return None, problem


def _written(group: ClauseGroup) -> str:
    return " AND ".join(map(str, group.clauses))


# --- the rest of the job -------------------------------------------------------------------------------------------


def _deprovision(carrier: _Carrier, mapping: ObjectMapping) -> Section:
    """What becomes of leavers: disabled by the mapping of IsSoftDeleted, else left as they are."""
    deletes = "delete" in mapping.flows and mapping.enabled is not False
    place = "deprovision"
    if carrier.switches_off:
        if deletes:
            sentence = (
                "the service deletes an account when its user is deleted for good, 30 days after the recycle bin; here "
                "it stays disabled. delete_after: 30d deletes every account 30 days after it was disabled."
            )
            carrier.findings.append(Finding(Handling.CHANGED, place, sentence))
        return dict.fromkeys(("unassigned", "out_of_scope", "disabled", "deleted"), "disable")
    sentence = "the schema does not map IsSoftDeleted, so leavers keep their accounts until they are deleted."
    carrier.findings.append(Finding(Handling.CHANGED, place, sentence))
    return dict.fromkeys(("unassigned", "out_of_scope", "disabled"), "keep") | {
        "deleted": "delete" if deletes else "keep"
    }


def _anchor(schema: Schema, chosen: Mapping[str, tuple[SynchronizationRule, ObjectMapping]], section: str) -> str:
    if section not in chosen:
        return "id"
    rule, mapping = chosen[section]
    definitions = schema.definitions(rule.source_directory_name, mapping.source_object_name)
    return next((name for name, definition in definitions.items() if definition.anchor), "objectId")


def _columns(section: Section | None, anchor: str) -> list[str]:
    """Source attributes that a section reads, the anchor first."""
    if section is None:
        return []
    return [anchor, *sorted(set(_read(section)) - COMPUTED - {anchor})]


def _read(section: Section) -> Iterator[str]:
    for options in section["attributes"].values():
        text = options if isinstance(options, str) else options.get("expression") or options.get("reference")
        if isinstance(text, str):
            yield from compile_expression(text).attributes
    scope: Sequence[Any] = section.get("scope", [])
    if scope != NOBODY:
        yield from (clause["attribute"] for group in scope for clause in group)


def _job_name(source: str, target: str) -> str:
    """``azure-active-directory-to-customappsso``: what the ledger may call a job."""
    parts = (re.sub(r"[^a-z0-9.]+", "-", name.lower()).strip("-.") or "system" for name in (source, target))
    return "-to-".join(part[:36] for part in parts)
