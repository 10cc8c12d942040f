"""Code that is made in one place and runs in another."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from django.db import transaction
from django.dispatch import Signal
from django.http import HttpResponse, StreamingHttpResponse

from tests.scanner.truth.ai import aclient, client
from usage_tracking import ai_section, ai_usage

asked = Signal()
loosely_asked = Signal()
CALLBACKS: list[Callable[[], Any]] = []


def stream_plain(request):
    def body():
        yield client.responses.create(model="stream_plain", input="Hi").output_text

    return StreamingHttpResponse(body())


@ai_section("chat")
def stream_of_marked_view(request):
    def body():
        yield client.responses.create(model="stream_of_marked_view", input="Hi").output_text

    return StreamingHttpResponse(body())


@ai_usage("chat")
def stream_of_decorated_view(request):
    def body():
        yield client.responses.create(model="stream_of_decorated_view", input="Hi").output_text

    return StreamingHttpResponse(body())


def stream_returned_in_block(request):
    def body():
        yield client.responses.create(model="stream_returned_in_block", input="Hi").output_text

    with ai_usage("chat"):
        return StreamingHttpResponse(body())


def stream_with_block_inside(request):
    def body():
        with ai_usage("chat"):
            yield client.responses.create(model="stream_with_block_inside", input="Hi").output_text

    return StreamingHttpResponse(body())


def stream_decorated_body(request):
    @ai_usage("chat")
    def body():
        yield client.responses.create(model="stream_decorated_body", input="Hi").output_text

    return StreamingHttpResponse(body())


@ai_usage("chat")
async def async_stream_of_decorated_view(request):
    async def body():
        answer = await aclient.responses.create(model="async_stream_of_decorated_view", input="Hi")
        yield answer.output_text

    return StreamingHttpResponse(body())


async def async_stream_returned_in_block(request):
    async def body():
        answer = await aclient.responses.create(model="async_stream_returned_in_block", input="Hi")
        yield answer.output_text

    async with ai_usage("chat"):
        return StreamingHttpResponse(body())


def _words(name):
    yield name
    yield client.responses.create(model="generator_made_in_block", input="Hi").output_text


def generator_made_in_block(request):
    with ai_usage("chat"):
        words = _words("a")
    return HttpResponse("".join(words))


def _listed(name):
    yield name
    yield client.responses.create(model="generator_listed_in_block", input="Hi").output_text


def generator_listed_in_block(request):
    with ai_usage("chat"):
        return HttpResponse(list(_listed("a")))


def sdk_stream_read_outside(request):
    with ai_usage("chat"):
        stream = client.responses.create(model="sdk_stream_read_outside", input="Hi", stream=True)
    return HttpResponse(str(len(list(stream))))


def lambda_called_later(request):
    with ai_usage("chat"):
        ask = lambda: client.responses.create(model="lambda_called_later", input="Hi")  # noqa: E731
    return HttpResponse(ask().output_text)


def lambda_called_in_block(request):
    ask = lambda: client.responses.create(model="lambda_called_in_block", input="Hi")  # noqa: E731
    with ai_usage("chat"):
        return HttpResponse(ask().output_text)


def partial_called_later(request):
    with ai_usage("chat"):
        ask = partial(client.responses.create, model="partial_called_later", input="Hi")
    return HttpResponse(ask().output_text)


def partial_called_in_block(request):
    ask = partial(client.responses.create, model="partial_called_in_block", input="Hi")
    with ai_usage("chat"):
        return HttpResponse(ask().output_text)


def method_called_later(request):
    with ai_usage("chat"):
        create = client.responses.create
    return HttpResponse(create(model="method_called_later", input="Hi").output_text)


def _callback():
    client.responses.create(model="callback_of_list", input="Hi")


def callback_of_list(request):
    with ai_usage("chat"):
        CALLBACKS.append(_callback)
    while CALLBACKS:
        CALLBACKS.pop()()
    return HttpResponse()


def on_commit_in_block(request):
    with transaction.atomic(), ai_usage("chat"):
        transaction.on_commit(
            lambda: client.responses.create(model="on_commit_in_block", input="Hi")
        )
    return HttpResponse()


def on_commit_within_block(request):
    with ai_usage("chat"), transaction.atomic():
        transaction.on_commit(
            lambda: client.responses.create(model="on_commit_within_block", input="Hi")
        )
    return HttpResponse()


@ai_section("chat")
def on_commit_of_marked_view(request):
    with transaction.atomic():
        transaction.on_commit(
            lambda: client.responses.create(model="on_commit_of_marked_view", input="Hi")
        )
    return HttpResponse()


def _receive(sender, **kwargs):
    client.responses.create(model="signal_sent_in_block", input="Hi")


def _receive_loosely(sender, **kwargs):
    client.responses.create(model="signal_sent_outside", input="Hi")


asked.connect(_receive)
loosely_asked.connect(_receive_loosely)


def signals(request):
    with ai_usage("chat"):
        asked.send(None)
    loosely_asked.send(None)
    return HttpResponse()


def _key(text):
    return client.responses.create(model="sort_key_in_block", input=text).output_text


def sort_key_in_block(request):
    with ai_usage("chat"):
        return HttpResponse(sorted(["Hi", "Ho"], key=_key))


def _mapped(text):
    return client.responses.create(model="map_read_outside", input=text).output_text


def map_read_outside(request):
    with ai_usage("chat"):
        found = map(_mapped, ["Hi", "Ho"])
    return HttpResponse(list(found))


def _retried():
    return client.responses.create(model="own_retry_in_block", input="Hi").output_text


def retry(function, times=2):
    for _ in range(times):
        found = function()
    return found


def own_retry_in_block(request):
    with ai_usage("chat"):
        return HttpResponse(retry(_retried))
