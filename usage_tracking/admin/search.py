"""The search of the lists, by what indexes or a short period can find."""

from __future__ import annotations

from typing import Any

from django.contrib.auth import get_user_model
from django.db.models import Q, QuerySet

from ..models import AIUsageLog
from .filters import id_in

#: How many users whose name begins with the search term to look for.
_USERS = 100


def found_logs(logs: QuerySet[AIUsageLog], search_term: str) -> QuerySet[AIUsageLog]:
    """Narrow `logs` by an id, or else by user, model and error message."""
    term = search_term.strip()
    if not term:
        return logs
    if pk := id_in(term):
        return logs.filter(pk=pk)
    found = Q(model_name__icontains=term) | Q(error_message__icontains=term)
    if users := users_named(term):
        found |= Q(user__in=users)
    return logs.filter(found)


def users_named(term: str) -> list[Any]:
    """Return the keys of the first 100 users whose name begins with `term`."""
    model = get_user_model()
    name = model.USERNAME_FIELD
    # Not the default manager: it may hide users who have logs.
    named = model._base_manager.filter(**{f"{name}__istartswith": term})
    return list(named.order_by(name).values_list("pk", flat=True)[:_USERS])
