"""Function views and what they call."""

from __future__ import annotations

from django.contrib.auth.decorators import login_required
from django.db import transaction
from django.http import HttpResponse
from django.views.decorators.http import require_GET

from tests.scanner.fixed import services
from tests.scanner.fixed.ai import aclient, client
from usage_tracking import ai_section, ai_usage


# fix: decorate plain with @ai_section("…"), as the outermost decorator
@ai_section("chat")  # fixed
def plain(request):
    return HttpResponse(client.responses.create(model="plain", input="Hi").output_text)


# fix: decorate coroutine with @ai_section("…"), as the outermost decorator
@ai_section("chat")  # fixed
async def coroutine(request):
    answer = await aclient.responses.create(model="coroutine", input="Hi")
    return HttpResponse(answer.output_text)


# fix: decorate below_others with @ai_section("…"), as the outermost decorator
@ai_section("chat")  # fixed
@login_required
@require_GET
def below_others(request):
    return HttpResponse(client.responses.create(model="below_others", input="Hi").output_text)


def no_wraps(view):
    return lambda request: view(request)


# fix: decorate below_opaque with @ai_section("…"), as the outermost decorator
@ai_section("chat")  # fixed
@no_wraps
def below_opaque(request):
    return HttpResponse(client.responses.create(model="below_opaque", input="Hi").output_text)


# fix: decorate below_known_route with @ai_section("…"), as the outermost decorator
@ai_section("chat")  # fixed
def below_known_route(request):
    text = client.responses.create(model="below_known_route", input="Hi").output_text
    return HttpResponse(text)


def made(name):
    def view(request):
        # fix: put the statement at line +2 into `with ai_usage(section="…"):`
        with ai_usage(section="chat"):  # fixed
            text = client.responses.create(model="nested_view", input=name).output_text
        return HttpResponse(text)

    return view


nested_view = made("Hi")


class Pages:
    @staticmethod
    def static(request):
        # fix: put the statement at line +2 into `with ai_usage(section="…"):`
        with ai_usage(section="chat"):  # fixed
            return HttpResponse(client.responses.create(model="static", input="Hi").output_text)

    @staticmethod
    @require_GET
    def static_below(request):
        # fix: put the statement at line +2 into `with ai_usage(section="…"):`
        with ai_usage(section="chat"):  # fixed
            text = client.responses.create(model="static_below", input="Hi").output_text
        return HttpResponse(text)


# One fix for calls in several functions and files.
# fix: decorate several with @ai_section("…"), as the outermost decorator
@ai_section("chat")  # fixed
def several(request):
    first = client.responses.create(model="several_1", input="Hi").output_text
    second = client.responses.create(model="several_2", input="Hi").output_text
    return HttpResponse(first + second + services.of_one_view())


@ai_section("chat")
def covered_caller(request):
    return HttpResponse(services.of_covered_and_plain_view())


# fix: decorate plain_caller with @ai_section("…"), as the outermost decorator
@ai_section("chat")  # fixed
def plain_caller(request):
    return HttpResponse(services.of_covered_and_plain_view())


def one_of_two(request):
    return HttpResponse(services.of_two_views("Hi"))


def two_of_two(request):
    return HttpResponse(services.of_two_views("Ho"))


# fix: decorate on_commit with @ai_section("…"), as the outermost decorator
@ai_section("chat")  # fixed
def on_commit(request):
    with transaction.atomic():
        transaction.on_commit(lambda: client.responses.create(model="on_commit", input="Hi"))
    return HttpResponse()


# fix: decorate passed_on with @ai_section("…"), as the outermost decorator
@ai_section("chat")  # fixed
def passed_on(request):
    answer = services.retry(client.responses.create, model="passed_on", input="Hi")
    return HttpResponse(answer.output_text)


def unknown_callers(request):
    return HttpResponse(services.TOOLS[request.GET.get("tool", "ask")]("Hi"))


def later(request):
    return HttpResponse(services.rephrase("Hi").output_text)


def in_thread(request):
    return HttpResponse(services.in_thread())


def in_processes(request):
    return HttpResponse(services.in_processes())


def streamed(request):
    return services.streamed()


async def async_streamed(request):
    return services.async_streamed()
