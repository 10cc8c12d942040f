"""Print the number of recorded calls for each tenant, user and section."""

from __future__ import annotations

import json
from typing import Any

import django
from django.conf import settings


def main() -> None:
    django.setup()
    from django.contrib.auth.models import User
    from django.db import connection, connections
    from django.db.models import Count

    from usage_tracking import daily
    from usage_tracking.models import AIUsageLog

    def rows(using: str) -> list[Any]:
        assert not daily.drift(using=using)
        names = dict(User.objects.using(using).values_list("pk", "username"))
        counts = AIUsageLog.objects.using(using).order_by().values_list("user_id", "section")
        return sorted(
            ((names.get(pk), section, n) for pk, section, n in counts.annotate(Count("pk"))),
            key=str,
        )

    if "django_tenants" in settings.INSTALLED_APPS:
        found = {}
        is_shared = "usage_tracking" not in settings.TENANT_APPS
        for schema in ("public", "one", "two"):
            connection.set_schema(schema, include_public=is_shared)
            found["nobody" if schema == "public" else schema] = rows("default")
    else:
        aliases = (alias for alias in connections if alias != "usage")
        found = {"nobody" if name == "default" else name: rows(name) for name in aliases}
    print(json.dumps(found))


if __name__ == "__main__":
    main()
