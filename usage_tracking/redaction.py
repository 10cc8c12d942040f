"""Removes secrets from text and metadata before they are kept anywhere."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from datetime import date, datetime, time
from decimal import Decimal
from math import isfinite
from typing import Any
from uuid import UUID

REDACTED = "[redacted]"
TRUNCATED = "[truncated]"
MAX_ERROR = 500
MAX_METADATA = 4096
MAX_DEPTH = 6
MAX_KEY = 100

# Shapes of keys as the providers issue them, then the places in which secrets travel.
_SECRETS = re.compile(
    r"""
    (?:\b|(?<=\\[nrt]))(?:  # also behind a line break that JSON or repr has escaped
        (?P<key>(?:sk|pk|rk|gsk|xai|pplx|r8|hf|ghp|gho|github_pat|glpat|key|co|tgp|fw|nvapi
            |xox[abeprs])[-_][A-Za-z0-9_\-*.]{8,})
      | (?P<google>AIza[A-Za-z0-9_\-*]{10,})
      | (?P<google_oauth>ya29\.[A-Za-z0-9_\-.]+)
      | (?P<google_key>(?-i:AQ)\.[A-Za-z0-9_\-]{20,})
      | (?P<aws>(?:AKIA|ASIA)[A-Z0-9]{12,})
      | (?P<jwt>eyJ[A-Za-z0-9_\-]{8,}\.[A-Za-z0-9_\-.]+)
    )
  | (?P<pem>-----BEGIN\ [A-Z ]*PRIVATE\ KEY-----.*?(?:-----END\ [A-Z ]*PRIVATE\ KEY-----|\Z))
  | (?P<scheme>(?:(?<![A-Za-z])|(?<=\\[nrt]))(?:Bearer|Basic)\s+)[A-Za-z0-9_\-.~+/=*]{6,}
  | (?P<userinfo>://)[^/\s:@]*:[^/\s@]+(?=@)
  | (?P<named>(?:(?<![A-Za-z])|(?<=\\[nrt])|(?-i:(?<=[a-z0-9])(?=[A-Z])))
        (?:api[-_ ]?key|x-api-key|x-goog-api-key|access[-_]?token|auth[-_]?token
        |client[-_]?secret|secret|password|passwd|passphrase|pwd|sessionid|signature|sig|token|key
        |authorization)
        (?:(?:\\?["'])?\s*[=:]\s*(?:\\?["'])?(?:(?:Bearer|Basic|Token|ApiKey)\s+)?|\s+provided:\s*))
    [^\s"'&,;}\\]{4,}
    """,
    re.VERBOSE | re.IGNORECASE | re.DOTALL,
)
_SECRET_NAME = re.compile(
    r"(?:^|[-_.\s]|(?-i:(?<=[a-z0-9])(?=[A-Z])))(?:(?:api|secret|access|private)[-_]?key|apikey"
    r"|secret|password|passwd|passphrase|pwd|authorization|bearer"
    r"|cookie|sessionid|token|jwt|credentials?)$",
    re.IGNORECASE,
)


def clean_text(value: object, limit: int) -> str:
    """`value` as text that every database stores: no NUL, no lone surrogate, at most `limit`."""
    text = value if isinstance(value, str) else str(value)
    if not text.isascii() or "\0" in text:
        text = text.replace("\0", "�").encode("utf-8", "replace").decode()
    return text if len(text) <= limit else text[: limit - 1] + "…"


def redact(text: str) -> str:
    """`text` without API keys, bearer tokens, passwords and signatures."""
    return _SECRETS.sub(_keep_context, text)


def _keep_context(match: re.Match[str]) -> str:
    context = match["scheme"] or match["userinfo"] or match["named"] or ""
    return context + REDACTED


def clean_error(value: object) -> str:
    """An error text fit for a row or a log line: redacted, then capped at 500 characters."""
    # Cap generously before the expressions run, so that a megabyte of HTML costs nothing.
    return clean_text(redact(clean_text(value, 8 * MAX_ERROR)), MAX_ERROR)


def clean_metadata(value: object) -> dict[str, Any]:
    """`value` as a JSON object: redacted, finite, at most 4 KB; what cannot be kept is marked.

    What is not JSON becomes `"<TypeName>"` (its `repr` might hold anything); an object too large
    keeps the entries that fit and says `"truncated": true`.
    """
    if not value:
        return {}
    if not isinstance(value, Mapping):
        return {"invalid": f"<{type(value).__name__}>"}
    cleaned = _clean_mapping(value, MAX_DEPTH, iter(range(MAX_METADATA)))
    if len(json.dumps(cleaned)) <= MAX_METADATA:
        return cleaned
    fitting: dict[str, Any] = {"truncated": True}
    room = MAX_METADATA - len(json.dumps(fitting))
    for name, item in cleaned.items():
        room -= len(json.dumps({name: item}))
        if room < 0:
            break
        fitting[name] = item
    return fitting


def _clean_mapping(value: Mapping[Any, Any], depth: int, room: Iterator[int]) -> dict[str, Any]:
    return {
        (name := redact(clean_text(key, MAX_KEY))): REDACTED
        if _SECRET_NAME.search(name)
        else _clean_value(item, depth, room)
        for _, (key, item) in zip(room, value.items())  # noqa: B905 -- ends with the room
    }


def _clean_value(value: object, depth: int, room: Iterator[int]) -> Any:
    """`room` says how many items may still be looked at: more cannot fit, and circles must end."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return redact(clean_text(value, MAX_METADATA))
    if isinstance(value, int):
        # Beyond 64 bit JSON readers disagree about numbers; text keeps every digit.
        return int(value) if abs(value) < 2**63 else clean_text(_digits(value), 50)
    if isinstance(value, float):
        return value if isfinite(value) else str(value)
    if isinstance(value, (datetime, date, time)):
        return value.isoformat()
    if isinstance(value, (UUID, Decimal)):
        return str(value)
    if isinstance(value, (Mapping, list, tuple, set, frozenset)):
        if depth <= 0:
            return TRUNCATED
        if isinstance(value, Mapping):
            return _clean_mapping(value, depth - 1, room)
        return [_clean_value(item, depth - 1, room) for _, item in zip(room, value)]  # noqa: B905
    return f"<{type(value).__name__}>"


def _digits(value: int) -> str:
    return str(value) if value.bit_length() < 1000 else f"<{value.bit_length()}-bit integer>"
