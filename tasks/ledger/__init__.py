"""What Provisor remembers between cycles, in one database: SQLite by default, PostgreSQL for several machines.

    with Ledger.open(url, home) as ledger:
        lease = ledger.acquire_lease(job, holder, now=now, duration=timedelta(minutes=5))
        cycle = ledger.begin_cycle(job, CycleKind.INCREMENTAL, fingerprint=fingerprint, now=now, lease=lease)
        ledger.journal(cycle, changes, now)                      # before anything is sent
        ledger.record(cycle, changes, outcomes, now=now, links=links, log=entries)
        ledger.end_cycle(cycle, CycleEnd(CycleState.DONE, counts, now, watermark=watermark))

People may look into it with SQL: the view ``changelog`` is the provisioning log, one row per line; ``runs`` is one row
per cycle with its counts; ``snapshot`` says who has which account (on PostgreSQL they lie in the schema ``provisor``).
"""

from tasks.ledger.accounts import Account, AccountFilters
from tasks.ledger.directory import Found, Hit, Known, fold
from tasks.ledger.logbook import LogFilters
from tasks.ledger.lookup import Board, Lookup, Trouble
from tasks.ledger.records import (
    COUNTS,
    FINISHED_STATES,
    NEVER,
    READ_BACK,
    REDACTED,
    WHOLE_KINDS,
    Attempt,
    AttemptStatus,
    Clash,
    Cycle,
    CycleEnd,
    CycleKind,
    CycleState,
    Escrow,
    Item,
    JobBusyError,
    JobPausedError,
    JobQuarantinedError,
    Lease,
    LeaseLostError,
    LedgerError,
    Link,
    Linked,
    LinkState,
    LinkTakenError,
    LogAction,
    LogEntry,
    LogLine,
    LogStatus,
    Matter,
    Modified,
    Pause,
    Quarantine,
    SentBeforeError,
    Staged,
    StagedState,
    log_outcome,
    modified_properties,
    orphan_line,
    part_of,
)
from tasks.ledger.run_requests import RunPurpose, RunRequest
from tasks.ledger.signins import LocalUser, Session, SignIn, SignInOutcome, digest_of_ticket
from tasks.ledger.staging import StagedChanges
from tasks.ledger.store import Ledger
from tasks.ledger.unmanaged import Outside, UnmanagedAccount
from tasks.ledger.waiting import Decided, Guarded, Waiting, is_undecided, place_search

__all__ = [
    "COUNTS",
    "FINISHED_STATES",
    "NEVER",
    "READ_BACK",
    "REDACTED",
    "WHOLE_KINDS",
    "Account",
    "AccountFilters",
    "Attempt",
    "AttemptStatus",
    "Board",
    "Clash",
    "Cycle",
    "CycleEnd",
    "CycleKind",
    "CycleState",
    "Decided",
    "Escrow",
    "Found",
    "Guarded",
    "Hit",
    "Item",
    "JobBusyError",
    "JobPausedError",
    "JobQuarantinedError",
    "Known",
    "Lease",
    "LeaseLostError",
    "Ledger",
    "LedgerError",
    "Link",
    "LinkState",
    "LinkTakenError",
    "Linked",
    "LocalUser",
    "LogAction",
    "LogEntry",
    "LogFilters",
    "LogLine",
    "LogStatus",
    "Lookup",
    "Matter",
    "Modified",
    "Outside",
    "Pause",
    "Quarantine",
    "RunPurpose",
    "RunRequest",
    "SentBeforeError",
    "Session",
    "SignIn",
    "SignInOutcome",
    "Staged",
    "StagedChanges",
    "StagedState",
    "Trouble",
    "UnmanagedAccount",
    "Waiting",
    "digest_of_ticket",
    "fold",
    "is_undecided",
    "log_outcome",
    "modified_properties",
    "orphan_line",
    "part_of",
    "place_search",
]
