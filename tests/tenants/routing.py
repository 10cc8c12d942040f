"""A thread-based router, as sites with a database per tenant write it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import local
from typing import Any

from asgiref.local import Local
from django.http import HttpRequest, HttpResponse

#: `asgiref.local.Local` for a site with asynchronous views.
_active: Any = Local() if os.environ.get("ASGI") else local()


def tenant() -> str | None:
    return getattr(_active, "tenant", None)


@contextmanager
def active(name: str) -> Iterator[None]:
    _active.tenant = name
    try:
        yield
    finally:
        _active.tenant = None


class Router:
    def db_for_read(self, model: Any, **hints: Any) -> str | None:
        return tenant()

    db_for_write = db_for_read

    def allow_relation(self, *_: Any, **hints: Any) -> bool:
        return True


class TenantMiddleware:
    """Use the first label of the host as the tenant. Other hosts have no tenant."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        name = request.get_host().partition(".")[0]
        if name not in ("one", "two"):
            return self.get_response(request)
        with active(name):
            return self.get_response(request)
