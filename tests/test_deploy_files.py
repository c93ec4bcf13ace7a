"""What lies in deploy/ names files, commands, ports and users that exist; nothing here starts a container."""

import re
import shlex
import subprocess
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from flows.cli import app
from flows.serve.deploy import POOL

ROOT = Path(__file__).parents[1]
DEPLOY = ROOT / "deploy"
COMMANDS = {command.callback.__name__.replace("_", "-") for command in app.registered_commands if command.callback}


def read(name: str) -> object:
    return YAML(typ="safe").load((DEPLOY / name).read_text(encoding="utf-8"))


def test_the_image_copies_what_the_package_needs() -> None:
    """Every folder of code, and the files that pyproject.toml names; it never runs as root."""
    text = (DEPLOY / "Dockerfile").read_text(encoding="utf-8")
    copied = {word for line in re.findall(r"^COPY (?!--from)(.+)$", text, re.MULTILINE) for word in line.split()[:-1]}
    assert copied == {"pyproject.toml", "constraints.txt", "README.md", "LICENSE", "flows", "tasks", "connectors"}
    assert all((ROOT / name).exists() for name in copied)
    assert re.search(r"^USER 10001$", text, re.MULTILINE)
    assert text.index("USER 10001") < text.index("ENTRYPOINT")


def test_every_service_runs_a_command_that_exists() -> None:
    """By provisor or by prefect; the worker asks the pool that deployments go to; the proxy reaches the pages' port."""
    services = read("compose.yaml")["services"]  # type: ignore[index]
    assert services["deploy"]["command"][0] in COMMANDS
    assert services["pages"]["command"][0] in COMMANDS
    worker = services["worker"]
    assert (worker["entrypoint"], worker["command"][:4]) == (["prefect"], ["worker", "start", "--pool", POOL])
    assert services["proxy"]["network_mode"] == "service:pages"
    assert services["pages"]["ports"] == ["80:80", "443:443"]
    assert services["pages"]["environment"]["PROVISOR_PAGES_ADDRESS"] == "https://${PAGES_HOST}"
    assert services["deploy"]["depends_on"] == {"prefect": {"condition": "service_healthy"}}
    assert "/api/health" in services["prefect"]["healthcheck"]["test"][-1]
    assert "reverse_proxy 127.0.0.1:4201" in (DEPLOY / "Caddyfile").read_text(encoding="utf-8")
    for name in ("prefect", "deploy", "worker", "pages"):
        assert services[name]["read_only"] is True
        assert services[name]["cap_drop"] == ["ALL"]


def test_every_pod_runs_a_command_that_exists() -> None:
    """By provisor or by prefect, without rights; the proxy in the pod reaches the pages."""
    parts = list(YAML(typ="safe").load_all((DEPLOY / "kubernetes/provisor.yaml").read_text(encoding="utf-8")))
    pods = [one["spec"]["template"]["spec"] for one in parts if one["kind"] == "Deployment"]
    ours = [
        container
        for pod in pods
        for container in (*pod.get("initContainers", ()), *pod["containers"])
        if container["image"] == "provisor"
    ]
    assert [one["name"] for one in ours] == ["prefect", "deploy", "worker", "pages"]
    for one in ours:
        assert one["securityContext"]["readOnlyRootFilesystem"] is True
        assert one.get("command", ["provisor"])[0] in {"prefect", "provisor"}
        assert one["args"][0] in {*COMMANDS, "server", "worker"}
    assert next(one for one in ours if one["name"] == "worker")["args"][3] == POOL
    assert all(pod["securityContext"]["runAsNonRoot"] for pod in pods)
    assert "127.0.0.1:4201" in pods[1]["containers"][-1]["args"]
    kinds = {one["kind"] for one in parts}
    assert kinds == {"PersistentVolumeClaim", "Deployment", "Service"}


def test_the_image_is_made_by_the_steps_of_make() -> None:
    """What CI runs on a fresh clone is what the image runs: environment, byte code, Prefect's empty database."""
    steps = (ROOT / "Makefile").read_text(encoding="utf-8")
    image = (DEPLOY / "Dockerfile").read_text(encoding="utf-8")
    for step in ("--constraint constraints.txt", "compileall", "-m flows.serve.prefect_database", "--editable '.["):
        assert step in steps, step
        assert step in image, step


def test_every_variable_of_compose_has_its_line() -> None:
    """What compose.yaml takes from the environment is in the example, without a value that anybody could keep."""
    taken = set(re.findall(r"\$\{(\w+)\}", (DEPLOY / "compose.yaml").read_text(encoding="utf-8")))
    lines = (DEPLOY / "example.env").read_text(encoding="utf-8").splitlines()
    given = dict(line.split("=", 1) for line in lines if "=" in line and not line.startswith("#"))
    assert taken <= given.keys()
    assert given["POSTGRES_PASSWORD"] == ""


def test_the_unit_is_one() -> None:
    """systemd's own reader finds nothing wrong but that the program is not installed here."""
    unit = (DEPLOY / "systemd/provisor.service").read_text(encoding="utf-8")
    started = shlex.split(re.search(r"^ExecStart=(.+)$", unit, re.MULTILINE)[1])  # type: ignore[index]
    assert Path(started[0]).name == "provisor"
    assert started[1] in COMMANDS
    sections = re.findall(r"^\[(\w+)\]$", unit, re.MULTILINE)
    assert sections == ["Unit", "Service", "Install"]


@pytest.mark.parametrize("name", ["github.yaml", "gitlab.yaml"])
def test_reviews_run_commands_that_exist(name: str) -> None:
    """The scripts are shell that parses, and each provisor command in them is one, with options that it has."""
    text = (DEPLOY / "review" / name).read_text(encoding="utf-8")
    read(f"review/{name}")
    script = re.search(r"^ *status=0\n(?:.*\n)*? *exit \$status$", text, re.MULTILINE)
    assert script is not None
    plain = re.sub(r"\$\{\{[^}]*\}\}", "x", script[0])
    assert subprocess.run(["bash", "-n"], input=plain, text=True, check=False).returncode == 0
    used = re.findall(r"provisor ([a-z-]+)", script[0])
    assert used == ["check", "plan"]
    assert "--format markdown" in script[0]


def test_the_hook_checks_files_alone() -> None:
    """pre-commit gives it several files at once, on machines that reach no system."""
    hooks = YAML(typ="safe").load((ROOT / ".pre-commit-hooks.yaml").read_text(encoding="utf-8"))
    assert [hook["entry"] for hook in hooks] == ["provisor check --offline", "provisor fmt"]
    assert all(re.match(hook["files"], "jobs/hr-to-app.yaml") for hook in hooks)
    assert {hook["entry"].split()[1] for hook in hooks} <= COMMANDS
