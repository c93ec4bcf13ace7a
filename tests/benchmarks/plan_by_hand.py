"""What a good engineer writes for one organisation instead of a job file: the other side of ``tests.benchmarks.plan``.

    python -m tests.benchmarks.plan_by_hand PEOPLE_CSV SERVICE_URL OUT_JSON

It reads the export and the service, maps twelve attributes, matches by user name and writes what would have to change
as one JSON document. It knows its one job and nothing else: no bad rows, no doubles, no retries, no reasons.
"""

import gc
import os
import sys
from collections.abc import Iterator
from itertools import chain
from urllib.request import Request, urlopen

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv

ENTERPRISE = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"
WORK_MAIL = 'emails[type eq "work"].value'
WORK_CITY = 'addresses[type eq "work"].locality'
COLUMNS = [
    "employeeId",
    "userPrincipalName",
    "mail",
    "givenName",
    "surname",
    "displayName",
    "jobTitle",
    "department",
    "company",
    "city",
    "status",
]
PAGE_SIZE = 500
CHUNK = 20_000
TEXT = pa.large_string()


def read_people(path: str) -> pa.Table:
    """The export's columns that are needed, as text; an empty cell is null."""
    table = pa_csv.read_csv(
        path,
        parse_options=pa_csv.ParseOptions(newlines_in_values=True),
        convert_options=pa_csv.ConvertOptions(
            include_columns=COLUMNS,
            column_types=dict.fromkeys(COLUMNS, TEXT),
            null_values=[""],
            strings_can_be_null=True,
            quoted_strings_can_be_null=True,
        ),
    )
    assert pc.count_distinct(table["employeeId"]).as_py() == len(table)
    return table.combine_chunks()


def map_people(people: pa.Table) -> dict[str, pa.Array]:
    """The twelve attributes as the service should have them."""

    def column(name: str) -> pa.Array:
        chunks = people[name].chunks
        return chunks[0] if chunks else pa.array([], TEXT)

    full_name = pc.binary_join_element_wise(
        column("givenName"), column("surname"), pa.scalar(" ", TEXT), null_handling="skip"
    )
    return {
        "userName": column("userPrincipalName"),
        "externalId": column("employeeId"),
        "active": pc.is_in(column("status"), value_set=pa.array(["active", "leave"], TEXT)),
        "displayName": pc.coalesce(column("displayName"), full_name),
        "name.givenName": column("givenName"),
        "name.familyName": column("surname"),
        WORK_MAIL: pc.utf8_lower(column("mail")),
        "title": column("jobTitle"),
        WORK_CITY: column("city"),
        f"{ENTERPRISE}:employeeNumber": column("employeeId"),
        f"{ENTERPRISE}:organization": column("company"),
        f"{ENTERPRISE}:department": pc.replace_substring(column("department"), "&", "and"),
    }


def read_accounts(url: str, token: str) -> tuple[pa.Array, dict[str, pa.Array]]:
    """Ids and attributes of all accounts of the service."""
    ids: list[pa.Array] = []
    columns: dict[str, list[pa.Array]] = {}
    start, total = 1, 1
    while start <= total:
        # Plain urllib: a client with more comfort costs more, and here it would flatter the other side.
        request = Request(
            f"{url}/Users?startIndex={start}&count={PAGE_SIZE}", headers={"authorization": f"Bearer {token}"}
        )
        with urlopen(request, timeout=60) as response:
            page = orjson.loads(response.read())
        total, users = page["totalResults"], page.get("Resources", [])
        start += len(users)
        ids.append(pa.array([user["id"] for user in users], TEXT))
        for path, values in page_columns(users):
            columns.setdefault(path, []).append(pa.array(values, pa.bool_() if path == "active" else TEXT))
    merged = {path: pa.concat_arrays(parts) for path, parts in columns.items()}
    return pa.concat_arrays(ids) if ids else pa.array([], TEXT), merged


def page_columns(users: list[dict]) -> Iterator[tuple[str, list]]:
    """Twelve columns of one page."""
    for path in ("userName", "externalId", "active", "displayName", "title"):
        yield path, [user.get(path) for user in users]
    names = [user.get("name", {}) for user in users]
    yield "name.givenName", [name.get("givenName") for name in names]
    yield "name.familyName", [name.get("familyName") for name in names]
    for path, key, sub in ((WORK_MAIL, "emails", "value"), (WORK_CITY, "addresses", "locality")):
        yield (
            path,
            [
                next((element.get(sub) for element in user.get(key, ()) if element.get("type") == "work"), None)
                for user in users
            ],
        )
    extensions = [user.get(ENTERPRISE, {}) for user in users]
    for name in ("employeeNumber", "organization", "department"):
        yield f"{ENTERPRISE}:{name}", [extension.get(name) for extension in extensions]


def find_creates(desired: dict[str, pa.Array], row: np.ndarray) -> Iterator[list[dict]]:
    """Whoever is active and has no account."""
    absent = pa.array(np.flatnonzero((row < 0) & desired["active"].to_numpy(zero_copy_only=False)))
    for start in range(0, len(absent), CHUNK):
        rows = absent[start : start + CHUNK]
        columns = [values.take(rows).to_pylist() for values in desired.values()]
        anchors = desired["externalId"].take(rows).to_pylist()
        afters = [
            {path: value for path, value in zip(desired, values, strict=True) if value is not None}
            for values in zip(*columns, strict=True)
        ]
        yield [
            {"action": "create", "anchor": anchor, "id": None, "after": after}
            for anchor, after in zip(anchors, afters, strict=True)
        ]


def find_updates(
    desired: dict[str, pa.Array], ids: pa.Array, existing: dict[str, pa.Array], row: np.ndarray
) -> Iterator[list[dict]]:
    """Whoever has another value than desired; a null leaves the account's value alone."""
    matched = np.flatnonzero(row >= 0)
    held_rows = pa.array(row[matched])
    differs = {}
    for path, values in desired.items():
        wanted, held = values.take(pa.array(matched)), existing[path].take(held_rows)
        same = pc.fill_null(pc.equal(wanted, held), False)
        differs[path] = (~same.to_numpy(zero_copy_only=False)) & wanted.is_valid().to_numpy(zero_copy_only=False)
    changed = np.flatnonzero(np.logical_or.reduce(list(differs.values())))
    at, held_at = pa.array(matched[changed]), pa.array(row[matched[changed]])
    after = {path: values.take(at).to_pylist() for path, values in desired.items()}
    before = {path: existing[path].take(held_at).to_pylist() for path in desired}
    touched = {path: mask[changed] for path, mask in differs.items()}
    anchors, their_ids = desired["externalId"].take(at).to_pylist(), ids.take(held_at).to_pylist()
    for start in range(0, len(changed), CHUNK):
        yield [
            {
                "action": ("enable" if after["active"][k] else "disable") if touched["active"][k] else "update",
                "anchor": anchors[k],
                "id": their_ids[k],
                "after": {path: after[path][k] for path in desired if touched[path][k]},
                "before": {path: before[path][k] for path in desired if touched[path][k]},
            }
            for k in range(start, min(start + CHUNK, len(changed)))
        ]


def main(people_csv: str, url: str, out: str) -> None:
    """Reads, compares, writes."""
    gc.disable()  # nothing here makes cycles, and collections would take longer than the parser
    desired = map_people(read_people(people_csv))
    ids, existing = read_accounts(url, os.environ["SCIM_TOKEN"])
    row = np.full(len(desired["userName"]), -1)
    parts = iter(())
    if len(ids):
        offered, wanted = pc.utf8_lower(existing["userName"]), pc.utf8_lower(desired["userName"])
        assert pc.count_distinct(offered).as_py() == len(offered)
        assert pc.count_distinct(wanted).as_py() == len(wanted)
        row = pc.fill_null(pc.index_in(wanted, value_set=offered), -1).to_numpy(zero_copy_only=False).astype(np.int64)
        parts = find_updates(desired, ids, existing, row)
    with open(out, "wb") as stream:  # noqa: PTH123
        stream.write(b'{"changes":[')
        first = True
        for changes in chain(find_creates(desired, row), parts):
            stream.write(orjson.dumps(changes)[1:-1] if first else b"," + orjson.dumps(changes)[1:-1])
            first = False
        stream.write(b"]}\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
