"""Whether capture records a request, judged by the URL or by what is known about an SDK."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, Self

from .. import providers
from ..call_paths import MODEL, Paths, fits

#: The paths that capture knows without AI_USAGE_PATHS.
BUILT_IN = Paths()

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


def is_recorded(url: str, method: str = "POST", paths: Paths = BUILT_IN) -> bool | None:
    """Return whether capture records a request, None if the known parts of the URL leave it open.

    A call to an unknown host counts as recorded if its path is one of an AI call: capture records
    it if the answer has the right shape.

    Args:
        url: The URL, with its unknown parts in braces: `https://{HOST}/v1/chat/completions`.
        method: The HTTP method, in upper case.
        paths: The paths that capture knows.
    """
    parts = _URL.match(url.strip())
    if parts is None:
        return None
    host, path = parts["host"], re.sub(r"/{2,}", "/", parts["path"])
    if not (parts["scheme"] or "." in host or "{" in host or ":" in host):
        host, path = "", "/" + host.strip("/") + path
    # A part in place of the whole host may also hold the beginning of the path.
    is_open = "{" in path or not host or _UNKNOWN_PART.fullmatch(host) is not None
    if _is_call(parts["scheme"] or "", method, host, _UNKNOWN_PART.sub("x1", path), paths):
        return True
    tail = path.rpartition("}")[2].rstrip("/")
    if is_open and not _NAME_OF_ONE.search(path) and paths.may_end_with(tail):
        return None
    return False


def _is_call(scheme: str, method: str, host: str, path: str, paths: Paths) -> bool:
    if scheme.lower() in {"ws", "wss"}:
        return bool(paths.find_socket(path))
    match = paths.find(method, path) if method in {"GET", "POST"} else None
    if match is None:
        return False
    name = _UNKNOWN_PART.sub("x", host).rpartition("@")[2].partition(":")[0].lower()
    model = MODEL.search(path)
    return fits(match, model[model.lastgroup or 0] if model else "", providers.provider_of(name))


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

    @classmethod
    def read(cls, entry: Mapping[str, Any], shared: Requests | None = None) -> Self:
        """Return what an entry of a data file has."""
        return cls(
            entry.get("urls", {}),
            entry.get("unrecorded", ()),
            entry.get("uncertain", ()),
            shared,
        )

    def of(self, call: str, *, otherwise: bool | None = True) -> bool | None:
        """Return whether capture records the requests of a call, `otherwise` if nothing is said."""
        if _is_any(call, self.unrecorded):
            return False
        if _is_any(call, self.uncertain):
            return None
        for pattern, url in self.urls.items():
            if fnmatchcase(call, pattern):
                return is_recorded(url)
        return self.shared.of(call, otherwise=otherwise) if self.shared else otherwise


def _is_any(call: str, patterns: Sequence[str]) -> bool:
    return any(fnmatchcase(call, pattern) for pattern in patterns)
