"""The site's own context managers and decorators around `ai_usage`."""

from __future__ import annotations

import functools
from contextlib import ContextDecorator, asynccontextmanager, contextmanager

from django.http import HttpResponse

from tests.scanner.truth.ai import aclient, client
from usage_tracking import ai_usage

DEBUG = False


@contextmanager
def tracked(name):
    with ai_usage(section=name) as usage:
        yield usage


@contextmanager
def dead_branch():
    if DEBUG:
        with ai_usage(section="chat"):
            yield
    else:
        yield


@contextmanager
def closed_before_yield():
    with ai_usage(section="chat") as usage:
        calls = usage.calls
    yield calls


@contextmanager
def opened_after_yield():
    yield
    with ai_usage(section="chat"):
        pass


@asynccontextmanager
async def atracked():
    async with ai_usage(section="chat"):
        yield


@contextmanager
def entered_in_helper():
    with tracked("search"):
        yield


def new_block():
    return ai_usage(section="chat")


def new_block_without_section(user):
    return ai_usage(user=user)


class Tracked:
    def __enter__(self):
        self._block = ai_usage(section="chat")
        return self._block.__enter__()

    def __exit__(self, *error):
        self._block.__exit__(*error)


class Timed:
    """It opens a block for its own work only."""

    def __enter__(self):
        with ai_usage(section="chat"):
            self.began = 0
        return self

    def __exit__(self, *error):
        pass


class Metered(ai_usage):
    def __init__(self):
        super().__init__(section="chat")


class Both(ContextDecorator):
    def __enter__(self):
        self._block = ai_usage(section="chat")
        self._block.__enter__()
        return self

    def __exit__(self, *error):
        self._block.__exit__(*error)


def decorated(function):
    @functools.wraps(function)
    def wrapper(*args, **kwargs):
        with ai_usage(section="chat"):
            return function(*args, **kwargs)

    return wrapper


def decorated_with(section):
    def decorate(function):
        return ai_usage(section=section)(function)

    return decorate


def logged(function):
    """It opens a block, but not around the function."""

    @functools.wraps(function)
    def wrapper(*args, **kwargs):
        with ai_usage(section="chat"):
            key = str(args)
        return function(*args, **{**kwargs, "key": key})

    return wrapper


def own_manager(request):
    with tracked("chat"):
        return HttpResponse(client.responses.create(model="own_manager", input="Hi").output_text)


def own_manager_dead(request):
    with dead_branch():
        text = client.responses.create(model="own_manager_dead", input="Hi").output_text
    return HttpResponse(text)


def own_manager_closed(request):
    with closed_before_yield():
        text = client.responses.create(model="own_manager_closed", input="Hi").output_text
    return HttpResponse(text)


def own_manager_late(request):
    with opened_after_yield():
        text = client.responses.create(model="own_manager_late", input="Hi").output_text
    return HttpResponse(text)


async def own_async_manager(request):
    async with atracked():
        answer = await aclient.responses.create(model="own_async_manager", input="Hi")
    return HttpResponse(answer.output_text)


def own_manager_of_manager(request):
    with entered_in_helper():
        text = client.responses.create(model="own_manager_of_manager", input="Hi").output_text
    return HttpResponse(text)


def own_factory(request):
    with new_block():
        return HttpResponse(client.responses.create(model="own_factory", input="Hi").output_text)


def own_factory_without_section(request):
    with new_block_without_section(request.user):
        text = client.responses.create(model="own_factory_without_section", input="Hi").output_text
    return HttpResponse(text)


def own_class(request):
    with Tracked():
        return HttpResponse(client.responses.create(model="own_class", input="Hi").output_text)


def own_class_of_nothing(request):
    with Timed():
        text = client.responses.create(model="own_class_of_nothing", input="Hi").output_text
    return HttpResponse(text)


def own_subclass(request):
    with Metered():
        return HttpResponse(client.responses.create(model="own_subclass", input="Hi").output_text)


@Both()
def own_context_decorator(request):
    text = client.responses.create(model="own_context_decorator", input="Hi").output_text
    return HttpResponse(text)


@decorated
def own_decorator(request):
    return HttpResponse(client.responses.create(model="own_decorator", input="Hi").output_text)


@decorated_with("search")
def own_decorator_with_arguments(request):
    text = client.responses.create(model="own_decorator_with_arguments", input="Hi").output_text
    return HttpResponse(text)


@logged
def own_decorator_elsewhere(request, key):
    text = client.responses.create(model="own_decorator_elsewhere", input=key).output_text
    return HttpResponse(text)


@tracked("chat")
def manager_as_decorator(request):
    text = client.responses.create(model="manager_as_decorator", input="Hi").output_text
    return HttpResponse(text)


ask_wrapped = ai_usage(section="chat")(
    lambda text: client.responses.create(model="wrapped_lambda", input=text)
)


def wrapped_lambda(request):
    return HttpResponse(ask_wrapped("Hi").output_text)


def _wrapped_at_use():
    return client.responses.create(model="wrapped_at_use", input="Hi").output_text


def wrapped_at_use(request):
    return HttpResponse(ai_usage(section="chat")(_wrapped_at_use)())
