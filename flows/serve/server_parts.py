"""What the server of ``provisor up`` loads before it starts: a block of ours, and the one UI that it shows.

Prefect brings a second UI, which asks a service outside for something whatever is set, and advertises it in the first
one. A server that does not find its files offers the first one only.
"""

import prefect

from flows.serve.notices import JobNotice

__all__ = ["JobNotice"]

prefect.__ui_v2_static_path__ = prefect.__module_path__ / "no-second-ui"
