"""A job file cannot fill the memory of whoever reads it."""

from pathlib import Path

import pytest

from tasks.job import JobError, load_job
from tasks.job.yaml_limits import DEPTH

LAUGHS = "\n".join(["a0: &a0 [x]", *(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 10))])


def refusal(tmp_path: Path, text: str) -> str:
    file = tmp_path / "job.yaml"
    file.write_text(text)
    with pytest.raises(JobError) as caught:
        load_job(file)
    return str(caught.value)


def test_depth_has_a_limit_with_a_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Thousands of brackets would otherwise end in a traceback; the limit is a setting."""
    said = refusal(tmp_path, "name: x\nusers: " + "[" * 5_000 + "]" * 5_000)
    assert "job.yaml:2: " in said
    assert f"nested deeper than 50 levels. If it is meant so, raise {DEPTH}." in said
    monkeypatch.setenv(DEPTH, "2")
    assert "deeper than 2 levels" in refusal(tmp_path, "a: {b: {c: 1}}")
    monkeypatch.setenv(DEPTH, "much")
    assert "write a number of levels" in refusal(tmp_path, "a: 1")


def test_aliases_do_not_multiply(tmp_path: Path) -> None:
    """Ten short lines that stand for ten thousand million values."""
    assert "stands for more than 1,000,000 values" in refusal(tmp_path, LAUGHS)
