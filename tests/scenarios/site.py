"""Views with interleaved calls. `q` is the prompt, which identifies calls in the journal.

`SECTIONS` maps each view to the expected section of its calls.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from asgiref.sync import sync_to_async
from django.contrib.auth.models import User
from django.db import transaction
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.urls import path
from rest_framework.authentication import BaseAuthentication
from rest_framework.decorators import api_view, authentication_classes
from rest_framework.response import Response

from tests.support.waiting import wait_until
from tests.views import aask, aask_for_stream, ask, ask_for_stream
from usage_tracking import ai_section, ai_usage
from usage_tracking.attribution import resolve

#: The number of calls of views that do not make exactly one.
CALLS = {"fanout": 3, "gather": 3}
SECTIONS = {
    "sync": "chat",
    "async": "prompt_generation",
    "stream": "marketing_workflow",
    "astream": "knowledge_qa",
    "raising": "product_recommendation",
    "rollback": "rag_pipeline",
    "token": "web_knowledge",
    "fanout": "session_memory",
    "gather": "intent_detection",
    "to_thread": "embedding_generation",
    "signup": "chat",
    "outlive": "rag_pipeline",
    "free": "other",
}


class UsernameAuthentication(BaseAuthentication):
    """Like token authentication: only Django REST framework knows the user."""

    def authenticate(self, request: Any) -> tuple[User, None] | None:
        scheme, _, name = request.headers.get("Authorization", "").partition(" ")
        return (User.objects.get(username=name), None) if scheme == "Name" else None


@ai_section("chat")
def sync_view(request: HttpRequest) -> HttpResponse:
    return HttpResponse(ask(request.GET["q"]).id)


@transaction.non_atomic_requests
@ai_section("prompt_generation")
async def async_view(request: HttpRequest) -> HttpResponse:
    answer = await aask(request.GET["q"])
    return HttpResponse(answer.id)


@ai_section("marketing_workflow")
def stream(request: HttpRequest) -> StreamingHttpResponse:
    return StreamingHttpResponse(ask_for_stream(request.GET["q"]))


@transaction.non_atomic_requests
async def astream(request: HttpRequest) -> StreamingHttpResponse:
    async def body() -> Any:
        async with ai_usage(section="knowledge_qa"):
            async for text in aask_for_stream(request.GET["q"]):
                yield text

    return StreamingHttpResponse(body())


@ai_section("product_recommendation")
def raising(request: HttpRequest) -> HttpResponse:
    User.objects.create(username=f"gone with {request.GET['q']}")
    ask(request.GET["q"])
    raise RuntimeError("the site's own mistake")


def rollback(request: HttpRequest) -> HttpResponse:
    with transaction.atomic(), ai_usage(section="rag_pipeline"):
        User.objects.create(username=f"gone with {request.GET['q']}")
        answer = ask(request.GET["q"])
        transaction.set_rollback(True)
    return HttpResponse(answer.id)


@ai_section("web_knowledge")
@api_view(["GET"])
@authentication_classes([UsernameAuthentication])
def token(request: Any) -> Response:
    return Response(ask(request.GET["q"]).id)


@ai_section("session_memory")
def fanout(request: HttpRequest) -> HttpResponse:
    prompts = [f"{request.GET['q']} {n}" for n in range(3)]
    with ThreadPoolExecutor(3) as executor:
        answers = list(executor.map(ask, prompts))
    return HttpResponse(" ".join(answer.id for answer in answers))


@transaction.non_atomic_requests
@ai_section("intent_detection")
async def gather(request: HttpRequest) -> HttpResponse:
    answers = await asyncio.gather(*(aask(f"{request.GET['q']} {n}") for n in range(3)))
    return HttpResponse(" ".join(answer.id for answer in answers))


@transaction.non_atomic_requests
@ai_section("embedding_generation")
async def to_thread(request: HttpRequest) -> HttpResponse:
    answer = await sync_to_async(ask)(request.GET["q"])
    return HttpResponse(answer.id)


def signup(request: HttpRequest) -> HttpResponse:
    """Call for a user whose row is not committed yet."""
    user = User.objects.create(username=f"new {request.GET['q']}")
    with ai_usage(section="chat", user=user):
        answer = ask(request.GET["q"])
    time.sleep(0.3)  # keeps the transaction open while others are served
    return HttpResponse(answer.id)


@ai_section("rag_pipeline")
def outlive(request: HttpRequest) -> HttpResponse:
    _ = request.user.pk  # like a view that uses the user
    prompt = request.GET["q"]  # uWSGI clears a request after the response
    unit = resolve.attribution().unit

    def later() -> None:
        wait_until(lambda: not unit.open, awaited="the end of the request")
        ask(prompt)

    threading.Thread(target=later).start()
    return HttpResponse("")


@transaction.non_atomic_requests
def free(request: HttpRequest) -> HttpResponse:
    """Call without a query, for tests without a database."""
    return HttpResponse(ask(request.GET["q"]).id)


@transaction.non_atomic_requests
def slow_stream(request: HttpRequest) -> StreamingHttpResponse:
    return StreamingHttpResponse(ask_for_stream(request.GET["q"]))


@transaction.non_atomic_requests
async def slow_astream(request: HttpRequest) -> StreamingHttpResponse:
    return StreamingHttpResponse(aask_for_stream(request.GET["q"]))


VIEWS: dict[str, Callable[..., Any]] = {
    "sync": sync_view,
    "async": async_view,
    "stream": stream,
    "astream": astream,
    "raising": raising,
    "rollback": rollback,
    "token": token,
    "fanout": fanout,
    "gather": gather,
    "to_thread": to_thread,
    "signup": signup,
    "outlive": outlive,
    "free": free,
    "slow_stream": slow_stream,
    "slow_astream": slow_astream,
}
urlpatterns = [path(f"{name}/", view) for name, view in VIEWS.items()]
