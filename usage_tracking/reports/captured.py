"""What the log has of the calls that a provider may have billed, by UTC day and model."""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Iterator, Sequence
from decimal import Decimal
from typing import Any, NamedTuple

from django.db import connections
from django.db.models import (
    BigIntegerField,
    Case,
    CharField,
    ExpressionWrapper,
    F,
    Func,
    IntegerField,
    Q,
    Value,
    When,
)
from django.db.models.fields.json import KeyTextTransform

from .. import units
from ..billing.families import family_of
from ..days import stored
from ..models import AIUsageLog
from ..querysets import UNCOUNTED, UNKNOWN_USAGE
from .grouping import as_cost

_DAY = dt.timedelta(days=1)
_BATCH = "batch"
#: `metadata.unknown` of answers whose reader left, or that were cut.
_LEFT_REASONS = ("body never read", "stream abandoned", "stream ended before its final counts")
#: Errors before the provider had the request, or with which the provider refused it. After any
#: other one, the provider may have answered, and bills the answer.
_NOT_BILLED = ("HTTP ", "Connect", "PoolTimeout", "ClientConnect", "EndpointConnection", "NewConn")


# The kinds of calls, by what is known of them.
_KINDS = 7
_PRICED, _UNPRICED, _UNCOSTED, _UNKNOWN, _LEFT, _TIMED_OUT, _REFUSED = range(_KINDS)


class Captured(NamedTuple):
    """The sums over calls of one provider, model and operation on one UTC day, of one kind."""

    provider: str
    #: The endpoint family in which the provider bills them; None if it bills their cost alone.
    family: str | None
    model_name: str
    day: dt.date
    #: The last four characters of the API key, "" if they were not recorded.
    key_hint: str
    is_batch: bool
    kind: int
    #: All rows, and the requests that were billed: of a batch, those that it completed.
    rows: int
    requests: int
    prompt_tokens: int
    completion_tokens: int
    #: The sum of the known costs in USD; None if no call has one.
    cost: Decimal | None
    #: The tokens that were counted before an answer without usage ended.
    partial_tokens: int

    @property
    def tokens(self) -> int:
        """The tokens of prompt and completion."""
        return self.prompt_tokens + self.completion_tokens

    @property
    def is_priced(self) -> bool:
        """Whether the calls have usage and a cost."""
        return self.kind == _PRICED

    @property
    def unpriced(self) -> int:
        """The successful calls that have usage and no cost."""
        return self.rows if self.kind == _UNPRICED else 0

    @property
    def unknown(self) -> int:
        """The successful calls without usage."""
        return self.rows if self.kind in (_UNKNOWN, _LEFT) else 0

    @property
    def left(self) -> int:
        """Those of them whose answer was left or cut."""
        return self.rows if self.kind == _LEFT else 0

    @property
    def timed_out(self) -> int:
        """The failed calls that the provider may have answered."""
        return self.rows if self.kind == _TIMED_OUT else 0


#: SQLite sorts by these to group. Each one more takes a tenth of the time again, so one number is
#: for both day and kind.
_KEYS = ("day_and_kind", "model_name", "operation", "provider")
_SUMS = ("completed", "prompt_tokens", "completion_tokens", "cost", "partial")


def captured_calls(
    start: dt.date, end: dt.date, providers: Collection[str], *, hints: bool, using: str
) -> list[Captured]:
    """Add up the calls to `providers` from `start` to `end`, in one statement.

    Args:
        start: The first day in UTC.
        end: The last day in UTC.
        providers: The providers, as the log names them.
        hints: Whether to tell the API keys apart.
        using: The database alias.
    """
    names = (*_KEYS, "hint") if hints else _KEYS
    days = [start + n * _DAY for n in range((end - start).days + 1)]
    midnights = [stored(dt.datetime.combine(day, dt.time(), dt.UTC)) for day in (*days, end + _DAY)]
    rows = (
        AIUsageLog.objects.using(using)
        .order_by()
        .filter(
            provider__in=list(providers),
            created_at__gte=midnights[0],
            created_at__lt=midnights[-1],
        )
        .annotate(
            **_numbers(),
            day_and_kind=_number_of(midnights[1:-1]) * Value(_KINDS) + F("kind"),
            hint=KeyTextTransform("key_hint", "metadata"),
        )
        .values_list(*names, *_SUMS)
    )
    sql, parameters = rows.query.get_compiler(using=using).as_sql()
    keys = ", ".join(names)
    sums = ", ".join(f"SUM({name})" for name in _SUMS)
    with connections[using].cursor() as cursor:
        cursor.execute(
            f"SELECT {keys}, COUNT(*), {sums} FROM ({sql}) AS source GROUP BY {keys}", parameters
        )
        return list(_read(cursor.fetchall(), days, len(names)))


def _read(
    rows: Sequence[tuple[Any, ...]], days: Sequence[dt.date], keys: int
) -> Iterator[Captured]:
    for row in rows:
        day_and_kind, model_name, operation, provider, *hint = row[:keys]
        calls, completed, prompt, completion, cost, partial = row[keys:]
        number, kind = divmod(day_and_kind, _KINDS)
        family, is_batch = family_of(provider, operation), operation == _BATCH
        was_answered = kind not in (_TIMED_OUT, _REFUSED)
        yield Captured(
            provider,
            None if family is None else family.name,
            model_name,
            days[number],
            next(filter(None, hint), ""),
            is_batch,
            kind,
            int(calls),
            int((completed or 0) if is_batch else calls) if was_answered else 0,
            int(prompt or 0),
            int(completion or 0),
            None if cost is None else as_cost(cost),
            int(partial or 0),
        )


def _numbers() -> dict[str, Any]:
    refused = Q()
    for beginning in _NOT_BILLED:
        refused |= Q(error_message__startswith=beginning)
    is_left = Q(reason__in=_LEFT_REASONS)
    return {
        "reason": Case(
            When(UNKNOWN_USAGE, then=KeyTextTransform("unknown", "metadata")),
            output_field=CharField(),
        ),
        "kind": Case(
            When(~UNCOUNTED & Q(cost__isnull=False), then=Value(_PRICED)),
            When(~UNCOUNTED & Q(success=True), then=Value(_UNPRICED)),
            When(~UNCOUNTED, then=Value(_UNCOSTED)),
            When(Q(success=True) & is_left, then=Value(_LEFT)),
            When(success=True, then=Value(_UNKNOWN)),
            When(refused, then=Value(_REFUSED)),
            default=Value(_TIMED_OUT),
            output_field=IntegerField(),
        ),
        "completed": Case(
            When(operation=_BATCH, then=_Count("batch", "completed")),
            output_field=BigIntegerField(),
        ),
        "partial": Case(
            When(UNCOUNTED, then=_Count("partial", "prompt_tokens", "completion_tokens")),
            output_field=BigIntegerField(),
        ),
    }


def _number_of(midnights: Sequence[Any]) -> Any:
    """Return an expression for the number of midnights until `created_at`.

    Comparing instants needs no time zone in SQL, which SQLite has not; a search by halves needs few
    comparisons for each row.
    """
    numbers = range(len(midnights) + 1)

    def between(first: int, last: int) -> Any:
        if first == last:
            return Value(numbers[first])
        middle = (first + last) // 2
        return Case(
            When(created_at__lt=midnights[middle], then=between(first, middle)),
            default=between(middle + 1, last),
            output_field=IntegerField(),
        )

    return ExpressionWrapper(between(0, len(midnights)), IntegerField())


class _Count(Func):
    """The sum of counts in an object of the metadata, 0 for what is no count.

    Sites write metadata too, so the object may be anything.
    """

    output_field = BigIntegerField()

    def __init__(self, name: str, *counts: str) -> None:
        super().__init__(F("metadata"))
        self._name, self._counts = name, counts

    def as_postgresql(self, compiler: Any, connection: Any, **context: Any) -> Any:
        """Return SQL for PostgreSQL, where a cast of text to a number fails."""
        return self._as_sql(
            compiler,
            connection,
            "jsonb_typeof(%(expressions)s #> '{{{name},{count}}}') = 'number'",
            "(%(expressions)s #>> '{{{name},{count}}}')::numeric",
            **context,
        )

    def as_sqlite(self, compiler: Any, connection: Any, **context: Any) -> Any:
        """Return SQL for SQLite."""
        return self._as_sql(
            compiler,
            connection,
            "json_type(%(expressions)s, '$.{name}.{count}') = 'integer'",
            "json_extract(%(expressions)s, '$.{name}.{count}')",
            **context,
        )

    def _as_sql(
        self, compiler: Any, connection: Any, is_number: str, number: str, **context: Any
    ) -> Any:
        terms = []
        for count in self._counts:
            tested = is_number.format(name=self._name, count=count)
            value = number.format(name=self._name, count=count)
            terms.append(
                f"CASE WHEN {tested} THEN CASE WHEN {value} BETWEEN 0 AND {units.MAX_COUNT} "
                f"THEN {value} ELSE 0 END ELSE 0 END"
            )
        template = f"({' + '.join(terms)})"
        return self.as_sql(compiler, connection, template=template, **context)
