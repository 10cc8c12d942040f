"""The sums over the rows that match the filters of a list, on all of its pages."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from django.db.models import Count, Q, QuerySet, Sum
from django.utils.translation import gettext as _

from ..models import AIUsageLog, AIUsageTracking
from ..pages.formatting import average_text, cost_text, count, number_text, share, tokens_text
from ..querysets import UNPRICED
from ..reports import Totals


@dataclass(frozen=True, slots=True)
class Figure:
    """One sum with its label, as text."""

    label: str
    value: str
    detail: str = ""


def totals_of_logs(logs: QuerySet[AIUsageLog]) -> Totals:
    """Add up `logs`, in one statement."""
    return _totals(
        logs,
        calls=Count("pk"),
        failures=Count("pk", filter=Q(success=False)),
        prompt_tokens=Sum("prompt_tokens"),
        completion_tokens=Sum("completion_tokens"),
        total_tokens=Sum("total_tokens"),
        cost=Sum("cost"),
        response_time_ms=Sum("response_time_ms"),
        unpriced=Count("pk", filter=UNPRICED),
    )


def totals_of_daily_rows(rows: QuerySet[AIUsageTracking]) -> Totals:
    """Add up `rows`, in one statement. They do not say how many calls are unpriced."""
    return _totals(
        rows,
        calls=Sum("total_requests"),
        failures=Sum("failed_requests"),
        prompt_tokens=Sum("total_prompt_tokens"),
        completion_tokens=Sum("total_completion_tokens"),
        total_tokens=Sum("total_tokens"),
        cost=Sum("total_cost"),
        response_time_ms=Sum("total_response_time_ms"),
    )


def figures_of(totals: Totals) -> Iterator[Figure]:
    """Yield the sums to show of `totals`."""
    yield Figure(_("Calls"), count(totals.calls))
    yield Figure(_("Failed"), count(totals.failures), share(totals.failures, totals.calls))
    parts = _("%(prompt)s prompt + %(completion)s completion") % {
        "prompt": number_text(totals.prompt_tokens),
        "completion": number_text(totals.completion_tokens),
    }
    yield Figure(_("Tokens"), tokens_text(totals), parts if totals.total_tokens else "")
    unpriced = _("without %(n)s unpriced") % {"n": count(totals.unpriced)}
    yield Figure(_("Cost"), cost_text(totals), unpriced if totals.unpriced else "")
    if average := average_text(totals):
        yield Figure(_("Average time"), average)


def _totals(rows: QuerySet[Any], **sums: Any) -> Totals:
    # An alias must not be the name of a column that another sum reads.
    aliases = {f"sum_{name}": each for name, each in sums.items()}
    added = rows.order_by().aggregate(**aliases)
    found = {name: added[f"sum_{name}"] for name in sums}
    if not found["calls"]:
        return Totals()
    cost: Decimal | None = found.pop("cost")
    # PostgreSQL's SUM of bigints is a numeric, which comes as a Decimal.
    whole: dict[str, Any] = {
        name: None if value is None else int(value) for name, value in found.items()
    }
    return Totals(**whole, cost=cost)
