"""The second scan, from the cache."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import fields
from typing import Any

import pytest

from tests.scanner.trees import write_tree
from tests.support.children import ROOT
from usage_tracking.scanner import Options, Report, Tracking, scan

ASK = "import openai\nopenai.chat.completions.create(model='m', messages=[])\n"


def scan_with_cache(root, **options: Any) -> Report:
    return scan(Options(paths=(str(root / "src"),), cache=root / "cache", **options))


def test_unchanged_tree_comes_from_the_cache(tmp_path):
    write_tree(tmp_path, {"src/a.py": ASK})
    first, second = scan_with_cache(tmp_path), scan_with_cache(tmp_path)

    assert (first.from_cache, second.from_cache) == (False, True)
    assert second.findings == first.findings


def test_changed_new_and_removed_files_are_read_again(tmp_path):
    write_tree(tmp_path, {"src/a.py": ASK, "src/b.py": "x = 1\n"})
    scan_with_cache(tmp_path)
    write_tree(tmp_path, {"src/b.py": ASK, "src/c.py": ASK})
    (tmp_path / "src" / "a.py").unlink()
    report = scan_with_cache(tmp_path)

    assert [os.path.basename(finding.path) for finding in report.findings] == ["b.py", "c.py"]
    assert not report.from_cache


def test_change_in_one_file_changes_the_findings_of_another(tmp_path):
    write_tree(
        tmp_path,
        {
            "src/clients.py": "import stripe\ndef get(): return stripe\n",
            "src/use.py": "from clients import get\nget().messages.create(text='x')\n",
        },
    )
    assert scan_with_cache(tmp_path).findings == ()
    write_tree(
        tmp_path, {"src/clients.py": "import anthropic\ndef get(): return anthropic.Anthropic()\n"}
    )

    assert [finding.line for finding in scan_with_cache(tmp_path).findings] == [2]


def test_other_options_do_not_use_the_cache(tmp_path):
    write_tree(tmp_path, {"src/a.py": ASK + "track()\n"})
    others = [
        Tracking(is_enabled=False),
        Tracking(hooked=frozenset()),
        Tracking(paths=(("/llm/answer", ("openai.chat", "chat")),)),
        Tracking(gateways=(("llm.example.com", "openai"),)),
        Tracking(records_unknown_hosts=False),
        Tracking(reaches_threads=False),
        Tracking(reads_views=False),
    ]
    assert len(others) == len(fields(Tracking))
    for tracking in others:
        scan_with_cache(tmp_path)

        assert not scan_with_cache(tmp_path, tracking=tracking).from_cache
        assert scan_with_cache(tmp_path, tracking=tracking).from_cache


@pytest.mark.process
def test_changed_code_of_the_scanner_does_not_use_the_cache(tmp_path):
    package = tmp_path / "usage_tracking"
    shutil.copytree(ROOT / "usage_tracking", package, ignore=shutil.ignore_patterns("__pycache__"))
    write_tree(tmp_path, {"src/a.py": ASK})
    command = [sys.executable, "-m", "usage_tracking.scanner", "src", "--cache", "cache"]

    def is_from_cache() -> bool:
        ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60)
        assert ended.returncode == 1, ended.stderr
        return "from the cache" in ended.stdout

    assert [is_from_cache(), is_from_cache()] == [False, True]
    for module in (package / "scanner" / "cli.py", package / "scanner" / "reading" / "lowering.py"):
        module.write_text(module.read_text() + "# changed")
        assert [is_from_cache(), is_from_cache()] == [False, True]


def test_corrupt_caches_are_ignored(tmp_path):
    write_tree(tmp_path, {"src/a.py": ASK})
    first = scan_with_cache(tmp_path)
    for content in (b"", b"x", b"x\ny"):
        for file in (tmp_path / "cache").iterdir():
            file.write_bytes(content)
        assert scan_with_cache(tmp_path).findings == first.findings
    for file in (tmp_path / "cache").iterdir():
        data = file.read_bytes()
        file.write_bytes(data[:-20] + b"\0" * 20)
    assert scan_with_cache(tmp_path).findings == first.findings


def test_unwritable_cache_does_not_fail_the_scan(tmp_path):
    write_tree(tmp_path, {"src/a.py": ASK, "cache": "a file"})

    assert len(scan_with_cache(tmp_path).findings) == 1


def test_scanned_tree_stays_clean(tmp_path):
    write_tree(tmp_path, {"src/a.py": ASK})
    scan(Options(paths=(str(tmp_path / "src"),), cache=tmp_path / "elsewhere"))

    assert [path.name for path in (tmp_path / "src").iterdir()] == ["a.py"]
