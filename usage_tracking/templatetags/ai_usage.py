"""`{% load ai_usage %}{% ai_usage_summary %}` shows a user's own month on any page."""

from __future__ import annotations

import datetime as dt
from typing import Any

from django import template
from django.template.context import Context

from ..pages.own import own_month
from ..views import month_of

register = template.Library()


@register.inclusion_tag("usage_tracking/summary.html", takes_context=True)
def ai_usage_summary(
    context: Context,
    month: str | dt.date | None = None,
    *,
    show_cost: bool = True,
    heading: int = 2,
    limit: int | None = None,
) -> dict[str, Any]:
    """Show a month of the logged-in user, in two statements.

    The user is `request.user`, or the context's `user` if there is no request. A visitor who is not
    logged in sees nothing and costs no statement.

    Args:
        context: The context of the page.
        month: A text such as "2026-03", which may be from a query string, or a day in the month; ""
            or None for the current month.
        show_cost: Whether to show costs.
        heading: The level of the heading, from 1 to 6.
        limit: How many sections to list; the others share one line. None lists all.

    Raises:
        Http404: `month` is not a month, or is in the future.
        ValueError: `heading` or `limit` is invalid.
    """
    request = context.get("request")
    user = getattr(request, "user", None) or context.get("user")
    if user is None or not user.is_authenticated:
        return {}
    return own_month(user, month_of(month), show_cost=show_cost, heading=heading, limit=limit)
