"""What the connector costs beside bare python-ldap, on OpenLDAP: entries read, and creates and changes a second.

python -m tests.benchmarks.directories [entries]
"""

import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ldap
import ldap.modlist
from ldap.controls import SimplePagedResultsControl

from connectors import registry
from connectors.contract import Action, Change, Kind, Pace, Wanted
from tests.servers.directories import Directory, openldap

PATHS = ("uid", "cn", "sn", "givenName", "mail", "title", "employeeNumber", "telephoneNumber", "l", "o", "description")
PEOPLE = "OU=people,dc=example,dc=org"


def person(number: int) -> dict[str, str]:
    """One person with twelve attributes."""
    return {name: f"{name} {number:06d}" for name in PATHS}


def timed(what: str, work: Callable[[], int]) -> tuple[float, float]:
    """Prints and gives seconds and CPU seconds for each unit of work."""
    wall, cpu = time.perf_counter(), time.process_time()
    count = work()
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    print(f"{what:40} {count / wall:10,.0f}/s {cpu / count * 1e6:8.1f} µs CPU each")
    return wall / count, cpu / count


def bare(directory: Directory) -> Any:
    """A connection of python-ldap."""
    connection = ldap.initialize(directory.tls_url)
    connection.set_option(ldap.OPT_X_TLS_CACERTFILE, str(directory.ca_file))
    connection.set_option(ldap.OPT_X_TLS_NEWCTX, 0)
    connection.simple_bind_s(directory.admin, directory.password)
    return connection


def read_bare(connection: Any) -> int:
    """All people, page by page."""
    page, count = SimplePagedResultsControl(True, size=1000, cookie=b""), 0
    while True:
        number = connection.search_ext(PEOPLE, 2, "(objectClass=inetOrgPerson)", list(PATHS), serverctrls=[page])
        _, data, _, controls = connection.result3(number)
        count += len(data)
        page.cookie = next(one.cookie for one in controls if isinstance(one, SimplePagedResultsControl))
        if not page.cookie:
            return count


def main() -> None:
    """Prints figures; nothing is asserted."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
    with openldap() as directory:
        directory.add({PEOPLE: {"objectClass": "organizationalUnit"}})
        connection = bare(directory)
        os.environ["DIRECTORY_PASSWORD"] = directory.password
        settings = {
            "url": directory.tls_url,
            "ca_file": str(directory.ca_file),
            "auth": {"simple": {"user": directory.admin, "password": "${env:DIRECTORY_PASSWORD}"}},
            "users": {"base": PEOPLE},
        }
        connector = registry.find("ldap")
        folder = Path(tempfile.gettempdir())
        assert connector.target_settings is not None
        target_settings = {**settings, "users": {"base": PEOPLE, "password": None}}
        target = registry.open_target(
            "ldap", connector.target_settings.model_validate(target_settings), folder=folder, pace=Pace(concurrency=8)
        )
        half = count // 2

        def add_bare() -> int:
            for number in range(half):
                values = {name: [value.encode()] for name, value in person(number).items()}
                values["objectClass"] = [b"inetOrgPerson"]
                connection.add_s(
                    f"uid=bare{number},{PEOPLE}", ldap.modlist.addModlist(values | {"uid": [f"bare{number}".encode()]})
                )
            return half

        ids: list[str] = []

        def add_ours() -> int:
            changes = [
                Change(f"c{number}", Kind.USER, Action.CREATE, f"a{number}", None, person(number), label="x")
                for number in range(half, count)
            ]
            target.apply(changes, lambda outcome: ids.append(outcome.target_id or ""))
            return len(changes)

        def modify_bare() -> int:
            for number in range(half):
                connection.modify_s(f"uid=bare{number},{PEOPLE}", [(ldap.MOD_REPLACE, "title", [b"new"])])
            return half

        def modify_ours() -> int:
            changes = [
                Change(f"m{number}", Kind.USER, Action.UPDATE, f"a{number}", key, {"title": "new"}, label="x")
                for number, key in enumerate(ids)
            ]
            target.apply(changes, lambda outcome: None)
            return len(changes)

        timed("creates, bare python-ldap", add_bare)
        timed("creates, connector", add_ours)
        timed("changes, bare python-ldap", modify_bare)
        timed("changes, connector", modify_ours)
        assert connector.source_settings is not None
        source = registry.open_source("ldap", connector.source_settings.model_validate(settings), folder=folder)
        source.attributes(Kind.USER)
        for _ in range(3):
            _, theirs = timed("read, bare python-ldap", lambda: read_bare(connection))
            _, ours = timed("read, connector", lambda: len(source.read(Wanted(PATHS)).users))
            print(f"CPU of the connector over bare python-ldap: {ours / theirs:.2f}")
        source.close()
        target.close()


if __name__ == "__main__":
    main()
