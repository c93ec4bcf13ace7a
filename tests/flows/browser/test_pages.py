"""A person goes the whole way in Prefect's pages, in a real browser, and leaves pictures of what was seen."""

import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Locator, Page, expect, sync_playwright

from tests.flows.browser.up import WAIT_S, Up, provisor_up, wait_for
from tests.flows.workplace import Workplace
from tests.servers.scim_service import ScimService

CHROMIUM = Path("/usr/bin/chromium")
SLOW_MS = WAIT_S * 1000
LEAVERS = 12


class Walk:
    """A person in front of the pages, who takes a picture of each."""

    def __init__(self, page: Page, up: Up, pictures: Path) -> None:
        self.page = page
        self._up = up
        self._pictures = pictures
        self._taken = 0
        self.outside: set[str] = set()
        page.on("request", lambda request: self._note(request.url))

    def _note(self, url: str) -> None:
        if not url.startswith((self._up.page, self._up.pages, "data:", "blob:")):
            self.outside.add(url)

    def look(self, path: str, sees: str | re.Pattern[str], name: str) -> None:
        """Opens a page, waits until it shows a text, and takes a picture."""
        self.page.goto(self._up.page + path)
        self.sees(sees)
        self.picture(name)

    def sees(self, text: str | re.Pattern[str]) -> None:
        """Waits until a text is on the page."""
        expect(self.page.get_by_text(text).first).to_be_visible(timeout=SLOW_MS)

    def picture(self, name: str, page: Page | None = None) -> None:
        """Keeps what is on the screen; of a page of our own the whole of it."""
        self._taken += 1
        path = self._pictures / f"{self._taken:02} {name}.png"
        (page or self.page).screenshot(path=path, full_page=page is not None)

    def sign_in(self) -> None:
        """Does what the page asks of whoever comes first."""
        self.page.goto(self._up.page)
        self.page.locator("input").first.fill(self._up.sign_in)
        self.picture("sign in")
        self.page.keyboard.press("Enter")
        self.sees("Flow Runs")

    def sign_in_to_pages(self) -> None:
        """Signs in to the pages for people, with the same words."""
        login, _, password = self._up.sign_in.partition(":")
        self.page.goto(f"{self._up.pages}/sign-in")
        self.page.fill("#login", login)
        self.page.fill("#password", password)
        self.page.keyboard.press("Enter")
        expect(self.page.get_by_role("heading", level=1)).to_have_text("No job has run yet", timeout=SLOW_MS)

    def start(self, deployment: str) -> str:
        """Fills in nothing in a deployment's form and submits it; gives the run's id."""
        found = self._up.deployments()[deployment]["id"]
        self.look(f"/deployments/deployment/{found}/run", "What to evaluate", f"form of {deployment}")
        self.page.get_by_role("button", name="Submit").click()
        self.page.wait_for_url(re.compile(r"/deployments/deployment/[^/]+$|/runs/flow-run/"), timeout=SLOW_MS)
        with self._up.api() as api:
            runs = api.post("/flow_runs/filter", json={"sort": "EXPECTED_START_TIME_DESC"}).json()
        return str(next(one["id"] for one in runs if one["deployment_id"] == found and not one["auto_scheduled"]))

    def artifact(self, run: str, key: str, sees: str | re.Pattern[str]) -> None:
        """Opens an artifact of a run, as soon as there is one."""
        found = wait_for(lambda: self._up.artifacts(run, key), bool, self._up.tail)
        self.look(f"/artifacts/artifact/{found[0]['id']}", sees, f"artifact {key}")

    def follow(self, link: str, sees: str, name: str) -> None:
        """Follows a link on the page, looks at where it leads, and comes back."""
        with self.page.context.expect_page(timeout=SLOW_MS) as opened:
            self.page.get_by_role("link", name=link).click()
        there = opened.value
        expect(there.get_by_text(sees).first).to_be_visible(timeout=SLOW_MS)
        self.picture(name, there)
        there.close()


@pytest.fixture
def browser() -> Iterator[Browser]:
    """A browser without a window."""
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        yield started
        started.close()


def test_a_person_runs_a_job_and_approves_what_is_held(
    small: Workplace, service: ScimService, browser: Browser, tmp_path: Path
) -> None:
    """From signing in to the accounts of leavers: schedule, form, progress, artifacts, report, Data Docs, approval.

    Nothing is asked of anybody outside, and what was approved, and nothing else, is carried out.
    """
    small.save(
        schedule={"every": "6h"},
        load={"concurrency": 4},
        limits={**small.document["limits"], "removals": {"count": 3, "fraction": 0.5, "minimum": 1}},
    )
    with provisor_up(small) as up:
        page = browser.new_context(viewport={"width": 1500, "height": 1000}).new_page()
        walk = Walk(page, up, tmp_path)
        walk.sign_in_to_pages()
        walk.sign_in()
        walk.look("/deployments", "Every 6 hours", "deployments")
        expect(page.get_by_text("Not Ready")).to_have_count(0)
        deployment = up.deployments()["hr-to-scim"]["id"]
        walk.look(f"/deployments/deployment/{deployment}?tab=Description", "everybody in the source", "description")
        walk.look(f"/deployments/deployment/{deployment}?tab=Upcoming", "Scheduled for", "next runs")

        service.set_fault("latency", seconds=2, method="POST")  # minutes, unless somebody has seen its progress
        first = walk.start("hr-to-scim")
        walk.artifact(first, "hr-to-scim-progress", re.compile(r"^(Loading )?[\d ,of]+ requests"))
        assert up.run(first)["state_type"] == "RUNNING", up.tail()
        service.clear_fault()
        assert up.ended(first)["state_name"] == "Completed", up.tail()
        walk.look(f"/runs/flow-run/{first}", "Cycle 1 of hr-to-scim (initial).", "run")
        expect(page.get_by_text("hr-to-scim · initial · #1").first).to_be_visible()
        expect(page.get_by_text("Finished in state")).to_have_count(1)  # the run itself; its tasks do not say so
        walk.artifact(first, "hr-to-scim-plan", "create user")
        walk.artifact(first, "hr-to-scim-changes", "in scope, and no account")
        walk.artifact(first, "hr-to-scim-cycle", "members added")
        walk.follow("the report of the run", "Changes per attribute", "report")
        walk.follow("the Data Docs of the run", "expect_column_values_to_be_unique", "data docs")

        leavers = _dismiss(small)
        before = _active(service)
        waiting = walk.start("hr-to-scim")
        assert up.ended(waiting)["state_name"] == "Waiting for approval", up.tail()
        walk.artifact(waiting, "hr-to-scim-cycle", "Held back by guards")
        chart = page.get_by_alt_text("Changes per cycle")
        assert chart.evaluate("image => image.naturalWidth") > 0
        walk.follow("the report of the run", "What guards hold back", "report of the run that waits")
        walk.look(f"/runs/flow-run/{waiting}", "Cycle 2 of hr-to-scim", "run that waits")
        assert _active(service) == before

        _answer(walk, "Approve everything", by="Eve Adams", comment="HR has confirmed it")
        wait_for(lambda: up.run(waiting)["state_name"], lambda name: name != "Waiting for approval", up.tail)
        assert up.ended(waiting)["state_name"] == "Completed", up.tail()
        walk.look(f"/runs/flow-run/{waiting}", "Eve Adams: Approved for hr-to-scim", "run after approval")
        assert _active(service) == before - len(leavers)

        for path, sees, name in (
            ("/dashboard", "failed or crashed runs", "dashboard"),
            ("/automations", "provisor-people", "automations"),
            ("/blocks", "provisor-people", "blocks"),
        ):
            walk.look(path, sees, name)
        expect(page.get_by_text("V2 UI")).to_have_count(0)
        assert walk.outside == set()
    lines = small.call("log", "hr-to-scim", "--format", "json").document
    approved = [line for line in lines if line["action"] == "approve"]
    assert len(approved) == len(leavers)
    assert up.sign_in not in (small.home / "prefect" / "worker.log").read_text()


def _dismiss(small: Workplace) -> list[str]:
    """Takes people out of the export; gives their anchors."""
    rows = small.rows()
    manager = {row["manager"] for row in rows}
    people = [
        row["employeeId"]
        for row in rows
        if (row["employeeType"], row["status"]) == ("employee", "active") and row["employeeId"] not in manager
    ]
    leavers = people[:LEAVERS]
    small.write_rows(row for row in rows if row["employeeId"] not in leavers)
    return leavers


def _active(service: ScimService) -> int:
    return sum(user.get("active", True) for user in service.users.values())


def _answer(walk: Walk, decision: str, *, by: str, comment: str) -> None:
    """Decides in the form of the run that is on the screen."""
    page = walk.page
    page.get_by_role("button", name="Resume").first.click()
    form = page.locator(".p-modal")
    expect(form.get_by_text("Your name")).to_be_visible(timeout=SLOW_MS)
    walk.picture("approval form")
    _choose(page, form.locator(".p-select-button__icon").first, decision)
    form.locator("textarea").nth(0).fill(by)
    form.locator("textarea").nth(1).fill(comment)
    walk.picture("approval form filled in")
    form.get_by_role("button", name="Submit").click()
    expect(form).to_be_hidden(timeout=SLOW_MS)


def _choose(page: Page, arrow: Locator, choice: str) -> None:
    """Picks from a list that opens, but for the first click in a window, which only brings it to the front."""
    option = page.locator(".p-select-option", has_text=choice)
    for _ in range(5):
        arrow.click()
        with suppress(AssertionError):
            expect(option).to_be_visible(timeout=2000)
            break
    option.click()
