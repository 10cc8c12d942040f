"""Directives in the text of a prompt, such as `[stub status=429 times=2]`.

With them, a test or a demo page can request an error or special counts through any SDK.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any

_DIRECTIVE = re.compile(r"\[stub\b([^\]]*)\]")


class BadOrderError(ValueError):
    """The prompt contains a directive that the stub does not support."""


@dataclass(frozen=True)
class Orders:
    """Directives of one prompt."""

    status: int | None = None  # fail with this HTTP status and the provider's error body
    times: int | None = None  # misbehave only for the first N requests with this prompt
    delay: float = 0.0  # seconds to wait before the headers
    pace: float | None = None  # seconds to wait between the events of a stream
    cut: int | None = None  # drop the connection after N stream events, or within a plain body
    gzip: bool = False  # Content-Encoding: gzip; streams are flushed event by event
    garbage: bool = False  # 200 with a body that cannot be parsed
    nousage: bool = False  # omit the usage
    error_in_stream: bool = False  # 200, then an error in the body
    cached: int = 0  # prompt tokens read from the cache
    cache_write: int = 0  # prompt tokens written to the cache
    reasoning: int = 0  # completion tokens used for reasoning
    grow: int = 0  # Anthropic: prompt tokens that only the end of the stream reports
    fragments: bool = False  # send tiny pieces that split lines and characters
    type: str = ""  # the Content-Type of the answer; "none" omits it
    ends: str = ""  # how the lines of a stream end: cr or crlf
    bom: bool = False  # begin with a byte order mark
    leak: str = ""  # an error whose message contains this API key
    usage: tuple[int, int] | None = None  # use these totals: usage=PROMPT/COMPLETION
    words: int = 0  # length of the answer
    queued: int = 1  # polls before a job has ended
    fails: bool = False  # a job that fails


def find_orders(text: str) -> Orders:
    """Parse the directives in `text`. Raises BadOrderError."""
    given: dict[str, Any] = {}
    for directive in _DIRECTIVE.finditer(text):
        for word in directive[1].split():
            name, equals, value = word.partition("=")
            given[name] = _parsed(name, value if equals else None)
    return _checked(Orders(**given))


def without_orders(text: str) -> str:
    """Remove the directives from `text`."""
    return _DIRECTIVE.sub("", text).strip()


def _parsed(name: str, value: str | None) -> Any:
    if name in _FLAGS:
        if value is not None:
            raise BadOrderError(f"[stub {name}] must have no value, not {value!r}")
        return True
    if name not in _VALUES:
        known = ", ".join(field.name for field in fields(Orders))
        raise BadOrderError(f"[stub {name}] must be one of: {known}")
    try:
        return _VALUES[name](value or "")
    except ValueError:
        raise BadOrderError(f"[stub {name}={value or ''}] has an invalid value") from None


def _checked(orders: Orders) -> Orders:
    if orders.status is not None and not 400 <= orders.status <= 599:
        raise BadOrderError(f"[stub status={orders.status}] must be from 400 to 599")
    if orders.usage:
        prompt, completion = orders.usage
        if orders.cached + orders.cache_write + orders.grow > prompt:
            raise BadOrderError(
                f"[stub usage] {prompt} prompt tokens are fewer than the cached ones"
            )
        if orders.reasoning > completion:
            raise BadOrderError(
                f"[stub usage] {completion} tokens are fewer than the reasoning tokens"
            )
    return orders


def _count(value: str) -> int:
    if not re.fullmatch(r"[0-9]{1,18}", value):
        raise ValueError(value)
    return int(value)


def _seconds(value: str) -> float:
    seconds = float(value)
    if not 0 <= seconds <= 60:
        raise ValueError(value)
    return seconds


def _pair(value: str) -> tuple[int, int]:
    prompt, _, completion = value.partition("/")
    return _count(prompt), _count(completion)


def _newline(value: str) -> str:
    if value not in {"cr", "crlf"}:
        raise ValueError(value)
    return value


def _text(value: str) -> str:
    if not value:
        raise ValueError(value)
    return value


_FLAGS = frozenset({"gzip", "garbage", "nousage", "error_in_stream", "fails", "fragments", "bom"})
_VALUES: dict[str, Callable[[str], Any]] = {
    "status": _count,
    "times": _count,
    "delay": _seconds,
    "pace": _seconds,
    "cut": _count,
    "cached": _count,
    "cache_write": _count,
    "reasoning": _count,
    "grow": _count,
    "type": _text,
    "ends": _newline,
    "leak": _text,
    "usage": _pair,
    "words": _count,
    "queued": _count,
}
