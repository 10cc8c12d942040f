"""Sites with recorded calls, healthy or not, for diagnostic commands."""

from __future__ import annotations

import datetime as dt
import os
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

from django.contrib.auth.models import User
from django.utils import timezone

from tests.support.builders import make_log
from tests.support.children import ROOT
from tests.support.commands import Ended
from tests.support.waiting import run
from usage_tracking.events import REPORTED
from usage_tracking.models import AIUsageLog, AIUsageTracking


def make_calls(of: User | None, number: int = 20, *, minutes: float = 5, **changes: Any) -> None:
    """Save `number` successful calls of user `of`, made `minutes` minutes ago."""
    values: dict[str, Any] = {
        "user": of,
        "usage_source": REPORTED,
        "cost": Decimal("0.001"),
        "created_at": timezone.now() - dt.timedelta(minutes=minutes),
    }
    AIUsageLog.objects.bulk_create([make_log(**values | changes) for _ in range(number)])


def tables() -> list[list[dict[str, Any]]]:
    """Return the content of both tables."""
    models: list[Any] = [AIUsageLog, AIUsageTracking]
    return [list(model.objects.order_by("pk").values()) for model in models]


def manage(*arguments: str, env: dict[str, str], directory: Path = ROOT) -> Ended:
    """Run a management command in a child process and capture its output."""
    ended = run(
        [sys.executable, "-m", "django", *arguments],
        cwd=directory,
        env=os.environ | {"PYTHONPATH": str(ROOT)} | env,
    )
    return Ended(ended.returncode, ended.stdout, ended.stderr)
