"""Baselines: entries that survive moves, and entries that are out of date."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tests.scanner.trees import copy_of_openai, write_tree
from usage_tracking.scanner import __main__ as scanner

CLIENT = "from openai import OpenAI\nfrom usage_tracking import ai_usage\nclient = OpenAI()\n"
ASK = "client.responses.create(model='m', input='x')"
VIEWS = f"{CLIENT}def chat(request):\n    {ASK}\ndef search(request):\n    {ASK}\n"


@pytest.fixture(autouse=True)
def tree(tmp_path, monkeypatch):
    write_tree(
        tmp_path,
        {
            "site/shop/views.py": VIEWS,
            "site/blog/views.py": VIEWS,
            "site/blog/tests.py": VIEWS,
            "elsewhere/x.txt": "",
        },
    )
    monkeypatch.chdir(tmp_path / "site")
    return tmp_path


def run(capsys, *arguments: str) -> tuple[int, str, str]:
    code = scanner.main([*arguments, "--no-cache"])
    return code, *capsys.readouterr()


def stale(out: str) -> list[str]:
    """The entries that a report calls out of date: "file function: reason"."""
    found = re.findall(r"^  (\S+)  \S+  in (\w+)(?: \(\d times\))?: (.*)$", out, re.MULTILINE)
    return [f"{path} {function}: {reason}" for path, function, reason in found if ":" not in path]


def test_entries_do_not_depend_on_the_working_directory(capsys, tree, monkeypatch):
    run(capsys, ".", "--write-baseline", "old.json")
    names = list(json.loads((tree / "site" / "old.json").read_text())["findings"])
    assert names[0] == "blog/views.py::chat::client.responses.create"

    places = {
        ".": (".", "old.json"),
        "shop": ("..", "../old.json"),
        "..": ("site", "site/old.json"),
        "../elsewhere": (str(tree / "site"), str(tree / "site" / "old.json")),
    }
    for place, (path, file) in places.items():
        monkeypatch.chdir(tree / "site" / place)
        code, out, _ = run(capsys, path, "--baseline", file)

        assert (code, stale(out)) == (0, []), place
        assert "(4 of them in the baseline)" in out


def test_tree_may_move_with_its_baseline(capsys, tree, monkeypatch):
    run(capsys, str(tree / "site"), "--write-baseline", "old.json")
    (tree / "site").rename(tree / "moved")
    monkeypatch.chdir(tree / "moved")

    assert run(capsys, ".", "--baseline", "old.json")[0] == 0


def test_baseline_in_another_directory(capsys, tree, monkeypatch):
    (tree / "site" / "ci").mkdir()
    run(capsys, ".", "--write-baseline", "ci/old.json")
    monkeypatch.chdir(tree)

    assert run(capsys, "site", "--baseline", "site/ci/old.json")[0] == 0


def test_linked_directories(capsys, tree, monkeypatch):
    run(capsys, ".", "--write-baseline", "old.json")
    (tree / "link").symlink_to(tree / "site")
    monkeypatch.chdir(tree)

    assert run(capsys, "link", "--baseline", "site/old.json")[0] == 0
    assert run(capsys, "site", "--baseline", "link/old.json")[0] == 0


@pytest.mark.parametrize("place", ["site", "."])
def test_baseline_of_the_first_version_still_works(capsys, tree, monkeypatch, place):
    names = [
        f"{app}/views.py::{function}::client.responses.create"
        for app in ("blog", "shop")
        for function in ("chat", "search")
    ]
    content = {"version": 1, "findings": dict.fromkeys(names, 1)}
    (tree / "site" / "old.json").write_text(json.dumps(content))
    monkeypatch.chdir(tree / place)
    path = str(tree / "site")

    assert run(capsys, path, "--baseline", f"{path}/old.json", "--strict-baseline")[0] == 0


def test_first_version_with_paths_of_another_working_directory(capsys, tree, monkeypatch):
    content = {"findings": {"site/blog/views.py::chat::client.responses.create": 1}}
    (tree / "site" / "old.json").write_text(json.dumps(content))
    monkeypatch.chdir(tree)
    code, out, _ = run(capsys, "site", "--baseline", "site/old.json", "--format", "json")
    report = json.loads(out)

    assert code == 1
    assert [f["function"] for f in report["findings"] if f["is_old"]] == ["chat"]
    assert report["stale_baseline"] == []


def change(tree, **files: str) -> None:
    for name, text in files.items():
        (tree / "site" / name / "views.py").write_text(text)


def test_stale_entries_are_named(capsys, tree):
    run(capsys, ".", "--write-baseline", "old.json")
    change(tree, shop=VIEWS.replace(f"    {ASK}", f"    with ai_usage('x'):\n        {ASK}", 1))
    change(tree, blog=VIEWS.partition("def search")[0] + "def search(request):\n    pass\n")
    code, out, _ = run(capsys, ".", "--baseline", "old.json")

    assert code == 0
    assert stale(out) == [
        "blog/views.py search: the function has no such call",
        "shop/views.py chat: it is covered or ignored now",
    ]
    assert "2 entries of the baseline out of date; remove them with --write-baseline:\n" in out

    (tree / "site" / "shop" / "views.py").unlink()
    _, out, _ = run(capsys, ".", "--baseline", "old.json")
    assert "shop/views.py search: the file does not exist" in stale(out)


def test_stale_entries_fail_only_if_asked(capsys, tree):
    run(capsys, ".", "--write-baseline", "old.json")
    change(tree, shop="x = 1\n")

    assert run(capsys, ".", "--baseline", "old.json")[0] == 0
    assert run(capsys, ".", "--baseline", "old.json", "--strict-baseline")[0] == 1
    quiet = run(capsys, ".", "--baseline", "old.json", "--strict-baseline", "-v", "0")
    assert quiet[0] == 1
    assert "shop/views.py" in quiet[1]
    assert run(capsys, ".", "--baseline", "old.json", "-v", "0") == (0, "", "")


def test_stale_entries_in_the_other_formats(capsys, tree):
    run(capsys, ".", "--write-baseline", "old.json")
    change(tree, shop=VIEWS.partition("def search")[0])
    entry = "shop/views.py  client.responses.create  in search: the function has no such call"

    out = run(capsys, ".", "--baseline", "old.json", "--format", "json")[1]
    assert json.loads(out)["stale_baseline"] == [
        {
            "path": "shop/views.py",
            "function": "search",
            "call": "client.responses.create",
            "count": 1,
            "reason": "the function has no such call",
        }
    ]
    out = run(capsys, ".", "--baseline", "old.json", "--format", "github")[1]
    assert f"::warning title=Baseline out of date::{entry}\n" in out
    out = run(capsys, ".", "--baseline", "old.json", "--format", "sarif")[1]
    (note,) = json.loads(out)["runs"][0]["invocations"][0]["toolExecutionNotifications"]
    assert note["message"]["text"] == f"Baseline out of date: {entry}"


PARTS = {
    "one app": ["shop"],
    "one file": ["shop/views.py"],
    "another app is excluded": [".", "--exclude", "blog"],
    "sites of low confidence are hidden": [".", "--min-confidence", "certain"],
}


@pytest.mark.parametrize("part", PARTS)
def test_scan_of_a_part_calls_no_entry_of_another_part_stale(capsys, tree, part):
    run(capsys, ".", "--write-baseline", "old.json", "--include", "tests")
    (tree / "site" / "blog" / "views.py").unlink()
    code, out, _ = run(capsys, *PARTS[part], "--baseline", "old.json", "--strict-baseline")

    assert (code, stale(out)) == (0, [])


def test_file_that_cannot_be_parsed_makes_no_entry_stale(capsys, tree):
    run(capsys, ".", "--write-baseline", "old.json")
    change(tree, shop="x = ((\n")

    assert stale(run(capsys, ".", "--baseline", "old.json")[1]) == []


def test_sdk_that_is_no_longer_searched_makes_no_entry_stale(capsys, tree):
    write_tree(tree, {"site/vendor/openai/__init__.py": VIEWS})
    run(capsys, ".", "--write-baseline", "old.json")
    copy_of_openai(tree / "site" / "vendor" / "openai")

    code, out, _ = run(capsys, ".", "--baseline", "old.json", "--strict-baseline")

    assert "SDKs: vendor/openai" in out
    assert (code, stale(out)) == (0, [])


def test_writing_again_removes_stale_entries_and_keeps_those_of_other_parts(capsys, tree):
    run(capsys, ".", "--write-baseline", "old.json", "--include", "tests")
    change(tree, shop=VIEWS.partition("def search")[0], blog="x = 1\n")
    run(capsys, "shop", "--write-baseline", "old.json")
    content = json.loads((tree / "site" / "old.json").read_text())

    assert content == {
        "version": 2,
        "findings": {
            "blog/tests.py::chat::client.responses.create": 1,
            "blog/tests.py::search::client.responses.create": 1,
            "blog/views.py::chat::client.responses.create": 1,
            "blog/views.py::search::client.responses.create": 1,
            "shop/views.py::chat::client.responses.create": 1,
        },
    }


def test_a_file_that_is_not_a_baseline_is_not_overwritten(capsys, tree):
    (tree / "site" / "pyproject.toml").write_text("[project]\n")
    code, _, err = run(capsys, ".", "--write-baseline", "pyproject.toml")

    assert (code, err) == (
        2,
        "pyproject.toml is not a baseline; write one with --write-baseline.\n",
    )
    assert (tree / "site" / "pyproject.toml").read_text() == "[project]\n"


def test_second_call_in_the_same_function_is_new(capsys, tree):
    run(capsys, ".", "--write-baseline", "old.json")
    change(tree, shop=VIEWS.replace(f"    {ASK}", f"    {ASK}\n    {ASK}", 1))
    code, out, _ = run(capsys, ".", "--baseline", "old.json", "-v", "0")

    assert code == 1
    assert out.startswith("shop/views.py:6  captured")


def test_notebooks_in_a_baseline(capsys, tree):
    cells = [{"cell_type": "code", "source": [f"{CLIENT}\n", ASK]}]
    file = tree / "site" / "a.ipynb"
    file.write_text(json.dumps({"cells": cells}))
    run(capsys, ".", "--write-baseline", "old.json")
    file.write_text(json.dumps({"cells": [{"cell_type": "markdown"}, *cells]}, indent=1))

    assert run(capsys, ".", "--baseline", "old.json", "--strict-baseline")[0] == 0


def test_strict_needs_a_baseline(capsys):
    assert run(capsys, ".", "--strict-baseline")[::2] == (
        2,
        "--strict-baseline needs --baseline FILE.\n",
    )


@pytest.mark.parametrize(
    "findings",
    [
        *("[]", "null", "[" * 100_000, '{"a": 1}', '{"a\\u0000::b::c": 1}'),
        *('{"a::b::c": -1}', '{"a::b::c": "1"}', '{"a::b::c": 1e999}', '{"a::b::c": true}'),
    ],
)
def test_damaged_baseline_is_named(capsys, tree, findings):
    (tree / "site" / "old.json").write_text(f'{{"version": 2, "findings": {findings}}}')

    for option in ("--baseline", "--write-baseline"):
        code, _, err = run(capsys, ".", option, "old.json")
        assert (code, err) == (
            2,
            "old.json is not a baseline; write one with --write-baseline.\n",
        )


@pytest.mark.parametrize("version", ["3", '"2"', "1e999", "0"])
def test_baseline_of_another_version_is_not_read_as_empty(capsys, tree, version):
    (tree / "site" / "old.json").write_text(f'{{"version": {version}, "findings": {{}}}}')
    code, _, err = run(capsys, ".", "--baseline", "old.json")

    assert code == 2
    assert err.startswith("old.json has version ")
    assert err.endswith("; this release reads up to 2.\n")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize(
    "options",
    [["--output"], ["--format", "sarif", "--output"], ["--diff", "--output"], ["--write-baseline"]],
)
def test_full_disk_names_the_file(capsys, tree, options):
    code, _, err = run(capsys, ".", *options, "/dev/full")

    assert (code, err) == (2, "/dev/full: No space left on device.\n")
