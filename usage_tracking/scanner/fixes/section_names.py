"""Section names to propose: from the sections of the site, or else from the code."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator

from ..report import Block

#: The longest name that a section can have.
_LONGEST = 50
#: Names that say nothing about a feature.
_GENERIC = {
    *("get", "post", "put", "patch", "delete", "head", "options", "dispatch", "list", "create"),
    *("retrieve", "update", "partial_update", "destroy", "form_valid", "get_context_data"),
    *("get_queryset", "perform_create", "perform_update", "connect", "receive", "receive_json"),
    *("handle", "run", "main", "call", "execute", "process", "invoke", "__call__", "__init__"),
    *("view", "views", "task", "tasks", "command", "utils", "helpers", "services", "models", "api"),
    *("client", "clients", "init", "admin", "urls", "forms", "signals", "src", "app", "apps"),
}
_SUFFIX = re.compile(
    r"(?<=.)(?:_api_view|_view_set|_viewset|_view|_consumer|_task|_service|_command)$"
)


def proposed(block: Block, sections: Collection[str]) -> str:
    """Return a section for the calls of a block.

    This is the code of `sections` that the names of the code fit best, or else the name of the
    feature that the code itself suggests.
    """
    names = list(_names(block))
    for name in names:
        if name in sections:
            return name
    words = {word for name in names for word in name.split("_")}
    fitting = [code for code in sections if set(_snake(code).split("_")) <= words]
    if fitting:
        return max(fitting, key=len)
    return next((name for name in names if name not in _GENERIC), names[0])[:_LONGEST]


def _names(block: Block) -> Iterator[str]:
    """Yield the names around a block from the inside out, as codes."""
    parts = [part for part in block.name.split(".") if not part.startswith("<")]
    parts = [*re.split(r"[/\\]", re.sub(r"\.\w+$", "", block.path))[-3:], *parts]
    for part in reversed(parts):
        name = _snake(part)
        if name in _GENERIC:
            continue
        if name := _SUFFIX.sub("", name):
            yield name
    yield "ai"


def _snake(name: str) -> str:
    name = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name)
    return re.sub(r"\W+|_+", "_", name).strip("_").lower()
