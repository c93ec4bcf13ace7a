"""Whole lives of people in real directories: what ldapsearch shows afterwards, and that the next plan is empty."""

from pathlib import Path

import pytest

from tests.flows.directory_life import live
from tests.servers.directories import Directory


@pytest.mark.parametrize("server", ["openldap", "ds389", "samba", "samba, as Windows"])
def test_a_life(server: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    """Joiners, movers, renames, leavers, and all of them back: the directory is what the exports say, and nothing is
    left to do; also with Windows' small pages and ranges of members."""
    name, _, habits = server.partition(", ")
    directory: Directory = request.getfixturevalue(name)
    told = list(live(tmp_path, directory, people=40, through_windows=bool(habits)))
    assert [one.fine for one in told] == [True] * 3, "\n".join(
        sentence for one in told for sentence in (*one.wrong, *one.refused, f"{dict(one.left)} left")
    )
    joined, second, back = (one.counts for one in told)
    assert min(joined["created"], joined["members_added"]) > 40
    assert min(second[name] for name in ("created", "updated", "disabled", "members_removed")) > 5
    assert min(back[name] for name in ("updated", "enabled", "disabled")) > 5
