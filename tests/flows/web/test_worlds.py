"""In any world each figure on a page is what the ledger's rows say, and each link leads to a page."""

import csv
import html
import io
import os
import re
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, unquote, urlencode, urlsplit

import pytest

from flows.cycle.systems import now
from flows.serve.web.rights import Grant, Role
from tasks.ledger import Ledger
from tests.flows.web.random_worlds import JOBS, SHARED, Question, Rows, make_world
from tests.flows.web.worlds import Asked, Asking, pages_of

PEOPLE = {
    "vera": Grant(Role.VIEWER),
    "hella": Grant(Role.HELPDESK),
    "maria": Grant(Role.APPROVER, ("alpha",)),
    "otto": Grant(Role.OPERATOR),
}
LONG = bool(os.environ.get("PROVISOR_LONG"))
WORLDS = range(60 if LONG else 1)
CRAWLED = range(12 if LONG else 1)
_OF_A_SHAPE = 1_000 if LONG else 2
"""Addresses of one page, with the same parameters, to which somebody goes."""
_LOOKED_AT = 1_000 if LONG else 12
"""Persons and questions that are looked at closely."""


@dataclass(slots=True)
class World:
    """Pages, and the rows that they are about."""

    pages: Asked
    rows: Rows

    def by(self, login: str) -> Asking:
        """Who looks."""
        return self.pages.visitors[login]


@contextmanager
def world(seed: int, folder: Path) -> Iterator[World]:
    """A world by its number; the same number makes the same one."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PROVISOR_HOME", str(folder / "state"))
        patch.delenv("PREFECT_API_URL", raising=False)
        with Ledger.open(None, folder / "state") as ledger:
            moment = now()
            make_world(ledger, seed, moment)
            with pages_of(ledger, folder, PEOPLE) as pages:
                yield World(pages, Rows(folder / "state" / "ledger.sqlite", moment))


@pytest.mark.parametrize("seed", WORLDS)
def test_every_figure_is_what_the_rows_say(seed: int, tmp_path: Path) -> None:
    """Decisions that have run out, several rows of an entry, groups, memberships, shared targets, keys of all kinds."""
    with world(seed, tmp_path) as one:
        _check_overview(one)
        _check_approvals(one)
        _check_access(one)
        _check_jobs_and_cycles(one)
        _check_persons(one)


def _heading(page: str) -> str:
    found = re.search(r"<h1>(.*?)</h1>", page, re.S)
    assert found is not None
    return _plain(found[1])


def _plain(markup: str) -> str:
    return " ".join(html.unescape(re.sub(r"<[^>]+>", "", markup)).split())


def _check_overview(one: World) -> None:
    need, page = one.rows.in_need(), one.by("vera").get("/").text
    verb = "needs" if len(need) == 1 else "need"
    assert _heading(page) == (f"{len(need)} of 3 jobs {verb} a person" if need else "All 3 jobs are fine")
    shown = one.by("vera").get("/?show=need").text
    assert f"Need attention {len(need)}<" in shown
    assert set(re.findall(r'class="person" href="/jobs/([^"/]+)"', shown)) == need
    questions = one.rows.questions()
    for address, count in re.findall(r'href="(/approvals/[^"]+)">Review ([\d,]+)<', page):
        assert f" {count} " in _heading(one.by("vera").get(html.unescape(address)).text)
    said = one.by("vera").get("/metrics").text
    for job in JOBS:
        waiting = sum(_count(key, found) for key, found in questions.items() if key[0] == job)
        assert f'provisor_waiting_changes{{job="{job}"}} {float(waiting)}' in said


def _count(key: tuple[str, str, str, str], found: Question) -> int:
    return len(found.members) if key[2] == "remove members" else len(found.entries)


def _check_approvals(one: World) -> None:
    questions = one.rows.questions()
    for login, jobs in (("vera", JOBS), ("maria", ("alpha",))):
        mine = {key: found for key, found in questions.items() if key[0] in jobs}
        inbox = re.findall(
            r'href="(/approvals/([^"?]+)\?[^"]+)">Review ([\d,]+)<', one.by(login).get("/approvals").text
        )
        assert Counter((job, int(count)) for _, job, count in inbox) == Counter(
            (key[0], _count(key, found)) for key, found in mine.items()
        )
        left = dict(mine)
        for address, job, count in inbox:
            page = one.by(login).get(html.unescape(address)).text
            key = next(
                key
                for key, found in left.items()
                if key[0] == job
                and html.escape(key[3], quote=False) in page.replace("&#34;", '"')
                and _is_about(key, page)
            )
            _check_question(one.by(login), html.unescape(address), page, key, left.pop(key), int(count))
            if key[2] in ("disable", "delete") and key[1] == "user":
                stay = one.rows.left_behind(job, mine[key].entries)
                people = f"{stay} people who stay" if stay > 1 else "1 person who stays" if stay else "Look twice"
                assert people in page, key
                assert stay or "who stay" not in page, key


def _is_about(key: tuple[str, str, str, str], page: str) -> bool:
    verbs = {"disable": "Disable", "delete": "Delete", "update": "Change", "remove members": "Remove"}
    noun = "member" if key[2] == "remove members" else key[1]
    return (
        _heading(page).startswith(verbs[key[2]])
        and f" {noun}" in _heading(page)
        and f"<p>{html.escape(key[3], quote=False)}" in page
    )


def _check_question(
    by: Asking, address: str, page: str, key: tuple[str, str, str, str], found: Question, count: int
) -> None:
    assert f" {count:,} " in _heading(page)
    assert f'{"Groups" if key[1] == "group" else "People"} <span class="dim">{len(found.entries)}</span>' in page
    assert f"1 to {len(found.entries)} of {len(found.entries)}<" in page
    rows = page.partition('id="them"')[2]
    assert [
        unquote(one) for one in re.findall(r'class="person" href="/[a-z]+/[^/]+/(?:\?key=)?([^"]+)"', rows)
    ] == sorted(found.entries)
    common = page.partition("What they have in common")[2].partition("Look twice")[0]
    links = re.findall(r'<a href="([^"]+)">.*?</a> <b>([\d,]+)</b>', common)
    buttons = re.findall(r'name="find" value="([^"]+)">.*?</button> <b>([\d,]+)</b>', common)
    assert bool(buttons) <= ("Your decision" in page)
    for link, many in links[:2]:
        assert f"{many} of {len(found.entries)} match" in by.get(html.unescape(link)).text, link
    for value, many in buttons[:1]:
        fields = dict(re.findall(r'type="hidden" name="(item|digest)" value="([^"]*)"', page))
        answer = by.post(address.partition("?")[0], **fields, find=html.unescape(value)).text
        assert f"{many} of {len(found.entries)} match" in answer, value


def _check_access(one: World) -> None:
    accounts, outside = one.rows.accounts(), one.rows.outside()
    vera = one.by("vera")
    for kind, noun in (("user", "account"), ("group", "group")):
        page = vera.get(f"/access?kind={kind}").text
        active, disabled = (sum(accounts[job, kind, state] for job in JOBS) for state in ("active", "disabled"))
        apps = len({html.unescape(name) for name in re.findall(r'<span class="person"><bdi>(.*?)</bdi>', page)})
        plain = _plain(page)
        assert f"{active} active {noun}{'' if active == 1 else 's'} in {apps} app{'' if apps == 1 else 's'}" in plain
        assert f"; {disabled} disabled." in plain
        rows = list(csv.reader(io.StringIO(vera.get(f"/access.csv?kind={kind}").text)))
        assert len(rows) - 2 == active + disabled
    by_app = vera.get("/access").text.partition('id="apps"')[2].partition('id="who"')[0]
    for job in JOBS:
        row = by_app.partition(f'href="/jobs/{job}"')[2].partition("</tr>")[0]
        unmanaged = re.search(r">(\d+) unmanaged<", row)
        assert (int(unmanaged[1]) if unmanaged else 0) == outside[job], job
        listed = vera.get(f"/access?job={job}&state=unmanaged").text.partition('id="who"')[2]
        assert listed.count('scope="row"') == outside[job], job


def _check_jobs_and_cycles(one: World) -> None:
    accounts, vera = one.rows.accounts(), one.by("vera")
    for job in JOBS:
        plain = _plain(vera.get(f"/jobs/{job}").text)
        figures = (accounts[job, "user", "active"], accounts[job, "user", "disabled"], accounts[job, "group", "active"])
        assert "{} active accounts, {} disabled, {} groups".format(*figures) in plain
        escrows = [row for row in one.rows.read("escrow") if row["job"] == job]
        assert _heading(vera.get(f"/jobs/{job}/failures").text).startswith(f"{len(escrows)} entr")
    lines = list(one.rows.read("log"))
    for cycle in one.rows.read("cycle"):
        mine = [line for line in lines if line["cycle_id"] == cycle["id"]]
        path = f"/jobs/{cycle['job']}/cycles/{cycle['number']}"
        page = vera.get(path).text
        for action, title in (
            ("create", "Created"),
            ("update", "Changed"),
            ("disable", "Disabled"),
            ("delete", "Deleted"),
        ):
            done = sum(line["action"] == action and line["status"] != "failure" for line in mine)
            assert (f"{title} {done}<" in page) == bool(done), (path, action)
            if done:
                part = vera.get(f"{path}?action={action}").text
                assert part.count('<tr role="row"><th role="rowheader"') == min(done, 50), (path, action)
        for action, title in (("add members", "Members added to"), ("remove members", "Members removed from")):
            groups = len({line["anchor"] for line in mine if line["action"] == action})
            assert (f"{title} {groups} group" in page) == bool(groups), (path, action)
        failed = Counter(line["error_code"] or "Other" for line in mine if line["status"] == "failure")
        shown = re.findall(r'<h3>(\w+) <span class="dim">([\d,]+)</span></h3>', page)
        assert {code: int(many) for code, many in shown} == failed
        assert not failed or f'Failed <span class="dim">{failed.total()}</span>' in page


def _check_persons(one: World) -> None:
    names = {job: "Shared app" if job in SHARED else "Own app" for job in JOBS}
    links = list(one.rows.read("link"))
    waiting = Counter((row["job"], row["kind"], row["anchor"]) for row in one.rows.undecided())
    for link in links[:_LOOKED_AT]:
        kind, anchor = link["kind"], link["anchor"]
        folder = "people" if kind == "user" else "groups"
        page = one.by("maria").get(f"/{folder}/alpha/{_segment(anchor)}")
        mine = [row for row in links if row["job"] == "alpha" and (row["kind"], row["anchor"]) == (kind, anchor)]
        if page.status_code == 404:
            assert not mine
            continue
        if kind == "user":
            active = any(row["state"] == "active" for row in mine)
            assert ("Has an active account." in page.text) == active, (names, anchor)
        else:
            assert ("In 1 app." in page.text) == bool(mine)
        failing = any(
            row["anchor"] == anchor and row["kind"] == kind and row["job"] == "alpha" for row in one.rows.read("escrow")
        )
        if not failing:
            assert ("Somebody has to decide:" in page.text) == bool(waiting["alpha", kind, anchor]), anchor
        assert ("Look at it among the others" in page.text) == bool(waiting["alpha", kind, anchor]), anchor


def _segment(text: str) -> str:
    return quote(text, safe="")


# --- links -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", CRAWLED)
def test_every_link_leads_to_a_page(seed: int, tmp_path: Path) -> None:
    """For each role, forms that only ask included; what one role has and another must not see is not there for it."""
    with world(seed, tmp_path) as one:
        seen = {login: _crawl(one.by(login)) for login in PEOPLE}
        assert all(len(paths) > 10 for paths in seen.values())
        everything = {_shape(path): path for path in sorted(set().union(*seen.values()))}.values()
        for login, paths in seen.items():
            for path in everything:
                if path not in paths:
                    assert one.by(login).get(path).status_code in (200, 303, 403, 404), (login, path)
        for path in sorted(seen["vera"]):
            if re.match(r"/(jobs|approvals|reports|docs)/", path):
                assert one.by("hella").get(path).status_code == 404, path
            if re.match(r"/(jobs|approvals|people|groups|belongings)/(beta|gamma)\b", path):
                assert one.by("maria").get(path).status_code == 404, path


def _crawl(by: Asking) -> set[str]:
    """Every address that the pages of somebody lead to, from the overview on; each answers with a page."""
    seen, shapes, todo = set[str](), Counter[str](), ["/", "/search?q=twin", "/search?q=name"]
    while todo:
        path = todo.pop()
        shape = _shape(path)
        if path in seen or shapes[shape] >= _OF_A_SHAPE:
            continue
        seen.add(path)
        shapes[shape] += 1
        answer = by.get(path)
        if answer.status_code == 303:
            todo.append(answer.headers["Location"])
            continue
        assert answer.status_code == 200, path
        if not answer.headers["Content-Type"].startswith("text/html"):
            continue
        assert "form_token" not in path
        base = path.partition("?")[0]
        links = [html.unescape(one) for one in re.findall(r'\b(?:href|hx-get)="([^"]+)"', answer.text)]
        todo += [one for link in links if (one := _own(link, base)) is not None]
        todo += _asked_by_forms(answer.text, base)
        assert len(seen) < 3_000
    return seen


def _shape(path: str) -> str:
    """Which page an address leads to, of which job, with which parameters."""
    return re.sub(r"=[^&]*", "", "/".join(path.split("/")[:3]) + path.partition("?")[2])


def _own(link: str, base: str) -> str | None:
    """A link of a page as an address of ours; None where it leads elsewhere, or to a file of the pages themselves."""
    if re.match(r"[a-z]+:", link) or link.startswith(("#", "/static/")):
        return None
    path = link if link.startswith("/") else f"{base.rpartition('/')[0]}/{link}"
    return path.partition("#")[0]


def _asked_by_forms(page: str, base: str) -> Iterator[str]:
    """The addresses of forms that only ask, as they are filled in; none of them sends the token of the session."""
    for attributes, content in re.findall(r"<form([^>]*)>(.*?)</form>", page, re.S):
        asks = 'method="post"' not in attributes
        assert not (asks or "formmethod" in content) or "form_token" not in content, base
        if asks:
            action = re.search(r'action="([^"]*)"', attributes)
            fields = {
                name: html.unescape(value)
                for name, value in re.findall(r'<input[^>]*name="([^"]+)"[^>]*?value="([^"]*)"', content)
            }
            yield f"{urlsplit(html.unescape(action[1])).path if action else base}?{urlencode(fields)}"
