"""The status of sites."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.scanner.trees import only_finding, scan_tree
from usage_tracking.scanner import Tracking

IMPORTS = """
import boto3
import google.generativeai as genai
from stability_sdk.client import StabilityInference
from openai import OpenAI
from usage_tracking import (
    AIUsageTracker, ai_section, ai_usage, log_ai_usage, track_ai_usage, track_ai_usage_safe
)
client = OpenAI()
"""
ASK = "client.chat.completions.create(model='m', messages=[])"


def statuses(tmp_path, code: str, **options: object) -> list[str]:
    report = scan_tree(tmp_path, {"app/views.py": IMPORTS + code}, **options)
    return [finding.status for finding in report.findings]


COVERED = [
    f"def view(request):\n    with ai_usage(section='chat'):\n        {ASK}\n",
    f"async def view(request):\n    async with ai_usage('chat'):\n        await {ASK}\n",
    f"def view(request):\n    with open('x') as f, ai_usage('chat') as usage:\n        {ASK}\n",
    f"@ai_usage(section='chat')\ndef view(request):\n    {ASK}\n",
    f"@ai_section('chat')\ndef view(request):\n    {ASK}\n",
    f"@ai_section('chat')\nclass View:\n    def post(self, request):\n        {ASK}\n",
    f"class View:\n    ai_section = 'chat'\n    def post(self, request):\n        {ASK}\n",
    "from django.utils.decorators import method_decorator\n"
    "@method_decorator(ai_section('chat'), name='dispatch')\n"
    f"class View:\n    def post(self, request):\n        {ASK}\n",
    f"def view(request):\n    answer = {ASK}\n    track_ai_usage(request.user, 'chat', 1, 2)\n",
    f"def view(request):\n    answer = {ASK}\n    log_ai_usage(request.user, 'chat')\n",
    f"def view(request):\n    with AIUsageTracker(request.user, 'chat') as t:\n        {ASK}\n",
    "from asgiref.sync import sync_to_async\n"
    f"async def view(request):\n    {ASK}\n    await sync_to_async(track_ai_usage)(1)\n",
    # one level of the project's own helpers
    "def keep(answer):\n    track_ai_usage_safe(None, 'chat')\n"
    f"def view(request):\n    keep({ASK})\n",
    # all callers are covered
    f"def ask():\n    return {ASK}\n"
    "def view(request):\n    with ai_usage('chat'):\n        ask()\n"
    "@ai_section('chat')\ndef other(request):\n    return ask()\n",
    # a lambda runs where it is defined
    f"def view(request):\n    with ai_usage('chat'):\n        retry(lambda: {ASK})\n",
    # a wrapper at the route keeps the section of the view
    "from functools import wraps\nfrom django.urls import path\n"
    "def timed(view):\n    @wraps(view)\n    def inner(request):\n        return view(request)\n"
    f"    return inner\n@ai_section('chat')\ndef page(request):\n    {ASK}\n"
    "urlpatterns = [path('', timed(page))]\n",
    # the body of a class too
    f"with ai_usage('chat'):\n    class Chat: answer = {ASK}\n",
    # a context manager of the project's own
    "from contextlib import contextmanager\n@contextmanager\ndef counted():\n"
    "    with ai_usage('chat'):\n        yield\n"
    f"def view(request):\n    with counted():\n        {ASK}\n",
]


def each_status(tmp_path: Path, codes: list[str]) -> dict[str, list[str]]:
    return {code: statuses(tmp_path / str(number), code) for number, code in enumerate(codes)}


def test_covered(tmp_path):
    assert each_status(tmp_path, COVERED) == {code: ["covered"] for code in COVERED}


UNCOVERED = [
    f"def view(request):\n    {ASK}\n",
    f"def view(request):\n    with ai_usage('chat'):\n        pass\n    {ASK}\n",
    # tracked before the call, and in another branch
    f"def view(request):\n    track_ai_usage(1, 'chat')\n    {ASK}\n",
    "def view(request):\n    if request.x:\n"
    f"        {ASK}\n    else:\n        track_ai_usage(1, 'chat')\n",
    # one caller is covered, the other is not
    f"def ask():\n    return {ASK}\n"
    "def view(request):\n    with ai_usage('chat'):\n        ask()\n"
    "def other(request):\n    return ask()\n",
    # the second level of helpers does not count
    "def inner():\n    track_ai_usage(1, 'chat')\ndef outer():\n    inner()\n"
    f"def view(request):\n    {ASK}\n    outer()\n",
    # a section elsewhere in the module does not count
    f"from usage_tracking import ai_section\ndef view(request):\n    {ASK}\n",
    f"{ASK}\n",
    # a lambda of a module runs later
    f"with ai_usage('chat'):\n    ask = lambda: {ASK}\n",
    f"class Chat:\n    with ai_usage('chat'):\n        ask = lambda self: {ASK}\n",
    f"with ai_usage('chat'):\n    class Chat:\n        def ask(self):\n            {ASK}\n",
]


def test_captured_without_a_section(tmp_path):
    assert each_status(tmp_path, UNCOVERED) == {code: ["captured"] for code in UNCOVERED}


GEMINI = "genai.GenerativeModel('m').generate_content('x')"
UNSEEN = "StabilityInference().generate('x')"


def test_google_over_grpc_is_captured(tmp_path):
    finding = only_finding(tmp_path, f"{IMPORTS}def view(request):\n    {GEMINI}\n")

    assert (finding.status, finding.transport) == ("captured", "grpc")


def test_call_over_grpc_of_another_service_is_invisible(tmp_path):
    finding = only_finding(tmp_path, f"{IMPORTS}def view(request):\n    {UNSEEN}\n")

    assert (finding.status, finding.transport) == ("invisible", "stability_sdk")
    assert "usage.record(response)" in finding.fix


def test_a_section_alone_does_not_make_a_call_visible(tmp_path):
    code = f"def view(request):\n    with ai_usage('chat'):\n        {UNSEEN}\n"

    assert statuses(tmp_path, code) == ["invisible"]


def test_record_makes_it_covered(tmp_path):
    code = (
        "def view(request):\n    with ai_usage('chat') as usage:\n"
        f"        answer = {UNSEEN}\n        usage.record(answer)\n"
    )

    assert statuses(tmp_path, code) == ["covered"]


def test_record_of_another_object_covers_nothing(tmp_path):
    code = f"def view(request, player):\n    {ASK}\n    player.record('x')\n"

    assert statuses(tmp_path, code) == ["captured"]


def test_transport_that_is_not_hooked_is_invisible(tmp_path):
    code = f"def view(request):\n    with ai_usage('chat'):\n        {ASK}\n"

    assert statuses(tmp_path, code, tracking=Tracking(hooked=frozenset({"requests"}))) == [
        "invisible"
    ]


def test_tracker_of_the_site(tmp_path):
    code = f"def view(request):\n    {ASK}\n    bill(request.user)\n"

    assert statuses(tmp_path, code) == ["captured"]
    assert statuses(tmp_path, code, trackers=("bill",)) == ["covered"]


def test_section_of_a_view_named_by_the_settings(tmp_path):
    code = f"def view(request):\n    {ASK}\n"

    assert statuses(tmp_path, code, mapped=frozenset({"app.views.view"})) == ["covered"]


def warnings(tmp_path, code: str) -> list[str]:
    report = scan_tree(tmp_path, {"app/views.py": IMPORTS + code})
    return [warning for finding in report.findings for warning in finding.warnings]


def test_tracker_on_the_success_path_only_gives_a_warning(tmp_path):
    code = (
        f"def view(request):\n    try:\n        {ASK}\n        track_ai_usage(1, 'chat')\n"
        "    except Exception:\n        return None\n"
    )

    assert warnings(tmp_path, code) == [
        "tracked on the success path only: a failed call leaves no record"
    ]


def test_tracker_that_sees_failures_gives_no_warning(tmp_path, subtests):
    for block in ("finally", "except Exception"):
        with subtests.test(block):
            code = (
                f"def view(request):\n    try:\n        {ASK}\n        track_ai_usage(1, 'chat')\n"
                f"    {block}:\n        track_ai_usage(1, 'chat', success=False)\n"
            )

            assert statuses(tmp_path / block, code) == ["covered"]
            assert warnings(tmp_path / block, code) == []


def test_tracker_shared_by_a_call_and_its_fallback_gives_a_warning(tmp_path):
    code = (
        f"def view(request):\n    try:\n        {ASK}\n    except Exception:\n        {ASK}\n"
        "    finally:\n        track_ai_usage(1, 'chat')\n"
    )

    assert warnings(tmp_path, code) == ["track_ai_usage at line 15 is shared by 2 requests"] * 2


def test_exclusive_branches_do_not_share_a_tracker(tmp_path):
    code = (
        f"def view(request):\n    try:\n        if request.x:\n            {ASK}\n        else:\n"
        f"            {ASK}\n    finally:\n        track_ai_usage(1, 'chat')\n"
    )

    assert warnings(tmp_path, code) == []


def test_ignored_with_a_reason(tmp_path):
    finding = only_finding(tmp_path, f"{IMPORTS}{ASK}  # ai-usage: ignore free of charge\n")

    assert (finding.status, finding.coverage) == ("ignored", "free of charge")


def test_ignored_by_the_line_above(tmp_path):
    finding = only_finding(tmp_path, f"{IMPORTS}# ai-usage: ignore free of charge\n{ASK}\n")

    assert finding.status == "ignored"


def test_ignore_of_another_call_does_not_count(tmp_path):
    code = f"{IMPORTS}{ASK}  # ai-usage: ignore free of charge\n{ASK}\n"
    report = scan_tree(tmp_path, {"app/views.py": code})

    assert [finding.status for finding in report.findings] == ["ignored", "captured"]


def test_entry_points_of_a_site(tmp_path):
    report = scan_tree(
        tmp_path,
        {
            "app/services.py": f"{IMPORTS}def ask():\n    return {ASK}\n",
            "app/views.py": "from app.services import ask\ndef page(request):\n    return ask()\n",
            "app/tasks.py": (
                "from celery import shared_task\nfrom .services import ask\n"
                "@shared_task\ndef nightly():\n    ask()\n"
            ),
            "app/management/commands/fill.py": (
                "from django.core.management import BaseCommand\nfrom app import services\n"
                "class Command(BaseCommand):\n    def handle(self, **options):\n"
                "        services.ask()\n"
            ),
            "app/api.py": (
                "from rest_framework.views import APIView\nfrom app.services import ask\n"
                "class Ask(APIView):\n    def post(self, request):\n        return ask()\n"
            ),
        },
    )
    (finding,) = report.findings

    assert {(entry.kind, entry.name) for entry in finding.entry_points} == {
        ("view", "page"),
        ("task", "nightly"),
        ("command", "fill"),
        ("view", "Ask.post"),
    }


MAIL = "from django.http import HttpResponse, StreamingHttpResponse\n"
CELERY = "from celery import Task, shared_task\n"

#: A way to name a section, or to believe so → the status.
WAYS = {
    "a mark below a decorator that hides it": (
        "from rest_framework.decorators import api_view\n"
        f"@api_view(['GET'])\n@ai_section('x')\ndef view(request):\n    {ASK}\n",
        "captured",
    ),
    "a mark above it": (
        "from rest_framework.decorators import api_view\n"
        f"@ai_section('x')\n@api_view(['GET'])\ndef view(request):\n    {ASK}\n",
        "covered",
    ),
    "a mark on a method of a view": (
        "from django.views import View\n"
        f"class Page(View):\n    @ai_section('x')\n    def get(self, request):\n        {ASK}\n",
        "captured",
    ),
    "a mark that a view inherits": (
        "from django.views import View\nclass Base(View):\n    ai_section = 'x'\n"
        f"class Page(Base):\n    def get(self, request):\n        {ASK}\n",
        "covered",
    ),
    "a mark on the class of a service": (
        f"@ai_section('x')\nclass Service:\n    def ask(self):\n        {ASK}\n"
        "def view(request):\n    Service().ask()\n",
        "captured",
    ),
    "a mark on a task": (
        f"{CELERY}@shared_task\n@ai_section('x')\ndef ask():\n    {ASK}\n",
        "captured",
    ),
    "a block above a task": (
        f"{CELERY}@ai_usage('x')\n@shared_task\ndef ask():\n    {ASK}\n",
        "captured",
    ),
    "a block below a task": (
        f"{CELERY}@shared_task\n@ai_usage('x')\ndef ask():\n    {ASK}\n",
        "covered",
    ),
    "a task sent in a block": (
        f"{CELERY}@shared_task\ndef ask():\n    {ASK}\n"
        "def view(request):\n    with ai_usage('x'):\n        ask.delay()\n",
        "covered",
    ),
    "a task sent in a block and by the beat": (
        f"{CELERY}@shared_task\ndef ask():\n    {ASK}\n"
        "def view(request):\n    with ai_usage('x'):\n        ask.delay()\n"
        "BEAT = {'nightly': {'task': 'app.views.ask'}}\n",
        "captured",
    ),
    "a task of a queue that carries no section": (
        f"import dramatiq\n@dramatiq.actor\ndef ask():\n    {ASK}\n"
        "def view(request):\n    with ai_usage('x'):\n        ask.send()\n",
        "captured",
    ),
    "a thread that a block starts": (
        "from threading import Thread\n"
        f"def ask():\n    {ASK}\n"
        "def view(request):\n    with ai_usage('x'):\n        Thread(target=ask).start()\n",
        "covered",
    ),
    "a thread that is started behind the block": (
        "from threading import Thread\n"
        f"def ask():\n    {ASK}\n"
        "def view(request):\n    with ai_usage('x'):\n        thread = Thread(target=ask)\n"
        "    thread.start()\n",
        "captured",
    ),
    "a job of a process pool": (
        "from concurrent.futures import ProcessPoolExecutor\n"
        f"def ask():\n    {ASK}\n"
        "def view(request):\n    with ai_usage('x'), ProcessPoolExecutor() as pool:\n"
        "        pool.submit(ask)\n",
        "captured",
    ),
    "a body that is streamed behind the block": (
        f"{MAIL}def view(request):\n    def body():\n        yield {ASK}\n"
        "    with ai_usage('x'):\n        return StreamingHttpResponse(body())\n",
        "captured",
    ),
    "a body of a marked view": (
        f"{MAIL}@ai_section('x')\ndef view(request):\n    def body():\n        yield {ASK}\n"
        "    return StreamingHttpResponse(body())\n",
        "covered",
    ),
    "a generator that is read behind the block": (
        f"def parts():\n    yield {ASK}\n"
        "def view(request):\n    with ai_usage('x'):\n        found = parts()\n"
        "    return list(found)\n",
        "captured",
    ),
    "a coroutine that is awaited behind the block": (
        f"async def ask():\n    {ASK}\n"
        "async def view(request):\n    with ai_usage('x'):\n        waiting = ask()\n"
        "    await waiting\n",
        "captured",
    ),
    "a coroutine that is awaited in the block": (
        f"async def ask():\n    {ASK}\n"
        "async def view(request):\n    with ai_usage('x'):\n        await ask()\n",
        "covered",
    ),
    "a lambda that is called behind the block": (
        f"def view(request):\n    with ai_usage('x'):\n        ask = lambda: {ASK}\n    ask()\n",
        "captured",
    ),
    "a function in a registry": (
        f"def ask():\n    {ASK}\nREGISTRY = []\nREGISTRY.append(ask)\n"
        "def view(request):\n    with ai_usage('x'):\n        ask()\n",
        "captured",
    ),
    "a block without a section": (
        f"def view(request):\n    with ai_usage(user=request.user):\n        {ASK}\n",
        "captured",
    ),
    "a section that may be None": (
        f"def ask(section=None):\n    with ai_usage(section):\n        {ASK}\n"
        "def view(request):\n    ask()\n",
        "captured",
    ),
    "a block in an exit stack": (
        "from contextlib import ExitStack\n"
        "def view(request):\n    with ExitStack() as stack:\n"
        f"        stack.enter_context(ai_usage('x'))\n        {ASK}\n",
        "covered",
    ),
    "a stored block": (
        f"def view(request):\n    block = ai_usage('x')\n    with block:\n        {ASK}\n",
        "covered",
    ),
    "a block that may not be there": (
        "from contextlib import nullcontext\n"
        "def view(request):\n"
        f"    with ai_usage('x') if request.user else nullcontext():\n        {ASK}\n",
        "captured",
    ),
    "a context manager that yields behind its block": (
        "from contextlib import contextmanager\n@contextmanager\ndef own():\n"
        "    with ai_usage('x'):\n        pass\n    yield\n"
        f"def view(request):\n    with own():\n        {ASK}\n",
        "captured",
    ),
    "a tracker behind a return": (
        f"def view(request):\n    answer = {ASK}\n    if not request.user:\n        return answer\n"
        "    track_ai_usage(request.user, 'x')\n",
        "captured",
    ),
    "a tracker for failures only": (
        f"def view(request):\n    try:\n        {ASK}\n    except ValueError:\n"
        "        track_ai_usage(request.user, 'x')\n",
        "captured",
    ),
    "a tracker of the caller": (
        f"def ask():\n    return {ASK}\n"
        "def view(request):\n    ask()\n    track_ai_usage(request.user, 'x')\n",
        "covered",
    ),
    "a method of an object that is unknown": (
        f"class Own:\n    def execute(self):\n        {ASK}\n"
        "def view(request, search):\n    with ai_usage('x'):\n        search.execute()\n",
        "captured",
    ),
}


@pytest.mark.parametrize("way", WAYS)
def test_way_to_name_a_section(tmp_path, way):
    code, expected = WAYS[way]

    assert statuses(tmp_path, code) == [expected]


def test_block_of_another_package(tmp_path):
    code = (
        "from openai import OpenAI\nfrom other import ai_usage\nclient = OpenAI()\n"
        f"def view(request):\n    with ai_usage('x'):\n        {ASK}\n"
    )

    assert only_finding(tmp_path, code).status == "captured"


def test_task_of_the_section_map(tmp_path):
    code = f"{CELERY}@shared_task(name='shop.nightly')\ndef ask():\n    {ASK}\n"

    assert statuses(tmp_path, code, mapped_prefixes=frozenset({"shop"})) == ["covered"]
    assert statuses(tmp_path, code, mapped_prefixes=frozenset({"app.views"})) == ["captured"]


def test_task_of_the_section_map_by_its_default_name(tmp_path):
    code = f"{CELERY}@shared_task\ndef ask():\n    {ASK}\n"

    assert statuses(tmp_path, code, mapped_prefixes=frozenset({"app.views"})) == ["covered"]
    assert statuses(tmp_path, code, mapped_prefixes=frozenset({"app.view"})) == ["captured"]


def test_task_in_the_schedule_of_the_settings(tmp_path):
    code = (
        f"{CELERY}@shared_task\ndef ask():\n    {ASK}\n"
        "def view(request):\n    with ai_usage('x'):\n        ask.delay()\n"
    )

    assert statuses(tmp_path, code, scheduled=frozenset({"app.views.ask"})) == ["captured"]


def test_reason_names_the_place_and_the_calls(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    report = scan_tree(
        tmp_path,
        {
            "app/ai.py": f"{IMPORTS}def ask():\n    return {ASK}\n"
            f"def nightly_ask():\n    return {ASK}\n",
            "app/views.py": "from usage_tracking import ai_usage\nfrom app.ai import ask\n"
            "def page(request):\n    with ai_usage('x'):\n        return ask()\n",
            "app/tasks.py": "from celery import shared_task\nfrom app.ai import nightly_ask\n"
            "@shared_task\ndef nightly():\n    nightly_ask()\n",
        },
    )

    assert [finding.coverage for finding in report.findings] == [
        "`with ai_usage` at app/views.py:4, through ask at app/views.py:5",
        "captured, but reached from task nightly at app/tasks.py:4, which names no section, "
        "through nightly_ask at app/tasks.py:5",
    ]


KINDS = {
    "consumer": "from channels.generic.websocket import WebsocketConsumer\n"
    f"class Chat(WebsocketConsumer):\n    def receive(self, text_data):\n        {ASK}\n",
    "signal receiver": "from django.dispatch import receiver\nfrom x import saved\n"
    f"@receiver(saved)\ndef ask(sender, **kwargs):\n    {ASK}\n",
    "admin action": "from django.contrib import admin\n"
    f"class Notes(admin.ModelAdmin):\n    actions = ['ask']\n"
    f"    def ask(self, request, queryset):\n        {ASK}\n",
    "template tag": "from django import template\nregister = template.Library()\n"
    f"@register.simple_tag\ndef ask():\n    {ASK}\n",
    "middleware": "class Ask:\n    def __init__(self, get_response):\n        pass\n"
    f"    def __call__(self, request):\n        {ASK}\n",
    "form": "from django import forms\n"
    f"class Note(forms.Form):\n    def clean_text(self):\n        {ASK}\n",
    "serializer": "from rest_framework import serializers\n"
    f"class Note(serializers.Serializer):\n    def validate(self, data):\n        {ASK}\n",
    "task": f"from django.tasks import task\n@task\ndef ask():\n    {ASK}\n",
    "model": "from django.db import models\n"
    f"class Note(models.Model):\n    def save(self, *args):\n        {ASK}\n",
}


@pytest.mark.parametrize("kind", KINDS)
def test_kind_of_entry_point(tmp_path, kind):
    finding = only_finding(tmp_path, IMPORTS + KINDS[kind])

    assert [entry.kind for entry in finding.entry_points] == [kind]
    assert finding.status == "captured"


def test_tracker_behind_two_requests_names_the_section_of_one(tmp_path):
    code = f"def view(request):\n    {ASK}\n    {ASK}\n    track_ai_usage(1, 'chat')\n"

    assert statuses(tmp_path, code) == ["captured"] * 2
    shared = "track_ai_usage at line 12 is shared by 2 requests"
    assert warnings(tmp_path, code).count(shared) == 2


def test_record_in_a_block_without_a_section(tmp_path):
    code = (
        "def view(request):\n    with ai_usage() as usage:\n"
        f"        answer = {UNSEEN}\n        usage.record(answer)\n"
    )

    assert statuses(tmp_path, code) == ["captured"]
    assert statuses(tmp_path, "@ai_section('x')\n" + code) == ["covered"]


def test_function_with_the_name_of_too_many_calls_is_not_covered(tmp_path):
    code = (
        f"{IMPORTS}def ask():\n    {ASK}\ndef page(request):\n"
        "    with ai_usage(section='x'):\n        ask()\n"
    )
    calls = "from app.views import Asker\ndef other(asker):\n" + "    asker.ask()\n" * 90
    few, many = (
        [each.status for each in scan_tree(tmp_path / name, files).findings]
        for name, files in (
            ("few", {"app/views.py": code}),
            ("many", {"app/views.py": code, "app/other.py": calls}),
        )
    )

    assert (few, many) == (["covered"], ["captured"])


@pytest.mark.parametrize(
    "change", ["options['section'] = None", "options.pop('section')", "options.clear()"]
)
def test_section_that_code_takes_out_of_its_options_does_not_count(tmp_path, change):
    code = (
        "def view(request):\n    options = {'section': 'chat'}\n%s    with ai_usage(**options):\n"
    )
    kept, changed = (
        only_finding(tmp_path / name, f"{IMPORTS}{code % line}        {ASK}\n").status
        for name, line in (("a", ""), ("b", f"    {change}\n"))
    )

    assert (kept, changed) == ("covered", "captured")


def test_path_that_a_subclass_gives_its_client(tmp_path):
    code = (
        "import openai\nclass Own(openai.OpenAI):\n    def ask(self):\n"
        "        return self.post('/chat/completions', body={}, cast_to=dict)\n"
    )

    assert only_finding(tmp_path, code).status == "captured"
