"""Pages for a browser, each in one file that needs nothing from anywhere: the report of a run, and Data Docs.

    reports/<job>/<cycle>.html        what a cycle did; bounded history
    docs/<job>/index.html             Data Docs: what came of the data checks, cycle by cycle
    docs/<job>/<cycle>.html, .json    of one cycle; the JSON is in the result format of Great Expectations

Whatever comes from outside is text in them, never markup. Values of attributes are in neither.
"""

from tasks.pages.data_docs import keep_data_docs
from tasks.pages.layout import DOCS, FOLDERS, REPORTS
from tasks.pages.run_report import keep_report

__all__ = ["DOCS", "FOLDERS", "REPORTS", "keep_data_docs", "keep_report"]
