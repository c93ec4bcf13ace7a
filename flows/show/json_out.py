"""JSON on standard output: for machines, but people look at it too."""

import sys
from typing import IO

from tasks.printable import printable_json


class JsonOut:
    """A document that is written in parts; what is not seen in it is spelled as an escape."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream

    def write(self, part: bytes | memoryview, /) -> int:
        """Writes a part that ends between two characters."""
        return self._stream.write(printable_json(part))

    def flush(self) -> None:
        """Sends what waits."""
        self._stream.flush()


def json_out() -> JsonOut:
    """Standard output."""
    return JsonOut(sys.stdout.buffer)
