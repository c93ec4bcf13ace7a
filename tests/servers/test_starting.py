"""The servers that tests start are the ones they ask for, and are gone afterwards."""

import os
import ssl

import httpx
import psycopg
import pytest
import sqlalchemy

from tests.servers import starting
from tests.servers.starting import StartError, dead_port, html_server, postgresql, scim2_server, tls_scim_service


@pytest.fixture
def http():
    with httpx.Client(trust_env=False, timeout=20) as client:
        yield client


def runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_the_independent_scim_server_answers_and_stops(http, tmp_path):
    """scim2-server accepts the token alone, its output is kept, and its process ends with the block."""
    with scim2_server(token="t", logs=tmp_path) as server:
        address = f"{server.url}/Users"
        assert http.get(address, headers={"Authorization": "Bearer t"}).json()["totalResults"] == 0
        assert http.get(address, headers={"Authorization": "Bearer u"}).status_code == 401
    assert not runs(server.pid)
    assert "Serving SCIM" in server.log.read_text()


def test_a_server_that_cannot_start_says_why(tmp_path):
    """A wrong option ends in an error that carries what the program printed, not in a wait."""
    with pytest.raises(StartError, match="unrecognized arguments"), scim2_server(options=("--wrong",), logs=tmp_path):
        pass


def test_postgresql_takes_statements_and_stops():
    """A database server of our own: tables can be made, further databases are empty, nothing is left running."""
    with postgresql() as server:
        engine = sqlalchemy.create_engine(server.url)
        with engine.begin() as connection:
            connection.exec_driver_sql("CREATE TABLE t (name text)")
            connection.exec_driver_sql("INSERT INTO t VALUES ('Ångström')")
        with engine.connect() as connection:
            assert connection.exec_driver_sql("SELECT name FROM t").scalar() == "Ångström"
        engine.dispose()
        other = sqlalchemy.create_engine(server.create_database("other"))
        assert sqlalchemy.inspect(other).get_table_names() == []
        other.dispose()
    assert not runs(server.pid)
    assert not server.log.exists()
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(server.url.replace("+psycopg", ""), connect_timeout=2)


def test_missing_postgresql_names_the_package(monkeypatch, tmp_path):
    """Where the server's programs are missing, the error says what to install."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(starting, "POSTGRESQL_HOME", tmp_path)
    with pytest.raises(StartError, match="apt-get install postgresql"), postgresql():
        pass


def test_the_service_behind_tls_is_trusted_only_by_its_authority(http, tmp_path):
    """A client that knows the authority gets in; one that does not refuses the connection."""
    with tls_scim_service(token="t", logs=tmp_path) as server:
        address, headers = f"{server.url}/Users", {"Authorization": "Bearer t"}
        assert server.url.startswith("https://")
        with pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
            http.get(address, headers=headers)
        context = ssl.create_default_context(cafile=str(server.ca_file))
        with httpx.Client(verify=context, trust_env=False) as knowing:
            assert knowing.get(address, headers=headers).json()["totalResults"] == 0
        assert server.service.requests == {"GET /Users": 1}


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE"])
def test_the_html_server_shows_a_page_to_everybody(method, http):
    """Whatever is asked, the answer is 200 and HTML."""
    with html_server() as server:
        response = http.request(method, f"{server.url}/Users?filter=x", json={})
        assert (response.status_code, response.headers["content-type"]) == (200, "text/html; charset=utf-8")
        assert response.text.startswith("<!DOCTYPE html>")


def test_nobody_listens_on_a_dead_port(http):
    """A connection to a dead port is refused at once."""
    with dead_port() as server, pytest.raises(httpx.ConnectError):
        http.get(server.url)
