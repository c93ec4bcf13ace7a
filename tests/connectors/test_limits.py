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
from connectors.errors import FatalError, SchemaMismatchError, SettingsError
from connectors.registry import find, open_source

BOMB = gzip.compress(b"[" + b" " * (400 << 20) + b"]")


class Bomb(BaseHTTPRequestHandler):
    """Answers everything with 400 MB in 400 kB."""

    def do_GET(self) -> None:
        self.send_response(200)
        for name, value in {"Content-Encoding": "gzip", "Content-Type": "application/scim+json"}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(BOMB)))
        self.end_headers()
        self.wfile.write(BOMB)

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
