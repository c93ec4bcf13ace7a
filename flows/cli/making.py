"""Commands for job authors: generate, check, preview, explain and import jobs."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from connectors.errors import ProvisorError, SettingsError
from flows.cli.answering import WRONG, complain, complain_at_length, say, write
from flows.cli.arguments import JobFile, Json, job_file, load


def check(
    jobs: Annotated[list[Path], typer.Argument(metavar="JOB...", help="Job files or job names.", parser=job_file)],
    offline: Annotated[
        bool, typer.Option("--offline", help="Check only the files; contact neither source nor target.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Check a job: the file, both connections, and the mappings against both systems."""
    import orjson

    from flows.serve.jobs_of import refuse_wrong_chain
    from flows.show.check import check_file, check_job, show_checked

    loaded = [(path, load(path)) for path in jobs]
    for _, job in loaded:
        refuse_wrong_chain(job)
    checked = [check_file(job) if offline else check_job(job) for _, job in loaded]
    if as_json:
        documents = [one.as_json() for one in checked]
        write(orjson.dumps(documents[0] if len(documents) == 1 else documents))
        return
    for (path, _), one in zip(loaded, checked, strict=True):
        show_checked(path, one)


def fmt(
    jobs: Annotated[list[Path], typer.Argument(metavar="JOB...", help="Job files or job names.", parser=job_file)],
    looking: Annotated[bool, typer.Option("--check", help="Change nothing; 1 where a file would be changed.")] = False,
) -> None:
    """Format job files: indentation, blank lines and line ends, never the meaning."""
    from flows.cli.formatting import formatted

    texts = {path: formatted(path) for path in jobs}
    changed = [path for path, text in texts.items() if path.read_text(encoding="utf-8") != text]
    for path in changed:
        if not looking:
            path.write_text(texts[path], encoding="utf-8")
        say(f"{path}: {'would be changed' if looking else 'changed'}")
    raise typer.Exit(int(looking and bool(changed)))


def init(
    source: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Export with the people: CSV, Excel, Parquet or JSON Lines (default: ask)."),
    ] = None,
    app: Annotated[str, typer.Option(metavar="APP", help="Target app; provisor apps lists them.")] = "scim",
    target: Annotated[str | None, typer.Option(metavar="URL", help="Target address (default: the app's own).")] = None,
    groups: Annotated[Path | None, typer.Option(metavar="FILE", help="Export with the groups.")] = None,
    members: Annotated[Path | None, typer.Option(metavar="FILE", help="Export with the group memberships.")] = None,
    name: Annotated[str | None, typer.Option(metavar="NAME", help="What the job is called.")] = None,
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="The job's file; the name with .yaml.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a job file that is there.")] = False,
) -> None:
    """Generate a first job from an export: proposes key, matching and mappings, each with its reason."""
    from flows.cli.first_job import Wishes, first_job, keep_names, told

    if source is None:
        if not sys.stdin.isatty():
            raise typer.BadParameter("give the file with the people", param_hint="--source")
        source = Path(typer.prompt("The export with the people (a file)"))
    if target is None and app == "scim" and sys.stdin.isatty():
        target = typer.prompt("The target's address", default="https://app.example.com/scim/v2")
    wishes = Wishes(source=source, groups=groups, members=members, app=app, url=target, name=name)
    folder = (out or Path()).parent
    made = first_job(wishes, folder)
    path = out or Path(f"{made.name}.yaml")
    if path.exists() and not force:
        complain(f"There is a job already: {path}. To replace it, add --force; for another, --name or --out.", WRONG)
    path.write_text(made.text, encoding="utf-8")
    load(path)  # what is proposed is a job, or this says why not
    missing = keep_names(folder, made.variables)
    say(*told(made, path, missing))
    if not missing:
        _first_look(path)


def _first_look(path: Path) -> None:
    """Checks a newly written job and shows its first plan, as far as its systems already respond."""
    from flows.cli.here import decide_now
    from flows.show.check import check_job, show_checked
    from flows.show.console import console
    from flows.show.plan import show_plan

    job = load(path)
    say("")
    try:
        show_checked(path, check_job(job))
        say("", "The first plan; nothing is written:")
        show_plan(console(), decide_now(job), limit=3)
    except ProvisorError as error:
        say(f"Not yet: {error}")


def apps(
    app: Annotated[str | None, typer.Argument(metavar="[APP]", help="Show this app's setup page.")] = None,
    search: Annotated[str | None, typer.Option(metavar="TEXT", help="Only apps whose page contains this text.")] = None,
    as_json: Json = False,
) -> None:
    """List the apps with job templates, or show what one of them needs."""
    import orjson
    from rich.markdown import Markdown as Rendered

    from connectors.gallery import app_called
    from connectors.gallery import apps as all_apps
    from flows.show.console import console
    from flows.show.plan import show_table, table

    if app is not None:
        try:
            found = app_called(app)
        except SettingsError as error:
            complain(str(error), WRONG)
        if as_json:
            write(orjson.dumps({"name": found.name, "title": found.title, "setup": found.setup, "job": found.template}))
        elif sys.stdout.isatty():
            console().print(Rendered(found.setup))
        else:
            say(*found.setup.splitlines())
        return
    listed = [one for one in all_apps() if search is None or search.casefold() in f"{one.name} {one.setup}".casefold()]
    if as_json:
        write(orjson.dumps([{"name": one.name, "title": one.title, "profile": one.profiled} for one in listed]))
        return
    listing = table("app", "what it is", "profile")
    for one in listed:
        listing.add_row(one.name, one.title, "yes" if one.profiled else "")
    show_table(console(), listing)


def preview(
    job: JobFile,
    rows: Annotated[int, typer.Option(metavar="COUNT", min=1, help="How many people.")] = 3,
    watch: Annotated[bool, typer.Option("--watch", help="Refresh whenever the job file changes.")] = False,
    as_json: Json = False,
) -> None:
    """Show what the mappings make of some people of the source; the target is not asked."""
    from flows.show.preview_mapping import run_preview, watch_preview

    if watch and as_json:
        raise typer.BadParameter("--watch cannot be combined with --json", param_hint="--watch")
    if watch:
        watch_preview(job, rows)
    else:
        raise typer.Exit(run_preview(job, rows, as_json=as_json))


def probe(
    job: JobFile,
    writing: Annotated[
        bool, typer.Option("--write", help="Create, change and delete one test user and one test group.")
    ] = False,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the profile to this file, replacing it if it exists.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Test how the job's SCIM service really behaves, and record it as the job's profile."""
    import orjson

    from flows.show.probe import as_document, probe_job, profile_file, show_probed, telling, write_profile

    loaded = load(job)
    path = out or profile_file(loaded)
    if out is None and path.exists():
        complain(f"The profile {path} already exists. To replace it, give it with --out.", WRONG)
    with telling(quiet=as_json) as tell:
        probed = probe_job(loaded, write=writing, tell=tell)
    write_profile(probed, path)
    if as_json:
        write(orjson.dumps(as_document(probed, path)))
    else:
        show_probed(probed)
        say("", f"The profile is in {path}. Cycles of this job use it.", stderr=True)
    raise typer.Exit(1 if probed.left_behind else 0)


def explain(
    expression: Annotated[
        str | None,
        typer.Argument(metavar="EXPRESSION", help="""The expression, as in 'ToLower([mail])'.""", show_default=False),
    ] = None,
    attr: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=VALUE",
            help="A source attribute. NAME= is the empty text, an attribute left out is null, several of one name are "
            "several values, and NAME:json=VALUE takes JSON: true, 7, null, [1, 2].",
        ),
    ] = None,
    now: Annotated[
        str | None, typer.Option(metavar="MOMENT", help="Value of Now(), like 2026-01-31T08:00:00Z.")
    ] = None,
    job: Annotated[
        Path | None, typer.Option(metavar="JOB", help="With --entry: take the attributes from this job's source.")
    ] = None,
    entry: Annotated[
        str | None,
        typer.Option(
            metavar="KEY",
            help="The entry: its key in the source, or its value of a matching attribute. Without EXPRESSION every "
            "mapping of the job is explained for it.",
        ),
    ] = None,
    cases: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Run a file of test cases (JSON) and list the failures.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Show how an expression comes to its value, for given attributes or for a real entry; or run a file of cases."""
    from flows.show.explain import WrongRequestError, run_explain, write_json

    if cases is not None and (expression is not None or attr or job is not None or entry is not None):
        raise typer.BadParameter("the file holds everything; only --now and --json go with it", param_hint="--cases")
    if (job is None) != (entry is None):
        raise typer.BadParameter("--job and --entry go together", param_hint="--entry" if entry else "--job")
    if expression is None and cases is None and job is None:
        raise typer.BadParameter("give an expression, or --job and --entry, or --cases", param_hint="EXPRESSION")
    try:
        if cases is not None:
            from flows.show.cases import run_case_file

            status = run_case_file(cases, now, as_json=as_json)
        elif job is not None and entry is not None:
            from flows.show.explain_entry import run_explain_entry

            status = run_explain_entry(job, entry, expression, attr or [], now, as_json=as_json)
        else:
            status = run_explain(expression or "", attr or [], now, as_json=as_json)
    except WrongRequestError as error:
        if as_json:
            write_json(error.as_json())
        complain_at_length(str(error).split("\n"), WRONG)
    raise typer.Exit(status)


def import_entra(
    schema_file: Annotated[
        Path, typer.Argument(metavar="SCHEMA", help="The exported synchronization schema (JSON).", show_default=False)
    ],
    out: Annotated[Path | None, typer.Option(help="Write the job to this file instead of standard output.")] = None,
) -> None:
    """Make a job file of an exported Microsoft Entra synchronization schema, and say what it cannot hold."""
    from flows.cli.entra_import import EntraSchemaError
    from flows.cli.entra_import.command import run_import

    try:
        run_import(schema_file, out)
    except EntraSchemaError as error:
        complain_at_length(str(error).split("\n"), WRONG)


def schema(
    out: Annotated[Path | None, typer.Option(help="Write it to this file instead of standard output.")] = None,
) -> None:
    """Print the JSON Schema of job files, for editors."""
    import orjson

    from tasks.job import job_schema

    document = orjson.dumps(job_schema(), option=orjson.OPT_INDENT_2)
    if out is None:
        write(document)
    else:
        out.write_bytes(document + b"\n")


def connectors(as_json: Json = False) -> None:
    """List the available connectors."""
    import orjson

    from connectors.registry import find, names
    from flows.show.console import console
    from flows.show.plan import show_table, table

    found = [find(name) for name in names()]
    if as_json:
        sides = [
            {"name": one.name, "title": one.title, "source": bool(one.open_source), "target": bool(one.open_target)}
            for one in found
        ]
        write(orjson.dumps(sides))
        return
    listing = table("connector", "source", "target", "what it speaks to")
    for one in found:
        listing.add_row(one.name, "yes" if one.open_source else "", "yes" if one.open_target else "", one.title)
    show_table(console(), listing)


def demo(
    folder: Annotated[Path, typer.Option(help="Where everything it writes goes.")] = Path("provisor-demo"),
    keep: Annotated[bool, typer.Option("--keep", help="Keep the app running afterwards.")] = False,
) -> None:
    """Import 1,000 people into a real SCIM server, then apply the next day's export."""
    from flows.cli.demo import run_demo

    raise typer.Exit(run_demo(folder, keep=keep))
