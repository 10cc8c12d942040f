"""Further ways in which sites name a section, or believe that they do."""

# mypy: disable-error-code="type-arg, union-attr, assignment"

from __future__ import annotations

import contextvars
import functools
import json
import logging
import urllib.request
from asyncio import gather
from contextlib import ExitStack, closing

import httpx
from asgiref.sync import sync_to_async
from django.contrib.auth.decorators import login_required
from django.contrib.auth.mixins import LoginRequiredMixin
from django.db import transaction
from django.http import HttpResponse, StreamingHttpResponse
from django.utils.functional import SimpleLazyObject, lazy
from django.views import View
from django.views.generic import ListView
from openai import APIError

from tests.scanner.truth.ai import URL, aclient, client
from tests.scanner.truth.tracking import DEFAULT_SECTION, NO_SECTION, Tracks
from usage_tracking import ai_section, ai_usage, track_ai_usage

logger = logging.getLogger("truth")


def section_constant(request):
    with ai_usage(DEFAULT_SECTION):
        text = client.responses.create(model="section_constant", input="Hi").output_text
    return HttpResponse(text)


def section_constant_none(request):
    with ai_usage(NO_SECTION):
        text = client.responses.create(model="section_constant_none", input="Hi").output_text
    return HttpResponse(text)


def section_of_query(request):
    with ai_usage(section=request.GET.get("section")):
        text = client.responses.create(model="section_of_query", input="Hi").output_text
    return HttpResponse(text)


def _with_optional_section(text, section=None):
    with ai_usage(section=section):
        return client.responses.create(model="optional_section", input=text).output_text


def optional_section(request):
    return HttpResponse(_with_optional_section("Hi", section="chat"))


def optional_section_2(request):
    return HttpResponse(_with_optional_section("Hi"))


def _with_given_section(text, section=None):
    with ai_usage(section=section):
        return client.responses.create(model="given_section", input=text).output_text


def given_section(request):
    return HttpResponse(_with_given_section("Hi", section="chat"))


class Answers:
    section = None

    def ask(self):
        with ai_usage(section=self.section):
            return client.responses.create(model="section_of_subclasses", input="Hi").output_text


class ChatAnswers(Answers):
    section = "chat"


def section_of_subclasses(request):
    return HttpResponse(ChatAnswers().ask())


def section_of_subclasses_2(request):
    return HttpResponse(Answers().ask())


class Service(Tracks):
    def ask(self):
        with self.tracked():
            return client.responses.create(model="manager_of_self", input="Hi").output_text

    def ask_timed(self):
        with self.timed():
            return client.responses.create(model="manager_of_self_elsewhere", input="Hi")


def manager_of_self(request):
    service = Service()
    return HttpResponse(service.ask() + service.ask_timed().output_text)


def fallback_outside_block(request):
    try:
        with ai_usage("chat"):
            text = client.responses.create(model="primary_in_block", input="[stub status=500]")
    except APIError:
        text = client.responses.create(model="fallback_outside_block", input="Hi")
    return HttpResponse(text.output_text)


def finally_outside_block(request):
    try:
        with ai_usage("chat"):
            text = request.path
    finally:
        client.responses.create(model="finally_outside_block", input="Hi")
    return HttpResponse(text)


def block_used_twice(request):
    block = ai_usage("chat")
    with block:
        client.responses.create(model="block_used_first", input="Hi")
    with block:
        client.responses.create(model="block_used_again", input="Hi")
    client.responses.create(model="block_used_up", input="Hi")
    return HttpResponse()


def walrus_block(request):
    with (block := ai_usage("chat")):
        text = client.responses.create(model="walrus_block", input="Hi").output_text
    return HttpResponse(f"{text} {block is None}")


def managers_of_list(request):
    with ExitStack() as stack:
        for manager in (ai_usage("chat"), transaction.atomic()):
            stack.enter_context(manager)
        text = client.responses.create(model="managers_of_list", input="Hi").output_text
    return HttpResponse(text)


def stack_left(request):
    with ExitStack() as stack:
        stack.enter_context(ai_usage("chat"))
    return HttpResponse(client.responses.create(model="stack_left", input="Hi").output_text)


@transaction.atomic
@ai_usage("chat")
def below_atomic(request):
    return HttpResponse(client.responses.create(model="below_atomic", input="Hi").output_text)


def repeats(function):
    @functools.wraps(function)
    def wrapper(*args, **kwargs):
        return function(*args, **kwargs)

    return wrapper


@repeats
def _repeated():
    return client.responses.create(model="own_wrapper_in_block", input="Hi").output_text


def own_wrapper_in_block(request):
    with ai_usage("chat"):
        return HttpResponse(_repeated())


@sync_to_async
def _sync():
    return client.responses.create(model="sync_to_async_decorator", input="Hi").output_text


async def sync_to_async_decorator(request):
    with ai_usage("chat"):
        return HttpResponse(await _sync())


@functools.singledispatch
def _describe(value):
    return client.responses.create(model="singledispatch", input="Hi").output_text


@_describe.register
def _describe_text(value: str):
    return client.responses.create(model="singledispatch_registered", input=value).output_text


def singledispatch(request):
    with ai_usage("chat"):
        return HttpResponse([_describe(1), _describe("Hi")])


def context_run(request):
    with ai_usage("chat"):
        context = contextvars.copy_context()
    text = context.run(_of_context)
    return HttpResponse(text)


def _of_context():
    return client.responses.create(model="context_run_later", input="Hi").output_text


def lazy_made_in_block(request):
    with ai_usage("chat"):
        text = SimpleLazyObject(
            lambda: client.responses.create(model="lazy_made_in_block", input="Hi").output_text
        )
    return HttpResponse(str(text))


def _lazily():
    return client.responses.create(model="lazy_read_in_block", input="Hi").output_text


lazy_text = lazy(_lazily, str)


def lazy_read_in_block(request):
    text = lazy_text()
    with ai_usage("chat"):
        return HttpResponse(str(text))


def options_in_block(request):
    with ai_usage("chat"):
        answer = client.with_options(timeout=9).responses.create(
            model="options_in_block", input="Hi"
        )
    return HttpResponse(answer.output_text)


def raw_response_in_block(request):
    with ai_usage("chat"):
        raw = client.responses.with_raw_response.create(model="raw_response_in_block", input="Hi")
    return HttpResponse(raw.text)


def stream_manager_outside(request):
    with ai_usage("chat"):
        manager = client.responses.stream(model="stream_manager_entered_outside", input="Hi")
    with manager as stream:
        return HttpResponse(str(len(list(stream))))


def stream_manager_in_block(request):
    with (
        ai_usage("chat"),
        client.responses.stream(model="stream_manager_in_block", input="Hi") as stream,
    ):
        return HttpResponse(str(len(list(stream))))


async def gathered_outside_block(request):
    with ai_usage("chat"):
        waiting = [
            aclient.responses.create(model="gathered_outside_block", input=text)
            for text in ("Hi", "Ho")
        ]
    return HttpResponse([answer.output_text for answer in await gather(*waiting)])


async def awaited_request_later(request):
    with ai_usage("chat"):
        waiting = aclient.responses.create(model="awaited_request_later", input="Hi")
    return HttpResponse((await waiting).output_text)


def with_urllib(request):
    body = json.dumps({"model": "with_urllib", "messages": [{"role": "user", "content": "Hi"}]})
    asked = urllib.request.Request(f"{URL}/chat/completions", body.encode())
    with ai_usage("chat"), urllib.request.urlopen(asked) as answer:  # case: with_urllib
        return HttpResponse(answer.read())


def recorded_urllib(request):
    body = json.dumps({"model": "recorded_urllib", "messages": [{"role": "user", "content": "Hi"}]})
    asked = urllib.request.Request(f"{URL}/chat/completions", body.encode())
    with ai_usage("chat") as usage:
        with closing(urllib.request.urlopen(asked)) as answer:  # case: recorded_urllib
            text = answer.read()
        usage.record(text)
    return HttpResponse(text)


def with_httpx_client(request):
    body = {"model": "with_httpx_client", "messages": [{"role": "user", "content": "Hi"}]}
    with httpx.Client(base_url=URL) as http, ai_usage("chat"):
        answer = http.post("/chat/completions", json=body)  # case: with_httpx_client
    return HttpResponse(answer.text)


class ListOfMarked(LoginRequiredMixin, ListView):
    ai_section = "chat"

    def get_queryset(self):
        return [client.responses.create(model="queryset_of_marked_view", input="Hi").output_text]

    def render_to_response(self, context, **response_kwargs):
        return HttpResponse(context["object_list"])


class Setup(View):
    ai_section = "chat"

    def setup(self, request, *args, **kwargs):
        super().setup(request, *args, **kwargs)
        self.text = client.responses.create(model="setup_of_marked_view", input="Hi").output_text

    def get(self, request):
        return HttpResponse(self.text)


class CallsBase(View):
    def get(self, request):
        text = client.responses.create(model="base_routed_too", input="Hi").output_text
        return HttpResponse(text)


class CallsSuper(CallsBase):
    ai_section = "chat"

    def get(self, request):
        return super().get(request)


class InitSection(View):
    def __init__(self, **options):
        super().__init__(**options)
        self.ai_section = "chat"

    def get(self, request):
        text = client.responses.create(model="section_set_in_init", input="Hi").output_text
        return HttpResponse(text)


class StreamOfMarked(View):
    ai_section = "chat"

    def get(self, request):
        return StreamingHttpResponse(self.parts())

    def parts(self):
        yield client.responses.create(model="stream_method_of_marked_view", input="Hi").output_text


class Stored(View):
    def get(self, request):
        text = client.responses.create(model="stored_view_marked", input="Hi").output_text
        return HttpResponse(text)


stored = ai_section("chat")(Stored.as_view())


class NamesUsage(View):
    def get(self, request):
        text = client.responses.create(model="stored_view_in_block", input="Hi").output_text
        return HttpResponse(text)


in_block = ai_usage("chat")(NamesUsage.as_view())


def marked_at_one_of_two_routes(request):
    """`ai_section` marks the function, so the other route has the section too."""
    text = client.responses.create(model="marked_at_one_of_two_routes", input="Hi").output_text
    return HttpResponse(text)


def usage_at_one_of_two_routes(request):
    text = client.responses.create(model="usage_at_one_of_two_routes", input="Hi").output_text
    return HttpResponse(text)


def login_at_route(request):
    return HttpResponse(client.responses.create(model="login_at_route", input="Hi").output_text)


def passing_attributes(view):
    @functools.wraps(view)
    def inner(request):
        return view(request)

    return inner


def hiding_attributes(view):
    return lambda request: view(request)


def traced(name):
    def decorate(view):
        @functools.wraps(view)
        def inner(request):
            return view(request)

        return inner

    return decorate


@ai_section("chat")
def marked_in_wrapper(request):
    return HttpResponse(client.responses.create(model="marked_in_wrapper", input="Hi").output_text)


@ai_section("chat")
def marked_in_wrappers(request):
    return HttpResponse(client.responses.create(model="marked_in_wrappers", input="Hi").output_text)


@ai_section("chat")
def marked_in_hiding_wrapper(request):
    text = client.responses.create(model="marked_in_hiding_wrapper", input="Hi").output_text
    return HttpResponse(text)


@ai_section("chat")
def marked_also_in_hiding_wrapper(request):
    text = client.responses.create(model="marked_also_in_hiding_wrapper", input="Hi").output_text
    return HttpResponse(text)


@ai_usage("chat")
def usage_in_hiding_wrapper(request):
    text = client.responses.create(model="usage_in_hiding_wrapper", input="Hi").output_text
    return HttpResponse(text)


def unmarked_in_wrapper(request):
    text = client.responses.create(model="unmarked_in_wrapper", input="Hi").output_text
    return HttpResponse(text)


@ai_section("")
def empty_mark(request):
    return HttpResponse(client.responses.create(model="empty_mark", input="Hi").output_text)


@login_required
@ai_section("chat")
def inner_function_of_marked(request):
    def ask():
        return client.responses.create(model="inner_function_of_marked", input="Hi").output_text

    return HttpResponse(ask())


class Handler(logging.Handler):
    def emit(self, record):
        client.responses.create(model="logging_handler", input="Hi")


logger.addHandler(Handler())
logger.propagate = False


def logs(request):
    with ai_usage("chat"):
        logger.error("asked")
    logger.error("asked again")
    return HttpResponse()


def _shared_by_block_and_tracker():
    return client.responses.create(model="block_or_tracker", input="Hi")


def block_or_tracker(request):
    with ai_usage("chat"):
        return HttpResponse(_shared_by_block_and_tracker().output_text)


def block_or_tracker_2(request):
    answer = _shared_by_block_and_tracker()
    track_ai_usage(
        request.user,
        "search",
        prompt_tokens=answer.usage.input_tokens,
        completion_tokens=answer.usage.output_tokens,
        model_name=answer.model,
    )
    return HttpResponse(answer.output_text)
