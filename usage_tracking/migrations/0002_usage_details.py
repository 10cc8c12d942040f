from __future__ import annotations

from django.db import migrations, models


class Migration(migrations.Migration):
    """Add a column without a default, which rewrites no row."""

    dependencies = [("usage_tracking", "0001_ai_usage")]

    operations = [
        migrations.AddField(
            model_name="aiusagelog",
            name="usage_details",
            field=models.JSONField(blank=True, null=True),
        ),
    ]
