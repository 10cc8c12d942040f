"""`{% load ai_usage %}{% ai_usage_summary %}` shows a user's own month on any page."""

from __future__ import annotations

from typing import Any

from django import template
from django.template.context import Context

from ..models import today
from ..views import own_month

register = template.Library()


@register.inclusion_tag("usage_tracking/summary.html", takes_context=True)
def ai_usage_summary(context: Context) -> dict[str, Any]:
    """Show the current month of the logged-in user, in two statements.

    The user is `request.user`, or the context's `user` if there is no request. A visitor who is not
    logged in sees nothing and costs no statement.
    """
    request = context.get("request")
    user = getattr(request, "user", None) or context.get("user")
    if user is None or not user.is_authenticated:
        return {}
    return own_month(user, today().replace(day=1))
