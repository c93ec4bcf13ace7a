"""What happens when nobody looks takes minutes on a small machine: it belongs to the long form, ``make long``."""

import os

collect_ignore = [] if os.environ.get("PROVISOR_LONG") else ["test_alone.py"]
