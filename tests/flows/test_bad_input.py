"""Bad input: a sentence and an exit status, never a traceback, and nothing is written to the target.

In the short form each is met by a run and by one of the commands that look, in turn; with ``PROVISOR_LONG=1`` by all.
"""

import os
import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.flows.workplace import EXPORT, Command, Workplace, writes
from tests.servers.scim_service import ScimService
from tests.servers.starting import dead_port, html_server, tls_scim_service

LONG = bool(os.environ.get("PROVISOR_LONG"))
WRONG, STOPPED = 2, 4

Spoil = Callable[[Workplace, pytest.MonkeyPatch, ExitStack], None]


@dataclass(frozen=True, slots=True)
class Bad:
    """One way in which input can be bad."""

    spoil: Spoil
    status: int | tuple[int, ...]
    """Several where the command decides which of two problems it meets first."""
    says: str
    """Regular expression that the sentence matches."""
    commands: tuple[str, ...] = ("check", "plan", "run")
    """Commands that notice."""


def job(**sections: Any) -> Spoil:
    return lambda workplace, patch, stack: workplace.save(**sections) and None


def mapped(path: str, value: Any) -> Spoil:
    def spoil(workplace: Workplace, patch: pytest.MonkeyPatch, stack: ExitStack) -> None:
        workplace.document["users"]["attributes"][path] = value
        workplace.save()

    return spoil


def people(content: Callable[[bytes], bytes]) -> Spoil:
    return lambda workplace, patch, stack: workplace.people.write_bytes(content(workplace.people.read_bytes())) and None


def target(**settings: Any) -> Spoil:
    def spoil(workplace: Workplace, patch: pytest.MonkeyPatch, stack: ExitStack) -> None:
        workplace.document["target"].update(settings)
        workplace.save()

    return spoil


def at_server(start: Callable[[], Any]) -> Spoil:
    def spoil(workplace: Workplace, patch: pytest.MonkeyPatch, stack: ExitStack) -> None:
        target(url=stack.enter_context(start()).url)(workplace, patch, stack)

    return spoil


def token(value: str | None) -> Spoil:
    def spoil(workplace: Workplace, patch: pytest.MonkeyPatch, stack: ExitStack) -> None:
        patch.delenv("SCIM_TOKEN") if value is None else patch.setenv("SCIM_TOKEN", value)

    return spoil


BAD = {
    "unknown key": Bad(job(user={}), WRONG, r"job\.(ya?ml).*user.*[Dd]id you mean users"),
    "wrong type": Bad(job(limits={"removals": {"count": "many"}}), WRONG, r"limits\.removals\.count.*number"),
    "not YAML": Bad(lambda w, p, s: w.job.write_text("a: [") and None, WRONG, r"job\.yaml"),
    "no job file": Bad(lambda w, p, s: w.job.unlink(), WRONG, r"job\.yaml"),
    "no such function": Bad(mapped("title", "ToLowr([jobTitle])"), WRONG, r"ToLowr.*ToLower"),
    "no such source attribute": Bad(mapped("title", "[jobTitel]"), WRONG, r"jobTitel.*jobTitle"),
    "no such target attribute": Bad(mapped("dispalyName", "[displayName]"), WRONG, r"dispalyName.*displayName"),
    "read-only target attribute": Bad(mapped("meta.created", "[startDate]"), WRONG, r"meta\.created.*read-only"),
    "missing file": Bad(lambda w, p, s: w.people.unlink(), STOPPED, r"people\.csv"),
    "empty file": Bad(people(lambda _: b""), STOPPED, r"people\.csv.*empty"),
    "key not in the header": Bad(
        people(lambda text: text.replace(b"employeeId", b"employeeNumber", 1)), (WRONG, STOPPED), r"employeeId"
    ),
    "mapped column not in the header": Bad(
        people(lambda text: text.replace(b"jobTitle", b"position", 1)), WRONG, r"jobTitle"
    ),
    "unreachable target": Bad(at_server(dead_port), STOPPED, r"127\.0\.0\.1.*(refused|reach)"),
    "wrong token": Bad(token("another"), STOPPED, r"credentials.*401"),
    "no token": Bad(token(None), STOPPED, r"SCIM_TOKEN.*not set"),
    "HTML instead of SCIM": Bad(at_server(html_server), STOPPED, r"HTML|web page|text/html"),
    "certificate that nobody trusts": Bad(at_server(tls_scim_service), STOPPED, r"[Cc]ertificate"),
    "check that must hold": Bad(
        job(
            checks={
                "source.users": [{"expect_table_row_count_to_be_between": {"min_value": 9_999}, "on_failure": "stop"}]
            }
        ),
        STOPPED,
        r"expect_table_row_count_to_be_between.*Nothing was written",
        ("plan", "run"),
    ),
}


def met() -> Iterator[tuple[str, str]]:
    """What is bad, and the command that meets it."""
    for number, (name, bad) in enumerate(BAD.items()):
        *looking, run = bad.commands
        yield name, run
        yield from ((name, command) for command in (looking if LONG else [looking[number % len(looking)]]))


@pytest.mark.parametrize(("name", "command"), list(met()))
def test_bad_input_is_a_sentence(
    name: str,
    command: str,
    small: Workplace,
    service: ScimService,
    provisor: Command,
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
) -> None:
    """Everything that can be wrong is said by every command that notices it, and nothing has been written."""
    bad = BAD[name]
    if command == "run":
        request.getfixturevalue("plain_runs")
    with ExitStack() as stack:
        bad.spoil(small, monkeypatch, stack)
        said = provisor(command, small.job)
    words = said.out + said.err if command == "run" else said.err
    assert said.status in ((bad.status,) if isinstance(bad.status, int) else bad.status), words
    assert re.search(bad.says, " ".join(words.split())), words
    assert "Traceback" not in words
    assert "fault in Provisor" not in words
    assert not writes(service)
    assert len(service.users) == len(service.groups) == 0


def test_place_of_a_bad_expression_is_shown(small: Workplace, service: ScimService, provisor: Command) -> None:
    """Line and column of the job file, and a caret below the very character."""
    text = EXPORT.with_suffix(".yaml").read_text(encoding="utf-8")
    right = 'emails[type eq "work"].value: ToLower([mail])'
    assert right in text
    text = text.replace("http://127.0.0.1:8080/v2", service.url)
    small.job.write_text(text.replace(right, right.replace("[mail]", "[mial]")), encoding="utf-8")
    said = provisor("plan", small.job)
    assert said.status == WRONG
    line = next(number for number, line in enumerate(text.splitlines(), 1) if right in line)
    column = text.splitlines()[line - 1].index("[mail]") + 1
    assert f"job.yaml:{line}:{column}" in said.err
    shown = said.err.splitlines()
    caret = next(number for number, one in enumerate(shown) if one.strip("^ ") == "" and "^" in one)
    assert shown[caret - 1][shown[caret].index("^") :].startswith("[mial]")


def test_every_problem_is_said_at_once(small: Workplace, provisor: Command) -> None:
    """Nobody has to run a command again for each mistake."""
    small.document["users"]["attributes"]["title"] = "ToLowr([jobTitle])"
    small.save(limits={"removals": {"count": "many"}}, schedul={})
    said = provisor("check", small.job)
    assert said.status == WRONG
    assert all(word in said.err for word in ("ToLowr", "limits.removals.count", "schedul"))


def test_certificate_is_trusted_when_the_job_names_its_authority(small: Workplace, provisor: Command) -> None:
    """TLS is never switched off: a private authority is named by its file, and then everything works."""
    with tls_scim_service() as server:
        small.document["target"]["url"] = server.url
        small.save()
        assert provisor("check", small.job).status == STOPPED
        assert not server.service.requests
        small.document["target"]["ca_file"] = str(server.ca_file)
        small.save()
        said = provisor("check", small.job)
        assert said.status == 0, said.err
        assert server.service.requests


def test_first_cycle_that_is_stopped_leaves_no_trace_in_the_next(
    small: Workplace, service: ScimService, provisor: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a stop on the way nothing has to be cleaned up: a plan made afterwards is the one made before."""
    before = provisor("plan", small.job, "--json").document
    monkeypatch.setenv("SCIM_TOKEN", "another")
    assert provisor("plan", small.job).status == STOPPED
    monkeypatch.setenv("SCIM_TOKEN", "a-token")
    after = provisor("plan", small.job, "--json").document
    assert after["changes"] == before["changes"]
    assert len(after["changes"]) == after["requests"] > 200


def test_a_folder_is_no_job_file(provisor: Command, tmp_path: Path) -> None:
    """A folder in the place of the job file is a mistake like any other."""
    said = provisor("check", tmp_path)
    assert said.status == WRONG
    assert "Traceback" not in said.err
