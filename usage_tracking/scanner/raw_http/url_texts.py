"""The texts that make a URL, for one chain of callers."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any
from urllib.parse import urljoin

from ..facts import Expression
from ..program import last_name
from ..values import Text
from .caller_frames import Argument, Frame
from .unfolding import Unfolding

#: At most this many texts of one expression are looked at.
_MOST_TEXTS = 12
_LONGEST_TEXT = 600
#: Methods whose result counts as the string or URL, and those that cut a slash off.
_KEEPS = {
    *(
        "lower",
        "replace",
        "decode",
        "encode",
        "unicode_string",
        "format_map",
        "geturl",
        "human_repr",
    ),
    *(
        "removesuffix",
        "removeprefix",
        "update_query",
        "with_query",
        "copy_with",
        "get_secret_value",
    ),
    *("as_posix", "value", "copy_merge_params", "copy_set_param", "rstrip", "strip", "lstrip"),
}
#: Functions whose first argument is the URL.
_MAKES_URL = {"str", "URL", "Url", "furl", "AnyHttpUrl", "HttpUrl", "escape_uri_path", "quote"}
#: Functions and methods that join parts with a slash.
_JOINS = {"joinpath", "urljoin", "join", "url_path_join"}
_FIELD = re.compile(r"\{([^{}]*)\}")


class URLTexts:
    """The texts that expressions may be, with "{NAME}" for an unknown part."""

    def __init__(self, unfolding: Unfolding) -> None:
        self._unfolding = unfolding

    def of(self, expression: Expression, frame: Frame) -> list[str]:
        """Return the texts that an expression may be in a frame, sorted."""
        found: set[str] = set()
        for origin in self._unfolding.origins(expression, frame):
            found.update(self._of_origin(origin))
        return sorted(found)[:_MOST_TEXTS] or [_unknown(expression)]

    def _of_origin(self, origin: Argument) -> Iterable[str]:
        expression, frame = origin.expression, origin.frame
        if expression is None:
            return ()
        match expression[0]:
            case "text":
                return (expression[1],)
            case "join":
                return self._product([self.of(part, frame) for part in expression[1]])
            case "call":
                made = self._of_call(expression, frame)
                if made is not None:
                    return made
            case "name" | "unknown":
                return (f"{{{expression[1]}}}",)
            case "table" | "items" | "scope" | "typed":
                return ()
        texts = self._unfolding.inference.texts(expression, frame.ref)
        return [each.text for each in texts if isinstance(each, Text)] or (_unknown(expression),)

    def _product(self, parts: Sequence[Sequence[str]], between: str = "") -> list[str]:
        found = [""]
        for number, texts in enumerate(parts):
            joint = between if number else ""
            found = [_joined(head, joint, text) for head in found for text in texts][:_MOST_TEXTS]
        return [text[:_LONGEST_TEXT] for text in found]

    def _of_call(self, call: Any, frame: Frame) -> Iterable[str] | None:
        """Return the texts that a call makes of its receiver or arguments, None for others."""
        _, function, arguments, keywords, *_ = call
        name = last_name(function)
        if name in {"update", "setdefault"}:
            return ()
        if name in _JOINS:
            return self._of_joining(name, function, arguments, frame)
        if name in _MAKES_URL and arguments:
            return self.of(arguments[0], frame)
        if function is None or function[0] != "attr":
            return None
        if name == "format":
            return self._formatted(function[1], arguments, keywords, frame)
        if name in {"with_path"} and arguments:
            return self._product([self.of(function[1], frame), self.of(arguments[0], frame)])
        if name in _KEEPS:
            texts = self.of(function[1], frame)
            return [text.rstrip("/") for text in texts] if name == "rstrip" else texts
        return None

    def _of_joining(
        self, name: str, function: Any, arguments: Any, frame: Frame
    ) -> Iterable[str] | None:
        """Return `urljoin(base, path)`, `"/".join(parts)`, `os.path.join(…)`, `url.join(path)`."""
        parts = list(arguments)
        receiver = function[1] if function[0] == "attr" else None
        separator = receiver[1] if receiver and receiver[0] == "text" else "/"
        if len(parts) == 1 and receiver and receiver[0] == "text":
            items = next(iter(self._unfolding.origins(parts[0], frame)), None)
            if items is None or items.expression is None or items.expression[0] != "items":
                return None
            parts, frame = list(items.expression[1]), items.frame
        elif len(parts) == 1 and receiver:
            parts = [receiver, *parts]  # httpx.URL(base).join(path)
        if len(parts) < 2:
            return None
        texts = [self.of(part, frame) for part in parts]
        if name == "urljoin":
            return [_resolved(base, path) for base in texts[0] for path in texts[1]]
        return self._product(texts, separator)

    def _formatted(
        self, template: Expression, arguments: Any, keywords: Any, frame: Frame
    ) -> list[str]:
        passed = [self.of(each, frame) for each in arguments]
        named = {key: self.of(value, frame) for key, value in keywords if key}
        found: list[str] = []
        for text in self.of(template, frame):
            if text.startswith("{") and text.count("{") == 1 and text.endswith("}"):
                found.append(text)
                continue
            pieces = _FIELD.split(text)
            left = iter(passed)
            parts: list[Sequence[str]] = []
            for number, piece in enumerate(pieces):
                if number % 2 == 0:
                    parts.append([piece])
                elif piece in named:
                    parts.append(named[piece])
                else:
                    parts.append(
                        passed[int(piece)]
                        if piece.isdigit() and int(piece) < len(passed)
                        else next(left, [f"{{{piece}}}"])
                    )
            found += self._product(parts)
        return found


def _joined(head: str, between: str, tail: str) -> str:
    if between == "/":
        return f"{head.rstrip('/')}/{tail.lstrip('/')}" if head else tail
    return head + between + tail


def _resolved(base: str, path: str) -> str:
    """Return `urljoin(base, path)`; of a base that is unknown, the path is below it."""
    if "{" in base.partition("://")[0] or "://" not in base:
        return path if "://" in path else _joined(base, "/", path)
    return urljoin(base, path)


def _unknown(expression: Expression) -> str:
    """Return "{NAME}", by the name of an expression or of what it is taken from."""
    name = last_name(expression)
    if not name and expression and expression[0] in {"call", "index"}:
        name = last_name(expression[1])
    return f"{{{name}}}"
