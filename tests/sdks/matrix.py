"""Generate the table of docs/sdks.md from the results of the SDK sessions in noxfile.py.

python -m tests.sdks.matrix           write the table
python -m tests.sdks.matrix --check   fail if the table does not match the results
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
BEGIN = "<!-- `make docs-sdks` generates the table below. -->\n"
END = "<!-- End of the table that `make docs-sdks` generates. -->\n"

HEAD = """\
| SDK | version | sync over | async over | calls | streamed | captured |
|---|---|---|---|---|---|---|
"""


def read_results() -> list[Result]:
    """Return the results of all sessions. A session without results is an error."""
    results: list[Result] = []
    for requirements in sorted(REQUIREMENTS.glob("*.txt")):
        path = RESULTS / f"{requirements.stem}.json"
        if not path.exists():
            raise SystemExit(f"Session {requirements.stem} has no results. Run `make test-sdks`.")
        results += [Result(**result) for result in json.loads(path.read_text())]
    return results


def table(results: Iterable[Result]) -> str:
    """Return the Markdown table, with one line per release of an SDK."""
    groups: dict[tuple[str, str], list[Result]] = {}
    for result in results:
        groups.setdefault((result.sdk, result.version), []).append(result)
    lines = [_line(sdk, version, group) for (sdk, version), group in sorted(groups.items())]
    return HEAD + "".join(lines)


def page(text: str, generated: str) -> str:
    """Return `text` with `generated` between the markers."""
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise SystemExit(f"{DOCS.name} has no markers for the table.")
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
    parser.add_argument("--check", action="store_true", help="compare only, write nothing")
    options = parser.parse_args(argv)
    current = DOCS.read_text()
    generated = page(current, table(read_results()))
    if not options.check:
        DOCS.write_text(generated)
        return 0
    if current == generated:
        return 0
    sys.stdout.writelines(
        difflib.unified_diff(
            current.splitlines(keepends=True),
            generated.splitlines(keepends=True),
            "docs/sdks.md",
            "results",
        )
    )
    print("docs/sdks.md does not match the results. Run `make docs-sdks`.", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
