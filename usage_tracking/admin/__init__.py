"""The two tables in the admin."""

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
from ..models import AIUsageLog, AIUsageTracking
from ..pages.charts import color_class
from .base import ReadOnlyAdmin
from .dashboard import dashboard_view
from .filters import (
    DailyPeriodFilter,
    LogPeriodFilter,
    ModelFilter,
    ProviderFilter,
    SectionFilter,
    UnknownFilter,
    UserFilter,
)

#: A search that no index serves goes no further back, unless a period is chosen.
SEARCHED = dt.timedelta(days=30)
#: Users whose name a search may mean.
_USERS = 100
#: ms; faster than the first is green, than the second orange, and red is all beyond.
_FAST, _SLOW = 1_000, 3_000


@admin.register(AIUsageLog)
class AIUsageLogAdmin(ReadOnlyAdmin):
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
    # Its fields are named in get_search_results; without one Django shows no search.
    search_fields = ("id",)
    search_help_text = gettext_lazy(
        "An id, or what a user's name begins with, or a part of a model's name or of an error. "
        "All but ids are looked for in the chosen period, else in the past 30 days."
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

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view(self.dashboard_view)
        return [path("dashboard/", view, name="usage_tracking_dashboard"), *super().get_urls()]

    def dashboard_view(self, request: HttpRequest) -> TemplateResponse:
        return dashboard_view(request, self)

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[AIUsageLog], search_term: str
    ) -> tuple[QuerySet[AIUsageLog], bool]:
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
        moment = log.created_at
        if timezone.is_aware(moment):
            moment = timezone.localtime(moment)
        return date_format(moment, "SHORT_DATETIME_FORMAT")

    @admin.display(description=gettext_lazy("model"))
    def model_and_provider(self, log: AIUsageLog) -> SafeString:
        return format_html(
            '{} <span class="ai-usage-provider">{}</span>', log.model_name or "?", log.provider
        )

    @admin.display(description=gettext_lazy("section"))
    def section_badge(self, log: AIUsageLog) -> SafeString:
        return format_html(
            '<span class="ai-usage-badge {}">{}</span>',
            color_class(log.section, conf.sections(), conf.default_section()),
            log.get_section_display(),
        )

    @admin.display(description=gettext_lazy("tokens"))
    def tokens(self, log: AIUsageLog) -> SafeString:
        """Prompt and completion; what was not reported is said, not shown as 0."""
        if log.prompt_tokens is None and log.completion_tokens is None:
            return _unknown(_("not reported"))
        both = (log.prompt_tokens, log.completion_tokens)
        text = '<span class="ai-usage-tokens">{} + {}</span>'
        return format_html(text, *("?" if n is None else f"{n:,}" for n in both))

    @admin.display(description=gettext_lazy("cost (USD)"))
    def price(self, log: AIUsageLog) -> SafeString | str:
        if log.cost is None:
            return _unknown(_("unpriced"))
        return f"{log.cost:.6f}"

    @admin.display(description=gettext_lazy("response time"))
    def response_time(self, log: AIUsageLog) -> SafeString:
        ms = log.response_time_ms
        speed = "fast" if ms < _FAST else "medium" if ms < _SLOW else "slow"
        return format_html('<span class="ai-usage-{}">{} s</span>', speed, f"{ms / 1000:,.2f}")

    @admin.display(description=gettext_lazy("status"))
    def status(self, log: AIUsageLog) -> SafeString:
        if log.success:
            return format_html('<span class="ai-usage-badge ai-usage-ok">{}</span>', _("Success"))
        return format_html(
            '<span class="ai-usage-badge ai-usage-failed" title="{}">{}</span>',
            log.error_message or "",
            _("Failed"),
        )


@admin.register(AIUsageTracking)
class AIUsageTrackingAdmin(ReadOnlyAdmin):
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
    search_help_text = gettext_lazy("What a user's name begins with.")
    export_resource = "usage_tracking.contrib.import_export.DailyResource"

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[AIUsageTracking], search_term: str
    ) -> tuple[QuerySet[AIUsageTracking], bool]:
        term = search_term.strip()
        return (queryset.filter(user__in=users_named(term)) if term else queryset), False

    @admin.display(description=gettext_lazy("cost (USD)"))
    def cost(self, row: AIUsageTracking) -> str:
        return f"{row.total_cost:.6f}"

    @admin.display(description=gettext_lazy("average response time"))
    def average_time(self, row: AIUsageTracking) -> str:
        return f"{row.average_response_time_ms / 1000:,.2f} s"


def users_named(term: str) -> list[Any]:
    """Keys of the users whose name begins with `term`; not more than a search needs."""
    model = get_user_model()
    name = model.USERNAME_FIELD
    # Not the default manager, which may hide users who have logs.
    named = model._base_manager.filter(**{f"{name}__istartswith": term})
    return list(named.order_by(name).values_list("pk", flat=True)[:_USERS])


def _unknown(text: str) -> SafeString:
    return format_html('<span class="ai-usage-unknown">{}</span>', text)
