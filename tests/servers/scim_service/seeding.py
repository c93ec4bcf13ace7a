"""Filling the service quickly: given resources, or as many made-up people and groups as wanted."""

import gc
import random
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import orjson

from tests.servers.scim_service.application import Application
from tests.servers.scim_service.attributes import ENTERPRISE, GROUP, USER
from tests.servers.scim_service.resources import clean
from tests.servers.scim_service.store import Shelf

_GIVEN = ("Ada", "Björn", "Chiara", "Dmitri", "Élodie", "Farid", "Grace", "Hiroshi", "Ingrid", "José")
_FAMILY = ("Ångström", "Brown", "Çelik", "Díaz", "Eriksen", "Fischer", "García", "Haddad", "O'Brien", "Nguyễn")
_DEPARTMENTS = ("Sales", "Engineering", "Finance", "Legal", "Support", "Research")


def put(application: Application, kind: str, resources: Sequence[Mapping[str, Any]]) -> list[str]:
    """Put resources in as they are given, under their own ids where they have one; gives the ids.

    What a resource must have (schemas) is added. No rule about uniqueness applies: a test may want twins.
    """
    shelf = application.store.shelf(kind)
    ids = []
    for resource in resources:
        given = {"schemas": [shelf.kind.schema], **resource}
        cleaned = clean(given, shelf.kind, application.quirks)
        members = [member["value"] for member in cleaned.pop("members", ())]
        ids.append(application.put_in(shelf, cleaned, members, id=given.get("id")).id)
    return ids


def replace(application: Application, kind: str, id: str, resource: Mapping[str, Any]) -> None:
    """Give a resource other content behind everybody's back, as somebody else with access would."""
    shelf = application.store.shelf(kind)
    entry = shelf.entries[id]
    given = {"schemas": [shelf.kind.schema], **resource}
    application.overwrite(shelf, entry, clean(given, shelf.kind, application.quirks))


def make_users(application: Application, count: int, *, first: int = 1) -> None:
    """Make up users: `user0000001@example.com` and so on, with the attributes that people have.

    They are written as JSON straight away; a million take a few seconds.
    """
    shelf = application.store.users
    base = application.url
    chance = random.Random(first)
    schemas = orjson.dumps([USER, ENTERPRISE]).decode()
    created = "2026-01-01T00:00:00.000Z"
    simple = set(shelf.indexes) == {"username", "externalid"}
    with _no_collection():
        for number in range(first, first + count):
            given, family = _GIVEN[number % 10], _FAMILY[number // 10 % 10]
            id = f"{chance.getrandbits(96):024x}"
            name, external = f"user{number:07d}@example.com", f"E{number:07d}"
            body = (
                f'{{"schemas":{schemas},"id":"{id}","externalId":"{external}","userName":"{name}",'
                f'"name":{{"givenName":"{given}","familyName":"{family}"}},"displayName":"{given} {family}",'
                f'"title":"Employee","active":true,"preferredLanguage":"en",'
                f'"emails":[{{"value":"{name}","type":"work","primary":true}}],'
                f'"phoneNumbers":[{{"value":"+49 30 {number:07d}","type":"work"}}],'
                f'"{ENTERPRISE}":{{"employeeNumber":"{number:07d}","department":"{_DEPARTMENTS[number % 6]}"}},'
                f'"meta":{{"resourceType":"User","created":"{created}","lastModified":"{created}",'
                f'"location":"{base}/Users/{id}","version":"W/\\"1\\""}}}}'
            ).encode()
            if simple:
                entry = shelf.append(id, body, None)
                shelf.indexes["username"].add(name, entry)
                shelf.indexes["externalid"].add(external, entry)
            else:
                shelf.add(id, orjson.loads(body), body, members=None)


@contextmanager
def _no_collection() -> Iterator[None]:
    """Nothing made here is garbage, and looking for some among a million new objects takes longer than making them."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def make_groups(application: Application, count: int, *, members: int = 0, first: int = 1) -> None:
    """Make up groups: `Group 0001` and so on, each with so many of the users as members, taken in turn."""
    shelf = application.store.groups
    users = list(application.store.users.entries)
    for number in range(first, first + count):
        start = (number - 1) * members
        chosen = [users[(start + offset) % len(users)] for offset in range(min(members, len(users)))]
        resource = {"schemas": [GROUP], "displayName": f"Group {number:04d}", "externalId": f"G{number:04d}"}
        application.put_in(shelf, resource, chosen)


def remove(application: Application, shelf: Shelf, id: str) -> None:
    """Take a resource out behind everybody's back. Raises: KeyError."""
    application.store.forget(shelf, shelf.entries[id])
