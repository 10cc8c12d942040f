"""The JSON of requests and responses. Tokens, ms and USD; unknown values are null, never 0."""

from __future__ import annotations

from math import isfinite
from typing import Any

from django.contrib.auth import get_user_model
from rest_framework import serializers

from ..events import MAX_DURATION
from ..fields import CALL_FIELDS
from ..models import AIUsageLog
from ..usage import MAX_COUNT
from .fields import (
    CostField,
    MomentField,
    ObjectField,
    SectionField,
    TextField,
    TrueOrFalseField,
    UserField,
    WholeNumberField,
    cost_field,
)
from .schema import extend_schema_field

#: The most calls of one request.
MAX_CALLS = 1_000


class _StoredJSONField(serializers.JSONField):
    """JSON of a row; infinite numbers, which a site's own SQL may write, become null."""

    def to_representation(self, value: Any) -> Any:
        return _finite(super().to_representation(value))


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if isfinite(value) else None
    if isinstance(value, dict):
        return {name: _finite(each) for name, each in value.items()}
    return [_finite(each) for each in value] if isinstance(value, list) else value


@extend_schema_field(dict)
class _Metadata(_StoredJSONField):
    pass


@extend_schema_field({"type": "object", "additionalProperties": True, "nullable": True})
class _UsageDetails(_StoredJSONField):
    pass


class LogSerializer(serializers.ModelSerializer[AIUsageLog]):
    """One call."""

    user_username = serializers.SerializerMethodField()
    user_email = serializers.SerializerMethodField()
    section_display = serializers.CharField(source="get_section_display")
    total_tokens = serializers.IntegerField(allow_null=True)
    cost = cost_field(decimal_places=10, allow_null=True)
    usage_details = _UsageDetails(
        help_text="Units that have no field here, by their names in genai-prices."
    )
    metadata = _Metadata()

    class Meta:
        model = AIUsageLog
        fields = (
            "id",
            "user",
            "user_username",
            "user_email",
            "section",
            "section_display",
            *CALL_FIELDS,
            "day",
            "created_at",
        )
        read_only_fields = fields

    def get_user_username(self, log: AIUsageLog) -> str | None:
        """Return the username; None for a call without a user."""
        return log.user.get_username() if log.user else None

    def get_user_email(self, log: AIUsageLog) -> str | None:
        """Return the user's address; None without a user or an address."""
        user: Any = log.user
        return (getattr(user, user.get_email_field_name(), None) or None) if user else None


def _count(**options: Any) -> WholeNumberField:
    return WholeNumberField(min_value=0, max_value=MAX_COUNT, **options)


class RecordSerializer(serializers.Serializer[AIUsageLog]):
    """A call of yours to record. Error messages and metadata are redacted and truncated."""

    section = SectionField()
    prompt_tokens = _count(default=0)
    completion_tokens = _count(default=0)
    response_time_ms = WholeNumberField(default=0, min_value=0, max_value=MAX_DURATION)
    success = TrueOrFalseField(default=True)
    model_name = TextField(default="", allow_blank=True, max_length=100)
    error_message = TextField(default=None, allow_blank=True, allow_null=True)
    metadata = ObjectField(default=None, allow_null=True)


class TrustedRecordSerializer(RecordSerializer):
    """A call of any user to record. Tokens that you leave out are unknown, not 0.

    The fields beside those of your own calls need the permission usage_tracking.add_aiusagelog.
    """

    user = UserField(
        required=False,
        allow_null=True,
        help_text="Primary key of a user; null for none. By default yourself.",
    )
    provider = TextField(default="", allow_blank=True, max_length=50)
    model = TextField(
        required=False, allow_blank=True, max_length=100, help_text="The same as `model_name`."
    )
    operation = TextField(default="", allow_blank=True, max_length=30)
    prompt_tokens = _count(default=None, allow_null=True)
    completion_tokens = _count(default=None, allow_null=True)
    cached_tokens = _count(
        default=None, allow_null=True, help_text="Part of the prompt tokens, like the next one."
    )
    cache_write_tokens = _count(default=None, allow_null=True)
    reasoning_tokens = _count(
        default=None, allow_null=True, help_text="Part of the completion tokens."
    )
    cost = CostField(
        default=None, allow_null=True, help_text="USD. By default computed from the prices."
    )
    created_at = MomentField(required=False, help_text="When the call began, by default now.")
    idempotency_key = TextField(
        required=False,
        max_length=255,
        trim_whitespace=False,
        help_text="Your name for the call: if you send it again, no second row is written.",
    )

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """Check that parts are not larger than their whole, and that there is one model."""
        errors = {}
        model = attrs.pop("model", "")
        if model and attrs["model_name"] not in ("", model):
            errors["model"] = ["Give either model or model_name."]
        attrs["model_name"] = attrs["model_name"] or model
        for whole, parts in _PARTS.items():
            given = [name for name in parts if attrs[name]]
            if sum(attrs[name] for name in given) > (attrs[whole] or 0):
                errors |= {name: [f"Must be a part of {whole}."] for name in given}
        if errors:
            raise serializers.ValidationError(errors)
        return attrs


_PARTS = {
    "prompt_tokens": ("cached_tokens", "cache_write_tokens"),
    "completion_tokens": ("reasoning_tokens",),
}


class RecordManySerializer(serializers.Serializer[dict[str, Any]]):
    """Calls to record, all or none. A list of calls without the object around it works too."""

    calls = serializers.ListField(
        child=TrustedRecordSerializer(), min_length=1, max_length=MAX_CALLS
    )


class RecordedManySerializer(serializers.Serializer[dict[str, Any]]):
    """The rows of the calls, in their order."""

    created = serializers.IntegerField(help_text="How many rows are new.")
    repeated = serializers.IntegerField(help_text="How many rows earlier requests had written.")
    results = LogSerializer(many=True)


class _Totals(serializers.Serializer[dict[str, Any]]):
    total_requests = serializers.IntegerField()
    total_tokens = serializers.IntegerField(allow_null=True)
    total_prompt_tokens = serializers.IntegerField(allow_null=True)
    total_completion_tokens = serializers.IntegerField(allow_null=True)
    cost = cost_field(allow_null=True, help_text="USD, over the calls with a known cost.")
    successful_requests = serializers.IntegerField()
    failed_requests = serializers.IntegerField()
    success_rate = serializers.FloatField(allow_null=True, help_text="Percent.")
    average_response_time_ms = serializers.FloatField(allow_null=True)
    average_tokens_per_request = serializers.FloatField(
        allow_null=True, help_text="Over the calls with known tokens."
    )


class _DateRange(serializers.Serializer[dict[str, Any]]):
    start = serializers.DateField()
    end = serializers.DateField()


class _Day(serializers.Serializer[dict[str, Any]]):
    date = serializers.DateField()
    requests = serializers.IntegerField()
    tokens = serializers.IntegerField(allow_null=True)
    cost = cost_field(allow_null=True)
    successful_requests = serializers.IntegerField()
    failed_requests = serializers.IntegerField()


class _Section(serializers.Serializer[dict[str, Any]]):
    display_name = serializers.CharField()
    count = serializers.IntegerField()
    total_tokens = serializers.IntegerField(allow_null=True)
    cost = cost_field(allow_null=True)
    avg_response_time_ms = serializers.FloatField(allow_null=True)
    percentage = serializers.FloatField(help_text="Percent of the calls.")


class _TopUser(serializers.Serializer[dict[str, Any]]):
    user__username = serializers.CharField()
    user__email = serializers.CharField(allow_null=True)
    user_total_requests = serializers.IntegerField()
    user_total_tokens = serializers.IntegerField(allow_null=True)
    user_cost = cost_field(allow_null=True)


class _Period(_Totals):
    days_included = serializers.IntegerField()
    date_range = _DateRange()
    daily_breakdown = _Day(many=True, help_text="One entry for every day of the range.")


class StatsSerializer(_Period):
    """Totals of your calls, from the log."""

    total_cached_tokens = serializers.IntegerField(
        allow_null=True, help_text="Prompt tokens that were read from the provider's cache."
    )
    total_cache_write_tokens = serializers.IntegerField(
        allow_null=True, help_text="Prompt tokens that were written to the provider's cache."
    )
    total_reasoning_tokens = serializers.IntegerField(
        allow_null=True, help_text="Completion tokens of reasoning."
    )
    total_audio_tokens = serializers.IntegerField(
        allow_null=True, help_text="Audio tokens of prompt and completion."
    )
    total_image_tokens = serializers.IntegerField(
        allow_null=True, help_text="Image tokens of prompt and completion."
    )
    total_tool_calls = serializers.IntegerField(
        allow_null=True, help_text="Searches and code executions that the provider ran."
    )
    unknown_usage_requests = serializers.IntegerField(
        help_text="Successful calls of which nothing was counted."
    )
    unpriced_requests = serializers.IntegerField(
        help_text="Successful calls with known usage, but without a known cost."
    )
    by_section = serializers.DictField(child=_Section(), help_text="Totals by section code.")
    recent_logs = LogSerializer(many=True)


class GlobalStatsSerializer(StatsSerializer):
    """Totals of all calls, from the log."""

    unattributed_requests = serializers.IntegerField(help_text="Calls without a user.")
    total_users = serializers.IntegerField(help_text="Number of users with calls.")
    top_users = _TopUser(many=True)


class DailyStatsSerializer(_Period):
    """Totals of your calls, from the daily rows."""


class GlobalDailyStatsSerializer(DailyStatsSerializer):
    """Totals of all calls, from the daily rows and the calls without a user."""

    unattributed_requests = serializers.IntegerField(help_text="Calls without a user.")
    active_users = serializers.IntegerField(help_text="Number of users with calls.")
    top_users = _TopUser(many=True)


class ReportLineSerializer(serializers.Serializer[dict[str, Any]]):
    """The calls that one line adds up. It has only the dimensions of `group_by`."""

    #: The queryset only tells the type of the key.
    user = serializers.PrimaryKeyRelatedField(
        queryset=get_user_model()._base_manager.all(),
        required=False,
        allow_null=True,
        help_text="Null for calls without a user.",
    )
    username = serializers.CharField(required=False, allow_null=True)
    email = serializers.CharField(required=False, allow_null=True)
    model = serializers.CharField(required=False, help_text='"" if unknown.')
    section = serializers.CharField(required=False)
    provider = serializers.CharField(required=False, help_text='"" if unknown.')
    day = serializers.DateField(required=False, help_text="In AI_USAGE_DAY_TIMEZONE.")
    hour = serializers.DateTimeField(required=False, help_text="When the hour starts, in UTC.")
    calls = serializers.IntegerField()
    failures = serializers.IntegerField()
    prompt_tokens = serializers.IntegerField(allow_null=True)
    completion_tokens = serializers.IntegerField(allow_null=True)
    total_tokens = serializers.IntegerField(allow_null=True)
    cached_tokens = serializers.IntegerField(allow_null=True)
    cache_write_tokens = serializers.IntegerField(allow_null=True)
    reasoning_tokens = serializers.IntegerField(allow_null=True)
    audio_tokens = serializers.IntegerField(allow_null=True)
    image_tokens = serializers.IntegerField(allow_null=True)
    tool_calls = serializers.IntegerField(allow_null=True)
    cost = cost_field(allow_null=True, help_text="USD, over the calls with a known cost.")
    unpriced = serializers.IntegerField(
        help_text="Successful calls with known usage, but without a known cost."
    )
    unknown_usage = serializers.IntegerField(
        help_text="Successful calls of which nothing was counted."
    )


class ReportSerializer(serializers.Serializer[dict[str, Any]]):
    """A page of the report."""

    start = serializers.CharField(help_text="The first day or moment.")
    end = serializers.CharField(help_text="The last day, or the moment before which it stops.")
    timezone = serializers.CharField(help_text="AI_USAGE_DAY_TIMEZONE.")
    group_by = serializers.ListField(child=serializers.CharField())
    results = ReportLineSerializer(many=True)
    next = serializers.URLField(allow_null=True, help_text="The next page; null on the last.")


class RootSerializer(serializers.Serializer[dict[str, str]]):
    """The URLs of the endpoints."""

    report = serializers.URLField()
    logs = serializers.URLField()
    log_stats = serializers.URLField()
    global_log_stats = serializers.URLField()
    stats = serializers.URLField()
    global_stats = serializers.URLField()
    reconciliation = serializers.URLField()


class ErrorSerializer(serializers.Serializer[dict[str, str]]):
    """An error."""

    detail = serializers.CharField()
