"""The admin of calls and daily rows."""

from __future__ import annotations

import datetime as dt
from typing import Any
from uuid import UUID

from django.contrib import admin
from django.contrib.auth import get_user_model
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.template.response import TemplateResponse
from django.urls import URLPattern, path
from django.utils import timezone
from django.utils.formats import date_format
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from .. import conf
from ..days import END, START
from ..fields import CALL_FIELDS
from ..models import AIUsageDashboard, AIUsageLog, AIUsageTracking
from ..pages.bills import bill_of
from ..pages.charts import color_class
from .base import ReadOnlyAdmin
from .dashboard import dashboard_view
from .dashboard_entry import AIUsageDashboardAdmin
from .filters import (
    DailyPeriodFilter,
    LogPeriodFilter,
    ModelFilter,
    ProviderFilter,
    SectionFilter,
    UnknownFilter,
    UserFilter,
)

admin.site.register(AIUsageDashboard, AIUsageDashboardAdmin)

#: How far back to search for anything but an id, unless a period is chosen: no index helps.
SEARCHED = dt.timedelta(days=30)
#: How many users whose name begins with the search term to look for.
_USERS = 100
#: Response times in ms: below `_FAST` they are green, below `_SLOW` orange, otherwise red.
_FAST, _SLOW = 1_000, 3_000


@admin.register(AIUsageLog)
class AIUsageLogAdmin(ReadOnlyAdmin):
    """The list of calls, one page for each call, and the dashboard."""

    list_display = (
        "moment",
        "status",
        "user_link",
        "section_badge",
        "model_and_provider",
        "tokens",
        "price",
        "response_time",
    )
    list_filter = (
        LogPeriodFilter,
        UserFilter,
        "success",
        UnknownFilter,
        SectionFilter,
        ProviderFilter,
        ModelFilter,
    )
    # Not used: get_search_results() names the fields. If this is empty, Django hides the search.
    search_fields = ("id",)
    search_help_text = gettext_lazy(
        "Search by id, start of a username, or part of a model name or error message. "
        "Everything but ids is searched in the chosen period, by default the past 30 days."
    )
    fields = (
        "id",
        "created_at",
        "day",
        "user",
        "section_badge",
        *CALL_FIELDS,
    )
    readonly_fields = fields
    export_resource = "usage_tracking.contrib.import_export.LogResource"
    change_form_template = "admin/usage_tracking/call.html"

    def get_urls(self) -> list[URLPattern]:
        """Add the URL of the dashboard."""
        view = self.admin_site.admin_view(self.dashboard_view)
        return [path("dashboard/", view, name="usage_tracking_dashboard"), *super().get_urls()]

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any
    ) -> Any:
        """Add how the cost of the call came about."""
        if (log := kwargs.get("obj") or context.get("original")) is not None:
            context["bill"] = bill_of(log)
        return super().render_change_form(request, context, *args, **kwargs)

    def dashboard_view(self, request: HttpRequest) -> TemplateResponse:
        """Show the dashboard of this admin site."""
        return dashboard_view(request, self)

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[AIUsageLog], search_term: str
    ) -> tuple[QuerySet[AIUsageLog], bool]:
        """Search by id, else by user, model and error message."""
        term = search_term.strip()
        if not term:
            return queryset, False
        try:
            return queryset.filter(pk=UUID(term)), False
        except ValueError:
            pass
        if not (request.GET.get(START) or request.GET.get(END)):
            queryset = queryset.filter(created_at__gte=timezone.now() - SEARCHED)
        found = Q(model_name__icontains=term) | Q(error_message__icontains=term)
        if users := users_named(term):
            found |= Q(user__in=users)
        return queryset.filter(found), False

    @admin.display(description=gettext_lazy("created at"))
    def moment(self, log: AIUsageLog) -> str:
        """Return the time of the call in the current time zone."""
        moment = log.created_at
        if timezone.is_aware(moment):
            moment = timezone.localtime(moment)
        return date_format(moment, "SHORT_DATETIME_FORMAT")

    @admin.display(description=gettext_lazy("model"))
    def model_and_provider(self, log: AIUsageLog) -> SafeString:
        """Return the model and its provider; "?" stands for an unknown model."""
        return format_html(
            '{} <span class="ai-usage-provider">{}</span>', log.model_name or "?", log.provider
        )

    @admin.display(description=gettext_lazy("section"))
    def section_badge(self, log: AIUsageLog) -> SafeString:
        """Return the section's label in the colour it has in the charts."""
        return format_html(
            '<span class="ai-usage-badge {}">{}</span>',
            color_class(log.section, conf.sections(), conf.default_section()),
            log.get_section_display(),
        )

    @admin.display(description=gettext_lazy("tokens"))
    def tokens(self, log: AIUsageLog) -> SafeString:
        """Return prompt and completion tokens; a value that was not reported is not 0."""
        if log.prompt_tokens is None and log.completion_tokens is None:
            return _unknown(_("not reported"))
        both = (log.prompt_tokens, log.completion_tokens)
        text = '<span class="ai-usage-tokens">{} + {}</span>'
        return format_html(text, *("?" if n is None else f"{n:,}" for n in both))

    @admin.display(description=gettext_lazy("cost (USD)"))
    def price(self, log: AIUsageLog) -> SafeString | str:
        """Return the cost in USD, or that there is no price."""
        if log.cost is None:
            return _unknown(_("unpriced"))
        return f"{log.cost:.6f}"

    @admin.display(description=gettext_lazy("response time"))
    def response_time(self, log: AIUsageLog) -> SafeString:
        """Return the response time in seconds, coloured by speed."""
        ms = log.response_time_ms
        speed = "fast" if ms < _FAST else "medium" if ms < _SLOW else "slow"
        return format_html('<span class="ai-usage-{}">{} s</span>', speed, f"{ms / 1000:,.2f}")

    @admin.display(description=gettext_lazy("status"))
    def status(self, log: AIUsageLog) -> SafeString:
        """Return whether the call succeeded, with the error message as a tooltip."""
        if log.success:
            return format_html('<span class="ai-usage-badge ai-usage-ok">{}</span>', _("Success"))
        return format_html(
            '<span class="ai-usage-badge ai-usage-failed" title="{}">{}</span>',
            log.error_message or "",
            _("Failed"),
        )


@admin.register(AIUsageTracking)
class AIUsageTrackingAdmin(ReadOnlyAdmin):
    """The list of daily rows, and one page for each."""

    list_display = (
        "date",
        "user_link",
        "total_requests",
        "failed_requests",
        "total_tokens",
        "cost",
        "average_time",
    )
    list_filter = (DailyPeriodFilter, UserFilter)
    search_fields = ("user",)
    search_help_text = gettext_lazy("Search by the start of a username.")
    export_resource = "usage_tracking.contrib.import_export.DailyResource"

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[AIUsageTracking], search_term: str
    ) -> tuple[QuerySet[AIUsageTracking], bool]:
        """Search by user."""
        term = search_term.strip()
        return (queryset.filter(user__in=users_named(term)) if term else queryset), False

    @admin.display(description=gettext_lazy("cost (USD)"))
    def cost(self, row: AIUsageTracking) -> str:
        """Return the cost of the day in USD."""
        return f"{row.total_cost:.6f}"

    @admin.display(description=gettext_lazy("average response time"))
    def average_time(self, row: AIUsageTracking) -> str:
        """Return the average response time of the day in seconds."""
        return f"{row.average_response_time_ms / 1000:,.2f} s"


def users_named(term: str) -> list[Any]:
    """Return the keys of the first 100 users whose name begins with `term`."""
    model = get_user_model()
    name = model.USERNAME_FIELD
    # Not the default manager: it may hide users who have logs.
    named = model._base_manager.filter(**{f"{name}__istartswith": term})
    return list(named.order_by(name).values_list("pk", flat=True)[:_USERS])


def _unknown(text: str) -> SafeString:
    return format_html('<span class="ai-usage-unknown">{}</span>', text)
