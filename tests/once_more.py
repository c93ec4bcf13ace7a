"""Repeats the tests that failed in the last run, one after the other in one process: ``python -m tests.once_more``.

Two processes share a machine in the first run. A test that fails there and passes alone is a flaw of that test, not of
what it looks at; it is named, and does not fail the run. More than ``AT_MOST`` failures are believed at once.
"""

import json
import sys
from pathlib import Path

import pytest

AT_MOST = 5
"""Failures up to which a run is repeated."""
_FAILED = Path(".pytest_cache/v/cache/lastfailed")


def main() -> int:
    """Gives pytest's exit status of the second run; 1 where there is nothing that could be repeated."""
    failed = sorted(json.loads(_FAILED.read_text(encoding="utf-8"))) if _FAILED.is_file() else []
    if not failed or len(failed) > AT_MOST:
        print(f"{len(failed)} tests failed; they are not repeated.", file=sys.stderr)
        return 1
    status = int(pytest.main(["-v", "--tb=short", *failed]))
    if status == pytest.ExitCode.OK:
        print(f"Flaky, passed when repeated alone: {', '.join(failed)}", file=sys.stderr)
    return status


if __name__ == "__main__":
    sys.exit(main())
