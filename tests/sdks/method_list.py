"""Every method of the tested SDKs that sends a request, and whether its call has a row.

Each file in `tests/sdks/methods/` lists the methods of one SDK and their requests:

- `row`: the provider bills the call, and the answer ends it.
- `later`: the provider bills the call, and its result is fetched later.
- `free`: not billed. Management, files and lists of anything are among them.
- `unknown`: billed or maybe billed, and without a row for the given reason.

`tests/test_sdk_methods.py` holds the lists to the paths that are captured, and `test_methods.py` in
the SDK sessions to the installed SDKs.

python -m tests.sdks.method_list   write the table in docs/sdks.md
"""

from __future__ import annotations

import re
import sys
import tomllib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

ROOT = Path(__file__).parents[2]
LISTS = Path(__file__).parent / "methods"
DOCS = ROOT / "docs" / "sdks.md"
BEGIN = "<!-- `make docs-sdks` generates the list of methods below. -->\n"
END = "<!-- End of the list of methods that `make docs-sdks` generates. -->\n"

ROW, LATER, FREE, UNKNOWN = "row", "later", "free", "unknown"
#: Requests of `later` that are not captured yet.
NOT_YET = frozenset({"POST /v1/embed-jobs"})


class Request(NamedTuple):
    """A request that a method sends, with examples in place of ids."""

    verb: str
    host: str
    port: int | None
    path: str


class Method(NamedTuple):
    """One line of a list."""

    sdk: str
    name: str
    kind: str
    #: As the source of the SDK has them: "POST /threads/{thread_id}/runs".
    requests: tuple[str, ...]
    examples: tuple[Request, ...]
    #: Why there is no row, if that is `unknown`.
    reason: str = ""


def load(sdk: str = "*") -> list[Method]:
    """Return the lines of the list of an SDK, or of all lists."""
    return [
        method
        for path in sorted(LISTS.glob(f"{sdk}.toml"))
        for method in _methods(path.stem, tomllib.loads(path.read_text()))
    ]


def _methods(sdk: str, content: dict[str, Any]) -> Iterator[Method]:
    sections = [(kind, "", content.get(kind, {})) for kind in (ROW, LATER, FREE)]
    sections += [(UNKNOWN, why, methods) for why, methods in content.get(UNKNOWN, {}).items()]
    for kind, reason, methods in sections:
        for name, given in methods.items():
            requests = (given,) if isinstance(given, str) else tuple(given)
            examples = tuple(_example(request, name, content) for request in requests)
            yield Method(sdk, name, kind, requests, examples, reason)


def _example(request: str, method: str, content: dict[str, Any]) -> Request:
    verb, _, place = request.partition(" ")
    host = content.get("host") or content["hosts"][method.partition(".")[0]]
    if "://" not in place:
        place = f"https://{host}{content.get('base', '')}{place}"
    samples = content.get("samples", {})
    url = urlsplit(re.sub(r"\{(\w+)\}", lambda found: samples.get(found[1], "x1"), place))
    return Request(verb, url.hostname or "", url.port or content.get("port"), url.path)


def table(methods: Iterable[Method]) -> str:
    """Return the Markdown of the lists: a line for each method that is billed, one for the rest."""
    by_sdk: dict[str, list[Method]] = {}
    for method in methods:
        by_sdk.setdefault(method.sdk, []).append(method)
    return "\n".join(_section(sdk, found) for sdk, found in by_sdk.items())


def _section(sdk: str, methods: list[Method]) -> str:
    lines = [f"### {sdk}\n", "| method | row |", "|---|---|"]
    lines += [f"| {_names([m])} | row |" for m in methods if m.kind == ROW]
    rows = {method.name for method in methods if method.kind == ROW}
    for method in methods:
        if method.kind == LATER:
            text = "none yet" if NOT_YET.issuperset(method.requests) else "row"
            # With some providers of a router only.
            paths = [r.partition(" ")[2] for r in method.requests if method.name in rows]
            place = f" to {', '.join(f'`{path}`' for path in paths)}" if paths else ""
            lines.append(f"| {_names([method])}{place} | {text}: the result is fetched later |")
    reasons = dict.fromkeys(m.reason for m in methods if m.kind == UNKNOWN)
    lines += [
        f"| {_names(m for m in methods if m.reason == reason)} | none: {reason} |"
        for reason in reasons
    ]
    if free := [m for m in methods if m.kind == FREE]:
        lines.append(f"| {_areas(free)} | none: not billed |")
    return "\n".join(lines) + "\n"


def _names(methods: Iterable[Method]) -> str:
    return ", ".join(f"`{method.name}`" for method in methods)


def _areas(methods: list[Method]) -> str:
    """Return how many free methods each resource has; an SDK may have hundreds."""
    areas: dict[str, list[str]] = {}
    for method in methods:
        area, dot, _ = method.name.removeprefix("beta.").rpartition(".")
        areas.setdefault(area.partition(".")[0] if dot else "", []).append(method.name)
    texts = []
    for area, names in sorted(areas.items()):
        if not area or len(names) == 1:
            texts += [f"`{name}`" for name in names]
        else:
            texts.append(f"{len(names)} of `{area}`")
    return ", ".join(texts)


def page(text: str) -> str:
    """Return the text of docs/sdks.md with the lists between the markers."""
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise SystemExit(f"{DOCS.name} has no markers for the list of methods.")
    return f"{before}{BEGIN}\n{table(load())}\n{END}{after}"


if __name__ == "__main__":
    DOCS.write_text(page(DOCS.read_text()))
    sys.exit(0)
