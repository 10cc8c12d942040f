"""What one block covers, the way to each site, and how a terminal shows it."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
from contextlib import suppress

import pytest

from tests.scanner.trees import scan_tree, write_tree
from usage_tracking.scanner import Report
from usage_tracking.scanner.output.terminal import wrapped
from usage_tracking.scanner.output.text import lines

CLIENT = "from openai import OpenAI\nfrom usage_tracking import ai_usage\nclient = OpenAI()\n"
ASK = "client.chat.completions.create(model='m', messages=[])"


def blocks(report: Report) -> dict[tuple[str, str], int]:
    """(kind, name) of each block → the number of call sites that it covers."""
    found: dict[tuple[str, str], int] = {}
    for finding in report.findings:
        if finding.block:
            key = finding.block.kind, finding.block.name
            found[key] = found.get(key, 0) + 1
    return found


CASES = {
    "a view that reaches all through helpers": (
        f"def one():\n    {ASK}\ndef two():\n    {ASK}\n    one()\n"
        "def page(request):\n    one()\n    two()\n",
        {("view", "page"): 2},
    ),
    "two views that share a helper": (
        f"def ask():\n    {ASK}\ndef a(request):\n    ask()\ndef b(request):\n    ask()\n",
        {("function", "ask"): 1},
    ),
    "two views, of which one is covered": (
        f"def ask():\n    {ASK}\ndef a(request):\n    ask()\n"
        "@ai_usage(section='x')\ndef b(request):\n    ask()\n",
        {("view", "a"): 1},
    ),
    "one caller calls in a block and without": (
        f"def ask():\n    {ASK}\n"
        "def a(request):\n    with ai_usage('x'):\n        ask()\n    ask()\n",
        {("view", "a"): 1},
    ),
    "a method of a class": (
        f"class Writer:\n    def write(self):\n        {ASK}\n        {ASK}\n",
        {("method", "Writer.write"): 2},
    ),
    "a task and its helper": (
        f"from celery import shared_task\ndef ask():\n    {ASK}\n"
        f"@shared_task\ndef nightly():\n    ask()\n    {ASK}\n",
        {("task", "nightly"): 2},
    ),
    "functions that call each other": (
        f"def a(n):\n    b(n)\ndef b(n):\n    {ASK}\n    a(n)\ndef page(request):\n    a(1)\n",
        {("function", "a"): 1},
    ),
    "a generator runs when its caller has ended": (
        f"def parts():\n    yield {ASK}\ndef page(request):\n    return parts()\n",
        {("function", "parts"): 1},
    ),
    "a function that is passed on": (
        f"def ask():\n    {ASK}\ndef page(request):\n    pool.submit(ask)\n",
        {("function", "ask"): 1},
    ),
    "code of the module": (f"{ASK}\n{ASK}\n", {("module", "<module>"): 2}),
    "a function that the module calls": (
        f"def main():\n    {ASK}\nmain()\n",
        {("function", "main"): 1},
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_block(tmp_path, case):
    code, expected = CASES[case]

    assert blocks(scan_tree(tmp_path, {"app/views.py": CLIENT + code})) == expected


def test_path_from_the_entry_point_to_the_call(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_tree(
        tmp_path,
        {
            "app/services.py": f"{CLIENT}\ndef ask(text):\n    return {ASK}\n",
            "app/texts.py": "from app.services import ask\ndef improve(x):\n    return ask(x)\n",
            "app/views.py": "from app import texts\ndef page(request):\n    texts.improve('x')\n",
        },
    )
    report = scan_tree(tmp_path, {})
    (finding,) = report.findings

    assert [(step.name, os.path.relpath(step.path), step.line) for step in finding.call_path] == [
        ("page", "app/views.py", 2),
        ("improve", "app/views.py", 3),
        ("ask", "app/texts.py", 3),
        ("client.chat.completions.create", "app/services.py", 6),
    ]


def test_path_passes_the_block_and_not_a_covered_view(tmp_path):
    code = (
        f"def ask():\n    {ASK}\n"
        "@ai_usage(section='x')\ndef covered(request):\n    ask()\n"
        "def helper():\n    ask()\n"
        "def page(request):\n    helper()\n"
    )
    (finding,) = scan_tree(tmp_path, {"app/views.py": CLIENT + code}).findings

    assert finding.block
    assert finding.block.name == "page"
    assert [step.name for step in finding.call_path[:-1]] == ["page", "helper", "ask"]


def test_path_has_the_call_of_an_inner_function(tmp_path):
    code = f"def page(request):\n    def ask():\n        {ASK}\n    ask()\n"
    (finding,) = scan_tree(tmp_path, {"app/views.py": CLIENT + code}).findings

    assert [(step.name, step.line) for step in finding.call_path[:-1]] == [
        ("page", 4),
        ("page.ask", 7),
    ]


def test_uncovered_sites_come_first_and_those_of_the_largest_block(tmp_path):
    code = (
        f"def done(request):\n    with ai_usage('x'):\n        {ASK}\n"
        f"def one(request):\n    {ASK}\ndef two(request):\n    {ASK}\n    {ASK}\n"
    )
    report = scan_tree(tmp_path, {"app/views.py": CLIENT + code})
    text = "\n".join("".join(text for text, _ in line) for line in lines(report))
    found = re.findall(r"^view (\w+) .*covers (.*)$|:(6)  covered", text, re.MULTILINE)

    assert [tuple(filter(None, each)) for each in found] == [
        ("two", "2 call sites"),
        ("one", "1 call site"),
        ("6",),
    ]


@pytest.mark.parametrize("width", [40, 57, 80, 200])
def test_wrapped_lines_fit_and_lose_nothing(width):
    line = [
        ("      path: ", ""),
        ("app/" + "very_long_name/" * 9, "bold"),
        ("  日本語 " * 12, ""),
        ("→ end", ""),
    ]
    parts = ["".join(text for text, _ in part) for part in wrapped(line, width)]

    assert all(sum(1 + (c in "日本語") for c in part) <= width for part in parts)
    assert "".join("".join(parts).split()) == "".join("".join(text for text, _ in line).split())
    assert all(part.startswith(" " * 6) for part in parts)


@pytest.mark.process
def test_report_fits_the_terminal_and_is_not_cut_in_a_pipe(tmp_path):
    write_tree(
        tmp_path, {"a_rather_long_directory/views.py": f"{CLIENT}def page(request):\n    {ASK}\n"}
    )
    command = [sys.executable, "-m", "usage_tracking.scanner", str(tmp_path), "--no-cache"]
    piped = subprocess.run(command, capture_output=True, text=True, check=False).stdout
    terminal, end = pty.openpty()
    child = subprocess.Popen(
        [*command, "--no-color"],
        stdout=end,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "COLUMNS": "60"},
    )
    os.close(end)
    written = b""
    with suppress(OSError):  # the other end is closed
        while data := os.read(terminal, 10_000):
            written += data
    child.wait()
    os.close(terminal)
    shown = written.decode().replace("\r\n", "\n")

    assert max(map(len, piped.splitlines())) > 120
    assert max(map(len, shown.splitlines())) <= 60
    assert "".join(shown.split())[:400] == "".join(piped.split())[:400]
