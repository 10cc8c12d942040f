"""`find_uninstrumented` under each setting that decides what is recorded, held to capture.

Each case is scanned and run with the same settings. `captured` and `covered` mean that the call was
recorded, `covered` that its section is not the default one, `invisible` that it was not recorded.
"""

from __future__ import annotations

import json
import re
import runpy
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from django.test import Client, override_settings
from django.urls import path

from project.stub import StubProvider
from tests.scanner.trees import write_tree
from tests.support.cases import check_each
from tests.support.commands import run_command
from tests.support.wire import events_of, make_case
from usage_tracking import conf
from usage_tracking.events import UsageEvent
from usage_tracking.scanner import Options, Tracking, scan
from usage_tracking.scanner.report import CAPTURED, COVERED, INVISIBLE, UNKNOWN
from usage_tracking.testing import captured_ai_usage

pytestmark = pytest.mark.django_db

ANSWER = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "model": "m",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "Hi"}}],
    "usage": {"prompt_tokens": 3, "completion_tokens": 1, "total_tokens": 4},
}
CONVERSATION = {
    "object": "conversation.response",
    "conversation_id": "c",
    "outputs": [{"model": "m", "type": "message.output", "role": "assistant", "content": "Hi"}],
    "usage": {"prompt_tokens": 3, "completion_tokens": 1, "total_tokens": 4},
}
CHAT = "/v1/chat/completions"
OURS = "https://llm.example.com"
#: Calls a model of the stub with a body that tells nothing to the scanner.
ASK = """
    import httpx

    URL = "http://{place}/openai/v1/chat/completions"
    BODY = {{"model": "m", "messages": [{{"role": "user", "content": "Hi"}}]}}


    def ask(*_):
        httpx.post(URL, json=BODY)
"""


def find(root: Path) -> list[dict[str, Any]]:
    ended = run_command(
        "find_uninstrumented", str(root), "--no-cache", "--format=json", "--fail-on=never"
    )
    assert ended.code == 0, ended.err
    found: list[dict[str, Any]] = json.loads(ended.out)["findings"]
    return found


def statuses(root: Path, code: str) -> list[str]:
    write_tree(root, {"app/views.py": code})
    return [finding["status"] for finding in find(root)]


def truth_of(events: list[UsageEvent]) -> str:
    if not events:
        return INVISIBLE
    default = conf.default_section()
    return CAPTURED if any(event.section == default for event in events) else COVERED


def post(url: str, body: str = "{}") -> str:
    return f"import httpx\n\n\ndef view(request):\n    httpx.post({url!r}, json={body})\n"


# Which requests are recorded

URLS: list[tuple[dict[str, Any], str, str]] = [
    # AI_USAGE_PATHS
    ({}, f"{OURS}/llm/answer", "not listed"),
    ({"PATHS": {"/llm/answer": "openai.chat"}}, f"{OURS}/llm/answer", CAPTURED),
    ({"PATHS": {"/llm/answer": "openai.chat"}}, f"{OURS}/v2/llm/answer/", CAPTURED),
    ({"PATHS": {"/llm/answer": "openai.chat"}}, f"{OURS}/llm/Answer", "not listed"),
    ({"PATHS": {"/llm/{}/answer": "openai.chat"}}, f"{OURS}/llm/en/answer", CAPTURED),
    ({"PATHS": {":ask": "openai.chat"}}, f"{OURS}/models/m:ask", CAPTURED),
    ({"PATHS": {"/text-to-text": "openai.chat"}}, "https://api.openai.com/text-to-text", CAPTURED),
    ({"PATHS": {"/llm/health": "openai.chat"}}, f"{OURS}/llm/health", CAPTURED),
    # AI_USAGE_UNKNOWN_HOSTS
    ({}, f"{OURS}{CHAT}", CAPTURED),
    ({"UNKNOWN_HOSTS": False}, f"{OURS}{CHAT}", INVISIBLE),
    ({"UNKNOWN_HOSTS": False}, f"https://api.openai.com{CHAT}", CAPTURED),
    ({"UNKNOWN_HOSTS": False}, f"https://my-team.openai.azure.com{CHAT}", CAPTURED),
    ({"UNKNOWN_HOSTS": False}, f"https://fal.run/m{CHAT}", CAPTURED),
    ({"UNKNOWN_HOSTS": False}, f"http://localhost:8000{CHAT}", INVISIBLE),
    ({"UNKNOWN_HOSTS": False, "PATHS": {"/answer": "openai.chat"}}, f"{OURS}/answer", INVISIBLE),
    # AI_USAGE_GATEWAYS
    (
        {"UNKNOWN_HOSTS": False, "GATEWAYS": {"LLM.example.com": "openai"}},
        f"{OURS}{CHAT}",
        CAPTURED,
    ),
    (
        {"UNKNOWN_HOSTS": False, "GATEWAYS": {"llm.example.com/openai/": "openai"}},
        f"{OURS}/openai{CHAT}",
        CAPTURED,
    ),
    (
        {"UNKNOWN_HOSTS": False, "GATEWAYS": {"llm.example.com/openai": "openai"}},
        f"{OURS}/openai2{CHAT}",
        INVISIBLE,
    ),
    (
        {"UNKNOWN_HOSTS": False, "GATEWAYS": {"localhost:8000": "vllm"}},
        f"http://localhost:8000{CHAT}",
        CAPTURED,
    ),
    (
        {"UNKNOWN_HOSTS": False, "GATEWAYS": {"localhost:8000": "vllm"}},
        f"http://localhost:8001{CHAT}",
        INVISIBLE,
    ),
    (
        {"UNKNOWN_HOSTS": False, "GATEWAYS": {"llm.example.com:443": "openai"}},
        f"{OURS}{CHAT}",
        CAPTURED,
    ),
    # A path of one provider only.
    ({"GATEWAYS": {"llm.example.com": "mistral"}}, f"{OURS}/v1/conversations", CAPTURED),
    ({"GATEWAYS": {"llm.example.com": "openai"}}, f"{OURS}/v1/conversations", INVISIBLE),
    # AI_USAGE_ENABLED and AI_USAGE_CAPTURE
    ({"ENABLED": False}, f"https://api.openai.com{CHAT}", INVISIBLE),
    ({"CAPTURE": False}, f"https://api.openai.com{CHAT}", INVISIBLE),
    ({"CAPTURE": ["requests"]}, f"https://api.openai.com{CHAT}", INVISIBLE),
    ({"CAPTURE": ["httpx"]}, f"https://api.openai.com{CHAT}", CAPTURED),
]


def test_requests_that_the_settings_record(tmp_path: Path) -> None:
    def check(settings: dict[str, Any], url: str, status: str) -> None:
        is_conversation = url.endswith("/conversations")
        body = (
            '{"model": "m", "messages": [{"role": "user", "content": "Hi"}]}'
            if is_conversation
            else "{}"
        )
        answer = CONVERSATION if is_conversation else ANSWER
        with override_settings(**prefixed(settings)):
            found = statuses(tmp_path, post(url, body))
            truth = truth_of(events_of(make_case(url, answer)))

        if status == "not listed":
            assert (found, truth) == ([], INVISIBLE)
        else:
            assert (found, truth) == ([status], status)

    check_each(check, URLS)


def test_host_that_the_scan_does_not_know(tmp_path: Path) -> None:
    """On a known host, capture records the call; on others, it depends on the setting."""

    def check(url: str, status: str) -> None:
        code = f"import os, httpx\nHOST = os.environ['LLM']\ndef view(_):\n    httpx.post({url})\n"
        with override_settings(AI_USAGE_UNKNOWN_HOSTS=False):
            assert statuses(tmp_path, code) == [status]
        assert statuses(tmp_path, code) == [CAPTURED]

    check_each(
        check,
        [
            (f"f'https://{{HOST}}{CHAT}'", UNKNOWN),
            (f"f'https://{{HOST}}.openai.azure.com{CHAT}'", CAPTURED),
            (f"f'https://{{HOST}}.example.com{CHAT}'", INVISIBLE),
        ],
    )


def test_provider_of_a_gateway_is_shown(tmp_path: Path) -> None:
    write_tree(tmp_path, {"app/views.py": post(f"{OURS}/up{CHAT}")})
    assert [finding["provider"] for finding in find(tmp_path)] == ["unknown"]
    with override_settings(AI_USAGE_GATEWAYS={"llm.example.com/up": "mistral"}):
        (finding,) = find(tmp_path)

    assert (finding["provider"], finding["confidence"]) == ("mistral", "certain")


def test_kind_of_a_path_of_the_site_is_that_of_its_format(tmp_path: Path) -> None:
    formats = {"a": "openai.chat", "b": "openai.embeddings", "c": "openai.images", "d": "rerank"}
    code = "import requests\n"
    code += "".join(f"requests.post('{OURS}/{name}-in', json=x)\n" for name in formats)
    write_tree(tmp_path, {"app/views.py": code})
    paths = {f"/{name}-in": wire_format for name, wire_format in formats.items()}
    with override_settings(AI_USAGE_PATHS=paths):
        kinds = [finding["kind"] for finding in find(tmp_path)]

    assert kinds == ["chat", "embeddings", "image", "rerank"]


def test_path_that_a_client_is_given(tmp_path: Path) -> None:
    code = "from openai import OpenAI\nOpenAI().post('/llm/answer', cast_to=str, body={})\n"
    assert statuses(tmp_path, code) == []
    with override_settings(AI_USAGE_PATHS={"/llm/answer": "openai.chat"}):
        assert statuses(tmp_path, code) == [CAPTURED]
    with override_settings(
        AI_USAGE_PATHS={"/llm/answer": "openai.chat"}, AI_USAGE_UNKNOWN_HOSTS=False
    ):
        assert statuses(tmp_path, code) == [CAPTURED]


def test_client_of_an_sdk_and_its_host(tmp_path: Path) -> None:
    ask = "c.chat.completions.create(model='m', messages=[])"

    def check(made: str, call: str, status: str, settings: dict[str, Any]) -> None:
        code = (
            "import os\nfrom django.conf import settings\nfrom openai import OpenAI\n"
            "from langchain_openai import ChatOpenAI\nfrom ollama import Client\n"
            "import litellm\n"
            f"c = {made}\n\n\ndef view(request):\n    {call}\n"
        )
        assert statuses(tmp_path, code) == [CAPTURED]
        with override_settings(AI_USAGE_UNKNOWN_HOSTS=False, **prefixed(settings)):
            assert statuses(tmp_path, code) == [status]

    gateway = {"GATEWAYS": {"llm.example.com": "openai"}}
    check_each(
        check,
        [
            ("OpenAI()", ask, CAPTURED, {}),
            ("OpenAI(api_key='x', base_url=None)", ask, CAPTURED, {}),
            (f"OpenAI(base_url='{OURS}/v1')", ask, INVISIBLE, {}),
            (f"OpenAI(base_url='{OURS}/v1')", ask, CAPTURED, gateway),
            (f"OpenAI(base_url='{OURS}/v1').with_options()", ask, INVISIBLE, {}),
            ("OpenAI(base_url='https://api.groq.com/openai/v1')", ask, CAPTURED, {}),
            ("OpenAI(base_url=os.environ['LLM'])", ask, UNKNOWN, {}),
            ("OpenAI(base_url=settings.LLM)", ask, UNKNOWN, {}),
            ("ChatOpenAI()", "c.invoke('x')", CAPTURED, {}),
            (f"ChatOpenAI(base_url='{OURS}/v1')", "c.invoke('x')", INVISIBLE, {}),
            ("Client()", "c.chat(model='m')", CAPTURED, {}),
            ("Client(host='http://localhost:11434')", "c.chat(model='m')", CAPTURED, {}),
            ("None", "litellm.completion(model='m', messages=[])", CAPTURED, {}),
            (
                "None",
                f"litellm.completion(model='m', messages=[], api_base='{OURS}')",
                INVISIBLE,
                {},
            ),
            ("Client(host='http://gpu.example.com')", "c.chat(model='m')", INVISIBLE, {}),
        ],
    )


def test_host_of_a_data_file(tmp_path: Path) -> None:
    """A host that only the data file of the site knows is unknown to capture."""
    file = tmp_path / "acme.toml"
    file.write_text(
        'provider = "acme"\nimports = ["acme_ai"]\nhosts = ["api.acme.example"]\n'
        '[functions]\n"acme_ai:ask" = "chat"\n'
    )
    code = "import acme_ai\nacme_ai.ask('x')\n"
    cases: list[tuple[dict[str, Any], str]] = [
        ({}, CAPTURED),
        ({"UNKNOWN_HOSTS": False}, INVISIBLE),
        ({"UNKNOWN_HOSTS": False, "GATEWAYS": {"api.acme.example": "acme"}}, CAPTURED),
    ]
    for settings, status in cases:
        with override_settings(AI_USAGE_SCANNER_EXTRA=[file], **prefixed(settings)):
            assert statuses(tmp_path, code) == [status], settings


def test_sockets_of_a_library_are_those_of_its_transport(tmp_path: Path) -> None:
    url = "wss://api.openai.com/v1/realtime?model=gpt-realtime"
    libraries = {
        "aiohttp": f"async with aiohttp.ClientSession() as s:\n        await s.ws_connect('{url}')",
        "websocket_client": f"websocket.create_connection('{url}')",
        "websockets": f"async with websockets.connect('{url}') as s:\n        pass",
    }

    def check(transport: str, call: str, hooked: str) -> None:
        code = f"import aiohttp, websocket, websockets\n\n\nasync def view(request):\n    {call}\n"
        with override_settings(AI_USAGE_CAPTURE=[hooked]):
            assert statuses(tmp_path, code) == [CAPTURED if hooked == transport else INVISIBLE]

    check_each(
        check, [(name, call, each) for name, call in libraries.items() for each in libraries]
    )


# Whose section a recorded call has

THREADS = {
    "Thread": (
        "import threading",
        "t = threading.Thread(target=ask)\n        t.start()",
        "t.join()",
    ),
    "Timer": ("import threading", "t = threading.Timer(0, ask)\n        t.start()", "t.join()"),
    "submit": (
        "from concurrent.futures import ThreadPoolExecutor",
        "with ThreadPoolExecutor() as pool:\n            pool.submit(ask).result()",
        "",
    ),
    "map": (
        "from concurrent.futures import ThreadPoolExecutor",
        "with ThreadPoolExecutor() as pool:\n            list(pool.map(ask, [1]))",
        "",
    ),
    "apply_async": (
        "from multiprocessing.pool import ThreadPool",
        "with ThreadPool(1) as pool:\n            pool.apply_async(ask).get()",
        "",
    ),
    "a pool's map": (
        "from multiprocessing.pool import ThreadPool",
        "with ThreadPool(1) as pool:\n            pool.map(ask, [1])",
        "",
    ),
    "a request passed on": (
        "from concurrent.futures import ThreadPoolExecutor",
        "with ThreadPoolExecutor() as pool:\n"
        "            pool.submit(httpx.post, URL, json=BODY).result()",
        "",
    ),
    "a subclass": (
        "import threading\n\n\nclass Asks(threading.Thread):\n    def run(self):\n        ask()",
        "t = Asks()\n        t.start()",
        "t.join()",
    ),
    "run_in_executor": (
        "import asyncio\n\n\nasync def later():\n"
        "    await asyncio.get_running_loop().run_in_executor(None, ask)",
        "asyncio.run(later())",
        "",
    ),
    "a helper": (
        "from concurrent.futures import ThreadPoolExecutor\n\n\ndef start(job):\n"
        "    with ThreadPoolExecutor() as pool:\n        pool.submit(job).result()",
        "start(ask)",
        "",
    ),
}
#: What has the section with or without AI_USAGE_PROPAGATE_THREADS.
CONTEXTS = {
    "to_thread": (
        "import asyncio\n\n\nasync def later():\n    await asyncio.to_thread(ask)",
        "asyncio.run(later())",
        "",
    ),
    "sync_to_async": (
        "import asyncio\nfrom asgiref.sync import sync_to_async\n\n\nasync def later():\n"
        "    await sync_to_async(ask, thread_sensitive=False)()",
        "asyncio.run(later())",
        "",
    ),
    "a task": (
        "import asyncio\n\n\nasync def asks():\n    ask()\n\n\n"
        "async def later():\n    await asyncio.create_task(asks())",
        "asyncio.run(later())",
        "",
    ),
    "propagate": (
        "from concurrent.futures import ThreadPoolExecutor\nfrom usage_tracking import propagate",
        "with ThreadPoolExecutor() as pool:\n            pool.submit(propagate(ask)).result()",
        "",
    ),
    "copy_context": (
        "import contextvars\nfrom concurrent.futures import ThreadPoolExecutor",
        "with ThreadPoolExecutor() as pool:\n"
        "            pool.submit(contextvars.copy_context().run, ask).result()",
        "",
    ),
    "a block in the thread": (
        "import threading\n\n\n@ai_usage(section='chat')\ndef asks():\n    ask()",
        "t = threading.Thread(target=asks)\n        t.start()",
        "t.join()",
    ),
}


def way(place: str, imports: str, started: str, ended: str) -> str:
    ask = ASK.format(place=place).replace("\n    ", "\n").strip()
    return (
        f"from usage_tracking import ai_usage\n{ask}\n\n\n{imports}\n\n\n"
        f"def view(request):\n    with ai_usage(section='chat'):\n        {started}\n"
        + (f"        {ended}\n" if ended else "")
    )


@pytest.mark.parametrize("propagates", [True, False])
@pytest.mark.parametrize("name", [*THREADS, *CONTEXTS])
def test_section_in_threads(
    tmp_path: Path, stub: StubProvider, name: str, propagates: bool
) -> None:
    code = way(stub.host_port, *(THREADS | CONTEXTS)[name])
    with override_settings(AI_USAGE_PROPAGATE_THREADS=propagates):
        found = set(statuses(tmp_path, code))
        with captured_ai_usage() as events:
            runpy.run_path(str(tmp_path / "app" / "views.py"))["view"](None)

    truth = truth_of(events)
    assert truth == (CAPTURED if name in THREADS and not propagates else COVERED)
    # `ask` has one way more if the request itself is passed on: nothing calls it.
    assert truth in found
    assert found <= {truth, CAPTURED}
    if name != "a request passed on":
        assert found == {truth}


def test_greenlet_has_no_section_without_propagation(tmp_path: Path) -> None:
    ask = ASK.format(place="llm.example.com")
    for call in ("gevent.spawn(ask)", "pool.spawn(ask)", "gevent.spawn_later(1, ask)"):
        code = (
            f"{ask}\nimport gevent\nfrom gevent.pool import Pool\n"
            "from usage_tracking import ai_usage\npool = Pool(2)\n\n\n"
        ).replace("\n    ", "\n") + f"def view(_):\n    with ai_usage('chat'):\n        {call}\n"
        with override_settings(AI_USAGE_PROPAGATE_THREADS=False):
            assert statuses(tmp_path, code) == [CAPTURED], call


def test_manual_record_of_an_app_that_is_off(tmp_path: Path, stub: StubProvider) -> None:
    code = (
        "import json\nfrom urllib.request import Request, urlopen\n"
        "from usage_tracking import ai_usage\n\n"
        "BODY = json.dumps({'model': 'm', 'messages': [{'role': 'user', 'content': 'Hi'}]})\n\n\n"
        "def view(request):\n    with ai_usage(section='chat') as usage:\n"
        f"        asked = Request('{stub.openai_url}/chat/completions', BODY.encode())\n"
        "        with urlopen(asked) as file:\n            usage.record(json.load(file))\n"
    )
    for is_enabled, status in ((True, COVERED), (False, INVISIBLE)):
        with override_settings(AI_USAGE_ENABLED=is_enabled):
            found = statuses(tmp_path, code)
            with captured_ai_usage() as events:
                runpy.run_path(str(tmp_path / "app" / "views.py"))["view"](None)

        assert found == [status]
        assert truth_of(events) == status


def test_tracker_of_an_app_that_is_off(tmp_path: Path) -> None:
    code = (
        "from openai import OpenAI\nfrom usage_tracking import track_ai_usage\n\n\n"
        "def view(request):\n    OpenAI().responses.create(model='m', input='x')\n"
        "    track_ai_usage(request.user, 'chat')\n"
    )
    assert statuses(tmp_path, code) == [COVERED]
    with override_settings(AI_USAGE_ENABLED=False):
        (finding,) = find(tmp_path)

    assert finding["status"] == INVISIBLE
    assert finding["coverage"] == "AI_USAGE_ENABLED is False"
    assert finding["fix"] == "set AI_USAGE_ENABLED = True"


VIEW = """
    from django.http import HttpResponse
    from usage_tracking import ai_section, ai_usage
    {ask}

    {decorator}
    def view(request):
        ask()
        return HttpResponse()
"""


@pytest.mark.parametrize("has_middleware", [True, False])
@pytest.mark.parametrize(
    ("decorator", "section_map", "needs_it"),
    [
        ("@ai_section('chat')", {}, True),
        ("", {"page": "chat"}, True),
        ("@ai_usage(section='chat')", {}, False),
    ],
    ids=["ai_section", "section map", "ai_usage"],
)
def test_section_of_a_view_needs_the_middleware(
    tmp_path: Path,
    stub: StubProvider,
    settings: Any,
    decorator: str,
    section_map: dict[str, str],
    needs_it: bool,
    has_middleware: bool,
) -> None:
    route(
        settings, tmp_path, VIEW.format(ask=ASK.format(place=stub.host_port), decorator=decorator)
    )
    settings.AI_USAGE_SECTION_MAP = section_map
    if not has_middleware:
        settings.MIDDLEWARE = [each for each in settings.MIDDLEWARE if "AIUsage" not in each]
    (finding,) = find(tmp_path)
    with captured_ai_usage() as events:
        Client().get("/page/")

    truth = truth_of(events)
    assert truth == (CAPTURED if needs_it and not has_middleware else COVERED)
    assert finding["status"] == truth
    if truth == CAPTURED:
        assert "view, which has no section without AIUsageMiddleware" in re.sub(
            r" at line \d+", "", finding["coverage"]
        )
        assert "with ai_usage(" in finding["fix"]


def test_empty_section_of_the_map_is_none(
    tmp_path: Path, stub: StubProvider, settings: Any
) -> None:
    """The name of a view comes before its path, also if it has no section."""
    route(settings, tmp_path, VIEW.format(ask=ASK.format(place=stub.host_port), decorator=""))
    cases = [
        ({"app.views": "chat"}, COVERED),
        ({"app": "chat"}, COVERED),
        ({"app": "chat", "page": ""}, CAPTURED),
        ({"app": "chat", "app.views": ""}, CAPTURED),
        ({"app": "", "app.views": "chat"}, COVERED),
    ]
    for section_map, status in cases:
        settings.AI_USAGE_SECTION_MAP = section_map
        with captured_ai_usage() as events:
            Client().get("/page/")

        assert truth_of(events) == status, section_map
        assert [finding["status"] for finding in find(tmp_path)] == [status], section_map


def test_section_of_a_view_class_needs_the_middleware(tmp_path: Path) -> None:
    ask = "OpenAI().responses.create(model='m', input='x')"
    code = f"""
        from django.utils.decorators import method_decorator
        from django.views import View
        from openai import OpenAI
        from usage_tracking import ai_section, ai_usage

        @ai_section("chat")
        class Marked(View):
            def get(self, request):
                {ask}

        @method_decorator(ai_usage("chat"), name="dispatch")
        class InBlock(View):
            def get(self, request):
                {ask}
    """
    write_tree(tmp_path, {"app/views.py": code})
    for has_middleware, expected in ((True, [COVERED, COVERED]), (False, [CAPTURED, COVERED])):
        tracking = Tracking(reads_views=has_middleware)
        found = scan(Options(paths=(str(tmp_path),), tracking=tracking)).findings

        assert [finding.status for finding in found] == expected

    marked = found[0]
    assert marked.block is not None
    assert marked.block.kind == "method"
    assert marked.fix == 'put the statement at line 9 into `with ai_usage(section="…"):`'


def route(settings: Any, root: Path, code: str) -> None:
    """Write `code`, and make its function `view` the only view of the site."""
    file = write_tree(root, {"app/views.py": code}) / "app" / "views.py"
    urls = ModuleType("tests.scanner.urls_of_one_view")
    view = runpy.run_path(str(file), run_name="app.views")["view"]
    vars(urls)["urlpatterns"] = [path("page/", view, name="page")]
    settings.ROOT_URLCONF = urls


def prefixed(settings: dict[str, Any]) -> dict[str, Any]:
    return {f"{conf.PREFIX}{name}": value for name, value in settings.items()}


# Settings that change neither whether a call is recorded nor its section.
@pytest.mark.parametrize(
    ("name", "value"),
    [("STREAM_USAGE", "request"), ("KEY_HINT", True), ("LOG_USERNAMES", False), ("WAIT", 1)],
)
def test_other_settings_do_not_change_the_status(tmp_path: Path, name: str, value: Any) -> None:
    with override_settings(**{f"{conf.PREFIX}{name}": value}):
        assert statuses(tmp_path, post(f"https://api.openai.com{CHAT}")) == [CAPTURED]
