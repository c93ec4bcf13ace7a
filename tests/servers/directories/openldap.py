"""OpenLDAP's slapd, with the overlays that administrators usually have."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

import trustme

from tests.servers.directories.directory import Directory
from tests.servers.starting import HOST, StartError, _accepts, _folder, _on_some_port, free_port

_BASE = "dc=example,dc=org"
_ADMIN = f"cn=admin,{_BASE}"
_PASSWORD = "a-Secret.of-the-tests"

_CONFIGURATION = """
include /etc/ldap/schema/core.schema
include /etc/ldap/schema/cosine.schema
include /etc/ldap/schema/inetorgperson.schema
include /etc/ldap/schema/nis.schema
pidfile {home}/slapd.pid
modulepath /usr/lib/ldap
moduleload back_mdb
moduleload syncprov
moduleload ppolicy
moduleload memberof
moduleload refint
moduleload unique
moduleload constraint
TLSCACertificateFile {home}/ca.pem
TLSCertificateFile {home}/server.pem
TLSCertificateKeyFile {home}/server.key
TLSVerifyClient try
TLSProtocolMin 3.3
authz-regexp "gidNumber=0[+]uidNumber=0,cn=peercred,cn=external,cn=auth" "{admin}"
authz-regexp "cn=provisor-client" "{admin}"
sizelimit 500
database mdb
suffix "{base}"
rootdn "{admin}"
rootpw {password}
directory {home}/data
maxsize 1073741824
dbnosync
index objectClass,entryUUID,entryCSN eq
index uid,cn,mail,employeeNumber,member,manager eq
limits dn.exact="cn=reader,{base}" size=500
limits dn.exact="cn=small,{base}" size.soft=20 size.hard=20 size.prtotal=20
access to attrs=userPassword by anonymous auth by self write by * none
access to *
  by dn.exact="cn=reader,{base}" read
  by dn.exact="cn=small,{base}" read
  by anonymous auth
  by * none
overlay syncprov
syncprov-checkpoint 100 10
overlay ppolicy
ppolicy_default "cn=policy,{base}"
ppolicy_hash_cleartext
overlay refint
refint_attributes member manager
overlay unique
unique_uri ldap:///{base}?uid?sub?(objectClass=inetOrgPerson)
overlay constraint
constraint_attribute roomNumber size 40
"""


@contextmanager
def openldap(*, logs: Path | None = None) -> Iterator[Directory]:
    """A slapd with one empty base. Raises: StartError, naming the package to install where slapd is missing."""
    if not Path("/usr/sbin/slapd").exists():
        raise StartError("OpenLDAP's server is missing: install the Debian package slapd (apt-get install slapd).")
    with _folder(logs) as folder, _folder(None) as home:
        log = folder / "slapd.log"
        (home / "data").mkdir()
        write_certificates(home)
        settings = {"home": home, "base": _BASE, "admin": _ADMIN, "password": _PASSWORD}
        (home / "slapd.conf").write_text(_CONFIGURATION.format(**settings))
        ldapi = f"ldapi://{quote(str(home / 'ldapi'), safe='')}"
        tls_port = free_port()

        def command(port: int) -> list[str]:
            addresses = f"ldap://{HOST}:{port} ldaps://{HOST}:{tls_port} {ldapi}"
            return ["/usr/sbin/slapd", "-f", str(home / "slapd.conf"), "-h", addresses, "-d", "0"]

        with _on_some_port(command, log, ready=lambda port: _accepts(port) and _accepts(tls_port)) as (process, port):
            directory = Directory(
                kind="openldap",
                url=f"ldap://{HOST}:{port}",
                tls_url=f"ldaps://{HOST}:{tls_port}",
                ca_file=home / "ca.pem",
                base=_BASE,
                admin=_ADMIN,
                password=_PASSWORD,
                pid=process.pid,
                log=log,
                ldapi=ldapi if os.geteuid() == 0 else None,
            )
            directory.add(
                {_BASE: {"objectClass": ["top", "dcObject", "organization"], "dc": "example", "o": "Example"}}
            )
            policy = {"objectClass": ["device", "pwdPolicy"], "pwdAttribute": "userPassword", "pwdLockout": "TRUE"}
            directory.add({f"cn=policy,{_BASE}": policy})
            account = ["organizationalRole", "simpleSecurityObject"]
            for name in ("reader", "small", "blind"):
                directory.add({f"cn={name},{_BASE}": {"objectClass": account, "userPassword": _PASSWORD}})
            yield directory


def write_certificates(home: Path, *names: str) -> None:
    """An authority, a server's certificate and one for a client, as files in this folder."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(home / "ca.pem")
    server = authority.issue_cert("localhost", HOST, *names)
    server.private_key_pem.write_to_path(home / "server.key")
    server.cert_chain_pems[0].write_to_path(home / "server.pem")
    client = authority.issue_cert(common_name="provisor-client")
    client.private_key_pem.write_to_path(home / "client.key")
    client.cert_chain_pems[0].write_to_path(home / "client.pem")
    (home / "server.key").chmod(0o600)
    (home / "client.key").chmod(0o600)
