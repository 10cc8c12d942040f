"""Texts of users stay data, in JSON and in the HTML of the browsable API."""

from __future__ import annotations

import json
from itertools import product

import pytest
from django.contrib.auth.models import User
from freezegun import freeze_time
from rest_framework.authtoken.models import Token
from rest_framework.test import APIClient

from tests.api.conftest import GLOBAL, GLOBAL_LOG_STATS, LOG_STATS, LOGS, get, post
from tests.support.builders import NOON, make_user, rolled_back, save_log

pytestmark = pytest.mark.django_db

SCRIPT = "</script><script>alert(1)</script><img src=x onerror=alert(1)>"
ATTACKS = [
    SCRIPT,
    "'; DROP TABLE ai_usage_log; --",
    "%s %(x)s {0} {x}",
    '=HYPERLINK("http://x","y")',
    "@SUM(1+1)*cmd|' /C calc'!A0",
    "a\r\nSet-Cookie: session=stolen\r\n\r\n<html>",
    "\u202e\u2028\ufeff",
]


@pytest.mark.slow
def test_it_comes_back_as_it_was(subtests: pytest.Subtests):
    root = User.objects.create_superuser("root")
    for attack in ATTACKS:
        with subtests.test(attack), rolled_back():
            look(root, attack)


def look(root: User, attack: str) -> None:
    user = make_user(attack[:150], email="x@example.com")
    with freeze_time(NOON):
        save_log(
            user=user,
            section=attack[:50],
            model_name=attack[:100],
            error_message=attack,
            metadata={attack: attack},
            success=False,
        )
        answers = [get(root, path) for path in GLOBAL]
        own = get(user, LOGS, section=attack[:50].strip(), model=attack[:100].strip())

    row = answers[0].json()["recent_logs"][0]
    assert row["metadata"] == {attack: attack}
    assert (row["section"], row["model_name"]) == (attack[:50], attack[:100])
    assert list(answers[0].json()["by_section"]) == [attack[:50]]
    for answer in answers:
        assert answer["Content-Type"] == "application/json"
        assert answer.json()["top_users"][0]["user__username"] == attack[:150]
        assert not {"set-cookie", "location"} & {name.lower() for name in answer.headers}
    assert own.status_code in (200, 400)


def test_it_is_recorded_as_data(ada: User, subtests: pytest.Subtests):
    for attack in ATTACKS:
        with subtests.test(attack):
            response = post(
                ada,
                section="chat",
                model_name=attack[:100],
                error_message=attack,
                metadata={"text": attack},
                success=False,
            )

            assert response.status_code == 201
            assert get(ada, LOGS).json()["results"][0] == response.json()


def test_error_does_not_repeat_it(ada: User, subtests: pytest.Subtests):
    for path, attack in product([LOGS, LOG_STATS], ATTACKS):
        with subtests.test(attack, path=path):
            response = get(ada, path, section=attack)

            assert (response.status_code, list(response.json())) == (400, ["section"])
            assert attack not in response.content.decode()


def test_name_of_a_parameter_is_data_too(ada: User):
    response = get(ada, LOGS, **{SCRIPT: "1"})

    assert (response.status_code, response["Content-Type"]) == (400, "application/json")
    assert list(response.json()) == [SCRIPT]


def test_links_to_other_pages_quote_it(ada: User):
    for _ in range(2):
        save_log(user=ada, model_name=SCRIPT)

    answer = get(ada, LOGS, model=SCRIPT, limit=1)

    assert answer.json()["count"] == 2
    assert "<" not in answer.json()["next"]


@pytest.mark.slow
@pytest.mark.parametrize("path", [LOGS, GLOBAL_LOG_STATS])
def test_browsable_api_shows_it_as_text(path: str):
    root = User.objects.create_superuser("root")
    with freeze_time(NOON):
        log = save_log(
            user=root,
            section=SCRIPT[:50],
            model_name=SCRIPT,
            error_message=SCRIPT,
            metadata={"text": SCRIPT},
        )
        client = APIClient(HTTP_AUTHORIZATION=f"Bearer {Token.objects.create(user=root).key}")
        page = client.get(path, HTTP_ACCEPT="text/html")

    assert (page.status_code, page["Content-Type"]) == (200, "text/html; charset=utf-8")
    html = page.content.decode()
    assert str(log.pk) in html
    assert "<script>alert" not in html
    assert "<img src=x" not in html
    assert json.dumps(SCRIPT) not in html


@pytest.mark.parametrize("apps", ["with django_filters", "without"])
def test_browsable_api_has_its_form_if_it_can(ada: User, settings, apps: str):
    if apps == "without":
        settings.INSTALLED_APPS = [x for x in settings.INSTALLED_APPS if x != "django_filters"]
    client = APIClient()
    client.force_login(ada)

    page = client.get(LOGS, HTTP_ACCEPT="text/html")

    assert page.status_code == 200
    assert ('name="start_date"' in page.content.decode()) == (apps == "with django_filters")
