"""People go their ways through the pages in a real browser: helpdesk, an approver, an auditor, an operator.

Every page is looked through for barriers by axe-core: wide and light, narrow and dark; with ``make long`` also wide and
dark, narrow and light. Pictures of all are taken where ``PROVISOR_PICTURES`` names a folder for them.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from connectors.contract import Kind
from tasks.ledger import StagedState
from tests.flows.web.conftest import PASSWORD, Served, changing, served
from tests.flows.web.test_provider import Doors, doors, house

__all__ = ["changing", "doors", "house", "served"]

CHROMIUM = Path("/usr/bin/chromium")
AXE = Path(__file__).parent / "axe" / "node_modules" / "axe-core" / "axe.min.js"
RULES = "{runOnly: ['wcag2a', 'wcag2aa', 'wcag21aa', 'wcag22aa', 'best-practice']}"
SLOW_MS = 60_000
SIGHTS = [("light", 1400), ("dark", 390)]
if os.environ.get("PROVISOR_LONG"):
    SIGHTS += [("dark", 1400), ("light", 390)]
PAGES = {
    "vera": {
        "overview": "/",
        "search": "/search?q=osten",
        "person": "/people/hr-to-scim/000004",
        "job": "/jobs/hr-to-scim",
        "cycle": "/jobs/hr-to-scim/cycles/2",
        "cycles": "/jobs/hr-to-scim/cycles",
        "failures": "/jobs/hr-to-slack/failures",
        "approval read": "/approvals/hr-to-scim",
        "access": "/access",
    },
    "maria": {"inbox": "/approvals", "approval": "/approvals/hr-to-scim"},
    "otto": {"job of an operator": "/jobs/hr-to-scim", "sign-ins": "/sign-ins"},
    "hella": {"overview of helpdesk": "/", "person for helpdesk": "/people/hr-to-slack/000004"},
}


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A browser without a window."""
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        yield started
        started.close()


@contextmanager
def person(browser: Browser, served: Served, login: str, scheme: str = "light", width: int = 1400) -> Iterator[Page]:
    """Somebody in front of the pages, signed in; what the browser complains about fails the test."""
    context = browser.new_context(
        viewport={"width": width, "height": 900}, color_scheme=scheme, base_url=served.url, bypass_csp=False
    )
    context.set_default_timeout(SLOW_MS)
    page, complaints = context.new_page(), []
    page.on("console", lambda said: complaints.append(said.text) if said.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("request", lambda asked: complaints.append(asked.url) if not asked.url.startswith(served.url) else None)
    page.goto("/sign-in")
    page.fill("#login", login)
    page.fill("#password", PASSWORD)
    page.keyboard.press("Enter")
    page.wait_for_url("**/")
    yield page
    context.close()
    assert complaints == []


@pytest.mark.parametrize(("scheme", "width"), SIGHTS)
def test_no_page_has_barriers(served: Served, browser: Browser, scheme: str, width: int) -> None:
    """axe-core finds nothing, and nothing is wider than the screen."""
    pictures = os.environ.get("PROVISOR_PICTURES")
    axe, found = AXE.read_text(encoding="utf-8"), []
    for login, pages in PAGES.items():
        with person(browser, served, login, scheme, width) as page:
            for name, path in pages.items():
                page.goto(path)
                expect(page.locator('[hx-trigger="load"]')).to_have_count(0)  # what is fetched afterwards is there
                if pictures:
                    page.screenshot(path=Path(pictures) / f"{name}, {scheme}, {width}.png", full_page=True)
                assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), name
                page.evaluate(axe)
                barriers = page.evaluate(f"axe.run(document, {RULES})")["violations"]
                found += [(name, one["id"], one["impact"], one["nodes"][0]["html"][:200]) for one in barriers]
    assert found == []


def test_helpdesk_finds_a_person(served: Served, browser: Browser) -> None:
    """By the key that leads to the search, while typing; and there is no way to a job."""
    with person(browser, served, "hella") as page:
        page.keyboard.press("/")
        expect(page.locator("[data-seek]")).to_be_focused()
        page.keyboard.type("holm")
        page.keyboard.press("Enter")
        page.get_by_role("link", name="Dagmar Holm").first.click()
        expect(page.get_by_role("heading", level=1)).to_have_text("Dagmar Holm")
        expect(page.get_by_text("Slack takes no title while the profile is being edited.").first).to_be_visible()
        expect(page.get_by_role("button", name="Provision now").first).to_be_visible()
        assert page.locator('a[href^="/jobs/"]').count() == 0


def test_an_approver_decides_with_open_eyes(changing: Served, browser: Browser) -> None:
    """From the overview to the names, two ticks, the sentence, and the decision that is written down."""
    with person(browser, changing, "maria") as page:
        page.get_by_role("link", name="Review 4").first.click()
        expect(page.get_by_role("heading", level=1)).to_have_text("Disable 4 of 8 users of hr-to-scim")
        page.get_by_label("Tick Östen Öberg").check()
        page.locator("#choice input[name=q]").fill("obrien")
        page.keyboard.press("Enter")  # nothing of the decision is filled in yet
        expect(page.locator("#found")).to_contain_text("1 of 4 match")
        page.get_by_label("Tick Siobhán O'Brien").check()
        page.get_by_label("Only those ticked").check()
        page.get_by_label("Approve").check()
        page.get_by_label("Reason").fill("Compared with HR's list")
        page.get_by_role("button", name="Continue").click()
        expect(page.get_by_text("You approve: disable 2 users in hr-to-scim:")).to_be_visible()
        page.get_by_role("button", name="Approve and disable 2 users").click()
        expect(page.get_by_role("status")).to_contain_text("Approved: 2 entries of hr-to-scim")
    approved = {one.anchor for one in changing.ledger.staged("hr-to-scim") if one.state is StagedState.APPROVED}
    assert approved == {"000002", "000003"}


def test_an_auditor_reads_and_takes_a_copy(served: Served, browser: Browser) -> None:
    """Who has access, as a file; what a cycle did; and no button that does anything."""
    with person(browser, served, "vera") as page:
        page.get_by_role("navigation", name="Main").get_by_role("link", name="Access").click()
        with page.expect_download() as taken:
            page.get_by_role("link", name="CSV").click()
        text = Path(taken.value.path()).read_text(encoding="utf-8")
        assert "Östen Öberg" in text
        page.goto("/jobs/hr-to-scim/cycles/2")
        expect(page.get_by_text("Held: disable 4").first).to_be_visible()
        page.goto("/approvals/hr-to-scim")
        expect(page.get_by_role("heading", name="Somebody else decides")).to_be_visible()
        forms = page.locator('main form[method="post"] button:not([formmethod="get"])')
        assert forms.count() == 0


def test_an_operator_pauses_a_job(changing: Served, browser: Browser) -> None:
    """With a reason; and resumes it."""
    with person(browser, changing, "otto") as page:
        page.goto("/jobs/hr-to-slack")
        page.locator("summary", has_text="Pause").click()
        page.get_by_label("Reason").fill("domain move")
        page.get_by_role("button", name="Pause hr-to-slack").click()
        expect(page.get_by_text("domain move").first).to_be_visible()
        pause = changing.ledger.paused("hr-to-slack")
        assert pause is not None
        assert pause.who.startswith("otto")
        page.get_by_role("button", name="Resume").click()
        expect(page.get_by_role("button", name="Resume")).to_have_count(0)
    assert changing.ledger.paused("hr-to-slack") is None
    assert changing.ledger.link("hr-to-slack", Kind.USER, "000004") is not None


def test_a_browser_goes_to_the_provider_and_back(doors: Doors, browser: Browser) -> None:
    """The page's own policy lets it go there, and its cookies come back with it."""
    context = browser.new_context(base_url=doors.url)
    page, complaints = context.new_page(), []
    page.on("console", lambda said: complaints.append(said.text) if said.type in ("error", "warning") else None)
    page.goto("/jobs/hr-to-slack")
    page.get_by_role("button", name="Continue with Company sign-in").click()
    page.wait_for_url("**/jobs/hr-to-slack", timeout=SLOW_MS)
    expect(page.get_by_role("heading", level=1)).to_have_text("hr-to-slack")
    context.close()
    assert complaints == []
