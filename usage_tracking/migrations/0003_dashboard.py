from __future__ import annotations

from django.db import migrations


class Migration(migrations.Migration):
    """Add the proxy model of the dashboard, which has no table."""

    dependencies = [("usage_tracking", "0002_usage_details")]

    operations = [
        migrations.CreateModel(
            name="AIUsageDashboard",
            fields=[],
            options={
                "verbose_name": "AI usage dashboard",
                "verbose_name_plural": "AI usage dashboard",
                "proxy": True,
                "default_permissions": (),
                "indexes": [],
                "constraints": [],
            },
            bases=("usage_tracking.aiusagelog",),
        ),
    ]
