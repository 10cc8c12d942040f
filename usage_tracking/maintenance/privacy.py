"""Export and erase what is stored about one user."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from django.db import transaction
from django.db.models import Count, Exists, OuterRef, Q, QuerySet, Sum
from django.db.models.functions import Coalesce

from .. import daily
from ..models import AIUsageLog, AIUsageTracking

#: Rows changed in one transaction.
BATCH = 1000


@dataclass(frozen=True, slots=True)
class UserDataCounts:
    """How much is stored about a user."""

    rows: int
    daily_rows: int
    #: Totals that only the daily rows hold, because the rows were pruned.
    pruned_calls: int
    pruned_tokens: int
    #: USD.
    pruned_cost: Decimal
    #: The known cost of the rows, in USD.
    cost: Decimal


def user_data(user: Any, *, using: str) -> Generator[AIUsageLog | AIUsageTracking]:
    """Yield every row and then every daily row of `user`, oldest first, without loading all."""
    rows = AIUsageLog.objects.using(using).filter(user=user).order_by("created_at", "pk")
    yield from rows.iterator()
    yield from _daily_rows(user, using).order_by("date").iterator()


def count_user_data(user: Any, *, using: str) -> UserDataCounts:
    """Count what `erase` would change or remove."""
    daily_rows = _daily_rows(user, using)
    pruned = daily_rows.filter(_without_rows(using), logs_pruned=True).aggregate(
        calls=Coalesce(Sum("total_requests"), 0),
        tokens=Coalesce(Sum("total_tokens"), 0),
        cost=Coalesce(Sum("total_cost"), Decimal(0)),
    )
    rows = AIUsageLog.objects.using(using).filter(user=user)
    stored = rows.aggregate(rows=Count("pk"), cost=Coalesce(Sum("cost"), Decimal(0)))
    return UserDataCounts(
        stored["rows"],
        daily_rows.count(),
        pruned["calls"],
        pruned["tokens"],
        pruned["cost"],
        stored["cost"],
    )


def erase(user: Any, *, using: str) -> Iterator[int]:
    """Remove `user` from the rows, then remove the daily rows; yield the row count of each batch.

    A row keeps its tokens and its cost, so all totals that are not by user stay. Its error
    message and metadata, which may identify a person, are removed. Daily rows whose rows were
    pruned are removed too, as they are when the user is deleted, and their totals are lost. Each
    step is a transaction. If the caller stops early, the next call continues.
    """
    rows = AIUsageLog.objects.using(using).filter(user=user)
    while pks := list(rows.order_by("pk").values_list("pk", flat=True)[:BATCH]):
        chosen = AIUsageLog.objects.using(using).filter(pk__in=pks, user=user)
        yield chosen.update(user=None, error_message="", metadata={})
    with transaction.atomic(using=using):
        daily.begin_upkeep(using)
        # Lock in a statement of its own: the DELETE then sees the rows of every delivery that has
        # changed one of these daily rows.
        daily_rows = _daily_rows(user, using).order_by("date").select_for_update()
        locked = list(daily_rows.values_list("pk", flat=True))
        # A day with a call that arrived in the meantime stays.
        _daily_rows(user, using).filter(_without_rows(using), pk__in=locked).delete()


def matcher(user: Any) -> Callable[[str, str], bool]:
    """Return a function (user id, username of an event) → whether they identify `user`."""
    key, name = str(user.pk), user.get_username()
    return lambda user_id, username: user_id == key or (not user_id and username == name)


def _daily_rows(user: Any, using: str) -> QuerySet[AIUsageTracking]:
    return AIUsageTracking.objects.using(using).filter(user=user)


def _without_rows(using: str) -> Q:
    """Select the daily rows that have no row left."""
    rows = AIUsageLog.objects.using(using).filter(user=OuterRef("user"), day=OuterRef("date"))
    return Q(~Exists(rows))
