"""The walk through the pages, and what happens when nobody looks, take minutes on a small machine.

They belong to the long form, ``make long``.
"""

import os

collect_ignore = [] if os.environ.get("PROVISOR_LONG") else ["test_alone.py", "test_pages.py"]
