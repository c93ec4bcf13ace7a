"""One SCIM service as it is read: what it is, what it knows, who is there.

Everything here runs on one event loop.
"""

import asyncio
import uuid
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

import pandas as pd

from connectors.contract import Kind, Pace, Unreadable, Wanted, no_entries, no_members
from connectors.errors import (
    GoneError,
    InvalidValueError,
    RejectedError,
    RetryableError,
    SchemaMismatchError,
    SettingsError,
    UnsupportedError,
)
from connectors.http import Answer, Call, HttpSession
from connectors.http_settings import is_loopback
from connectors.scim.bulk import NO_OFFER, Offer, offer_in
from connectors.scim.codec import Codec
from connectors.scim.columns import Collector, explained, members_of
from connectors.scim.errors import error_of, status_in
from connectors.scim.listing import Findings, Listing, page_of
from connectors.scim.paths import PathError, Resource
from connectors.scim.profile import STANDARD as STANDARD_PROFILE
from connectors.scim.profile import EmailFilter, MemberValue, Profile, find_profile
from connectors.scim.requests import entry_address, equals, equals_dotted
from connectors.scim.schema import CORE, ENDPOINTS, STANDARD, EntrySchema, discovered, with_doubles, without
from connectors.scim.settings import ScimTargetSettings
from connectors.settings import reveal
from connectors.throttle import Clock, SystemClock

_SPELLINGS = ((equals, EmailFilter.VALUE_PATH), (equals_dotted, EmailFilter.DOTTED))
MEDIA_TYPE = "application/scim+json"

ItemT = TypeVar("ItemT")


@dataclass(slots=True)
class Content:
    """Everything that was read in one go."""

    read_at: datetime
    users: pd.DataFrame
    groups: pd.DataFrame
    members: pd.DataFrame
    doubts: list[str]
    unreadable: list[Unreadable]
    requests: int


async def for_each(
    items: Iterable[ItemT], work: Callable[[ItemT], Awaitable[None]], *, width: int, go_on: Callable[[], bool]
) -> None:
    """Work on the items, so many at a time, for as long as ``go_on`` says so. What was begun is always finished.

    Raises: the first exception of the work, after everything that was begun has ended.
    """
    remaining: Iterator[ItemT] = iter(items)
    failed: list[BaseException] = []

    async def take_turns() -> None:
        while not failed and go_on() and (item := next(remaining, None)) is not None:
            try:
                await work(item)
            except Exception as error:  # raised again below, when the others have ended
                failed.append(error)

    await asyncio.gather(*(take_turns() for _ in range(max(1, width))))
    if failed:
        raise failed[0]


class ScimService:
    """Reads a service; holds its session and what its schemas say."""

    def __init__(self, settings: ScimTargetSettings, *, folder: Path, pace: Pace, clock: Clock | None = None) -> None:
        self.settings = settings
        self.pace = pace
        self.clock: Clock = clock or SystemClock()
        self.session = HttpSession(
            settings, folder=folder, pace=pace, media_type=MEDIA_TYPE, clock=self.clock, status_in=status_in
        )
        self._folder = folder
        self._profile: Profile | None = None
        self._schemas: dict[Kind, EntrySchema] | None = None
        self._resource_types: dict[Kind, list[str]] | None = None
        self._codecs: dict[Kind, Codec] = {}
        self.longest_list = 0
        """Members of the group that shows most, of those that were read."""

    def forget_profile(self) -> None:
        """Speak to the service as the standard has it, whatever lies beside the job."""
        self._profile = STANDARD_PROFILE

    async def profile(self) -> Profile:
        """How the service wants to be spoken to: the job's profile, else the standard. Raises: SettingsError."""
        if self._profile is None:
            url = reveal(self.settings.url, folder=self._folder)
            self._profile = find_profile(self.settings.profile, url=url, folder=self._folder)
        return self._profile

    # -- what it knows -------------------------------------------------------------------------------------------

    async def schemas(self) -> dict[Kind, EntrySchema]:
        """The schema of each kind, asked for once: the service's own where it serves one, else the standard's.

        Raises: FatalError.
        """
        if self._schemas is None:
            types = await self.resource_types()
            served = await self._resources("/Schemas", "read the schemas")
            profile = await self.profile()
            lost = {Kind.USER: profile.not_kept.users, Kind.GROUP: profile.not_kept.groups}
            self._schemas = {
                kind: without(
                    discovered(kind, served, types.get(kind) if types else None) or STANDARD[kind], lost[kind]
                )
                for kind in Kind
            }
            if profile.doubles:
                self._schemas[Kind.USER] = with_doubles(self._schemas[Kind.USER])
        return self._schemas

    async def resource_types(self) -> dict[Kind, list[str]]:
        """Extension URNs by the kinds that the service says it has; empty where it does not say. Raises: FatalError."""
        if self._resource_types is None:
            found: dict[Kind, list[str]] = {}
            for entry in await self._resources("/ResourceTypes", "read the resource types"):
                for kind in Kind:
                    if isinstance(entry, dict) and str(entry.get("schema")).lower() == CORE[kind].lower():
                        extensions = entry.get("schemaExtensions")
                        found[kind] = [
                            extension["schema"]
                            for extension in (extensions if isinstance(extensions, list) else [])
                            if isinstance(extension, dict) and isinstance(extension.get("schema"), str)
                        ]
            self._resource_types = found
        return self._resource_types

    async def codecs(self) -> dict[Kind, Codec]:
        """How entries of each kind are read and written. Raises: FatalError."""
        if not self._codecs:
            self._codecs = {kind: Codec(schema) for kind, schema in (await self.schemas()).items()}
        return self._codecs

    async def _resources(self, path: str, purpose: str) -> list[Any]:
        """What a discovery endpoint lists; nothing where it is not served, or not as the standard has it."""
        call = Call("GET", path, purpose)
        answer = await self.session.send(call)
        if answer.status == 401:
            raise error_of(answer, call, address=self.session.address)
        if answer.status != 200:
            return []
        try:
            body = answer.json()
        except SchemaMismatchError:
            return []
        resources = body.get("Resources") if isinstance(body, dict) else body
        return resources if isinstance(resources, list) else []

    # -- whether it answers --------------------------------------------------------------------------------------

    async def check(self) -> str:
        """One sentence about the service, proved by asking for somebody who does not exist. Raises: FatalError."""
        note = ""
        try:
            page_total = await self._ask_for_nobody()
            if page_total:
                note = " It ignores filters, so existing accounts cannot be looked up one by one."
        except (RejectedError, SettingsError) as error:
            # Some services answer 400 or 404 to a filter; whether the address is right is shown by the list itself.
            answer = await self._get("/Users", "list users", await self._one())
            page_of(answer.json(), what="users")
            if isinstance(error, UnsupportedError | InvalidValueError | SettingsError):
                note = " It does not answer filters, so existing accounts cannot be looked up one by one."
        parts = urlsplit(self.session.address)
        if parts.scheme == "http" and not is_loopback(parts.hostname or ""):
            note += " The connection is not encrypted: everybody on the way can read the token."
        return f"{self.session.address} answers as a SCIM 2.0 service{await self._name()}.{note}"

    async def _ask_for_nobody(self) -> int:
        answer = await self._get("/Users", "list users", {"filter": f'userName eq "{uuid.uuid4()}"'})
        page = page_of(answer.json(), what="users")
        return max(page.total or 0, len(page.entries))

    async def _name(self) -> str:
        """What the service provider configuration adds; empty where it is not served."""
        schemes = (await self._configuration()).get("authenticationSchemes")
        names = [
            str(scheme["name"])
            for scheme in (schemes if isinstance(schemes, list) else [])
            if isinstance(scheme, dict) and scheme.get("name")
        ]
        return f" (signing in by {', '.join(names[:3])})" if names else ""

    async def bulk(self) -> Offer:
        """How much of Bulk it offers; none where its profile says so. Raises: FatalError."""
        most = (await self.profile()).bulk
        if most == 0:
            return NO_OFFER
        offer = offer_in(await self._configuration())
        return offer if most is None else replace(offer, operations=min(offer.operations, most))

    async def _configuration(self) -> dict[str, Any]:
        """What the service says of itself; nothing where it does not."""
        call = Call("GET", "/ServiceProviderConfig", "read the service provider configuration", impatient=True)
        try:
            answer = await self.session.send(call)
            config = answer.json() if answer.status == 200 else None
        except (RetryableError, SchemaMismatchError):
            config = None
        return config if isinstance(config, dict) else {}

    async def me(self) -> str | None:
        """Id of the account with which we sign in; None where the service does not say it.

        Source: RFC 7644 section 3.11 ("/Me" authenticated subject alias); a service may answer 501.
        """
        call = Call("GET", "/Me", "ask who signs in", params={"attributes": "id"}, impatient=True)
        try:
            answer = await self.session.send(call)
            found = answer.json() if answer.status == 200 else None
        except (RetryableError, RejectedError, SchemaMismatchError, SettingsError):
            return None
        id_ = found.get("id") if isinstance(found, dict) else None
        return str(id_) if id_ else None

    async def _get(self, path: str, purpose: str, params: dict[str, str | int]) -> Answer:
        call = Call("GET", path, purpose, params=params)
        answer = await self.session.send(call)
        if answer.status != 200:
            raise error_of(answer, call, address=self.session.address)
        return answer

    # -- who is there --------------------------------------------------------------------------------------------

    async def read(
        self, wanted: Wanted, progress: Callable[[int], None], *, filters: Mapping[Kind, str] | None = None
    ) -> Content:
        """All users, and all groups with their members where groups are wanted; or those that the filters let pass.

        Raises: FatalError, RetryableError.
        """
        asked = filters or {}
        before, read_at = self.session.requests, datetime.now(UTC)
        codecs = await self.codecs()
        paths = wanted.users if wanted.groups is None else (*wanted.users, "userName")
        users, findings = await self._list(codecs[Kind.USER], paths, progress, expression=asked.get(Kind.USER))
        people = users.frame()
        groups, edges = no_entries(), no_members()
        if wanted.groups is not None:
            told = users.count
            collector, more = await self._list(
                codecs[Kind.GROUP],
                wanted.groups,
                lambda count: progress(told + count),
                members=True,
                expression=asked.get(Kind.GROUP),
            )
            groups, edges = collector.frame(), collector.edges()
            self.longest_list = max(self.longest_list, collector.longest_list)
            referred = collector.referred
            if len(groups) and not collector.groups_with_members:
                edges, referred = await self._members_one_by_one(list(groups.index))
            known = people.index.append(groups.index)
            edges = explained(edges, referred=referred, users=people, known=known)
            findings = Findings(findings.doubts + more.doubts, findings.unreadable + more.unreadable)
        requests = self.session.requests - before
        people = people[list(dict.fromkeys(wanted.users))]
        return Content(read_at, people, groups, edges, findings.doubts, findings.unreadable, requests)

    async def count(self, kind: Kind) -> int | None:
        """How many entries of a kind the service says it has; None where it does not say.

        Raises: FatalError, RejectedError, RetryableError.
        """
        answer = await self._get(ENDPOINTS[kind], f"count the {kind}s", await self._one())
        return page_of(answer.json(), what=f"{kind}s").total

    async def _one(self) -> dict[str, str | int]:
        """Parameters of a list of which one entry is enough."""
        return {"count": 1} if (await self.profile()).count else {}

    async def _list(
        self,
        codec: Codec,
        paths: Sequence[str],
        progress: Callable[[int], None],
        *,
        members: bool = False,
        expression: str | None = None,
    ) -> tuple[Collector, Findings]:
        with bad_paths_as_settings():
            collector = Collector(codec, paths, members=members)
        params: dict[str, str | int] = {}
        if codec.kind is Kind.GROUP and not members:
            params["excludedAttributes"] = "members"
        if expression is not None:
            params["filter"] = expression
        profile = await self.profile()
        asked = None if "page_size" in self.settings.model_fields_set else profile.page_size
        listing = Listing(
            self.session,
            codec.kind,
            page_size=(asked or self.settings.page_size) if profile.count else None,
            paging=profile.paging,
            params=params,
            progress=progress,
        )
        return collector, await listing.read_into(collector)

    async def _members_one_by_one(self, group_ids: list[str]) -> tuple[pd.DataFrame, dict[str, str]]:
        """Members of each group by itself: services may leave them out of lists, and then no group shows any.

        With the ids that their ``$ref`` names, where these are others. Raises: FatalError, RetryableError.
        """
        found: dict[str, list[str]] = {}
        referred: dict[str, str] = {}

        async def read_members(group_id: str) -> None:
            answer = await self._entry(Kind.GROUP, group_id)
            if answer is None:
                return
            group = answer.json()
            members = members_of(group) if isinstance(group, dict) else []
            found[group_id] = [member.value for member in members]
            referred.update({one.value: one.referred for one in members if one.value != one.referred})
            self.longest_list = max(self.longest_list, len(members))

        await for_each(group_ids, read_members, width=self.pace.concurrency, go_on=lambda: True)
        pairs = [(group_id, member) for group_id in group_ids for member in dict.fromkeys(found.get(group_id, ()))]
        edges = pd.DataFrame(pairs, columns=["group", "member"], dtype="str") if pairs else no_members()
        return edges, referred

    async def find(
        self,
        kind: Kind,
        attribute: str,
        values: Sequence[str],
        paths: Sequence[str],
        looks_s: Sequence[float] = (0.0,),
    ) -> pd.DataFrame:
        """Entries whose attribute equals one of the values. Raises: FatalError, RetryableError.

        ``looks_s``: seconds before each look for values that nobody had in the looks before.
        """
        codec = (await self.codecs())[kind]
        filters = (await self.profile()).filters
        if not filters.supported:
            raise SchemaMismatchError(
                "By its profile the service does not answer filters, so existing accounts cannot be looked up. Match "
                "against a complete read of the target instead."
            )
        if attribute in filters.blind:
            raise SchemaMismatchError(f"According to its profile, the service finds nobody by {attribute}.")
        found: dict[str, Resource] = {}
        with bad_paths_as_settings():
            collector = Collector(codec, [*paths, attribute])
            path = codec.slot(attribute).path
        # Services understand one spelling, or both; the other gives an error or, silently, nothing.
        spellings = [equals]
        if path.clauses:
            spellings = [spelling for spelling, form in _SPELLINGS if filters.emails in {EmailFilter.BOTH, form}]

        async def look_up(value: str) -> None:
            for spelling in tuple(spellings):
                try:
                    entries = await self._matching(codec, spelling(path, value))
                except InvalidValueError:
                    if spellings in ([spelling], []):
                        raise
                    if spelling in spellings:
                        spellings.remove(spelling)
                    continue
                hits = self._verified(codec, attribute, value, entries)
                if hits:
                    found.update(hits)
                    spellings[:] = [spelling]
                    missing.discard(value)
                    return

        missing = set(values)
        for wait_s in looks_s:
            if not missing:
                break
            if wait_s:
                await self.clock.sleep(wait_s)
            await for_each(sorted(missing), look_up, width=self.pace.concurrency, go_on=lambda: True)
        collector.add([found[entry_id] for entry_id in sorted(found)])
        return collector.frame()

    async def fetch(
        self, kind: Kind, ids: Sequence[str], paths: Sequence[str], looks_s: Sequence[float] = (0.0,)
    ) -> Content:
        """The entries with these ids, groups with their members; entries that are gone are left out.

        ``looks_s``: seconds before each look for those that were not there in the looks before.
        Raises: FatalError, RetryableError.
        """
        before, read_at = self.session.requests, datetime.now(UTC)
        codec = (await self.codecs())[kind]
        with bad_paths_as_settings():
            collector = Collector(codec, paths, members=kind is Kind.GROUP)
        found: dict[str, Resource] = {}

        async def look_at(entry_id: str) -> None:
            answer = await self._entry(kind, entry_id)
            if answer is None:
                return
            entry = answer.json()
            if not isinstance(entry, dict) or str(entry.get("id")) != entry_id:
                raise SchemaMismatchError(f"Queried for one {kind} by its id, the service returned something else.")
            found[entry_id] = entry

        for wait_s in looks_s:
            missing = [entry_id for entry_id in dict.fromkeys(ids) if entry_id not in found]
            if not missing:
                break
            if wait_s:
                await self.clock.sleep(wait_s)
            await for_each(missing, look_at, width=self.pace.concurrency, go_on=lambda: True)
        collector.add([found[entry_id] for entry_id in sorted(found)])
        self.longest_list = max(self.longest_list, collector.longest_list)
        frame, requests = collector.frame(), self.session.requests - before
        if kind is Kind.USER:
            return Content(read_at, frame, no_entries(), no_members(), [], [], requests)
        edges = await self._by_id(collector)
        return Content(read_at, no_entries(), frame, edges, [], [], self.session.requests - before)

    async def _by_id(self, collector: Collector) -> pd.DataFrame:
        """Edges of a few groups, members by their ids: by name where the profile says that names stand there."""
        edges = collector.edges()
        users = no_entries()
        if len(edges) and (await self.profile()).member_value is MemberValue.USER_NAME:
            users = await self.find(Kind.USER, "userName", list(edges["member"].unique()), ["userName"])
        known = users.index.append(pd.Index(list(collector.referred.values()), dtype="str"))
        return explained(edges, referred=collector.referred, users=users, known=known)

    async def _entry(self, kind: Kind, entry_id: str) -> Answer | None:
        """The answer about one entry by its id, None where it is gone. Raises: ProvisorError."""
        call = Call("GET", entry_address(ENDPOINTS[kind], entry_id), f"read a {kind}", known=True)
        answer = await self.session.send(call)
        if answer.status == 200:
            return answer
        error = error_of(answer, call, address=self.session.address)
        if isinstance(error, GoneError):
            return None
        raise error

    async def _matching(self, codec: Codec, expression: str) -> list[Resource]:
        params: dict[str, str | int] = {"filter": expression}
        if codec.kind is Kind.GROUP:
            params["excludedAttributes"] = "members"
        what = f"{codec.kind}s"
        answer = await self._get(ENDPOINTS[codec.kind], f"look up {what}", params)
        page = page_of(answer.json(), what=what)
        return [entry for entry in page.entries if isinstance(entry, dict) and entry.get("id")]

    @staticmethod
    def _verified(codec: Codec, attribute: str, value: str, entries: list[Resource]) -> dict[str, Resource]:
        """Those entries that have the value, by id: nobody is adopted because a filter was ignored.

        Raises: SchemaMismatchError when the answer holds entries that were not asked for.
        """
        found: dict[str, Resource] = {}
        for entry in entries:
            held = codec.values(entry, [attribute])[attribute]
            candidates = held if isinstance(held, list) else [held]
            if any(codec.equal(attribute, one, value) for one in candidates):
                found[str(entry["id"])] = entry
            elif held is not None and str(held).casefold() != value.casefold() and "[" not in attribute:
                raise SchemaMismatchError(
                    f"Queried for {codec.kind}s by {attribute}, the service returned others: it ignores filters, so "
                    "existing "
                    "accounts cannot be looked up. Match against a complete read of the target instead."
                )
        return found


@contextmanager
def bad_paths_as_settings() -> Iterator[None]:
    """Say of a path that cannot be parsed that the job file is wrong. Raises: SettingsError."""
    try:
        yield
    except PathError as error:
        raise SettingsError(str(error)) from error
