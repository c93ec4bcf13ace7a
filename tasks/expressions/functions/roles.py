"""Functions on app role assignments.

The source attribute holds one object per assignment (``id``, ``value``, ``displayName``); a connector may also deliver
each as JSON text, or only the role's name, or all of them as the text of one JSON array, as a cell of a file has them.

Source: Microsoft Entra ID, "Tutorial: customize user provisioning attribute-mappings", provisioning a role.
"""

import json
import re
from collections.abc import Mapping

from connectors.contract import Value
from tasks.expressions.errors import EvaluationError
from tasks.expressions.signature import Example, Null, Parameter, Type, function

SOURCE = "Microsoft Entra ID, customize user provisioning attribute mappings"
ROLE_TYPE = "WindowsAzureActiveDirectoryRole"

_ARRAY = re.compile(r'\s*\[\s*(["{]|\]\s*$)')
"""How a JSON array of roles begins: with a text, with an object, or with its end."""

_ASSIGNMENTS = Parameter("appRoleAssignments", Type.ANY)
_ROLES = {"appRoleAssignments": [{"id": "1", "value": "Admin", "displayName": "Administrator"}]}


def _roles(value: Value) -> list[tuple[str, str]]:
    """Name and display name of each assigned role."""
    assignments = value if isinstance(value, list) else [value]
    return [_role(assignment) for given in assignments for assignment in _of_array(given)]


def _of_array(given: Value) -> list[Value]:
    """The elements of a JSON array; whatever else a text is, it stands for itself, as ``[Test] Admin`` does."""
    if not isinstance(given, str) or not _ARRAY.match(given):
        return [given]
    try:
        return [element for element in json.loads(given) if element is not None and element != ""]
    except ValueError as error:
        raise EvaluationError("a list of role assignments is text that is not JSON") from error


def _role(assignment: Value) -> tuple[str, str]:
    if isinstance(assignment, str):
        if not assignment.lstrip().startswith("{"):
            return assignment, assignment
        try:
            assignment = json.loads(assignment)
        except ValueError as error:
            raise EvaluationError("a role assignment is text that is not JSON") from error
    if not isinstance(assignment, Mapping):
        raise EvaluationError("a role assignment has neither a value nor a displayName")
    value, display = assignment.get("value"), assignment.get("displayName") or assignment.get("display")
    if not value and not display:
        raise EvaluationError("a role assignment has neither a value nor a displayName")
    return str(value or display), str(display or value)


@function(
    "SingleAppRoleAssignment",
    _ASSIGNMENTS,
    gives="The name of the one app role assigned; of several, the first that the source gave.",
    example=Example("SingleAppRoleAssignment([appRoleAssignments])", "Admin", _ROLES),
    source=SOURCE,
)
def single_app_role_assignment(value: Value) -> str | None:
    return next((name for name, _ in _roles(value)), None)


@function(
    "AppRoleAssignments",
    _ASSIGNMENTS,
    gives="The names of all app roles assigned.",
    example=Example("AppRoleAssignments([appRoleAssignments])", ["Admin"], _ROLES),
    source="Microsoft Graph, synchronization schema: function list",
)
def app_role_assignments(value: Value) -> list[str]:
    return [name for name, _ in _roles(value)]


@function(
    "AppRoleAssignmentsComplex",
    _ASSIGNMENTS,
    gives="All app roles assigned, as complex values; roles the target has besides are kept.",
    example=Example(
        "AppRoleAssignmentsComplex([appRoleAssignments])",
        [{"primary": False, "type": ROLE_TYPE, "displayName": "Administrator", "value": "Admin"}],
        _ROLES,
    ),
    source=SOURCE,
)
def app_role_assignments_complex(value: Value) -> list[dict[str, Value]]:
    return [
        {"primary": False, "type": ROLE_TYPE, "displayName": display, "value": name} for name, display in _roles(value)
    ]


@function(
    "AssertiveAppRoleAssignmentsComplex",
    Parameter("appRoleAssignments", Type.ANY, null=Null.IS_A_VALUE),
    gives="All app roles assigned, as complex values; other roles of the target are taken away (an empty list: all).",
    example=Example(
        "AssertiveAppRoleAssignmentsComplex([appRoleAssignments])",
        [{"primary": False, "type": ROLE_TYPE, "display": "Administrator", "value": "Admin"}],
        _ROLES,
    ),
    source=SOURCE,
)
def assertive_app_role_assignments_complex(value: Value) -> list[dict[str, Value]]:
    roles = [] if value is None else _roles(value)
    return [{"primary": False, "type": ROLE_TYPE, "display": display, "value": name} for name, display in roles]
