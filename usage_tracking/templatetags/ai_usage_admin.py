"""For the templates of our admin."""

from __future__ import annotations

from django import template

from ..admin.calendar import Step
from ..admin.changelist import UncountedChangeList

register = template.Library()


@register.simple_tag
def calendar_url(cl: UncountedChangeList, step: Step) -> str:
    """The query string of the list `cl` for the days of `step`."""
    return cl.calendar_url(step.days.parameters)
