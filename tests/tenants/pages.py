"""Pages of a site with tenants. The section of each call is its tenant."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from functools import cache

from django.http import HttpRequest, HttpResponse
from django.urls import path

from tests.views import aask, ask
from usage_tracking import ai_usage


def name_of(request: HttpRequest) -> str:
    name = request.get_host().partition(".")[0]
    return name if name in ("one", "two") else "nobody"


def page_that_ignores_user(request: HttpRequest) -> HttpResponse:
    with ai_usage(section=name_of(request)):
        ask()
    return HttpResponse(str(os.getpid()))


def page_that_reads_user(request: HttpRequest) -> HttpResponse:
    assert request.user.is_authenticated
    return page_that_ignores_user(request)


@cache
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(2)


def in_a_pool(request: HttpRequest) -> HttpResponse:
    """Call in a thread that serves all tenants and belongs to none."""
    with ai_usage(section=name_of(request)):
        _pool().submit(ask).result()
    return HttpResponse(str(os.getpid()))


async def on_a_loop(request: HttpRequest) -> HttpResponse:
    with ai_usage(section=name_of(request)):
        await aask()
    return HttpResponse(str(os.getpid()))


urlpatterns = [
    path("plain/", page_that_ignores_user),
    path("looked/", page_that_reads_user),
    path("pool/", in_a_pool),
    path("loop/", on_a_loop),
]
