"""What a page says stays true when something happens elsewhere: another question is decided about, a source is down."""

import html
import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from connectors.contract import Kind
from flows.cycle.systems import now
from flows.serve.web.rights import Grant, Role
from tasks.ledger import CycleEnd, CycleKind, CycleState, Known, Ledger, StagedState
from tests.flows.web.company import found_company, write_jobs
from tests.flows.web.worlds import Asked, pages_of, text_of

JOB = "hr-to-scim"


@pytest.fixture
def company(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Asked]:
    """The pages of the company, for one who decides."""
    monkeypatch.setenv("PROVISOR_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("SCIM_TOKEN", "a-secret-of-the-target")
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    write_jobs(tmp_path)
    with Ledger.open(None, tmp_path / "state") as ledger:
        found_company(ledger, now())
        with pages_of(ledger, tmp_path, {"alla": Grant(Role.APPROVER)}) as pages:
            yield pages


def test_who_stays_depends_on_the_other_question(company: Asked) -> None:
    """A rejection keeps people: the page about their manager counts them, and no longer when it has run out."""
    ledger, alla = company.ledger, company.visitors["alla"]
    held = ledger.staged(JOB)
    ledger.drop_staged(JOB, held)
    manager = replace(held[0], anchor="000004", guard="Guard A.", label="dagmar", target_id=f"id-{JOB}-000004")
    led = [replace(one, guard="Guard B.") for one in held if one.anchor in ("000001", "000002")]
    ledger.put_staged(JOB, [manager, *led])
    links = re.findall(rf'href="(/approvals/{JOB}\?[^"]+)"', alla.get("/approvals").text)
    about = next(link for link in map(html.unescape, links) if "Dagmar Holm manages" in text_of(alla.get(link).text))

    def stay() -> list[str]:
        return re.findall(r"Dagmar Holm manages (\d+)", text_of(alla.get(about).text))

    assert stay() == ["1"]
    rejected = [replace(one, state=StagedState.REJECTED, who="alla", why="they stay", decided_at=now()) for one in led]
    ledger.drop_staged(JOB, led)
    ledger.put_staged(JOB, rejected)
    assert stay() == ["3"]
    ledger.drop_staged(JOB, rejected)
    ledger.put_staged(JOB, [replace(one, until=now() - timedelta(seconds=1)) for one in rejected])
    assert stay() == ["1"]


def test_people_are_the_same_while_their_source_is_down(company: Asked) -> None:
    """One key in two sources is two people, also when neither was read for many cycles."""
    ledger, alla = company.ledger, company.visitors["alla"]
    for job, name in (("one", "Ann"), ("two", "Bob")):
        cycle = ledger.begin_cycle(job, CycleKind.INITIAL, fingerprint="f1", now=now())
        ledger.directory.put(job, [Known(Kind.USER, "77", name)])
        ledger.end_cycle(
            cycle, CycleEnd(CycleState.DONE, {}, now=now(), message="", source=f"Source of {job}", target="App")
        )
        for _ in range(6):
            cycle = ledger.begin_cycle(job, CycleKind.INCREMENTAL, fingerprint="f1", now=now())
            ledger.end_cycle(cycle, CycleEnd(CycleState.STOPPED, {}, now=now(), message="The source does not answer."))
    assert "Also called so, from another source" in alla.get("/people/one/77").text
