"""Secrets never leave their holder: every byte that a run writes is looked through."""

import base64
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.flows.workplace import Said, Workplace
from tests.servers.scim_service import ScimService

TOKEN = "planted-token-6f1c2a9e"
WRONG_TOKEN = "planted-wrong-token-77ab"
TITLE, NEXT_TITLE = "Planted Title 8d41", "Planted Title 9e52"
NEIGHBOUR = "Wilhelmina Planted-Bystander"
"""Somebody whom the target names when it refuses somebody else."""


def forms(secret: str) -> list[bytes]:
    """A secret as it stands, as UTF-16, and inside of Base64 at any of its three offsets."""
    plain = secret.encode()
    encoded = [base64.b64encode(b"\0" * shift + plain)[4:-4] for shift in range(3)]
    return [plain, secret.encode("utf-16-le"), *encoded]


def written(folder: Path) -> Iterator[tuple[Path, bytes]]:
    """Every file below a folder."""
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            yield path, path.read_bytes()


def cells(folder: Path) -> Iterator[tuple[Path, bytes]]:
    """Every cell and every name in the Parquet files below a folder, where compression hides them from a search."""
    for path in sorted(folder.rglob("*.parquet")):
        table = pq.read_table(path)
        yield path, repr([table.schema, table.schema.metadata, table.to_pylist()]).encode()


def test_nothing_that_is_written_or_said_holds_a_secret(
    workplace: Workplace, small_export: Path, provisor: Callable[..., Said], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Runs with an API of their own, with everything that a job can go through: token and redacted values are in no
    file and in no output, but for the source and the wire. What the target says about other people is in the ledger
    alone, which only its owner can read. The API ends with the run and leaves its history below PROVISOR_HOME.
    """
    before = os.umask(0)
    monkeypatch.setenv("SCIM_TOKEN", TOKEN)
    small = workplace.use(small_export)
    small.document["users"]["attributes"]["title"] = {"expression": "[jobTitle]", "redact": True}
    rows = small.rows()
    person = next(row for row in rows if (row["employeeType"], row["status"]) == ("employee", "active"))
    person["jobTitle"] = TITLE
    small.write_rows(rows)
    with ScimService(token=TOKEN) as target:
        small.document["target"]["url"] = target.url
        small.save()
        said = [provisor("plan", small.job, "--all"), provisor("plan", small.job, "--json")]
        first = small.call("run", str(small.job), "--json", SCIM_TOKEN=TOKEN)
        assert first.status == 0, first.err
        assert first.document["counts"]["created"] > 200
        assert [user for user in target.users.values() if user.get("title") == TITLE]  # on the wire it is what it is

        person["jobTitle"] = NEXT_TITLE
        small.write_rows(rows)
        said += [first, provisor("plan", small.job), provisor("log", small.job, "--format", "json")]
        said.append(provisor("why", small.job, person["employeeId"]))
        detail = f"{NEXT_TITLE} is no title; {NEIGHBOUR} has it, says {TOKEN}"
        target.set_fault("error", status=400, method="PATCH", detail=detail)
        failed = small.call("run", str(small.job), SCIM_TOKEN=TOKEN)
        assert failed.status == 1, failed.err
        said += [failed, provisor("log", small.job, "--format", "csv"), provisor("status", "--json")]
        said += [provisor("log", small.job), provisor("log", small.job, "--out", small.home / "export")]
        said += [provisor("status"), provisor("why", small.job, person["employeeId"])]
        said.append(provisor("why", small.job, person["employeeId"], "--json"))
        assert NEIGHBOUR in said[-1].document["escrow"]["message"]
        target.clear_fault()
        small.save(reconcile="every_cycle")
        stopped = small.call("run", str(small.job), SCIM_TOKEN=WRONG_TOKEN)
        assert stopped.status == 4, stopped.err
        said += [stopped, provisor("status", "--json"), provisor("status"), provisor("why", small.job, "nobody")]
        assert said[-3].document[0]["quarantine"] is not None
    os.umask(before)
    assert (small.home / "prefect" / "prefect.db").stat().st_size > 100_000
    assert (small.home / "export" / "modified.csv").stat().st_size > 1000
    found = [*written(small.home), *cells(small.home)]
    assert any(person["employeeId"].encode() in content for path, content in cells(small.home)), "no snapshot was read"
    for secret in (TOKEN, WRONG_TOKEN, TITLE, NEXT_TITLE):
        for form in forms(secret):
            assert not [path for path, content in found if form in content], secret
        assert not [one for one in said if secret in one.out or secret in one.err], secret
    assert any("[Redact]" in one.out for one in said)
    assert not [one for one in said if "Traceback" in one.err]
    orchestrator = small.home / "prefect"
    for form in forms(NEIGHBOUR):
        assert not [path for path, content in written(orchestrator) if form in content], "a name in Prefect's history"
    private = [small.home, *(path for path in small.home.rglob("*") if orchestrator not in path.parents)]
    assert not [path for path in private if stat.S_IMODE(path.stat().st_mode) & 0o077], "others may read it"


def test_search_for_secrets_finds_them(tmp_path: Path) -> None:
    """The search itself can fail: a secret is found as it stands, in UTF-16, and in Base64 wherever it begins."""
    for number, before in enumerate(("", "x", "xy")):
        (tmp_path / f"{number}.b64").write_bytes(base64.b64encode(f"{before}{TOKEN} and more".encode()))
        assert [path for path, content in written(tmp_path) if any(form in content for form in forms(TOKEN))]
        (tmp_path / f"{number}.b64").unlink()
    (tmp_path / "wide").write_bytes(f"a {TOKEN}".encode("utf-16-le"))
    assert [path for path, content in written(tmp_path) if any(form in content for form in forms(TOKEN))]
