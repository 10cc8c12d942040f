from __future__ import annotations

import uuid

from django.db import migrations, models


class Migration(migrations.Migration):
    initial = True

    operations = [
        migrations.CreateModel(
            name="User",
            fields=[
                ("password", models.CharField(max_length=128, verbose_name="password")),
                (
                    "last_login",
                    models.DateTimeField(blank=True, null=True, verbose_name="last login"),
                ),
                (
                    "key",
                    models.UUIDField(
                        db_column="Key",
                        default=uuid.uuid4,
                        primary_key=True,
                        serialize=False,
                        verbose_name="Schlüssel",
                    ),
                ),
                ("email", models.EmailField(db_column="E-Mail", max_length=254, unique=True)),
            ],
            options={"abstract": False},
        ),
    ]
