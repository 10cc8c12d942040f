"""Recognise the websockets of AI providers, once for each socket, when it is opened."""

from __future__ import annotations

import re
from urllib.parse import parse_qs

from ..errors import contained
from ..events import UNKNOWN
from ..formats import READERS
from ..providers import runs_site_services
from . import paths
from .endpoints import Target, geography_of, provider_of
from .events_session import EventsSession
from .exchange import is_wanted
from .keys import Lookup, hint_in
from .live_session import LiveSession
from .sessions import Session
from .spoken_session import SpokenSession

#: The attribute of a library's socket that has its session; absent from a socket that is not
#: recorded.
KEY = "_ai_usage_session"

_SESSIONS: dict[str, type[Session]] = {
    "openai.realtime": EventsSession,
    "openai.responses": EventsSession,
    "openai.audio": SpokenSession,
    "gemini.generate_content": LiveSession,
}
#: The codes with which a socket ends regularly:
#: https://www.rfc-editor.org/rfc/rfc6455#section-7.4.1
_REGULAR = frozenset({1000, 1001, 1005})
#: The model, or Azure's deployment of it, in the query of a URL.
_MODEL = re.compile(r"(?:^|&)(?:model|deployment)=")


@contained
def open_session(
    transport: str,
    host: str,
    port: int | None,
    path: str,
    query: str,
    header: Lookup | None = None,
) -> Session | None:
    """Return the session of a socket that is being opened, None if it is not to be recorded.

    Args:
        transport: Name of the transport that opens the socket.
        host: The host of the URL.
        port: The port of the URL, None if it names none.
        path: The raw path of the URL, without the query.
        query: The query of the URL.
        header: Looks up a header of the request that opens the socket, see `hint_in`.
    """
    wire_format = paths.table().find_socket(path)
    if not wire_format:
        return None
    target = _target(wire_format, host.lower(), port, path)
    if not is_wanted(transport, target):
        return None
    session = _SESSIONS[wire_format](target, _model(query))
    session.key_hint = "" if header is None else hint_in(header)
    return session


def error_of(code: int | None) -> ConnectionError | None:
    """Return the error of a socket that was closed with a code, None if it ended regularly."""
    if not code or code in _REGULAR:
        return None
    return ConnectionError(f"WebSocket closed with code {code}")


def _target(wire_format: str, host: str, port: int | None, path: str) -> Target:
    provider = provider_of(host, port, path)
    is_unknown = provider is None or runs_site_services(host)
    provider = provider or UNKNOWN
    return Target(
        wire_format,
        READERS[wire_format].operation,
        provider,
        model="",
        unknown_host=(f"{host}:{port}" if port else host) if is_unknown else "",
        geography=geography_of(provider, host, path),
    )


def _model(query: str) -> str:
    if _MODEL.search(query) is None:
        return ""
    named = parse_qs(query)
    return (named.get("model") or named.get("deployment") or [""])[0]
