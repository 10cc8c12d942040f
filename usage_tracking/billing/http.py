"""GET with time-outs, limits and retries, and a clear sentence for everything that fails."""

from __future__ import annotations

import email.utils
import html
import http.client
import json
import re
import ssl
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, NamedTuple
from urllib.error import URLError
from urllib.parse import quote_plus, urlsplit
from urllib.request import (
    HTTPHandler,
    HTTPSHandler,
    OpenerDirector,
    ProxyHandler,
    Request,
    UnknownHandler,
    getproxies,
    proxy_bypass,
)

from ..redaction import REDACTED, clean_error, clean_text
from .billed import BillingError

#: Seconds without a byte, and seconds for the whole answer.
TIMEOUT = 30
DEADLINE = 120
#: Bytes of the largest answer that is read.
MAX_BODY = 32 * 1024 * 1024
#: Requests for one page, and the longest pause between two, in seconds.
ATTEMPTS = 5
MAX_PAUSE = 60.0

_MAX_MESSAGE = 300
#: Characters of the shortest key that is removed from answers: a shorter one may be part of words.
_SHORTEST_KEY = 16
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_CHUNK = 64 * 1024

Params = Mapping[str, str | int | Sequence[str]]


class Answer(NamedTuple):
    """What a server answered. A body that is longer than MAX_BODY is cut behind that."""

    status: int
    headers: Mapping[str, str]
    body: bytes


#: Sends a GET with headers to a URL. Raises OSError if there is no answer.
Get = Callable[[str, Mapping[str, str]], Answer]


class RefusedError(BillingError):
    """An answer with an error status, which is in `status`."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


def get(url: str, headers: Mapping[str, str]) -> Answer:
    """Send a GET with the standard library, through the proxies that the environment names.

    It follows no redirect: the next server would get the key.

    Raises:
        OSError: There is no answer, or it breaks off.
        ValueError: The URL or a header is not valid.
    """
    request = Request(url, headers=dict(headers))  # noqa: S310 -- the opener knows only http(s)
    ends = time.monotonic() + DEADLINE
    try:
        with _opener().open(request, timeout=TIMEOUT) as response:
            body = bytearray()
            while len(body) <= MAX_BODY and (chunk := response.read1(_CHUNK)):
                body += chunk
                if time.monotonic() > ends:
                    raise TimeoutError
            if response.length and len(body) <= MAX_BODY:
                raise ConnectionError("The answer breaks off.")
            return Answer(response.status, response.headers, bytes(body[: MAX_BODY + 1]))
    except http.client.InvalidURL as error:
        raise ValueError("The URL is not valid.") from error
    except http.client.HTTPException as error:
        raise ConnectionError(f"The answer is broken ({type(error).__name__}).") from error


def _opener() -> OpenerDirector:
    """Return an opener without handlers of files, redirects and errors."""
    opener = OpenerDirector()
    for handler in (ProxyHandler, UnknownHandler, HTTPHandler, HTTPSHandler):
        opener.add_handler(handler())
    return opener


@dataclass(frozen=True, slots=True)
class Client:
    """Reads JSON from the API of one provider. Its errors and its repr do not contain the key.

    Raises:
        BillingError: The key cannot be sent.
    """

    title: str
    #: The kind of key that the API needs, such as "an admin key".
    needs: str
    key: str = field(repr=False)
    #: The headers that identify the account.
    headers: Mapping[str, str] = field(repr=False)
    get: Get = field(repr=False)
    sleep: Callable[[float], None] = field(repr=False)
    _written_key: re.Pattern[str] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Check the key: errors of http.client would show it."""
        key = self.key
        if not (key and key.isascii() and key.isprintable()):
            raise BillingError(
                f"The key of {self.title} must be printable ASCII text without line breaks."
            )
        written = re.compile("".join(map(_written, key)))
        object.__setattr__(self, "_written_key", written)

    def json(self, url: str, params: Params | None = None) -> dict[str, Any]:
        """Return the JSON object at `url`, without the key; numbers with a fraction are Decimal.

        Retries 429 and 5xx after the pause that `Retry-After` names, at most MAX_PAUSE.

        Raises:
            RefusedError: The answer has another status than 200.
            BillingError: There is no answer, or none that can be read.
        """
        answer = self._answer(f"{url}?{_query(params)}" if params else url)
        if answer.status != 200:
            raise RefusedError(self._refusal(url, answer), answer.status)
        if len(answer.body) > MAX_BODY:
            raise BillingError(
                f"The answer of {self.title} to {_path(url)} is larger than"
                f" {MAX_BODY // 1024 // 1024} MB. Fetch fewer days at a time."
            )
        try:
            text = answer.body.decode(json.detect_encoding(answer.body), "surrogatepass")
            if len(self.key) >= _SHORTEST_KEY:
                # A name or a value that is the key would be stored or shown.
                text = self._written_key.sub(REDACTED, text)
            value = json.loads(text, parse_float=Decimal)
        except (ValueError, ArithmeticError, RecursionError):
            value = None
        if not isinstance(value, dict):
            raise BillingError(
                f"The answer of {self.title} to {_path(url)} is not a JSON object. Check base_url,"
                " and proxies in between."
            )
        return value

    def _answer(self, url: str) -> Answer:
        headers = {"Accept": "application/json", "User-Agent": "usage_tracking", **self.headers}
        for attempt in range(1, ATTEMPTS + 1):
            try:
                answer = self.get(url, headers)
            except OSError as error:
                raise BillingError(self._unreachable(url, error)) from None
            except ValueError:  # Its text may show headers.
                places = _proxy(url, " and the proxy")
                raise BillingError(
                    f"The base_url of {self.title}{places} must be an http(s) URL."
                ) from None
            if attempt == ATTEMPTS or not (answer.status == 429 or answer.status >= 500):
                break
            self.sleep(_pause(answer.headers, attempt))
        return answer

    def _unreachable(self, url: str, error: OSError) -> str:
        reason = error.reason if isinstance(error, URLError) else error
        where = _host(url) + _proxy(url, ", through a proxy")
        if isinstance(reason, TimeoutError):
            return (
                f"{self.title} ({where}) did not answer in time: it sent nothing for {TIMEOUT}"
                f" seconds, or not everything within {DEADLINE} seconds."
            )
        advice = ""
        if isinstance(reason, ssl.SSLCertVerificationError):
            advice = (
                " If a proxy in between has a certificate of its own, set SSL_CERT_FILE to a file"
                " with its authority."
            )
        return f"{self.title} ({where}) cannot be reached: {self._clean(str(reason))}{advice}"

    def _refusal(self, url: str, answer: Answer) -> str:
        status, path = answer.status, _path(url)
        if status in _REDIRECTS:
            target = self._clean(_host(answer.headers.get("Location", "")))
            return (
                f"{self.title} redirects {path} to {target or 'another address'} ({status})."
                " Redirects are not followed, because the key would go with them: set base_url to"
                " the final address."
            )
        says = self._message(answer.body)
        if status in {401, 403} and not answer.body.lstrip().startswith(b"{"):
            return (
                f"{self.title} or a proxy in between refused {path} with status {status}, and the"
                f" answer is not JSON. Check base_url, proxies, and the key: set {self.needs}."
            )
        kind = 500 if status >= 500 else 200 if status < 400 else 0
        return _SENTENCES.get(status, _SENTENCES[kind]).format(
            title=self.title, path=path, status=status, needs=self.needs, attempts=ATTEMPTS
        ) + (f" {self.title} says: {says}" if says else "")

    def _message(self, body: bytes) -> str:
        """Return the provider's own words, which may repeat the key, without it."""
        try:
            error = json.loads(body[:_CHUNK])["error"]
        except (ValueError, RecursionError, KeyError, TypeError):
            return ""
        message = error.get("message") if isinstance(error, dict) else error
        return self._clean(message) if isinstance(message, str) else ""

    def _clean(self, text: str) -> str:
        text = clean_error(self._written_key.sub(REDACTED, text))
        return clean_text(" ".join(text.split()), _MAX_MESSAGE)


_SENTENCES = {
    0: "{title} refused {path} with status {status}.",
    200: (
        "{title} answered {path} with status {status} and without a bill. Check base_url, and"
        " proxies in between."
    ),
    401: "{title} does not accept the key: it is wrong, expired or revoked. Set {needs} (401).",
    403: "{title} does not let the key read {path}. Set {needs} (403).",
    404: "{title} does not know {path}. Check base_url (404).",
    429: (
        "{title} limits the rate of requests, and still refused {path} after {attempts} attempts"
        " (429). Try again later."
    ),
    500: (
        "{title} failed to answer {path} after {attempts} attempts (status {status}). Try again"
        " later."
    ),
}


def _written(character: str) -> str:
    """Return a pattern of a character as text, JSON, URLs and HTML write it."""
    plain = re.escape(character)
    if character.isalnum() or character in "-_.~":
        return plain
    code, named = ord(character), re.escape(html.escape(character))
    escaped = rf"{named}|&\#{code};|&\#x{code:x};|\\{{1,4}}u00{code:02x}|%(?:25)*{code:02x}"
    return rf"(?i:{escaped}|\\{{0,4}}{plain})"


def _query(params: Params) -> str:
    return "&".join(
        f"{quote_plus(name)}={quote_plus(str(item))}"
        for name, value in params.items()
        for item in ([value] if isinstance(value, str | int) else value)
    )


def _pause(headers: Mapping[str, str], attempt: int) -> float:
    """Return the seconds to wait after an attempt."""
    text = headers.get("Retry-After", "").strip()
    if text.isascii() and text.isdigit():
        seconds = float(text[:9])
    else:
        try:
            seconds = email.utils.parsedate_to_datetime(text).timestamp() - time.time()
        except (ValueError, OverflowError):
            seconds = 2.0 ** (attempt - 1)
    return min(max(seconds, 0.0), MAX_PAUSE)


def _path(url: str) -> str:
    return urlsplit(url).path


def _proxy(url: str, text: str) -> str:
    """Return the text if the environment names a proxy for the URL, or else ""."""
    scheme, _, host = _host(url).partition("://")
    return text if scheme in getproxies() and not proxy_bypass(host) else ""


def _host(url: str) -> str:
    """Return scheme and host without the credentials that a URL may contain."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return ""
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}" if parts.netloc else ""
