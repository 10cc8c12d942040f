"""Unusual trees: no crash, and the report names each file that could not be read."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.scanner.trees import scan_tree, write_tree
from tests.support.children import ROOT
from usage_tracking.scanner import CannotScanError, CatalogError, Options, scan

ASK = "import openai\nopenai.chat.completions.create(model='m', messages=[])\n"


OTHER_VERSIONS = [
    # Python 3.12
    "type Alias = int\n",
    "def first[T: int](items: list[T]) -> T:\n    return items[0]\n",
    "class Box[T]:\n    pass\n",
    'x = {"y": 1}\nprint(f"{x["y"]}")\n',
    # Python 3.14
    "try:\n    pass\nexcept ValueError, TypeError:\n    pass\n",
    # Python 2
    "print 'x'\n",
    "print 'x %s' % 1, 2\n",
    "try:\n    pass\nexcept ValueError, error:\n    raise KeyError, 'x'\n",
    "if 1 <> 2:\n    exec 'x'\n    print `1`, 0777, 10L, ur'x'\n",
    "\tif 1:\n        pass\n",
    # broken
    "def (:\n",
    "x = ((\n",
    "<<<<<<< HEAD\nx = 1\n=======\nx = 2\n>>>>>>> other\n",
    "{{ cookiecutter.name }} = {% if x %}1{% endif %}\n",
    "'''never ended\n",
]


def test_code_of_another_version_does_not_hide_a_call(tmp_path, subtests):
    for number, code in enumerate(OTHER_VERSIONS):
        with subtests.test(code):
            report = scan_tree(tmp_path / str(number), {"a.py": ASK + code})

            assert [(finding.line, finding.kind) for finding in report.findings] == [(2, "chat")]
            assert sys.version_info >= (3, 12) or [problem.path for problem in report.problems]


def test_call_in_lines_that_cannot_be_parsed_is_found_as_text(tmp_path):
    report = scan_tree(
        tmp_path,
        {"a.py": "x = ((\nclient.chat.completions.create(model='m') ++ ]\n# .generate_content(\n"},
    )

    (finding,) = report.findings
    assert (finding.line, finding.function, finding.confidence) == (2, "<text>", "likely")
    assert report.problems


def test_not_utf8(tmp_path):
    (tmp_path / "declared.py").write_bytes(b"# coding: latin-1\nx = '\xe9'\n" + ASK.encode())
    (tmp_path / "wrong.py").write_bytes(b"x = '\xe9'\n" + ASK.encode())
    (tmp_path / "utf16.py").write_bytes(ASK.encode("utf-16"))
    (tmp_path / "null.py").write_bytes(b"\0" + ASK.encode())
    (tmp_path / "bom.py").write_bytes(b"\xef\xbb\xbf" + ASK.encode())
    report = scan(Options(paths=(str(tmp_path),)))

    assert len(report.findings) == 5
    assert {os.path.basename(problem.path) for problem in report.problems} == {
        "wrong.py",
        "utf16.py",
        "null.py",
    }


@pytest.mark.process
def test_generated_file_of_5_mb_is_searched_as_text(tmp_path):
    rows = "\n".join(f"    'key{number}': {number}," for number in range(260_000))
    (tmp_path / "big.py").write_text(f"DATA = {{\n{rows}\n}}\n{ASK}")
    report = scan(Options(paths=(str(tmp_path),)))

    assert (tmp_path / "big.py").stat().st_size > 5_000_000
    assert [finding.line for finding in report.findings] == [260_004]
    assert "bytes" in report.problems[0].reason


@pytest.mark.costly
def test_deep_nesting(tmp_path):
    deep = "x = " + "+".join(["a"] * 5000) + "\ny = " + "[" * 90 + "]" * 90 + "\n"
    chain = "z = a" + ".b()" * 3000 + "\n"
    report = scan_tree(tmp_path, {"a.py": ASK + deep, "b.py": ASK + chain})

    assert len(report.findings) == 2


def test_symlink_loops(tmp_path):
    write_tree(tmp_path, {"pkg/a.py": ASK})
    (tmp_path / "pkg" / "loop").symlink_to(tmp_path)
    (tmp_path / "again.py").symlink_to(tmp_path / "pkg" / "a.py")
    (tmp_path / "nowhere.py").symlink_to(tmp_path / "missing.py")
    report = scan(Options(paths=(str(tmp_path),)))

    assert (report.files, len(report.findings)) == (1, 1)


def test_imports_and_classes_in_circles(tmp_path):
    report = scan_tree(
        tmp_path,
        {
            "a.py": "from b import *\nfrom b import y\nx = y\nclass A(A): pass\n"
            "def f(n=None): return g(n) or f(n)\ndef g(n): return f(n)\nf().invoke(1)\n"
            "import openai\n",
            "b.py": "from a import *\nfrom a import x\ny = x\nclass B(C): pass\nclass C(B): pass\n"
            "B().x.chat()\n",
        },
    )

    assert report.findings == ()


@pytest.mark.costly
def test_ten_thousand_files(tmp_path):
    for number in range(10_000):
        directory = tmp_path / f"app{number % 100}"
        directory.mkdir(exist_ok=True)
        (directory / f"m{number}.py").write_text(f"def f{number}():\n    return {number}\n")
    (tmp_path / "app1" / "ask.py").write_text(ASK)
    report = scan(Options(paths=(str(tmp_path),)))

    assert (report.files, len(report.findings)) == (10_001, 1)


def test_tests_migrations_and_environments_are_skipped_unless_included(tmp_path):
    files = {
        "tests/a.py": ASK,
        "app/test_b.py": ASK,
        "app/migrations/0001_c.py": ASK,
        "env/pyvenv.cfg": "",
        "env/lib/site-packages/d.py": ASK,
        "node_modules/e.py": ASK,
        "app/views.py": ASK,
    }

    assert len(scan_tree(tmp_path, files).findings) == 1
    assert len(scan_tree(tmp_path, files, include=("tests",)).findings) == 3
    assert len(scan_tree(tmp_path, files, include=("migrations", "venvs")).findings) == 3
    assert len(scan_tree(tmp_path, files, exclude=("app",)).findings) == 0


def test_path_that_does_not_exist(tmp_path):
    with pytest.raises(CannotScanError, match="missing does not exist"):
        scan(Options(paths=(str(tmp_path / "missing"),)))


def test_file_named_like_a_library_does_not_hide_the_library(tmp_path):
    report = scan_tree(
        tmp_path,
        {
            "app/__init__.py": "",
            "app/anthropic.py": "import anthropic\nclient = anthropic.Anthropic()\n",
            "app/use.py": "from app.anthropic import client\nclient.messages.create(model='m')\n",
        },
    )

    assert [finding.provider for finding in report.findings] == ["anthropic"]


EXTRA = """
provider = "acme"
transport = "requests"
imports = ["acme_ai"]

[[type]]
name = "acme.client"
made_by = ["acme_ai:Client"]
calls = { ask = "chat" }
"""


def test_data_file_of_the_site(tmp_path):
    files = {"a.py": "import acme_ai\nacme_ai.Client().ask('x')\n", "acme.toml": EXTRA}

    assert scan_tree(tmp_path, files).findings == ()
    (finding,) = scan_tree(tmp_path, files, extra=(str(tmp_path / "acme.toml"),)).findings
    assert (finding.provider, finding.kind) == ("acme", "chat")


def test_invalid_data_files(tmp_path, subtests):
    for content, message in (
        ("provider = ", "Invalid value"),
        ('provder = "x"', "unknown key 'provder'"),
        ('[[type]]\nname = "x"\nmade_by = ["x.Client"]', "not of the form package:Name"),
        ('[[type]]\nname = "x"\ngives = { a = "y" }', "names y, which is not a type"),
        ('[[type]]\ncalls = { a = "chat" }', "a type has no name"),
    ):
        write_tree(tmp_path, {"a.toml": content})
        with subtests.test(content), pytest.raises(CatalogError, match=message):
            scan(Options(paths=(str(tmp_path),), extra=(str(tmp_path / "a.toml"),)))


@pytest.mark.process
def test_no_django_is_imported():
    code = (
        "import sys, usage_tracking.scanner.__main__ as m; m.main(['project', '--no-cache']); "
        "sys.exit(any(n.partition('.')[0] == 'django' for n in sys.modules))"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60
    )

    assert ended.returncode == 0, ended.stderr


@pytest.mark.process
def test_values_are_iterated_in_the_same_order_in_every_process():
    code = (
        "from usage_tracking.scanner.values import *\n"
        "ref, origin = ('a/b.py', 3), Origin('x', 'a/b.py', 1)\n"
        "some = [AIObject('openai.client', ('chat',), origin), HTTPClient('httpx', 'u', ()),\n"
        "        Library('a.b'), Module('a/b.py'), Text('t'), Class(ref), Function(ref),\n"
        "        Method(ref), Instance(ref, True), Super(ref)]\n"
        "some += [Items((frozenset(some),)), Table(((frozenset(some), frozenset(some)),))]\n"
        "print([hash(value) for value in some])"
    )
    printed = {
        subprocess.run(
            [sys.executable, "-c", code],
            cwd=ROOT,
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }

    assert len(printed) == 1
