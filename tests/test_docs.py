"""The README and the documentation are true: what they show is run, what they name exists, and the site is built."""

import importlib
import io
import os
import re
import subprocess
import sys
import tomllib
import types
from collections.abc import Mapping
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator
from rich.console import Console
from ruamel.yaml import YAML
from typer.testing import CliRunner

import tasks
from connectors import registry
from connectors.contract import Kind, Source, Wanted
from connectors.gallery import apps
from connectors.http_settings import HttpSettings
from connectors.successfactors import attributes as successfactors
from connectors.workday import attributes as workday
from flows.cli import app
from flows.cli.here import decide_now
from flows.show.plan import show_plan
from tasks.advice import ADVICE
from tasks.expressions import FUNCTIONS, function_reference
from tasks.job import BuiltinChecks, Checks, Job, job_schema, load_job
from tasks.job.reference import job_reference
from tests.pictures import SVG
from tests.servers.scim_service import ScimService

ROOT = Path(tasks.__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
LIFE = (ROOT / "tasks" / "README.md").read_text(encoding="utf-8")


def page(name: str) -> str:
    """A page of the documentation."""
    return (ROOT / "docs" / name).read_text(encoding="utf-8")


def block(language: str, text: str) -> str:
    """The first block of code in a language."""
    found = re.search(rf"```{language}\n(.*?)```", text, re.DOTALL)
    assert found, f"there is no {language} block"
    return found.group(1)


def section(name: str) -> str:
    """What stands between the marks of a generated section."""
    found = re.search(rf"<!-- {name}: .*? -->\n(.*?)<!-- end of {name} -->", page(GENERATED[name][0]), re.DOTALL)
    assert found, f"there is no section {name}"
    return found.group(1)


def connector_table() -> str:
    """The connector table as the registry has it."""
    lines = ["| connector | source | target | what it speaks to |", "| --- | --- | --- | --- |"]
    for name in sorted(registry.BUILT_IN):
        one = registry.find(name)
        source, target = ("yes" if side else "" for side in (one.open_source, one.open_target))
        lines.append(f"| `{name}` | {source} | {target} | {one.title} |")
    return "\n".join(lines) + "\n"


def named(catalogue: Mapping[str, object]) -> str:
    """The attributes that a connector has built in, a paragraph."""
    return ", ".join(f"`{name}`" for name in sorted(catalogue)) + "\n"


def error_table() -> str:
    """Every code of the log with its advice."""
    lines = ["| code | cause | what to do |", "| --- | --- | --- |"]
    lines += [f"| `{code}` | {one.category} | {one.action} |" for code, one in sorted(ADVICE.items())]
    return "\n".join(lines) + "\n"


def metric_table() -> str:
    """Every metric with what it counts, from the code that makes them."""
    code = (ROOT / "flows/serve/web/metrics.py").read_text(encoding="utf-8")
    found = re.findall(
        r'(Counter|Gauge)MetricFamily\(\s*"(\w+)",\s*"([^"]+)",\s*labels=\[([^\]]*)\]', code.replace("\n", " ")
    )
    lines = ["| metric | labels | what it is |", "| --- | --- | --- |"]
    for kind, name, about, labels in found:
        whole = f"{name}_total" if kind == "Counter" else name
        lines.append(f"| `{whole}` | {labels.replace(chr(34), '')} | {about} |")
    return "\n".join(lines) + "\n"


GENERATED = {
    "errors": ("reference/errors.md", error_table),
    "metrics": ("reference/metrics.md", metric_table),
    "connectors": ("reference/connectors.md", connector_table),
    "functions": ("reference/expressions.md", lambda: function_reference().strip() + "\n"),
    "job": ("reference/job-file.md", job_reference),
    "successfactors": ("how-to/successfactors.md", lambda: named(successfactors.CATALOGUE)),
    "workday": ("how-to/workday.md", lambda: named(workday.CATALOGUE)),
}


@pytest.mark.parametrize("name", GENERATED)
def test_what_is_made_from_the_code_is_current(request, name):
    """Connectors, functions and keys of the job file are what the code says; ``--update-golden`` writes them anew."""
    file, made = GENERATED[name]
    if request.config.getoption("--update-golden"):
        text = page(file)
        mark = re.search(rf"(<!-- {name}: .*? -->\n).*?(<!-- end of {name} -->)", text, re.DOTALL)
        assert mark
        text = text[: mark.start()] + mark.group(1) + made() + mark.group(2) + text[mark.end() :]
        (ROOT / "docs" / file).write_text(text, encoding="utf-8")
    assert section(name) == made()


def test_every_function_is_documented():
    """Whoever adds a function adds it to the reference."""
    named = set(re.findall(r"^\| `(\w+)", section("functions"), re.MULTILINE))
    assert set(FUNCTIONS) <= named


def planned(folder: Path, monkeypatch: pytest.MonkeyPatch, out: Console) -> None:
    """Shows the plan of the README's job, made for real: Bob has an account, Ann has none."""
    (folder / "people.csv").write_text(block("csv", page("tutorial.md")), encoding="utf-8")
    monkeypatch.setenv("PROVISOR_HOME", str(folder / "state"))
    with ScimService(token="secret") as service:
        monkeypatch.setenv("SCIM_TOKEN", service.token)
        schemas = ["urn:ietf:params:scim:schemas:core:2.0:User"]
        bob = {"userName": "bob.ray@example.com", "displayName": "Bob Ray", "title": "Clerk", "active": True}
        service.seed(users=[{"schemas": schemas, **bob}])
        job = folder / "hr-to-app.yaml"
        job.write_text(block("yaml", README).replace("http://127.0.0.1:8080/v2", service.url), encoding="utf-8")
        decision = decide_now(load_job(job))
        decision.checked.plan.target = decision.checked.plan.target.replace(service.url, "http://127.0.0.1:8080/v2")
        show_plan(out, decision, limit=None)


def test_the_job_of_the_tutorial_gives_the_plan_it_shows(tmp_path, monkeypatch):
    """The ten-line job is planned for real against a SCIM service; the plan is the text in the tutorial."""
    text = io.StringIO()
    planned(tmp_path, monkeypatch, Console(file=text, width=200, highlight=False, soft_wrap=True))
    assert text.getvalue().strip() == block("text", page("tutorial.md")).strip()


def test_the_readme_and_the_tutorial_have_the_same_job():
    for language in ("yaml", "csv"):
        assert block(language, README) == block(language, page("tutorial.md"))
    commands = [line.partition("    #")[0].strip() for line in README.splitlines()]
    assert [line for line in block("sh", page("tutorial.md")).splitlines() if line not in commands] == []


def test_the_picture_of_the_plan_is_current(tmp_path, monkeypatch, golden):
    """The README's picture is the terminal's own; ``--update-golden`` draws it anew, to be looked at."""
    out = Console(record=True, width=96, file=io.StringIO(), force_terminal=True, highlight=False)
    planned(tmp_path, monkeypatch, out)
    golden(ROOT / "docs" / "pictures" / "plan.svg", out.export_svg(title="provisor plan hr-to-app", code_format=SVG))


def test_the_site_is_built_without_a_warning_and_asks_nobody(tmp_path):
    """Every page is in the menu, every link leads somewhere, and no page loads anything from another host."""
    words = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path)]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1", "DISABLE_MKDOCS_2_WARNING": "true"}
    done = subprocess.run(words, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    pages = sorted(tmp_path.rglob("*.html"))
    assert len(pages) > 20
    for one in pages:
        loaded = re.findall(
            r"""<(?:script|link|img)[^>]*(?:src|href)="(https?://[^"]+)""", one.read_text(encoding="utf-8")
        )
        assert loaded == [], one.name


@pytest.mark.parametrize("file", ["README.md", "tasks/README.md"])
def test_links_of_the_readmes_lead_somewhere(file):
    """What they link to is in the repository."""
    text = (ROOT / file).read_text(encoding="utf-8")
    for target in re.findall(r"\]\((?!https?://)([^)#]+)", text):
        assert ((ROOT / file).parent / target).exists(), target


def test_the_data_checks_that_are_shown_are_a_section():
    """They are accepted as they stand, and every built-in check is among them."""
    text = block("yaml", page("how-to/data-checks.md"))
    shown = YAML(typ="safe").load(text)["checks"]
    assert Checks.model_validate(shown).written == 2
    assert list(shown["builtin"]) == list(BuiltinChecks.model_fields)


def test_the_several_sources_that_are_shown_make_a_job():
    """The blocks of the page, one below the other, are accepted as they stand."""
    blocks = re.findall(r"```yaml\n(.*?)```", page("how-to/several-sources.md"), re.DOTALL)
    job = Job.model_validate({**YAML(typ="safe").load("".join(blocks)), "name": "shown", **SHOWN})
    assert job.same_person == "ToLower([mail])"
    assert [one.name for one in job.people] == ["hr", "contractors"]
    assert job.enrich[0].join.own == "[badge]"


SHOWN = {
    "target": {"connector": "scim", "url": "http://127.0.0.1:1"},
    "users": {"matching": [{"source": "[mail]", "target": "userName"}], "attributes": {"userName": "[mail]"}},
}


@pytest.mark.parametrize("name", ["files", "databases"])
def test_the_sections_of_the_page_are_accepted(name):
    """Each source and target that the page shows makes a job, with the rest of one around it."""
    shown = [
        YAML(typ="safe").load(one) for one in re.findall(r"```yaml\n(.*?)```", page(f"how-to/{name}.md"), re.DOTALL)
    ]
    assert shown
    for section in shown:
        source = {"connector": "csv", "users": {"path": "people.csv", "key": "id"}}
        Job.model_validate({"name": "shown", "source": source, **SHOWN, **section})


def test_every_way_to_sign_in_that_is_shown_is_one():
    """Each setting of the section is accepted as it stands, and so is what is commented out in it."""
    text = block("yaml", page("how-to/sign-in.md"))
    shown = [YAML(typ="safe").load(one) for one in re.split(r"\n(?=\S)", text)]
    assert len(shown) > 5
    for setting in shown:
        HttpSettings.model_validate({"url": "https://app.example.com", **setting})
    oauth = next(one["auth"]["oauth"] for one in shown if "oauth" in one.get("auth", {}))
    others = [
        YAML(typ="safe").load(line) for line in re.findall(r"^ *# (\w+: \S.*?)(?: {3,}#.*)?$", text, re.MULTILINE)
    ]
    named = [name for one in others for name in one]
    assert named == ["private_key", "assertion_file", "subject", "refresh_token", "user", "follow_instance_url"]
    given = {name: value for one in others for name, value in one.items()}
    besides = {"subject": ["private_key"], "follow_instance_url": ["assertion_file"]}
    for name in named:
        some = {one: given[one] for one in (name, *besides.get(name, ()))}
        client = {key: value for key, value in oauth.items() if key != "secret"} | some
        HttpSettings.model_validate({"url": "https://app.example.com", "auth": {"oauth": client}})


def test_every_command_is_documented_and_exists():
    """The table of commands is the list of commands."""
    documented = set(re.findall(r"^\| `provisor ([a-z-]+)", page("reference/commands.md"), re.MULTILINE))
    existing = {command.name or command.callback.__name__.replace("_", "-") for command in app.registered_commands}
    assert documented == existing


def test_every_command_line_that_is_shown_would_be_understood():
    """In README and on every page: the command exists, and so does each option of it."""
    known = {
        command.name or command.callback.__name__.replace("_", "-"): command.callback
        for command in app.registered_commands
    }
    options = {
        name: set(re.findall(r"--[a-z][a-z-]*", CliRunner().invoke(app, [name, "--help"]).output)) for name in known
    }
    texts = [README, *(path.read_text(encoding="utf-8") for path in sorted((ROOT / "docs").rglob("*.md")))]
    blocks = [
        line for text in texts for one in re.findall(r"```sh\n(.*?)```", text, re.DOTALL) for line in one.splitlines()
    ]
    shown = [found[1] for line in blocks if (found := re.match(r"\s*provisor ([a-z][^#|>]*)", line))]
    shown += [one for text in texts for one in re.findall(r"`provisor ([a-z][^`]*)`", text)]
    assert len(shown) > 100
    for line in shown:
        command, *words = line.split()
        assert command in known, line
        unknown = {word.partition("=")[0] for word in words if word.startswith("--")} - options[command]
        assert not unknown, (line, unknown)


def test_every_dependency_has_its_lower_bound_and_its_reason():
    """The table of packages is pyproject's list, with the same lower bounds."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = dict(re.match(r"([\w.-]+)(?:\[\w+\])?>=([\w.]+)", text).groups() for text in project["dependencies"])
    rows = re.findall(r"^\| ([a-z][\w.-]+) \| ([\d.]+)[^|]*\| (.+) \|$", page("reference/packages.md"), re.MULTILINE)
    assert {name: bound for name, bound, _ in rows} == wanted
    assert all(reason.strip() for *_, reason in rows)


def test_the_connector_of_the_page_is_a_source(tmp_path):
    """The connector shown there works as it stands."""
    module = types.ModuleType("ldif")
    exec(block("python", page("reference/connectors.md")), module.__dict__)
    (tmp_path / "people.ldif").write_text("dn: cn=ann\nmail: ann@x\n\ndn: cn=bob\nmail: bob@x\n", encoding="utf-8")
    connector = module.CONNECTOR
    source = connector.open_source(connector.source_settings(path="people.ldif"), folder=tmp_path)
    assert isinstance(source, Source)
    assert source.attributes(Kind.USER) is None
    assert source.read(Wanted(users=("mail",))).users["mail"].to_dict() == {"cn=ann": "ann@x", "cn=bob": "bob@x"}


@pytest.mark.parametrize("name", sorted(set(re.findall(r"`((?:flows|tasks|connectors)\.[\w.]+)`", LIFE))))
def test_every_step_of_a_life_names_a_function_that_exists(name):
    """The page about one person names modules and functions; each is there."""
    module, _, attribute = name.rpartition(".")
    try:
        found = importlib.import_module(module)
    except ModuleNotFoundError:
        module, _, owner = module.rpartition(".")
        found = getattr(importlib.import_module(module), owner)
    assert hasattr(found, attribute), f"{name} does not exist"


def test_the_packages_are_those_of_the_checkout():
    """Provisor runs from a checkout; an installed copy under another path would be another program."""
    assert Path(tasks.__file__).parents[1] == Path(__file__).parents[1]


def test_tests_that_pages_name_are_there():
    """A promise leads to the tests that can fail."""
    texts = [path.read_text(encoding="utf-8") for path in (ROOT / "docs").rglob("*.md")]
    named = sorted({name for text in texts for name in re.findall(r"tests/[\w/]+\.py", text)})
    assert len(named) > 15
    assert [name for name in named if not (ROOT / name).is_file()] == []


def _table_rows(text: str, heading: str) -> list[list[str]]:
    """Cells of the first table below a heading, without its own heads."""
    lines = [
        line for line in text.partition(f"## {heading}\n")[2].partition("\n## ")[0].splitlines() if line[:1] == "|"
    ]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def test_every_promise_names_the_makers_of_plans_that_it_is_tested_with():
    """Each mark in the table has a test that exists, and each such test has its mark."""
    text = (ROOT / "docs" / "explanation" / "promises.md").read_text(encoding="utf-8")
    promised = re.findall(r"^(\d+)\. \*\*", text, re.MULTILINE)
    (_, *makers), _, *rows = _table_rows(text, "Who makes plans")
    assert [name.split()[0] for name, *_ in rows] == promised == [str(number) for number in range(1, 19)]
    found = [(name.split()[0], maker, mark) for name, *marks in rows for maker, mark in zip(makers, marks, strict=True)]
    marked = {(number, maker) for number, maker, mark in found if mark == "✓"}
    assert {mark for _, *marks in rows for mark in marks} <= {"✓", "=", "–", "·"}
    shown = set()
    for number, named, test in _table_rows(text, "Which test shows it")[2:]:
        file, _, function = test.strip("`").partition("::")
        assert f"def {function}(" in (ROOT / file).read_text(encoding="utf-8"), test
        shown |= {(number, maker.strip()) for maker in named.split(",")}
    assert shown == marked


def test_commands_of_the_long_forms_are_there():
    """Each suite that attacks the promises has one command."""
    made = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    named = re.findall(r"`make ([\w-]+)`", (ROOT / "tests" / "README.md").read_text(encoding="utf-8"))
    assert len(named) > 5
    assert set(named) <= made


def _whole_jobs() -> dict[str, str]:
    """Examples, templates of the gallery, and each block of a page that is a job by itself."""
    found = {path.name: path.read_text(encoding="utf-8") for path in sorted((ROOT / "flows/jobs").glob("*.yaml"))}
    found |= {f"template of {one.name}": one.template for one in apps()}
    pages = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
    for path in pages:
        blocks = re.findall(r"```yaml\n(.*?)```", path.read_text(encoding="utf-8"), re.DOTALL)
        for number, text in enumerate(blocks, 1):
            if all(re.search(rf"^{key}:", text, re.MULTILINE) for key in ("name", "source", "target")):
                found[f"{path.name}, block {number}"] = text
    return found


def test_editors_find_nothing_wrong_with_any_job_that_is_shown():
    """By the JSON Schema that ``provisor schema`` prints: what loads is not underlined."""
    valid = Draft202012Validator(job_schema())
    jobs = _whole_jobs()
    assert len(jobs) > 35
    wrong = {
        name: [one.message for one in valid.iter_errors(YAML(typ="safe").load(text))] for name, text in jobs.items()
    }
    assert {name: said for name, said in wrong.items() if said} == {}


def test_pages_that_code_and_jobs_name_are_there():
    """Messages, comments of job files, set-up pages: who follows them finds the page."""
    files = [
        path for folder in ("flows", "tasks", "connectors", "deploy", ".ci") for path in (ROOT / folder).rglob("*")
    ]
    texts = {
        path: path.read_text(encoding="utf-8")
        for path in files
        if path.suffix in {".py", ".yaml", ".md", ".env", ".service", ".html", ".txt", ""} and path.is_file()
    }
    named = {
        (path.name, page) for path, text in texts.items() for page in re.findall(r"\b(?:docs|how-to)/[\w/-]+\.md", text)
    }
    missing = [
        (file, page) for file, page in sorted(named) if not any((ROOT / at / page).is_file() for at in ("", "docs"))
    ]
    assert missing == []
    for path in ROOT.glob("connectors/gallery/*/setup.md"):
        for target in re.findall(r"\]\((?!https?://)([^)#]+)", texts[path]):
            assert (path.parent / target).exists(), (path, target)
