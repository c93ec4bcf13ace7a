"""What can only be found out by writing, on one user and one group that are made for it and deleted again."""

import uuid
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from connectors.contract import Kind
from connectors.http import Answer, Call
from connectors.scim.bulk import BULK, bulk_message
from connectors.scim.codec import Codec
from connectors.scim.columns import member_ids
from connectors.scim.errors import problem_of
from connectors.scim.forms import (
    LADDER,
    MEMBER_LADDER,
    PUTS,
    READING,
    add_members,
    bare_member,
    merged,
    operations,
    remove_members,
    to_put,
)
from connectors.scim.habits import Deed
from connectors.scim.paths import Resource
from connectors.scim.probing.asking import DONE, SILENT, Asker, Notes, body_of, said, succeeded
from connectors.scim.probing.reading import ask_about_external_ids
from connectors.scim.profile import MemberForm, MemberValue, PatchForm, Truth
from connectors.scim.requests import dump, entry_address, patch
from connectors.scim.schema import ENDPOINTS, ENTERPRISE

NAME = "provisor-probe"
"""What the names of everything that a probe makes begin with."""
DEPARTMENT = f"{ENTERPRISE}:department"
LAG_LOOKS = 5

SHAPES: tuple[tuple[str, str, str], ...] = (
    ("a plain attribute", "title", "Probe {n}"),
    ("a part of an attribute", "name.familyName", "Probe {n}"),
    ("an element of a list", 'emails[type eq "work"].value', "provisor-probe-{n}@example.com"),
    ("one more element", 'phoneNumbers[type eq "{kind}"].value', "+49 30 12345{n}"),
    ("an attribute of the extension", DEPARTMENT, "Probe {n}"),
    ("active", "active", ""),
    ("clearing", "title", ""),
)
"""What is changed, attribute, and value."""
KINDS = ("work", "home", "mobile", "fax", "pager", "other")


class Guest:
    """The user and the group of a probe; knows what it has made, so that it can be taken away."""

    def __init__(self, asker: Asker, notes: Notes) -> None:
        self.asker = asker
        self.notes = notes
        self.tag = uuid.uuid4().hex[:12]
        self.made: dict[tuple[Kind, str], str] = {}
        """Kind and id to the name of what was made and not yet deleted."""
        self.kept: list[str] = []
        """Sentences about what was deleted and is still there."""
        self._lost: list[str] = []
        """Attributes that the test user was created with and does not show."""
        self._adding = MemberForm.PATHS
        """How members can be added, as far as it is known."""
        self.begun: list[tuple[Kind, str]] = []
        """Kind and name of everything whose creation was sent, answered or not."""

    @property
    def user_name(self) -> str:
        return f"{NAME}-{self.tag}@example.com"

    @property
    def group_name(self) -> str:
        return f"{NAME}-{self.tag} (test group, may be deleted)"

    async def codec(self, kind: Kind) -> Codec:
        """How entries of a kind are read and written. Raises: FatalError."""
        return (await self.asker.service.codecs())[kind]

    # -- coming and going ----------------------------------------------------------------------------------------

    async def create(
        self, kind: Kind, attributes: Mapping[str, Any], *, truth: Truth = Truth.BOOLEAN
    ) -> tuple[str | None, Any]:
        """The new entry's id, None where there is none, and the answer. Raises: FatalError."""
        codec = await self.codec(kind)
        entry = codec.entry(attributes)
        if truth is Truth.TEXT and "active" in entry:
            entry["active"] = str(entry["active"])
        name = str(attributes.get("userName") or attributes.get("displayName"))
        self.begun.append((kind, name))
        answer = await self.asker.send("POST", ENDPOINTS[kind], body=dump(entry))
        entry_id = body_of(answer).get("id") if succeeded(answer) else None
        if entry_id:
            self.made[kind, str(entry_id)] = name
        return (str(entry_id) if entry_id else None), answer

    async def leave(self) -> list[str]:
        """Deletes what was made; gives sentences about what may still be there. Raises: FatalError."""
        for kind, name in self.begun:
            attribute = "userName" if kind is Kind.USER else "displayName"
            page = await self.asker.page(ENDPOINTS[kind], filter=f'{attribute} eq "{name}"')
            for entry in [] if isinstance(page, str) else page.entries:
                if isinstance(entry, dict) and entry.get(attribute) == name and entry.get("id"):
                    self.made.setdefault((kind, str(entry["id"])), name)
        for kind, entry_id in sorted(self.made, reverse=False):
            answer = await self.asker.send("DELETE", entry_address(ENDPOINTS[kind], entry_id))
            gone = succeeded(answer) or (not isinstance(answer, str) and answer.status in {404, 410})
            if gone:
                del self.made[kind, entry_id]
        return self.kept + [
            f"The test {kind} {name} (id {entry_id}) could not be deleted. Delete it yourself."
            for (kind, entry_id), name in self.made.items()
        ]

    # -- users ---------------------------------------------------------------------------------------------------

    async def ask_about_users(self) -> str | None:
        """Creates a user; gives its id, None where that is not to be had. Raises: FatalError."""
        attributes: dict[str, Any] = {
            "userName": self.user_name,
            "externalId": f"{NAME}-{self.tag}",
            "active": True,
            "displayName": "Provisor Probe (test user, may be deleted)",
            "name.givenName": "Provisor",
            "name.familyName": "Probe",
            'emails[type eq "work"].value': self.user_name,
            "title": "Probe",
        }
        codec = await self.codec(Kind.USER)
        entry_id, answer = await self.create(Kind.USER, attributes)
        if entry_id is None:
            self.notes.note("users", "create, active as a boolean", _reason(answer))
            entry_id, answer = await self.create(Kind.USER, attributes, truth=Truth.TEXT)
            self.notes.note("users", "create, active as text", _reason(answer))
            if entry_id is None:
                return None
            self.notes.settings["active"] = Truth.TEXT
        else:
            self.notes.note("users", "create", said(answer))
        entry = await self.asker.entry(entry_address("/Users", entry_id)) or {}
        self._lost = codec.differing(entry, attributes)
        self.notes.note("users", "not kept by a create", ", ".join(self._lost) or "nothing: all is kept")
        self.notes.note("users", "what an id looks like", _form_of_id(entry_id, self.user_name))
        await self._ask_about_lag(entry_id)
        filters = self.notes.settings.get("filters", {}).get("supported", True)
        if filters and self.notes.said("filters", "externalId eq") is None:
            await ask_about_external_ids(self.asker, self.notes, [entry])
        await self._ask_about_twins(attributes)
        return entry_id

    async def _ask_about_lag(self, entry_id: str) -> None:
        for look in range(LAG_LOOKS):
            page = await self.asker.page("/Users", filter=f'userName eq "{self.user_name}"')
            if isinstance(page, str):
                return
            if entry_id in page.ids:
                self.notes.note("users", "found by a filter after", "at once" if not look else f"{look} s")
                return
            await self.asker.service.clock.sleep(1.0)
        self.notes.note("users", "found by a filter after", f"more than {LAG_LOOKS} s")

    async def _ask_about_twins(self, attributes: Mapping[str, Any]) -> None:
        for question, name in (
            ("the same userName again", self.user_name),
            ("the same in another case", self.user_name.upper()),
        ):
            twin = {**attributes, "userName": name, "externalId": f"{NAME}-{self.tag}-2"}
            truth = self.notes.settings.get("active", Truth.BOOLEAN)
            other, answer = await self.create(Kind.USER, twin, truth=truth)
            typed = not isinstance(answer, str) and problem_of(answer).type
            refused = said(answer) if typed else f"{said(answer)}, no scimType"
            if other is None and not isinstance(answer, str) and answer.status == HTTPStatus.CONFLICT:
                self.notes.settings.setdefault("doubles", False)
            self.notes.note("users", question, "created: there are two" if other else refused)
            if other is not None:
                self.notes.settings["doubles"] = True
                address = entry_address("/Users", other)
                if succeeded(await self.asker.send("DELETE", address)):
                    looked = await self.asker.send("GET", address)
                    self._note_deleted(other, still_there=succeeded(looked))

    def _note_deleted(self, user_id: str, *, still_there: bool) -> None:
        """A test user was deleted; some services keep whom they delete, and people want to know of it."""
        name = self.made.pop((Kind.USER, user_id), self.user_name)
        self.begun = [one for one in self.begun if one != (Kind.USER, name)]
        if still_there:
            self.kept.append(
                f"The test user {name} (id {user_id}) was deleted, and the service keeps it all the same. Have it "
                "removed there for good if that can be done."
            )

    async def ask_about_changes(self, user_id: str) -> None:
        """Every form of a change on every shape of attribute. Raises: FatalError."""
        results: dict[PatchForm, dict[str, str]] = {}
        number = 0
        for form in LADDER:
            for shape, path, value in SHAPES:
                number += 1
                if form in {PatchForm.BLANK, PatchForm.PUT_NULLS} and shape != "clearing":
                    continue
                attribute = path.replace("{kind}", KINDS[LADDER.index(form) % len(KINDS)])
                outcome = await self._change(user_id, form, shape, attribute, value.replace("{n}", str(number)))
                if outcome is not None:
                    results.setdefault(form, {})[shape] = outcome
        for form, outcomes in results.items():
            for shape, outcome in outcomes.items():
                self.notes.note("changes", shape, outcome, form=form)
        best = _best(results)
        if best is not PatchForm.PATHS:
            self.notes.settings["patch"] = best
        forgotten = [path for shape, path, _ in SHAPES if shape in _FORGETTABLE and _never_done(results, shape)]
        forgotten += [path for path in self._lost if await self._never_takes(user_id, path, best, results)]
        if forgotten:
            self.notes.settings["not_kept"] = {"users": list(dict.fromkeys(forgotten))}

    async def _never_takes(
        self, user_id: str, path: str, best: PatchForm, results: Mapping[PatchForm, Mapping[str, str]]
    ) -> bool:
        """True where an attribute that a create has lost is not set by a change either, in the form that does most."""
        shape = next((shape for shape, one, _ in SHAPES if one == path and shape != "clearing"), None)
        if shape is not None:
            return _never_done(results, shape)
        outcome = await self._change(user_id, best, "lost by a create", path, "Probe")
        self.notes.note("changes", f"{path}, which a create has lost", outcome or "cannot be told", form=best)
        return outcome == SILENT

    async def _change(self, user_id: str, form: PatchForm, shape: str, path: str, value: str) -> str | None:
        codec, address = await self.codec(Kind.USER), entry_address("/Users", user_id)
        answer = await self.asker.send("GET", address)
        entry = body_of(answer)
        if not succeeded(answer) or not entry:
            return None
        wanted: Any = value
        if shape == "active":
            wanted = not codec.equal("active", entry.get("active"), True)
        elif shape == "clearing":
            wanted = None
            if not codec.values(entry, [path])[path]:
                return None  # nothing there that could be cleared
        change = {path: wanted}
        method, body = await self._request(form, entry, change)
        answer = await self.asker.send(method, address, body=body)
        if not succeeded(answer):
            return said(answer)
        return await self._seen(codec, address, entry, change)

    async def _request(self, form: PatchForm, entry: Resource, change: Mapping[str, Any]) -> tuple[str, bytes]:
        """Method and body of a change in one form."""
        codec, truth = await self.codec(Kind.USER), Truth(self.notes.settings.get("active", Truth.BOOLEAN))
        if form in PUTS:
            return "PUT", dump(to_put(form, codec, merged(codec, entry, change, truth=truth), change))
        found = operations(
            form,
            codec,
            change,
            codec.values(entry, change),
            entry=entry if form in READING else None,
            exists=lambda _: False,
            truth=truth,
        )
        return "PATCH", patch(found)

    async def ask_about_bulk(self, user_id: str) -> None:
        """Whether a bulk request is done, in the form of a change that works alone. Raises: FatalError."""
        address, change = entry_address("/Users", user_id), {"title": "Probe, in bulk"}
        entry = await self.asker.entry(address) or {}
        form = PatchForm(self.notes.settings.get("patch", PatchForm.PATHS))
        method, body = await self._request(form, entry, change)
        answer = await self.asker.send("POST", BULK, body=bulk_message([Call(method, address, "", body=body)]))
        codec = await self.codec(Kind.USER)
        outcome = await self._seen(codec, address, entry, change) if succeeded(answer) else said(answer)
        self.notes.note("bulk", "a change in a bulk request", outcome)
        if outcome != DONE and self.notes.said("discovery", "says it supports bulk") == "yes":
            self.notes.settings["bulk"] = 0

    async def _seen(self, codec: Codec, address: str, before: Resource, change: Mapping[str, Any]) -> str:
        entry = await self.asker.entry(address) or {}
        if codec.differing(entry, change):
            return SILENT
        path = codec.slot(next(iter(change))).path
        if path.clauses:
            had, has = (codec.slot(path.container).read([one])[0] or [] for one in (before, entry))
            if len(has) < len(had):
                return "done, but other elements are lost"
        return DONE

    async def ask_about_versions(self, user_id: str) -> None:
        """ETags, and whether a wrong one is refused. Raises: FatalError."""
        address = entry_address("/Users", user_id)
        answer = await self.asker.send("GET", address)
        etag = None if isinstance(answer, str) else answer.headers.get("etag")
        self.notes.note("versions", "ETag", "sent" if etag else "none")
        if etag:
            codec = await self.codec(Kind.USER)
            body = dump(to_put(PatchForm.PUT, codec, body_of(answer), ()))
            for question, version in (("wrong", 'W/"provisor-probe"'), ("right", etag)):
                sent = await self.asker.send("PUT", address, body=body, headers={"If-Match": version})
                self.notes.note("versions", f"PUT with If-Match and the {question} version", said(sent))
                if version == etag and not isinstance(sent, str) and sent.status == 412:
                    self.notes.settings["etag"] = False

    # -- groups --------------------------------------------------------------------------------------------------

    async def ask_about_groups(self, user_id: str) -> None:
        """Every form of adding and removing a member. Raises: FatalError."""
        group_id, answer = await self.create(Kind.GROUP, {"displayName": self.group_name})
        self.notes.note("groups", "create", said(answer))
        if group_id is None:
            return
        address = entry_address("/Groups", group_id)
        for deed in (Deed.ADD, Deed.REMOVE):
            works: list[MemberForm] = []
            for form in MEMBER_LADDER:
                if not await self._prepare(address, user_id, deed, works):
                    break
                outcome = await self._change_member(address, user_id, deed, form)
                self.notes.note("groups", f"{deed} members", outcome, form=form)
                if outcome == DONE:
                    works.append(form)
            if works and deed is Deed.ADD:
                self._adding = works[0]
            if works and works[0] is not MemberForm.PATHS:
                self.notes.settings["add_members" if deed is Deed.ADD else "remove_members"] = works[0]

    async def _prepare(self, address: str, user_id: str, deed: Deed, works: list[MemberForm]) -> bool:
        """Puts the user into the group, or out of it, so that the deed can be tried; False where that fails."""
        group = await self.asker.entry(address) or {}
        if self._is_in(group, user_id) is (deed is Deed.REMOVE):
            return True
        opposite = Deed.REMOVE if deed is Deed.ADD else Deed.ADD
        for form in MEMBER_LADDER if opposite is Deed.REMOVE else (self._adding,):
            if await self._change_member(address, user_id, opposite, form) == DONE:
                return True
        return False

    async def _change_member(self, address: str, user_id: str, deed: Deed, form: MemberForm) -> str:
        group = await self.asker.entry(address) or {}
        held = member_ids(group)
        if form is MemberForm.PUT:
            wanted = [*held, user_id] if deed is Deed.ADD else [one for one in held if one != user_id]
            whole = to_put(PatchForm.PUT, await self.codec(Kind.GROUP), group, ())
            body = dump(whole | {"members": [self._member(one) for one in wanted]})
            answer = await self.asker.send("PUT", address, body=body)
        else:
            build = add_members if deed is Deed.ADD else remove_members
            answer = await self.asker.send("PATCH", address, body=patch(build(form, [user_id], held, self._member)))
        if not succeeded(answer):
            if deed is Deed.ADD and "member_value" not in self.notes.settings:
                return await self._with_address(address, user_id, form, said(answer))
            return said(answer)
        there = self._is_in(await self.asker.entry(address) or {}, user_id)
        return DONE if there is (deed is Deed.ADD) else SILENT

    async def _with_address(self, address: str, user_id: str, form: MemberForm, refused: str) -> str:
        """The same with ``$ref`` beside the id, which some services demand; the refusal where that helps no more."""
        self.notes.settings["member_value"] = MemberValue.REF
        outcome = await self._change_member(address, user_id, Deed.ADD, form)
        if outcome == DONE:
            self.notes.note("groups", "what stands for a member", "its id, with $ref beside it")
            return outcome
        del self.notes.settings["member_value"]
        return refused

    def _member(self, value: str) -> Resource:
        if self.notes.settings.get("member_value") is not MemberValue.REF:
            return bare_member(value)
        users = self.asker.service.session.address + entry_address(ENDPOINTS[Kind.USER], value)
        return {"value": value, "$ref": users}

    def _is_in(self, group: Resource, user_id: str) -> bool:
        """Whether the test user is among the members, by id or by name."""
        held = member_ids(group)
        if user_id in held or self.user_name.lower() not in (one.lower() for one in held):
            return user_id in held
        if "member_value" not in self.notes.settings:
            self.notes.settings["member_value"] = MemberValue.USER_NAME
            self.notes.note("groups", "what stands for a member", "the userName")
        return True

    # -- the end -------------------------------------------------------------------------------------------------

    async def ask_about_deletion(self, user_id: str) -> None:
        """Deletes the user, twice. Raises: FatalError."""
        address = entry_address("/Users", user_id)
        answer = await self.asker.send("DELETE", address)
        self.notes.note("users", "delete", said(answer))
        if not succeeded(answer):
            self.notes.settings["delete"] = False
            return
        looked = await self.asker.send("GET", address)
        self.notes.note("users", "read after it was deleted", said(looked))
        if succeeded(looked):
            self.notes.settings["soft_delete"] = True
        self._note_deleted(user_id, still_there=succeeded(looked))
        self.notes.note("users", "delete again", said(await self.asker.send("DELETE", address)))


def _reason(answer: Answer | str) -> str:
    """A refusal in the service's own words: what it is about was made up for the probe."""
    detail = "" if isinstance(answer, str) or succeeded(answer) else problem_of(answer).detail
    return f"{said(answer)}, {detail}" if detail else said(answer)


_FORGETTABLE = {"a plain attribute", "an attribute of the extension"}


def _never_done(results: Mapping[PatchForm, Mapping[str, str]], shape: str) -> bool:
    """True where a shape was answered with yes at least once and was never done."""
    outcomes = [found[shape] for found in results.values() if shape in found]
    return SILENT in outcomes and DONE not in outcomes


def _best(results: Mapping[PatchForm, Mapping[str, str]]) -> PatchForm:
    """The form that does most; of several the one nearest to the standard."""
    forms = [form for form in LADDER if form not in {PatchForm.BLANK, PatchForm.PUT_NULLS} and form in results]
    return max(
        forms, key=lambda form: sum(outcome == DONE for outcome in results[form].values()), default=PatchForm.PATHS
    )


def _form_of_id(entry_id: str, user_name: str) -> str:
    if entry_id == user_name:
        return "the userName itself"
    if entry_id.isdigit():
        return "a number"
    try:
        uuid.UUID(entry_id)
    except ValueError:
        return "other text"
    return "a UUID"
