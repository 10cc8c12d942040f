"""The table of docs/sdks.md, from what the sessions of noxfile.py have tried.

python -m tests.sdks.matrix           writes it
python -m tests.sdks.matrix --check   fails if it is not what was tried
"""

from __future__ import annotations

import argparse
import difflib
import json
import sys
from collections.abc import Iterable
from pathlib import Path

from tests.sdks.results import Result

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / ".nox" / "sdk-results"
REQUIREMENTS = ROOT / "tests" / "sdks" / "requirements"
DOCS = ROOT / "docs" / "sdks.md"
BEGIN = "<!-- What follows is written by `make docs-sdks`. -->\n"
END = "<!-- What was written by `make docs-sdks` ends here. -->\n"

HEAD = """\
| SDK | version | sync over | async over | calls | streamed | captured |
|---|---|---|---|---|---|---|
"""


def read_results() -> list[Result]:
    """What every session tried; a session that left nothing is an error, not a gap."""
    results: list[Result] = []
    for requirements in sorted(REQUIREMENTS.glob("*.txt")):
        path = RESULTS / f"{requirements.stem}.json"
        if not path.exists():
            raise SystemExit(f"Session {requirements.stem} has no results: run `make test-sdks`.")
        results += [Result(**result) for result in json.loads(path.read_text())]
    return results


def table(results: Iterable[Result]) -> str:
    groups: dict[tuple[str, str], list[Result]] = {}
    for result in results:
        groups.setdefault((result.sdk, result.version), []).append(result)
    lines = [_line(sdk, version, group) for (sdk, version), group in sorted(groups.items())]
    return HEAD + "".join(lines)


def page(text: str, generated: str) -> str:
    """`text` with what stands between the markers replaced."""
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise SystemExit(f"{DOCS.name} has lost the markers of its table.")
    return f"{before}{BEGIN}\n{generated}\n{END}{after}"


def _line(sdk: str, version: str, results: list[Result]) -> str:
    missed = sorted({result.call for result in results if not result.captured})
    cells = (
        f"`{sdk}`",
        version,
        _carriers(result for result in results if not result.is_async),
        _carriers(result for result in results if result.is_async),
        _calls(results),
        _calls(result for result in results if result.streamed),
        f"not {', '.join(missed)}" if missed else "yes",
    )
    return f"| {' | '.join(cells)} |\n"


def _carriers(results: Iterable[Result]) -> str:
    seen = {" over ".join(result.transports) or "not seen" for result in results}
    return ", ".join(sorted(seen)) or "none"


def _calls(results: Iterable[Result]) -> str:
    names = set()
    for result in results:
        name = result.call.removesuffix("_streamed")
        names.add(name.removeprefix("a") if result.is_async else name)
    return ", ".join(sorted(names)) or "none"


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.sdks.matrix", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing, compare")
    options = parser.parse_args(argv)
    is_there = DOCS.read_text()
    tried = page(is_there, table(read_results()))
    if not options.check:
        DOCS.write_text(tried)
        return 0
    if is_there == tried:
        return 0
    sys.stdout.writelines(
        difflib.unified_diff(
            is_there.splitlines(keepends=True),
            tried.splitlines(keepends=True),
            "docs/sdks.md",
            "what was tried",
        )
    )
    print("docs/sdks.md is not what was tried: run `make docs-sdks`.", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
