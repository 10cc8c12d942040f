"""Recall and precision on the corpus, whose files label their sites and look-alikes."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import pytest

from usage_tracking.scanner import Finding, Options, Report, scan

CORPUS = Path(__file__).parent / "corpus"
_LABEL = re.compile(r"#: (site|not)\b *([\w-]*) *([\w-]*)\s*$")


@dataclass(frozen=True)
class Label:
    path: str
    line: int
    is_site: bool
    provider: str
    kind: str


def read_labels() -> dict[tuple[str, int], Label]:
    found = {}
    for file in sorted(CORPUS.rglob("*.py")):
        for number, line in enumerate(file.read_text().splitlines(), 1):
            if match := _LABEL.search(line):
                path = file.relative_to(CORPUS).as_posix()
                what, provider, kind = match.groups()
                found[path, number] = Label(path, number, what == "site", provider, kind)
    return found


@pytest.fixture(scope="module")
def labels() -> dict[tuple[str, int], Label]:
    return read_labels()


@pytest.fixture(scope="module")
def report() -> Report:
    return scan(Options(paths=(str(CORPUS),)))


def place(finding: Finding) -> tuple[str, int]:
    return Path(finding.path).resolve().relative_to(CORPUS.resolve()).as_posix(), finding.line


def test_corpus_is_large_and_balanced(labels):
    sites = sum(label.is_site for label in labels.values())

    assert sites >= 150
    assert len(labels) - sites >= 150


def test_recall_and_precision(labels, report, capsys):
    found = {place(finding) for finding in report.findings}
    sites = {where for where, label in labels.items() if label.is_site}
    missed, false = sorted(sites - found), sorted(found - sites)
    recall = (len(sites) - len(missed)) / len(sites)
    precision = (len(found) - len(false)) / len(found)
    with capsys.disabled():
        print(
            f"\nscanner corpus: {len(sites)} sites, {len(labels) - len(sites)} look-alikes, "
            f"recall {recall:.1%}, precision {precision:.1%}"
        )

    assert recall >= 0.97, missed
    assert precision >= 0.97, false


def test_every_file_is_read(report):
    assert report.problems == ()


def test_providers_and_kinds(labels, report):
    wrong = []
    for finding in report.findings:
        label = labels.get(place(finding))
        if label and label.is_site:
            found = (
                finding.provider if label.provider else "",
                finding.kind if label.kind else "",
            )
            if found != (label.provider, label.kind):
                wrong.append((place(finding), found))

    assert wrong == []
