"""For machines: ``/metrics`` as Prometheus reads it, and ``/health``."""

import hmac
from collections.abc import Iterator

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response

from connectors.contract import Kind
from flows.serve.web.visit import Visit
from tasks.ledger import CycleState, LinkState
from tasks.pages.board import JobState, held_by, state_of

_LOOPBACK = ("127.0.0.1", "::1")
_CHANGES = ("created", "updated", "enabled", "disabled", "deleted", "members_added", "members_removed")


def health(visit: Visit) -> Response:
    """Whether the ledger answers; nothing about jobs or people."""
    visit.ledger.jobs()
    return JSONResponse({"status": "ok"})


def metrics(visit: Visit) -> Response:
    """Figures of all jobs, for a monitor with the token, or on this machine where none is set."""
    token = visit.site.settings.reveal_metrics_token()
    client = visit.request.client.host if visit.request.client is not None else ""
    if token is not None:
        given = visit.request.headers.get("authorization", "")
        if not hmac.compare_digest(given.encode("utf-8", "replace"), f"Bearer {token}".encode()):
            raise HTTPException(401)
    elif client not in _LOOPBACK or visit.site.settings.address:
        # Behind a proxy everybody comes from this machine.
        raise HTTPException(404)
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Figures(visit))
    return Response(generate_latest(registry), media_type=CONTENT_TYPE_PLAIN_0_0_4)


class _Figures:
    """What the ledger says of all jobs, as metrics."""

    def __init__(self, visit: Visit) -> None:
        self._visit = visit

    def collect(self) -> Iterator[Metric]:
        """Everything, looked up when it is asked for."""
        visit = self._visit
        jobs = visit.known_jobs()
        boards = visit.ledger.lookup.boards(jobs, now=visit.now, cycles_of_each=1)
        totals = visit.ledger.lookup.totals(jobs, visit.now)
        cycles = CounterMetricFamily("provisor_cycles", "Cycles of a job, by final state", labels=["job", "state"])
        changes = CounterMetricFamily("provisor_changes", "Changes carried out", labels=["job", "change"])
        failures = CounterMetricFamily("provisor_failures", "Changes that failed", labels=["job"])
        for job in jobs:
            found = totals.get(job)
            for state in CycleState:
                cycles.add_metric([job, str(state)], found.cycles.get(state, 0) if found else 0)
            for name in _CHANGES:
                changes.add_metric([job, name], found.counts.get(name, 0) if found else 0)
            failures.add_metric([job], found.counts.get("failed", 0) if found else 0)
        yield from (cycles, changes, failures)
        waiting = GaugeMetricFamily("provisor_waiting_changes", "Held changes nobody has decided about", labels=["job"])
        since = GaugeMetricFamily(
            "provisor_waiting_seconds", "How long the oldest held change has waited", labels=["job"]
        )
        failing = GaugeMetricFamily(
            "provisor_failing_entries", "Entries that failed and are tried again", labels=["job"]
        )
        stands = GaugeMetricFamily("provisor_job_state", "1 for the current state of a job", labels=["job", "state"])
        good = GaugeMetricFamily(
            "provisor_last_good_cycle_age_seconds",
            "Seconds since the last full cycle finished",
            labels=["job"],
        )
        accounts = GaugeMetricFamily("provisor_accounts", "Accounts owned by a job", labels=["job", "kind", "state"])
        files, last_good = visit.site.jobs(), visit.ledger.lookup.last_good(jobs)
        for board in boards:
            name = board.job
            waiting.add_metric([name], held_by(board.waiting))
            oldest = min((one.since for one in board.waiting), default=None)
            since.add_metric([name], (visit.now - oldest).total_seconds() if oldest is not None else 0)
            failing.add_metric([name], board.trouble.count if board.trouble is not None else 0)
            state_now = state_of(board, files.get(name), now=visit.now)
            for one in JobState:
                stands.add_metric([name, str(one)], int(one is state_now))
            last = last_good.get(name)
            if last is not None:
                good.add_metric([name], (visit.now - (last.ended or last.began)).total_seconds())
        counts = visit.ledger.lookup.account_counts(jobs)
        for name in jobs:
            for kind in Kind:
                for link in LinkState:
                    accounts.add_metric([name, str(kind), str(link)], counts.get((name, kind, link), 0))
        yield from (waiting, since, failing, stands, good, accounts)
