"""What is stored of one user: to be handed out, and to be taken off."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from django.db import transaction
from django.db.models import Exists, OuterRef, Q, QuerySet, Sum
from django.db.models.functions import Coalesce

from .. import daily
from ..models import AIUsageLog, AIUsageTracking

#: Logs changed in one transaction.
BATCH = 1000


@dataclass(frozen=True, slots=True)
class Stored:
    """How much is stored of a user."""

    logs: int
    days: int
    #: What only the daily rows know, because the logs were pruned.
    pruned_calls: int
    pruned_tokens: int
    pruned_cost: Decimal


def rows_of(user: Any, *, using: str) -> Generator[AIUsageLog | AIUsageTracking]:
    """Every log and every daily row of `user`, oldest first, read as they are asked for."""
    logs = AIUsageLog.objects.using(using).filter(user=user).order_by("created_at", "pk")
    yield from logs.iterator()
    yield from _days(user, using).order_by("date").iterator()


def stored(user: Any, *, using: str) -> Stored:
    """What `erase` would take off."""
    days = _days(user, using)
    pruned = days.filter(_without_logs(using), logs_pruned=True).aggregate(
        calls=Coalesce(Sum("total_requests"), 0),
        tokens=Coalesce(Sum("total_tokens"), 0),
        cost=Coalesce(Sum("total_cost"), Decimal(0)),
    )
    return Stored(
        AIUsageLog.objects.using(using).filter(user=user).count(),
        days.count(),
        pruned["calls"],
        pruned["tokens"],
        pruned["cost"],
    )


def erase(user: Any, *, using: str) -> Iterator[int]:
    """Takes `user` off the logs, step by step, and removes the daily rows; says how many logs.

    A log keeps what it counts, and so do all figures that are not by user; error message and
    metadata, which may name a person, go. Daily rows whose logs were pruned go as they would with
    the user, and take with them what only they know. Each step is a transaction; whoever stops in
    between goes on by calling again.
    """
    logs = AIUsageLog.objects.using(using).filter(user=user)
    while pks := list(logs.order_by("pk").values_list("pk", flat=True)[:BATCH]):
        chosen = AIUsageLog.objects.using(using).filter(pk__in=pks, user=user)
        yield chosen.update(user=None, error_message="", metadata={})
    with transaction.atomic(using=using):
        daily.begin_upkeep(using)
        # Locked by a statement before: the DELETE then sees the logs of each delivery that has
        # changed one of these rows.
        days = _days(user, using).order_by("date").select_for_update()
        locked = list(days.values_list("pk", flat=True))
        # A call that came in meanwhile keeps its day.
        _days(user, using).filter(_without_logs(using), pk__in=locked).delete()


def is_of(user: Any) -> Callable[[str, str], bool]:
    """Says of an event's user id and username whether they are those of `user`."""
    key, name = str(user.pk), user.get_username()
    return lambda user_id, username: user_id == key or (not user_id and username == name)


def _days(user: Any, using: str) -> QuerySet[AIUsageTracking]:
    return AIUsageTracking.objects.using(using).filter(user=user)


def _without_logs(using: str) -> Q:
    """Is true of the daily rows of which no log is left."""
    logs = AIUsageLog.objects.using(using).filter(user=OuterRef("user"), day=OuterRef("date"))
    return Q(~Exists(logs))
