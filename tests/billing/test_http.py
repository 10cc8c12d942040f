"""Sentences for everything that can fail, over real HTTP."""

from __future__ import annotations

import datetime as dt
import email.utils
import html
import socket
import threading
import traceback
from urllib.parse import quote

import pytest

from tests.billing.scripted import Reply, serve
from usage_tracking.billing import BillingError, http

pytestmark = pytest.mark.server

KEY = "sk-admin-T3stAbCdEfGhIjKlMnOpQrStUvWxYz0123456789wxyz"


@pytest.fixture
def server():
    with serve(lambda asked: {"ok": True}) as server:
        yield server


@pytest.fixture
def pauses():
    return []


@pytest.fixture
def client(pauses):
    return make_client(sleep=pauses.append)


def make_client(key: str = KEY, **changes):
    fields = {
        "title": "Acme",
        "needs": "the setting to an admin key",
        "key": key,
        "headers": {"Authorization": f"Bearer {key}"},
        "get": http.get,
        "sleep": lambda seconds: None,
        **changes,
    }
    return http.Client(**fields)


def failure(client, url: str) -> str:
    """Return the sentence, after looking for the key in everything that is printed of it."""
    with pytest.raises(BillingError) as caught:
        client.json(url)
    shown = "".join(traceback.format_exception(caught.value)) + repr(caught.value)
    assert KEY not in shown
    assert KEY[-12:] not in shown
    return str(caught.value)


def error(message: str, status: int, **headers: str) -> Reply:
    return Reply({"error": {"message": message}}, status, headers)


def test_object_is_read_with_exact_fractions(server, client):
    server.script = lambda asked: Reply(b'{"a": 0.1, "b": 2, "c": [NaN]}')
    answer = client.json(f"{server.url}/v1/x", {"limit": 7, "group_by[]": ["a b", "c"]})
    assert str(answer["a"]) == "0.1"
    assert server.asked[0].params == {"limit": ["7"], "group_by[]": ["a b", "c"]}
    assert server.asked[0].headers["Authorization"] == f"Bearer {KEY}"


@pytest.mark.parametrize(
    ("status", "sentence"),
    [
        (
            401,
            "Acme does not accept the key: it is wrong, expired or revoked. Set the setting to an"
            " admin key (401). Acme says: No.",
        ),
        (
            403,
            "Acme does not let the key read /v1/x. Set the setting to an admin key (403). Acme"
            " says: No.",
        ),
        (404, "Acme does not know /v1/x. Check base_url (404). Acme says: No."),
        (400, "Acme refused /v1/x with status 400. Acme says: No."),
        (
            429,
            "Acme limits the rate of requests, and still refused /v1/x after 5 attempts (429)."
            " Try again later. Acme says: No.",
        ),
        (
            503,
            "Acme failed to answer /v1/x after 5 attempts (status 503). Try again later. Acme"
            " says: No.",
        ),
    ],
)
def test_status_is_explained(server, client, status, sentence):
    server.script = lambda asked: error("No.", status)
    with pytest.raises(http.RefusedError) as caught:
        client.json(f"{server.url}/v1/x")
    assert (str(caught.value), caught.value.status) == (sentence, status)
    assert len(server.asked) == (5 if status in {429, 503} else 1)


def test_key_in_an_error_of_the_provider_is_removed(server, client):
    for message in (
        f"Incorrect API key provided: {KEY}. You can find your API key at https://acme.example.",
        f"Incorrect API key provided: {KEY[:12]}{'*' * 20}{KEY[-4:]}.",
        f"invalid x-api-key {KEY}",
        f"got\n{KEY}",
    ):
        server.script = lambda asked, message=message: error(message, 401)
        assert KEY[:12] not in failure(client, f"{server.url}/v1/x")


def test_key_with_signs_is_removed_however_it_is_written(server):
    key = "Qz7pL0v+XeW3/nT5yB=kM9cR2dJ&w"
    client = make_client(key)
    for written in (
        key,
        quote(key, safe=""),
        quote(key).replace("%2B", "%2b"),
        quote(quote(key, safe=""), safe=""),
        html.escape(key),
        key.replace("/", "\\/"),
        key.replace("/", "\\u002f"),
    ):
        for reply in (
            error(f"not {written}!", 401),
            Reply({"error": f"not {written}!"}, 400),
            Reply({"name": f"not {written}!"}),
        ):
            server.script = lambda asked, reply=reply: reply
            try:
                said = str(client.json(f"{server.url}/v1/x"))
            except BillingError as refused:
                said = str(refused)
            assert "not [redacted]!" in said


def test_key_in_a_redirect_is_removed(server, client):
    server.script = lambda asked: Reply(status=307, headers={"Location": f"https://{KEY}.example"})
    assert "to https://[redacted]" in failure(client, f"{server.url}/v1/x")


def test_page_of_a_proxy_is_not_taken_for_a_wrong_key(server, client):
    server.script = lambda asked: Reply(b"<html>Blocked</html>", 403)
    assert failure(client, f"{server.url}/v1/x").startswith(
        "Acme or a proxy in between refused /v1/x with status 403, and the answer is not JSON."
    )


@pytest.mark.parametrize("status", [201, 204, 304])
def test_status_of_no_error_is_explained(server, client, status):
    server.script = lambda asked: Reply(b"", status)
    assert failure(client, f"{server.url}/v1/x") == (
        f"Acme answered /v1/x with status {status} and without a bill. Check base_url, and proxies"
        " in between."
    )


def test_proxy_that_cannot_be_reached_is_named(client, monkeypatch):
    for url, said in [
        ("http://127.0.0.1:1", "Acme (http://api.acme.example, through a proxy) cannot be reached"),
        ("http://127.0.0.1:none", "The base_url of Acme and the proxy must be an http(s) URL."),
    ]:
        monkeypatch.setenv("http_proxy", url)
        assert failure(client, "http://api.acme.example/v1/x").startswith(said)


def test_error_may_be_text(server, client):
    server.script = lambda asked: Reply({"error": "Missing scopes: api.usage.read"}, 403)
    message = failure(client, f"{server.url}/v1/x")
    assert message.endswith("Acme says: Missing scopes: api.usage.read")


def test_long_message_is_cut(server, client):
    server.script = lambda asked: error("word " * 10_000, 400)
    assert len(failure(client, f"{server.url}/v1/x")) < 400


@pytest.mark.parametrize(
    "body", [b"<html>Bad gateway</html>", b"", b"[]", b"[1]", b'{"error": 5}', b"\xff", b"[" * 9999]
)
def test_error_without_a_message_is_explained(server, client, body):
    server.script = lambda asked: Reply(body, 400)
    assert failure(client, f"{server.url}/v1/x") == "Acme refused /v1/x with status 400."


def test_limit_that_ends_is_waited_for(server, client, pauses):
    replies = iter(
        [
            error("", 429, **{"Retry-After": "7"}),
            error("", 529),
            error("", 429, **{"Retry-After": "9999"}),
            Reply({"ok": True}),
        ]
    )
    server.script = lambda asked: next(replies)
    assert client.json(f"{server.url}/v1/x") == {"ok": True}
    assert pauses == [7, 2, 60]


def test_retry_after_may_be_a_date_or_nonsense(server, client, pauses):
    later = dt.datetime.now(dt.UTC) + dt.timedelta(hours=1)
    replies = iter(
        [
            error("", 503, **{"Retry-After": email.utils.format_datetime(later, usegmt=True)}),
            error("", 503, **{"Retry-After": "Mon, 01 Jan 2001 00:00:00 GMT"}),
            error("", 503, **{"Retry-After": "soon"}),
            Reply({"ok": True}),
        ]
    )
    server.script = lambda asked: next(replies)
    assert client.json(f"{server.url}/v1/x") == {"ok": True}
    assert pauses == [60, 0, 4]


def test_redirect_is_not_followed(server, client):
    with serve(lambda asked: {"stolen": True}) as other:
        server.script = lambda asked: Reply(status=302, headers={"Location": f"{other.url}/v1"})
        message = failure(client, f"{server.url}/v1/x")
        assert message.startswith(f"Acme redirects /v1/x to {other.url} (302).")
        assert other.asked == []


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>",
        b"[]",
        b'"text"',
        b"null",
        b"{",
        b"\xff\xfe",
        b"[" * 99_999,
        b'{"a": 1e99999999999999999999}',
    ],
)
def test_answer_that_is_not_an_object_is_explained(server, client, body):
    server.script = lambda asked: Reply(body)
    assert failure(client, f"{server.url}/v1/x") == (
        "The answer of Acme to /v1/x is not a JSON object. Check base_url, and proxies in between."
    )


def test_large_answer_is_not_read_to_its_end(server, client, monkeypatch):
    monkeypatch.setattr(http, "MAX_BODY", 1024 * 1024)
    server.script = lambda asked: Reply({"data": "x" * 1024 * 1024})
    assert failure(client, f"{server.url}/v1/x") == (
        "The answer of Acme to /v1/x is larger than 1 MB. Fetch fewer days at a time."
    )


def test_answer_that_breaks_off_is_an_error(server, client):
    server.script = lambda asked: Reply({"data": "x" * 1000}, cut=500)
    assert failure(client, f"{server.url}/v1/x") == (
        f"Acme ({server.url}) cannot be reached: The answer breaks off."
    )


def test_answer_that_is_not_http_is_an_error(client):
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def answer() -> None:
            connection, _ = listening.accept()
            with connection:
                connection.recv(4096)
                connection.sendall(b"SSH-2.0-OpenSSH_9.9\r\n\r\n")

        thread = threading.Thread(target=answer, daemon=True)
        thread.start()
        port = listening.getsockname()[1]
        assert failure(client, f"http://127.0.0.1:{port}/v1/x") == (
            f"Acme (http://127.0.0.1:{port}) cannot be reached: The answer is broken"
            " (BadStatusLine)."
        )
        thread.join(30)


def test_server_that_does_not_answer_is_given_up(client, monkeypatch):
    monkeypatch.setattr(http, "TIMEOUT", 0.05)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        assert failure(client, f"http://127.0.0.1:{port}/v1/x") == (
            f"Acme (http://127.0.0.1:{port}) did not answer in time: it sent nothing for 0.05"
            " seconds, or not everything within 120 seconds."
        )


def test_answer_that_drips_is_given_up(server, client, monkeypatch):
    monkeypatch.setattr(http, "DEADLINE", -1)
    assert "did not answer" in failure(client, f"{server.url}/v1/x")


def test_closed_port_and_unknown_host_are_explained(client):
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
    assert "cannot be reached" in failure(client, f"http://127.0.0.1:{port}/v1/x")
    message = failure(client, "http://nothing.invalid/v1/x")
    assert message.startswith("Acme (http://nothing.invalid) cannot be reached: ")


@pytest.mark.parametrize("url", ["file:///etc/hosts", "ftp://127.0.0.1/x", "data:,{}"])
def test_only_http_is_spoken(client, url):
    assert "cannot be reached" in failure(client, url)


@pytest.mark.parametrize(
    "url", ["nothing", "http://[::1", "http://127.0.0.1:port/x", "http://a:b@c.invalid/x"]
)
def test_url_that_is_none_is_explained(client, url):
    assert failure(client, url) == "The base_url of Acme must be an http(s) URL."


@pytest.mark.parametrize("key", ["", KEY + "\n", f"{KEY}\r\nHost: x", KEY + "é"])
def test_key_that_cannot_be_sent_is_refused(key):
    with pytest.raises(BillingError) as caught:
        make_client(key)
    assert str(caught.value) == (
        "The key of Acme must be printable ASCII text without line breaks."
    )


def test_repr_shows_no_key(client):
    assert repr(client) == "Client(title='Acme', needs='the setting to an admin key')"
