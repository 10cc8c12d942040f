"""Views that call a provider."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from functools import cache
from typing import Any

import django
import openai
from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.utils.decorators import method_decorator
from django.views import View

from usage_tracking import ai_section, ai_usage

MODEL = "gpt-4o-mini"
WITH_USAGE: Any = {"stream": True, "stream_options": {"include_usage": True}}


def ask(prompt: str = "Hello", **options: Any) -> Any:
    """Make one call with the openai SDK to the stub, in the current scope."""
    return _client(settings.OPENAI_URL).chat.completions.create(
        model=MODEL, messages=[{"role": "user", "content": prompt}], **options
    )


async def aask(prompt: str = "Hello", **options: Any) -> Any:
    async with _async_client() as client:
        return await client.chat.completions.create(
            model=MODEL, messages=[{"role": "user", "content": prompt}], **options
        )


def ask_for_stream(prompt: str = "Hello") -> Iterator[str]:
    with ask(prompt, **WITH_USAGE) as stream:
        for chunk in stream:
            if chunk.choices:
                yield chunk.choices[0].delta.content or ""


async def aask_for_stream(prompt: str = "Hello") -> AsyncIterator[str]:
    async with (
        _async_client() as client,
        await client.chat.completions.create(
            model=MODEL, messages=[{"role": "user", "content": prompt}], **WITH_USAGE
        ) as stream,
    ):
        async for chunk in stream:
            if chunk.choices:
                yield chunk.choices[0].delta.content or ""


@cache
def _client(url: str) -> openai.OpenAI:
    return openai.OpenAI(base_url=url, api_key="any", max_retries=0)


def _async_client() -> openai.AsyncOpenAI:
    # A new client for each call, because connections belong to the event loop that opens them.
    return openai.AsyncOpenAI(base_url=settings.OPENAI_URL, api_key="any", max_retries=0)


# The views of tests.urls.


def plain(request: HttpRequest) -> HttpResponse:
    ask()
    return HttpResponse("plain")


async def aplain(request: HttpRequest) -> HttpResponse:
    await aask()
    return HttpResponse("plain")


@ai_section("marketing_workflow")
def marked(request: HttpRequest) -> HttpResponse:
    return plain(request)


@ai_section("marketing_workflow")
async def amarked(request: HttpRequest) -> HttpResponse:
    return await aplain(request)


@ai_section("marketing_workflow")
def marked_and_scoped(request: HttpRequest) -> HttpResponse:
    with ai_usage(section="rag_pipeline"):
        return plain(request)


@ai_section("marketing_workflow")
async def amarked_and_scoped(request: HttpRequest) -> HttpResponse:
    async with ai_usage(section="rag_pipeline"):
        return await aplain(request)


class Marked(View):
    ai_section = "knowledge_qa"

    def get(self, request: HttpRequest) -> HttpResponse:
        return plain(request)


class AMarked(View):
    ai_section = "knowledge_qa"

    async def get(self, request: HttpRequest) -> HttpResponse:
        return await aplain(request)


@ai_section("session_memory")
class MarkedByDecorator(View):
    def get(self, request: HttpRequest) -> HttpResponse:
        return plain(request)


class Decorated(View):
    @method_decorator(ai_usage(section="web_knowledge"))
    def get(self, request: HttpRequest) -> HttpResponse:
        return plain(request)


#: Before 5.2, Django's own decorator makes an async method synchronous.
_async_method = method_decorator if django.VERSION >= (5, 2) else lambda decorator: decorator


class ADecorated(View):
    @_async_method(ai_usage(section="web_knowledge"))
    async def get(self, request: HttpRequest) -> HttpResponse:
        return await aplain(request)
