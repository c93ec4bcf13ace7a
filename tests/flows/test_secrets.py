"""Secrets never leave their holder: every byte that a run writes is looked through."""

import base64
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.flows.workplace import Said, Workplace
from tests.servers.scim_service import ScimService

TOKEN = "planted-token-6f1c2a9e"
TITLE, NEXT_TITLE = "Planted Title 8d41", "Planted Title 9e52"


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


@pytest.mark.xdist_group("local api")
def test_nothing_that_is_written_or_said_holds_a_secret(
    workplace: Workplace, small_export: Path, tmp_path: Path
) -> None:
    """Runs with an API of their own, with plan, failure and update: token and redacted values are in no file and in no
    output, but for the source and the wire. The API ends with the run and leaves its history below PROVISOR_HOME.
    """
    small = workplace.use(small_export)
    small.document["users"]["attributes"]["title"] = {"expression": "[jobTitle]", "redact": True}
    rows = small.rows()
    at = next(
        number for number, row in enumerate(rows) if row["employeeType"] == "employee" and row["status"] == "active"
    )
    rows[at]["jobTitle"] = TITLE
    small.write_rows(rows)
    with ScimService(token=TOKEN) as target:
        small.document["target"]["url"] = target.url
        small.save()
        said = [call(small, "plan", str(small.job), "--all"), call(small, "plan", str(small.job), "--json")]
        first = call(small, "run", str(small.job), "--json")
        assert first.status == 0, first.err
        assert first.document["counts"]["created"] > 200
        assert [user for user in target.users.values() if user.get("title") == TITLE]  # on the wire it is what it is

        rows[at]["jobTitle"] = NEXT_TITLE
        small.write_rows(rows)
        said += [first, call(small, "plan", str(small.job)), call(small, "log", str(small.job), "--format", "json")]
        target.set_fault("error", status=400, method="PATCH")
        failed = call(small, "run", str(small.job))
        assert failed.status == 1
        said += [failed, call(small, "log", str(small.job), "--format", "csv"), call(small, "status", "--json")]
    assert (small.home / "prefect" / "prefect.db").stat().st_size > 100_000
    for secret in (TOKEN, TITLE, NEXT_TITLE):
        for form in forms(secret):
            assert not [path for path, content in written(small.home) if form in content], secret
        assert not [one for one in said if secret in one.out or secret in one.err], secret
    assert any("[Redact]" in one.out for one in said)


def call(workplace: Workplace, *words: str) -> Said:
    said = workplace.call(*words, SCIM_TOKEN=TOKEN)
    assert "Traceback" not in said.err, said.err
    return said
