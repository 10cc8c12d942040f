"""The tables: the calls, the daily rows of each user, and what providers billed."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any, Self
from uuid import UUID

from django.conf import settings
from django.db import models, router, transaction
from django.db.models import Case, F, Q, Value, When
from django.db.models.functions import Cast, Coalesce
from django.utils import timezone
from django.utils.functional import classproperty

from . import conf, daily
from .days import day_of
from .events import MANUAL, REPORTED, UNKNOWN, utc_now, uuid7, with_faults
from .fields import UserForeignKey, cascade, set_null
from .querysets import AIUsageLogQuerySet
from .redaction import clean_error, clean_metadata, clean_text
from .usage import Usage


def new_id() -> UUID:
    """Return a UUIDv7 of the current time."""
    return uuid7(utc_now())


def today() -> dt.date:
    """Return the current day in AI_USAGE_DAY_TIMEZONE."""
    return day_of(timezone.now())


class AIUsageLog(models.Model):
    """One AI call. NULL tokens were not reported, a NULL cost (USD) is unknown; NULL is not 0."""

    class UsageSource(models.TextChoices):
        REPORTED = REPORTED, "Reported by the provider"
        MANUAL = MANUAL, "Recorded by hand"
        UNKNOWN = UNKNOWN, "Unknown"

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    user = UserForeignKey(
        settings.AUTH_USER_MODEL,
        null=True,
        blank=True,
        on_delete=set_null,
        related_name="ai_usage_logs",
        db_index=False,  # the index on (user, created_at) is used
    )
    section = models.CharField(max_length=50)
    provider = models.CharField(max_length=50, blank=True, default="")
    model_name = models.CharField(max_length=100, blank=True, default="")
    operation = models.CharField(max_length=30, blank=True, default="")
    prompt_tokens = models.BigIntegerField(null=True, blank=True)
    completion_tokens = models.BigIntegerField(null=True, blank=True)
    total_tokens = models.GeneratedField(
        expression=Case(
            When(Q(prompt_tokens=None, completion_tokens=None), then=None),
            default=Coalesce("prompt_tokens", Value(0)) + Coalesce("completion_tokens", Value(0)),
        ),
        output_field=models.BigIntegerField(null=True),
        db_persist=True,
    )
    cached_tokens = models.BigIntegerField(null=True, blank=True)
    reasoning_tokens = models.BigIntegerField(null=True, blank=True)
    #: The units that have no column, by their names in genai-prices; NULL if there are none.
    usage_details = models.JSONField(null=True, blank=True)
    usage_source = models.CharField(
        max_length=10, choices=UsageSource.choices, default=UsageSource.MANUAL
    )
    cost = models.DecimalField(
        "cost (USD)", max_digits=20, decimal_places=10, null=True, blank=True
    )
    response_time_ms = models.BigIntegerField(default=0)
    success = models.BooleanField(default=True)
    # NULL as well as "", because hand-written trackers pass None.
    error_message = models.TextField(null=True, blank=True)  # noqa: DJ001
    metadata = models.JSONField(default=dict, blank=True)
    day = models.DateField(editable=False)
    created_at = models.DateTimeField(default=timezone.now)

    objects = AIUsageLogQuerySet.as_manager()
    #: Whether `track_ai_usage` returned the instance before the row was written.
    is_preview = False

    class Meta:
        db_table = "ai_usage_log"
        ordering = ("-created_at",)
        base_manager_name = "objects"
        verbose_name = "AI usage log"
        verbose_name_plural = "AI usage logs"
        indexes = (
            models.Index(fields=("user", "-created_at"), name="ai_usage_log_user"),
            models.Index(fields=("-created_at",), name="ai_usage_log_created"),
            models.Index(fields=("day", "section"), name="ai_usage_log_day"),
            models.Index(fields=("day",), condition=Q(user=None), name="ai_usage_log_unattributed"),
        )

    def __str__(self) -> str:
        return f"{self.get_section_display()} · {self.model_name or '?'} · {self.created_at:%F %T}"

    def save(
        self,
        *args: Any,
        using: str | None = None,
        update_fields: Iterable[str] | None = None,
        **kwargs: Any,
    ) -> None:
        """Save the row and update its daily row, in one transaction."""
        self.set_day()
        if self.is_preview:
            # Django then tries an UPDATE first, and inserts the row if it does not exist.
            self._state.adding = False
        if update_fields is not None and "created_at" in (update_fields := set(update_fields)):
            update_fields.add("day")
        using = using or router.db_for_write(type(self), instance=self)
        # Checked before the save, because newer Django versions replace the expression then.
        is_expression = hasattr(self.created_at, "resolve_expression")
        # Django sends post_save after its own transaction has ended; this one includes both.
        with transaction.atomic(using=using):
            super().save(*args, using=using, update_fields=update_fields, **kwargs)
            if is_expression:
                # Only the database can evaluate the expression: take the day from it too.
                row = AIUsageLog.objects.using(using).filter(pk=self.id)
                row.update(created_at=F("created_at"))
                self.day = row.values_list("day", flat=True).get()

    def _save_table(
        self,
        raw: bool = False,  # noqa: FBT001, FBT002 -- Django's signature
        cls: Any = None,
        force_insert: Any = False,  # noqa: FBT002
        force_update: bool = False,  # noqa: FBT001, FBT002
        using: str | None = None,
        update_fields: Any = None,
    ) -> bool:
        # Close to the statement: with pre_save and post_save, a receiver of the site could save or
        # update the row between our receiver and the statement.
        if raw or using is None:  # loaddata: the daily rows come in the same fixture
            return super()._save_table(raw, cls, force_insert, force_update, using, update_fields)  # type: ignore[misc,no-any-return]
        # Not the manager of a proxy, which may hide rows, and not the key of a child, which is not
        # set yet when its parent is saved.
        row = AIUsageLog.objects.using(using).filter(pk=self.id)
        with daily.following(row, using=using):
            return super()._save_table(raw, cls, force_insert, force_update, using, update_fields)  # type: ignore[misc,no-any-return]

    @classproperty
    def SECTION_CHOICES(cls) -> list[tuple[str, str]]:
        """`AI_USAGE_SECTIONS` as choices; not on the field, so that no migration contains them."""
        return list(conf.sections().items())

    def get_section_display(self) -> str:
        """Return the label of the section, or its code if it has none."""
        return conf.sections().get(self.section, self.section)

    @classmethod
    def log_usage(
        cls,
        user: Any,
        section: str,
        prompt_tokens: int | None = 0,
        completion_tokens: int | None = 0,
        response_time_ms: int = 0,
        success: bool = True,  # noqa: FBT001, FBT002 -- the signature hand-written trackers have
        model_name: str = "",
        error_message: str | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> Self:
        """Create one row on the caller's connection, in its transaction.

        Secrets in the error and the metadata are redacted, and texts are truncated to their
        columns. A count that cannot be true is left out and named in the metadata.

        Args:
            user: The user of the call, or None.
            section: The section code.
            prompt_tokens: The number of input tokens, None if it is unknown.
            completion_tokens: The number of output tokens, None if it is unknown.
            response_time_ms: The duration of the call in milliseconds.
            success: Whether the call succeeded.
            model_name: The name of the model.
            error_message: The error of a failed call.
            metadata: Further data about the call.
        """
        used = Usage(prompt_tokens=prompt_tokens, completion_tokens=completion_tokens).cleaned()
        log = cls(
            user=user,
            section=clean_text(section, 50),
            prompt_tokens=used.prompt_tokens,
            completion_tokens=used.completion_tokens,
            response_time_ms=response_time_ms,
            success=success,
            model_name=clean_text(model_name or "", 100),
            error_message=clean_error(error_message) if error_message else error_message,
            metadata=with_faults(clean_metadata(metadata), used.faults),
        )
        log.save()
        return log

    def set_day(self) -> None:
        """Set `day` to the day of `created_at`."""
        if not hasattr(self.created_at, "resolve_expression"):
            # Django's field accepts text too.
            field: Any = self._meta.get_field("created_at")
            self.day = day_of(field.to_python(self.created_at))
        elif self.__dict__.get("day") is None:
            self.day = today()  # until the database has evaluated the expression


class AIUsageDashboard(AIUsageLog):
    """The calls as the dashboard shows them, which gives it an entry in the admin's index.

    It has no permissions of its own, and no rows are read or written with it.
    """

    class Meta:
        proxy = True
        default_permissions = ()
        verbose_name = "AI usage dashboard"
        verbose_name_plural = "AI usage dashboard"


class AIUsageTracking(models.Model):
    """A daily row: the sums over one user's rows of one day. Costs are in USD."""

    user = UserForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=cascade,
        related_name="ai_usage_tracking",
        db_index=False,  # the unique constraint has an index
    )
    date = models.DateField(default=today)
    total_requests = models.BigIntegerField(default=0)
    total_prompt_tokens = models.BigIntegerField(default=0)
    total_completion_tokens = models.BigIntegerField(default=0)
    total_tokens = models.BigIntegerField(default=0)
    total_response_time_ms = models.BigIntegerField(default=0)
    average_response_time_ms = models.GeneratedField(
        expression=Case(
            When(
                total_requests__gt=0,
                then=Cast("total_response_time_ms", models.FloatField()) / F("total_requests"),
            ),
            default=Value(0.0),
        ),
        output_field=models.FloatField(),
        db_persist=True,
    )
    successful_requests = models.BigIntegerField(default=0)
    failed_requests = models.BigIntegerField(default=0)
    total_cost = models.DecimalField(
        "total cost (USD)", max_digits=20, decimal_places=10, default=Decimal(0)
    )
    #: Rows of this day were pruned, so the daily row cannot be rebuilt from them.
    logs_pruned = models.BooleanField(default=False, db_default=False, editable=False)
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        db_table = "ai_usage_tracking"
        ordering = ("-date",)
        verbose_name = "daily AI usage"
        verbose_name_plural = "daily AI usage"
        constraints = (
            models.UniqueConstraint(fields=("user", "date"), name="ai_usage_tracking_user_date"),
        )
        indexes = (models.Index(fields=("date",), name="ai_usage_tracking_date"),)

    def __str__(self) -> str:
        return f"{self.user} · {self.date}"

    def update_stats(
        self,
        prompt_tokens: int = 0,
        completion_tokens: int = 0,
        response_time_ms: int = 0,
        success: bool = True,  # noqa: FBT001, FBT002 -- the signature hand-written trackers have
    ) -> None:
        """Add one call to this day atomically, and refresh the instance.

        A call with a row is already counted; a call that is added only here is reported as drift.

        Args:
            prompt_tokens: The number of input tokens.
            completion_tokens: The number of output tokens.
            response_time_ms: The duration of the call in milliseconds.
            success: Whether the call succeeded.
        """
        using = router.db_for_write(type(self), instance=self)
        call = daily.of_call(prompt_tokens, completion_tokens, response_time_ms, success, None)
        with transaction.atomic(using=using):
            daily.add({(self.user_id, self.date): call}, using=using)
        row = type(self).objects.using(using).get(user_id=self.user_id, date=self.date)
        self.pk = row.pk
        self.refresh_from_db(using=using)


class AIProviderBill(models.Model):
    """What a provider says it billed on one UTC day, see `billing.Billed`. Costs are in USD.

    NULL is "the provider does not say". A day on which nothing was billed has one row without a
    family, whose numbers are 0.
    """

    provider = models.CharField(max_length=50)
    day = models.DateField("day (UTC)")
    family = models.CharField(max_length=50, blank=True, default="")
    model_name = models.CharField(max_length=100, blank=True, default="")
    project = models.CharField(max_length=100, blank=True, default="")
    key_id = models.CharField(max_length=100, blank=True, default="")
    key_name = models.CharField(max_length=100, blank=True, default="")
    key_hint = models.CharField(max_length=10, blank=True, default="")
    service_tier = models.CharField(max_length=50, blank=True, default="")
    line_item = models.CharField(max_length=200, blank=True, default="")
    requests = models.BigIntegerField(null=True, blank=True)
    prompt_tokens = models.BigIntegerField(null=True, blank=True)
    completion_tokens = models.BigIntegerField(null=True, blank=True)
    cached_tokens = models.BigIntegerField(null=True, blank=True)
    #: Negative for a credit.
    cost = models.DecimalField(
        "cost (USD)", max_digits=20, decimal_places=10, null=True, blank=True
    )
    #: Further counts, by the names of the provider; NULL if there are none.
    units = models.JSONField(null=True, blank=True)
    fetched_at = models.DateTimeField(default=timezone.now)

    class Meta:
        db_table = "ai_usage_bill"
        ordering = ("-day", "provider", "family", "model_name")
        verbose_name = "AI provider bill"
        verbose_name_plural = "AI provider bills"
        constraints = (
            # Two fetches of a day at the same time must not add it up twice.
            models.UniqueConstraint(
                fields=(
                    "provider",
                    "day",
                    "family",
                    "model_name",
                    "project",
                    "key_id",
                    "service_tier",
                    "line_item",
                ),
                name="ai_usage_bill_once",
            ),
        )

    def __str__(self) -> str:
        name = self.line_item or self.model_name or self.family or "nothing"
        return f"{self.provider} · {self.day} · {name}"
