"""The settings, all optional. They are never copied at import, so `override_settings` works.

There is one function per setting. `SETTINGS` lists every name with its valid types; tests compare
the system checks and the documentation with it.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from django.conf import settings
from django.core.signals import setting_changed
from django.utils import timezone

PREFIX = "AI_USAGE_"
_MISSING: Any = object()

SETTINGS: dict[str, tuple[type, ...]] = {
    "ENABLED": (bool,),
    "SECTIONS": (dict, list, tuple),
    "DEFAULT_SECTION": (str,),
    "SECTION_MAP": (dict,),
    "CAPTURE": (bool, list, tuple),
    "GATEWAYS": (dict,),
    "PATHS": (dict,),
    "UNKNOWN_HOSTS": (bool,),
    "STREAM_USAGE": (str,),
    "OUTBOX": (str, Path, type(None)),
    "WAIT": (int, float),
    "DAY_TIMEZONE": (str,),
    "PRICES": (dict,),
    "PROPAGATE_THREADS": (bool,),
    "LOG_USERNAMES": (bool,),
    "RAISE_ERRORS": (bool,),
    "BILLING": (dict,),
    "KEY_HINT": (bool,),
    "SCANNER_EXTRA": (list, tuple),
    "SCANNER_TRACKERS": (list, tuple),
}

DEFAULT_SECTIONS = {
    "chat": "Customer Chat",
    "prompt_generation": "Prompt Generation",
    "marketing_workflow": "Marketing Workflow",
    "knowledge_qa": "Knowledge Base Q&A",
    "product_recommendation": "Product Recommendation",
    "rag_pipeline": "RAG Pipeline",
    "web_knowledge": "Web Knowledge Processing",
    "session_memory": "Session Memory Summary",
    "intent_detection": "Intent Detection",
    "embedding_generation": "Embedding Generation",
    "other": "Other",
}

#: The longest wait, in seconds. Visitors give up on slower pages.
LONGEST_WAIT = 60.0
OUTBOX_DIRECTORY = ".ai_usage_outbox"


# Reading a missing setting takes Django 2 µs, and each call reads several.
_seen: dict[str, Any] = {}


def _get(name: str, default: Any) -> Any:
    if name not in _seen:
        _seen[name] = getattr(settings, PREFIX + name, _MISSING)
    value = _seen[name]
    return default if value is _MISSING else value


def _forget(**_: object) -> None:
    _seen.clear()


setting_changed.connect(_forget)


def enabled() -> bool:
    """`AI_USAGE_ENABLED` (True): False means no hook, no query, no row."""
    return bool(_get("ENABLED", True))


def sections() -> dict[str, str]:
    """`AI_USAGE_SECTIONS`: code → label, from a dict or from a list of pairs or codes."""
    value: Mapping[str, str] | Sequence[Any] = _get("SECTIONS", DEFAULT_SECTIONS)
    if isinstance(value, Mapping):
        return {str(code): str(label) for code, label in value.items()}
    return dict(
        (item, item.replace("_", " ").title()) if isinstance(item, str) else item for item in value
    )


def declares_sections() -> bool:
    """Return whether the site sets `AI_USAGE_SECTIONS`."""
    return _get("SECTIONS", None) is not None


def default_section() -> str:
    """`AI_USAGE_DEFAULT_SECTION` ("other"): the section of a call without any other section."""
    return str(_get("DEFAULT_SECTION", "other"))


def section_map() -> Mapping[str, str]:
    """`AI_USAGE_SECTION_MAP` ({}): view name, namespace or dotted path prefix → section.

    The path is that of a view or the name of a task.
    """
    value: Mapping[str, str] = _get("SECTION_MAP", {})
    return value


def mapped_section(path: str, *names: str) -> str:
    """Return the section of the first mapped name in `names`, else of the longest prefix of `path`.

    Return "" if nothing is mapped.
    """
    mapping = section_map()
    if not mapping:
        return ""
    parts = path.split(".")
    prefixes = [".".join(parts[:n]) for n in range(len(parts), 0, -1)]
    return next((mapping[name] for name in (*names, *prefixes) if name and name in mapping), "")


def capture() -> bool | Sequence[str]:
    """`AI_USAGE_CAPTURE` (True): all transports, False for none, or a list of transport names."""
    value: bool | Sequence[str] = _get("CAPTURE", True)
    return value


def gateways() -> Mapping[str, str]:
    """`AI_USAGE_GATEWAYS` ({}): `host[:port][/prefix]` → provider."""
    value: Mapping[str, str] = _get("GATEWAYS", {})
    return value


def paths() -> Mapping[str, str]:
    """`AI_USAGE_PATHS` ({}): path suffix → wire format, in addition to the built-in ones."""
    value: Mapping[str, str] = _get("PATHS", {})
    return value


def stream_usage() -> str:
    """`AI_USAGE_STREAM_USAGE` ("unknown"): "request" asks OpenAI chat streams for their usage."""
    return str(_get("STREAM_USAGE", "unknown"))


def unknown_hosts() -> bool:
    """`AI_USAGE_UNKNOWN_HOSTS` (True): record calls to hosts of unknown providers."""
    return bool(_get("UNKNOWN_HOSTS", True))


def outbox() -> Path | None:
    """`AI_USAGE_OUTBOX` (`BASE_DIR/.ai_usage_outbox/`): the directory, None for no outbox."""
    base = getattr(settings, "BASE_DIR", None)
    value = _get("OUTBOX", Path(base) / OUTBOX_DIRECTORY if base else None)
    return None if value is None else Path(value)


def inline() -> bool:
    """Return whether `AI_USAGE_OUTBOX = None`, which delivers on the caller's connection."""
    return _get("OUTBOX", "") is None


def wait() -> float:
    """`AI_USAGE_WAIT` (0): seconds to wait for the rows at the end of a unit of work.

    Return 0 for an invalid value; the system checks report it.
    """
    value = _get("WAIT", 0.0)
    return min(value, LONGEST_WAIT) if isinstance(value, (int, float)) and value > 0 else 0.0


def day_timezone() -> dt.tzinfo:
    """`AI_USAGE_DAY_TIMEZONE` (`TIME_ZONE`): the time zone in which days begin at midnight."""
    name = _get("DAY_TIMEZONE", None)
    return ZoneInfo(name) if name else timezone.get_default_timezone()


def prices() -> Mapping[str, Any]:
    """`AI_USAGE_PRICES` ({}): the prices and discounts of the site, see `pricing.own`."""
    value: Mapping[str, Any] = _get("PRICES", {})
    return value


def propagate_threads() -> bool:
    """`AI_USAGE_PROPAGATE_THREADS` (True): threads and thread pools inherit the scope."""
    return bool(_get("PROPAGATE_THREADS", True))


def log_usernames() -> bool:
    """`AI_USAGE_LOG_USERNAMES` (True): log usernames; False logs `user:<pk>` instead."""
    return bool(_get("LOG_USERNAMES", True))


def raise_errors() -> bool:
    """`AI_USAGE_RAISE_ERRORS` (False): raise internal errors to the caller; for tests."""
    return bool(_get("RAISE_ERRORS", False))


def billing() -> Mapping[str, Mapping[str, Any]]:
    """`AI_USAGE_BILLING` ({}): provider → the account whose bill is read, with its admin key."""
    value: Mapping[str, Mapping[str, Any]] = _get("BILLING", {})
    return value


def key_hint() -> bool:
    """`AI_USAGE_KEY_HINT` (False): record the last four characters of the API key of a call."""
    return bool(_get("KEY_HINT", False))


def scanner_extra() -> Sequence[str | Path]:
    """`AI_USAGE_SCANNER_EXTRA` ([]): data files about further SDKs for the scanner."""
    value: Sequence[str | Path] = _get("SCANNER_EXTRA", ())
    return value


def scanner_trackers() -> Sequence[str]:
    """`AI_USAGE_SCANNER_TRACKERS` ([]): the site's own functions that record AI calls."""
    value: Sequence[str] = _get("SCANNER_TRACKERS", ())
    return value
