"""Test how much of the providers' bills the log has. Only stored bills are read."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping
from typing import Any

from django.db.models import Exists, Max, OuterRef, Q
from django.utils import timezone

from .. import conf
from ..billing.sources import title_of
from ..capture.keys import KEY_HINT, hint_of
from ..days import DayRange, aware, stored
from ..models import AIProviderBill, AIUsageLog
from ..reports import ProviderReconciliation, reconciliation, tenths
from .findings import Finding, Result, Thresholds, manage, note, ok, warning

_COMMAND = "reconcile_ai_usage"
_DAYS = 7
#: A bill that was last fetched longer ago is old.
_OLD = dt.timedelta(days=3)


def bills(using: str, limits: Thresholds) -> Result:
    """Test whether bills are fetched, and the share of the settled days of the last week."""
    return Result("Checking the providers' bills", tuple(_bills(using, limits)))


def _bills(using: str, limits: Thresholds) -> Iterator[Finding]:
    accounts = conf.billing()
    if not accounts:
        yield note("no_bills", "AI_USAGE_BILLING is not set: the log is not compared with bills")
        return
    now = aware(timezone.now()).astimezone(dt.UTC)
    days = DayRange.until(now.date(), _DAYS)
    fetched = _fetched(accounts, now, using)
    found = {}
    if fetched:
        compared = reconciliation(*days.ends(), by="day", providers=list(fetched), using=using)
        found = {each.provider: each for each in compared.providers}
    for provider in accounts:
        title = title_of(provider)
        if provider not in fetched:
            text = f"The bill of {title} was never fetched; let cron fetch it every day"
            yield warning("bill_never_fetched", text, manage(_COMMAND, using))
            continue
        last, makes_calls = fetched[provider]
        if now - last > _OLD:
            text = f"The bill of {title} was last fetched at {last:%F %H:%M} UTC"
            text += f", more than {_OLD.days} days ago; let cron fetch it every day"
            yield warning("bill_old", text, manage(_COMMAND, using))
        if provider in found:
            yield _share(title, found[provider], limits, using)
        if makes_calls:
            yield warning(
                "billing_key",
                f"In the last {_DAYS} days, calls were made with a key that ends like the admin "
                f"key of {title}",
                "Make calls with another key: an admin key is for the host that fetches bills.",
            )


def _fetched(
    accounts: Mapping[str, Mapping[str, Any]], now: dt.datetime, using: str
) -> dict[str, tuple[dt.datetime, bool]]:
    """Return when each bill was last fetched, and whether calls were made with the key of it."""
    hints = Q(pk__in=())  # none
    for provider, account in accounts.items():
        if hint := hint_of(account.get("key") or ""):
            hints |= Q(provider=provider, **{f"metadata__{KEY_HINT}": hint})
    calls = AIUsageLog.objects.using(using).filter(
        hints,
        provider=OuterRef("provider"),
        created_at__gte=stored(now - dt.timedelta(days=_DAYS)),
    )
    rows = (
        AIProviderBill.objects.using(using)
        .filter(provider__in=list(accounts))
        .order_by("provider")
        .values_list("provider")
        .annotate(last=Max("fetched_at"), makes_calls=Exists(calls))
    )
    return {
        provider: (aware(last).astimezone(dt.UTC), makes_calls)
        for provider, last, makes_calls in rows
    }


def _share(title: str, found: ProviderReconciliation, limits: Thresholds, using: str) -> Finding:
    settled = found.settled_days
    percent = found.settled.percent
    if percent is None:
        what = "the settled days have nothing to compare" if settled else "no day is settled"
        return note("bill_share", f"{title}: of the last {_DAYS} days, {what}")
    share = tenths(percent)
    span = f"on {settled[0]}" if len(settled) == 1 else f"from {settled[0]} to {settled[-1]}"
    text = f"{title}: the log has {share} % of what was billed {span}"
    if percent >= limits.min_captured:
        return ok("bill_share", text)
    fix = manage(f"{_COMMAND} --provider {found.provider}", using)
    return warning("bill_share", f"{text}, less than {limits.min_captured:g} %", fix)
