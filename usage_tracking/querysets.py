"""Bulk writes that update the daily rows too."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, Self

from django.db import NotSupportedError, models, transaction
from django.db.models import Q

from . import daily
from .days import day_of

if TYPE_CHECKING:
    from .models import AIUsageLog

_CHUNK = 1000

#: Calls of which nothing was counted, whether they failed or not.
UNCOUNTED = Q(prompt_tokens=None, completion_tokens=None, usage_details__isnull=True)
#: Successful calls of which nothing was counted. A failed call is expected to use nothing.
UNKNOWN_USAGE = UNCOUNTED & Q(success=True)
#: Successful calls with known usage whose cost is unknown.
UNPRICED = Q(success=True, cost=None) & (
    Q(prompt_tokens__isnull=False)
    | Q(completion_tokens__isnull=False)
    | Q(usage_details__isnull=False)
)


class AIUsageLogQuerySet(models.QuerySet["AIUsageLog"]):
    """Rows. `bulk_create` and `update` change the daily rows too, in one transaction."""

    def unknown_usage(self) -> Self:
        """Return the successful calls of which nothing was counted."""
        return self.filter(UNKNOWN_USAGE)

    def unpriced(self) -> Self:
        """Return the successful calls with known usage whose cost is unknown."""
        return self.filter(UNPRICED)

    def bulk_create(
        self,
        objs: Iterable[AIUsageLog],
        batch_size: int | None = None,
        ignore_conflicts: bool = False,  # noqa: FBT001, FBT002 -- Django's signature
        update_conflicts: bool = False,  # noqa: FBT001, FBT002
        *args: Any,
        **kwargs: Any,
    ) -> list[AIUsageLog]:
        """Create rows like Django's `bulk_create`, without the conflict options.

        Raises:
            NotSupportedError: `ignore_conflicts` or `update_conflicts` is set; with them the
                database does not report which rows it wrote.
        """
        if ignore_conflicts or update_conflicts:
            raise NotSupportedError(
                "AIUsageLog.objects.bulk_create() does not take ignore_conflicts or "
                "update_conflicts: the daily totals could not be kept in step. Filter out the "
                "ids that exist first."
            )
        logs = list(objs)
        for log in logs:
            log.set_day()
        self._for_write = True
        with transaction.atomic(using=self.db):
            created = super().bulk_create(logs, batch_size, *args, **kwargs)
            evaluated = [log.pk for log in logs if hasattr(log.created_at, "resolve_expression")]
            for chunk in _chunks(evaluated):
                self._set_days(self._plain(chunk))  # only the database can evaluate it
            daily.add(self._sums([log.pk for log in created]), using=self.db)
        return created

    def update(self, **kwargs: Any) -> int:
        """Update rows like Django's `update`; a changed `created_at` changes `day` too.

        `bulk_update` calls this method.
        """
        if (
            not daily.COUNTED.intersection(kwargs)
            or self.query.is_sliced  # Django refuses these three with its own errors
            or self.query.combinator
            or self.query.distinct_fields
        ):
            return super().update(**kwargs)
        self._for_write = True
        updated = 0
        with transaction.atomic(using=self.db):
            daily.begin_write(self.db)
            # Lock by pk, because a query with DISTINCT or GROUP BY cannot lock.
            chosen = self._plain(self.order_by().values("pk")).order_by("pk")
            locked = list(chosen.select_for_update().values_list("pk", flat=True))
            before = self._sums(locked)
            for pks in _chunks(locked):
                updated += super(AIUsageLogQuerySet, self.filter(pk__in=pks)).update(**kwargs)
                if "created_at" in kwargs and "day" not in kwargs:
                    self._set_days(self._plain(pks))
            # Once for all chunks, so that daily rows are locked in one order.
            daily.add(daily.difference(before, self._sums(locked)), using=self.db)
        self._result_cache = None
        return updated

    update.alters_data = True  # type: ignore[attr-defined]

    def delete(self) -> tuple[int, dict[str, int]]:
        """Delete like Django's `delete`; take locks in the order that all writers use."""
        if not (self.query.is_sliced or self.query.combinator or self.query.distinct_fields):
            self._for_write = True
            with transaction.atomic(using=self.db):
                daily.begin_write(self.db)
                chosen = self._plain(self.order_by().values("pk")).order_by("pk")
                locked = list(chosen.select_for_update().values_list("pk", flat=True))
                daily.lock(self._sums(locked), using=self.db)
                return super().delete()
        return super().delete()

    delete.alters_data = True  # type: ignore[attr-defined]
    delete.queryset_only = True  # type: ignore[attr-defined]

    def _sums(self, pks: list[Any]) -> dict[daily.Key, daily.Sums]:
        return daily.merge(
            item for chunk in _chunks(pks) for item in daily.of_logs(self._plain(chunk)).items()
        )

    def _plain(self, pks: Any) -> AIUsageLogQuerySet:
        return AIUsageLogQuerySet(self.model, using=self.db).filter(pk__in=pks)

    def _set_days(self, rows: AIUsageLogQuerySet) -> None:
        by_day: dict[dt.date, list[Any]] = {}
        for pk, day, created_at in rows.values_list("pk", "day", "created_at"):
            if (right := day_of(created_at)) != day:
                by_day.setdefault(right, []).append(pk)
        for day, pks in by_day.items():
            super(AIUsageLogQuerySet, self._plain(pks)).update(day=day)


def _chunks(pks: list[Any]) -> Iterator[list[Any]]:
    for start in range(0, len(pks), _CHUNK):
        yield pks[start : start + _CHUNK]
