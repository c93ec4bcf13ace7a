"""Accounts and groups in real directories, written by the connector and read back by ldapsearch."""

import base64

import pytest

from connectors.contract import ACTIVE, Action, Kind, Status
from connectors.errors import ErrorCode, SettingsError
from tests.connectors.ldap.places import WANTED, Place, apply, change

NOBODY = "6f9619ff-8b86-d011-b42d-00cf4fc964ff"


def the_one(place: Place, condition: str, *attributes: str) -> tuple[str, dict[str, list[str]]]:
    """The only entry of a condition."""
    ((dn, entry),) = place.directory.search(place.unit, condition, attributes or ("*",)).items()
    return dn, entry


def test_people_live_move_and_leave(place: Place) -> None:
    """Create, change, clear, rename, move, switch off into the leavers' unit, back again, delete: by the same key."""
    target = place.target()
    (made,) = apply(target, change(Action.CREATE, attributes=place.person(1, description="new")))
    assert made.status is Status.DONE
    dn, entry = the_one(place, "(employeeNumber=1)", "*", place.key)
    assert (entry["sn"], entry["description"]) == (["O'Brien 1"], ["new"])
    assert dn.lower().endswith(place.people.lower())

    (boss,) = apply(target, change(Action.CREATE, attributes=place.person(2)))
    key = made.target_id
    changed = {"sn": "Ünsal", "description": None, "manager": boss.target_id}
    assert apply(target, change(Action.UPDATE, key, attributes=changed))[0].status is Status.DONE
    boss_dn, _ = the_one(place, "(employeeNumber=2)")
    _, entry = the_one(place, "(employeeNumber=1)")
    assert entry["sn"] == ["Ünsal"]
    assert "description" not in entry
    assert [one.casefold() for one in entry["manager"]] == [boss_dn.casefold()]

    name = "cn" if place.is_ad else "uid"
    moved = {name: "Anders, x", "parentDistinguishedName": f"OU=other,{place.unit}"}
    assert apply(target, change(Action.UPDATE, key, attributes=moved))[0].status is Status.DONE
    dn, entry = the_one(place, "(employeeNumber=1)")
    assert entry[name] == ["Anders, x"]
    assert f"ou=other,{place.unit}".lower() in dn.lower()

    assert apply(target, change(Action.DISABLE, key, attributes={ACTIVE: False}))[0].status is Status.DONE
    dn, _ = the_one(place, "(employeeNumber=1)")
    assert "ou=leavers," in dn.lower()
    frame = target.fetch(Kind.USER, [key or ""], WANTED).users
    assert frame[ACTIVE].tolist() == [False]
    assert frame["sn"].tolist() == ["Ünsal"]
    again = apply(target, change(Action.DISABLE, key, attributes={ACTIVE: False}))
    assert again[0].status is Status.DONE

    assert apply(target, change(Action.ENABLE, key, attributes={ACTIVE: True}))[0].status is Status.DONE
    dn, _ = the_one(place, "(employeeNumber=1)")
    assert place.people.lower() in dn.lower()
    assert target.fetch(Kind.USER, [key or ""], WANTED).users[ACTIVE].tolist() == [True]

    assert apply(target, change(Action.DELETE, key), change(Action.DELETE, NOBODY))[0].status is Status.DONE
    assert place.directory.search(place.unit, "(employeeNumber=1)") == {}


def test_refusals_are_sentences_about_one_entry(place: Place) -> None:
    """A taken name, a container that is not there, one outside the bases: each is refused, the others go on."""
    target = place.target()
    taken, good, nowhere, outside = (
        place.person(1),
        place.person(2),
        place.person(3, parentDistinguishedName=f"OU=nope,{place.unit}"),
        place.person(4, parentDistinguishedName=place.directory.base),
    )
    assert apply(target, change(Action.CREATE, attributes=taken))[0].status is Status.DONE
    outcomes = apply(target, *(change(Action.CREATE, attributes=one) for one in (taken, good, nowhere, outside)))
    assert [one.status for one in outcomes] == [Status.REJECTED, Status.DONE, Status.REJECTED, Status.REJECTED]
    assert outcomes[0].code is ErrorCode.CONFLICT
    if not place.is_ad:
        assert list(outcomes[0].refused) == ["uid"]
    assert "result 68" in outcomes[0].message
    assert "container" in outcomes[2].message
    assert outcomes[3].code is ErrorCode.NOT_PERMITTED
    assert "does not lie below" in outcomes[3].message
    assert len(place.directory.search(place.people, "(employeeNumber=*)")) == 2


def test_nothing_is_deleted_as_a_tree(place: Place) -> None:
    """An entry with entries below it stays, and so do they."""
    target = place.target()
    (made,) = apply(target, change(Action.CREATE, attributes=place.person(1)))
    dn, _ = the_one(place, "(employeeNumber=1)")
    child = {"objectClass": "device"} if not place.is_ad else {"objectClass": "classStore"}
    place.directory.add({f"CN=phone,{dn}": child})
    (refused,) = apply(target, change(Action.DELETE, made.target_id))
    assert refused.status is Status.REJECTED
    assert "below it" in refused.message
    assert len(place.directory.search(dn, "(objectClass=*)")) == 2


def test_members_join_and_leave(place: Place) -> None:
    """Members who are there already and one who is nobody do not keep the others out; the last one may leave."""
    target = place.target()
    people = [
        one.target_id or ""
        for one in apply(target, *(change(Action.CREATE, attributes=place.person(number)) for number in range(8)))
    ]
    attributes = {"cn": "Crew (a, b)"} | ({"sAMAccountName": f"crew-{place.tag}"} if place.is_ad else {})
    (group,) = apply(target, change(Action.CREATE, kind=Kind.GROUP, attributes=attributes))
    key = group.target_id

    def members() -> int:
        _, entry = the_one(place, "(cn=Crew \\28a, b\\29)", "member")
        return len([one for one in entry.get("member", []) if one])

    join = change(Action.ADD_MEMBERS, key, kind=Kind.GROUP, members=tuple(people[:3]))
    assert apply(target, join)[0].status is Status.DONE
    mixed = change(Action.ADD_MEMBERS, key, kind=Kind.GROUP, members=(*people[1:7], NOBODY))
    (outcome,) = apply(target, mixed)
    assert outcome.status is Status.PARTLY
    assert set(outcome.refused) == {NOBODY}
    assert members() == 7
    snapshot = target.read(WANTED)
    assert {(one.group, one.member) for one in snapshot.members.itertuples()} == {(key, one) for one in people[:7]}

    leave = change(Action.REMOVE_MEMBERS, key, kind=Kind.GROUP, members=(*people[:2], people[7]))
    assert apply(target, leave)[0].status is Status.DONE
    assert members() == 5
    all_of_them = change(Action.REMOVE_MEMBERS, key, kind=Kind.GROUP, members=tuple(people[2:7]))
    assert apply(target, all_of_them)[0].status is Status.DONE
    assert members() == 0
    assert target.read(WANTED).members.empty


def test_values_come_and_go_one_by_one(place: Place) -> None:
    """Of an attribute with several values only those are sent that change: what others added meanwhile stays."""
    target = place.target()
    name = "otherTelephone" if place.is_ad else "homePostalAddress"
    (made,) = apply(target, change(Action.CREATE, attributes=place.person(1, **{name: ["one", "two"]})))
    dn, _ = the_one(place, "(employeeNumber=1)")
    place.directory.modify(dn, **{name: ["one", "two", "theirs"]})
    update = change(Action.UPDATE, made.target_id, attributes={name: ["two", "three"]}, before={name: ["one", "two"]})
    assert apply(target, update)[0].status is Status.DONE
    _, entry = the_one(place, "(employeeNumber=1)")
    assert sorted(entry[name]) == ["theirs", "three", "two"]


def test_an_account_is_switched_by_one_bit(in_samba: Place) -> None:
    """Switching off and on leaves every other bit of userAccountControl as it is."""
    target = in_samba.target()
    (made,) = apply(target, change(Action.CREATE, attributes=in_samba.person(1)))
    dn, entry = the_one(in_samba, "(employeeNumber=1)")
    assert entry["userAccountControl"] == ["512"]
    assert entry["pwdLastSet"] == ["0"]
    kept = 0x200 | 0x10000 | 0x40000
    in_samba.directory.modify(dn, userAccountControl=str(kept))
    apply(target, change(Action.DISABLE, made.target_id, attributes={ACTIVE: False}))
    _, entry = the_one(in_samba, "(employeeNumber=1)")
    assert entry["userAccountControl"] == [str(kept | 2)]
    apply(target, change(Action.ENABLE, made.target_id, attributes={ACTIVE: True}))
    _, entry = the_one(in_samba, "(employeeNumber=1)")
    assert entry["userAccountControl"] == [str(kept)]


def test_nobody_signs_in_with_a_new_account(in_samba: Place) -> None:
    """The random password fits the policy and is in no outcome; one that an administrator sets works."""
    target = in_samba.target()
    (made,) = apply(target, change(Action.CREATE, attributes=in_samba.person(1)))
    dn, _ = the_one(in_samba, "(employeeNumber=1)")
    assert in_samba.directory.bind_status(dn, "guess") == 49
    chosen = base64.b64encode('"N3w-Secret.of-theirs"'.encode("utf-16-le")).decode()
    in_samba.directory.modify(dn, unicodePwd=f"base64:{chosen}", pwdLastSet="-1")
    assert in_samba.directory.bind_status(dn, "N3w-Secret.of-theirs") == 0
    apply(target, change(Action.DISABLE, made.target_id, attributes={ACTIVE: False}))
    dn, _ = the_one(in_samba, "(employeeNumber=1)")
    assert in_samba.directory.bind_status(dn, "N3w-Secret.of-theirs") == 49


@pytest.mark.parametrize("action", [Action.DISABLE, Action.UPDATE, Action.DELETE])
def test_protected_accounts_are_never_written(in_samba: Place, action: Action) -> None:
    """Administrators, by their well-known number or by adminCount, stay as they are, whatever a plan says."""
    base = in_samba.directory.base
    target = in_samba.target(users={"base": [base]})
    in_samba.put(1, adminCount="1")
    keys = target.find(Kind.USER, "cn", ["p0", "Administrator", "krbtgt", "Guest"], WANTED)
    protected = [str(key) for key in keys.index[keys["cn"].isin(["p0", "Administrator", "krbtgt"])]]
    assert len(protected) == 3
    attributes = (
        {ACTIVE: False} if action is Action.DISABLE else {"description": "x"} if action is Action.UPDATE else {}
    )
    before = in_samba.directory.search(base, "(adminCount=1)", ["userAccountControl", "description"])
    outcomes = apply(target, *(change(action, key, attributes=attributes) for key in protected))
    assert {one.status for one in outcomes} == {Status.REJECTED}
    assert {one.code for one in outcomes} == {ErrorCode.NOT_PERMITTED}
    assert in_samba.directory.search(base, "(adminCount=1)", ["userAccountControl", "description"]) == before
    assert target.traits().signed_in in protected


def test_groups_that_run_the_domain_get_no_members(in_samba: Place) -> None:
    """Nobody becomes a domain administrator by a mapping."""
    base = in_samba.directory.base
    target = in_samba.target(groups={"base": base})
    (made,) = apply(target, change(Action.CREATE, attributes=in_samba.person(1)))
    key = str(target.find(Kind.GROUP, "cn", ["Domain Admins"], WANTED).index[0])
    join = change(Action.ADD_MEMBERS, key, kind=Kind.GROUP, members=(made.target_id or "",))
    (refused,) = apply(target, join)
    assert refused.status is Status.REJECTED
    assert "rights over the domain" in refused.message
    (admins,) = in_samba.directory.search(base, "(cn=Domain Admins)", ["member"]).values()
    assert len(admins["member"]) == 1


def test_an_entry_made_anew_under_the_same_name_stays(place: Place) -> None:
    """Somebody deletes and makes an entry again between plan and apply: it is another one, and is not touched."""
    target = place.target()
    (made,) = apply(target, change(Action.CREATE, attributes=place.person(1)))
    dn, entry = the_one(place, "(employeeNumber=1)")
    place.directory.delete(dn)
    again = {name: entry[name] for name in ("objectClass", "cn", "sn", "employeeNumber")}
    again |= {"sAMAccountName": entry["sAMAccountName"]} if place.is_ad else {"uid": entry["uid"]}
    again["objectClass"] = [place.person_class]
    again.pop("cn", None) if place.is_ad else None
    place.directory.add({dn: again})
    outcomes = apply(
        target, change(Action.UPDATE, made.target_id, attributes={"sn": "x"}), change(Action.DELETE, made.target_id)
    )
    assert outcomes[0].status is Status.REJECTED
    _, there = the_one(place, "(employeeNumber=1)")
    assert there["sn"] == entry["sn"]


def test_a_password_policy_that_is_longer_is_told_before_the_run(in_samba: Place) -> None:
    """A domain whose passwords are longer than the job's refuses every account, so check says it."""
    base = in_samba.directory.base
    in_samba.directory.modify(base, minPwdLength="20")
    try:
        users = {"base": [in_samba.unit], "create": {"container": in_samba.people}, "password": {"length": 16}}
        with pytest.raises(SettingsError, match="passwords of 20 characters"):
            in_samba.target(users=users).check()
    finally:
        in_samba.directory.modify(base, minPwdLength="7")
