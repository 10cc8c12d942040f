"""Recognise the websockets of AI providers, once for each socket, when it is opened."""

from __future__ import annotations

import re
from urllib.parse import parse_qs

from .. import conf
from ..errors import contained
from ..events import UNKNOWN
from ..formats import READERS
from ..providers import runs_site_services
from .endpoints import Target, geography_of, provider_of
from .events_session import EventsSession
from .exchange import is_recorded_trial, trial_events
from .live_session import LiveSession
from .sessions import Session
from .spoken_session import SpokenSession

#: The attribute of a library's socket that has its session; absent from a socket that is not
#: recorded.
KEY = "_ai_usage_session"

# Path ending → wire format. Google's may end with "Constrained", for a browser's token.
_PATHS = {
    "/realtime": "openai.realtime",  # OpenAI, Azure, xAI
    "/responses": "openai.responses",  # OpenAI, xAI
    "/realtime/translations": "openai.audio",
    "/live/sessions": "openai.audio",
    "BidiGenerateContent": "gemini.generate_content",
    "BidiGenerateContentConstrained": "gemini.generate_content",
}
_SESSIONS: dict[str, type[Session]] = {
    "openai.realtime": EventsSession,
    "openai.responses": EventsSession,
    "openai.audio": SpokenSession,
    "gemini.generate_content": LiveSession,
}
#: A copy of a session of OpenAI's Live, which is a session of its own.
_FORK = re.compile(r"(/live/sessions)/[^/]+/fork$")
#: The model, or Azure's deployment of it, in the query of a URL.
_MODEL = re.compile(r"(?:^|&)(?:model|deployment)=")


@contained
def open_session(
    transport: str, host: str, port: int | None, path: str, query: str
) -> Session | None:
    """Return the session of a socket that is being opened, None if it is not to be recorded.

    Args:
        transport: Name of the transport that opens the socket.
        host: The host of the URL.
        port: The port of the URL, None if it names none.
        path: The raw path of the URL, without the query.
        query: The query of the URL.
    """
    wire_format = _format(_FORK.sub(r"\1", path.rstrip("/")))
    if not wire_format or not conf.enabled():
        return None
    wanted = conf.capture()
    if wanted is False or (wanted is not True and transport not in wanted):
        return None
    target = _target(wire_format, host.lower(), port, path)
    if target.provider == UNKNOWN and not conf.unknown_hosts() and not _is_trial():
        return None
    return _SESSIONS[wire_format](target, _model(query))


def _is_trial() -> bool:
    return trial_events.get() is not None or is_recorded_trial.get()


def _format(path: str) -> str:
    own = {
        "/" + ending.strip("/"): wire_format
        for ending, wire_format in conf.paths().items()
        if wire_format in _SESSIONS
    }
    paths = own | _PATHS
    return next((paths[ending] for ending in paths if path.endswith(ending)), "")


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
