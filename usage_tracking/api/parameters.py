"""Query strings.

Every invalid parameter is an error: an ignored filter would return wrong totals.
"""

from __future__ import annotations

from collections.abc import Container, Iterable
from typing import Any

from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.settings import api_settings

from ..reports import DIMENSIONS, Bound, Selection
from .fields import BoundField, SectionField, WholeNumberField
from .schema import extend_schema_field

MAX_DAYS = 366
#: The value of `user` that asks for the calls of all users.
ALL_USERS = "all"
START_HELP = "First day, in AI_USAGE_DAY_TIMEZONE; or first moment, with its offset from UTC."
USER_HELP = (
    "Primary key of a user, or `all`: all users and calls without a user. By default your own "
    "calls. Those of others need the permission usage_tracking.view_aiusagelog."
)
CURSOR_HELP = "Where the page begins: the cursor in `next` of the page before, or `*`."


def check_names(request: Request, known: Iterable[str], *, lists: Container[str] = ()) -> None:
    """Check that each parameter is known, not empty, and given once unless it is one of `lists`.

    Raises:
        ValidationError: It names each parameter that is not.
    """
    names = {*known, api_settings.URL_FORMAT_OVERRIDE}
    if request.version is not None:
        names.add(api_settings.VERSION_PARAM)
    errors = {}
    for name, values in request.query_params.lists():
        if name not in names:
            errors[name] = ["Unknown parameter."]
        elif len(values) > 1 and name not in lists:
            errors[name] = ["This parameter may be given only once."]
        elif not values[0].strip():
            errors[name] = ["This parameter may not be empty."]
    if errors:
        raise serializers.ValidationError(errors)


def check_order(start: Bound | None, end: Bound | None) -> None:
    """Check that a period does not end before it starts.

    Raises:
        ValidationError: It does.
    """
    if start is None or end is None:
        return
    try:
        Selection(start, end)
    except ValueError:
        reason = f"The end, {end.isoformat()}, is before the start, {start.isoformat()}."
        raise serializers.ValidationError({"end": [reason]}) from None


@extend_schema_field(SectionField)
class SectionCodeField(serializers.CharField):
    """The code of a section. The view also accepts one that only calls have."""


class DaysParameters(serializers.Serializer[None]):
    """The query parameters of the totals from daily rows."""

    days = WholeNumberField(
        from_text=True,
        default=30,
        min_value=1,
        max_value=MAX_DAYS,
        help_text="Number of days, up to and including today.",
    )


class StatsParameters(DaysParameters):
    """The query parameters of the totals from the log."""

    section = SectionCodeField(
        required=False, max_length=50, help_text="Code of the only section to add up."
    )


class GroupByField(serializers.CharField):
    """Names of dimensions, separated by commas."""

    default_error_messages = {
        "unknown": f"Give one or more of {', '.join(DIMENSIONS)}, separated by commas.",
        "twice": "Each name may be given only once.",
    }

    def to_internal_value(self, data: Any) -> Any:
        """Return a list of the names."""
        names = [name.strip() for name in super().to_internal_value(data).split(",")]
        if not set(names) <= set(DIMENSIONS):
            self.fail("unknown")
        if len(set(names)) < len(names):
            self.fail("twice")
        return names


class ReportParameters(serializers.Serializer[None]):
    """The query parameters of the report."""

    start = BoundField(
        required=False,
        help_text=START_HELP,
    )
    end = BoundField(
        required=False,
        help_text="Last day, inclusive, by default today; or the moment before which to stop.",
    )
    group_by = GroupByField(
        required=False,
        help_text="What each line adds up, by default `day`: names separated by commas.",
    )
    user = serializers.CharField(required=False, max_length=255, help_text=USER_HELP)
    section = SectionCodeField(required=False, max_length=50, help_text="Code of the section.")
    model = serializers.CharField(
        required=False, max_length=100, help_text="Exact name of the model."
    )
    provider = serializers.CharField(
        required=False, max_length=50, help_text="Exact name of the provider."
    )
    cursor = serializers.CharField(required=False, help_text=CURSOR_HELP)
    limit = WholeNumberField(
        from_text=True,
        default=1_000,
        min_value=1,
        max_value=10_000,
        help_text="Number of lines to return.",
    )
