"""The filters of the list of calls."""

from __future__ import annotations

import datetime as dt
from typing import Any

from django import forms
from django.apps import apps
from django.db.models import QuerySet
from django_filters import rest_framework as filters
from rest_framework import serializers

from .. import conf
from ..models import AIUsageLog
from ..reports import from_day, to_day
from .fields import NO_NUL, NO_SUCH_SECTION, SectionField
from .schema import extend_schema_field


class LogFilterBackend(filters.DjangoFilterBackend):
    """The backend of django-filter, also for sites that do not install its app."""

    def to_html(self, *args: Any) -> str:
        """Return the form of the browsable API; its template is in django-filter's app."""
        html: str = super().to_html(*args) if apps.is_installed("django_filters") else ""
        return html

    def get_schema_operation_parameters(self, view: Any) -> list[dict[str, Any]]:
        """Describe the parameters to REST framework's own schema and to drf-yasg.

        django-filter removed this method in 25.1.
        """
        return [
            {
                "name": name,
                "in": "query",
                "required": False,
                "description": parameter.extra["help_text"],
                "schema": {"type": "string"},
            }
            for name, parameter in view.filterset_class.base_filters.items()
        ]


class _TrueOrFalse(forms.Field):
    default_error_messages = {"invalid": "Must be true or false."}

    def to_python(self, value: Any) -> bool | None:
        if value in self.empty_values:
            return None
        found = {"true": True, "false": False}.get(str(value).lower())
        if found is None:
            raise forms.ValidationError(self.default_error_messages["invalid"], "invalid")
        return found


@extend_schema_field(bool)
class _TrueOrFalseFilter(filters.Filter):
    field_class = _TrueOrFalse


class LogFilters(filters.FilterSet):
    """The query parameters of the list of calls. Days include both ends."""

    section = extend_schema_field(SectionField)(
        filters.CharFilter(max_length=50, method="of_section", help_text="Code of the section.")
    )
    model = extend_schema_field(
        {"type": "string", "minLength": 1, "maxLength": 100, "pattern": NO_NUL}
    )(filters.CharFilter("model_name", max_length=100, help_text="Exact name of the model."))
    success = _TrueOrFalseFilter(help_text="`true` for successful calls, `false` for failed ones.")
    start_date = filters.DateFilter(
        input_formats=["%Y-%m-%d"],
        method="since",
        help_text="First day, in AI_USAGE_DAY_TIMEZONE.",
    )
    end_date = filters.DateFilter(
        input_formats=["%Y-%m-%d"], method="until", help_text="Last day, inclusive."
    )

    def of_section(self, logs: QuerySet[AIUsageLog], name: str, code: str) -> QuerySet[AIUsageLog]:
        """Narrow `logs` to a section of the setting, or to one that only calls have."""
        found = logs.filter(section=code)
        # Calls keep a section that was removed from the setting.
        if code not in conf.sections() and not found.exists():
            raise serializers.ValidationError({name: [NO_SUCH_SECTION]})
        return found

    def since(self, logs: QuerySet[AIUsageLog], _: str, day: dt.date) -> QuerySet[AIUsageLog]:
        """Narrow `logs` to `day` and later."""
        return from_day(logs, day)

    def until(self, logs: QuerySet[AIUsageLog], _: str, day: dt.date) -> QuerySet[AIUsageLog]:
        """Narrow `logs` to `day` and earlier."""
        return to_day(logs, day)
