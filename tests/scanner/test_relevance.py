"""What connects files: code that is far from any sign of AI is still found."""

from __future__ import annotations

from pathlib import Path

import pytest

from .trees import scan_tree

_ASK = """
    import anthropic

    def ask(text):
        return anthropic.Anthropic().messages.create(model="m", messages=[])
"""
_GOOD = """
    from usage_tracking import ai_usage
    {line}

    def good(request):
        with ai_usage("good"):
            return {call}
"""
_CLIENT = "import anthropic\n"
_MESSAGES = ".messages.create(model='m')"

CASES = {
    "helper far down": {
        "views.py": _CLIENT
        + "from flow import start\ndef v(r):\n    return start(anthropic.Anthropic())\n",
        "flow.py": "from low import run\ndef start(x):\n    return run(x)\n",
        "low.py": f'"""Calls the LLM."""\ndef run(x):\n    return x{_MESSAGES}\n',
    },
    "helper of a package": {
        "views.py": _CLIENT
        + "from tools import run\ndef v(r):\n    return run(anthropic.Anthropic())\n",
        "tools/__init__.py": "from .low import run\n",
        "tools/low.py": f'"""Calls the LLM."""\ndef run(x):\n    return x{_MESSAGES}\n',
    },
    "attribute of state": {
        "boot.py": _CLIENT + "def boot(app):\n    app.state.brain = anthropic.Anthropic()\n",
        "views.py": f'"""LLM."""\ndef v(request):\n    return request.app.state.brain{_MESSAGES}\n',
    },
    "registry by function": {
        "registry.py": '"""LLMs."""\n_ALL = {}\ndef register(name, item):\n    _ALL[name] = item\n'
        "def get(name):\n    return _ALL[name]\n",
        "boot.py": _CLIENT
        + "from registry import register\nregister('fast', anthropic.Anthropic())\n",
        "views.py": f"from registry import get\ndef v(r):\n    return get('fast'){_MESSAGES}\n",
    },
    "setting": {
        "settings.py": 'ASSISTANT_URL = "https://api.openai.com/v1/chat/completions"\n',
        "http_tools.py": "import requests\ndef send(url, data):\n"
        "    return requests.post(url, json=data)\n",
        "views.py": '"""LLM."""\nfrom django.conf import settings\nfrom http_tools import send\n'
        "def v(r):\n    return send(settings.ASSISTANT_URL, {})\n",
    },
    "shape with a common name": {
        "low.py": "def send(x):\n    return x.completions.create(model='m')\n",
    },
}


_SENDS = """
    import requests

    def call(path, body):
        return requests.post("http://10.0.0.5" + path, json=body)
"""
_GATEWAY = """
    from .api import call

    class Gateway:
        def infer(self, body):
            return call("/infer", body)

    gateway = Gateway()
"""
_INFER = (
    "from core.gateway import gateway\nfrom {module} import build\n"
    "def view(request):\n    return gateway.infer(build(request))\n"
)
_BUILD = 'def build(text):\n    return {"inputs": text}\n'
CASES |= {
    name: {"core/__init__.py": "", "core/api.py": _SENDS, "core/gateway.py": _GATEWAY, **files}
    for name, files in {
        "body of another module": {
            "bodies.py": _BUILD,
            "views.py": _INFER.format(module="bodies"),
        },
        "body of a module far away": {
            "parts.py": _BUILD,
            "bodies.py": "from parts import build as part\ndef build(x):\n    return part(x)\n",
            "views.py": _INFER.format(module="bodies"),
        },
        "body that is logged": {
            "bodies.py": 'def build(text):\n    body = {"inputs": text}\n'
            "    logger.info('%s', body)\n    return body\n",
            "views.py": _INFER.format(module="bodies"),
        },
        "embedding": {
            "views.py": "from core.gateway import gateway\n"
            "def get_embedding(text):\n    return gateway.infer({'instances': [text]})\n",
        },
        "script": {
            "run.py": "from core.gateway import gateway\n"
            "for line in open('x'):\n    print(gateway.infer({'inputs': line}))\n",
        },
    }.items()
}


@pytest.mark.parametrize("files", CASES.values(), ids=CASES)
def test_call_that_names_connect_with_a_sign_is_found(
    tmp_path: Path, files: dict[str, str]
) -> None:
    (found,) = scan_tree(tmp_path, files).findings

    assert found.line > 1


CALLERS = {
    "import *": {
        "shop/services.py": "from .ai import *\n",
        "shop/views.py": _GOOD.format(line="from .ai import ask", call="ask(1)"),
        "shop/jobs.py": "from .services import ask\ndef job():\n    return ask(1)\n",
    },
    "module of a module": {
        "shop/services.py": "from . import ai as brain\n",
        "shop/views.py": _GOOD.format(line="from .ai import ask", call="ask(1)"),
        "shop/jobs.py": "from .services import brain\ndef job():\n    return brain.ask(1)\n",
    },
    "helpers of four modules": {
        "shop/views.py": _GOOD.format(line="from .ai import ask", call="ask(1)")
        + "    from .one import one\n\n    def bad(request):\n        return one(ask)\n",
        "shop/one.py": "from .two import two\ndef one(call):\n    return two(call)\n",
        "shop/two.py": "from .three import three\ndef two(call):\n    return three(call)\n",
        "shop/three.py": "from .four import four\ndef three(call):\n    return four(call)\n",
        "shop/four.py": "def four(call):\n    return call(1)\n",
    },
    "computed name": {
        "shop/__init__.py": "def __getattr__(name):\n    from . import ai\n"
        "    return getattr(ai, name)\n",
        "shop/views.py": _GOOD.format(line="from .ai import ask", call="ask(1)"),
        "jobs.py": "def job():\n    import shop\n    return shop.ask(1)\n",
    },
    "module by its name": {
        "shop/__init__.py": "",
        "shop/views.py": _GOOD.format(line="from .ai import ask", call="ask(1)"),
        "jobs.py": "from importlib import import_module\ndef job():\n"
        "    return import_module('shop.ai').ask(1)\n",
    },
    "function by its name": {
        "shop/__init__.py": "",
        "shop/views.py": _GOOD.format(line="from .ai import ask", call="ask(1)"),
        "jobs.py": "from django.utils.module_loading import import_string\ndef job():\n"
        "    return import_string('shop.ai.ask')(1)\n",
    },
    "module of a package": {
        "shop/__init__.py": "from . import ai\n",
        "shop/views.py": _GOOD.format(line="from .ai import ask", call="ask(1)"),
        "jobs.py": "import shop\ndef job():\n    return shop.ai.ask(1)\n",
    },
}


@pytest.mark.parametrize("files", CALLERS.values(), ids=CALLERS)
def test_caller_without_section_is_seen(tmp_path: Path, files: dict[str, str]) -> None:
    (found,) = scan_tree(tmp_path, {"shop/ai.py": _ASK, **files}).findings

    assert found.status == "captured"


#: Modules with a function `ask` that sends HTTP, whose request has no sign of AI.
UNSIGNED = {
    "name of the model": "def ask(text):\n"
    "    return requests.post(URL + '/embed', json={'model': 'm', 'input': text})\n",
    "class of a body": "class Body(BaseModel):\n    messages: list\n    model: str\n"
    "def ask(text):\n    body = Body(messages=[text], model='m')\n"
    "    return requests.post(URL + '/chat', json=body.model_dump())\n",
    "setting of a body": "def ask(text):\n    body = {'text': text}\n"
    "    body['max_tokens'] = 5\n    return requests.post(URL + '/complete', json=body)\n",
}


@pytest.mark.parametrize("code", UNSIGNED.values(), ids=UNSIGNED)
def test_caller_of_a_call_without_sign_is_seen(tmp_path: Path, code: str) -> None:
    files = {
        "shop/__init__.py": "",
        "shop/http.py": "import requests\nURL = 'http://10.0.0.5'\n" + code,
        "shop/views.py": _GOOD.format(line="from .http import ask", call="ask(1)"),
        "shop/jobs.py": "from celery import shared_task\nfrom .services import work\n"
        "@shared_task\ndef job():\n    return work()\n",
        "shop/services.py": "from .http import ask\ndef work():\n    return ask(1)\n",
    }
    (found,) = scan_tree(tmp_path, files).findings

    assert {entry.name for entry in found.entry_points} == {"good", "job"}


def test_form_feed_in_invalid_file_does_not_end_a_line(tmp_path: Path) -> None:
    code = 'import openai\n\f\ndef ask(x):\n    print "x"\n\f\n    openai.ChatCompletion.create()\n'

    (found,) = scan_tree(tmp_path, {"old.py": code + '\f\nprint "y"\n'}).findings

    assert found.line == 6
