"""The panel of the dashboard that compares the stored bills with the log."""

from __future__ import annotations

import datetime as dt
import shlex
from collections.abc import Sequence
from dataclasses import replace

from django.db import router
from django.utils.translation import gettext as _

from .. import conf
from ..days import DayRange
from ..models import AIProviderBill, AIUsageLog
from ..pages.billed import BilledPanel, billed_providers
from ..pages.formatting import day_text
from ..reports import reconciliation
from .dashboard_query import Query

#: The longest period whose bills are compared, because it reads the calls of the period again.
MOST_DAYS = 92


def billed_panel(query: Query, now: dt.datetime) -> BilledPanel | None:
    """Return the panel, in three statements at most, and in one if no bill is stored.

    It is None if a filter is set that bills do not know; or if there is no bill, and this host has
    no account to fetch one.
    """
    provider = query.filters.get("provider")
    if query.user_text or set(query.names) - {"provider"} or provider == "":
        return None
    first, last = query.days.ends()
    today = now.astimezone(dt.UTC).date()
    last = min(last, today)
    if first > last:
        return None
    days = DayRange(first, last)
    panel = BilledPanel(day_text(days))
    accounts = [name for name in conf.billing() or () if provider in (None, name)]
    if (last - first).days >= MOST_DAYS:
        if not accounts and not _has_bill(days, provider):
            return None
        text = _("Choose a period of at most %(n)d days to compare the log with the bills.")
        return replace(panel, note=text % {"n": MOST_DAYS})
    found = billed_providers(
        reconciliation(first, last, providers=None if provider is None else [provider])
    )
    missing = sorted({*accounts} - {each.provider for each in found})
    if not found and not missing:
        return None
    panel = replace(panel, providers=found)
    if not missing:
        return panel
    text = _("No bill of %(providers)s was fetched for these days.")
    return replace(
        panel,
        note=text % {"providers": ", ".join(missing)},
        command=_command(missing, days, today),
    )


def _command(missing: Sequence[str], days: DayRange, today: dt.date) -> str:
    """Return the command that fetches the missing bills."""
    first, last = days.ends()
    words = ["python", "manage.py", "reconcile_ai_usage", "--days", str((last - first).days + 1)]
    if last != today:
        words += ["--until", str(last)]
    if len(missing) == 1:
        words += ["--provider", missing[0]]
    return shlex.join(words)


def _has_bill(days: DayRange, provider: str | None) -> bool:
    rows = AIProviderBill.objects.using(router.db_for_read(AIUsageLog))
    rows = rows.filter(day__range=days.ends())
    return (rows if provider is None else rows.filter(provider=provider)).exists()
