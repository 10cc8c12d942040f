"""What a site tracks, and whether capture records a request.

A request is judged by its URL, or by what is known about an SDK.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import lru_cache
from typing import Any, Self

from .. import providers
from ..call_paths import MODEL, Kind, Match, Paths, fits

#: Transports whose calls usage_tracking records; a test compares them with `capture.TRANSPORTS`.
HOOKED = frozenset(
    {
        *("httpx", "httpx2", "requests", "aiohttp", "botocore", "grpc"),
        *("websockets", "httpx_ws", "websocket_client"),
    }
)


@dataclass(frozen=True, slots=True)
class Tracking:
    """What a site tracks, by its settings; without a site, by their defaults."""

    #: AI_USAGE_ENABLED
    is_enabled: bool = True
    #: The transports whose calls are recorded.
    hooked: frozenset[str] = HOOKED
    #: AI_USAGE_PATHS: path ending → wire format and operation.
    paths: tuple[tuple[str, Kind], ...] = ()
    #: AI_USAGE_GATEWAYS: `host[:port][/prefix]` → provider.
    gateways: tuple[tuple[str, str], ...] = ()
    #: AI_USAGE_UNKNOWN_HOSTS
    records_unknown_hosts: bool = True
    #: AI_USAGE_PROPAGATE_THREADS
    reaches_threads: bool = True
    #: The middleware is installed, without which the section of a view is not read.
    reads_views: bool = True


DEFAULT = Tracking()

#: Operation of a wire format → kind, where that has another name.
_KINDS = {
    "": "prediction",
    "text_completion": "completion",
    "image_generation": "image",
    "video_generation": "video",
    "invoke_agent": "agent",
    "generate_content": "chat",
    "decision": "chat",
    "classification": "chat",
}

_URL = re.compile(
    r"^(?:(?P<scheme>[a-z]+)://)?(?P<host>(?:\{[^}]*\}|[^/?#{])*)(?P<path>(?:\{[^}]*\}|[^?#{])*)",
    re.IGNORECASE,
)
_UNKNOWN_PART = re.compile(r"\{[^}]*\}")
#: A part that names one thing, and so is not the end of an unknown path.
_NAME_OF_ONE = re.compile(
    r"/\{(?:[^}]*[._])?(?:id|uuid|model|engine|deployment|voice|speaker|agent|bot)\}/?$"
    r"|[a-z]s/\{(?:[^}]*[._])?(?:slug|name|key)\}/?$",
    re.IGNORECASE,
)


def is_recorded(
    url: str, method: str = "POST", tracking: Tracking = DEFAULT, provider: str = ""
) -> bool | None:
    """Return whether capture records a request, None if the known parts of the URL leave it open.

    A call to an unknown host counts as recorded if its path is one of an AI call: capture records
    it if the answer has the right shape, unless AI_USAGE_UNKNOWN_HOSTS is False.

    Args:
        url: The URL, with its unknown parts in braces: `https://{HOST}/v1/chat/completions`.
        method: The HTTP method, in upper case.
        tracking: What the site tracks.
        provider: The provider that a URL without a known host belongs to, "" if it is unknown.
    """
    place = _Place.of(url)
    if place is None:
        return None
    known: str | None = place.provider(tracking) or provider or None
    found = _is_call(place, method, known, _table(tracking.paths))
    if found is False or known is not None or tracking.records_unknown_hosts:
        return found
    return None if place.may_be_known(tracking) else False


def reaches(url: str, tracking: Tracking) -> bool | None:
    """Return whether calls to a host are recorded if their path is; None if that is unknown."""
    place = _Place.of(url)
    if place is None:
        return None
    if tracking.records_unknown_hosts or place.provider(tracking) is not None:
        return True
    return None if place.may_be_known(tracking) else False


def gateway_of(url: str, tracking: Tracking) -> str | None:
    """Return the provider behind a gateway of the site, None if the URL is not below one."""
    place = _Place.of(url) if tracking.gateways else None
    if place is None:
        return None
    provider = place.provider(tracking)
    return None if provider == place.provider(DEFAULT) else provider


def kind_by_settings(url: str, tracking: Tracking) -> str:
    """Return the kind of a request that is a call by the settings of the site, "" for others.

    It goes to a path in AI_USAGE_PATHS, or to one of a model below a gateway.
    """
    place = _Place.of(url) if tracking.paths or tracking.gateways else None
    if place is None:
        return ""
    table = _table(tracking.paths)
    match = _match(place.filled_path, "POST", place.provider(tracking), table)
    if match is None or not (match.ending in table.own or gateway_of(url, tracking)):
        return ""
    return _KINDS.get(match.operation, match.operation)


@lru_cache(maxsize=8)
def _table(own: tuple[tuple[str, Kind], ...]) -> Paths:
    return Paths(dict(own))


@dataclass(frozen=True, slots=True)
class _Place:
    """The parts of a URL, with their unknown parts in braces."""

    scheme: str
    #: Also user and port; "" if the URL is relative.
    host: str
    path: str

    @classmethod
    def of(cls, url: str) -> Self | None:
        parts = _URL.match(url.strip())
        if parts is None:
            return None
        host, path = parts["host"], re.sub(r"/{2,}", "/", parts["path"])
        if not (parts["scheme"] or "." in host or "{" in host or ":" in host):
            host, path = "", "/" + host.strip("/") + path
        return cls((parts["scheme"] or "").lower(), host, path)

    @property
    def filled_path(self) -> str:
        return _UNKNOWN_PART.sub("x1", self.path)

    @property
    def authority(self) -> tuple[str, str]:
        """The name of the host, in lower case, and the port."""
        host = _UNKNOWN_PART.sub("{}", self.host)
        name, _, port = host.rpartition("@")[2].partition(":")
        return name.lower(), port

    def provider(self, tracking: Tracking) -> str | None:
        """Return the provider that capture finds behind the host."""
        name, port = self.authority
        number = int(port) if port.isdecimal() else None
        name = _UNKNOWN_PART.sub("x", name)
        return providers.provider_at(name, number, self.filled_path, tracking.gateways)

    def may_be_known(self, tracking: Tracking) -> bool:
        """Return whether the unknown parts may make the host one of a provider or gateway."""
        name, port = self.authority
        hosts = [place.partition("/")[0].partition(":")[0] for place, _ in tracking.gateways]
        if "{" in self.path and name in map(str.lower, hosts):
            return True  # a gateway may have a prefix
        if not name or "{" in port:
            return True
        if "{" not in name:
            return False
        fitting = re.compile(".+".join(map(re.escape, _UNKNOWN_PART.split(name))))
        hosts += [host.replace("*", "x") for host in providers.HOSTS]
        return any(fitting.fullmatch(host.lower()) for host in hosts)


def _is_call(place: _Place, method: str, provider: str | None, paths: Paths) -> bool | None:
    host, path = place.host, place.path
    if place.scheme in {"ws", "wss"}:
        is_call = bool(paths.find_socket(place.filled_path))
    else:
        is_call = _match(place.filled_path, method, provider, paths) is not None
    if is_call:
        return True
    # A part in place of the whole host may also hold the beginning of the path.
    is_open = "{" in path or not host or _UNKNOWN_PART.fullmatch(host) is not None
    tail = path.rpartition("}")[2].rstrip("/")
    if is_open and not _NAME_OF_ONE.search(path) and paths.may_end_with(tail):
        return None
    return False


def _match(path: str, method: str, provider: str | None, paths: Paths) -> Match | None:
    match = paths.find(method, path) if method in {"GET", "POST"} else None
    if match is None:
        return None
    model = MODEL.search(path)
    is_call = fits(match, model[model.lastgroup or 0] if model else "", provider)
    return match if is_call else None


@dataclass(frozen=True, slots=True)
class Requests:
    """What is known about the requests of an SDK's calls. Calls may be patterns."""

    #: Call → URL: `{"text_to_speech.*": "https://api.example.com/v1/speech/{voice}"}`.
    urls: Mapping[str, str]
    #: Calls whose requests capture does not record, and that have no URL.
    unrecorded: Sequence[str]
    #: Calls whose requests capture may or may not record.
    uncertain: Sequence[str]
    #: What is known about all calls of the provider.
    shared: Requests | None = None
    #: What the site tracks.
    tracking: Tracking = DEFAULT
    #: Whether any of the provider's hosts is one whose calls are recorded.
    is_reached: bool = True

    @classmethod
    def read(
        cls, entry: Mapping[str, Any], tracking: Tracking, shared: Requests | None = None
    ) -> Self:
        """Return what an entry of a data file has."""
        return cls(
            entry.get("urls", {}),
            entry.get("unrecorded", ()),
            entry.get("uncertain", ()),
            shared,
            tracking,
            _is_any_reached(entry.get("hosts", ()), tracking),
        )

    def of(self, call: str, *, otherwise: bool | None = True) -> bool | None:
        """Return whether capture records the requests of a call, `otherwise` if nothing is said."""
        if _is_any(call, self.unrecorded):
            return False
        if _is_any(call, self.uncertain):
            return None
        for pattern, url in self.urls.items():
            if fnmatchcase(call, pattern):
                return is_recorded(url, tracking=self.tracking)
        if self.shared:
            return self.shared.of(call, otherwise=otherwise)
        return otherwise if self.is_reached else False


def _is_any_reached(hosts: Sequence[str], tracking: Tracking) -> bool:
    names = [host.replace("*", "x") for host in hosts]
    return not names or any(reaches(f"https://{name}", tracking) for name in names)


def _is_any(call: str, patterns: Sequence[str]) -> bool:
    return any(fnmatchcase(call, pattern) for pattern in patterns)
