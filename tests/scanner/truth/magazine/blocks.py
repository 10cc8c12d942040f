"""Blocks, managers and decorators of the app's own."""

from __future__ import annotations

import functools
import sys
from contextlib import ExitStack, suppress
from typing import Any

from django.http import HttpResponse
from django.views.decorators.cache import never_cache

import usage_tracking as ut
from usage_tracking import ai_usage as track

from ..ai import aclient, client
from . import services, tracked, wrappers
from .services import Rewriter, exported, headline
from .wrappers import Holds, InSearch, Sectioned, in_section, spanned, timed


def service_in_block(request):
    text = request.GET.get("q", "Hi")
    with track(section="search", metadata={"q": text}) as usage:
        found = headline(text)
    return HttpResponse(f"{found}{usage.calls}")


def service_of_two_views(request):
    with ut.ai_usage("chat"):
        return HttpResponse(services.teaser("Hi"))


def service_of_two_views_2(request):
    return HttpResponse(services.teaser("Hi"))


def service_read_by_name(request):
    with tracked("chat"):
        exported("Hi")
    return HttpResponse(getattr(services, request.GET.get("name", "exported"))("Hi"))


def service_in_all(request):
    with tracked("chat"):
        services.listed("Hi")
    for name in services.__all__:
        if name == "listed":
            vars(services)[name]("Hi")
    return HttpResponse()


def by_globals(request):
    with track("chat"):
        answer_by_globals()
    globals()["answer_by_globals"]()
    return HttpResponse()


def answer_by_globals():
    client.responses.create(model="by_globals", input="Hi")


def by_module_dict(request):
    with track("chat"):
        answer_by_module()
    getattr(sys.modules[__name__], "answer_by_" + "module")()
    return HttpResponse()


def answer_by_module():
    client.responses.create(model="by_module", input="Hi")


def dataclass_method(request):
    rewriter = Rewriter()
    with track("chat"):
        for text in ("Hi", "Ho"):
            rewriter.rewrite(text)
    return HttpResponse()


@in_section("chat")
def own_section_decorator(request):
    client.responses.create(model="own_section_decorator", input="Hi")
    return HttpResponse()


@wrappers.in_section_if(False)
def decorator_of_a_flag(request):
    client.responses.create(model="decorator_of_a_flag", input="Hi")
    return HttpResponse()


@wrappers.logged_section
def decorator_that_ended(request, usage=None):
    client.responses.create(model="decorator_that_ended", input="Hi")
    return HttpResponse()


@timed
@in_section("search")
@wrappers.retried(times=2)
def three_decorators(request):
    client.responses.create(model="three_decorators", input="Hi")
    return HttpResponse()


@Sectioned
def class_as_decorator(request):
    client.responses.create(model="class_as_decorator", input="Hi")
    return HttpResponse()


@wrappers.Unsectioned
def class_as_decorator_dead(request):
    client.responses.create(model="class_as_decorator_dead", input="Hi")
    return HttpResponse()


@wrappers.SectionDecorator("chat")
def object_as_decorator(request):
    client.responses.create(model="object_as_decorator", input="Hi")
    return HttpResponse()


@InSearch()
def context_decorator(request):
    client.responses.create(model="context_decorator", input="Hi")
    return HttpResponse()


@wrappers.Forgets()
def context_decorator_dead(request):
    client.responses.create(model="context_decorator_dead", input="Hi")
    return HttpResponse()


def class_manager(request):
    with Holds() as usage:
        client.responses.create(model="class_manager", input="Hi")
    return HttpResponse(str(usage))


def spanned_view(request):
    with suppress(KeyError), spanned():
        client.responses.create(model="spanned", input="Hi")
    return HttpResponse()


@spanned("chat")
def spanned_as_decorator(request):
    client.responses.create(model="spanned_as_decorator", input="Hi")
    return HttpResponse()


def maybe_spanned(request):
    with wrappers.maybe_spanned():
        client.responses.create(model="maybe_spanned", input="Hi")
    return HttpResponse()


def stacked(request):
    with wrappers.stacked():
        client.responses.create(model="stacked", input="Hi")
    return HttpResponse()


def early(request):
    with wrappers.early():
        client.responses.create(model="early", input="Hi")
    return HttpResponse()


async def aspanned(request):
    async with wrappers.aspanned():
        await aclient.responses.create(model="aspanned", input="Hi")
    return HttpResponse()


def stack_callback(request):
    """The stack leaves the block first, then calls back."""
    with ExitStack() as stack:
        stack.callback(lambda: client.responses.create(model="stack_callback", input="Hi"))
        stack.enter_context(track("chat"))
    return HttpResponse()


def stack_in_loop(request):
    with ExitStack() as stack:
        for each in (track("chat"), suppress(KeyError)):
            stack.enter_context(each)
        client.responses.create(model="stack_in_loop", input="Hi")
    return HttpResponse()


def stack_popped(request):
    with ExitStack() as stack:
        stack.enter_context(track("chat"))
        kept = stack.pop_all()
    kept.close()
    client.responses.create(model="stack_popped", input="Hi")
    return HttpResponse()


@never_cache
@track("chat")
def below_never_cache(request):
    try:
        if request.GET.get("no"):
            return HttpResponse()
        client.responses.create(model="below_never_cache", input="Hi")
    finally:
        request.done = True
    return HttpResponse()


@functools.lru_cache
def cached_answer(text):
    return client.responses.create(model="magazine_cached_in_block", input=text).output_text


def cached_in_block(request):
    with track("chat"):
        return HttpResponse(cached_answer("Hi"))


def nested_with_return(request):
    @track("chat")
    def inner(text):
        def innermost():
            return client.responses.create(model="innermost", input=text)

        return innermost()

    inner("Hi")
    return HttpResponse()


def innermost_returned(request):
    @track("chat")
    def inner(text):
        def innermost():
            return client.responses.create(model="innermost_returned", input=text)

        return innermost

    inner("Hi")()
    return HttpResponse()


def rebound(request):
    """The block that is entered is not the one that names a section."""
    block = track("chat")
    block = track(metadata={"a": 1})
    with block:
        client.responses.create(model="rebound_block", input="Hi")
    return HttpResponse()


def deleted_section(request):
    options: dict[str, Any] = {"section": "chat"}
    options.pop("section")
    with track(**options):
        client.responses.create(model="popped_option", input="Hi")
    return HttpResponse()


def else_of_block(request):
    try:
        with track("chat"):
            len("Hi")
    except ValueError:
        pass
    else:
        client.responses.create(model="else_of_block", input="Hi")
    return HttpResponse()


def conditional_expression(request):
    with track("chat") if request.user.is_staff else track("search"):
        client.responses.create(model="either_block", input="Hi")
    return HttpResponse()


def while_block(request):
    left = 2
    while left:
        with track("chat"):
            left -= 1
            if left:
                continue
            client.responses.create(model="while_block", input="Hi")
    return HttpResponse()
