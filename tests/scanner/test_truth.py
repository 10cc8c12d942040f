"""The scanner's statuses, compared with the rows of a site that makes the calls.

`covered` in truth: each request of the case wrote a row, and each of these rows has a section that
the site names. `captured`: some row has the default section. `invisible`: some request wrote none.
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.support.children import ROOT
from tests.support.environment import DIRECTORY_VARIABLE
from tests.support.waiting import run
from usage_tracking.scanner.report import CAPTURED, COVERED, INVISIBLE

SITE = Path(__file__).parent / "truth"
DEFAULT_SECTION = "unnamed"
#: A site names its case as the model, or in a comment on its lines or above.
_CASE = re.compile(r'\bmodel="(\w+)"|# case: (\w+)')

pytestmark = [pytest.mark.process, pytest.mark.one_driver]


class Case(NamedTuple):
    """A call site: what its rows say, and what the scanner says."""

    name: str
    truth: str
    status: str
    finding: dict[str, Any]

    def __str__(self) -> str:
        entries = ", ".join(sorted({each["kind"] for each in self.finding["entry_points"]}))
        return (
            f"{self.name}: {self.truth} in truth, reported {self.status} "
            f"({self.finding['path']}:{self.finding['line']}, {entries or 'no entry point'}: "
            f"{self.finding['coverage']})"
        )


@pytest.fixture(scope="module")
def driven(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the site asked and recorded, and what the scanner reports."""
    directory = tmp_path_factory.mktemp("site")
    environment = os.environ | {
        "DJANGO_SETTINGS_MODULE": "tests.scanner.truth.settings",
        "DATABASE_URL": f"sqlite:///{directory}/site.sqlite3",
        DIRECTORY_VARIABLE: str(directory),
    }
    ended = run(
        [sys.executable, "-m", "tests.scanner.truth.tests.drive"], cwd=ROOT, env=environment
    )
    assert ended.returncode == 0, f"{ended.stdout}\n--- stderr\n{ended.stderr}"
    result: dict[str, Any] = json.loads(ended.stdout)
    return result


@pytest.fixture(scope="module")
def findings(driven: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Case → finding."""
    found: dict[str, dict[str, Any]] = {}
    for finding in driven["report"]["findings"]:
        lines = (ROOT / finding["path"]).read_text().splitlines()
        above, source = lines[finding["line"] - 2], lines[finding["line"] - 1 : finding["end_line"]]
        match = _CASE.search("\n".join(source)) or re.match(r" *()# case: (\w+)", above)
        assert match, f"{finding['path']}:{finding['line']} is no case: {source}"
        name = match[1] or match[2]
        assert name not in found, f"two findings for {name}"
        found[name] = finding
    return found


def names_of_cases() -> Iterator[str]:
    for file in SITE.rglob("*.py"):
        if "tests" not in file.relative_to(SITE).parts:
            for match in _CASE.finditer(file.read_text()):
                yield match[1] or match[2]


def truth_of(requests: int, sections: list[str]) -> str:
    if len(sections) < requests:
        return INVISIBLE
    return CAPTURED if DEFAULT_SECTION in sections else COVERED


@pytest.fixture(scope="module")
def cases(driven: dict[str, Any], findings: dict[str, dict[str, Any]]) -> list[Case]:
    return [
        Case(
            name,
            truth_of(driven["requests"][name], driven["sections"].get(name, [])),
            finding["status"],
            finding,
        )
        for name, finding in findings.items()
    ]


def test_every_call_is_found_and_made(
    driven: dict[str, Any], findings: dict[str, dict[str, Any]]
) -> None:
    names = set(names_of_cases())

    assert driven["failed"] == []
    assert sorted(names - set(driven["requests"])) == []
    assert sorted(names - set(findings)) == []
    assert len(names) >= 80


def test_covered_is_true(cases: list[Case]) -> None:
    wrong = [case for case in cases if case.status == COVERED and case.truth != COVERED]

    assert not wrong, f"{len(wrong)} of {len(cases)}:\n" + "\n".join(map(str, wrong))


def test_most_covered_calls_are_reported_as_covered(cases: list[Case]) -> None:
    covered = [case for case in cases if case.truth == COVERED]
    missed = [case for case in covered if case.status != COVERED]

    print(f"{len(cases)} cases, {len(covered)} covered, {len(missed)} of them not reported")
    assert len(missed) * 10 <= len(covered), f"{len(missed)} of {len(covered)}:\n" + "\n".join(
        map(str, missed)
    )


def test_captured_and_invisible_are_true(cases: list[Case]) -> None:
    """`captured` is never said of a call that wrote no row, and the reverse."""
    uncovered = [case for case in cases if COVERED not in (case.status, case.truth)]
    wrong = [case for case in uncovered if case.status != case.truth]

    assert not wrong, "\n".join(map(str, wrong))
