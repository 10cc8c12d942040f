"""Price old rows anew, in small steps, beside live traffic.

Each row is priced with the price table and the settings of today, at the prices of the day of its
call. A row keeps its cost in these cases, because nothing here could restore it:

- The provider reported the cost: `cost_source` in the metadata is "provider".
- The origin of the cost is not certain: `cost_source` names neither the site's prices nor the
  table. Or the row has no `cost_source`, as in older releases, and its provider may have reported
  the cost (see `REPORTS_COST`).
- The call has no price today, for example because the table dropped the model.

In the last case, the cost becomes unknown if it is certainly wrong:

- The row says that a count was not valid, so its cost is that of another number.
- The cost is 0, and an older release wrote it, which priced units without a price at 0.
"""

from __future__ import annotations

import datetime as dt
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Context, Decimal
from typing import Any, NamedTuple

from django.db import OperationalError, connections, transaction
from django.db.models import QuerySet

from .. import daily, sql
from ..delivery.batches import is_contention
from ..delivery.row_values import event_of, with_price
from ..events import UNKNOWN
from ..models import AIUsageLog
from ..pricing import PROVIDER, SITE, Quote, data, quote
from ..querysets import UNCOUNTED
from ..related_users import LOCK_TIMEOUT

#: Rows priced in one transaction, which takes some 0.1 s; on SQLite, which has one writer, less.
BATCH, SQLITE_BATCH = 1_000, 200
#: How often rows that another transaction has locked are tried again.
TRIES = 100
#: Seconds before each try, and between the batches on SQLite.
PAUSE = 0.1

#: Providers whose answers may have a cost. Older releases stored it without a `cost_source`.
REPORTS_COST = frozenset(
    {
        # Their own cost:
        "deepinfra",  # https://deepinfra.com/docs/openai_api
        "litellm",  # https://docs.litellm.ai/docs/proxy/cost_tracking
        "openrouter",  # https://openrouter.ai/docs/use-cases/usage-accounting
        "perplexity",  # https://docs.perplexity.ai/api-reference
        "x-ai",  # https://docs.x.ai/developers/cost-tracking
        "xai",
        # Gateways, which pass on the answers of other providers:
        *("aimlapi", "cloudflare", "edenai", "huggingface", "portkey", "requesty"),
        *("unify", "vercel"),
        # Any provider:
        *("", UNKNOWN),
    }
)

#: Why a row keeps its cost, besides `PROVIDER`.
UNCERTAIN, NO_PRICE = "uncertain", "no_price"
#: `metadata["clamped"]` names these too, but they are not counts.
_NO_COUNTS = frozenset({"cost", "response_time_ms"})
#: Django reads this many digits from SQLite.
_DIGITS = Context(prec=15)


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Which rows to price, among the successful calls with known usage."""

    #: The first and the last day, in AI_USAGE_DAY_TIMEZONE; None leaves that end open.
    start: dt.date | None = None
    end: dt.date | None = None
    #: The name of the model, as the rows have it.
    model: str | None = None
    only_unpriced: bool = False

    def rows(self, using: str) -> QuerySet[AIUsageLog]:
        """Return the rows. Their `update` does not change the daily rows."""
        rows: QuerySet[AIUsageLog] = QuerySet(AIUsageLog, using=using)
        rows = rows.filter(success=True).exclude(UNCOUNTED)
        if self.start is not None:
            rows = rows.filter(day__gte=self.start)
        if self.end is not None:
            rows = rows.filter(day__lte=self.end)
        if self.model is not None:
            rows = rows.filter(model_name=self.model)
        return rows.filter(cost=None) if self.only_unpriced else rows


@dataclass(frozen=True, slots=True)
class Effect:
    """What repricing does to some rows."""

    rows: int = 0
    #: Rows whose cost changes, also to or from unknown.
    changed: int = 0
    #: Rows whose cost was kept, because it cannot or must not be calculated.
    kept: int = 0
    #: Rows whose cost is unknown now.
    unpriced: int = 0
    #: USD; unknown costs add nothing.
    old_cost: Decimal = Decimal(0)
    new_cost: Decimal = Decimal(0)

    def plus(self, other: Effect) -> Effect:
        """Return the sum of both."""
        return Effect(
            self.rows + other.rows,
            self.changed + other.changed,
            self.kept + other.kept,
            self.unpriced + other.unpriced,
            self.old_cost + other.old_cost,
            self.new_cost + other.new_cost,
        )


@dataclass(frozen=True, slots=True)
class Repriced:
    """The result of a run."""

    #: By (provider, model).
    models: Mapping[tuple[str, str], Effect]
    #: How many rows kept their cost, by reason: "provider", "uncertain" or "no_price".
    kept: Mapping[str, int]

    @property
    def totals(self) -> Effect:
        """The sum over all models."""
        total = Effect()
        for each in self.models.values():
            total = total.plus(each)
        return total


@dataclass(slots=True)
class _Tally:
    """What the completed batches did."""

    advance: Callable[[int], None] | None
    models: dict[tuple[str, str], Effect] = field(default_factory=dict)
    kept: Counter[str] = field(default_factory=Counter)

    def add(self, priced: Sequence[_Priced]) -> None:
        for row in priced:
            key = row.log.provider, row.log.model_name
            self.models[key] = self.models.get(key, Effect()).plus(row.totals())
            if row.kept:
                self.kept[row.kept] += 1
        if self.advance is not None:
            self.advance(len(priced))


class _Priced(NamedTuple):
    """A row, and what it costs today."""

    log: AIUsageLog
    #: USD, None if it is unknown.
    cost: Decimal | None
    metadata: Mapping[str, Any]
    #: Why the row keeps the cost that it has, "" if it was priced.
    kept: str = ""

    @property
    def is_changed(self) -> bool:
        """Whether the cost changes."""
        if self.log.cost is None or self.cost is None:
            return self.log.cost is not self.cost
        return _DIGITS.plus(self.log.cost) != _DIGITS.plus(self.cost)

    @property
    def is_to_be_written(self) -> bool:
        """Whether the cost or the metadata of the row changes."""
        return self.is_changed or self.metadata != self.log.metadata

    def totals(self) -> Effect:
        """Return what the row adds to the result."""
        zero = Decimal(0)
        return Effect(
            1,
            int(self.is_changed),
            int(bool(self.kept)),
            int(self.cost is None),
            self.log.cost or zero,
            (self.cost if self.is_changed else self.log.cost) or zero,
        )


def reprice(
    selection: Selection,
    *,
    using: str,
    dry_run: bool = False,
    batch: int | None = None,
    advance: Callable[[int], None] | None = None,
) -> Repriced:
    """Price the rows of `selection` anew, and change their daily rows by the differences.

    Each batch is a transaction of its own that locks at most `batch` rows and gives way to other
    transactions. Rows that another one has locked are tried again later. If the run is stopped, the
    completed batches stay, and another run continues. Rows that are inserted in the meantime are
    not read: they have the prices of the process that delivers them.

    Args:
        selection: The rows.
        using: The alias of the database.
        dry_run: Change nothing and only return what would be done.
        batch: The number of rows in a transaction; by default `BATCH` or `SQLITE_BATCH`.
        advance: Called with the number of rows of each completed batch.

    Raises:
        OperationalError: Rows stayed locked by another transaction for `TRIES` times `PAUSE`.
        DatabaseError: Any error of the database; the completed batches stay.
    """
    tally = _Tally(advance)
    rows = selection.rows(using)
    batch = batch or (SQLITE_BATCH if connections[using].vendor == "sqlite" else BATCH)
    locked: list[Any] = []
    for pks in _pages(rows, batch):
        if dry_run:
            priced = [_priced(log) for log in rows.filter(pk__in=pks)]
        else:
            priced, left = _batch(rows, pks, using)
            locked += left
        tally.add(priced)
    for _ in range(TRIES):
        if not locked:
            break
        time.sleep(PAUSE)
        again, locked = locked, []
        for at in range(0, len(again), batch):
            # Rows that were removed, or that the selection does not include now, are not locked.
            left = list(rows.filter(pk__in=again[at : at + batch]).values_list("pk", flat=True))
            priced, left = _batch(rows, left, using)
            locked += left
            tally.add(priced)
    if locked:
        raise OperationalError(f"{len(locked)} rows are locked by another transaction")
    return Repriced(dict(sorted(tally.models.items())), dict(sorted(tally.kept.items())))


def _pages(rows: QuerySet[AIUsageLog], size: int) -> Iterator[list[Any]]:
    """Yield the keys of the rows that exist now, in their order, which is that of time."""
    keys = rows.order_by("pk").values_list("pk", flat=True)
    newest = keys.last()
    last = None
    while newest is not None:
        page = keys.filter(pk__lte=newest)
        pks = list((page if last is None else page.filter(pk__gt=last))[:size])
        if not pks:
            return
        yield pks
        last = pks[-1]


def _batch(
    rows: QuerySet[AIUsageLog], pks: list[Any], using: str
) -> tuple[list[_Priced], list[Any]]:
    """Price rows in one transaction; return them, and the keys of those to try again.

    Locks are taken in the order of all writers: the rows, then the daily rows by user and day.
    """
    connection = connections[using]
    is_inside = connection.in_atomic_block
    try:
        with transaction.atomic(using=using):
            # Against `prune` and `rebuild`, which lock all daily rows of a day.
            daily.begin_upkeep(using)
            if connection.vendor == "postgresql" and not is_inside:
                # Below deadlock_timeout: if this and a transaction of the site wait for each other,
                # this one gives way.
                with connection.cursor() as cursor:
                    cursor.execute("SELECT set_config('lock_timeout', %s, true)", [LOCK_TIMEOUT])
            chosen = rows.filter(pk__in=pks).order_by("pk")
            free = chosen.select_for_update(skip_locked=True, no_key=True)
            priced = [_priced(log) for log in free]
            _write([row for row in priced if row.is_to_be_written], using)
    except OperationalError as error:
        if not is_contention(error):
            raise
        return [], pks
    if connection.vendor == "sqlite" and not is_inside:
        # SQLite has one write lock. A connection that waits for it asks again every 0.1 s.
        # https://sqlite.org/c3ref/busy_timeout.html
        time.sleep(PAUSE)
    seen = {row.log.pk for row in priced}
    return priced, [pk for pk in pks if pk not in seen]


def _write(priced: list[_Priced], using: str) -> None:
    if not priced:
        return
    connection: Any = connections[using]
    log = connection.ops.quote_name(AIUsageLog._meta.db_table)
    columns = {"id": "uuid", "cost": "numeric", "metadata": "jsonb"}
    written = (
        {
            "id": row.log.pk.hex,
            "cost": None if row.cost is None else format(row.cost, "f"),
            "metadata": row.metadata if isinstance(row.metadata, dict) else None,
        }
        for row in priced
    )
    with connection.cursor() as cursor:
        cursor.execute(
            f"UPDATE {log} SET cost = e.cost, metadata = COALESCE(e.metadata, {log}.metadata) "
            f"FROM {sql.relation(columns, connection, 'e')} WHERE {log}.id = e.id",
            [sql.parameter(written)],
        )
    zero = Decimal(0)
    differences = (
        (
            (row.log.user_id, row.log.day),
            daily.Sums(total_cost=(row.cost or zero) - (row.log.cost or zero)),
        )
        for row in priced
        if row.log.user_id is not None and row.is_changed
    )
    daily.add(daily.merge(differences), using=using)


def _priced(log: AIUsageLog) -> _Priced:
    kept = reason_to_keep(log)
    if not kept:
        quoted = quote(event_of(log))
        if quoted.cost is None and log.cost is not None and not _is_wrong(log, quoted):
            kept = NO_PRICE
    if kept:
        return _Priced(log, log.cost, log.metadata, kept)
    # A site that writes rows itself may have stored any JSON value.
    is_object = isinstance(log.metadata, dict)
    metadata = with_price(log.metadata, quoted) if is_object else log.metadata
    return _Priced(log, quoted.cost, metadata)


def reason_to_keep(log: AIUsageLog) -> str:
    """Return why the cost of a row must not be calculated, "" if it may be."""
    source = _metadata(log).get("cost_source")
    if source == PROVIDER:
        return PROVIDER
    if log.cost is None:
        return ""
    if source:
        name = data.load().version.partition(" ")[0]
        is_ours = source == SITE or str(source).partition(" ")[0] == name
    else:
        is_ours = log.provider.lower() not in REPORTS_COST
    return "" if is_ours else UNCERTAIN


def is_selected(log: AIUsageLog) -> bool:
    """Return whether a run without options reads `log`, as `Selection.rows` does."""
    is_counted = log.usage_details is not None or log.total_tokens is not None
    return log.success and is_counted


def _is_wrong(log: AIUsageLog, quoted: Quote) -> bool:
    """Return whether the cost of a row that has no price now is provably wrong; see above."""
    metadata = _metadata(log)
    clamped = metadata.get("clamped")
    if isinstance(clamped, dict) and set(clamped) - _NO_COUNTS:
        return True
    return not log.cost and bool(quoted.unpriced_units) and "cost_source" not in metadata


def _metadata(log: AIUsageLog) -> Mapping[str, Any]:
    return log.metadata if isinstance(log.metadata, dict) else {}
