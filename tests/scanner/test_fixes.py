"""The fix fits the code that it is for, and an ignored call needs a reason."""

from __future__ import annotations

import pytest

from tests.scanner.trees import only_finding, scan_tree
from usage_tracking.scanner import Report
from usage_tracking.scanner.output.text import lines

CLIENT = "from openai import OpenAI\nclient = OpenAI()\n"
ASK = "client.responses.create(model='m', input='x')"


def text_of(report: Report, verbosity: int = 1) -> list[str]:
    return ["".join(text for text, _ in line) for line in lines(report, verbosity=verbosity)]


SECTION = '@ai_section("…")'
BLOCK = '`with ai_usage(section="…"):`'
MAP = "add the task's name to AI_USAGE_SECTION_MAP"
FIXES = {
    "view": (
        f"def page(request):\n    {ASK}\n",
        f"decorate page with {SECTION}, as the outermost decorator",
    ),
    "view below api_view": (
        "from rest_framework.decorators import api_view\n"
        f"@api_view(['POST'])\ndef page(request):\n    {ASK}\n",
        f"decorate page with {SECTION}, as the outermost decorator",
    ),
    "view that calls a helper": (
        f"def ask():\n    {ASK}\ndef page(request):\n    ask()\n",
        f"decorate page with {SECTION}, as the outermost decorator",
    ),
    "class-based view": (
        "from django.views import View\n"
        f"class Page(View):\n    def get(self, request):\n        {ASK}\n",
        f"decorate the class Page with {SECTION}",
    ),
    "action of a viewset": (
        "from rest_framework.decorators import action\n"
        "from rest_framework.viewsets import ViewSet\n"
        "class Pages(ViewSet):\n    @action(detail=True)\n"
        f"    def draft(self, request, pk):\n        {ASK}\n",
        f"decorate the class Pages with {SECTION}",
    ),
    "task": (
        f"from celery import shared_task\n@shared_task\ndef nightly():\n    {ASK}\n",
        f"put the statement at line 6 into {BLOCK}, or {MAP}",
    ),
    "task that calls a helper": (
        f"from celery import shared_task\ndef ask():\n    {ASK}\n"
        "@shared_task\ndef nightly():\n    ask()\n",
        f"put the statement at line 8 into {BLOCK}, or {MAP}",
    ),
    "command": (
        "from django.core.management.base import BaseCommand\n"
        f"class Command(BaseCommand):\n    def handle(self, **options):\n        {ASK}\n",
        'put the statement at line 6 into `with ai_usage(section="…"):`',
    ),
    "function without a known caller": (
        f"def ask():\n    {ASK}\n",
        'put the statement at line 4 into `with ai_usage(section="…"):`',
    ),
    "view of another framework": (
        f"@router.post('/chat')\ndef page(request):\n    {ASK}\n",
        f"put the statement at line 5 into {BLOCK}",
    ),
    "static method": (
        "class Pages:\n    @staticmethod\n    @require_GET\n"
        f"    def page(request):\n        {ASK}\n",
        f"put the statement at line 7 into {BLOCK}",
    ),
    "function that a view is made of": (
        f"def made():\n    def page(request):\n        {ASK}\n    return page\n",
        f"put the statement at line 5 into {BLOCK}",
    ),
    "context processor": (
        f"def motto(request):\n    return {{'motto': {ASK}}}\n",
        f"put the statement at line 4 into {BLOCK}",
    ),
    "lambda that is returned": (
        f"def made():\n    return lambda text: {ASK}\n",
        'move the call into a function decorated with @ai_usage(section="…")',
    ),
    "method that is returned for later": (
        "from functools import partial\n"
        "def made():\n    return [partial(client.responses.create, model='m')]\n",
        'move the call into a function decorated with @ai_usage(section="…")',
    ),
    "code of a module": (
        f"{ASK}\n",
        'put the statement at line 3 into `with ai_usage(section="…"):`',
    ),
}


@pytest.mark.parametrize("case", FIXES)
def test_fix(tmp_path, case):
    code, fix = FIXES[case]

    assert only_finding(tmp_path, CLIENT + code).fix == fix


def test_fix_of_a_view_whose_route_hides_its_section(tmp_path):
    code = (
        f"from django.urls import path\ndef timed(view):\n    return lambda r: view(r)\n"
        f"def page(request):\n    {ASK}\nurlpatterns = [path('', timed(page))]\n"
    )

    assert only_finding(tmp_path, CLIENT + code).fix == f"put the statement at line 7 into {BLOCK}"


def test_one_fix_for_lambdas_and_other_calls(tmp_path):
    ranked = f"    sorted(words, key=lambda word: {ASK})\n"
    code = f"def ask(words):\n    {ASK}\n{ranked}{ranked}"
    shown = text_of(scan_tree(tmp_path, {"app/services.py": CLIENT + code}))

    assert shown[1] == (
        f"  fix: put the statement at line 4 into {BLOCK}, "
        'and move the calls into functions decorated with @ai_usage(section="…")'
    )


def test_one_fix_for_all_calls_of_a_function(tmp_path):
    code = (
        f"{CLIENT}from celery import shared_task\n"
        f"def ask():\n    {ASK}\n    {ASK}\n"
        f"@shared_task\ndef nightly():\n    ask()\n    {ASK}\n"
    )
    shown = text_of(scan_tree(tmp_path, {"app/tasks.py": code}))

    assert "one block here covers 3 call sites" in shown[0]
    assert shown[1] == (
        '  fix: put the statements at lines 9 and 10 into `with ai_usage(section="…"):`, '
        "or add the task's name to AI_USAGE_SECTION_MAP"
    )
    assert not [line for line in shown[2:] if "fix: " in line]


def test_ignored_call_needs_a_reason(tmp_path):
    code = f"{CLIENT}{ASK}  # ai-usage: ignore\n"
    report = scan_tree(tmp_path, {"app/views.py": code})
    (finding,) = report.findings

    assert finding.status == "captured"
    assert finding.warnings == (
        "`# ai-usage: ignore` has no effect without a reason; write the reason after it",
    )
    assert f"      warning: {finding.warnings[0]}" in text_of(report)


def test_ignored_line_that_cannot_be_parsed_needs_a_reason(tmp_path):
    code = (
        "from openai import OpenAI\n"
        "lambda = client.chat.completions.create(  # ai-usage: ignore{}\n"
    )
    plain, with_reason = (
        only_finding(tmp_path / name, code.format(reason))
        for name, reason in (("a", ""), ("b", " an old copy"))
    )

    assert (plain.status, len(plain.warnings)) == ("unknown", 1)
    assert (with_reason.status, with_reason.coverage) == ("ignored", "an old copy")


def test_reason_of_a_covered_call_is_shown_in_detail(tmp_path):
    code = (
        f"{CLIENT}from usage_tracking import ai_usage\n"
        f"def page(request):\n    with ai_usage(section='x'):\n        {ASK}\n"
    )
    report = scan_tree(tmp_path, {"app/views.py": code})
    (finding,) = report.findings

    assert f"      {finding.coverage}" not in text_of(report)
    assert f"      {finding.coverage}" in text_of(report, verbosity=2)
