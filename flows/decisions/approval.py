"""A run of a deployment that guards hold back asks by a form of Prefect's UI, and waits without holding a worker.

The process ends while the run waits. An answer begins the run again from its top: what was decided is written down by
the same code as ``provisor approve`` and ``provisor reject``, and a new cycle carries it out, because by then the world
may have moved. A form is about what it showed and nothing else: what the guards hold otherwise by then is asked anew.

Source: Prefect documentation, "Create interactive workflows" (run inputs of suspended runs).
"""

import hashlib
import os
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from enum import StrEnum
from typing import Any
from urllib.parse import quote
from uuid import UUID

import orjson
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterState,
    FlowRunFilterStateType,
    FlowRunFilterTags,
)
from prefect.client.schemas.objects import FlowRun, State, StateType
from prefect.client.schemas.responses import SetStateStatus
from prefect.deployments import run_deployment
from prefect.exceptions import ObjectNotFound, Pause
from prefect.states import Cancelled, Completed, Paused
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from flows.cycle.systems import now, open_ledger
from flows.decisions.initiator import this_run
from flows.decisions.naming import label_of, labels_of
from flows.decisions.persons import DecisionError, Identity
from flows.decisions.staged import OvertakenError, counted, decide_staged, decision_sentence, undecided
from flows.decisions.until import parse_until
from flows.show.picture import spoken
from tasks.artifacts import key_of
from tasks.job import Job
from tasks.ledger import Ledger, Staged, StagedState
from tasks.markdown import NOTHING, Markdown, code, link, page, row, table_head
from tasks.pages.held_page import headline_of, questions_of
from tasks.pages.sentences import named
from tasks.report import WAITING

DECIDE = "decide"
"""Name of the flow that decides by a form of its own, and at a time limit."""

_PREFIX = "approval"
_FORM = "a form of Prefect's UI"
_LISTED = 20
"""Held changes that the form lists."""
_CHOICES = 200
"""Held changes that can be chosen from; beyond that whole kinds of changes can."""
_SLACK = timedelta(days=1)
"""How long a run waits beyond its time limit, should nobody be there to end it then."""
_CLOCKS = timedelta(seconds=5)
"""How far the clocks of two machines may be apart."""
_NOBODY = "nobody"
"""Who decides when a time limit passes."""


class Answer(StrEnum):
    """What a person decides."""

    APPROVE_ALL = "Approve everything"
    APPROVE_SELECTION = "Approve only the selection"
    REJECT = "Reject everything"


class Form(BaseModel):
    """What a person is asked; ``selection`` becomes a list of choices for each question."""

    model_config = ConfigDict(extra="ignore", populate_by_name=True)

    decision: Answer = Field(title="Decision")
    by: str = Field(title="Your name", description="Who decides; recorded in the log.", min_length=1)
    selection: list[str] = Field(
        default_factory=list,
        title="Selection",
        description='What to approve with "Approve only the selection"; the rest keeps waiting.',
    )
    comment: str = Field(default="", title="Comment", description="The reason, for readers of the log.")
    until: date | None = Field(
        default=None,
        title="Until",
        description="The decision counts to the end of this day (UTC). Without a day it counts until nothing of it is "
        "left to do.",
    )


@dataclass(frozen=True, slots=True)
class Question:
    """What one run asks at one time."""

    run: UUID
    number: int
    """1, 2 … within the run."""
    items: Sequence[Staged]
    sentence: str
    """How the cycle ended."""
    job: Job

    @property
    def key(self) -> str:
        """Names the run inputs that belong to it; ends with a digest of what is asked about."""
        return f"{_PREFIX}-{self.number}-{digest_of(self.items)}"


@dataclass(frozen=True, slots=True)
class Taken:
    """What came of an answer."""

    sentence: str = ""
    goes_on: bool = True
    """Whether a cycle is to be run now."""
    answered: bool = field(default=False)


def digest_of(items: Iterable[Staged]) -> str:
    """Equal for the same held changes, with the same accounts, members and values; 16 hexadecimal digits."""
    return hashlib.sha256("\n".join(sorted(one.digest for one in items)).encode()).hexdigest()[:16]


# --- asking --------------------------------------------------------------------------------------------------------


def ask(job: Job, sentence: str) -> str:
    """Lets this run wait for a decision about what the guards hold, if it is the run of a deployment.

    Gives a sentence where it does not wait: another run waits for the same. Raises: Pause, which ends the process.
    """
    run = this_run()
    with open_ledger() as ledger:
        items = undecided(ledger, job.name, now())
    with get_client(sync_client=True) as client:
        digest = digest_of(items)
        others = [one for one in waiting_runs(client, job.name) if run is None or one.id != run.id]
        same = next((one for one in others if _question_key(one).endswith(digest)), None)
        _close(
            client, [one for one in others if one is not same], "The plan has changed since; a later run asks again."
        )
        if same is not None:
            return f"Decide in the run {same.name}, which is waiting for the same changes."
        if run is None or run.deployment_id is None or run.parent_task_run_id is not None:
            return ""
        asked = Question(run.id, run.run_count, items, sentence, job)
        raise Pause(state=_wait(client, asked))


def _wait(client: SyncPrefectClient, question: Question) -> State[None]:
    """Writes the question down and suspends the run; gives its state."""
    within = question.job.approval.within
    deadline = now() + within
    inputs = {
        "schema": _schema(question),
        "description": _description(question, deadline),
        "items": [[one.digest, label] for label, some in labels_of(question.items, _CHOICES).items() for one in some],
        "limit": _set_limit(question, deadline),
    }
    for name, content in inputs.items():
        value = content if isinstance(content, str) else orjson.dumps(content).decode()
        client.create_flow_run_input(question.run, f"{question.key}-{name}", value)
    state: State[None] = Paused(
        name=WAITING,
        reschedule=True,
        pause_key=question.key,
        pause_expiration_time=deadline + _SLACK,
        message=f"{question.sentence} Resume this run to decide, before {deadline:%Y-%m-%d %H:%M} UTC.",
    )
    state.state_details.run_input_keyset = {
        name: f"{question.key}-{name}" for name in ("schema", "description", "response")
    }
    result = client.set_flow_run_state(question.run, state)
    if result.status is not SetStateStatus.ACCEPT:
        raise RuntimeError(f"the run cannot wait for approval: {result.details}")
    return result.state or state


def _schema(question: Question) -> dict[str, Any]:
    """The form as JSON Schema, with what can be selected."""
    schema = Form.model_json_schema()
    asked = schema["properties"]
    # Prefect's form follows no references, and offers a type to choose where a value may be missing.
    asked["decision"] |= {"type": "string", "enum": list(Answer)}
    asked["until"] |= {"type": "string", "format": "date"}
    asked["selection"]["items"] = {"type": "string", "enum": list(labels_of(question.items, _CHOICES))}
    for name, key in (("decision", "$ref"), ("until", "anyOf"), ("until", "default")):
        del asked[name][key]
    return {key: value for key, value in schema.items() if key != "$defs"}


def _who_loses_what(question: Question) -> list[Markdown]:
    """What would be done to whom, names first, and where the pages show all of them."""
    lines = []
    for one in questions_of(question.items):
        names, more = named(one.names, one.entries)
        them = f"{', '.join(names)} and {more:,} more" if more else ", ".join(names)
        said = Markdown("**{} of {}:** {}. Nothing of it is done yet.")
        lines += [said.format(headline_of(one, None), question.job.name, them), NOTHING]
    if address := os.environ.get("PROVISOR_PAGES_URL"):
        there = f"{address.rstrip('/')}/approvals/{quote(question.job.name)}"
        lines.append(Markdown("{}").format(link("Review each change and decide there", there)))
    return lines


def _description(question: Question, deadline: datetime) -> Markdown:
    """What the form is about, in Markdown: the numbers, why they are held, and the first entries."""
    items = question.items
    lines = [*_who_loses_what(question), NOTHING, *table_head("what", "how many", numbers=1)]
    lines += [row(name, f"{count:,}") for name, count in counted(items).items()]
    guards = dict.fromkeys(one.guard for one in items if one.guard)
    lines += [NOTHING, *(Markdown("- {}").format(guard) for guard in guards), NOTHING]
    lines += [Markdown("Held since {:%Y-%m-%d %H:%M} UTC:").format(min(one.since for one in items)), NOTHING]
    lines += [Markdown("- {}").format(label_of(one)) for one in items[:_LISTED]]
    if len(items) > _LISTED:
        table = code(key_of(question.job.name, "changes"))
        lines += [Markdown("- and {:,} more, in the artifact {}").format(len(items) - _LISTED, table)]
    ends = Markdown(
        "What is approved is carried out by a cycle that begins at once. Without an answer until "
        "{:%Y-%m-%d %H:%M} UTC it counts as rejected; {} later it would be asked again."
    )
    return page([*lines, NOTHING, ends.format(deadline, spoken(question.job.approval.within))])


# --- answers -------------------------------------------------------------------------------------------------------


def take_answer(job: Job) -> Taken:
    """Writes down what a person has answered to this run, if it has waited; a decision that cannot be is told."""
    run = this_run()
    if run is None or run.deployment_id is None:
        return Taken()
    with get_client(sync_client=True) as client:
        found = client.filter_flow_run_input(run.id, key_prefix=_PREFIX, limit=200, exclude_keys=set())
        inputs = {one.key: one.value for one in found}
        key = next((name.removesuffix("-response") for name in inputs if name.endswith("-response")), None)
        if key is None:
            return Taken()
        _lift_limit(client, inputs.get(f"{key}-limit", ""))
        try:
            taken = _decide(job, Form.model_validate_json(inputs[f"{key}-response"]), inputs[f"{key}-items"])
        except (DecisionError, ValidationError) as error:
            taken = Taken(f"Nothing was decided: {error} A new cycle finds out what to ask.", answered=True)
        for name in inputs:
            if name.startswith(key):
                client.delete_flow_run_input(run.id, name)
    return taken


def _decide(job: Job, form: Form, asked: str) -> Taken:
    with open_ledger() as ledger:
        selected = set(form.selection) if form.decision is Answer.APPROVE_SELECTION else None
        chosen = asked_about(asked, selected)
        if not chosen:
            raise DecisionError("Nothing of what waits was selected.")
        state = StagedState.REJECTED if form.decision is Answer.REJECT else StagedState.APPROVED
        ruling = decide_staged(
            ledger,
            job.name,
            state,
            among=chosen,
            until=parse_until(form.until),
            who=form.by,
            identity=Identity(_FORM),
            why=form.comment,
            now=now(),
        )
    sentence = decision_sentence(ruling, job.name, "it begins now.")
    return Taken(f"{form.by}: {sentence}", goes_on=form.decision is not Answer.REJECT, answered=True)


def form_identity() -> Identity:
    """Who asked for this run, as far as the API says; with one password for all, nobody knows who that really is."""
    run = this_run()
    who = run.created_by.display_value if run is not None and run.created_by is not None else None
    return Identity(f"{who}, by {_FORM}" if who else _FORM)


def still_open(ledger: Ledger, job: str, asked: str) -> list[Staged]:
    """What a form was about and is still held exactly so. ``asked``: the run input that says what that was."""
    digests = asked_about(asked)
    return [one for one in undecided(ledger, job, now()) if one.digest in digests]


def asked_about(asked: str, selected: Collection[str] | None = None) -> set[str]:
    """Digests of what a form has shown, given the run input that says what that was; of some labels where selected."""
    return {digest for digest, label in orjson.loads(asked) if selected is None or label in selected}


# --- the time limit ------------------------------------------------------------------------------------------------


def _set_limit(question: Question, deadline: datetime) -> str:
    """Has the question answered with no at its time limit; gives the id of the run that will, if there will be one."""
    job = question.job.name
    try:
        run = run_deployment(
            f"{DECIDE}/{job}-{DECIDE}",
            parameters={
                "decision": Answer.REJECT,
                "by": _NOBODY,
                "waiting_run": str(question.run),
            },
            scheduled_time=deadline,
            flow_run_name=f"{job} · time limit of an approval",
            tags=[f"job:{job}"],
            timeout=0,
            as_subflow=False,
            idempotency_key=f"{question.run}-{question.number}",
        )
    except ObjectNotFound:
        return ""  # without that deployment the run ends as failed, a day after the limit
    assert isinstance(run, FlowRun)  # a coroutine only where an event loop runs
    return str(run.id)


def _lift_limit(client: SyncPrefectClient, run: str) -> None:
    if not run:
        return
    try:
        limit = client.read_flow_run(UUID(run))
        if limit.state is not None and limit.state.is_scheduled():
            client.delete_flow_run(limit.id)
    except ObjectNotFound:
        return


def reject_waiting(job: Job, run: UUID) -> str:
    """At the time limit: what a run waits for is rejected, for as long as the limit was, and the run ends.

    Gives a sentence about it; nothing happens when somebody has decided before. Nobody has decided, so no name and no
    comment is taken from anybody. Raises: DecisionError before the limit, which the waiting run itself knows.
    """
    why = f"nobody decided within {spoken(job.approval.within)}"
    with get_client(sync_client=True) as client, open_ledger() as ledger:
        waiting = client.read_flow_run(run)
        if waiting.state is None or not waiting.state.is_paused():
            return "Somebody has already decided."
        key = _question_key(waiting)
        _refuse_before_limit(waiting, key)
        about = still_open(ledger, job.name, client.read_flow_run_input(run, f"{key}-items"))
        sentence = "Nothing of it waits any more."
        if about:
            try:
                ruling = decide_staged(
                    ledger,
                    job.name,
                    StagedState.REJECTED,
                    among={one.digest for one in about},
                    until=now() + job.approval.within,
                    who=_NOBODY,
                    identity=Identity("the time limit", clock=True),
                    why=why,
                    now=now(),
                )
                sentence = f"{why[:1].upper()}{why[1:]}. {decision_sentence(ruling, job.name, '')}"
            except OvertakenError as error:
                sentence = str(error)
        client.set_flow_run_state(run, Completed(name="Rejected", message=sentence))
    return sentence


def _refuse_before_limit(waiting: FlowRun, key: str) -> None:
    """Passes for a run that asked a question and has waited to its limit. Raises: DecisionError."""
    ends = waiting.state.state_details.pause_timeout if waiting.state is not None else None
    if not key or ends is None:
        raise DecisionError(f"Nothing is decided: the run {waiting.name} does not wait for approval.")
    if now() + _CLOCKS < (limit := ends - _SLACK):
        raise DecisionError(
            f"Nothing is decided: the run {waiting.name} waits for an answer until {limit:%Y-%m-%d %H:%M} UTC. Resume "
            "it to decide before, or decide without waiting_run."
        )


# --- runs that wait ------------------------------------------------------------------------------------------------


def waiting_runs(client: SyncPrefectClient, job: str) -> list[FlowRun]:
    """Runs of a job that wait for approval."""
    paused = FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.PAUSED]))
    found = client.read_flow_runs(
        flow_run_filter=FlowRunFilter(state=paused, tags=FlowRunFilterTags(all_=[f"job:{job}"]))
    )
    return [one for one in found if _question_key(one)]


def close_waiting(job: str, why: str) -> None:
    """Ends the runs of a job that wait, because nothing is left to decide about."""
    run = this_run()
    with get_client(sync_client=True) as client:
        _close(client, [one for one in waiting_runs(client, job) if run is None or one.id != run.id], why)


def _close(client: SyncPrefectClient, runs: Iterable[FlowRun], why: str) -> None:
    for run in runs:
        client.set_flow_run_state(run.id, Cancelled(name="Overtaken", message=why))
        for limit in client.filter_flow_run_input(run.id, f"{_question_key(run)}-limit", 1, set()):
            _lift_limit(client, limit.value)


def _question_key(run: FlowRun) -> str:
    keyset = run.state.state_details.run_input_keyset if run.state is not None else None
    schema = (keyset or {}).get("schema", "")
    return schema.removesuffix("-schema") if schema.startswith(_PREFIX) else ""
