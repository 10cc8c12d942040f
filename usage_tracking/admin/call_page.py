"""The page of a call: what happened, what it cost and why, whose it was, and the raw data."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.contrib import admin
from django.contrib.admin.utils import flatten_fieldsets
from django.template.loader import render_to_string
from django.utils.html import format_html
from django.utils.http import urlencode
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from ..models import AIUsageLog
from ..pages.call_cost import call_cost_of, exact_usd
from ..pages.formatting import count
from . import cells
from .base import ReadOnlyAdmin

#: What the metadata says about the answer, with its label.
_ANSWER = {
    "requested_model": gettext_lazy("requested model"),
    "response_model": gettext_lazy("model of the answer"),
    "response_id": gettext_lazy("id of the answer"),
    "service_tier": gettext_lazy("service tier"),
    "host": gettext_lazy("host"),
    "key_hint": gettext_lazy("API key ends in"),
    "batch": gettext_lazy("batch"),
    "unknown": gettext_lazy("usage is unknown because"),
    "partial": gettext_lazy("counted before the stream was cut"),
    "clamped": gettext_lazy("values left out as invalid"),
}
#: What the metadata says about the task that made the call.
_TASK = {
    "celery_task": gettext_lazy("Celery task"),
    "celery_task_id": gettext_lazy("id of the Celery task"),
    "django_task": gettext_lazy("Django task"),
    "django_task_id": gettext_lazy("id of the Django task"),
}


class CallPage(ReadOnlyAdmin):
    """The fields of the page of a call. That of a column is named after it, with `_text`."""

    fieldsets = (
        (
            gettext_lazy("What happened"),
            {
                "fields": (
                    "error_message_text",
                    "success_text",
                    "model_name_text",
                    "provider_text",
                    "operation_text",
                    "created_at_text",
                    "response_time_ms_text",
                    "answer",
                )
            },
        ),
        (
            gettext_lazy("Money"),
            {
                "fields": (
                    "cost_text",
                    "bill",
                    "prompt_tokens_text",
                    "completion_tokens_text",
                    "total_tokens_text",
                    "cached_tokens_text",
                    "reasoning_tokens_text",
                    "usage_details_text",
                    "usage_source_text",
                )
            },
        ),
        (gettext_lazy("Who and where"), {"fields": ("user_text", "section_text", "task")}),
        (gettext_lazy("Raw data"), {"fields": ("id", "day", "metadata_text")}),
    )
    readonly_fields = flatten_fieldsets(fieldsets)

    def silent_fields(self, row: AIUsageLog) -> set[str]:
        """Return the fields that do not apply to `row`."""
        silent = set()
        if row.success and not row.error_message:
            silent.add("error_message_text")
        if not _said(row, _ANSWER):
            silent.add("answer")
        if not _said(row, _TASK):
            silent.add("task")
        return silent

    @admin.display(description=gettext_lazy("reason of the failure"))
    def error_message_text(self, log: AIUsageLog) -> SafeString:
        """Return the error message in full."""
        if not log.error_message:
            return cells.unknown(_("No error message was recorded."))
        return format_html('<div class="ai-usage-reason" dir="auto">{}</div>', log.error_message)

    @admin.display(description=gettext_lazy("status"))
    def success_text(self, log: AIUsageLog) -> SafeString:
        """Return whether the call succeeded."""
        return cells.status(success=log.success)

    @admin.display(description=gettext_lazy("model"))
    def model_name_text(self, log: AIUsageLog) -> SafeString | str:
        """Return the model."""
        return log.model_name or cells.unknown(_("unknown"))

    @admin.display(description=gettext_lazy("provider"))
    def provider_text(self, log: AIUsageLog) -> SafeString | str:
        """Return the provider."""
        return log.provider or cells.unknown(_("unknown"))

    @admin.display(description=gettext_lazy("operation"))
    def operation_text(self, log: AIUsageLog) -> SafeString | str:
        """Return the operation."""
        return log.operation or cells.unknown(_("unknown"))

    @admin.display(description=gettext_lazy("created at"))
    def created_at_text(self, log: AIUsageLog) -> str:
        """Return when the call began."""
        return cells.exact_moment(log.created_at)

    @admin.display(description=gettext_lazy("response time"))
    def response_time_ms_text(self, log: AIUsageLog) -> SafeString:
        """Return the response time."""
        return cells.response_time(log.response_time_ms)

    @admin.display(description=gettext_lazy("answer"))
    def answer(self, log: AIUsageLog) -> SafeString:
        """Return what the metadata says about the answer."""
        return cells.facts(_said(log, _ANSWER))

    @admin.display(description=gettext_lazy("cost (USD)"))
    def cost_text(self, log: AIUsageLog) -> SafeString | str:
        """Return the cost with all of its digits."""
        return cells.unknown(_("unpriced")) if log.cost is None else exact_usd(log.cost)

    @admin.display(description=gettext_lazy("how the cost came about"))
    def bill(self, log: AIUsageLog) -> SafeString:
        """Return the price of each unit, and where it is from."""
        return render_to_string("admin/usage_tracking/call_cost.html", {"cost": call_cost_of(log)})

    @admin.display(description=gettext_lazy("prompt tokens"))
    def prompt_tokens_text(self, log: AIUsageLog) -> SafeString | str:
        """Return the prompt tokens."""
        return cells.number(log.prompt_tokens)

    @admin.display(description=gettext_lazy("completion tokens"))
    def completion_tokens_text(self, log: AIUsageLog) -> SafeString | str:
        """Return the completion tokens."""
        return cells.number(log.completion_tokens)

    @admin.display(description=gettext_lazy("total tokens"))
    def total_tokens_text(self, log: AIUsageLog) -> SafeString | str:
        """Return the sum of the known tokens."""
        return cells.number(log.total_tokens)

    @admin.display(description=gettext_lazy("cached tokens"))
    def cached_tokens_text(self, log: AIUsageLog) -> SafeString | str:
        """Return the prompt tokens that came from a cache."""
        return cells.number(log.cached_tokens)

    @admin.display(description=gettext_lazy("reasoning tokens"))
    def reasoning_tokens_text(self, log: AIUsageLog) -> SafeString | str:
        """Return the completion tokens that were spent on reasoning."""
        return cells.number(log.reasoning_tokens)

    @admin.display(description=gettext_lazy("other units"))
    def usage_details_text(self, log: AIUsageLog) -> SafeString:
        """Return the units that have no column."""
        details = log.usage_details
        if not details:
            return cells.unknown(_("not reported"))
        if not isinstance(details, dict):  # written by the site's own SQL
            return cells.as_json(details)
        return cells.facts(
            {
                str(unit).replace("_", " "): count(value) if type(value) is int else value
                for unit, value in sorted(details.items())
            }
        )

    @admin.display(description=gettext_lazy("usage source"))
    def usage_source_text(self, log: AIUsageLog) -> str:
        """Return who counted."""
        return log.get_usage_source_display()

    @admin.display(description=gettext_lazy("section"))
    def section_text(self, log: AIUsageLog) -> SafeString:
        """Return the section, with a link to its calls."""
        url = f"{self._list_url()}?{urlencode({'section': log.section})}"
        badge = cells.section(log.section, log.get_section_display())
        return format_html("{}{}", badge, cells.links({url: _("All calls of this section")}))

    @admin.display(description=gettext_lazy("task"))
    def task(self, log: AIUsageLog) -> SafeString:
        """Return the task that made the call."""
        return cells.facts(_said(log, _TASK))

    @admin.display(description=gettext_lazy("metadata"))
    def metadata_text(self, log: AIUsageLog) -> SafeString:
        """Return the metadata as JSON."""
        return cells.as_json(log.metadata)


def _said(log: AIUsageLog, labels: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the metadata says, by label."""
    says = log.metadata if isinstance(log.metadata, dict) else {}
    return {str(label): says[name] for name, label in labels.items() if name in says}
