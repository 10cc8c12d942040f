"""Tags for the admin templates of this package."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django import template

if TYPE_CHECKING:
    # Django imports every tag library when it checks a site, and the site may have no admin.
    from ..admin.calendar import CalendarLink
    from ..admin.changelist import UncountedChangeList

register = template.Library()


@register.simple_tag
def calendar_url(cl: UncountedChangeList, link: CalendarLink) -> str:
    """Return the query string of the list `cl` for the days of `link`."""
    return cl.calendar_url(link.days.parameters)
