"""What accounts and entries are known by."""

from connectors.contract import Kind
from tasks.naming import unmanaged_names
from tests.tasks.plan.worlds import World, make_job


def test_accounts_without_an_entry_are_named_without_what_is_redacted() -> None:
    """Neither those that somebody owns nor those that matching has just found; a redacted name stays unsaid."""
    world = World(
        make_job(
            {"displayName": {"expression": "[name]", "redact": True}, "title": "[jobTitle]"},
            {"externalId": "[id]"},
        )
    )
    accounts = world.accounts[Kind.USER]
    for name in ("owned", "found", "alone"):
        accounts[f"t-{name}"] = {"userName": f"{name}@x", "displayName": f"Secret {name}", "active": True}
    world.link("p1", "t-owned")
    world.users = {"p1": {"mail": "owned@x"}, "p2": {"mail": "found@x"}}
    world.accounts[Kind.GROUP]["tg"] = {"displayName": "Wheel"}
    found = dict(unmanaged_names(world.job, world.plan(), world.target()))
    assert found == {Kind.USER: {"t-alone": ("", "alone@x")}, Kind.GROUP: {"tg": ("Wheel", "Wheel")}}
