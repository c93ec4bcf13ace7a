"""Samba as a domain controller of Active Directory.

Its ports cannot be chosen, so each server takes an address of its own out of 127.0.0.0/8, where nobody else listens.
"""

import os
import random
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.servers.directories.directory import Directory
from tests.servers.directories.openldap import write_certificates
from tests.servers.starting import StartError, _folder, _running, _tail, _wait_until

_REALM = "CORP.EXAMPLE.COM"
_BASE = "DC=corp,DC=example,DC=com"
_ADMIN = f"CN=Administrator,CN=Users,{_BASE}"
_PASSWORD = "a-Secret.0f-the-tests"
_SETUP = Path("/usr/share/samba/setup/ad-schema")


@contextmanager
def samba(*, logs: Path | None = None) -> Iterator[Directory]:
    """A domain controller of a new domain. Raises: StartError, naming what is missing."""
    if not Path("/usr/sbin/samba").exists() or not _SETUP.exists():
        raise StartError("Samba's domain controller is missing: install samba-ad-dc and samba-ad-provision.")
    if os.geteuid() != 0:
        raise StartError("Samba listens on port 389, which only root may: run these tests as root.")
    address = _free_address()
    with _folder(logs) as folder, _folder(None) as home:
        log = folder / "samba.log"
        home.chmod(0o755)
        write_certificates(home, address, "dc1.corp.example.com")
        _provision(home, address, log)
        options = {
            "server services": "ldap cldap kdc",
            "pid directory": home,
            "ncalrpc dir": home / "ncalrpc",
            "log file": home / "samba-%m.log",
            "tls keyfile": home / "server.key",
            "tls certfile": home / "server.pem",
            "tls cafile": home / "ca.pem",
        }
        words = ["/usr/sbin/samba", "--interactive", "--debuglevel=1", f"--configfile={home}/etc/smb.conf"]
        words += [f"--option={name}={value}" for name, value in options.items()]
        with _running(words, log) as process:
            _wait_until(lambda: _listens(address, 636) and _listens(address, 88), process, log)
            yield Directory(
                kind="samba",
                url=f"ldap://{address}",
                tls_url=f"ldaps://{address}",
                ca_file=home / "ca.pem",
                base=_BASE,
                admin=_ADMIN,
                password=_PASSWORD,
                pid=process.pid,
                log=log,
                realm=_REALM,
                krb5_conf=_kerberos(home, address),
            )


def _provision(home: Path, address: str, log: Path) -> None:
    words = ["samba-tool", "domain", "provision", f"--targetdir={home}", f"--realm={_REALM}", "--domain=CORP"]
    words += ["--server-role=dc", "--dns-backend=NONE", f"--adminpass={_PASSWORD}", "--host-name=dc1"]
    words += [f"--host-ip={address}", f"--option=interfaces={address}/8", "--option=bind interfaces only=yes"]
    words += [f"--option=posix:eadb={home}/eadb.tdb"]
    with log.open("ab") as output:
        made = subprocess.run(words, stdout=output, stderr=output, timeout=300)
    if made.returncode:
        raise StartError(f"samba-tool domain provision ended with status {made.returncode}:\n{_tail(log)}")


def _kerberos(home: Path, address: str) -> Path:
    file = home / "krb5.conf"
    file.write_text(
        f"[libdefaults]\ndefault_realm = {_REALM}\ndns_lookup_kdc = false\ndns_lookup_realm = false\n"
        f"rdns = false\ndns_canonicalize_hostname = false\n"
        f"[realms]\n{_REALM} = {{\n kdc = {address}\n admin_server = {address}\n}}\n"
    )
    return file


def _free_address() -> str:
    """A loopback address on which nobody listens at the ports that a domain controller needs."""
    for _ in range(20):
        address = ".".join(["127", *(str(random.randint(2, 250)) for _ in range(3))])
        if not any(_listens(address, port) for port in (88, 389, 636)):
            return address
    raise StartError("No loopback address is free: something listens on port 389 of all of them.")


def _listens(address: str, port: int) -> bool:
    try:
        socket.create_connection((address, port), timeout=2).close()
    except OSError:
        return False
    return True
