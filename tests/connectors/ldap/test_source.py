"""Directories as sources: everybody, once, and never fewer without saying so."""

import os
from pathlib import Path

import pytest

from connectors.contract import ACTIVE, STATE, Snapshot, Source, Wanted
from connectors.errors import CredentialsError, FatalError, SettingsError, UnreachableError
from tasks.snapshots import merge_delta
from tests.connectors.ldap.places import WANTED, Place
from tests.servers.directories.proxy import Request, windows


def whole(source: Source, wanted: Wanted = WANTED) -> Snapshot:
    """A read that proves who is there."""
    snapshot = source.read(wanted)
    assert snapshot.incomplete == ()
    assert snapshot.unreadable == ()
    return snapshot


def as_plain(snapshot: Snapshot) -> tuple[object, ...]:
    """What two reads are compared by: memberships of people who are there."""
    users, groups = snapshot.users.sort_index(), snapshot.groups.sort_index()
    there = snapshot.members["member"].isin([*users.index, *groups.index])
    edges = sorted(map(tuple, snapshot.members[there].to_numpy().tolist()))
    return users.fillna("").to_dict("index"), groups.fillna("").to_dict("index"), edges, sorted(snapshot.disabled)


def test_everybody_comes_once_over_many_pages(place: Place) -> None:
    """Pages, references and memberships, nested ones too, by keys that never change."""
    people = place.put(23)
    place.directory.modify(people[3], manager=people[20])
    inner = place.group("inner", people[5:9])
    place.group("outer", [*people[:4], inner])
    snapshot = whole(place.source(limits={"page": 10}))
    assert len(snapshot.users) == 23
    key_of = {name: str(key) for key, name in snapshot.users["cn"].items()}
    assert snapshot.users.loc[key_of["p3"], "manager"] == key_of["p20"]
    groups = {name: str(key) for key, name in snapshot.groups["cn"].items()}
    edges = set(map(tuple, snapshot.members.to_numpy().tolist()))
    assert edges == {(groups["inner"], key_of[f"p{number}"]) for number in range(5, 9)} | {
        (groups["outer"], key_of[f"p{number}"]) for number in range(4)
    } | {(groups["outer"], groups["inner"])}
    parents = {value.lower() for value in snapshot.users["parentDistinguishedName"]}
    assert parents == {place.people.lower()}


def test_a_read_of_changes_is_the_difference_of_two_whole_reads(place: Place) -> None:
    """Joiners, changes, people who are deleted or moved away, groups that gain and lose members: all seen, once."""
    people = place.put(12)
    crew = place.group("crew", people[:6])
    place.group("rest", people[6:])
    source = place.source()
    before = whole(source)

    nothing = source.read(WANTED, since=before.watermark)
    assert nothing.reread == ""
    assert nothing.requests <= 5 or place.directory.kind == "389"
    merged = merge_delta(before, nothing)
    assert merged is not None
    assert as_plain(merged) == as_plain(before)

    directory = place.directory
    directory.modify(people[1], sn="Anders", description="changed", manager=people[0])
    directory.delete(people[2])
    directory.modify(crew, member=[people[0], people[7]])
    directory.add({f"CN=new,{place.people}": _like(place, "newcomer")})
    place.group("later", [people[8]])
    directory.ldif(
        f"dn: {people[9]}\nchangetype: modrdn\nnewrdn: CN=p9\ndeleteoldrdn: 1\nnewsuperior: OU=other,{place.unit}\n"
    )
    delta = place.source().read(WANTED, since=nothing.watermark)  # the next cycle is a process that knows no names yet
    assert delta.reread == ""
    merged = merge_delta(merged, delta)
    assert merged is not None
    now = whole(source)
    assert as_plain(merged) == as_plain(now)
    assert len(now.users) == 11


def test_the_first_group_is_seen_as_a_change(place: Place) -> None:
    """A listing without entries has an end too, from which the next one goes on."""
    people = place.put(2)
    before = whole(place.source())
    place.group("first", people[:1])
    delta = place.source().read(WANTED, since=before.watermark)
    assert delta.reread == ""
    assert delta.groups["cn"].tolist() == ["first"]
    assert len(delta.members) == 1


def _like(place: Place, login: str) -> dict[str, str]:
    named = {"sAMAccountName": f"{login[:5]}-{place.tag}"} if place.is_ad else {"uid": login}
    return {"objectClass": place.person_class, "sn": login, **named}


def test_more_members_than_one_answer_holds(in_samba: Place) -> None:
    """A group is read range by range, until the server says that there are no more; small pages are no end either."""
    people = in_samba.put(40)
    in_samba.group("crew", people)
    with windows(in_samba.directory, page=9, range=7) as proxy:
        source = in_samba.source(url=proxy.url)
        snapshot = whole(source)
        source.close()
    assert len(snapshot.users) == 40
    assert sorted(snapshot.members["member"]) == sorted(snapshot.users.index)
    assert proxy.counts[Request.SEARCH] >= 5 + 5


def test_a_primary_group_is_a_membership(in_samba: Place) -> None:
    """Active Directory keeps it apart; without it the largest group of a domain would look empty."""
    in_samba.put(3)
    base = in_samba.directory.base
    source = in_samba.source(groups={"base": f"CN=Users,{base}"})
    snapshot = whole(source)
    users = str(snapshot.groups.index[snapshot.groups["cn"] == "Domain Users"][0])
    mine = set(snapshot.users.index)
    edges = snapshot.members
    assert mine <= set(edges.loc[edges["group"] == users, "member"])
    assert not mine & set(
        in_samba.source(groups={"base": f"CN=Users,{base}", "primary_group": False}).read(WANTED).members["member"]
    )


def test_states_are_told_apart(in_samba: Place) -> None:
    """Disabled, expired and active accounts; the first two count as switched off, and the word says which."""
    people = in_samba.put(3)
    in_samba.directory.modify(people[0], userAccountControl="546")
    in_samba.directory.modify(people[1], accountExpires="130000000000000000")
    snapshot = whole(in_samba.source())
    words = {
        name: (word, active) for name, word, active in snapshot.users[["cn", STATE, ACTIVE]].itertuples(index=False)
    }
    assert words == {"p0": ("disabled", False), "p1": ("expired", False), "p2": ("active", True)}
    assert len(snapshot.disabled) == 2


# Silence is the main danger


@pytest.mark.parametrize("account", ["small", "reader"])
def test_a_size_limit_proves_nothing(in_openldap: Place, account: str) -> None:
    """What a server cuts off is no absence: the listing is incomplete, and says which limit to raise."""
    in_openldap.put(30)
    directory = in_openldap.directory
    auth = {"simple": {"user": f"cn={account},{directory.base}", "password": "${env:DIRECTORY_PASSWORD}"}}
    snapshot = in_openldap.source(auth=auth).read(WANTED)
    if account == "reader":
        assert snapshot.complete
        return
    assert not snapshot.complete
    assert "limit" in snapshot.incomplete[0]


def test_a_reader_without_rights_finds_nobody_and_is_not_believed(in_openldap: Place) -> None:
    """OpenLDAP answers as if there were no such base; that is an error, never an empty directory."""
    in_openldap.put(3)
    directory = in_openldap.directory
    auth = {"simple": {"user": f"cn=blind,{directory.base}", "password": "${env:DIRECTORY_PASSWORD}"}}
    source = in_openldap.source(auth=auth)
    with pytest.raises(FatalError, match=r"may not be seen|does not exist|grant the right"):
        source.read(WANTED)


def test_an_empty_base_and_a_missing_proof_prove_nothing(place: Place) -> None:
    """Nobody found, or an entry that must be there and is not seen: absence is not believed."""
    assert "absence proves nothing" in " ".join(place.source().read(WANTED).incomplete)
    place.put(2)
    proof = f"CN=proof,{place.people}"
    snapshot = place.source(proof=proof).read(WANTED)
    assert "proof" in " ".join(snapshot.incomplete)
    assert place.source(proof=f"CN=p0,{place.people}").read(WANTED).complete


def test_another_filter_or_server_means_a_whole_read(place: Place) -> None:
    """A watermark is good for the very settings, and the very server, that it was made with."""
    place.put(3)
    before = whole(place.source())
    other = place.source(users={"base": place.people, "filter": f"(objectClass={place.person_class})"})
    delta = other.read(WANTED, since=before.watermark)
    assert delta.reread
    assert len(delta.users) == 3


# Connections that cannot be made say why


def test_sign_ins_that_fail_say_why(place: Place) -> None:
    """A wrong password is told apart from a server that is not there, and from an untrusted certificate."""
    os.environ["WRONG_PASSWORD"] = "wrong"
    auth = {"simple": {"user": place.directory.admin, "password": "${env:WRONG_PASSWORD}"}}
    with pytest.raises(CredentialsError, match="result 49"):
        place.source(auth=auth).check()
    with pytest.raises(SettingsError, match="base OU=nope"):
        place.source(users={"base": f"OU=nope,{place.unit}"}).check()


def test_an_untrusted_certificate_is_told(in_openldap: Place) -> None:
    """Nothing is sent to a server that cannot prove who it is; the sentence names the setting."""
    with pytest.raises(UnreachableError, match=r"cannot be trusted.*ca_file"):
        in_openldap.source(ca_file=None).check()


def test_start_tls_external_and_the_socket(in_openldap: Place) -> None:
    """Other ways to sign in: StartTLS, a client certificate, the machine's own account over the socket."""
    in_openldap.put(1)
    directory = in_openldap.directory
    home = directory.ca_file.parent
    assert len(whole(in_openldap.source(url=directory.url, start_tls=True)).users) == 1
    certificate = {"external": {"certificate": str(home / "client.pem"), "key": str(home / "client.key")}}
    assert len(whole(in_openldap.source(auth=certificate)).users) == 1
    assert len(whole(in_openldap.source(url=directory.ldapi, auth={"external": {}})).users) == 1


def test_kerberos(in_samba: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tickets from a keytab; the connection is sealed by Kerberos, without TLS."""
    import subprocess

    directory = in_samba.directory
    in_samba.put(1)
    home = directory.ca_file.parent
    address = directory.url.removeprefix("ldap://")
    samba = ["samba-tool", "-s", str(home / "etc/smb.conf")]
    subprocess.run([samba[0], "spn", "add", f"ldap/{address}", "DC1$", *samba[1:]], check=False, capture_output=True)
    keytab = tmp_path / "admin.keytab"
    made = [samba[0], "domain", "exportkeytab", str(keytab), "--principal=Administrator", *samba[1:]]
    subprocess.run(made, check=True, capture_output=True)
    monkeypatch.setenv("KRB5_CONFIG", str(directory.krb5_conf))
    gssapi = {"gssapi": {"principal": f"Administrator@{directory.realm}", "keytab": str(keytab)}}
    snapshot = whole(in_samba.source(url=directory.url, auth=gssapi))
    assert len(snapshot.users) == 1
