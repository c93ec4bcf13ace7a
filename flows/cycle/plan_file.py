"""A plan as a file: reviewed by a person, then carried out exactly, or refused when it would be another one by now.

    plan.json      a header, and every change with what must hold in the target for it
    plan.parquet   the changes, where they are too many to be read as JSON; the header has the file's digest

Nothing in the file is carried out: both sides are read again, the plan is worked out anew as of the moment the file was
made, and it has to be the same, change by change. A redacted value stands in the file as a digest under a key that lies
in the state folder and nowhere else: a plain digest of a telephone number is found out by trying all of them. The key
goes when the plan is carried out, or has expired.
"""

import hashlib
import hmac
import os
import secrets
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from connectors.contract import Action, Kind, Snapshot
from connectors.errors import ProvisorError
from flows.cycle.home import home
from flows.cycle.preview import Decision
from flows.show.plan_json import NAMES, Conceal, Side, details_of, object_of
from tasks.employment import HORIZON
from tasks.expressions import FUNCTIONS, compile_expression
from tasks.expressions.tree import Call, walk
from tasks.job import EntryRules, Job
from tasks.keys import find, pick, texts
from tasks.ledger import Ledger
from tasks.mapping import expression_of
from tasks.plan import Block, EntryPlan
from tasks.plan.compare import canonical, fingerprints
from tasks.private import own_folder, replace_file
from tasks.report import verdict_json

FORMAT = 1
MOST_IN_JSON = 20_000
"""Changes that are written as JSON; more of them go to a Parquet file."""
LIFE = timedelta(hours=24)
"""How long a plan may be carried out when nobody says how long."""
NAMED = 20
"""Entries that a refusal names."""

_TEXT = pa.large_string()
_PLAIN = ("action", "kind", "anchor", "id", "label", "reason")
_JSON = ("after", "before", "members", "guards", "precondition")
_SCHEMA = pa.schema(
    [("staged", pa.bool_()), ("wave", pa.int8()), *((name, _TEXT) for name in (*_PLAIN, *_JSON))],
)
"""One row per change; the columns of ``_JSON`` hold JSON. ``staged``: a guard holds the change back."""
_EFFECT = ("staged", "action", "kind", "anchor", "id", "after", "before", "members", "precondition")
"""What makes two changes the same: not how people call the entry, and not why it is changed."""


class PlanRefusedError(ProvisorError):
    """A plan file cannot be carried out as it was made: make a new plan and review it. Nothing was written."""


@dataclass(slots=True)
class PlanFile:
    """A plan file that has been read.

    A plain slotted class on purpose: an orchestrator that walks parameters leaves it alone.
    """

    path: Path
    header: Mapping[str, Any]
    changes: pa.Table
    """As ``_SCHEMA``, in the order in which they are carried out; those that are held back last."""

    @property
    def id(self) -> str:
        """Unique for ever."""
        return str(self.header["plan"])

    @property
    def made_at(self) -> datetime:
        """The moment that the plan is worked out for."""
        return datetime.fromisoformat(self.header["made_at"])

    @property
    def expires_at(self) -> datetime:
        """From when on it is not carried out any more."""
        return datetime.fromisoformat(self.header["expires_at"])

    @property
    def job_file(self) -> Path:
        """Where the job's file was, seen from the plan's."""
        return self.path.parent / str(self.header["job_file"])


# --- the key -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Key:
    """The secret behind the digests of one plan file; it never stands beside them."""

    secret: bytes

    def digest(self, *parts: bytes) -> str:
        """HMAC-SHA-256 of the parts, in hexadecimal."""
        code = hmac.new(self.secret, digestmod=hashlib.sha256)
        for part in parts:
            code.update(len(part).to_bytes(8, "big"))
            code.update(part)
        return code.hexdigest()


def _key_path(plan_id: str) -> Path:
    return home() / "plans" / f"{plan_id}.key"


def _keep_key(plan_id: str, key: Key, expires_at: datetime) -> None:
    path = _key_path(plan_id)
    own_folder(path.parent)
    content = {"key": key.secret.hex(), "expires_at": expires_at.isoformat()}
    replace_file(path, orjson.dumps(content))


def _recall_key(plan_id: str) -> Key | None:
    try:
        return Key(bytes.fromhex(orjson.loads(_key_path(plan_id).read_bytes())["key"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def forget_key(plan_id: str) -> None:
    """Makes every digest of a plan file worthless, and the plan impossible to carry out."""
    _key_path(plan_id).unlink(missing_ok=True)


def forget_expired_keys(now: datetime) -> None:
    """Drops the keys of plans that have run out."""
    for path in (home() / "plans").glob("*.key"):
        try:
            expired = datetime.fromisoformat(orjson.loads(path.read_bytes())["expires_at"]) <= now
        except (OSError, ValueError, KeyError, TypeError):
            expired = True
        if expired:
            path.unlink(missing_ok=True)


# --- writing -------------------------------------------------------------------------------------------------------


def write_plan_file(
    path: Path, decision: Decision, job: Job, *, job_file: Path, life: timedelta = LIFE, now: datetime
) -> PlanFile:
    """Writes a plan that was just decided, for its owner's eyes only; what lies at the path is replaced."""
    forget_expired_keys(now)
    key = Key(secrets.token_bytes(32))
    plan_id = secrets.token_hex(8)
    changes = describe(decision, job, key)
    header = _header(decision, job, key, plan_id, life)
    header["job_file"] = os.path.relpath(job_file.absolute(), path.absolute().parent)
    beside = path.with_suffix(".changes.parquet" if path.suffix == ".parquet" else ".parquet")
    if len(changes) > MOST_IN_JSON:
        content = _as_parquet(changes)
        replace_file(beside, content)
        header["changes_in"] = {
            "file": beside.name,
            "rows": len(changes),
            "sha256": hashlib.sha256(content).hexdigest(),
        }
        lists: dict[str, list[dict[str, Any]]] = {"changes": [], "staged": []}
    else:
        lists = _as_lists(changes)
    header["checksum"] = _checksum({**header, **lists})
    header["seal"] = key.digest(header["checksum"].encode())
    _keep_key(plan_id, key, datetime.fromisoformat(header["expires_at"]))
    replace_file(path, b"".join(_json_lines(header, lists)))
    return PlanFile(path, header, changes)


def _header(decision: Decision, job: Job, key: Key, plan_id: str, life: timedelta) -> dict[str, Any]:
    checked = decision.checked
    plan = checked.plan
    return {
        "format": FORMAT,
        "plan": plan_id,
        "job": plan.job,
        "configuration": plan.fingerprint,
        "made_at": plan.made_at.isoformat(),
        "expires_at": (plan.made_at + life).isoformat(),
        "source": {
            "system": plan.source,
            "entries": {f"{kind}s": count for kind, count in plan.source_count.items()},
            "digest": _digest(decision.source, key),
        },
        "target": {
            "system": plan.target,
            "entries": {f"{kind}s": count for kind, count in plan.target_count.items()},
            "digest": _digest(decision.sight.snapshot, key),
            "seen": decision.sight.how,
        },
        "counts": {str(action): count for action, count in plan.counts().items()},
        "held_back": checked.held_back,
        "left_alone": len(plan.held),
        "guards": [verdict_json(verdict) for verdict in checked.verdicts],
        "changes_in": None,
    }


def _json_lines(header: Mapping[str, Any], lists: Mapping[str, list[dict[str, Any]]]) -> Iterator[bytes]:
    """The document, a change a line."""
    yield orjson.dumps(header, option=orjson.OPT_INDENT_2)[:-2]
    for name, changes in lists.items():
        yield f',\n  "{name}": ['.encode()
        yield b",".join(b"\n    " + orjson.dumps(change) for change in changes)
        yield b"\n  ]" if changes else b"]"
    yield b"\n}\n"


def _as_lists(changes: pa.Table) -> dict[str, list[dict[str, Any]]]:
    lists: dict[str, list[dict[str, Any]]] = {"changes": [], "staged": []}
    for row in changes.to_pylist():
        details = {name: orjson.loads(text) for name in _JSON if (text := row[name]) is not None}
        shown = {"wave": row["wave"], **{name: row[name] for name in _PLAIN}, **details}
        lists["staged" if row["staged"] else "changes"].append(shown)
    return lists


def _as_parquet(changes: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(changes, sink, compression="zstd")
    content: bytes = sink.getvalue().to_pybytes()
    return content


def _checksum(document: Mapping[str, Any]) -> str:
    """SHA-256 over the document without its checksum and seal, whatever its white space and order of keys."""
    content = {name: value for name, value in document.items() if name not in ("checksum", "seal")}
    return hashlib.sha256(orjson.dumps(content, option=orjson.OPT_SORT_KEYS)).hexdigest()


def _digest(snapshot: Snapshot, key: Key) -> str:
    """The same for two snapshots that hold the same, in whatever order."""
    parts = []
    for frame in (snapshot.users, snapshot.groups, snapshot.members, snapshot.assignments):
        rows = pd.DataFrame() if frame is None else frame
        keyed = rows if "member" in rows or frame is snapshot.assignments else rows.assign(**{"": rows.index})
        parts.append(np.sort(fingerprints(keyed)).tobytes())
    unreadable = sorted([str(row.kind), str(row.key)] for row in snapshot.unreadable)
    unknown = {attribute: sorted(keys) for attribute, keys in sorted(snapshot.unknown.items())}
    return key.digest(*parts, orjson.dumps([sorted(snapshot.disabled), unreadable, list(snapshot.doubts), unknown]))


# --- what a change is ----------------------------------------------------------------------------------------------


def describe(decision: Decision, job: Job, key: Key) -> pa.Table:
    """Every change of a decision, as ``_SCHEMA``."""
    checked = decision.checked
    conceal = _concealment(job, key)
    pieces = [
        _described(block, checked.plan.entries[block.kind], conceal, staged=staged)
        for staged, blocks in ((False, checked.blocks), (True, checked.staged))
        for block in blocks
    ]
    return pa.concat_tables(pieces).combine_chunks() if pieces else _SCHEMA.empty_table()


def drawn_paths(rules: EntryRules) -> frozenset[str]:
    """Target paths whose value is drawn anew at every evaluation, so that nobody can say beforehand what it will be."""
    return frozenset(
        path
        for path, mapping in rules.attributes.items()
        if (text := expression_of(mapping)) is not None
        and any(
            isinstance(node, Call) and (function := FUNCTIONS.get(node.name)) is not None and not function.stable
            for node in walk(compile_expression(text).tree)
        )
    )


def _concealment(job: Job, key: Key) -> Conceal:
    """Shows redacted values as digests that differ from person to person, and of drawn ones that there is one."""
    drawn = {kind: drawn_paths(rules) for kind, rules in job.rules.items()}

    def conceal(block: Block, path: str, side: Side, values: pd.Series) -> pd.Series:
        if side is Side.AFTER and path in drawn[block.kind]:
            return _as_objects({"drawn": True} if there else None for there in values.notna())
        if path not in block.redacted:
            return values
        named = zip(block.table["anchor"], map(canonical, values.tolist()), strict=True)
        return _as_objects(
            None
            if value is None
            else {"hmac": key.digest(orjson.dumps([block.kind, anchor, path, value], default=str))}
            for anchor, value in named
        )

    return conceal


def _as_objects(values: Iterator[Any]) -> pd.Series:
    return pd.Series(list(values), dtype=object)


def _described(block: Block, entries: EntryPlan, conceal: Conceal, *, staged: bool) -> pa.Table:
    rows = len(block)
    details = details_of(block, conceal)
    nothing = pa.nulls(rows, _TEXT)
    columns = {
        "staged": pa.repeat(pa.scalar(staged), rows),
        "wave": pa.repeat(pa.scalar(int(block.wave), pa.int8()), rows),
        "action": pa.repeat(pa.scalar(str(block.action), _TEXT), rows),
        "kind": pa.repeat(pa.scalar(str(block.kind), _TEXT), rows),
        **{name: texts(block.table[column].astype("str")) for name, column in NAMES.items()},
        **{name: details.get(name, nothing) for name in _JSON},
        "precondition": _precondition(block, entries, details, conceal),
    }
    return pa.table([columns[name] for name in _SCHEMA.names], schema=_SCHEMA)


def _precondition(block: Block, entries: EntryPlan, details: Mapping[str, pa.Array], conceal: Conceal) -> pa.Array:
    """What must hold in the target for a change, as JSON."""
    match block.action:
        case Action.CREATE:
            return _wrapped("no_account_with", _recognised_by(block, entries, conceal))
        case Action.ADD_MEMBERS | Action.REMOVE_MEMBERS:
            there = "absent" if block.action is Action.ADD_MEMBERS else "present"
            return pa.repeat(pa.scalar(f'{{"members":"{there}"}}', _TEXT), len(block))
        case _ if "before" in details:
            return _wrapped("holds", details["before"])
        case _:
            return pa.repeat(pa.scalar('{"exists":true}', _TEXT), len(block))


def _recognised_by(block: Block, entries: EntryPlan, conceal: Conceal) -> pa.Array:
    """The values that an account which is there already would be recognised by."""
    anchors = texts(block.table["anchor"])
    columns = {}
    for path, values in sorted(entries.joining.items()):
        found = pick(texts(values.astype("str")), find(anchors, texts(values.index)))
        columns[path] = conceal(block, path, Side.AFTER, pd.Series(pd.array(found, dtype="str")))
    return object_of(columns, len(block))


def _wrapped(name: str, values: pa.Array) -> pa.Array:
    begin, end, nothing = (pa.scalar(text, _TEXT) for text in (f'{{"{name}":', "}", ""))
    return pc.binary_join_element_wise(begin, values, end, nothing)


# --- reading -------------------------------------------------------------------------------------------------------


def read_plan_file(path: Path) -> PlanFile:
    """What lies at a path, provided that it is as it was written. Raises: PlanRefusedError."""
    try:
        document = orjson.loads(path.read_bytes())
    except OSError as error:
        raise PlanRefusedError(
            f"The plan {path} cannot be read: {error.strerror}. provisor plan JOB --out FILE makes one."
        ) from None
    except ValueError:
        raise PlanRefusedError(
            f"{path} is no plan, or not a whole one: provisor plan JOB --out FILE makes one."
        ) from None
    if not isinstance(document, dict) or "plan" not in document or "checksum" not in document:
        raise PlanRefusedError(f"{path} is no plan: provisor plan JOB --out FILE makes one.")
    if document.get("format") != FORMAT:
        raise PlanRefusedError(f"The plan {path} was made by another version of Provisor; create a new one.")
    if _checksum(document) != document["checksum"]:
        raise PlanRefusedError(_edited(path))
    lists = {name: document.pop(name) for name in ("changes", "staged")}
    if (beside := document["changes_in"]) is not None:
        return PlanFile(path, document, _from_parquet(path, beside))
    return PlanFile(path, document, _from_lists(lists))


def _edited(path: Path) -> str:
    return (
        f"The plan {path} is not as it was made: its checksum does not fit. A plan is carried out as it was made or "
        "not at all; make a new one."
    )


def _from_parquet(path: Path, beside: Mapping[str, Any]) -> pa.Table:
    file = path.parent / Path(beside["file"]).name
    try:
        content = file.read_bytes()
    except OSError as error:
        raise PlanRefusedError(f"The changes of the plan {path} cannot be read: {file}: {error.strerror}.") from None
    if hashlib.sha256(content).hexdigest() != beside["sha256"]:
        raise PlanRefusedError(_edited(file))
    return pq.read_table(pa.BufferReader(content)).combine_chunks()


def _from_lists(lists: Mapping[str, list[dict[str, Any]]]) -> pa.Table:
    rows = []
    for name, changes in lists.items():
        for change in changes:
            details = {one: orjson.dumps(change[one]).decode() if one in change else None for one in _JSON}
            plain = {one: change[one] for one in _PLAIN}
            rows.append({"staged": name == "staged", "wave": change["wave"], **plain, **details})
    return pa.Table.from_pylist(rows, schema=_SCHEMA)


# --- whether it may be carried out -----------------------------------------------------------------------------------


def refuse_unfit(plan: PlanFile, job: Job, ledger: Ledger, *, now: datetime) -> Key:
    """The plan's key, where it is of this job and configuration, still good, and not carried out yet.

    Raises: PlanRefusedError.
    """
    where = f"The plan {plan.path}"
    if plan.header["job"] != job.name:
        raise PlanRefusedError(f"{where} is of the job {plan.header['job']}, not of {job.name}.")
    done = ledger.cycle_of_plan(job.name, plan.id)
    if done is not None:
        forget_key(plan.id)
        raise PlanRefusedError(
            f"{where} has been carried out already, by cycle {done.number} of {job.name} on "
            f"{done.began:%Y-%m-%d %H:%M} UTC. For what is left to do, use provisor run."
        )
    if plan.header["configuration"] != job.fingerprint():
        raise PlanRefusedError(f"{where} was made with another configuration of {job.name}; create a new one.")
    if now >= plan.expires_at:
        forget_key(plan.id)
        raise PlanRefusedError(f"{where} has expired on {plan.expires_at:%Y-%m-%d %H:%M} UTC; create a new one.")
    key = _recall_key(plan.id)
    if key is None:
        raise PlanRefusedError(
            f"The key of the plan {plan.path} is not in the state folder ({home()}): a plan can only be applied "
            "where it was made. Create a new one here."
        )
    if not hmac.compare_digest(key.digest(plan.header["checksum"].encode()), str(plan.header["seal"])):
        raise PlanRefusedError(_edited(plan.path))
    return key


def refuse_moved(plan: PlanFile, decision: Decision, job: Job, key: Key, *, now: datetime) -> None:
    """Passes when what would be done now is what the file says, change by change. Raises: PlanRefusedError."""
    _refuse_overtaken(plan, decision.source, job, now)
    different = differences(plan.changes, describe(decision, job, key))
    if not different:
        return
    moved = [
        side
        for side, snapshot in (("source", decision.source), ("target", decision.sight.snapshot))
        if _digest(snapshot, key) != plan.header[side]["digest"]
    ]
    why = f"the {' and the '.join(moved)} changed" if moved else "what Provisor remembers or may do changed"
    more = f"\n  … and {len(different) - NAMED:,} more" if len(different) > NAMED else ""
    named = "".join(f"\n  {sentence}" for sentence in different[:NAMED])
    raise PlanRefusedError(
        f"The plan {plan.path} is not what would be done now: since it was made, {why}. Nothing was written; make a "
        f"new plan. {len(different):,} entries differ:{named}{more}"
    )


def _refuse_overtaken(plan: PlanFile, source: Snapshot, job: Job, now: datetime) -> None:
    """Passes when no date of anybody in the plan has come since: the plan is worked out for the moment it was made."""
    if job.joiners is None and job.leavers is None:
        return
    again = "Nothing was written; make a new plan."
    if now > plan.made_at + HORIZON:
        raise PlanRefusedError(
            f"The plan {plan.path} is older than {HORIZON.days} days, and {job.name} acts on first and last days, "
            f"which are known no further ahead. {again}"
        )
    if source.coming is None or not len(plan.changes):
        return
    come = source.coming[source.coming["moment"] <= pd.Timestamp(now)]
    people = sorted(set(come["key"]) & _people_of(plan.changes))
    if not people:
        return
    named, more = ", ".join(people[:NAMED]), f" and {len(people) - NAMED:,} more" if len(people) > NAMED else ""
    whose = "1 person of the plan has" if len(people) == 1 else f"{len(people):,} people of the plan have"
    raise PlanRefusedError(
        f"The plan {plan.path} is not what would be done now: {whose} a first or last day that has come since it was "
        f"made: {named}{more}. {again}"
    )


def _people_of(changes: pa.Table) -> set[str]:
    """Keys of the people whom changes are about, members of groups among them."""
    found = set(changes.filter(pc.equal(changes["kind"], str(Kind.USER)))["anchor"].to_pylist())
    for members in changes["members"].drop_null().to_pylist():
        found |= set(orjson.loads(members))
    return found


def differences(planned: pa.Table, now: pa.Table) -> list[str]:
    """A sentence for each entry of which not the same would be done now; empty when all is the same."""
    ours, theirs = _effects(planned), _effects(now)
    lost, fresh = find(ours, theirs) < 0, find(theirs, ours) < 0
    if not lost.any() and not fresh.any() and len(ours) == len(theirs):
        return []
    entries: dict[tuple[str, str], tuple[list[dict[str, Any]], list[dict[str, Any]]]] = {}
    for number, (table, mask) in enumerate(((planned, lost), (now, fresh))):
        for row in table.filter(pa.array(mask)).to_pylist():
            entries.setdefault((row["kind"], row["anchor"]), ([], []))[number].append(row)
    return [_difference(*pair) for _, pair in sorted(entries.items())]


def _effects(changes: pa.Table) -> pa.Array:
    columns = [pc.fill_null(pc.cast(changes[name], _TEXT), "\x00") for name in _EFFECT]
    joined = pc.binary_join_element_wise(*columns, pa.scalar("\x1f", _TEXT))
    return joined.combine_chunks() if isinstance(joined, pa.ChunkedArray) else joined


def _difference(planned: list[dict[str, Any]], now: list[dict[str, Any]]) -> str:
    first = (planned or now)[0]
    name = first["label"] or first["anchor"]
    who = name if name == first["anchor"] else f"{name} ({first['anchor']})"
    had, has = (" and ".join(map(_told, rows)) or "nothing" for rows in (planned, now))
    if had == has:
        has = f"the same with other values{_where(planned[0], now[0])}"
    return f"{first['kind']} {who}: the plan has {had}; now it would be {has}."


def _told(change: Mapping[str, Any]) -> str:
    """``update (title, department)``: what is done, never a value."""
    paths = ", ".join(orjson.loads(change["after"])) if change["after"] and change["action"] != Action.CREATE else ""
    members = f" of {len(orjson.loads(change['members'])):,}" if change["members"] else ""
    held = ", held back" if change["staged"] else ""
    return f"{change['action']}{members}{f' ({paths})' if paths else ''}{held}"


def _where(planned: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """Which attributes have other values, and where."""
    sides = []
    for side, where in (("before", "in the target"), ("after", "from the source")):
        had, has = (orjson.loads(change[side] or "{}") for change in (planned, now))
        if paths := [path for path in {**had, **has} if had.get(path) != has.get(path)]:
            sides.append(f"{where} ({', '.join(paths)})")
    return f" {' and '.join(sides)}" if sides else ""
