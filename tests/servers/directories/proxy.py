"""A proxy in front of a real directory that gives it Windows' habits, refuses, and cuts connections.

Samba is kinder than Windows: it has no page limit, gives all members at once, and follows looser rules. Clients speak
plain LDAP to the proxy on loopback; the proxy speaks TLS to the server.
"""

import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from enum import IntEnum
from urllib.parse import urlsplit

from tests.servers.directories.directory import Directory
from tests.servers.starting import HOST


class Request(IntEnum):
    """Tags of requests on the wire."""

    SEARCH = 0x63
    MODIFY = 0x66
    ADD = 0x68
    DELETE = 0x4A
    RENAME = 0x6C


_ENTRY = 0x64
_ANSWERS = {0x65: Request.SEARCH, 0x67: Request.MODIFY, 0x69: Request.ADD, 0x6B: Request.DELETE, 0x6D: Request.RENAME}
_PAGED = b"1.2.840.113556.1.4.319"


@dataclass(slots=True)
class Trouble:
    """Something that goes wrong once, or so often."""

    request: Request
    nth: int = 1
    times: int = 1
    code: int = 0
    """Result code that the client gets instead of the server's answer; the server never sees the request."""
    text: str = ""
    cut: str = ""
    """``before``: the connection ends and the server never sees the request; ``after``: it ends once the server has
    answered, and the client never sees the answer."""
    paged: bool = False
    """Only requests for a page of a listing."""
    seen: int = 0
    fired: int = 0

    def strikes(self, request: Request, controls: bytes) -> bool:
        """Whether it happens to this request."""
        if request is not self.request or (self.paged and _PAGED not in controls):
            return False
        self.seen += 1
        if self.seen < self.nth or self.fired >= self.times:
            return False
        self.fired += 1
        return True


@dataclass(slots=True)
class Proxy:
    """A proxy that is running."""

    url: str
    page: int = 1000
    """Entries that a page holds at most, whatever the client asks for."""
    range: int = 1500
    """Values of member that one answer holds at most."""
    troubles: list[Trouble] = field(default_factory=list)
    counts: dict[Request, int] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def trouble(self, request: Request, **details: object) -> Trouble:
        """Have something go wrong."""
        made = Trouble(request, **details)  # type: ignore[arg-type]
        self.troubles.append(made)
        return made


@contextmanager
def windows(directory: Directory, *, page: int = 1000, range: int = 1500) -> Iterator[Proxy]:
    """A proxy in front of a directory; every connection gets one of its own to the server."""
    context = ssl.create_default_context(cafile=str(directory.ca_file))
    upstream = urlsplit(directory.tls_url)
    listener = socket.create_server((HOST, 0))
    proxy = Proxy(f"ldap://{HOST}:{listener.getsockname()[1]}", page, range)
    running = threading.Event()
    running.set()
    open_sockets: list[socket.socket] = []

    def accept() -> None:
        while running.is_set():
            try:
                client, _ = listener.accept()
            except OSError:
                return
            try:
                plain = socket.create_connection((upstream.hostname or "", upstream.port or 636), timeout=10)
                server = context.wrap_socket(plain, server_hostname=upstream.hostname)
                server.settimeout(None)
            except OSError:
                client.close()
                continue
            open_sockets.extend((client, server))
            link = _Link(proxy, client, server)
            threading.Thread(target=link.forward, daemon=True).start()
            threading.Thread(target=link.backward, daemon=True).start()

    thread = threading.Thread(target=accept, name="directory proxy", daemon=True)
    thread.start()
    try:
        yield proxy
    finally:
        running.clear()
        with suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)  # closing alone leaves the thread waiting for the next client
        listener.close()
        for one in open_sockets:
            _end(one)
        thread.join(10)


class _Link:
    """One client's connection, and the one to the server that belongs to it."""

    def __init__(self, proxy: Proxy, client: socket.socket, server: socket.socket) -> None:
        self.proxy, self.client, self.server = proxy, client, server
        self.cut_after: set[bytes] = set()
        self.sending = threading.Lock()

    def forward(self) -> None:
        """Requests, until the client ends."""
        with suppress(OSError):
            while (message := _message(self.client)) is not None:
                number, tag, body, controls = _parts_of(message)
                if not self._troubled(number, tag, controls):
                    self.server.sendall(_whole(number, tag, body, self._smaller_pages(controls)))
        self.end()

    def backward(self) -> None:
        """Answers, until the server ends."""
        with suppress(OSError):
            while (message := _message(self.server)) is not None:
                number, tag, body, controls = _parts_of(message)
                if tag in _ANSWERS and number in self.cut_after:
                    break
                if tag == _ENTRY:
                    body = _with_ranges(body, self.proxy.range)
                with self.sending:
                    self.client.sendall(_whole(number, tag, body, controls))
        self.end()

    def _troubled(self, number: bytes, tag: int, controls: bytes) -> bool:
        """Whether the server must not see the request."""
        if tag not in list(Request):
            return False
        request = Request(tag)
        with self.proxy.lock:
            self.proxy.counts[request] = self.proxy.counts.get(request, 0) + 1
            struck = next((one for one in self.proxy.troubles if one.strikes(request, controls)), None)
        if struck is None:
            return False
        if struck.cut == "after":
            self.cut_after.add(number)
            return False
        if struck.cut == "before":
            self.end()
            return True
        answer = next(answer for answer, asked in _ANSWERS.items() if asked is request)
        body = bytes((0x0A, 1, struck.code)) + b"\x04\x00" + _tlv(0x04, struck.text.encode())
        with self.sending:
            self.client.sendall(_whole(number, answer, body, b""))
        return True

    def _smaller_pages(self, controls: bytes) -> bytes:
        """The client's controls, with no more entries a page than Windows gives."""
        if _PAGED not in controls:
            return controls
        found = b""
        for _, control in _elements(_elements(controls)[0][1]):
            parts = _elements(control)
            if parts[0][1] == _PAGED:
                (_, size), (_, cookie) = _elements(_elements(parts[-1][1])[0][1])
                number = min(int.from_bytes(size, "big", signed=True), self.proxy.page)
                value = _tlv(0x30, _tlv(0x02, number.to_bytes(4, "big")) + _tlv(0x04, cookie))
                control = (
                    _tlv(0x04, _PAGED) + b"".join(_tlv(tag, part) for tag, part in parts[1:-1]) + _tlv(0x04, value)
                )
            found += _tlv(0x30, control)
        return _tlv(0xA0, found)

    def end(self) -> None:
        """Both connections end."""
        _end(self.client)
        _end(self.server)


def _end(one: socket.socket) -> None:
    with suppress(OSError):
        one.shutdown(socket.SHUT_RDWR)
    with suppress(OSError):
        one.close()


def _with_ranges(body: bytes, most: int) -> bytes:
    """An entry whose members come in parts, as Windows gives them."""
    (_, name), (_, attributes) = _elements(body)
    found = b""
    for _, attribute in _elements(attributes):
        (_, label), (_, held) = _elements(attribute)
        values = _elements(held)
        if label.lower().startswith(b"member;range=") and label.endswith(b"-*") and len(values) > most:
            start = int(label.partition(b"=")[2].partition(b"-")[0])
            label = b"member;range=%d-%d" % (start, start + most - 1)
            values = values[:most]
        listed = b"".join(_tlv(tag, value) for tag, value in values)
        found += _tlv(0x30, _tlv(0x04, label) + _tlv(0x31, listed))
    return _tlv(0x04, name) + _tlv(0x30, found)


# BER


def _tlv(tag: int, content: bytes) -> bytes:
    length = len(content)
    if length < 0x80:
        return bytes((tag, length)) + content
    size = length.to_bytes((length.bit_length() + 7) // 8, "big")
    return bytes((tag, 0x80 | len(size))) + size + content


def _elements(data: bytes) -> list[tuple[int, bytes]]:
    found, position = [], 0
    while position < len(data):
        tag, length = data[position], data[position + 1]
        position += 2
        if length & 0x80:
            size = length & 0x7F
            length = int.from_bytes(data[position : position + size], "big")
            position += size
        found.append((tag, data[position : position + length]))
        position += length
    return found


def _parts_of(message: bytes) -> tuple[bytes, int, bytes, bytes]:
    """Number, tag and content of the operation, and the controls as they came."""
    parts = _elements(message)
    controls = _tlv(parts[2][0], parts[2][1]) if len(parts) > 2 else b""
    return parts[0][1], parts[1][0], parts[1][1], controls


def _whole(number: bytes, tag: int, body: bytes, controls: bytes) -> bytes:
    return _tlv(0x30, _tlv(0x02, number) + _tlv(tag, body) + controls)


def _message(end: socket.socket) -> bytes | None:
    """The content of the next message; None where the connection has ended."""
    head = _exactly(end, 2)
    if head is None:
        return None
    length = head[1]
    if length & 0x80:
        size = _exactly(end, length & 0x7F)
        if size is None:
            return None
        length = int.from_bytes(size, "big")
    return _exactly(end, length)


def _exactly(end: socket.socket, count: int) -> bytes | None:
    found = bytearray()
    while len(found) < count:
        part = end.recv(min(65536, count - len(found)))
        if not part:
            return None
        found += part
    return bytes(found)
