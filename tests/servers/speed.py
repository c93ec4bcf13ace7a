"""How many requests a second the test service handles on one core, so that it is known not to be the bottleneck.

    python -m tests.servers.speed [--users 20000] [--listed 100000]

A raw client sends prepared requests over a few connections, many at a time, and only counts the answers; the figure
that matters is the service's own processor time per request, read from /proc.
"""

import argparse
import os
import socket
import threading
import time
from pathlib import Path
from urllib.parse import urlsplit

import orjson

from tests.servers.scim_service import ScimProcess

CONNECTIONS = 8
IN_FLIGHT = 32


def cpu_s(pid: int) -> float:
    """Processor seconds a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def memory_mb(pid: int) -> int:
    """Resident memory of a process in MB."""
    line = next(line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmRSS"))
    return int(line.split()[1]) // 1024


def request(method: str, path: str, host: str, token: str, body: bytes = b"") -> bytes:
    """One request as bytes, with the headers a usual client sends."""
    lines = [
        f"{method} {path} HTTP/1.1",
        f"Host: {host}",
        f"Authorization: Bearer {token}",
        "Accept: application/scim+json",
        "Accept-Encoding: gzip, deflate",
        "User-Agent: speed",
        "Content-Type: application/scim+json",
        f"Content-Length: {len(body)}",
        "\r\n",
    ]
    return "\r\n".join(lines).encode() + body


def user(number: int) -> bytes:
    """A user with a dozen attributes."""
    name = f"person{number:07d}@example.com"
    return orjson.dumps(
        {
            "schemas": [
                "urn:ietf:params:scim:schemas:core:2.0:User",
                "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User",
            ],
            "userName": name,
            "externalId": f"P{number:07d}",
            "active": True,
            "displayName": "Ada Ångström",
            "title": "Employee",
            "preferredLanguage": "en",
            "name": {"givenName": "Ada", "familyName": "Ångström"},
            "emails": [{"value": name, "type": "work", "primary": True}],
            "phoneNumbers": [{"value": "+49 30 1234567", "type": "work"}],
            "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User": {
                "employeeNumber": f"{number:07d}",
                "department": "Sales",
            },
        }
    )


def exchange(address: tuple[str, int], requests: list[bytes]) -> None:
    """Send requests over one connection, some at a time, and read the answers, which carry their lengths."""
    with socket.create_connection(address) as connection:
        for start in range(0, len(requests), IN_FLIGHT):
            batch = requests[start : start + IN_FLIGHT]
            connection.sendall(b"".join(batch))
            held, left = bytearray(), len(batch)
            while left:
                held += connection.recv(1 << 18)
                while left:
                    end = held.find(b"\r\n\r\n")
                    if end < 0:
                        break
                    at = held.find(b"Content-Length: ", 0, end)
                    length = int(held[at + 16 : held.find(b"\r\n", at)]) if at >= 0 else 0
                    if len(held) < end + 4 + length:
                        break
                    if held[9:10] != b"2":
                        raise SystemExit(held[:500].decode())
                    del held[: end + 4 + length]
                    left -= 1


def measure(name: str, service: ScimProcess, requests: list[bytes]) -> None:
    """Send the requests and print what it took."""
    parts = urlsplit(service.url)
    address = (parts.hostname or "", parts.port or 0)
    shares = [requests[number::CONNECTIONS] for number in range(CONNECTIONS)]
    before, began = cpu_s(service.pid), time.perf_counter()
    threads = [threading.Thread(target=exchange, args=(address, share)) for share in shares if share]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    wall, cpu = time.perf_counter() - began, cpu_s(service.pid) - before
    count = len(requests)
    print(
        f"{name:34} {count:7d} in {wall:6.2f} s  {count / wall:8.0f}/s  "
        f"service {cpu / count * 1e6:7.0f} us each = {count / max(cpu, 1e-9):7.0f}/s of one core"
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--users", type=int, default=20_000)
    parser.add_argument("--listed", type=int, default=100_000)
    given = parser.parse_args()
    with ScimProcess(token="t", max_page_size=1000) as service:
        host = urlsplit(service.url).netloc

        def make(method: str, path: str, body: bytes = b"") -> bytes:
            return request(method, f"/v2{path}", host, "t", body)

        numbers = range(given.users)
        measure("create", service, [make("POST", "/Users", user(number)) for number in numbers])
        ids = list(service.users)
        names = [f"person{number:07d}@example.com" for number in numbers]
        measure("read", service, [make("GET", f"/Users/{id}") for id in ids])
        measure("filter userName eq", service, [make("GET", f"/Users?filter=userName+eq+%22{n}%22") for n in names])
        patch = orjson.dumps(
            {
                "Operations": [
                    {"op": "replace", "path": "title", "value": "Head"},
                    {"op": "replace", "path": "active", "value": False},
                ]
            }
        )
        measure("patch, two operations", service, [make("PATCH", f"/Users/{id}", patch) for id in ids])
        service.seed(groups=[{"id": "g", "displayName": "All"}])
        adds = [
            orjson.dumps(
                {
                    "Operations": [
                        {"op": "add", "path": "members", "value": [{"value": id} for id in ids[at : at + 100]]}
                    ]
                }
            )
            for at in range(0, len(ids), 100)
        ]
        measure("add 100 members to one group", service, [make("PATCH", "/Groups/g", body) for body in adds])
        measure("delete", service, [make("DELETE", f"/Users/{id}") for id in ids])
        began = time.perf_counter()
        service.seed(count=given.listed)
        print(f"seed {given.listed} users: {time.perf_counter() - began:.1f} s, {memory_mb(service.pid)} MB")
        pages = [make("GET", f"/Users?startIndex={at}&count=1000") for at in range(1, given.listed, 1000)]
        measure("list, page of 1000", service, pages)
        pages = [
            make("GET", f"/Users?startIndex={at}&count=1000&attributes=userName") for at in range(1, given.listed, 1000)
        ]
        measure("list, page of 1000, userName only", service, pages[:100])


if __name__ == "__main__":
    main()
