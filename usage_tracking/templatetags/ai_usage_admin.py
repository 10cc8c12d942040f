"""Tags for the admin templates of this package."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django import template
from django.template.context import Context
from django.utils.http import urlencode

if TYPE_CHECKING:
    # Django imports every tag library when it checks a site, and the site may have no admin.
    from ..admin.calendar import CalendarLink
    from ..admin.changelist import UncountedChangeList

register = template.Library()


@register.simple_tag
def calendar_url(cl: UncountedChangeList, link: CalendarLink) -> str:
    """Return the query string of the list `cl` for the days of `link`."""
    return cl.url_of(link.days)


@register.simple_tag(takes_context=True)
def dashboard_url(context: Context) -> str:
    """Return the dashboard of the admin site of the page.

    It is "" if the site has no dashboard, or the visitor may not view it.
    """
    request = context.get("request") or getattr(context, "request", None)
    if request is None:
        return ""
    from ..admin.dashboard_entry import dashboard_url_of

    return dashboard_url_of(request)


@register.simple_tag(takes_context=True)
def usage_url(context: Context, user: Any) -> str:
    """Return the URL of the dashboard of `user` in the admin site of the page.

    It is "" if the site has no dashboard, or the visitor may not view it.
    """
    url = dashboard_url(context)
    return f"{url}?{urlencode({'user': user.pk})}" if url and user is not None else ""


@register.simple_tag
def admin_theme() -> str:
    """Return the app of the admin's theme, or an empty text for Django's own."""
    from ..admin.themes import theme

    return theme()
