"""ETags: a client that has the answer is told so, and gets no other user's."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import User
from freezegun import freeze_time
from rest_framework.authtoken.models import Token
from rest_framework.test import APIClient

from tests.api.conftest import API, CLOSED, GLOBAL, LOGS, OWN, REPORT, client_of, post
from tests.support.builders import NOON, save_log

pytestmark = pytest.mark.django_db


def get(by: Any, path: str, **parameters: Any) -> Any:
    return at_noon(client_of(by).get, path, parameters)


def again(by: Any, path: str, tag: str, **more: Any) -> Any:
    return at_noon(client_of(by).get, path, HTTP_IF_NONE_MATCH=tag, **more)


def at_noon(request: Any, *arguments: Any, **keywords: Any) -> Any:
    with freeze_time(NOON):
        return request(*arguments, **keywords)


@pytest.mark.parametrize("path", [*OWN, *CLOSED, API])
def test_same_answer_is_not_sent_again(auditor: User, path: str):
    save_log(user=auditor)
    first = get(auditor, path)

    second = again(auditor, path, first["ETag"])

    assert (second.status_code, second.content) == (304, b"")
    assert (second["ETag"], second["Cache-Control"]) == (first["ETag"], first["Cache-Control"])
    for tag in (f"W/{first['ETag']}", f'"x", {first["ETag"]}', "*"):
        assert again(auditor, path, tag).status_code == 304
    for tag in ('"x"', "x", ""):
        assert again(auditor, path, tag).content == first.content


@pytest.mark.parametrize("path", [*OWN, *GLOBAL])
def test_new_call_changes_the_answer(auditor: User, path: str):
    tag = get(auditor, path)["ETag"]
    save_log(user=auditor)

    response = again(auditor, path, tag)

    assert response.status_code == 200
    assert response["ETag"] != tag


def test_one_call_has_a_tag(ada: User):
    path = f"{LOGS}{save_log(user=ada).pk}/"

    assert again(ada, path, get(ada, path)["ETag"]).status_code == 304


def test_tag_is_that_of_the_format(ada: User):
    save_log(user=ada)
    tag = get(ada, REPORT)["ETag"]

    assert again(ada, REPORT, tag, HTTP_ACCEPT="text/csv").status_code == 200
    assert "Accept" in get(ada, REPORT)["Vary"]


def test_tag_opens_nothing(ada: User, bob: User):
    save_log(user=ada)
    tag = get(ada, REPORT)["ETag"]

    assert again(None, REPORT, tag).status_code == 401
    assert again(bob, REPORT, tag).status_code == 200
    assert again(ada, f"{REPORT}?user=all", "*").status_code == 403


def test_errors_records_and_pages_have_none(ada: User):
    assert "ETag" not in get(ada, REPORT, start="x")
    assert "ETag" not in post(ada, section="chat")
    page = client_of(ada).get(REPORT, HTTP_ACCEPT="text/html")
    assert "ETag" not in page
    for response in (get(ada, REPORT, start="x"), page):
        assert "no-store" in response["Cache-Control"]


def test_head_has_the_tag_of_get(ada: User):
    assert at_noon(client_of(ada).head, REPORT)["ETag"] == get(ada, REPORT)["ETag"]


def test_with_djangos_own_middleware(ada: User, settings):
    settings.MIDDLEWARE = [
        "django.middleware.gzip.GZipMiddleware",
        "django.middleware.http.ConditionalGetMiddleware",
        *settings.MIDDLEWARE,
    ]
    for _ in range(3):
        save_log(user=ada)
    token = Token.objects.create(user=ada).key
    client = APIClient(HTTP_AUTHORIZATION=f"Bearer {token}", HTTP_ACCEPT_ENCODING="gzip")
    first = client.get(LOGS)

    assert first["ETag"].startswith("W/")  # compressed, so no longer the same bytes
    assert client.get(LOGS, HTTP_IF_NONE_MATCH=first["ETag"]).status_code == 304
