from __future__ import annotations

from decimal import Decimal
from typing import Any

import django.db.models.expressions
import django.db.models.functions.comparison
import django.utils.timezone
from django.conf import settings
from django.db import migrations, models

import usage_tracking.fields
import usage_tracking.models
from usage_tracking import migrating

# Not named 0001_initial: a site whose own tracker was an app of this label has that one applied,
# and Django would take ours for done.
INDEXES = (
    "ai_usage_log_user",
    "ai_usage_log_created",
    "ai_usage_log_day",
    "ai_usage_log_unattributed",
    "ai_usage_tracking_date",
    "ai_usage_tracking_user_date",
)


def refuse_taken_names(apps: Any, schema_editor: Any) -> None:
    """Sites that tracked by hand often have tables of these names; never touch theirs."""
    migrating.refuse_taken_names(apps, schema_editor, INDEXES)


class Migration(migrations.Migration):
    # `--fake-initial` would take tables of these names for ours, whatever their columns.
    initial = False

    dependencies = [
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.RunPython(refuse_taken_names, migrations.RunPython.noop, elidable=False),
        migrations.CreateModel(
            name="AIUsageLog",
            fields=[
                (
                    "id",
                    models.UUIDField(
                        default=usage_tracking.models.new_id,
                        editable=False,
                        primary_key=True,
                        serialize=False,
                    ),
                ),
                ("section", models.CharField(max_length=50)),
                ("provider", models.CharField(blank=True, default="", max_length=50)),
                ("model_name", models.CharField(blank=True, default="", max_length=100)),
                ("operation", models.CharField(blank=True, default="", max_length=30)),
                ("prompt_tokens", models.BigIntegerField(blank=True, null=True)),
                ("completion_tokens", models.BigIntegerField(blank=True, null=True)),
                (
                    "total_tokens",
                    models.GeneratedField(
                        db_persist=True,
                        expression=models.Case(
                            models.When(
                                models.Q(("completion_tokens", None), ("prompt_tokens", None)),
                                then=None,
                            ),
                            default=django.db.models.expressions.CombinedExpression(
                                django.db.models.functions.comparison.Coalesce(
                                    "prompt_tokens", models.Value(0)
                                ),
                                "+",
                                django.db.models.functions.comparison.Coalesce(
                                    "completion_tokens", models.Value(0)
                                ),
                            ),
                        ),
                        output_field=models.BigIntegerField(null=True),
                    ),
                ),
                ("cached_tokens", models.BigIntegerField(blank=True, null=True)),
                ("reasoning_tokens", models.BigIntegerField(blank=True, null=True)),
                (
                    "usage_source",
                    models.CharField(
                        choices=[
                            ("reported", "Reported by the provider"),
                            ("manual", "Recorded by hand"),
                            ("unknown", "Unknown"),
                        ],
                        default="manual",
                        max_length=10,
                    ),
                ),
                (
                    "cost",
                    models.DecimalField(
                        blank=True,
                        decimal_places=10,
                        max_digits=20,
                        null=True,
                        verbose_name="cost (USD)",
                    ),
                ),
                ("response_time_ms", models.BigIntegerField(default=0)),
                ("success", models.BooleanField(default=True)),
                ("error_message", models.TextField(blank=True, null=True)),
                ("metadata", models.JSONField(blank=True, default=dict)),
                ("day", models.DateField(editable=False)),
                ("created_at", models.DateTimeField(default=django.utils.timezone.now)),
                (
                    "user",
                    usage_tracking.fields.UserForeignKey(
                        blank=True,
                        db_index=False,
                        null=True,
                        on_delete=usage_tracking.fields.set_null,
                        related_name="ai_usage_logs",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
            options={
                "verbose_name": "AI usage log",
                "verbose_name_plural": "AI usage logs",
                "db_table": "ai_usage_log",
                "ordering": ("-created_at",),
                "base_manager_name": "objects",
                "indexes": [
                    models.Index(fields=["user", "-created_at"], name="ai_usage_log_user"),
                    models.Index(fields=["-created_at"], name="ai_usage_log_created"),
                    models.Index(fields=["day", "section"], name="ai_usage_log_day"),
                    models.Index(
                        condition=models.Q(("user", None)),
                        fields=["day"],
                        name="ai_usage_log_unattributed",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="AIUsageTracking",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("date", models.DateField(default=usage_tracking.models.today)),
                ("total_requests", models.BigIntegerField(default=0)),
                ("total_prompt_tokens", models.BigIntegerField(default=0)),
                ("total_completion_tokens", models.BigIntegerField(default=0)),
                ("total_tokens", models.BigIntegerField(default=0)),
                ("total_response_time_ms", models.BigIntegerField(default=0)),
                (
                    "average_response_time_ms",
                    models.GeneratedField(
                        db_persist=True,
                        expression=models.Case(
                            models.When(
                                then=django.db.models.expressions.CombinedExpression(
                                    django.db.models.functions.comparison.Cast(
                                        "total_response_time_ms", models.FloatField()
                                    ),
                                    "/",
                                    models.F("total_requests"),
                                ),
                                total_requests__gt=0,
                            ),
                            default=models.Value(0.0),
                        ),
                        output_field=models.FloatField(),
                    ),
                ),
                ("successful_requests", models.BigIntegerField(default=0)),
                ("failed_requests", models.BigIntegerField(default=0)),
                (
                    "total_cost",
                    models.DecimalField(
                        decimal_places=10,
                        default=Decimal("0"),
                        max_digits=20,
                        verbose_name="total cost (USD)",
                    ),
                ),
                (
                    "logs_pruned",
                    models.BooleanField(db_default=False, default=False, editable=False),
                ),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                ("updated_at", models.DateTimeField(auto_now=True)),
                (
                    "user",
                    usage_tracking.fields.UserForeignKey(
                        db_index=False,
                        on_delete=usage_tracking.fields.cascade,
                        related_name="ai_usage_tracking",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
            options={
                "verbose_name": "daily AI usage",
                "verbose_name_plural": "daily AI usage",
                "db_table": "ai_usage_tracking",
                "ordering": ("-date",),
                "indexes": [models.Index(fields=["date"], name="ai_usage_tracking_date")],
                "constraints": [
                    models.UniqueConstraint(
                        fields=("user", "date"), name="ai_usage_tracking_user_date"
                    )
                ],
            },
        ),
    ]
