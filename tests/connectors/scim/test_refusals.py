"""Answers of every shape become sentences: what was asked, what came, what to do."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from connectors.contract import Status
from connectors.errors import CredentialsError, FatalError, SchemaMismatchError, SettingsError
from tests.connectors.scim.changes import apply_one, create
from tests.connectors.scim.conftest import Opener

SCIM = b'{"schemas":["urn:ietf:params:scim:api:messages:2.0:Error"],"status":"400","scimType":"invalidValue",' \
       b'"detail":"locale is not one of ours"}'  # fmt: skip
PAGE = b"<!DOCTYPE html><html><title>Bad</title></html>"


@contextmanager
def canned(status: int, body: bytes, content_type: str = "application/json", **headers: str) -> Iterator[str]:
    """A server that answers every request alike; gives its address."""

    class Answer(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self) -> None:
            self.rfile.read(int(self.headers.get("content-length", 0)))
            self.send_response(status)
            self.send_header("Content-Type", content_type)
            self.send_header("Content-Length", str(len(body)))
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST = do_PATCH = answer  # noqa: N815

        def log_message(self, *_: object) -> None:
            """Nothing is printed."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/scim"
    finally:
        server.shutdown()
        thread.join(10)
        server.server_close()


SHAPES = {
    "SCIM": (SCIM, "application/scim+json", "HTTP 400, invalidValue: locale is not one of ours"),
    "HTML": (PAGE, "text/html", "HTTP 400, an HTML page"),
    "empty": (b"", "text/plain", "HTTP 400)"),
    "text": (b"locale is not one of ours\n", "text/plain", "HTTP 400, locale is not one of ours"),
    "XML": (b"<?xml version='1.0'?><error/>", "text/xml", "HTTP 400, XML"),
    "problem details": (b'{"title":"Bad","detail":"odd locale"}', "application/problem+json", "HTTP 400, odd locale"),
    "a word": (b'{"error":"odd locale"}', "application/json", "HTTP 400, odd locale"),
    "OAuth": (b'{"error":"x","error_description":"odd locale"}', "application/json", "HTTP 400, odd locale"),
    "an object": (b'{"error":{"code":7,"message":"odd locale"}}', "application/json", "HTTP 400, odd locale"),
    "a list": (b'{"Errors":[{"code":7,"description":"odd locale"}]}', "application/json", "HTTP 400, odd locale"),
    "a bare list": (b'["odd locale"]', "application/json", "HTTP 400, odd locale"),
    "a number": (b"7", "application/json", "HTTP 400)"),
    "broken": (b'{"detail": "odd', "application/json", "HTTP 400"),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_a_refused_create_says_why(shape: str, open_target: Opener) -> None:
    """Status, scimType and the service's own words, as far as it has any, in one sentence."""
    body, content_type, words = SHAPES[shape]
    with canned(400, body, content_type) as url:
        outcome = apply_one(open_target(url), create("ann"))
    assert outcome.status is Status.REJECTED
    assert outcome.message.startswith("Refused to create the user (")
    assert words in outcome.message
    assert "<" not in outcome.message


def test_what_was_sent_is_not_repeated(open_target: Opener) -> None:
    """A service that quotes what it refuses does not bring names into the log, whatever shape its words have."""
    for body in (b'{"errors":[{"message":"ann@example.com is odd"}]}', b"userName ann@example.com is odd"):
        with canned(400, body) as url:
            assert "ann" not in apply_one(open_target(url), create("ann")).message


@pytest.mark.parametrize(
    ("status", "body", "headers", "error", "words"),
    [
        (401, SCIM, {}, CredentialsError, "credentials are not accepted"),
        (401, PAGE, {}, CredentialsError, "Check the token"),
        (401, b"", {}, CredentialsError, "HTTP 401"),
        (403, b'{"detail":"no scope"}', {}, CredentialsError, "not allowed to list users (HTTP 403, no scope)"),
        (404, PAGE, {}, SettingsError, "Is the url right?"),
        (302, b"", {"Location": "https://login.example.com/sso?x=1"}, SettingsError, "https://login.example.com/sso "),
        (200, PAGE, {}, SchemaMismatchError, "Instead of JSON came an HTML page"),
        (200, b"", {}, SchemaMismatchError, "an empty body"),
        (200, b"hello", {}, SchemaMismatchError, "plain text"),
        (200, b"[1]", {}, SchemaMismatchError, "not a JSON object"),
        (200, b'{"users":[]}', {}, SchemaMismatchError, "no Resources"),
        (200, b'{"Resources":', {}, SchemaMismatchError, "broken or cut-off JSON"),
    ],
)  # fmt: skip
def test_a_base_that_is_none_is_told_apart(
    status: int, body: bytes, headers: dict[str, str], error: type[FatalError], words: str, open_target: Opener
) -> None:
    """Wrong token, no right, wrong address, a redirect, and things that are not SCIM: each has its own sentence."""
    content_type = "text/html" if body == PAGE else "application/json"
    with canned(status, body, content_type, **headers) as url, pytest.raises(error) as caught:
        open_target(url).check()
    assert words in str(caught.value)
    assert "?x=1" not in str(caught.value)


def test_a_list_with_the_wrong_content_type_is_read(open_target: Opener) -> None:
    """Many services say application/json, or text/plain: what counts is what the body is."""
    body = b'{"schemas":["urn:ietf:params:scim:api:messages:2.0:ListResponse"],"totalResults":0,"Resources":[]}'
    with canned(200, body, "text/plain") as url:
        assert "answers as a SCIM 2.0 service" in open_target(url).check()
