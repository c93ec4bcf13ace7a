"""A directory that is running, and what tests do with it behind our back: by ldapsearch, ldapmodify and ldapdelete."""

import base64
import itertools
import os
import re
import subprocess
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

Entry = dict[str, list[str]]
"""Attribute to its values; one that is not text stays base64, after ``base64:``."""

_BATCH = 4_000
_NUMBERS = itertools.count(1)


class ToolError(RuntimeError):
    """A command-line tool of OpenLDAP ended with a status that was not expected."""


@dataclass(frozen=True, slots=True)
class Directory:
    """A server, its administrator, and where its entries lie."""

    kind: str
    """samba, openldap or 389."""
    url: str
    """Plain LDAP."""
    tls_url: str
    ca_file: Path
    """Certificate of the authority that signed the server's own."""
    base: str
    admin: str
    password: str
    pid: int
    log: Path
    ldapi: str | None = None
    """The address of a socket on which root is the administrator without a password."""
    realm: str | None = None
    krb5_conf: Path | None = None

    @contextmanager
    def fresh(self) -> Iterator[str]:
        """An empty organisational unit, deleted afterwards with all that is in it; gives its name."""
        dn = f"OU=test{next(_NUMBERS)},{self.base}"
        self.add({dn: {"objectClass": "organizationalUnit"}})
        try:
            yield dn
        finally:
            self.delete(dn)

    def search(
        self,
        base: str | None = None,
        filter: str = "(objectClass=*)",
        attributes: Sequence[str] = ("*",),
        *,
        scope: str = "sub",
        controls: Sequence[str] = (),
    ) -> dict[str, Entry]:
        """What ldapsearch prints, by distinguished name; nothing where the base is not there."""
        extras = [word for control in controls for word in ("-e" if not control.startswith("!pr") else "-E", control)]
        words = ["-LLL", "-o", "ldif-wrap=no", "-s", scope, *extras, "-b", base or self.base, filter, *attributes]
        done = self._tool("ldapsearch", words, fine=(0, 32))
        return dict(parse_ldif(done))

    def ldif(self, text: str, *, fine: Iterable[int] = (0,), options: Sequence[str] = ()) -> None:
        """Hand an LDIF file with changes (or entries) to ldapmodify. Raises: ToolError."""
        self._tool("ldapmodify", ["-a", *options], text=text, fine=fine)

    def add(self, entries: Mapping[str, Mapping[str, str | Sequence[str]]]) -> None:
        """Add entries, containers first. Raises: ToolError."""
        names = list(entries)
        for start in range(0, len(names), _BATCH):
            self.ldif("\n".join(write_ldif(dn, entries[dn]) for dn in names[start : start + _BATCH]))

    def modify(self, dn: str, **values: str | Sequence[str] | None) -> None:
        """Replace attributes of an entry; None clears. Raises: ToolError."""
        lines = [_line("dn", dn), "changetype: modify"]
        for name, value in values.items():
            lines.append(f"replace: {name}")
            lines += [_line(name, one) for one in _values(value)]
            lines.append("-")
        self.ldif("\n".join(lines) + "\n")

    def delete(self, dn: str) -> None:
        """Delete an entry and all below it, if it is there."""
        below = list(self.search(dn, attributes=["1.1"]))
        below.sort(key=lambda name: len(re.split(r"(?<!\\),", name)), reverse=True)
        if below:
            text = "\n".join(f"{_line('dn', name)}\nchangetype: delete\n" for name in below)
            self.ldif(text, fine=(0, 32), options=["-c"])

    def bind_status(self, dn: str, password: str) -> int:
        """Exit status of a sign-in as somebody, over TLS: 0 where it works, 49 where it does not."""
        words = [
            "ldapwhoami" if self.kind != "samba" else "ldapsearch",
            "-H",
            self.tls_url,
            "-x",
            "-D",
            dn,
            "-w",
            password,
        ]
        if self.kind == "samba":
            words += ["-LLL", "-s", "base", "-b", "", "currentTime"]
        return subprocess.run(words, capture_output=True, env=self._environment(), timeout=60).returncode

    def _tool(self, name: str, words: Sequence[str], *, text: str | None = None, fine: Iterable[int] = (0,)) -> str:
        signed_in = ["-H", self.tls_url, "-x", "-D", self.admin, "-w", self.password]
        done = subprocess.run(
            [name, *signed_in, *words],
            input=text.encode() if text is not None else None,
            capture_output=True,
            env=self._environment(),
            timeout=300,
        )
        if done.returncode not in fine:
            raise ToolError(
                f"{name} ended with status {done.returncode}: {done.stderr.decode(errors='replace')[-2000:]}"
            )
        return done.stdout.decode()

    def _environment(self) -> dict[str, str]:
        return {**os.environ, "LDAPTLS_CACERT": str(self.ca_file), "LDAPTLS_REQCERT": "demand"}


def parse_ldif(text: str) -> list[tuple[str, Entry]]:
    """Entries of unwrapped LDIF."""
    entries = []
    for block in text.split("\n\n"):
        dn = ""
        entry: Entry = {}
        for line in block.splitlines():
            name, colon, value = line.partition(":")
            if not colon or line.startswith("#"):
                continue
            if value.startswith(": "):
                raw = base64.b64decode(value[2:])
                try:
                    value = raw.decode()
                except UnicodeDecodeError:
                    value = f"base64:{value[2:]}"
            else:
                value = value.strip()
            if name == "dn":
                dn = value
            elif name != "ref":
                entry.setdefault(name, []).append(value)
        if dn or entry:
            entries.append((dn, entry))
    return entries


def write_ldif(dn: str, attributes: Mapping[str, str | Sequence[str]]) -> str:
    """One entry as LDIF; every value as base64, so that none needs quoting."""
    lines = [_line("dn", dn)]
    for name, value in attributes.items():
        lines += [_line(name, one) for one in _values(value)]
    return "\n".join(lines) + "\n"


def _values(value: str | Sequence[str] | None) -> Sequence[str]:
    if value is None:
        return ()
    return (value,) if isinstance(value, str) else value


def _line(name: str, value: str) -> str:
    if not value:
        return f"{name}:"
    if value.startswith("base64:"):
        return f"{name}:: {value.removeprefix('base64:')}"
    return f"{name}:: {base64.b64encode(value.encode()).decode()}"
