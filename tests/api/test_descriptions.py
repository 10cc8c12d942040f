"""What the API says about itself is true: the root, OPTIONS and the browsable API."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import User
from rest_framework.test import APIClient

from tests.api.conftest import API, CLOSED, LOG_STATS, LOGS, OWN, REPORT, client_of, get
from tests.support.builders import save_log

pytestmark = pytest.mark.django_db

TRUSTED = {"user", "provider", "cost", "created_at", "idempotency_key"}


def options(by: Any, path: str) -> Any:
    response = client_of(by).options(path)
    assert response.status_code == 200
    return response.json()


def page(by: User, path: str) -> str:
    client = APIClient()
    client.force_login(by)
    response = client.get(path, HTTP_ACCEPT="text/html")
    assert response.status_code == 200
    return response.content.decode()


def test_root_links_every_endpoint(auditor: User):
    links = get(auditor, API).json()

    assert set(links.values()) == {f"http://testserver{path}" for path in (*OWN, *CLOSED)}
    assert links["report"] == f"http://testserver{REPORT}"
    assert {get(auditor, link).status_code for link in links.values()} == {200}


def test_root_takes_no_parameters(ada: User):
    assert get(ada, API, limit=1).status_code == 400


def test_root_is_a_page_too(ada: User):
    assert f'href="http://testserver{REPORT}"' in page(ada, API)


@pytest.mark.parametrize("path", [*OWN, *CLOSED, API])
def test_methods_are_those_that_work(auditor: User, path: str):
    response = client_of(auditor).options(path)
    allowed = {method.strip() for method in response["Allow"].split(",")}

    assert allowed == {"GET", "HEAD", "OPTIONS"} | ({"POST"} if path == LOGS else set())
    for method in {"POST", "PUT", "PATCH", "DELETE"} - allowed:
        for query in ("", "?format=json"):
            assert client_of(auditor).generic(method, path + query).status_code == 405
    if path == REPORT:
        assert client_of(auditor).post(f"{path}?format=csv").status_code == 405


@pytest.mark.parametrize("path", [*OWN, *CLOSED, API])
def test_formats_are_those_that_work(auditor: User, path: str):
    described = options(auditor, path)

    assert ("text/csv" in described["renders"]) == (path in (LOGS, REPORT))
    for media_type in described["renders"]:
        found = client_of(auditor).get(path, HTTP_ACCEPT=media_type)
        assert found["Content-Type"].partition(";")[0] == media_type
    assert described["parses"] == (["application/json"] if path == LOGS else [])


def test_fields_are_those_that_the_client_may_send(ada: User, worker: User):
    own = options(ada, LOGS)["actions"]["POST"]
    trusted = options(worker, LOGS)["actions"]["POST"]

    assert set(own) == {
        "section",
        "prompt_tokens",
        "completion_tokens",
        "response_time_ms",
        "success",
        "model_name",
        "error_message",
        "metadata",
    }
    assert set(own) | TRUSTED <= set(trusted)
    assert {name for name, field in trusted.items() if field["required"]} == {"section"}
    assert "actions" not in options(ada, REPORT)


def test_browsable_api_has_a_form_where_one_can_record(ada: User, worker: User):
    own, trusted = page(ada, LOGS), page(worker, LOGS)

    for html in (own, trusted):
        assert 'name="_content"' in html
        assert "&quot;section&quot;" in html
    assert "idempotency_key" not in own
    assert "idempotency_key" in trusted
    for path in (REPORT, LOG_STATS, API):
        assert 'name="_content"' not in page(ada, path)


def test_browsable_api_offers_csv(ada: User):
    save_log(user=ada)

    for path in (REPORT, LOGS):
        assert "?format=csv" in page(ada, path)
    assert "?format=csv" not in page(ada, LOG_STATS)


def test_filters_of_the_form_are_those_that_the_client_may_use(ada: User, auditor: User):
    assert 'name="user"' not in page(ada, LOGS)
    assert 'name="user"' in page(auditor, LOGS)
    for name in ("start", "end", "provider"):
        assert f'name="{name}"' in page(ada, LOGS)
