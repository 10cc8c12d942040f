"""Views that make AI calls, and the API. Views run in a transaction by default."""

from __future__ import annotations

from django.contrib.auth.models import User
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.urls import include, path

from tests.views import ask
from usage_tracking import track_ai_usage


def calls(request: HttpRequest) -> HttpResponse:
    """Call the provider `n` times, after loading the user if the query has `load`."""
    if "load" in request.GET:
        _ = request.user.pk
    return HttpResponse(" ".join(ask().id for _ in range(int(request.GET["n"]))))


@transaction.non_atomic_requests
def free(_request: HttpRequest) -> HttpResponse:
    """Make a call without using the database, so that it works during an outage."""
    return HttpResponse(ask().id)


def raising(_request: HttpRequest) -> HttpResponse:
    """Make a call, then raise."""
    ask()
    raise RuntimeError("an error of the site")


def rollback(_request: HttpRequest) -> HttpResponse:
    """Make a call in a transaction that rolls back."""
    with transaction.atomic():
        ask()
        transaction.set_rollback(True)
    return HttpResponse()


def read_call_write(request: HttpRequest) -> HttpResponse:
    """Read, make a call and write in one transaction."""
    user = User.objects.get(username="alice")
    ask()
    User.objects.filter(pk=user.pk).update(first_name=str(request.GET["n"]))
    return HttpResponse()


def handwritten(request: HttpRequest) -> HttpResponse:
    """Make a call and also record it by hand."""
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
