"""After a printed fix was followed, the status is `covered` and the row has the section.

The site `fixed` has every fix followed by hand. Its code before is the same without the marked
lines, and the patch of `--diff` is applied to that.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.scanner.trees import write_tree
from tests.support.children import ROOT
from tests.support.environment import DIRECTORY_VARIABLE
from tests.support.waiting import run
from usage_tracking.scanner.report import COVERED, INVISIBLE, UNKNOWN

SITE = Path(__file__).parent / "fixed"
DEFAULT_SECTION = "unnamed"
_CASE = re.compile(r'\bmodel="(\w+)"|# case: (\w+)')

pytestmark = [pytest.mark.process, pytest.mark.one_driver]


def without_fixes(text: str) -> str:
    """Return the code of a file before its fixes, with the same lines."""
    lines: list[str] = []
    blocks: list[int] = []
    for line in text.splitlines():
        indent = len(line) - len(line.lstrip())
        if line.strip():
            while blocks and indent <= blocks[-1]:
                blocks.pop()
        shift = " " * (indent - 4 * len(blocks))
        if line.endswith("# fixed"):
            lines.append(f"{shift}#")
            if line.lstrip().startswith(("with ", "def ")):
                blocks.append(indent)
        elif line.lstrip().startswith("# before: "):
            lines.append(shift + line.lstrip().removeprefix("# before: "))
        else:
            lines.append(shift + line.lstrip() if line.strip() else "")
    return "\n".join(lines) + "\n"


def expected_fixes() -> Iterator[tuple[str, str]]:
    """Yield (path, text) of the fixes that the comments of the site name."""
    for file in SITE.rglob("*.py"):
        if file.name == "__init__.py":
            continue
        path = file.relative_to(SITE).as_posix()
        for match in re.finditer(r"^ *# fix: (.*(?:\n *#   .*)*)", file.read_text(), re.MULTILINE):
            number = match.string.count("\n", 0, match.start()) + 1
            text = re.sub(r"\n *#   ", " ", match[1])
            yield path, re.sub(r"\+(\d+)", lambda found, at=number: str(at + int(found[1])), text)


def printed_fixes(report: str, site: Path) -> Iterator[tuple[str, str]]:
    """Yield (path, text) of the fixes in a report."""
    place = ""
    for line in report.splitlines():
        if found := re.search(rf"{re.escape(str(site))}/([^:\s]+\.py)", line):
            place = found[1]
        if found := re.fullmatch(r" +fix: (.*)", line):
            yield place, found[1]


def copied(directory: Path, files: dict[str, str]) -> Path:
    return write_tree(directory / "tests" / "scanner" / "fixed", files)


def files_of(site: Path) -> dict[str, str]:
    return {file.relative_to(site).as_posix(): file.read_text() for file in site.rglob("*.py")}


class Driven:
    """What a copy of the site asked and recorded, and what the scanner says."""

    def __init__(self, site: Path) -> None:
        self.site = site
        directory = site.parents[2]
        environment = os.environ | {
            "DJANGO_SETTINGS_MODULE": "tests.scanner.fixed.settings",
            "DATABASE_URL": f"sqlite:///{directory}/site.sqlite3",
            DIRECTORY_VARIABLE: str(directory),
        }
        command = [sys.executable, "-m", "tests.scanner.drive_fixed", str(site)]
        ended = run(command, cwd=ROOT, env=environment)
        assert ended.returncode == 0, f"{ended.stdout}\n--- stderr\n{ended.stderr}"
        result = json.loads(ended.stdout)
        self.reports: dict[str, str] = result["reports"]
        self.failed: list[str] = result["failed"]
        findings = json.loads(self.reports["json"])["findings"]
        self.findings = {self._case(finding): finding for finding in findings}
        assert len(self.findings) == len(findings)
        self.truth = {
            name: self._truth(result["requests"][name], result["sections"].get(name, []))
            for name in result["requests"]
        }

    def _case(self, finding: dict[str, Any]) -> str:
        lines = Path(ROOT, finding["path"]).read_text().splitlines()
        match = _CASE.search("\n".join(lines[finding["line"] - 1 : finding["end_line"]]))
        assert match, f"{finding['path']}:{finding['line']} is no case"
        return match[1] or match[2]

    @staticmethod
    def _truth(requests: int, sections: list[str]) -> str:
        if len(sections) != requests:
            return f"{len(sections)} rows"
        return "default section" if DEFAULT_SECTION in sections else "section"

    def by_case(self) -> dict[str, tuple[str, str]]:
        """Case → its status and what its rows say."""
        return {
            name: (finding["status"], self.truth.get(name, "no request"))
            for name, finding in self.findings.items()
        }


@pytest.fixture(scope="module")
def before(tmp_path_factory: pytest.TempPathFactory) -> Driven:
    files = {name: without_fixes(text) for name, text in files_of(SITE).items()}
    return Driven(copied(tmp_path_factory.mktemp("before"), files))


@pytest.fixture(scope="module")
def after(tmp_path_factory: pytest.TempPathFactory) -> Driven:
    return Driven(copied(tmp_path_factory.mktemp("after"), files_of(SITE)))


@pytest.fixture(scope="module")
def patched(tmp_path_factory: pytest.TempPathFactory, before: Driven) -> Driven:
    site = copied(tmp_path_factory.mktemp("patched"), files_of(before.site))
    ran = subprocess.run(
        ["git", "apply", "-p1", "-"],
        input=before.reports["diff"],
        cwd=site,
        capture_output=True,
        text=True,
        check=False,
        env={"PATH": os.environ["PATH"], "GIT_CEILING_DIRECTORIES": str(site.parent)},
    )
    assert ran.returncode == 0, ran.stderr
    return Driven(site)


def test_printed_fixes_are_those_that_were_followed(before: Driven) -> None:
    assert before.failed == []
    assert sorted(printed_fixes(before.reports["text"], before.site)) == sorted(expected_fixes())


def test_before_the_fix_the_section_is_missing(before: Driven) -> None:
    truth = {"captured": "default section", INVISIBLE: "0 rows"}
    wrong = {
        name: (status, rows)
        for name, (status, rows) in before.by_case().items()
        if status != UNKNOWN and truth.get(status) != rows
    }

    assert wrong == {}


def test_after_the_fix_verdict_and_row_agree(after: Driven) -> None:
    wrong = {
        name: found for name, found in after.by_case().items() if found != (COVERED, "section")
    }

    assert after.failed == []
    assert wrong == {}
    assert list(printed_fixes(after.reports["text"], after.site)) == []


def test_after_the_patch_verdict_and_row_agree(before: Driven, patched: Driven) -> None:
    """What the patch leaves out is listed, with the fix to follow by hand."""
    notes = before.reports["diff notes"]
    listed = dict(re.findall(r"^  (\S+)  \S+: (.*)$", notes, re.MULTILINE))
    reasons = {name: listed.get(place(finding)) for name, finding in before.findings.items()}
    left = {name for name, reason in reasons.items() if reason}
    wrong = {
        name: found
        for name, found in patched.by_case().items()
        if found != (COVERED, "section") and name not in left
    }

    assert patched.failed == []
    assert wrong == {}
    assert left == {
        *("lambda", "partial", "returned"),
        *("unhooked", "unhooked_in_section", "unknown", "address"),
    }
    for name in left:
        assert str(reasons[name]).endswith(before.findings[name]["fix"])


def place(finding: dict[str, Any]) -> str:
    return f"{finding['path']}:{finding['line']}"
