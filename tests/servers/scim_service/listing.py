"""Lists: which entries a query finds, in which order, and which page of them is sent.

Source: RFC 7644 section 3.4.2 (query), RFC 9865 (cursors).
"""

from typing import TYPE_CHECKING, Any

import orjson

from tests.servers.scim_service.answers import LIST_RESPONSE, Response, ScimError
from tests.servers.scim_service.attributes import Attribute
from tests.servers.scim_service.filters import (
    All,
    AnyOf,
    Compare,
    Filter,
    FilterError,
    Not,
    Path,
    ValuePath,
    comparisons,
    demanded,
    parse_filter,
    parse_path,
)
from tests.servers.scim_service.store import Entry, Shelf

if TYPE_CHECKING:
    from tests.servers.scim_service.application import Application

SOME_PAIRS = ({"userName", "externalId"}, {"userName", "active"})
"""Attributes that `and` may join where it works for some only."""


class Listing:
    """One query for entries of one kind."""

    def __init__(self, application: "Application", shelf: Shelf, parameters: dict[str, str]) -> None:
        """``parameters``: the query's parameters, names in lower case."""
        self.application = application
        self.quirks = application.quirks
        self.shelf = shelf
        self.parameters = parameters
        self.in_search = False

    @classmethod
    def from_search(cls, application: "Application", shelf: Shelf, document: dict[str, Any]) -> "Listing":
        """The query of a POST to /.search."""
        parameters = {
            name.lower(): ",".join(value) if isinstance(value, list) else str(value)
            for name, value in document.items()
            if name != "schemas"
        }
        listing = cls(application, shelf, parameters)
        listing.in_search = True
        return listing

    def response(self) -> Response:
        """The page that is asked for. Raises: ScimError."""
        return self.show(self._sorted(self.found()))

    def found(self) -> list[Entry]:
        """Every entry that the query finds, in order of creation. Raises: ScimError."""
        if self.quirks["odd_user_name"] == "poisons_lists":
            self._refuse_odd_names()
        return self._visible(self._filtered())

    def show(self, entries: list[Entry]) -> Response:
        """The page of these entries that is asked for. Raises: ScimError."""
        projection = self.application.projection(self.shelf, self.parameters)
        page, extra = self._page(entries)
        if projection:
            pieces = [self.application.projected(entry, projection) for entry in page]
        else:
            most = self.application.most_members()
            pieces = [entry.document(most) if entry.members else entry.body for entry in page]
        return Response(
            200,
            b'{"schemas":["%b"],%b%b,"Resources":[%b]}'
            % (LIST_RESPONSE.encode(), self._total(len(entries), len(page)), extra, b",".join(pieces)),
        )

    def _total(self, total: int, shown: int) -> bytes:
        match self.quirks["total_results"]:
            case "missing":
                return b'"itemsPerPage":%d' % shown
            case "text":
                return b'"totalResults":"%d","itemsPerPage":%d' % (total, shown)
            case "page_size":
                total = shown
        return b'"totalResults":%d,"itemsPerPage":%d' % (total, shown)

    def _visible(self, entries: list[Entry]) -> list[Entry]:
        hidden = self.application.hidden()
        if hidden or self.shelf.removed:
            return [entry for entry in entries if not entry.removed and entry.id not in hidden]
        return entries

    def _refuse_odd_names(self) -> None:
        index = self.shelf.indexes.get("username")
        if index is not None and any("%" in name for name in index.found):
            raise ScimError(400, "A userName cannot be shown", "invalidValue")

    # -- which -----------------------------------------------------------------------------------------------------

    def _filtered(self) -> list[Entry]:
        text = self.parameters.get("filter")
        if text is None or self.quirks["filter"] == "ignored":
            return self.shelf.order
        if self.quirks["filter"] == "refused":
            raise ScimError(400, "Filters are not supported", "invalidFilter")
        if self.quirks["filter"] == "silent_empty":
            return []
        try:
            condition = parse_filter(text, self.shelf.kind)
        except FilterError as error:
            raise ScimError(400, str(error), "invalidFilter") from error
        judged = self._judge(condition)
        return judged if isinstance(judged, list) else self._search(judged)

    def _search(self, condition: Filter) -> list[Entry]:
        """Entries that fulfil the filter, in order of creation; looked up where the filter demands a value."""
        looked_up = demanded(condition)
        if looked_up is None:
            candidates = self.shelf.order
        elif looked_up.path.key == "id":
            entry = self.shelf.entries.get(looked_up.value)
            candidates = [] if entry is None else [entry]
        elif looked_up.path.name == "members" and looked_up.path.sub in (None, "value"):
            groups = self.application.store.groups_of.get(looked_up.value, ())
            candidates = sorted((self.shelf.entries[id] for id in groups), key=lambda entry: entry.position)
        elif looked_up.path.name == "members" or self._blind(looked_up):
            candidates = self.shelf.order
        else:
            index = self.shelf.index(looked_up.path)
            candidates = index.look_up(looked_up.value)
            if condition is looked_up and index.path.exact == looked_up.path.exact:
                return candidates
        with_members = any(path.name == "members" for path in _paths(condition))
        return [
            entry
            for entry in candidates
            if condition.test(entry.resource() if with_members else orjson.loads(entry.body))
        ]

    def _blind(self, compare: Compare) -> bool:
        return compare.path.key == "externalid" and self.quirks["filter_external_id"] == "case_blind"

    def _judge(self, condition: Filter) -> Filter | list[Entry]:
        """The filter as this service reads it, or at once what it finds. Raises: ScimError."""
        compares = list(comparisons(condition))
        if self.quirks["filter_unknown"] == "refused" and any(
            path.attribute is None and not path.name.startswith("urn:") for path in _paths(condition)
        ):
            raise ScimError(400, "The filter names an attribute that does not exist", "invalidFilter")
        if self.quirks["filter_quotes"] != "honoured" and any(
            isinstance(compare.value, str) and set('"\\') & set(compare.value) for compare in compares
        ):
            if self.quirks["filter_quotes"] == "refused":
                raise ScimError(400, "The filter cannot be read", "invalidFilter")
            return []
        if isinstance(condition, All) and self.quirks["filter_and"] != "honoured":
            judged = self._judge_and(condition)
            if isinstance(judged, list):
                return judged
            condition = judged
        if any(path.name == "emails" for path in _paths(condition)) and self.quirks["filter_emails"] != "both":
            if self.quirks["filter_emails"] == "refused":
                raise ScimError(400, "E-mail addresses cannot be searched", "invalidFilter")
            if self.quirks["filter_emails"] == "silent_empty" or not self._emails_understood(condition):
                return []
        return self._judge_equality(condition)

    def _judge_and(self, condition: All) -> Filter | list[Entry]:
        match self.quirks["filter_and"]:
            case "refused":
                raise ScimError(400, "and is not supported", "invalidFilter")
            case "silent_empty":
                return []
            case "clause_dropped":
                return condition.parts[0]
        if {path.name for path in _paths(condition)} not in SOME_PAIRS:
            raise ScimError(400, "These attributes cannot be joined by and", "invalidFilter")
        return condition

    def _emails_understood(self, condition: Filter) -> bool:
        value_path = any(isinstance(part, ValuePath) and part.path.name == "emails" for part in _parts(condition))
        return value_path == (self.quirks["filter_emails"] == "value_path_only")

    def _judge_equality(self, condition: Filter) -> Filter | list[Entry]:
        if not isinstance(condition, Compare) or condition.operator != "eq":
            return condition
        rule = self.quirks["filter_user_name"]
        if condition.path.key == "username" and rule != "match":
            exact = Path(None, "userName", None, Attribute("userName", case_exact=True))
            found = self._search(Compare(exact, "eq", condition.value))
            return found if found or rule == "no_match" else self._ignored_if_twin(condition)
        if condition.path.key == "externalid":
            match self.quirks["filter_external_id"]:
                case "silent_empty":
                    return []
                case "case_blind":
                    blind = Path(None, "externalId", None, Attribute("externalId", case_exact=False))
                    return Compare(blind, "eq", condition.value)
        return condition

    def _ignored_if_twin(self, condition: Compare) -> list[Entry]:
        """Everybody, where somebody is called so in another case; nobody otherwise."""
        return self.shelf.order if self._search(condition) else []

    # -- order and page --------------------------------------------------------------------------------------------

    def _sorted(self, entries: list[Entry]) -> list[Entry]:
        sort_by = self.parameters.get("sortby")
        if not sort_by:
            return entries
        match self.quirks["sorting"]:
            case "ignored":
                return entries
            case "refused_403":
                raise ScimError(403, "Sorting is not allowed")
            case "not_implemented":
                raise ScimError(501, "Sorting is not implemented")
        try:
            path = parse_path(sort_by, self.shelf.kind)
        except FilterError as error:
            raise ScimError(400, str(error), "invalidPath") from error

        def key(entry: Entry) -> tuple[bool, str]:
            values = path.values(orjson.loads(entry.body))
            return (not values, str(path.normal(values[0])) if values else "")

        backwards = self.parameters.get("sortorder", "").lower() == "descending"
        return sorted(entries, key=key, reverse=backwards)

    def _page(self, entries: list[Entry]) -> tuple[list[Entry], bytes]:
        """The entries of the page, and what the answer says about the page besides."""
        if self.quirks["count"] == "error_500" and "count" in self.parameters:
            raise ScimError(500, "Internal error")
        size = self._size()
        cursor = self.parameters.get("cursor")
        if cursor is not None and self.quirks["cursor"] != "ignored":
            return self._cursor_page(entries, cursor, size)
        if self.quirks["cursor"] == "demanded":
            if "startindex" in self.parameters:
                raise ScimError(400, "startIndex is not supported, use cursor", "invalidValue")
            return self._cursor_page(entries, "", size)
        start = max(1, self._number("startindex", 1))
        paging = self.quirks["paging"]
        if paging == "ignored" or (paging == "honoured_in_search" and not self.in_search):
            start, size = 1, self.application.page_sizes()[0]
        if start > max(1, len(entries)):
            match self.quirks["past_the_end"]:
                case "first_page":
                    start = 1
                case "error_500":
                    raise ScimError(500, "Internal error")
        first = start - 1
        if first and self.quirks["overlapping_pages"] == "repeat_last":
            first -= 1
        return entries[first : first + size], b',"startIndex":%d' % start

    def _cursor_page(self, entries: list[Entry], cursor: str, size: int) -> tuple[list[Entry], bytes]:
        match self.quirks["cursor"]:
            case "refused_403":
                raise ScimError(403, "Cursors are not allowed")
            case "not_implemented":
                raise ScimError(501, "Cursors are not implemented")
        first = 0
        if cursor:
            if not cursor.startswith("at-") or not cursor[3:].isdigit():
                raise ScimError(400, "The cursor is not one of ours", "invalidCursor")
            first = int(cursor[3:])
        following = first + size
        extra = b',"nextCursor":"at-%d"' % following if following < len(entries) and size else b""
        return entries[first:following], extra

    def _size(self) -> int:
        default, largest = self.application.page_sizes()
        size = max(0, self._number("count", default))
        if size > largest and self.quirks["count_over_largest"] == "refused":
            raise ScimError(400, f"count is at most {largest}", "invalidValue")
        return min(size, largest)

    def _number(self, name: str, default: int) -> int:
        try:
            return int(self.parameters.get(name, default))
        except ValueError as error:
            raise ScimError(400, f"{name} must be a number", "invalidValue") from error


def _parts(condition: Filter) -> list[Filter]:
    match condition:
        case All() | AnyOf():
            return [condition, *(found for part in condition.parts for found in _parts(part))]
        case Not():
            return [condition, *_parts(condition.inner)]
    return [condition]


def _paths(condition: Filter) -> list[Path]:
    """Top-level paths that the filter names; what stands inside brackets is not one."""
    return [part.path for part in _parts(condition) if isinstance(part, Compare | ValuePath)]
