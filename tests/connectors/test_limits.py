"""What a small answer or file may become in memory has a limit, each with a setting and a sentence."""

import gzip
import tracemalloc
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pandas as pd
import pytest

from connectors.contract import Wanted
from connectors.csv import CONNECTOR
from connectors.csv.target import read_rows
from connectors.depth import nests_deeper
from connectors.errors import FatalError, SchemaMismatchError, SettingsError
from connectors.registry import find, open_source

BOMB = gzip.compress(b"[" + b" " * (400 << 20) + b"]")
DEEP = gzip.compress(b'{"Resources": ' + b"[" * 900 + b"]" * 900 + b"}")


class Bomb(BaseHTTPRequestHandler):
    """Answers everything with 400 MB in 400 kB, or with what nests deeper than a program can follow."""

    def do_GET(self) -> None:
        body = DEEP if self.path.startswith("/deep") else BOMB
        self.send_response(200)
        for name, value in {"Content-Encoding": "gzip", "Content-Type": "application/scim+json"}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Nothing."""


@pytest.fixture
def bomb() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Bomb) as server:
        Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/v2"
        server.shutdown()


def test_an_answer_is_not_unpacked_without_end(bomb: str, tmp_path: Path) -> None:
    """Reading ends at the limit; the sentence says what to do."""
    settings = find("scim").source_settings
    assert settings is not None
    source = open_source("scim", settings.model_validate({"url": bomb, "max_answer_mb": 1}), folder=tmp_path)
    tracemalloc.start()
    with pytest.raises(SchemaMismatchError, match=r"larger than 1 MB once it is unpacked.*max_answer_mb"):
        source.check()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    source.close()
    assert peak < 100 << 20  # of 400


def test_an_answer_does_not_nest_without_end(bomb: str, tmp_path: Path) -> None:
    """What walks through it would end in a traceback; the sentence says what to do."""
    settings = find("scim").source_settings
    assert settings is not None
    url = bomb.replace("/v2", "/deep")
    source = open_source("scim", settings.model_validate({"url": url}), folder=tmp_path)
    with pytest.raises(SchemaMismatchError, match=r"nests deeper than 50 levels.*raise max_depth"):
        source.check()
    source.close()


@pytest.mark.parametrize(
    ("text", "levels"),
    [
        (b"[" * 60 + b"]" * 60, 60),
        (b'{"a":' * 60 + b"1" + b"}" * 60, 60),
        (b"[" + b'{"a":[1]},' * 400_000 + b"{}]", 3),
        (b'["' + b"[" * 100 + b'"]', 1),
        (b'["' + b"]" * 100 + b'",' + b"[" * 60 + b"]" * 60 + b"]", 61),
        (rb'["\\\"' + b"[" * 100 + b'"]', 1),
        (rb'["\\\\",' + b"[" * 60 + b"]" * 60 + b"]", 61),
        (b"[" + b"[]," * (1 << 20) + b"[" * 60 + b"]" * 60 + b"]", 61),
    ],
    ids=["lists", "objects", "wide", "in a text", "hidden by a text", "escaped quote", "escaped slash", "late"],
)
def test_depth_is_that_of_lists_and_objects(text: bytes, levels: int) -> None:
    """Brackets in texts are none, and hide none."""
    assert not nests_deeper(text, max(levels, 10))
    assert nests_deeper(text, levels - 1) or levels < 10


def read(tmp_path: Path, name: str, **settings: object) -> pd.DataFrame:
    users = {"path": str(tmp_path / name), "key": "id", **settings}
    assert CONNECTOR.source_settings is not None
    source = open_source("csv", CONNECTOR.source_settings.model_validate({"users": users}), folder=tmp_path)
    try:
        return source.read(Wanted(("name",))).users
    finally:
        source.close()


def test_a_packed_file_is_not_unpacked_without_end(tmp_path: Path) -> None:
    """40 kB that hold 40 MB; what is within the limit is read."""
    (tmp_path / "bomb.csv.gz").write_bytes(gzip.compress(b"id,name\n" + b"1,a\n" * (10 << 20)))
    (tmp_path / "good.csv.gz").write_bytes(gzip.compress(b"id,name\n1,a\n"))
    with pytest.raises(SettingsError, match=r"bomb\.csv\.gz holds more than 2 MB once it is unpacked.*max_unpacked_mb"):
        read(tmp_path, "bomb.csv.gz", max_unpacked_mb=2)
    assert read(tmp_path, "good.csv.gz", max_unpacked_mb=2)["name"].to_list() == ["a"]


def test_a_parquet_file_says_beforehand_how_large_it_is(tmp_path: Path) -> None:
    """It is refused before a column of it is read."""
    pd.DataFrame({"id": [str(n) for n in range(400_000)], "name": "x"}).to_parquet(tmp_path / "p.parquet")
    with pytest.raises(SettingsError, match="more than 1 MB once it is unpacked"):
        read(tmp_path, "p.parquet", max_unpacked_mb=1)


@pytest.mark.parametrize("name", ["cell.csv", "cell.jsonl"])
def test_one_cell_has_a_limit(tmp_path: Path, name: str) -> None:
    """A quote that is never closed makes one cell of a whole file; the place of it is said."""
    long = "x" * 5_000
    texts = {
        "cell.csv": f'id,name\n1,a\n2,"{long}"\n',
        "cell.jsonl": f'{{"id":"1","name":"a"}}\n{{"id":"2","name":"{long}"}}\n',
    }
    (tmp_path / name).write_text(texts[name])
    with pytest.raises(FatalError, match=r"cell of column name holds more than 4 kB \(.*(line 3|line 2).*max_cell_kb"):
        read(tmp_path, name, max_cell_kb=4)
    assert len(read(tmp_path, name, max_cell_kb=5)) == 2


def test_a_line_does_not_nest_without_end(tmp_path: Path) -> None:
    """It is a row that cannot be read, like any line that is not JSON; the others are."""
    (tmp_path / "p.jsonl").write_text('{"id":"1","name":"a"}\n{"id":"2","name":' + "[" * 600 + "]" * 600 + "}\n")
    users = {"path": str(tmp_path / "p.jsonl"), "key": "id"}
    assert CONNECTOR.source_settings is not None
    source = open_source("csv", CONNECTOR.source_settings.model_validate({"users": users}), folder=tmp_path)
    snapshot = source.read(Wanted(("name",)))
    source.close()
    assert list(snapshot.users.index) == ["1"]
    [bad] = snapshot.unreadable
    assert "line 2" in bad.place
    assert "nests deeper than 50 levels. If it is meant so, raise max_depth." in bad.reason


@pytest.mark.parametrize("name", ["people.json", "people.jsonl"])
def test_rows_of_a_target_do_not_nest_at_all(tmp_path: Path, name: str) -> None:
    """Somebody has put another file in its place: a sentence, no traceback."""
    (tmp_path / name).write_text('{"id": ' + "[" * 5_000 + "]" * 5_000 + "}")
    with pytest.raises(SettingsError, match=f"The file {name} cannot be read"):
        read_rows(tmp_path / name, ["id"])
