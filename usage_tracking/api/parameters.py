"""Query strings. A filter that is ignored shows wrong numbers: whatever is wrong is told."""

from __future__ import annotations

from collections.abc import Iterable

from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.settings import api_settings

from .fields import SectionField, WholeNumberField
from .schema import extend_schema_field

MAX_DAYS = 366


def check_names(request: Request, known: Iterable[str]) -> None:
    """Raises ValidationError for each parameter that is unknown, empty, or given more than once."""
    names = {*known, api_settings.URL_FORMAT_OVERRIDE}
    if request.version is not None:
        names.add(api_settings.VERSION_PARAM)
    errors = {}
    for name, values in request.query_params.lists():
        if name not in names:
            errors[name] = ["There is no such parameter."]
        elif len(values) > 1:
            errors[name] = ["Give it once."]
        elif not values[0].strip():
            errors[name] = ["Give it a value, or leave it out."]
    if errors:
        raise serializers.ValidationError(errors)


@extend_schema_field(SectionField)
class SectionCodeField(serializers.CharField):
    """Also a section that the setting has no more, but calls have: the view looks for them."""


class DaysParameters(serializers.Serializer[None]):
    days = WholeNumberField(
        from_text=True,
        default=30,
        min_value=1,
        max_value=MAX_DAYS,
        help_text="How many days, of which today is the last.",
    )


class StatsParameters(DaysParameters):
    section = SectionCodeField(
        required=False, max_length=50, help_text="Only the calls of this section."
    )
