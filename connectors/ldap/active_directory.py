"""Active Directory under a name of its own."""

from connectors.ldap import ACTIVE_DIRECTORY

CONNECTOR = ACTIVE_DIRECTORY
