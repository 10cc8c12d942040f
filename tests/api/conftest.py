from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.core.cache import cache
from rest_framework.test import APIClient

# Import them before time is frozen: REST framework's throttles keep the `time.time` they find.
from rest_framework.throttling import BaseThrottle as BaseThrottle

from tests.support.builders import make_user

API = "/api/v1/ai/"
LOGS = f"{API}usage/logs/"
LOG_STATS = f"{API}usage/logs/stats/"
GLOBAL_LOG_STATS = f"{API}usage/logs/global/"
STATS = f"{API}usage/stats/"
GLOBAL_STATS = f"{API}usage/global/"
REPORT = f"{API}usage/report/"
RECONCILIATION = f"{API}usage/reconciliation/"
#: The pages of the user's own calls, and of all calls.
OWN = (LOGS, LOG_STATS, STATS, REPORT)
GLOBAL = (GLOBAL_LOG_STATS, GLOBAL_STATS)
#: The pages that need the permission to see all calls.
CLOSED = (*GLOBAL, RECONCILIATION)


@pytest.fixture(autouse=True)
def _no_request_was_made_before() -> None:
    cache.clear()  # throttles count in it


@pytest.fixture
def ada(db: None) -> User:
    return make_user("ada", email="ada@example.com")


@pytest.fixture
def bob(db: None) -> User:
    return make_user("bob", email="bob@example.com")


@pytest.fixture
def auditor(db: None) -> User:
    """Staff with the permission to see all calls."""
    user = make_user("auditor", is_staff=True)
    user.user_permissions.add(Permission.objects.get(codename="view_aiusagelog"))
    return user


@pytest.fixture
def worker(db: None) -> User:
    """A client that may record calls of all users."""
    user = make_user("worker")
    user.user_permissions.add(Permission.objects.get(codename="add_aiusagelog"))
    return user


def client_of(user: Any) -> APIClient:
    client = APIClient()
    if user is not None:
        client.force_authenticate(user)
    return client


def get(by: Any, /, path: str, **parameters: Any) -> Any:
    return client_of(by).get(path, parameters)


def post(by: Any, /, **body: Any) -> Any:
    return client_of(by).post(LOGS, body, format="json")


def raw(by: Any, path: str, query: str, **headers: Any) -> Any:
    """Request a query string as it is written."""
    return client_of(by).get(f"{path}?{query}", **headers)
