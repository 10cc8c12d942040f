"""For the templates of our admin."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django import template

if TYPE_CHECKING:
    # Django imports every library of tags when it checks a site, which may have no admin.
    from ..admin.calendar import Step
    from ..admin.changelist import UncountedChangeList

register = template.Library()


@register.simple_tag
def calendar_url(cl: UncountedChangeList, step: Step) -> str:
    """The query string of the list `cl` for the days of `step`."""
    return cl.calendar_url(step.days.parameters)
