"""docs/scanner.md matches the scanner."""

from __future__ import annotations

import re
import shlex
import tomllib

import pytest

from tests.scanner.trees import scan_tree, write_tree
from tests.support.children import ROOT
from usage_tracking import conf
from usage_tracking.scanner import __main__ as scanner
from usage_tracking.scanner import report

DOCS = (ROOT / "docs" / "scanner.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", DOCS, re.DOTALL | re.MULTILINE)


COMMANDS = [
    line.removeprefix("python -m usage_tracking.scanner ")
    for block in (*blocks("console"), *blocks("yaml"))
    for line in re.findall(r"python -m usage_tracking\.scanner .*", block)
]


def test_commands_run(tmp_path, monkeypatch, subtests):
    write_tree(tmp_path, {"shop/a.py": "x = 1\n", "path/to/project/a.py": "x = 1\n"})
    write_tree(tmp_path, {"ai-usage-baseline.json": '{"version": 1, "findings": {}}'})
    monkeypatch.chdir(tmp_path)

    for arguments in COMMANDS:
        with subtests.test(arguments):
            assert scanner.main([*shlex.split(arguments), "--no-cache"]) == 0


SAMPLE = {
    "shop/ai.py": """
        from openai import OpenAI

        client = OpenAI()


        def ask(text):
            return client.responses.create(model="gpt-5", input=text)
    """,
    "shop/views.py": """
        from django.http import JsonResponse
        from usage_tracking import ai_usage

        from shop.ai import ask, client


        def describe(request):
            text = ask(request.GET["title"])
            vector = client.embeddings.create(model="text-embedding-3-small", input="x")
            return JsonResponse({"text": text.output_text, "vector": vector.data[0].embedding})


        def search(request):
            with ai_usage(section="search"):
                client.embeddings.create(model="text-embedding-3-small", input="x")
            return JsonResponse({})
    """,
}


@pytest.mark.parametrize(
    ("arguments", "language"), [((), ""), (("-v", "0"), ""), (("--diff",), "diff")]
)
def test_samples_are_real_output(tmp_path, monkeypatch, capfd, arguments, language):
    write_tree(tmp_path, SAMPLE)
    monkeypatch.chdir(tmp_path)
    scanner.main(["shop", "--no-cache", *arguments])
    out = re.sub(r"\d+\.\d s$", "0.1 s", capfd.readouterr().out, flags=re.MULTILINE)

    assert f"```{language}\n{out}```\n" in DOCS


def test_there_are_commands():
    assert len(COMMANDS) >= 6


def test_data_file_of_the_docs_works(tmp_path):
    (data,) = blocks("toml")
    tomllib.loads(data)
    findings = scan_tree(
        tmp_path,
        {
            "acme.toml": data,
            "a.py": """
                import acme_ai
                import requests

                client = acme_ai.Client().with_timeout(3)
                client.ask("x")
                client.vectors.embed("x")
                chat = client.chats.open()
                chat.say("x")
                chat("x")
                acme_ai.ask("x")
                unknown.answers.generate("x")
                requests.post("https://api.acme.example/v1/chat/completions", json={})


                def f(acme):
                    acme.ask("x")
            """,
        },
        extra=(str(tmp_path / "acme.toml"),),
    ).findings

    assert [(found.line, found.provider, found.kind) for found in findings] == [
        (5, "acme", "chat"),
        (6, "acme", "embeddings"),
        (8, "acme", "chat"),
        (9, "acme", "chat"),
        (10, "acme", "chat"),
        (11, "acme", "chat"),
        (12, "acme", "chat"),
        (16, "acme", "chat"),
    ]


def test_settings_that_change_the_status_exist():
    named = re.findall(r"^\| `AI_USAGE_(\w+)", DOCS, re.MULTILINE)

    assert len(named) == 7
    assert set(named) <= set(conf.SETTINGS)


def test_statuses_and_thresholds_are_all_there():
    assert re.findall(r"^\| `([a-z]+)` \|", DOCS, re.MULTILINE) == list(report.STATUSES)
    assert all(f"`{name}`" in DOCS or f"--fail-on {name}" in DOCS for name in report.FAILING)


def test_keys_of_a_finding_are_all_there(tmp_path):
    found = scan_tree(tmp_path, {"a.py": "import openai\nopenai.responses.create()\n"})
    (finding,) = found.as_dict()["findings"]
    listed = re.search(r"a finding has `([^`]+)`", DOCS.replace("\n", " "))

    assert listed
    assert set(listed[1].replace("[]", "").split()) == set(finding)


def test_hook_of_pre_commit_runs_the_scanner():
    hooks = (ROOT / ".pre-commit-hooks.yaml").read_text()

    assert "entry: python -m usage_tracking.scanner .\n" in hooks
    assert "pass_filenames: false" in hooks
