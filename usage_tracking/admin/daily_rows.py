"""The admin of daily rows: their list, and one page for each."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.contrib.admin.utils import flatten_fieldsets
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.formats import date_format
from django.utils.html import format_html
from django.utils.http import urlencode
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from ..days import DayRange
from ..models import AIUsageLog, AIUsageTracking
from ..pages.call_cost import exact_usd
from ..pages.formatting import count
from ..reports import Totals
from . import cells
from .base import ReadOnlyAdmin, list_url, may_view
from .filters import DailyPeriodFilter, UserFilter
from .search import users_named
from .sums import totals_of_daily_rows


@admin.register(AIUsageTracking)
class AIUsageTrackingAdmin(ReadOnlyAdmin):
    """The list of daily rows, and one page for each."""

    list_display = (
        "day",
        "user_link",
        "calls",
        "failures",
        "tokens",
        "cost",
        "average_time",
    )
    list_filter = (DailyPeriodFilter, UserFilter)
    search_fields = ("user",)
    search_help_text = gettext_lazy("Search by the start of a username.")
    export_resource = "usage_tracking.contrib.import_export.DailyResource"
    fieldsets = (
        (
            gettext_lazy("What happened"),
            {"fields": ("date_text", "calls_text", "succeeded", "failures", "average_time")},
        ),
        (gettext_lazy("Money"), {"fields": ("cost_text", "tokens_text", "total_tokens_text")}),
        (gettext_lazy("Who"), {"fields": ("user_text",)}),
        (
            gettext_lazy("Raw data"),
            {"fields": ("id", "created", "updated", "total_time", "pruned")},
        ),
    )
    readonly_fields = flatten_fieldsets(fieldsets)

    def totals_of(self, rows: QuerySet[Any]) -> Totals:
        """Return the totals of `rows`."""
        return totals_of_daily_rows(rows)

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[AIUsageTracking], search_term: str
    ) -> tuple[QuerySet[AIUsageTracking], bool]:
        """Search by user."""
        term = search_term.strip()
        return (queryset.filter(user__in=users_named(term)) if term else queryset), False

    @admin.display(description=gettext_lazy("date"))
    def day(self, row: AIUsageTracking) -> SafeString:
        """Return the day."""
        return format_html(
            '<time datetime="{}">{}</time>', row.date, date_format(row.date, "SHORT_DATE_FORMAT")
        )

    @admin.display(description=gettext_lazy("calls"))
    def calls(self, row: AIUsageTracking) -> SafeString:
        """Return the number of calls."""
        return cells.counted(row.total_requests, _("calls"))

    @admin.display(description=gettext_lazy("failed"))
    def failures(self, row: AIUsageTracking) -> SafeString:
        """Return the number of failed calls."""
        css_class = "ai-usage-failed" if row.failed_requests else ""
        return cells.counted(row.failed_requests, _("failed"), css_class)

    @admin.display(description=gettext_lazy("prompt + completion tokens"))
    def tokens(self, row: AIUsageTracking) -> SafeString:
        """Return prompt and completion tokens."""
        return cells.tokens(row.total_prompt_tokens, row.total_completion_tokens)

    @admin.display(description=gettext_lazy("cost (USD)"))
    def cost(self, row: AIUsageTracking) -> SafeString:
        """Return the cost of the day in USD."""
        return cells.cost(row.total_cost)

    @admin.display(description=gettext_lazy("average time"))
    def average_time(self, row: AIUsageTracking) -> SafeString:
        """Return the average response time of the day in seconds."""
        return cells.seconds(row.average_response_time_ms)

    @admin.display(description=gettext_lazy("date"))
    def date_text(self, row: AIUsageTracking) -> str:
        """Return the day in full."""
        return date_format(row.date, "DATE_FORMAT")

    @admin.display(description=gettext_lazy("calls"))
    def calls_text(self, row: AIUsageTracking) -> SafeString:
        """Return the number of calls, with a link to them."""
        links = {}
        if may_view(self.admin_site, AIUsageLog, row.viewed_by):  # type: ignore[attr-defined]
            query: dict[str, Any] = {"user": row.user_id, **DayRange(row.date, row.date).parameters}
            url = f"{list_url(self.admin_site, AIUsageLog)}?{urlencode(query)}"
            links[url] = _("Calls of this user on this day")
        return format_html("{}{}", count(row.total_requests), cells.links(links))

    @admin.display(description=gettext_lazy("successful"))
    def succeeded(self, row: AIUsageTracking) -> str:
        """Return the number of successful calls."""
        return count(row.successful_requests)

    @admin.display(description=gettext_lazy("cost"))
    def cost_text(self, row: AIUsageTracking) -> str:
        """Return the cost of the day with all of its digits."""
        return _("%(cost)s, without unpriced calls") % {"cost": exact_usd(row.total_cost)}

    @admin.display(description=gettext_lazy("prompt + completion tokens"))
    def tokens_text(self, row: AIUsageTracking) -> SafeString:
        """Return prompt and completion tokens."""
        return self.tokens(row)

    @admin.display(description=gettext_lazy("total tokens"))
    def total_tokens_text(self, row: AIUsageTracking) -> str:
        """Return all tokens."""
        return count(row.total_tokens)

    @admin.display(description=gettext_lazy("created at"))
    def created(self, row: AIUsageTracking) -> str:
        """Return when the row was written."""
        return cells.exact_moment(row.created_at)

    @admin.display(description=gettext_lazy("updated at"))
    def updated(self, row: AIUsageTracking) -> str:
        """Return when the row was last changed."""
        return cells.exact_moment(row.updated_at)

    @admin.display(description=gettext_lazy("total response time"))
    def total_time(self, row: AIUsageTracking) -> SafeString:
        """Return the sum of the response times in seconds."""
        return cells.seconds(row.total_response_time_ms)

    @admin.display(description=gettext_lazy("in the log"))
    def pruned(self, row: AIUsageTracking) -> str:
        """Return whether the log still has all calls of the day."""
        if row.logs_pruned:
            return _("Calls of this day were pruned.")
        return _("No calls of this day were pruned.")
