"""Functions that are found by name, table, attribute or class."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

import httpx
import requests
from django.http import HttpResponse

from tests.scanner.truth import registry
from tests.scanner.truth.ai import URL, client
from usage_tracking import ai_usage


def _of_table():
    return client.responses.create(model="dict_dispatch", input="Hi").output_text


def _of_table_twice():
    return client.responses.create(model="dict_dispatch_twice", input="Hi").output_text


HANDLERS = {"ask": _of_table, "twice": _of_table_twice}


def dict_dispatch(request):
    with ai_usage("chat"):
        return HttpResponse(HANDLERS[request.GET.get("do", "ask")]())


def dict_dispatch_twice(request):
    return HttpResponse(HANDLERS["twice"]())


class Actions:
    def do_ask(self):
        return client.responses.create(model="getattr_dispatch", input="Hi").output_text

    def do_list(self):
        return client.responses.create(model="getattr_dispatch_outside", input="Hi").output_text


def getattr_dispatch(request):
    with ai_usage("chat"):
        return HttpResponse(getattr(Actions(), f"do_{request.GET.get('do', 'ask')}")())


def getattr_dispatch_outside(request):
    return HttpResponse(getattr(Actions(), "do_" + "list")())


class Tool:
    def answer(self):
        return self.finish("Hi")

    def finish(self, text):
        raise NotImplementedError


class Covered(Tool):
    def finish(self, text):
        return client.responses.create(model="overridden_method", input=text).output_text


class CoveredTwice(Tool):
    def answer(self):
        with ai_usage("search"):
            return super().answer()

    def finish(self, text):
        return client.responses.create(model="override_opens_block", input=text).output_text


def overridden(request):
    with ai_usage("chat"):
        text = Covered().answer()
    return HttpResponse(text + CoveredTwice().answer())


class Searches:
    def execute_widely(self):
        return client.responses.create(model="unique_method_name", input="Hi").output_text


def unique_method_name(request):
    search = registry.get("searches")
    with ai_usage("chat"):
        return HttpResponse(search.execute_widely())


class Translations:
    def execute(self):
        return client.responses.create(model="shared_method_name", input="Hi").output_text


def shared_method_name(request):
    """`execute` of an unknown object says nothing about the translations."""
    search = registry.get("rows")
    with ai_usage("chat"):
        return HttpResponse(search.execute())


def translate(request):
    return HttpResponse(registry.get("translations").execute())


registry.put("searches", Searches())
registry.put("translations", Translations())


class Callable_:
    def __call__(self):
        return client.responses.create(model="callable_object", input="Hi").output_text


def callable_object(request):
    ask = Callable_()
    with ai_usage("chat"):
        return HttpResponse(ask())


class Chosen:
    def __init__(self, ask: Callable[[], Any]) -> None:
        self._ask = ask

    def run(self):
        with ai_usage("chat"):
            return self._ask()


def _injected():
    return client.responses.create(model="injected_function", input="Hi").output_text


def injected_function(request):
    return HttpResponse(Chosen(_injected).run())


def _imported():
    return client.responses.create(model="imported_by_name", input="Hi").output_text


def imported_by_name(request):
    with ai_usage("chat"):
        return HttpResponse(import_module(__name__)._imported())


def _recursive(depth):
    if depth:
        return _recursive(depth - 1)
    return client.responses.create(model="recursive_function", input="Hi").output_text


def recursive_function(request):
    with ai_usage("chat"):
        return HttpResponse(_recursive(2))


def recursive_function_2(request):
    with ai_usage("chat"):
        return HttpResponse(_even(2))


def _even(depth):
    text = client.responses.create(model="mutual_recursion", input="Hi").output_text
    return text if not depth else _odd(depth - 1)


def _odd(depth):
    return _even(depth - 1)


def raw_httpx(request):
    body = {"model": "raw_httpx", "input": "Hi"}
    with ai_usage("chat"):
        answer = httpx.post(f"{URL}/responses", json=body)  # case: raw_httpx
    return HttpResponse(answer.text)


def raw_requests(request):
    body = {"model": "raw_requests", "messages": [{"role": "user", "content": "Hi"}]}
    answer = requests.post(f"{URL}/chat/completions", json=body, timeout=9)  # case: raw_requests
    return HttpResponse(answer.text)


def _post(path, body):
    return httpx.post(f"{URL}/{path}", json=body).json()  # case: raw_helper


def raw_helper(request):
    with ai_usage("chat"):
        return HttpResponse(_post("responses", {"model": "raw_helper", "input": "Hi"}))
