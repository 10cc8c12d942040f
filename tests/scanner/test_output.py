"""The report in each output format, and the exit codes."""

from __future__ import annotations

import json
import re

import pytest
from sarif_pydantic import Sarif

from tests.scanner.trees import write_tree
from usage_tracking.scanner import __main__ as scanner

CODE = """
from openai import OpenAI
from stability_sdk.client import StabilityInference as SI
from usage_tracking import ai_usage, track_ai_usage


def view(request):
    OpenAI().responses.create(model="m", input="x")
    with ai_usage("chat"):
        OpenAI().embeddings.create(model="m", input="x")
    SI().generate("x")


def tracked(request):
    answer = OpenAI().responses.create(model="m", input="x")
    track_ai_usage(request.user, "chat")
"""


@pytest.fixture(autouse=True)
def tree(tmp_path, monkeypatch):
    write_tree(tmp_path, {"shop/views.py": CODE, "shop/old.py": "print 'x'\n"})
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("FORCE_COLOR", raising=False)
    return tmp_path


def run(capsys, *arguments: str, path: str = "shop") -> tuple[int, str, str]:
    code = scanner.main([path, "--no-cache", *arguments])
    return code, *capsys.readouterr()


def test_text(capsys):
    code, out, err = run(capsys)

    assert (code, err) == (1, "")
    assert re.sub(r"\d+\.\d s", "0.1 s", out) == (
        "view view  shop/views.py:6  one block here covers 1 call site\n"
        '  fix: decorate view with @ai_section("…"), as the outermost decorator\n'
        "  shop/views.py:7  captured  openai chat  OpenAI().responses.create  in view"
        "  certain: OpenAI().responses ← OpenAI() at line 7\n"
        "  shop/views.py:10  invisible  stability image  SI().generate"
        "  in view  certain: SI() ← SI() at line 10\n"
        "      stability_sdk is not hooked\n"
        '      fix: put the call into `with ai_usage(section="…") as usage:`,'
        " and call usage.record(response) in it\n"
        "\n"
        "shop\n"
        "  shop/views.py:9  covered  openai embeddings  OpenAI().embeddings.create  in view"
        "  certain: OpenAI().embeddings ← OpenAI() at line 9\n"
        "  shop/views.py:14  covered  openai chat  OpenAI().responses.create  in tracked"
        "  certain: OpenAI().responses ← OpenAI() at line 14\n"
        "      warning: tracked on the success path only: a failed call leaves no record\n"
        "      path: shop/views.py:13  tracked\n"
        "            shop/views.py:14  → OpenAI().responses.create\n"
        "      followed by track_ai_usage at line 15\n"
        "\n"
        "1 file could not be read completely:\n"
        "  shop/old.py:1 is not valid Python for this version: Missing parentheses in call to"
        " 'print'. Did you mean print(...)?\n"
        "\n"
        "4 AI call sites: 2 covered, 1 captured, 1 invisible; 50.0 % covered"
        " — 2 files, 18 lines, 0.1 s\n"
    )


def test_quiet_text_lists_only_uncovered_sites(capsys):
    _, out, _ = run(capsys, "-v", "0")

    assert [line.split("  ")[0] for line in out.splitlines()] == [
        "shop/views.py:7",
        "shop/views.py:10",
    ]


def test_quiet_text_lists_exactly_the_sites_that_fail(capsys, tree):
    lines = {
        name: [
            line.split("  ")[0] for line in run(capsys, "-v0", "--fail-on", name)[1].splitlines()
        ]
        for name in ("never", "invisible", "unknown", "captured", "any")
    }

    assert lines == {
        "never": [],
        "invisible": ["shop/views.py:10"],
        "unknown": ["shop/views.py:10"],
        "captured": ["shop/views.py:7", "shop/views.py:10"],
        "any": ["shop/views.py:7", "shop/views.py:10", "shop/views.py:14"],
    }
    assert run(capsys, "-v", "0", "--output", "report.txt", "--fail-on", "never")[0] == 0
    assert (tree / "report.txt").read_text() == ""


def test_json(capsys):
    _, out, _ = run(capsys, "--format", "json")
    report = json.loads(out)

    assert report["summary"] == {
        "sites": 4,
        "covered": 2,
        "captured": 1,
        "unknown": 0,
        "invisible": 1,
        "ignored": 0,
        "coverage": 50.0,
        "files": 2,
        "lines": 18,
    }
    first = report["findings"][0]
    assert {
        "path": "shop/views.py",
        "line": 7,
        "end_line": 7,
        "provider": "openai",
        "kind": "chat",
        "call": "OpenAI().responses.create",
        "status": "captured",
        "confidence": "certain",
    }.items() <= first.items()
    assert first["reason"]
    assert [problem["path"] for problem in report["problems"]] == ["shop/old.py"]


def test_github_annotations(capsys):
    _, out, _ = run(capsys, "--format", "github")
    lines = out.splitlines()

    assert lines[0].startswith(
        "::warning file=shop/views.py,line=7,endLine=7,title=AI call without a section::"
    )
    assert lines[1].startswith("::error file=shop/views.py,line=10,")
    assert lines[2].startswith("::notice file=shop/views.py,line=14,")
    assert lines[3].startswith("::notice file=shop/old.py,line=1::")
    assert lines[4].startswith("4 AI call sites")


def test_github_annotations_are_escaped(capsys, tree):
    write_tree(tree, {"shop/a,b:c.py": "import openai\nopenai.responses.create()\n"})
    _, out, _ = run(capsys, "--format", "github")

    assert "file=shop/a%2Cb%3Ac.py,line=2" in out


def test_sarif(capsys):
    _, out, _ = run(capsys, "--format", "sarif")
    log = json.loads(out)

    (ran,) = log["runs"]
    assert log["version"] == "2.1.0"
    assert [(result["ruleId"], result["level"]) for result in ran["results"]] == [
        ("ai-call-without-section", "warning"),
        ("ai-call-invisible", "error"),
        ("ai-call-covered-in-part", "note"),
    ]
    rules = ran["tool"]["driver"]["rules"]
    assert all(rules[result["ruleIndex"]]["id"] == result["ruleId"] for result in ran["results"])
    place = ran["results"][0]["locations"][0]["physicalLocation"]
    assert place["artifactLocation"]["uri"] == "shop/views.py"
    assert place["region"] == {"startLine": 7, "endLine": 7}


def test_sarif_survives_another_library(capsys):
    _, out, _ = run(capsys, "--format", "sarif")
    log = json.loads(out)
    read = Sarif.model_validate(log)

    assert len(read.runs[0].results or []) == 3
    again = json.loads(read.model_dump_json(by_alias=True, exclude_none=True))
    assert again["runs"][0]["results"] == log["runs"][0]["results"]


def test_sarif_is_valid(capsys):
    """Check what https://json.schemastore.org/sarif-2.1.0.json requires beyond names and types."""
    _, out, _ = run(capsys, "--format", "sarif", "--fail-on", "never")
    log = json.loads(out)
    (ran,) = log["runs"]
    driver = ran["tool"]["driver"]

    assert set(log) <= {"$schema", "version", "runs"}
    assert driver["name"]
    identities = [rule["id"] for rule in driver["rules"]]
    assert len(identities) == len(set(identities))
    for result in ran["results"]:
        assert result["level"] in {"none", "note", "warning", "error"}
        assert result["baselineState"] in {"new", "unchanged", "updated", "absent"}
        assert result["message"]["text"]
        assert all(isinstance(value, str) for value in result["partialFingerprints"].values())
        related = [place["id"] for place in result.get("relatedLocations", [])]
        assert len(related) == len(set(related))
        for place in (*result["locations"], *result.get("relatedLocations", [])):
            region = place["physicalLocation"]["region"]
            assert 1 <= region["startLine"] <= region.get("endLine", region["startLine"])
            uri = place["physicalLocation"]["artifactLocation"]["uri"]
            assert not re.search(r"[\\\s]|^/|^\.", uri)
    for ran_once in ran["invocations"]:
        assert isinstance(ran_once["executionSuccessful"], bool)


def test_threshold(capsys):
    codes = {"never": 0, "invisible": 1, "unknown": 1, "captured": 1, "any": 1}

    assert {name: run(capsys, "--fail-on", name)[0] for name in codes} == codes


def test_threshold_any_includes_warnings(capsys, tree):
    (tree / "shop" / "views.py").write_text(
        CODE.partition("def view")[0] + CODE.partition("\n\n\n")[2].partition("\n\n\n")[2]
    )

    assert run(capsys, "--fail-on", "captured")[0] == 0
    assert run(capsys, "--fail-on", "any")[0] == 1


def test_baseline(capsys, tree):
    assert run(capsys, "--write-baseline", "old.json")[0] == 0
    code, out, _ = run(capsys, "--baseline", "old.json")
    assert code == 0
    assert "(2 of them in the baseline)" in out

    # Lines may move; a new call in the same function is new.
    views = tree / "shop" / "views.py"
    views.write_text("# moved\n" + views.read_text())
    assert run(capsys, "--baseline", "old.json")[0] == 0
    views.write_text(
        views.read_text().replace(
            "    with ai_usage", '    OpenAI().responses.create(model="m")\n    with ai_usage'
        )
    )
    assert run(capsys, "--baseline", "old.json")[0] == 1


def test_invalid_baseline(capsys, tree, subtests):
    for content in ("", "[]", "{}", '{"findings": {"a": "b"}}'):
        with subtests.test(content):
            (tree / "old.json").write_text(content)
            code, _, err = run(capsys, "--baseline", "old.json")

            assert code == 2
            assert err == "old.json is not a baseline; write one with --write-baseline.\n"


def test_cannot_run(capsys):
    messages = {
        "--baseline=missing.json": "missing.json: No such file or directory.\n",
        "--extra=missing.toml": "missing.toml is neither a file nor a directory.\n",
        "--output=no/where.txt": "no/where.txt: No such file or directory.\n",
        "--jobs=0": "--jobs must be 1 or more.\n",
    }

    results = {argument: run(capsys, argument)[::2] for argument in messages}

    assert results == {argument: (2, message) for argument, message in messages.items()}


def test_path_that_does_not_exist(capsys):
    assert run(capsys, path="missing")[::2] == (2, "missing does not exist.\n")


def test_min_confidence(capsys, tree):
    (tree / "shop" / "views.py").write_text("def f(llm):\n    llm.invoke('x')\n")

    assert "name only" in run(capsys)[1]
    assert run(capsys, "--min-confidence", "likely")[0] == 0


def test_output_to_a_file(capsys, tree):
    code, out, _ = run(capsys, "--format", "json", "--output", "report.json")

    assert (code, out) == (1, "")
    assert json.loads((tree / "report.json").read_text())["version"] == 1


def test_colour(capsys):
    _, out, _ = run(capsys, "--force-color")

    assert "shop/views.py:7  \x1b[33mcaptured\x1b[0m" in out
    assert "\x1b[1mshop\x1b[0m\n" in out
    assert "\x1b[" not in run(capsys, "--force-color", "--no-color")[1]


def test_nothing_found(capsys, tree):
    write_tree(tree, {"shop/views.py": "x = 1\n", "shop/old.py": ""})

    code, out, _ = run(capsys)
    assert code == 0
    assert out.startswith("0 AI call sites: 0 covered, 0 captured, 0 invisible — 2 files")


class TestHostileNames:
    """A file name cannot forge a line of a report, whatever the file system allows in it."""

    NAMES = (
        "shop/a\n::error::forged.py",
        "shop/b\r\n  views.py:1  covered.py",
        "shop/\x1b[2J\x1b[31mred.py",
        "shop/c\x9b31m\u2028\u202e.py",
        "shop/d%0A::error::x,y.py",
        "shop/e\udcff.py",  # an undecodable byte
    )

    @pytest.fixture(params=NAMES)
    def name(self, request, tree):
        (tree / request.param).parent.mkdir(parents=True, exist_ok=True)
        try:
            (tree / request.param).write_text(CODE)
        except OSError:
            pytest.skip("the file system refuses this name")
        (tree / request.param.replace(".py", "2.py")).write_text("print 'x'\n")
        return request.param

    @pytest.mark.parametrize("arguments", [(), ("-v", "0"), ("-v", "2")])
    def test_text(self, capsys, name, arguments, tree):
        code, out, _ = run(capsys, *arguments)

        assert code == 1
        assert all(line.isprintable() for line in out.split("\n"))
        assert not [line for line in out.split("\n") if line.startswith("::")]
        assert out.encode()

    def test_text_in_a_file(self, capsys, name, tree):
        run(capsys, "--output", "report.txt")

        assert all(line.isprintable() for line in (tree / "report.txt").read_text().split("\n"))

    def test_github(self, capsys, name):
        _, out, _ = run(capsys, "--format", "github")

        *commands, _ = out.rstrip("\n").split("\n")
        assert all(re.match(r"::(error|warning|notice) file=", line) for line in commands)
        assert all(line.isprintable() for line in commands)
        # The commands of shop/views.py, as many of the named file, and two for problems.
        assert len(commands) == 2 * len([line for line in commands if "shop/views.py" in line]) + 2

    @pytest.mark.parametrize("wanted", ["json", "sarif"])
    def test_json(self, capsys, name, wanted):
        _, out, _ = run(capsys, "--format", wanted)

        assert all(line.isprintable() for line in out.split("\n"))
        data = json.loads(out)
        if wanted == "json":
            assert name in {site["path"] for site in data["findings"]}
        else:
            Sarif.model_validate(data)
