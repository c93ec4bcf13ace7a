"""Real directories for the tests: Samba as an Active Directory domain controller, OpenLDAP and 389 Directory Server.

Each starts in a folder of its own on loopback, and is read back by OpenLDAP's command-line tools, never by our code.
"""

from tests.servers.directories.directory import Directory
from tests.servers.directories.ds389 import ds389
from tests.servers.directories.openldap import openldap
from tests.servers.directories.samba import samba

__all__ = ["Directory", "ds389", "openldap", "samba"]
