"""389 Directory Server, from its own template of a configuration."""

import base64
import hashlib
import os
import pwd
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.servers.directories.directory import Directory
from tests.servers.starting import HOST, StartError, _folder, _on_some_port

_BASE = "dc=example,dc=net"
_ADMIN = "cn=Directory Manager"
_PASSWORD = "a-Secret.of-the-tests"
_TEMPLATE = Path("/usr/share/dirsrv/data/template-dse.ldif")
_FOLDERS = ("config/schema", "db", "lock", "tmp", "ldif", "bak", "run", "log")


@contextmanager
def ds389(*, logs: Path | None = None) -> Iterator[Directory]:
    """A 389 Directory Server with one empty base. Raises: StartError, naming the package where it is missing."""
    if not _TEMPLATE.exists():
        raise StartError("389 Directory Server is missing: install the Debian package 389-ds-base.")
    account = pwd.getpwnam("dirsrv") if os.geteuid() == 0 else None
    with _folder(logs) as folder, _folder(None) as home:
        log = folder / "ds389.log"
        home.chmod(0o755)

        def command(port: int) -> list[str]:
            _write_configuration(home, port, account)
            return ["/usr/sbin/ns-slapd", "-D", str(home / "config"), "-i", str(home / "run/pid"), "-d", "0"]

        with _on_some_port(command, log) as (process, port):
            yield _prepared(home, process.pid, port, log)


def _write_configuration(home: Path, port: int, account: pwd.struct_passwd | None) -> None:
    for name in _FOLDERS:
        shutil.rmtree(home / name, ignore_errors=True)
        (home / name).mkdir(parents=True)
    salt = os.urandom(8)
    hashed = "{SSHA}" + base64.b64encode(hashlib.sha1(_PASSWORD.encode() + salt).digest() + salt).decode()
    values: dict[str, Any] = {f"{name}_dir": home / name for name in ("lock", "tmp", "ldif", "bak", "run", "log", "db")}
    values |= {"schema_dir": home / "config/schema", "cert_dir": home / "config", "config_dir": home / "config"}
    values |= {"inst_dir": home, "db_home_dir": home / "db", "db_lib": "bdb", "ds_suffix": _BASE, "fqdn": "localhost"}
    values |= {"ds_port": port, "ds_user": account.pw_name if account else pwd.getpwuid(os.geteuid()).pw_name}
    values |= {"rootdn": _ADMIN, "ds_passwd": hashed}
    values |= {"ldapi_enabled": "off", "ldapi": home / "run/ldapi", "ldapi_autobind": "off"}
    text = re.sub(r"%([a-z_]+)%", lambda match: str(values[match[1]]), _TEMPLATE.read_text())
    text = text.replace("dn: cn=config\n", f"dn: cn=config\nnsslapd-listenhost: {HOST}\n", 1)
    (home / "config/dse.ldif").write_text(text)
    for file in Path("/etc/dirsrv/config").iterdir():
        shutil.copy(file, home / "config")
    shutil.copy("/etc/dirsrv/schema/99user.ldif", home / "config/schema")
    if account is not None:
        for path in (home, *home.rglob("*")):
            os.chown(path, account.pw_uid, account.pw_gid)


def _prepared(home: Path, pid: int, port: int, log: Path) -> Directory:
    directory = Directory(
        kind="389",
        url=f"ldap://{HOST}:{port}",
        tls_url=f"ldap://{HOST}:{port}",
        ca_file=home / "config/ca.pem",
        base=_BASE,
        admin=_ADMIN,
        password=_PASSWORD,
        pid=pid,
        log=log,
    )
    backend = "cn=userroot,cn=ldbm database,cn=plugins,cn=config"
    directory.add(
        {
            backend: {
                "objectClass": ["top", "extensibleObject", "nsBackendInstance"],
                "cn": "userroot",
                "nsslapd-suffix": _BASE,
            },
            f'cn="{_BASE}",cn=mapping tree,cn=config': {
                "objectClass": ["top", "extensibleObject", "nsMappingTree"],
                "cn": _BASE,
                "nsslapd-state": "backend",
                "nsslapd-backend": "userroot",
            },
        }
    )
    directory.add({_BASE: {"objectClass": ["top", "domain"], "dc": "example"}})
    return directory
