"""The admin of calls: their list, and the dashboard."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.template.response import TemplateResponse
from django.urls import URLPattern, path
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from ..models import AIUsageLog
from ..reports import Totals
from . import cells
from .call_page import CallPage
from .dashboard import dashboard_view
from .filters import (
    LogPeriodFilter,
    ModelFilter,
    ProviderFilter,
    SectionFilter,
    UnknownFilter,
    UserFilter,
)
from .search import found_logs
from .sums import totals_of_logs


@admin.register(AIUsageLog)
class AIUsageLogAdmin(CallPage):
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
    export_resource = "usage_tracking.contrib.import_export.LogResource"

    def get_urls(self) -> list[URLPattern]:
        """Add the URL of the dashboard."""
        view = self.admin_site.admin_view(self.dashboard_view)
        return [path("dashboard/", view, name="usage_tracking_dashboard"), *super().get_urls()]

    def dashboard_view(self, request: HttpRequest) -> TemplateResponse:
        """Show the dashboard of this admin site."""
        return dashboard_view(request, self)

    def totals_of(self, rows: QuerySet[Any]) -> Totals:
        """Return the totals of `rows`."""
        return totals_of_logs(rows)

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[AIUsageLog], search_term: str
    ) -> tuple[QuerySet[AIUsageLog], bool]:
        """Search by id, else by user, model and error message; the filter sets the period."""
        return found_logs(queryset, search_term), False

    @admin.display(description=gettext_lazy("created at"))
    def moment(self, log: AIUsageLog) -> SafeString:
        """Return the time of the call in the current time zone."""
        return cells.moment(log.created_at)

    @admin.display(description=gettext_lazy("status"))
    def status(self, log: AIUsageLog) -> SafeString:
        """Return whether the call succeeded, and the error of a failure."""
        badge = cells.status(success=log.success)
        if log.success:
            return badge
        error = log.error_message or _("No error message was recorded.")
        return format_html("{} {}", badge, cells.one_line(error, "ai-usage-error"))

    @admin.display(description=gettext_lazy("section"))
    def section_badge(self, log: AIUsageLog) -> SafeString:
        """Return the section's label in the colour it has in the charts."""
        return cells.section(log.section, log.get_section_display())

    @admin.display(description=gettext_lazy("model"))
    def model_and_provider(self, log: AIUsageLog) -> SafeString:
        """Return the model after its provider."""
        return cells.model(log.model_name, log.provider)

    @admin.display(description=gettext_lazy("prompt + completion tokens"))
    def tokens(self, log: AIUsageLog) -> SafeString:
        """Return prompt and completion tokens; a value that was not reported is not 0."""
        return cells.tokens(log.prompt_tokens, log.completion_tokens)

    @admin.display(description=gettext_lazy("cost (USD)"))
    def price(self, log: AIUsageLog) -> SafeString:
        """Return the cost in USD, or that there is no price."""
        return cells.cost(log.cost)

    @admin.display(description=gettext_lazy("time"))
    def response_time(self, log: AIUsageLog) -> SafeString:
        """Return the response time in seconds, coloured by speed."""
        return cells.response_time(log.response_time_ms)
