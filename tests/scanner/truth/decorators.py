"""`@ai_usage` and `@ai_section` on everything that can be decorated."""

from __future__ import annotations

from functools import cached_property, lru_cache

from django.contrib.auth.decorators import login_required
from django.http import HttpResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET

from tests.scanner.truth.ai import aclient, client
from usage_tracking import ai_section, ai_usage


@ai_usage(section="chat")
def usage_on_view(request):
    return HttpResponse(client.responses.create(model="usage_on_view", input="Hi").output_text)


@ai_usage("chat")
async def usage_on_coroutine(request):
    answer = await aclient.responses.create(model="usage_on_coroutine", input="Hi")
    return HttpResponse(answer.output_text)


@ai_usage("chat")
def _generator():
    for text in ("Hi", "Ho"):
        yield client.responses.create(model="usage_on_generator", input=text).output_text


def usage_on_generator(request):
    return HttpResponse("".join(_generator()))


@ai_usage("chat")
async def _async_generator():
    for text in ("Hi", "Ho"):
        answer = await aclient.responses.create(model="usage_on_async_generator", input=text)
        yield answer.output_text


async def usage_on_async_generator(request):
    return HttpResponse("".join([text async for text in _async_generator()]))


@ai_usage("chat")
class Decorated:
    """Only its construction is in the block."""

    def __init__(self):
        self.first = client.responses.create(model="usage_on_class_init", input="Hi").output_text

    def ask(self):
        return client.responses.create(model="usage_on_class_method", input="Hi").output_text


def usage_on_class(request):
    return HttpResponse(Decorated().ask())


class Methods:
    @ai_usage("chat")
    def method(self):
        return client.responses.create(model="usage_on_method", input="Hi").output_text

    @classmethod
    @ai_usage("chat")
    def of_class(cls):
        return client.responses.create(model="usage_on_classmethod", input="Hi").output_text

    @staticmethod
    @ai_usage("chat")
    def static():
        return client.responses.create(model="usage_on_staticmethod", input="Hi").output_text

    @property
    @ai_usage("chat")
    def text(self):
        return client.responses.create(model="usage_on_property", input="Hi").output_text

    @cached_property
    def kept(self):
        return client.responses.create(model="plain_property", input="Hi").output_text

    @cached_property
    def kept_in_block(self):
        return client.responses.create(model="property_in_block", input="Hi").output_text

    @ai_section("chat")
    def marked(self):
        return client.responses.create(model="section_on_method", input="Hi").output_text


def usage_on_methods(request):
    methods = Methods()
    found = [methods.method(), Methods.of_class(), Methods.static(), methods.text, methods.kept]
    with ai_usage("chat"):
        found.append(methods.kept_in_block)
    return HttpResponse([*found, methods.marked()])


@login_required
@ai_usage("chat")
def usage_below(request):
    return HttpResponse(client.responses.create(model="usage_below", input="Hi").output_text)


@ai_usage("chat")
@login_required
@never_cache
def usage_above(request):
    return HttpResponse(client.responses.create(model="usage_above", input="Hi").output_text)


@ai_usage(metadata={"page": 1})
def usage_without_section(request):
    text = client.responses.create(model="usage_without_section", input="Hi").output_text
    return HttpResponse(text)


@ai_section("chat")
def section_on_view(request):
    return HttpResponse(client.responses.create(model="section_on_view", input="Hi").output_text)


@ai_section("chat")
async def section_on_async_view(request):
    answer = await aclient.responses.create(model="section_on_async_view", input="Hi")
    return HttpResponse(answer.output_text)


@require_GET
@ai_section("chat")
def section_below(request):
    return HttpResponse(client.responses.create(model="section_below", input="Hi").output_text)


@ai_section("chat")
@require_GET
def section_above(request):
    return HttpResponse(client.responses.create(model="section_above", input="Hi").output_text)


def opaque(view):
    return lambda request: view(request)


@opaque
@ai_section("chat")
def section_below_opaque(request):
    text = client.responses.create(model="section_below_opaque", input="Hi").output_text
    return HttpResponse(text)


@opaque
@ai_usage("chat")
def usage_below_opaque(request):
    text = client.responses.create(model="usage_below_opaque", input="Hi").output_text
    return HttpResponse(text)


@ai_section("chat")
def _helper():
    return client.responses.create(model="section_on_helper", input="Hi").output_text


def section_on_helper(request):
    return HttpResponse(_helper())


def _of_marked_view():
    return client.responses.create(model="helper_of_marked_view", input="Hi").output_text


@ai_section("chat")
def helper_of_marked_view(request):
    return HttpResponse(_of_marked_view())


@ai_section("chat")
def marked_view_called(request):
    text = client.responses.create(model="marked_view_called", input="Hi").output_text
    return HttpResponse(text)


def view_that_calls_marked(request):
    return marked_view_called(request)


def section_at_route(request):
    return HttpResponse(client.responses.create(model="section_at_route", input="Hi").output_text)


def usage_at_route(request):
    return HttpResponse(client.responses.create(model="usage_at_route", input="Hi").output_text)


def attribute_on_view(request):
    text = client.responses.create(model="attribute_on_view", input="Hi").output_text
    return HttpResponse(text)


attribute_on_view.ai_section = "chat"


@lru_cache
@ai_usage("chat")
def _cached(text):
    return client.responses.create(model="usage_below_cache", input=text).output_text


def usage_below_cache(request):
    return HttpResponse(_cached("Hi"))
