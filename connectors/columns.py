"""What a job says about the columns of a target that is made of tables or files."""

from connectors.settings import Name, Settings


class SwitchColumn(Settings):
    """Which column disables an account."""

    column: Name
    """Name of the column."""
    on: bool | int | str | None = True
    """Its value for an active account; null for no value."""
    off: bool | int | str | None = False
    """Its value for an account that is switched off."""


class EdgeColumns(Settings):
    """Which columns name the two ends of a membership."""

    group: Name
    """Column with the key of the group."""
    member: Name
    """Column with the key of the user."""


def demand_both(groups: Settings | None, members: Settings | None) -> None:
    """Passes where a job names groups and members, or neither. Raises: ValueError."""
    if (members is None) != (groups is None):
        raise ValueError("groups and members belong together: give both or neither")
