"""``provisor import-entra``: an exported synchronization schema becomes a job that loads; nothing is lost unsaid."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from typer.testing import CliRunner

from flows.cli import app
from flows.cli.entra_import import EntraSchemaError, Handling, Schema, import_schema, job_text, read_schema
from flows.cli.entra_import.schema import Node
from flows.cli.entra_import.sources import expression_of, negates_soft_deleted, tidy
from tasks.expressions import check_expression, compile_expression
from tasks.job import Apply, Job, Operator, load_job

SCHEMAS = Path(__file__).parent / "entra"
SCIM_APP, POWERSHELL = SCHEMAS / "scim_app.json", SCHEMAS / "powershell.json"
ENTERPRISE = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:"
Convert = Callable[[Path], Job]


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, ["import-entra", *map(str, arguments)])


@pytest.fixture
def convert(tmp_path: Path) -> Convert:
    """Runs the command and loads the job file that it writes."""

    def convert_file(schema: Path) -> Job:
        out = tmp_path / "job.yaml"
        result = run(schema, "--out", out)
        assert result.exit_code == 0, result.output
        return load_job(out)

    return convert_file


def attribute(name: str) -> dict[str, Any]:
    return {"type": "Attribute", "name": name, "parameters": []}


def constant(text: str) -> dict[str, Any]:
    return {"type": "Constant", "name": text, "parameters": []}


def function(name: str, *parameters: tuple[str, Any], expression: str | None = None) -> dict[str, Any]:
    given = [{"key": key, "value": value} for key, value in parameters]
    return {"type": "Function", "name": name, "parameters": given, "expression": expression}


def schema_of(*mappings: dict[str, Any], **more: Any) -> Schema:
    """A schema of users that are matched by userName, with these mappings besides."""
    user_name = {"targetAttributeName": "userName", "source": attribute("upn"), "matchingPriority": 1}
    users = {
        "sourceObjectName": "User",
        "targetObjectName": "User",
        "attributeMappings": [user_name, *mappings],
        **more,
    }
    rule = {"sourceDirectoryName": "Directory", "targetDirectoryName": "App", "objectMappings": [users]}
    return Schema.model_validate({"synchronizationRules": [rule]})


def mapping(target: str, source: dict[str, Any] | None, **more: Any) -> dict[str, Any]:
    return {"targetAttributeName": target, "source": source, **more}


def clause(name: str, operator: str, *values: str) -> dict[str, Any]:
    return {"sourceOperandName": name, "operatorName": operator, "targetOperand": {"values": list(values)}}


def scope_of(*groups: list[dict[str, Any]]) -> dict[str, Any]:
    return {"scope": {"groups": [{"name": f"group {number}", "clauses": group} for number, group in enumerate(groups)]}}


def loaded(schema: Schema, folder: Path) -> Job:
    path = folder / "job.yaml"
    path.write_text(job_text(import_schema(schema)), encoding="utf-8")
    return load_job(path)


def expressions(job: Job) -> Iterator[str]:
    for rules in filter(None, (job.users, job.groups)):
        yield from (rule.source for rule in rules.matching)
        for one in rules.attributes.values():
            yield from filter(None, (one.expression, one.reference))


# --- the whole way -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("schema", [SCIM_APP, POWERSHELL])
def test_the_job_loads_and_every_expression_compiles(convert: Convert, schema: Path) -> None:
    """What the import writes is a job: the loader takes it, and no expression has a problem."""
    found = list(expressions(convert(schema)))
    assert found
    for text in found:
        assert check_expression(text) == []


@pytest.mark.parametrize("schema", [SCIM_APP, POWERSHELL])
def test_the_job_file_as_people_read_it(golden: Callable[[Path, str], None], schema: Path) -> None:
    """The editor comment first, then what was left out and why, then the job with comments on what to fill in."""
    result = run(schema)
    golden(schema.with_suffix(".yaml"), result.stdout)
    golden(schema.with_suffix(".txt"), result.stderr)
    assert result.stdout.startswith("# yaml-language-server: $schema=job.schema.json\n")


def test_a_file_that_is_there_is_not_written_over(tmp_path: Path) -> None:
    """A job file may have been edited since: it is never replaced."""
    out = tmp_path / "job.yaml"
    out.write_text("mine", encoding="utf-8")
    result = run(SCIM_APP, "--out", out)
    assert (result.exit_code, out.read_text(encoding="utf-8")) == (2, "mine")
    assert "is there already" in result.stderr


def test_importing_twice_gives_the_same(tmp_path: Path) -> None:
    """The same schema gives the same file, byte for byte."""
    assert job_text(import_schema(read_schema(SCIM_APP))) == job_text(import_schema(read_schema(SCIM_APP)))


def test_everything_is_carried_or_named(convert: Convert) -> None:
    """Each mapping of the schema is in the job, or a finding names it; nothing disappears without a word."""
    job, imported = convert(SCIM_APP), import_schema(read_schema(SCIM_APP))
    document = json.loads(SCIM_APP.read_text(encoding="utf-8"))
    said = " ".join(map(str, imported.findings))
    for section, rules in (("User", job.users), ("Group", job.groups)):
        assert rules is not None
        (found,) = (
            one
            for one in document["synchronizationRules"][0]["objectMappings"]
            if one["sourceObjectName"] == section and one["enabled"]
        )
        for one in found["attributeMappings"]:
            path = one["targetAttributeName"].removeprefix("urn:ietf:params:scim:schemas:core:2.0:User:")
            nothing = one["source"] is None and one["defaultValue"] is None
            is_members = section == "Group" and path == "members"
            assert path in rules.attributes or path in said or nothing or is_members, path


# --- attributes ----------------------------------------------------------------------------------------------------


def test_mapping_options(convert: Convert) -> None:
    """Kinds, flow types, defaults, exact case, clearing and references arrive as the job's own options."""
    attributes = convert(SCIM_APP).users.attributes
    assert attributes["userName"].expression == "[userPrincipalName]"
    assert attributes["externalId"].apply is Apply.ON_CREATE
    assert attributes["externalId"].exact_case
    assert attributes['emails[type eq "other"].value'].apply is Apply.ADD_ONLY
    assert (attributes["title"].expression, attributes["title"].default) == ("[jobTitle]", "Employee")
    assert attributes["name.familyName"].default == "."
    assert attributes["locale"].constant == "en-GB"
    assert attributes["userType"].constant == "Member"
    assert attributes['addresses[type eq "work"].primary'].constant is True
    assert attributes[f"{ENTERPRISE}manager"].reference == "[manager]"
    assert attributes[f"{ENTERPRISE}employeeNumber"].clear
    assert not attributes[f"{ENTERPRISE}department"].clear
    assert attributes["nickName"].apply is Apply.ON_CREATE
    role = attributes['roles[primary eq "True"].value']
    assert role.expression == "SingleAppRoleAssignment([appRoleAssignments])"


def test_an_expression_keeps_its_meaning_through_folding(convert: Convert) -> None:
    """A long expression is folded between its parts; blanks inside texts are the text's own."""
    text = convert(SCIM_APP).users.attributes[f"{ENTERPRISE}department"].expression
    assert text is not None
    document = json.loads(SCIM_APP.read_text(encoding="utf-8"))
    (stored,) = (
        one["source"]["expression"]
        for found in document["synchronizationRules"][0]["objectMappings"]
        for one in found["attributeMappings"]
        if one["targetAttributeName"] == f"{ENTERPRISE}department"
    )
    assert text == tidy(stored)
    assert '"Information  Technology"' in text


@pytest.mark.parametrize(
    "text",
    [
        'Join(" # ", [a], "b: c")',
        'Replace([a], , "[()\\\\s-]+\\\\\\"", , "\\\\", )',
        'Join("", "\u2028 \u00a0 é 👩‍💻 \t", [emails[type eq "work"].value])',
        "Switch([a], , " + ", ".join(f'"key {number}", "value  {number}"' for number in range(60)) + ")",
        'Join("-", "' + "x" * 300 + '", [a], "' + "y " * 200 + '", [b])',
        "[urn:ietf:params:scim:schemas:extension:contoso:1.0:User:JobCode]",
        '[emails[type eq "work"].value]',
        'IIF([a]="1",[b],"yes")',
    ],
)
def test_any_expression_survives_the_file(tmp_path: Path, text: str) -> None:
    """Quotes, backslashes, comment signs, long texts: YAML gives back the expression that the schema holds."""
    source = function("Any", expression=text)
    for more in ({}, {"defaultValue": "x"}, {"flowType": "ObjectAddOnly"}):
        job = loaded(schema_of(mapping("title", source, **more)), tmp_path)
        assert job.users.attributes["title"].expression == tidy(text)
        assert job.users.attributes["title"].default == more.get("defaultValue")


@pytest.mark.parametrize("text", ["yes", "1", "00123", "null", "a # b", "- x", "[x]", "", " x ", "a: b", "tü\n", "\\"])
def test_any_constant_survives_the_file(tmp_path: Path, text: str) -> None:
    """Constants of a schema are text, whatever they look like to YAML."""
    job = loaded(schema_of(mapping("title", constant(text)), mapping("nickName", None, defaultValue=text)), tmp_path)
    assert job.users.attributes["title"].constant == text
    assert job.users.attributes["nickName"].constant == text


@pytest.mark.parametrize(
    ("node", "text"),
    [
        (attribute("mail"), "[mail]"),
        (constant('a"b\\c'), '"a\\"b\\\\c"'),
        (
            function("Replace", ("source", attribute("a")), ("Find", constant("-")), ("Replacement", constant("_"))),
            'Replace([a], "-", , , "_")',
        ),
        (
            function(
                "Replace",
                ("Template", constant("x")),
                ("source", attribute("a")),
                ("Find", constant("-")),
            ),
            'Replace([a], "-", , , , , "x")',
        ),
        (
            function(
                "Replace",
                ("source", attribute("a")),
                ("RegularExpression", constant("(?<n>b)")),
                ("RegularExpressionGroupName", constant("n")),
                ("ReplacementPropertyName", attribute("c")),
            ),
            'Replace([a], , "(?<n>b)", "n", , [c])',
        ),
        (
            function(
                "Switch", ("source", attribute("a")), ("switchValue", constant("1")), ("switchValue", constant("x"))
            ),
            'Switch([a], , "1", "x")',
        ),
        (
            function(
                "Switch",
                ("source", attribute("a")),
                ("defaultValue", constant("d")),
                ("switchValue", constant("1")),
                ("switchValue", attribute("b")),
            ),
            'Switch([a], "d", "1", [b])',
        ),
        (
            function("Join", ("separator", constant(" ")), ("source", attribute("a")), ("source", attribute("b"))),
            'Join(" ", [a], [b])',
        ),
        (
            function(
                "FormatDateTime",
                ("source", attribute("a")),
                ("inputFormat", constant("yyyyMMdd")),
                ("outputFormat", constant("yyyy")),
            ),
            'FormatDateTime([a], , "yyyyMMdd", "yyyy")',
        ),
        (
            function("Mid", ("source", attribute("a")), ("start", constant("1")), ("length", constant("8"))),
            'Mid([a], "1", "8")',
        ),
        (function("IsNothing", ("source", attribute("a"))), "IsNothing([a])"),
        (
            function(
                "IIF",
                ("p1", function("=", ("left", attribute("a")), ("right", constant("x")))),
                ("p2", constant("y")),
                ("p3", function("ToUpper", ("source", attribute("b")))),
            ),
            'IIF([a] = "x", "y", ToUpper([b]))',
        ),
        (function("Now"), "Now()"),
    ],
)
def test_a_tree_without_text_is_rendered(node: dict[str, Any], text: str) -> None:
    """Parameters go to their places by their stored names; those left out are empty arguments."""
    assert expression_of(Node.model_validate(node)) == (text, None)


def test_the_text_of_a_node_is_preferred_and_its_tree_the_way_out() -> None:
    """A stored text is taken as it is; where it cannot be used, the tree may still say what was meant."""
    tree = function("ToLower", ("source", attribute("a")), expression="ToUpper([b])")
    assert expression_of(Node.model_validate(tree)) == ("ToUpper([b])", None)
    broken = function("ToLower", ("source", attribute("a")), expression="ToLower([a]")
    assert expression_of(Node.model_validate(broken)) == ("ToLower([a])", None)


@pytest.mark.parametrize(
    ("text", "negates"),
    [
        ("Not([IsSoftDeleted])", True),
        ('Switch([IsSoftDeleted], , "False", "True", "True", "False")', True),
        ('IIF([IsSoftDeleted] = "True", "False", "True")', True),
        ("[IsSoftDeleted]", False),
        ('Switch([IsSoftDeleted], , "False", "A", "True", "D")', False),
        ('IIF([IsSoftDeleted] = "True", [a], "True")', False),
    ],
)
def test_ways_to_say_active(text: str, negates: bool) -> None:
    """However a schema turns IsSoftDeleted round, the job says Not; anything else stays what it is."""
    assert negates_soft_deleted(text) is negates


def test_is_soft_deleted_becomes_active(tmp_path: Path) -> None:
    """A direct mapping of IsSoftDeleted to active is turned round too, and leavers are disabled."""
    job = loaded(schema_of(mapping("active", attribute("IsSoftDeleted"), defaultValue="True")), tmp_path)
    assert job.users.attributes["active"].expression == "Not([IsSoftDeleted])"
    assert {job.deprovision.unassigned, job.deprovision.out_of_scope, job.deprovision.disabled} == {"disable"}


def test_without_is_soft_deleted_leavers_keep_their_accounts(tmp_path: Path) -> None:
    """Entra disables by the mapping of IsSoftDeleted alone, so without it the job must not disable either."""
    job = loaded(schema_of(flowTypes="Add, Update"), tmp_path)
    assert (job.deprovision.unassigned, job.deprovision.deleted) == ("keep", "keep")
    assert (job.users.actions.create, job.users.actions.update, job.users.actions.delete) == (True, True, False)
    assert loaded(schema_of(), tmp_path).deprovision.deleted == "delete"


# --- matching ------------------------------------------------------------------------------------------------------


def test_matching_rules_in_order_of_precedence(tmp_path: Path) -> None:
    """The lowest priority is tried first; what cannot tell people apart is said and left out."""
    found = schema_of(
        mapping("externalId", attribute("id"), matchingPriority=3),
        mapping("nickName", function("Join", expression='Join(".", [a], [b])'), matchingPriority=2),
        mapping("title", constant("x"), matchingPriority=4),
        mapping("locale", function("Guid", expression="Guid()"), matchingPriority=5),
    )
    job = loaded(found, tmp_path)
    assert [rule.target for rule in job.users.matching] == ["userName", "nickName", "externalId"]
    assert job.users.matching[1].source == 'Join(".", [a], [b])'
    said = [str(one) for one in import_schema(found).findings if one.place == "users.matching"]
    assert len(said) == 2


def test_no_usable_matching_attribute(convert: Convert) -> None:
    """A job must match by something: an attribute is assumed, and that is said."""
    assert [rule.target for rule in convert(POWERSHELL).users.matching] == ["sAMAccountName"]
    (said,) = (one for one in import_schema(read_schema(POWERSHELL)).findings if one.place == "users.matching")
    assert said.handling is Handling.CHANGED


# --- scope ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "values", "operator", "value"),
    [
        ("EQUALS", ["Sales"], Operator.EQUALS, "Sales"),
        ("EQUALS", ["00123"], Operator.EQUALS, "00123"),
        ("EQUALS", ["DE", "AT"], Operator.IN, ("DE", "AT")),
        ("NOT EQUALS", ["Sales"], Operator.NOT_EQUALS, "Sales"),
        ("IS NULL", [], Operator.IS_NULL, None),
        ("IS NOT NULL", [""], Operator.IS_NOT_NULL, None),
        ("IS TRUE", [], Operator.IS_TRUE, None),
        ("IS FALSE", [], Operator.IS_FALSE, None),
        ("REGEX MATCH", ["^(a|b)$"], Operator.REGEX_MATCH, "^(a|b)$"),
        ("NOT REGEX MATCH", ["10"], Operator.NOT_REGEX_MATCH, "10"),
        ("Greater_Than", ["5"], Operator.GREATER_THAN, 5),
        ("GREATER_THAN_OR_EQUALS", ["5"], Operator.GREATER_THAN_OR_EQUALS, 5),
        ("INCLUDES", ["x"], Operator.INCLUDES, "x"),
        ("ENDS_WITH", ["@x"], Operator.ENDS_WITH, "@x"),
        ("&", ["512"], Operator.BITS, 512),
        ("!&", ["2"], Operator.NOT_BITS, 2),
    ],
)
def test_every_operator(tmp_path: Path, name: str, values: list[str], operator: Operator, value: Any) -> None:
    """Each operator of the service arrives as ours, with the value in the type that it compares."""
    job = loaded(schema_of(**scope_of([clause("a", name, *values)])), tmp_path)
    ((found,),) = job.users.scope
    assert (found.attribute, found.operator, found.value) == ("a", operator, value)


def test_groups_of_clauses(convert: Convert) -> None:
    """Groups stay an OR of ANDs, for users and for groups."""
    job = convert(SCIM_APP)
    assert [[one.attribute for one in group] for group in job.users.scope] == [
        ["department", "userType", "mail"],
        ["employeeLevel", "userAccountControl", "accountEnabled"],
        ["country", "userPrincipalName", "jobTitle"],
    ]
    assert job.groups is not None
    assert job.groups.scope[0][0].operator is Operator.REGEX_MATCH


@pytest.mark.parametrize(
    "bad",
    [
        clause("a", "IsMemberOf", "g"),
        clause("a", "SOUNDS LIKE", "x"),
        clause("a", "REGEX MATCH", "("),
        clause("a", "Greater_Than", "five"),
        clause("a", "INCLUDES", "x", "y"),
        clause("a", "EQUALS"),
    ],
)
def test_a_clause_that_cannot_be_carried_never_widens_the_scope(tmp_path: Path, bad: dict[str, Any]) -> None:
    """Its whole group is left out; when no group remains, nobody passes until a person decides."""
    good = [clause("b", "EQUALS", "x")]
    job = loaded(schema_of(**scope_of([*good, bad], good)), tmp_path)
    assert [[one.attribute for one in group] for group in job.users.scope] == [["b"]]
    alone = loaded(schema_of(**scope_of([*good, bad])), tmp_path)
    ((first, second),) = alone.users.scope
    assert first.attribute == second.attribute
    assert {first.operator, second.operator} == {Operator.IS_NULL, Operator.IS_NOT_NULL}


# --- groups, rules, files ------------------------------------------------------------------------------------------


def test_members_become_the_membership_of_the_groups_section(convert: Convert) -> None:
    """The mapping of members is no attribute: the source reads memberships and the section keeps them in step."""
    job = convert(SCIM_APP)
    assert job.groups is not None
    assert list(job.groups.attributes) == ["displayName", "externalId"]
    assert job.groups.members == "authoritative"
    assert job.source.settings.model_dump()["members"] is not None


def test_the_enabled_mapping_of_the_first_rule_counts(tmp_path: Path) -> None:
    """Rules run by priority, and a mapping that is switched off is taken only where there is no other."""

    def rule(name: str, priority: int, *, enabled: bool) -> dict[str, Any]:
        users = {
            "sourceObjectName": "User",
            "targetObjectName": "User",
            "enabled": enabled,
            "attributeMappings": [mapping("userName", attribute(name), matchingPriority=1)],
        }
        return {"name": name, "priority": priority, "objectMappings": [users]}

    found = Schema.model_validate(
        {"synchronizationRules": [rule("second", 2, enabled=True), rule("first", 1, enabled=True)]}
    )
    assert loaded(found, tmp_path).users.attributes["userName"].expression == "[first]"
    off = loaded(Schema.model_validate({"synchronizationRules": [rule("only", 1, enabled=False)]}), tmp_path)
    assert off.users.actions.model_dump() == {"create": False, "update": False, "delete": False, "swap": False}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{", "this is not JSON"),
        ("[]", "is no synchronization schema"),
        ('{"directories": []}', "is no synchronization schema"),
        ('{"synchronizationRules": []}', "synchronizationRules"),
        ('{"synchronizationRules": [{"objectMappings": [{"attributeMappings": [{}]}]}]}', "targetAttributeName"),
        ('{"synchronizationRules": [{"objectMappings": []}]}', "no mapping of users"),
    ],
)
def test_a_file_that_is_no_schema(tmp_path: Path, content: str, said: str) -> None:
    """A wrong file is a sentence with exit status 2, and nothing is written."""
    path = tmp_path / "schema.json"
    path.write_text(content, encoding="utf-8")
    result = run(path, "--out", tmp_path / "job.yaml")
    assert (result.exit_code, (tmp_path / "job.yaml").exists()) == (2, False)
    assert said in result.stderr


@pytest.mark.parametrize("end", ["\n", "\r\n", "\u2028", "\x85"])
def test_names_cannot_break_out_of_comments(tmp_path: Path, end: str) -> None:
    """Whatever stands in a name of the schema, it stays inside the comment that quotes it."""
    trim = function(f"Trim{end}name: evil", ("source", attribute("a")))
    job = loaded(schema_of(mapping(f"title{end}name: evil", trim), **scope_of([clause(f"a{end}x", "Huh")])), tmp_path)
    assert job.name == "directory-to-app"


def test_a_schema_of_which_nothing_can_be_used() -> None:
    """When no mapping of users is left, the reasons are given instead of a job."""
    users = {"sourceObjectName": "User", "targetObjectName": "User"}
    users["attributeMappings"] = [mapping("userName", function("Trim", ("source", attribute("a"))))]  # type: ignore[assignment]
    with pytest.raises(EntraSchemaError, match="There is no function Trim"):
        import_schema(Schema.model_validate({"synchronizationRules": [{"objectMappings": [users]}]}))


def test_every_expression_of_the_samples_evaluates() -> None:
    """The sample job's expressions can be compiled with the attributes that its comments list."""
    imported = import_schema(read_schema(SCIM_APP))
    for kind, columns in imported.columns.items():
        section = imported.users if kind == "user" else imported.groups
        assert section is not None
        for one in section["attributes"].values():
            text = one if isinstance(one, str) else one.get("expression") or one.get("reference")
            if text:
                assert compile_expression(text).attributes <= {*columns, "IsSoftDeleted"}
