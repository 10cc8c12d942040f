"""The filters of the list of calls."""

from __future__ import annotations

from typing import Any

from django import forms
from django.apps import apps
from django.db.models import QuerySet
from django_filters import rest_framework as filters
from rest_framework import serializers

from .. import conf
from ..models import AIUsageLog
from ..reports import Bound, since, until
from .fields import NO_NUL, NO_SUCH_SECTION, BoundField, SectionField, read_bound
from .parameters import START_HELP, USER_HELP, check_order
from .schema import extend_schema_field


class LogFilterBackend(filters.DjangoFilterBackend):
    """The backend of django-filter, also for sites that do not install its app."""

    def get_filterset_kwargs(self, request: Any, queryset: Any, view: Any) -> dict[str, Any]:
        """Filter by the parameters of the request, or those of its cursor."""
        kwargs: dict[str, Any] = super().get_filterset_kwargs(request, queryset, view)
        return kwargs | {"data": getattr(view, "filters", request.query_params)}

    def get_filterset(self, request: Any, queryset: Any, view: Any) -> Any:
        """Leave out of the form of the browsable API what the client may not ask for."""
        filterset = super().get_filterset(request, queryset, view)
        renderer = getattr(request, "accepted_renderer", None)
        if renderer is not None and renderer.media_type == "text/html" and not view.views_all:
            del filterset.filters["user"]
        return filterset

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


class _Bound(forms.Field):
    def to_python(self, value: Any) -> Bound | None:
        if value in self.empty_values:
            return None
        try:
            return read_bound(str(value))
        except ValueError as error:
            # Both Django and django-filter format the message.
            message = str(error).replace("%", "%%")
            raise forms.ValidationError(message, "invalid", {"value": value}) from None


@extend_schema_field(BoundField)
class _BoundFilter(filters.Filter):
    field_class = _Bound


class LogFilters(filters.FilterSet):
    """The query parameters of the list of calls. Days include both ends."""

    section = extend_schema_field(SectionField)(
        filters.CharFilter(max_length=50, method="of_section", help_text="Code of the section.")
    )
    model = extend_schema_field(
        {"type": "string", "minLength": 1, "maxLength": 100, "pattern": NO_NUL}
    )(filters.CharFilter("model_name", max_length=100, help_text="Exact name of the model."))
    provider = extend_schema_field(
        {"type": "string", "minLength": 1, "maxLength": 50, "pattern": NO_NUL}
    )(filters.CharFilter(max_length=50, help_text="Exact name of the provider."))
    success = _TrueOrFalseFilter(help_text="`true` for successful calls, `false` for failed ones.")
    start = _BoundFilter(
        method="since",
        help_text=START_HELP,
    )
    end = _BoundFilter(
        method="until", help_text="Last day, inclusive; or the moment before which to stop."
    )
    user = filters.CharFilter(max_length=255, method="of_user", help_text=USER_HELP)
    start_date = filters.DateFilter(
        input_formats=["%Y-%m-%d"],
        method="since",
        help_text="The same as `start`, for days.",
    )
    end_date = filters.DateFilter(
        input_formats=["%Y-%m-%d"], method="until", help_text="The same as `end`, for days."
    )

    def filter_queryset(self, queryset: QuerySet[AIUsageLog]) -> QuerySet[AIUsageLog]:
        """Narrow the calls by all parameters."""
        check_order(self.form.cleaned_data["start"], self.form.cleaned_data["end"])
        narrowed: QuerySet[AIUsageLog] = super().filter_queryset(queryset)
        return narrowed

    def of_section(self, logs: QuerySet[AIUsageLog], name: str, code: str) -> QuerySet[AIUsageLog]:
        """Narrow `logs` to a section of the setting, or to one that only calls have."""
        found = logs.filter(section=code)
        # Calls keep a section that was removed from the setting.
        if code not in conf.sections() and not found.exists():
            raise serializers.ValidationError({name: [NO_SUCH_SECTION]})
        return found

    def of_user(self, logs: QuerySet[AIUsageLog], _: str, __: str) -> QuerySet[AIUsageLog]:
        """Return `logs`, which the view has narrowed by the user, as the permission requires."""
        return logs

    def since(self, logs: QuerySet[AIUsageLog], _: str, start: Bound) -> QuerySet[AIUsageLog]:
        """Narrow `logs` to those since a day or a moment."""
        return since(logs, start)

    def until(self, logs: QuerySet[AIUsageLog], _: str, end: Bound) -> QuerySet[AIUsageLog]:
        """Narrow `logs` to those until the end of a day, or before a moment."""
        return until(logs, end)
