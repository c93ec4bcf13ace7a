"""Settings are checked when a job is loaded; credentials stay references until a connection is opened."""

import socket
from pathlib import Path

import pytest
from prefect.settings import PREFECT_API_URL, temporary_settings
from pydantic import ValidationError

from connectors.errors import SettingsError
from connectors.settings import Secret, Settings, reveal


class Door(Settings):
    url: str
    key: Secret


@pytest.mark.parametrize(
    "text", ["${env:TOKEN}", "${file:secrets/token}", "${prefect:app-token}", "${env:A}${env:B}", " ${env:A} "]
)
def test_a_secret_is_made_of_references(text: str) -> None:
    """References are accepted as they are and kept as they are."""
    assert Door(url="https://a.example.com", key=text).key == text


@pytest.mark.parametrize("text", ["s3cr3t", "", "Bearer ${env:TOKEN}", "${env:}", "${vault:x}", "$TOKEN", "${TOKEN}"])
def test_a_secret_is_never_a_value(text: str) -> None:
    """A credential can never be written into a job file, not even in part; the answer says what to write."""
    with pytest.raises(ValidationError) as caught:
        Door(url="https://a.example.com", key=text)
    (error,) = caught.value.errors()
    assert error["loc"] == ("key",)
    assert "${env:NAME}" in error["msg"]


def test_unknown_settings_are_refused() -> None:
    """A misspelled setting is an error, never ignored."""
    with pytest.raises(ValidationError, match="extra_forbidden"):
        Door(url="https://a.example.com", key="${env:A}", timeout=3)


def test_settings_do_not_change() -> None:
    """What was validated is what is used."""
    door = Door(url="https://a.example.com", key="${env:A}")
    with pytest.raises(ValidationError, match="frozen"):
        door.url = "https://b.example.com"


def test_the_environment_is_read_when_it_is_needed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A reference is looked up anew each time: a rotated credential is used without a restart."""
    monkeypatch.setenv("DOOR_KEY", "first")
    assert reveal("Bearer ${env:DOOR_KEY}", folder=tmp_path) == "Bearer first"
    monkeypatch.setenv("DOOR_KEY", "second")
    assert reveal("Bearer ${env:DOOR_KEY}", folder=tmp_path) == "Bearer second"


def test_several_references_and_plain_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every reference of a text is replaced; text without references stays as it is, dollars included."""
    monkeypatch.setenv("DOOR_HOST", "a.example.com")
    (tmp_path / "user").write_text("ops\n")
    assert reveal("https://${file:user}@${env:DOOR_HOST}/$x/{y}", folder=tmp_path) == "https://ops@a.example.com/$x/{y}"


def test_what_a_reference_gives_is_not_looked_up_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A credential that looks like a reference is not followed."""
    monkeypatch.setenv("DOOR_KEY", "${env:HOME}")
    assert reveal("${env:DOOR_KEY}", folder=tmp_path) == "${env:HOME}"


def test_a_file_is_looked_up_from_the_job_file(tmp_path: Path) -> None:
    """Relative files lie beside the job file, wherever the command runs; surrounding blanks and line ends go away."""
    (tmp_path / "keys").mkdir()
    (tmp_path / "keys" / "door").write_text("  pässword \n", encoding="utf-8")
    assert reveal("${file:keys/door}", folder=tmp_path) == "pässword"
    assert reveal(f"${{file:{tmp_path}/keys/door}}", folder=Path("elsewhere")) == "pässword"


@pytest.mark.parametrize(("value", "said"), [(None, "is not set"), ("", "is empty")])
def test_an_unset_variable_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: str | None, said: str
) -> None:
    """A variable that is not set or empty stops with its name, before an empty credential is sent anywhere."""
    monkeypatch.delenv("DOOR_KEY", raising=False)
    if value is not None:
        monkeypatch.setenv("DOOR_KEY", value)
    with pytest.raises(SettingsError, match=rf"environment variable DOOR_KEY \(.*\) {said}"):
        reveal("${env:DOOR_KEY}", folder=tmp_path)


def test_a_file_beside_the_job_may_set_what_the_environment_does_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A job's folder may hold a .env; what the environment says goes before it."""
    (tmp_path / ".env").write_text("DOOR_KEY='from the file'\n", encoding="utf-8")
    monkeypatch.delenv("DOOR_KEY", raising=False)
    assert reveal("Bearer ${env:DOOR_KEY}", folder=tmp_path) == "Bearer from the file"
    monkeypatch.setenv("DOOR_KEY", "from the environment")
    assert reveal("Bearer ${env:DOOR_KEY}", folder=tmp_path) == "Bearer from the environment"


def test_a_file_beside_the_job_that_is_no_text_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As some editors save it; nothing of its content is told."""
    (tmp_path / ".env").write_text("DOOR_KEY=hidden", encoding="utf-16")
    monkeypatch.delenv("DOOR_KEY", raising=False)
    with pytest.raises(SettingsError, match=r"\.env is not UTF-8 text") as refused:
        reveal("${env:DOOR_KEY}", folder=tmp_path)
    assert "hidden" not in str(refused.value)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    """A file that cannot be read stops with its path and the reference."""
    with pytest.raises(SettingsError, match=r"referred to by \$\{file:door\}\) cannot be read: No such file"):
        reveal("${file:door}", folder=tmp_path)


@pytest.mark.parametrize("content", [b"", b" \n", b"s3cr3t\xff"])
def test_a_file_without_text_is_refused_and_not_quoted(tmp_path: Path, content: bytes) -> None:
    """An empty file or one that is not text is refused; nothing of it travels with the error."""
    (tmp_path / "door").write_bytes(content)
    with pytest.raises(SettingsError, match="holds no text") as caught:
        reveal("${file:door}", folder=tmp_path)
    assert caught.value.__context__ is None
    assert caught.value.__cause__ is None


def test_an_api_of_prefect_that_does_not_answer_is_named() -> None:
    """A block that cannot be looked up stops with a sentence, not with a traceback of an HTTP client."""
    with socket.socket() as nobody_listens:
        nobody_listens.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{nobody_listens.getsockname()[1]}/api"
        with (
            temporary_settings({PREFECT_API_URL: address}),
            pytest.raises(SettingsError, match=r"^Prefect does not answer, so \$\{prefect:door\} cannot be looked up"),
        ):
            reveal("${prefect:door}", folder=Path())
