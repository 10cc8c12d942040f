"""Query strings.

Every invalid parameter is an error: an ignored filter would return wrong totals.
"""

from __future__ import annotations

from collections.abc import Iterable

from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.settings import api_settings

from .fields import SectionField, WholeNumberField
from .schema import extend_schema_field

MAX_DAYS = 366


def check_names(request: Request, known: Iterable[str]) -> None:
    """Check that each parameter is known, not empty, and given once.

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
        elif len(values) > 1:
            errors[name] = ["This parameter may be given only once."]
        elif not values[0].strip():
            errors[name] = ["This parameter may not be empty."]
    if errors:
        raise serializers.ValidationError(errors)


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
