"""Where the ledger is, and the copy that was made before its tables were changed."""

from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic import command

from tasks.ledger.migrations import HEAD
from tasks.ledger.migrations.run import configuration
from tests.flows.workplace import Command


def test_status_says_where_the_ledger_and_its_copy_are(
    tmp_path: Path, provisor: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For people below the jobs, for machines with each job."""
    file = tmp_path / "ledger.sqlite"
    with sa.create_engine(f"sqlite:///{file}").connect() as connection:
        command.upgrade(configuration(connection), "0001")
        connection.execute(sa.text("INSERT INTO job VALUES ('hr', 'f', '2026-03-10 12:00:00.000000')"))
        connection.commit()
    monkeypatch.setenv("PROVISOR_HOME", str(tmp_path))
    said = provisor("status")
    copy = tmp_path / f"ledger.sqlite.before-{HEAD}"
    assert f"Ledger: {file}" in said.out
    assert f"Copy from before its tables were changed: {copy}" in said.out
    [found] = provisor("status", "--json").document
    assert found["ledger"] == {"place": str(file), "copies": [str(copy)]}
