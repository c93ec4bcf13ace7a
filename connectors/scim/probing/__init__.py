"""Finds out how a SCIM service really behaves, by asking it, and makes its profile of what was seen.

Without leave to write it only reads. With leave it makes one user and one group whose names say what they are, changes
and deletes them, and says so if it could not.
"""

from connectors.scim.probing.asking import Finding
from connectors.scim.probing.probe import Probe, Probed

__all__ = ["Finding", "Probe", "Probed"]
