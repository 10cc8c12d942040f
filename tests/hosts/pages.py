from __future__ import annotations

import asyncio
import os
import threading
from typing import Any

import httpx2
import openai
from asgiref.sync import sync_to_async
from django.conf import settings
from django.contrib.auth.models import Group
from django.db import connection, transaction
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.urls import path

from tests.support.waiting import wait_for
from tests.views import aask, aask_for_stream, ask, ask_for_stream
from usage_tracking.delivery import delivery

ASKED: Any = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "Hello"}]}


async def _ask(**options: Any) -> str:
    async with httpx2.AsyncClient(**options) as http:
        client = openai.AsyncOpenAI(
            api_key="none", base_url=settings.OPENAI_URL, http_client=http, max_retries=0
        )
        return (await client.chat.completions.create(**ASKED)).id


def _ask_alone() -> str:
    """Call with a connection to the provider that no fork shares."""
    with httpx2.Client() as http:
        client = openai.OpenAI(
            api_key="none", base_url=settings.OPENAI_URL, http_client=http, max_retries=0
        )
        return client.chat.completions.create(**ASKED).id


def plain(request: HttpRequest) -> HttpResponse:
    return HttpResponse(ask().id)


async def plain_async(request: HttpRequest) -> HttpResponse:
    return HttpResponse((await aask()).id)


def stream(request: HttpRequest) -> StreamingHttpResponse:
    return StreamingHttpResponse(ask_for_stream())


async def stream_async(request: HttpRequest) -> StreamingHttpResponse:
    return StreamingHttpResponse(aask_for_stream())


def who(request: HttpRequest) -> HttpResponse:
    """A page that reads its user before the call."""
    return HttpResponse(f"{request.user}: {ask().id}")


def loop_in_a_sync_view(request: HttpRequest) -> HttpResponse:
    return HttpResponse(asyncio.run(_ask()))


async def beside_slow_code(request: HttpRequest) -> HttpResponse:
    """The slow code ends when the request to the provider is sent."""
    sent = threading.Event()

    async def note(_: httpx2.Request) -> None:
        sent.set()

    def slow() -> None:
        wait_for(sent, awaited="the request to the provider")

    answer, _ = await asyncio.gather(
        _ask(event_hooks={"request": [note]}), sync_to_async(slow, thread_sensitive=True)()
    )
    return HttpResponse(answer)


def fork(request: HttpRequest) -> HttpResponse:
    """Call in the parent and its child, while the parent reads from the database."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT 0")
    child = os.fork()
    if not child:
        try:
            _ask_alone()
            _ask_alone()
            delivery.stop()  # as at a regular process exit
        finally:
            os._exit(0)
    _ask_alone()
    read = []
    for number in range(100):
        with connection.cursor() as cursor:
            cursor.execute("SELECT %s", [number])
            read.append(cursor.fetchone()[0])
    _, status = os.waitpid(child, 0)
    return HttpResponse(f"{read == list(range(100))} {status}")


def in_a_transaction(request: HttpRequest) -> HttpResponse:
    """Write a group in a transaction that a failing query would break."""
    with transaction.atomic():
        if connection.vendor == "postgresql":
            with connection.cursor() as cursor:
                cursor.execute("SET LOCAL lock_timeout = '50ms'")
        Group.objects.create(name="before")
        ask()
        Group.objects.create(name="after")
    return HttpResponse("written")


urlpatterns = [
    path("plain/", plain),
    path("plain_async/", plain_async),
    path("stream/", stream),
    path("stream_async/", stream_async),
    path("who/", who),
    path("loop/", loop_in_a_sync_view),
    path("beside/", beside_slow_code),
    path("fork/", fork),
    path("transaction/", in_a_transaction),
]
