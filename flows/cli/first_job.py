"""``provisor init``: writes a first job for an export, from an app's template, with the reason for each guess.

The job is the template of the gallery with the export's own columns in the place of the template's. What the export
lacks, and what the target does not know, is left out, and a comment says so.
"""

import io
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
from dotenv import dotenv_values
from ruamel.yaml.comments import CommentedMap
from ruamel.yaml.scalarstring import PlainScalarString

from connectors.csv.files import File
from connectors.csv.tables import columns_of, read_rows
from connectors.errors import SettingsError
from connectors.file_section import FileSection, format_of_name
from connectors.gallery import App, app_called
from flows.cli.formatting import job_yaml, tidy_lines
from tasks.printable import printable
from tasks.proposing import SAME_NAME, WELL_KNOWN, Guess, Proposal, plain_name, propose, rewritten

_WIDTH = 120
_EXAMPLE = re.compile(r"\bexample\.(?:com|org|my\.|service-now\.)|\bDC=example\b")
"""What addresses of templates are made of."""
_GROUP_KEYS = ("id", "groupid", "key", "guid")
_GROUP_NAMES = ("name", "groupname", "displayname", "title")


@dataclass(frozen=True, slots=True)
class Wishes:
    """What a person wants of a first job."""

    source: Path
    """The export with the people."""
    groups: Path | None = None
    members: Path | None = None
    app: str = "scim"
    """Name of the gallery's app whose template is used."""
    url: str | None = None
    """Address of the target, instead of the template's."""
    name: str | None = None


@dataclass(slots=True)
class FirstJob:
    """A job that was proposed."""

    name: str
    text: str
    """The job file."""
    variables: tuple[str, ...]
    """Names of the environment variables that it takes its credentials from."""
    app: App
    left_out: list[str] = field(default_factory=list)
    """Sentences about what is not in it."""
    doubts: tuple[str, ...] = ()
    """Sentences about what a person should look at."""

    @property
    def examples(self) -> list[int]:
        """Lines of the file that still hold an address of the template, which is nobody's."""
        lines = [line.partition(" #")[0] for line in self.text.splitlines()]
        return [number for number, line in enumerate(lines, 1) if line[:1] != "#" and _EXAMPLE.search(line)]


def first_job(wishes: Wishes, folder: Path) -> FirstJob:
    """The job for an export; ``folder`` is where its file will lie. Raises: FatalError."""
    app = app_called(wishes.app)
    people = _rows(wishes.source)
    proposal = propose(people)
    if proposal.key is None:
        raise SettingsError(f"{wishes.source}: {proposal.doubts[0]}")
    job = job_yaml(width=_WIDTH).load(app.template)
    made = FirstJob(name="", text="", variables=(), app=app, doubts=proposal.doubts)
    job["name"] = made.name = wishes.name or job["name"]
    if wishes.url is not None:
        job["target"]["url"] = wishes.url
    _write_source(job, wishes, proposal, folder)
    _write_users(job["users"], proposal, made)
    _write_groups(job, wishes, made)
    if proposal.last_day is not None:
        job.yaml_set_comment_before_after_key(
            "limits",
            before=f"To disable accounts at the end of the last day:\nleavers: "
            f'{{date: "[{printable(proposal.last_day)}]", at: "17:00", timezone: "Europe/Berlin"}}',
        )
    made.text = _written(job, wishes, made)
    made.variables = tuple(dict.fromkeys(re.findall(r"\$\{env:(\w+)\}", made.text)))
    return made


def _written(job: CommentedMap, wishes: Wishes, made: FirstJob) -> str:
    text = io.StringIO()
    job_yaml(width=_WIDTH).dump(job, text)
    body = text.getvalue()
    first = next(number for number, line in enumerate(body.splitlines()) if line.startswith("name:"))
    head = [
        f"# Proposed by provisor init for {printable(wishes.source.name)}.",
        "# Review it, then run: provisor check, provisor plan.",
        f"# Requirements of the app: provisor apps {wishes.app}",
        *(f"# Please check: {printable(doubt)}" for doubt in made.doubts),
        *(f"# Left out: {sentence}" for sentence in made.left_out),
    ]
    return tidy_lines([*head, "", *body.splitlines()[first:]])


def _file(path: Path) -> File:
    """Raises: SettingsError for a name that does not tell the format."""
    if format_of_name(path.name) is None:
        raise SettingsError(f"Cannot read {path}: name a file that ends in .csv, .tsv, .jsonl, .parquet or .xlsx.")
    return File(FileSection(path=str(path.absolute())), path.absolute().parent)


def _columns(path: Path) -> list[str]:
    """Names of a table's columns. Raises: FatalError."""
    return [str(name) for name in columns_of(_file(path))]


def _rows(path: Path) -> pd.DataFrame:
    """Every row of a table, all columns as text. Raises: FatalError."""
    return read_rows(_file(path), (), _columns(path)).frame.astype("str")


# --- the sections --------------------------------------------------------------------------------------------------


def _write_source(job: CommentedMap, wishes: Wishes, proposal: Proposal, folder: Path) -> None:
    assert proposal.key is not None
    users = CommentedMap({"path": _seen_from(wishes.source, folder), "key": proposal.key.expression})
    users.yaml_add_eol_comment(printable(proposal.key.why), "key")
    if (there := proposal.there) is not None:
        enabled = {"column": there.column, "values": list(there.values)} if there.values else there.column
        users["enabled"] = _in_one_line(enabled)
        users.yaml_add_eol_comment(printable(there.why), "enabled")
    source = CommentedMap({"connector": "csv", "users": users})
    if wishes.groups is not None:
        key = _pick(_columns(wishes.groups), _GROUP_KEYS)
        source["groups"] = _in_one_line({"path": _seen_from(wishes.groups, folder), "key": key})
        if wishes.members is not None:
            edges = _columns(wishes.members)
            group = next((name for name in edges if "group" in name.lower()), edges[0])
            member = next((name for name in edges if name != group), edges[-1])
            path = _seen_from(wishes.members, folder)
            source["members"] = _in_one_line({"path": path, "group": group, "member": member})
    job["source"] = source
    job.yaml_set_comment_before_after_key("target", before="\n")


def _write_users(users: CommentedMap, proposal: Proposal, made: FirstJob) -> None:
    known = proposal.known
    rules = users["matching"]
    for number in reversed(range(len(rules))):
        if (source := rewritten(str(rules[number]["source"]), known)) is None:
            del rules[number]
        else:
            rules[number]["source"] = source
    if not rules:
        raise SettingsError(
            "The export has neither a login nor an e-mail address, and no number of its people is matched by: "
            "nobody could be found in the target."
        )
    attributes = users["attributes"]
    for path in list(attributes):
        mapping = attributes[path]
        key = next((one for one in ("expression", "reference") if isinstance(mapping, dict) and one in mapping), None)
        text = mapping[key] if key is not None else mapping
        if not isinstance(text, str):
            continue
        if (source := rewritten(text, known)) is None:
            del attributes[path]
            made.left_out.append(f"{path}: the export has no {_lacking(text, proposal)}")
            continue
        if '"' in source:  # without the quotes of the template, which would have to be escaped
            source = PlainScalarString(source)
        if key is not None:
            mapping[key] = source
        else:
            attributes[path] = source
        if source != text and (why := _why(text, known)):
            attributes.yaml_add_eol_comment(printable(why), path)


def _write_groups(job: CommentedMap, wishes: Wishes, made: FirstJob) -> None:
    if "groups" not in job:
        if wishes.groups is not None:
            raise SettingsError(f"{made.app.title} has no groups that Provisor could fill: omit --groups.")
        return
    if wishes.groups is None:
        del job["groups"]
        return
    name = f"[{_pick(_columns(wishes.groups), _GROUP_NAMES)}]"
    for rule in job["groups"]["matching"]:
        rule["source"] = name
    job["groups"]["attributes"]["displayName"] = name


def _why(text: str, known: Mapping[str, Guess]) -> str:
    """Why the columns of a rewritten expression are those that are meant, where that is not plain to see."""
    reasons = [
        guess.why
        for name in re.findall(r"\[(\w+)\]", text)
        if (guess := known.get(name)) is not None and guess.why != SAME_NAME
    ]
    return "; ".join(dict.fromkeys(reasons))


def _lacking(text: str, proposal: Proposal) -> str:
    missing = [name for name in re.findall(r"\[(\w+)\]", text) if name in WELL_KNOWN and name not in proposal.known]
    return " and no ".join(missing) or "column for it"


def _in_one_line(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    made = CommentedMap(value)
    made.fa.set_flow_style()
    return made


def _seen_from(path: Path, folder: Path) -> str:
    """A file as the job names it: from its folder on, where it lies in there."""
    here, there = path.absolute(), folder.absolute()
    return str(here.relative_to(there)) if here.is_relative_to(there) else str(here)


def _pick(columns: list[str], names: tuple[str, ...]) -> str:
    """The column with the first of the names that one has; the first column where none has."""
    known = {plain_name(column): column for column in columns}
    return next((known[name] for name in names if name in known), columns[0])


# --- what a person is told -----------------------------------------------------------------------------------------

_ENVIRONMENT = ".env"


def keep_names(folder: Path, variables: Iterable[str]) -> list[str]:
    """Puts the names of credentials into ``.env`` beside the job, for their holder alone; gives those without a value.

    What is in the file already stays as it is.
    """
    path = folder / _ENVIRONMENT
    before = path.read_text(encoding="utf-8") if path.is_file() else ""
    known = dotenv_values(stream=io.StringIO(before))
    new = [name for name in variables if name not in known and name not in os.environ]
    if new:
        path.touch(mode=0o600)
        path.write_text(before + "".join(f"{name}=\n" for name in new), encoding="utf-8")
    return [name for name in variables if not (os.environ.get(name) or known.get(name))]


def told(made: FirstJob, path: Path, missing: list[str]) -> list[str]:
    """What was written, what to look at, and the next steps, as they can be pasted."""
    job = path if path.parent != Path() else path.stem
    lines = [f"The job is in {path}: {made.app.title}."]
    lines += [f"Please check: {doubt}" for doubt in made.doubts]
    lines += [f"Left out: {sentence}." for sentence in made.left_out]
    if made.examples:
        which = "Line" if len(made.examples) == 1 else "Lines"
        numbers = ", ".join(map(str, made.examples))
        lines.append(
            f"{which} {numbers} of {path} hold{'s' * (which == 'Line')} an example: write what is yours there."
        )
    if missing:
        lines.append(
            f"Put the values of {', '.join(missing)} into {path.parent / _ENVIRONMENT} (only you can read that file)."
        )
    return [*lines, "Then:", f"  provisor preview {job}", f"  provisor check {job}", f"  provisor plan {job}"]
