"""The second scan, from the cache."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

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
    for name in ("scanner/cli.py", "scanner/reading/lowering.py", "call_paths/table.py"):
        module = package / name
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


class TestChangesOfATree:
    """A scan after a change gives what one without a cache gives."""

    FILES = {
        "src/clients.py": "import anthropic\n\n\ndef get():\n    return anthropic.Anthropic()\n",
        "src/use.py": "from clients import get\n\n\ndef ask(q):\n"
        "    return get().messages.create(model='m', messages=[q])\n",
        "src/views.py": "from use import ask\n\n\ndef view(request):\n    return ask('x')\n",
        "src/forms.py": "import decimal\n\n\nclass Form:\n    total = decimal.Decimal(1)\n",
        "src/models.py": "class Order:\n    total = 1\n",
        # A request without a sign of AI, and its user.
        "src/vectors.py": "import requests\n\n\ndef vectors(text):\n"
        "    body = {'model': 'm', 'input': text}\n"
        "    return requests.post('http://10.0.0.5/embed', json=body)\n",
        "src/index.py": "from vectors import vectors\n\n\ndef index():\n    return vectors('x')\n",
    }

    @pytest.fixture(autouse=True)
    def tree(self, tmp_path):
        write_tree(tmp_path, self.FILES)
        scan_with_cache(tmp_path)
        return tmp_path

    def assert_scanned(self, root, *, anew: bool, **options: Any) -> Report:
        report, stages = stages_of(root, **options)

        assert not report.from_cache
        assert ("Analysing calls" in stages) == anew
        assert content_of(report) == content_of(
            scan(Options(paths=(str(root / "src"),), **options))
        )
        return report

    @pytest.mark.parametrize(
        "text",
        [
            "class Order:\n    total = 22\n",
            "# A comment about an LLM.\nclass Order:\n    total = 1\n",
            '"""Orders, which no LLM reads."""\n',
            "",
        ],
    )
    def test_change_of_an_irrelevant_file_needs_no_analysis(self, tree, text):
        write_tree(tree, {"src/models.py": text})

        report = self.assert_scanned(tree, anew=False)
        assert len(report.findings) == 2
        assert scan_with_cache(tree).from_cache

    def test_irrelevant_file_that_cannot_be_read_is_a_problem(self, tree):
        write_tree(tree, {"src/models.py": "class Order:\n    print 'x'\n"})

        assert len(self.assert_scanned(tree, anew=False).problems) == 1

    @pytest.mark.parametrize(
        ("name", "text"),
        [
            ("use.py", "from clients import get\n\n\ndef ask(q): ...\n"),
            ("use.py", FILES["src/use.py"].replace("create", "count_tokens")),
            ("use.py", FILES["src/use.py"].replace("[q])", "[q])  # ai-usage: ignore old")),
            ("clients.py", "def get():\n    return print\n"),
            ("views.py", "# moved\n" + FILES["src/views.py"]),
            ("vectors.py", "# moved\n" + FILES["src/vectors.py"]),
            ("index.py", FILES["src/index.py"].replace("index()", "index(request)")),
            ("index.py", "from vectors import vectors\n"),
            ("models.py", FILES["src/models.py"] + "\n" + ASK),
            ("models.py", FILES["src/models.py"] + "    llm = 1\n"),
        ],
    )
    def test_change_of_a_relevant_file_needs_an_analysis(self, tree, name, text):
        write_tree(tree, {f"src/{name}": text})

        self.assert_scanned(tree, anew=True)

    @pytest.mark.parametrize(
        "text", ["import decimal, json\n", "from use import ask\n", "from models import Order\n"]
    )
    def test_change_of_an_import_needs_an_analysis(self, tree, text):
        write_tree(tree, {"src/forms.py": text})

        self.assert_scanned(tree, anew=True)

    @pytest.mark.parametrize("text", ["x = 1\n", ASK])
    def test_new_file_needs_an_analysis(self, tree, text):
        write_tree(tree, {"src/new.py": text})

        self.assert_scanned(tree, anew=True)

    @pytest.mark.parametrize("name", [Path(name).name for name in FILES])
    def test_removed_file_needs_an_analysis(self, tree, name):
        (tree / "src" / name).unlink()

        self.assert_scanned(tree, anew=True)

    @pytest.mark.parametrize(
        "options",
        [
            {"trackers": ("get",)},
            {"mapped": frozenset({"views.view"})},
            {"scheduled": frozenset({"x"})},
            {"min_confidence": "certain"},
            {"exclude": ("x.py",)},
            {"tracking": Tracking(is_enabled=False)},
        ],
    )
    def test_other_option_needs_an_analysis(self, tree, options):
        self.assert_scanned(tree, anew=True, **options)

    def test_analysis_is_kept_over_several_changes(self, tree):
        for number in range(3):
            write_tree(tree, {"src/models.py": f"x = {'1' * (number + 1)}\n"})

            self.assert_scanned(tree, anew=False)


def stages_of(root, **options: Any) -> tuple[Report, list[str]]:
    """The report of a scan with the cache, and its stages."""
    stages: list[str] = []
    cached = Options(paths=(str(root / "src"),), cache=root / "cache", **options)
    return scan(cached, stages.append), stages


def content_of(report: Report) -> tuple[Any, ...]:
    return report.findings, report.problems, report.files, report.lines, report.sdks


# Trees that change

#: Part of a file → its code. `{next}` is the next module.
PARTS = {
    "broken": "print 'x'",
    "comment": "# What the LLM says is checked below.",
    "import": "from {next} import answer, client",
    "http": "import requests",
    "client": "from anthropic import Anthropic\nclient = Anthropic()",
    "call": "def answer(q):\n    return client.messages.create(model='m', messages=[q])",
    "count": "def answer(q):\n    return client.messages.count_tokens(model='m', messages=[q])",
    "unsigned": "import requests\ndef answer(q):\n"
    "    return requests.post('http://x/embed', json={{'model': 'm', 'input': q}})",
    "covered": "from usage_tracking import ai_usage\n"
    "def ask(q):\n    with ai_usage('x'):\n        return answer(q)",
    "user": "def view(request):\n    return answer(request.GET['q'])",
}
MODULES = ("clients", "services", "views", "openai/__init__", "openai/version", "other")
START = {
    "clients": {"client"},
    "services": {"import", "call", "user"},
    "views": {"import", "covered"},
    "openai/__init__": {"client"},
    "openai/version": set(),
    "other": {"user"},
}


def code_of(module: str, parts: set[str]) -> str:
    following = MODULES[MODULES.index(module) - 1].partition("/")[0]
    sdk = "class OpenAI: ...\nclass Client: ...\n" if module == "openai/__init__" else ""
    return sdk + "".join(
        code.format(next=following) + "\n" for part, code in PARTS.items() if part in parts
    )


@settings(max_examples=25, deadline=None)
@given(
    st.lists(
        st.lists(
            st.tuples(st.sampled_from(MODULES), st.sampled_from(["file", *PARTS])),
            min_size=1,
            max_size=3,
        ),
        max_size=5,
    )
)
@example([[("services", "call"), ("services", "count")]])
@example(
    [[("other", "comment")], [("other", "import")], [("views", "file")], [("clients", "file")]]
)
def test_scans_of_a_changing_tree_equal_scans_without_a_cache(rounds):
    tree = {module: set(parts) for module, parts in START.items()}
    with tempfile.TemporaryDirectory() as directory:
        root = Path(directory)
        for number, edits in enumerate([[], *rounds]):
            for module, part in edits:
                tree[module] ^= {part}
            for module, parts in tree.items():
                file = root / "src" / f"{module}.py"
                code = code_of(module, parts)
                if "file" in parts:  # removed
                    file.unlink(missing_ok=True)
                elif not file.exists() or file.read_text() != code:
                    write_tree(root, {f"src/{module}.py": code})
                    # Two changes may have the same time on a coarse clock.
                    os.utime(file, ns=(number, number))

            report = scan_with_cache(root)
            assert content_of(report) == content_of(scan(Options(paths=(str(root / "src"),))))
