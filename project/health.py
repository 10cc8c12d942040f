"""Health check for containers."""

from __future__ import annotations

from django.db import DatabaseError, connection, transaction
from django.http import HttpRequest, JsonResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe


# With ATOMIC_REQUESTS, BEGIN would fail on a broken database before the view runs.
@transaction.non_atomic_requests
@never_cache
@require_safe
def healthz(_request: HttpRequest) -> JsonResponse:
    """Return 200 if the database answers, else 503."""
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    except DatabaseError:
        return JsonResponse({"status": "error", "database": "unreachable"}, status=503)
    return JsonResponse({"status": "ok", "database": "ok"})
