"""`reconcile_ai_usage`: fetch the bills, and say how much of them the log has."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any

import pytest
from freezegun import freeze_time

from tests.support.builders import save_log
from tests.support.commands import Ended, run_command
from usage_tracking.models import AIProviderBill

pytestmark = pytest.mark.django_db

NOW = dt.datetime(2026, 3, 14, 12, 0, tzinfo=dt.UTC)
TODAY = NOW.date()
KEY = "sk-admin-Qz7pL0vXeW3nT5yB"


@pytest.fixture(autouse=True)
def noon():
    with freeze_time(NOW):
        yield


@pytest.fixture(autouse=True)
def accounts(settings: Any) -> dict[str, Any]:
    settings.AI_USAGE_BILLING = {"openai": {"key": KEY}}
    return settings.AI_USAGE_BILLING


def ago(days: int) -> dt.date:
    return TODAY - dt.timedelta(days=days)


def bill(days_ago: int = 3, **changes: Any) -> AIProviderBill:
    """Store what was billed for ten calls."""
    values: dict[str, Any] = {
        "provider": "openai",
        "day": ago(days_ago),
        "family": "completions",
        "model_name": "gpt-4o",
        "requests": 10,
        "prompt_tokens": 1500,
        "completion_tokens": 800,
        "cost": Decimal("0.02"),
        "fetched_at": NOW,
    }
    return AIProviderBill.objects.create(**values | changes)


def calls(number: int, days_ago: int = 3, **changes: Any) -> None:
    for _ in range(number):
        save_log(created_at=NOW - dt.timedelta(days=days_ago), cost=Decimal("0.002"), **changes)


def reconcile(*arguments: str, **options: Any) -> Ended:
    return run_command("reconcile_ai_usage", *arguments, **options)


def test_show():
    bill()
    bill(1)
    bill(model_name="gpt-5", key_id="key_1", key_name="nightly", key_hint="Kf3A")
    calls(9)
    calls(10,1)
    for by in ("model","day","key"):
        ended = reconcile("--offline","--fail-under", "98", "--by", by)
        print(ended.code); print(ended.out); print(ended.err)
    print(reconcile("--offline", "--json", "--until", "2026-03-01").out)
    print(reconcile("--offline", "--until", "2026-03-01"))
    print(reconcile("--provider", "openia"))
    print(reconcile("--provider", "aws"))
