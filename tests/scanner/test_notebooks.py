"""Jupyter notebooks: their code is scanned, their magics and outputs are not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from sarif_pydantic import Sarif

from usage_tracking.scanner import Options, Report, scan
from usage_tracking.scanner import __main__ as scanner

CLIENT = "from openai import OpenAI\nclient = OpenAI()\n"
ASK = "client.responses.create(model='m', input='x')\n"


def cell(source: str, kind: str = "code", **more: Any) -> dict[str, Any]:
    return {"cell_type": kind, "metadata": {}, "source": source.splitlines(keepends=True), **more}


def write(root: Path, *cells: dict[str, Any], name: str = "a.ipynb", **more: Any) -> Path:
    file = root / name
    content = {"cells": list(cells), "metadata": {}, "nbformat": 4, "nbformat_minor": 5, **more}
    file.write_text(json.dumps(content, indent=1))
    return file


def report_of(root: Path) -> Report:
    return scan(Options(paths=(str(root),), jobs=1))


def test_places_are_cells_for_people_and_lines_of_the_file_for_tools(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    file = write(
        tmp_path,
        cell("# Title\n\nclient.responses.create(1)", "markdown"),
        cell(f"%pip install openai\n{CLIENT}"),
        cell(f"def ask():\n    return 1\n\n\n{ASK}"),
    )
    scanner.main([".", "--no-cache"])
    assert (
        "a.ipynb  1 call site outside of functions\n"
        '  fix: put the statement at cell 3:5 into `with ai_usage(section="…"):`\n'
        "  a.ipynb:cell 3:5  captured  openai chat  client.responses.create  in <module>"
        "  certain: client.responses ← OpenAI() at cell 2:3\n"
    ) in capsys.readouterr().out

    line = next(n for n, text in enumerate(file.read_text().splitlines(), 1) if "input=" in text)
    scanner.main([".", "--no-cache", "--format", "json"])
    (finding,) = json.loads(capsys.readouterr().out)["findings"]
    assert (finding["line"], finding["end_line"], finding["cell"]) == (line, line, "cell 3:5")

    scanner.main([".", "--no-cache", "--format", "sarif"])
    (result,) = json.loads(capsys.readouterr().out)["runs"][0]["results"]
    assert result["locations"][0]["physicalLocation"]["region"]["startLine"] == line
    assert "in cell 3:5" in result["message"]["text"]

    scanner.main([".", "--no-cache", "--format", "github"])
    assert f"file=a.ipynb,line={line},endLine={line}" in capsys.readouterr().out


MAGICS = [
    "%matplotlib inline\n",
    "!pip install \\\n  openai \\\n  httpx\n",
    "%load_ext x\n%env KEY=it's\n!echo '(' [\n",
    "?client\n",
    "client?\n",
    "client.responses??\n",
    "files = !ls\nname, other = %sql select 1\n",
    "if client:\n    !ls\n    %cd {x\n",
    "text = '''\n%not a magic\n!nor this?\n'''\n",
    "rest = (10\n% 3)\n",
    "await client.close()\n",
]


@pytest.mark.parametrize("magic", MAGICS)
def test_magics_keep_the_lines(tmp_path, magic):
    write(tmp_path, cell(CLIENT), cell(magic + ASK))
    report = report_of(tmp_path)

    assert report.problems == ()
    assert [found.cell for found in report.findings] == [f"cell 2:{magic.count(chr(10)) + 1}"]


def test_python_behind_a_magic_is_read(tmp_path):
    write(tmp_path, cell(CLIENT), cell(f"%%time\n{ASK}"), cell(f"%%timeit -n 1\n%time {ASK}"))

    assert [found.cell for found in report_of(tmp_path).findings] == ["cell 2:2", "cell 3:2"]


@pytest.mark.parametrize(
    "magic",
    [
        *("%time ", "    %time ", "%timeit -n 1 -r 3 ", "%timeit -n1 -q "),
        *("%prun -l 10 -s cumulative ", "answer = %time ", "answer, other = %timeit -o -n 1 "),
    ],
)
def test_python_behind_a_magic_with_options_is_read(tmp_path, magic):
    start = "if client:\n" if magic.startswith(" ") else "pass\n"
    write(tmp_path, cell(CLIENT), cell(start + magic + ASK))
    report = report_of(tmp_path)

    assert report.problems == ()
    assert [found.cell for found in report.findings] == ["cell 2:2"]


@pytest.mark.parametrize("language", ["Python", "python3", "pyspark"])
def test_names_of_python(tmp_path, language):
    write(tmp_path, cell(CLIENT + ASK), metadata={"language_info": {"name": language}})

    assert len(report_of(tmp_path).findings) == 1


@pytest.mark.parametrize("magic", ["bash", "html", "writefile x.py", "R", "sql", "javascript"])
def test_cells_of_other_languages_are_not_read(tmp_path, magic):
    write(tmp_path, cell(CLIENT), cell(f"%%{magic}\n{ASK}"), cell(ASK, "raw"))

    assert report_of(tmp_path).findings == ()
    assert report_of(tmp_path).problems == ()


def test_kernel_of_another_language_is_not_read(tmp_path):
    write(tmp_path, cell(CLIENT + ASK), metadata={"kernelspec": {"language": "R"}})
    write(tmp_path, cell(ASK), name="b.ipynb", metadata={"language_info": {"name": "julia"}})

    assert report_of(tmp_path).findings == ()


def test_outputs_are_not_read(tmp_path):
    output = {"output_type": "stream", "text": ["client.chat.completions.create(model='m')\n"]}
    write(tmp_path, cell("print(1)\n", outputs=[output]))

    assert report_of(tmp_path).findings == ()


def test_client_of_the_project(tmp_path):
    (tmp_path / "clients.py").write_text(f"{CLIENT}def get(): return client\n")
    write(tmp_path, cell("import clients\n"), cell("clients.get().responses.create(model='m')\n"))
    (finding,) = report_of(tmp_path).findings

    assert (finding.cell, finding.provider) == ("cell 2:1", "openai")


def test_format_3(tmp_path):
    worksheet = {
        "cells": [
            {"cell_type": "heading", "level": 1, "source": ["x"]},
            {"cell_type": "code", "language": "python", "input": [CLIENT, ASK]},
        ]
    }
    file = tmp_path / "old.ipynb"
    file.write_text(json.dumps({"worksheets": [worksheet], "nbformat": 3, "metadata": {}}))

    assert [found.cell for found in report_of(tmp_path).findings] == ["cell 2:3"]


@pytest.mark.parametrize("indent", [None, 1, 4])
def test_source_as_one_string_and_any_layout(tmp_path, indent):
    cells = [cell(CLIENT), {**cell(""), "source": f"x = 1\r\n{ASK}"}, cell(ASK)]
    (tmp_path / "a.ipynb").write_text(json.dumps({"cells": cells}, indent=indent))
    report = report_of(tmp_path)
    lines = (tmp_path / "a.ipynb").read_text().count("\n") + 1

    assert [found.cell for found in report.findings] == ["cell 2:2", "cell 3:1"]
    assert all(1 <= found.line <= found.end_line <= lines for found in report.findings)


def test_covered_and_ignored(tmp_path):
    write(
        tmp_path,
        cell(f"from usage_tracking import ai_usage\n{CLIENT}"),
        cell(f"with ai_usage('x'):\n    {ASK}"),
        cell(f"# ai-usage: ignore a test\n{ASK}"),
    )

    assert [found.status for found in report_of(tmp_path).findings] == ["covered", "ignored"]


BROKEN = {
    "": "is not a notebook: Expecting value",
    '{"cells": [': "is not a notebook: Expecting value",
    "[]": "is not a notebook: it is not a JSON object",
    "{}": "is not a notebook of format 3 or 4: it has no list of cells",
    '{"cells": {}}': "is not a notebook of format 3 or 4: it has no list of cells",
    '{"worksheets": [{"cells": 3}]}': "is not a notebook of format 3 or 4: it has no list of cells",
    "[" * 100_000: "is not a notebook",
    '{"cells": [{"cell_type": "code", "source": "x = (\\nb.chat.completions.create()"}]}': (
        "cell 1 is not valid Python: '(' was never closed"
    ),
}


@pytest.mark.parametrize("content", BROKEN, ids=list(range(len(BROKEN))))
def test_broken_notebook_is_named_and_the_rest_is_scanned(tmp_path, content):
    (tmp_path / "bad.ipynb").write_text(content)
    write(tmp_path, cell(CLIENT + ASK), name="good.ipynb")
    report = report_of(tmp_path)

    (problem,) = report.problems
    assert problem.reason.startswith(BROKEN[content])
    assert "good.ipynb" in [Path(found.path).name for found in report.findings]


@pytest.mark.parametrize(
    "content",
    [
        '{"cells": [null, 3, {"cell_type": "code"}, {"cell_type": "code", "source": [1, null]}]}',
        '{"cells": [{"cell_type": "code", "source": ""}], "metadata": 3}',
        '{"cells": [{"cell_type": ["code"], "source": {}}], "metadata": {"kernelspec": []}}',
    ],
)
def test_odd_cells_are_passed_over(tmp_path, content):
    (tmp_path / "odd.ipynb").write_text(content)

    assert report_of(tmp_path).problems == ()


def test_cell_that_is_not_python_is_searched_as_text_and_hides_no_other(tmp_path):
    write(
        tmp_path,
        cell(CLIENT),
        cell("client.chat.completions.create(model='m', ((\n"),
        cell(ASK),
    )
    report = report_of(tmp_path)

    assert [(found.cell, found.confidence) for found in report.findings] == [
        ("cell 2:1", "likely"),
        ("cell 3:1", "certain"),
    ]
    assert len(report.problems) == 1


def test_huge_notebook_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr("usage_tracking.scanner.reading.notebooks.LARGEST", 1000)
    write(tmp_path, cell(CLIENT + ASK, outputs=[{"data": "x" * 2000}]))
    report = report_of(tmp_path)

    assert report.findings == ()
    assert report.problems[0].reason.endswith("bytes; not read")


def test_notebook_with_large_outputs_is_read(tmp_path):
    write(tmp_path, cell(CLIENT + ASK, outputs=[{"data": {"image/png": "A" * 3_000_000}}]))

    assert len(report_of(tmp_path).findings) == 1


def test_patch_is_not_offered_and_says_so(tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    write(tmp_path, cell(CLIENT + ASK))
    scanner.main([".", "--no-cache", "--diff"])
    out, err = capfd.readouterr()

    assert out == ""
    assert err == (
        "Not in the patch (1):\n"
        "  a.ipynb:cell 1:3  client.responses.create: patches of notebooks are not offered\n"
    )


def test_sarif_of_a_notebook_is_valid(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    write(tmp_path, cell(f"{CLIENT}def ask():\n    {ASK}"), cell("def page(request):\n    ask()\n"))
    scanner.main([".", "--no-cache", "--format", "sarif"])
    log = json.loads(capsys.readouterr().out)

    Sarif.model_validate(log)
    (result,) = log["runs"][0]["results"]
    flow = result["codeFlows"][0]["threadFlows"][0]["locations"]
    assert [step["location"]["message"]["text"] for step in flow] == [
        "page",
        "ask",
        "client.responses.create",
    ]
