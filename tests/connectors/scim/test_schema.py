"""Attribute characteristics: the standard's, and those that a service serves."""

from connectors.contract import Attribute, Count, Form, Kind, Sameness
from connectors.scim.schema import CORE, ENTERPRISE, STANDARD, SchemaAttributes, discovered

USER = STANDARD[Kind.USER]


def test_the_standard_decides_case() -> None:
    """userName is compared without case, externalId and id with it (RFC 7643 section 7)."""
    cases = {path: info.exact for path in ("userName", "externalId", "id") if (info := USER.info(path))}
    assert cases == {"userName": False, "externalId": True, "id": True}


def test_filtered_paths_have_their_sub_attributes_characteristics() -> None:
    """A mapping names emails[type eq "work"].value; what holds for emails.value holds for it, one value at a time."""
    assert USER.info('emails[type eq "work"].value') == Attribute()
    assert USER.info("emails.value") == Attribute(count=Count.LIST)
    assert USER.info('emails[type eq "work"].primary') == Attribute(form=Form.BOOLEAN)
    assert (emails := USER.info("emails")) is not None
    assert (emails.form, emails.several) == (Form.STRUCTURE, True)


def test_manager_is_the_managers_id() -> None:
    """The bare manager path means the id, whose case counts; so does its value."""
    assert USER.info(f"{ENTERPRISE}:manager") == Attribute(form=Form.REFERENCE, same=Sameness.EXACT)
    assert USER.info(f"{ENTERPRISE}:manager.value") == Attribute(same=Sameness.EXACT)


def test_names_are_case_insensitive_and_unknown_is_none() -> None:
    """USERNAME is userName; what nobody knows, and what is no path, is None."""
    assert USER.info("USERNAME") == USER.info("userName")
    assert USER.info("urn:ietf:params:scim:schemas:core:2.0:User:userName") == USER.info("userName")
    assert USER.info("favouriteColour") is None
    assert USER.info("emails[") is None


def test_every_offered_path_can_be_looked_up() -> None:
    """The mapping iterates over paths that it knows, with each canonical type spelled out."""
    infos = SchemaAttributes(USER)
    assert 'phoneNumbers[type eq "mobile"].value' in list(infos)
    assert "emails.value" not in list(infos)
    assert all(infos[path] is not None for path in infos)
    assert len(infos) == len(list(infos))
    assert 'emails[type eq "unheard of"].value' in infos


ACME = "urn:ietf:params:scim:schemas:extension:acme:2.0"

SERVED = [
    {
        "id": CORE[Kind.USER],
        "attributes": [
            {"name": "userName", "type": "string", "caseExact": True, "required": True},
            {"name": "phones", "type": "complex", "multiValued": True,
             "subAttributes": [{"name": "number", "type": "string"}, {"name": "type", "canonicalValues": ["desk"]}]},
            {"no": "name"},
            "nonsense",
        ],
    },
    {"id": f"{ACME}:User", "attributes": [{"name": "badge", "type": "integer"}]},
    {"id": f"{ACME}:Group", "attributes": [{"name": "floor"}]},
    None,
]  # fmt: skip


def test_what_the_service_serves_wins() -> None:
    """Characteristics, extensions and absences are the service's own where it serves schemas."""
    schema = discovered(Kind.USER, SERVED)
    assert schema is not None
    assert schema.info("userName") == Attribute(same=Sameness.EXACT, required=True)
    assert schema.info(f"{ACME}:User:badge") == Attribute(form=Form.INTEGER)
    assert schema.info(f"{ACME}:Group:floor") is None
    assert schema.info('phones[type eq "desk"].number') == Attribute()
    assert schema.info("title") is None
    assert schema.info("externalId") is not None, "attributes that every entry has need not be served"
    assert 'phones[type eq "desk"].number' in schema.paths()


def test_resource_types_say_which_extensions_apply() -> None:
    """An extension that the user's resource type does not name is not the user's."""
    schema = discovered(Kind.USER, SERVED, extensions=[])
    assert schema is not None
    assert schema.info(f"{ACME}:User:badge") is None


def test_a_service_without_schemas_has_none() -> None:
    """Nothing served, nothing claimed: the standard stands in."""
    assert discovered(Kind.USER, []) is None
    assert discovered(Kind.GROUP, SERVED) is None
