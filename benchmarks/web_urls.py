"""Views that make AI calls, and the API; every view is in a transaction unless it says not."""

from __future__ import annotations

from django.contrib.auth.models import User
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.urls import include, path

from tests.views import ask
from usage_tracking import track_ai_usage


def calls(request: HttpRequest) -> HttpResponse:
    """`?n=3` calls the provider three times; with `&load` after it has looked at its user."""
    if "load" in request.GET:
        _ = request.user.pk
    return HttpResponse(" ".join(ask().id for _ in range(int(request.GET["n"]))))


@transaction.non_atomic_requests
def free(request: HttpRequest) -> HttpResponse:
    """Touches no database, so that it can be visited while there is none."""
    return HttpResponse(ask().id)


def raising(request: HttpRequest) -> HttpResponse:
    ask()
    raise RuntimeError("the site's own mistake")


def rollback(request: HttpRequest) -> HttpResponse:
    with transaction.atomic():
        ask()
        transaction.set_rollback(True)
    return HttpResponse()


def read_call_write(request: HttpRequest) -> HttpResponse:
    user = User.objects.get(username="alice")
    ask()
    User.objects.filter(pk=user.pk).update(first_name=str(request.GET["n"]))
    return HttpResponse()


def handwritten(request: HttpRequest) -> HttpResponse:
    """What sites have that recorded their calls by hand before."""
    answer = ask()
    track_ai_usage(
        request.user,
        "chat",
        prompt_tokens=answer.usage.prompt_tokens,
        completion_tokens=answer.usage.completion_tokens,
        model_name=answer.model,
    )
    return HttpResponse(answer.id)


urlpatterns = [
    path("calls/", calls),
    path("free/", free),
    path("raising/", raising),
    path("rollback/", rollback),
    path("read_call_write/", read_call_write),
    path("handwritten/", handwritten),
    path("api/", include("usage_tracking.api.urls")),
]
