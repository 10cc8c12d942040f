"""`find_uninstrumented`: the scan, with the settings and data of the site."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from contextlib import suppress
from typing import Any

import pytest
from django.test import override_settings

from tests.scanner.trees import write_tree
from tests.support.builders import make_log
from tests.support.commands import run_command

ASK = (
    "from openai import OpenAI\n\n\ndef view(request):\n"
    "    OpenAI().responses.create(model='m', input='x')\n"
)


def find(root, *arguments: str, **options: object):
    return run_command("find_uninstrumented", str(root), "--no-cache", *arguments, **options)


@pytest.mark.django_db
def test_uncovered_site_exits_with_1(tmp_path):
    write_tree(tmp_path, {"shop/views.py": ASK})
    ended = find(tmp_path)

    assert ended.code == 1
    assert "views.py:5  captured  openai chat" in ended.out
    assert ended.err == "1 AI call site to fix.\n"


@pytest.mark.django_db
def test_sections_without_rows_are_reported(tmp_path):
    make_log(section="chat").save()
    write_tree(tmp_path, {"shop/views.py": "x = 1\n"})
    with override_settings(AI_USAGE_SECTIONS={"chat": "Chat", "search": "Search"}):
        as_text = find(tmp_path)
        as_json = json.loads(find(tmp_path, "--format", "json").out)

    assert "Sections without rows: search\n" in as_text.out
    assert as_json["silent_sections"] == ["search"]
    assert as_text.code == 0


@pytest.mark.django_db
def test_settings_decide_the_status(tmp_path, subtests):
    write_tree(tmp_path, {"shop/views.py": ASK})
    cases: list[tuple[dict[str, Any], str]] = [
        ({}, "captured"),
        ({"AI_USAGE_ENABLED": False}, "invisible"),
        ({"AI_USAGE_CAPTURE": False}, "invisible"),
        ({"AI_USAGE_CAPTURE": ["requests"]}, "invisible"),
        ({"AI_USAGE_CAPTURE": ["httpx"]}, "captured"),
        ({"AI_USAGE_SCANNER_TRACKERS": ["OpenAI"]}, "covered"),
    ]

    for settings, status in cases:
        with subtests.test(str(settings)), override_settings(**settings):
            report = json.loads(find(tmp_path, "--format", "json", "--fail-on", "never").out)

            assert [finding["status"] for finding in report["findings"]] == [status]


@pytest.mark.django_db
def test_data_files_of_the_settings(tmp_path):
    write_tree(
        tmp_path,
        {
            "a.py": "import acme_ai\nacme_ai.ask('x')\n",
            "acme.toml": 'provider = "acme"\nimports = ["acme_ai"]\n'
            '[functions]\n"acme_ai:ask" = "chat"\n',
        },
    )
    with override_settings(AI_USAGE_SCANNER_EXTRA=[tmp_path / "acme.toml"]):
        assert "acme chat" in find(tmp_path).out


@pytest.mark.django_db
def test_views_of_the_section_map_are_covered():
    """The demo names the section of one view only in its settings."""
    from tests.support.children import ROOT

    with override_settings(
        ROOT_URLCONF="project.urls", AI_USAGE_SECTION_MAP={"chat:web_knowledge": "web_knowledge"}
    ):
        report = json.loads(find(ROOT / "project", "--format", "json", "--fail-on", "never").out)

    uncovered = [f["function"] for f in report["findings"] if f["status"] != "covered"]
    assert uncovered == ["shortcut"]


@pytest.mark.django_db
def test_tasks_of_the_settings(tmp_path):
    code = (
        "from celery import shared_task\nfrom openai import OpenAI\n"
        "from usage_tracking import ai_usage\n\n\n@shared_task\ndef summarise_orders():\n"
        "    OpenAI().responses.create(model='m', input='x')\n\n\n"
        "def view(request):\n    with ai_usage('chat'):\n        summarise_orders.delay()\n"
    )
    write_tree(tmp_path, {"shop/tasks.py": code})
    beat = {"nightly": {"task": "shop.tasks.summarise_orders", "schedule": 60}}
    cases: list[tuple[dict[str, Any], str]] = [
        ({}, "covered"),
        ({"CELERY_BEAT_SCHEDULE": beat}, "captured"),
        ({"CELERY_BEAT_SCHEDULE": beat, "AI_USAGE_SECTION_MAP": {"shop.tasks": "chat"}}, "covered"),
    ]

    for settings, status in cases:
        with override_settings(**settings):
            report = json.loads(find(tmp_path, "--format", "json", "--fail-on", "never").out)

        assert [finding["status"] for finding in report["findings"]] == [status], settings


@pytest.mark.django_db
def test_patch_names_the_sections_of_the_settings(tmp_path):
    write_tree(tmp_path, {"shop/views.py": ASK.replace("view", "product_chat")})
    with override_settings(AI_USAGE_SECTIONS={"chat": "Chat", "search": "Search"}):
        ended = find(tmp_path, "--diff")

    assert ended.code == 1
    assert ended.out.startswith("--- a/shop/views.py\n+++ b/shop/views.py\n@@ -1,5 +1,7 @@\n")
    assert '\n+@ai_usage(section="chat")\n def product_chat(request):\n' in ended.out
    assert ended.err.startswith("The patch covers 1 call site. To apply it, run `patch -p1`")
    assert "AI_USAGE_SECTIONS" not in ended.err


@pytest.mark.django_db
def test_no_patch_prints_nothing(tmp_path):
    write_tree(tmp_path, {"shop/views.py": "x = 1\n"})

    assert find(tmp_path, "--diff")[:3] == (0, "", "")


@pytest.mark.django_db
def test_quiet_scan_prints_only_what_fails(tmp_path):
    write_tree(tmp_path, {"shop/views.py": ASK})
    failed, passed = (
        find(tmp_path, "--fail-on", name, verbosity=0) for name in ("captured", "invisible")
    )

    assert failed.code == 1
    assert failed.out.count("\n") == 1
    assert "views.py:5  captured  openai chat" in failed.out
    assert (passed.code, passed.out, passed.err) == (0, "", "")


@pytest.mark.django_db
def test_baseline_that_is_out_of_date(tmp_path):
    write_tree(tmp_path, {"shop/views.py": ASK})
    file = str(tmp_path / "old.json")
    assert find(tmp_path, "--write-baseline", file).code == 0
    write_tree(tmp_path, {"shop/views.py": "x = 1\n"})

    ended = find(tmp_path, "--baseline", file)
    assert ended.code == 0
    assert "1 entry of the baseline out of date; remove it with --write-baseline:\n" in ended.out
    ended = find(tmp_path, "--baseline", file, "--strict-baseline")
    assert (ended.code, ended.err) == (1, "1 entry of the baseline out of date.\n")


def test_unknown_database(tmp_path, django_db_blocker):
    write_tree(tmp_path, {"shop/views.py": "x = 1\n"})

    ended = find(tmp_path, "--database", "nope")
    assert (ended.code, ended.err) == (2, "There is no database 'nope'.\n")


@pytest.mark.django_db
def test_path_that_does_not_exist(tmp_path):
    ended = find(tmp_path / "missing")

    assert (ended.code, ended.err) == (2, f"{tmp_path / 'missing'} does not exist.\n")


@pytest.mark.process
@pytest.mark.parametrize(("arguments", "shown"), [((), True), (("-v", "0"), False)])
def test_terminal_shows_the_stages_and_is_left_clean(tmp_path, arguments, shown):
    write_tree(tmp_path, {"shop/views.py": ASK})
    terminal, end = pty.openpty()
    command = [sys.executable, "-m", "usage_tracking.scanner", str(tmp_path), "--no-cache"]
    ended = subprocess.run([*command, *arguments], stdout=subprocess.PIPE, stderr=end, check=False)
    os.close(end)
    written = b""
    with suppress(OSError):  # nothing was written, and the other end is closed
        written = os.read(terminal, 10_000)
    os.close(terminal)

    assert ended.returncode == 1, (ended.stdout, written)
    assert b"captured" in ended.stdout
    assert (b"Reading 1 files ..." in written) is shown
    assert written.endswith(b"\r\x1b[K" if shown else b"")
