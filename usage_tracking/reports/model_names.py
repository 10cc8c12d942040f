"""Names of models on bills and in the log: one model, written with and without its date."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable

#: What versions of a model end with: 2025-04-14, 20250929, 0613, latest.
_VERSION = re.compile(
    r"(?:[-@]20\d\d-?(?:0[1-9]|1[0-2])-?(?:0[1-9]|[12]\d|3[01])|-(?:0[1-9]|1[0-2])\d\d|[-:@]latest)$"
)


def without_version(name: str) -> str:
    """Return the name of a model without the date of its version."""
    return _VERSION.sub("", name)


def common_names(billed: Collection[str], captured: Iterable[str]) -> dict[str, str]:
    """Return billed or captured name → the name under which both are compared.

    A call that ended early has only the name in its request, such as "gpt-4o", while the bill says
    "gpt-4o-2024-08-06". If the bill has one version of the model, the call is of that version. If
    it has several, they cannot be told apart and are compared as one model.
    """
    names = {name: name for name in (*billed, *captured)}
    versions: dict[str, list[str]] = {}
    for name in dict.fromkeys(billed):
        versions.setdefault(without_version(name), []).append(name)
    for name in names.keys() - set(billed):
        model = without_version(name)
        found = versions.get(model, ())
        if len(found) == 1:
            names[name] = found[0]
        elif found:
            names |= dict.fromkeys((name, *found), model)
    return names
