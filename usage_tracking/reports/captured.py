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
from ..querysets import UNCOUNTED, UNKNOWN_USAGE, UNPRICED
from .grouping import as_cost

_DAY = dt.timedelta(days=1)
_BATCH = "batch"
#: `metadata.unknown` of answers whose reader left, or that were cut.
_LEFT = ("body never read", "stream abandoned", "stream ended before its final counts")
#: Errors before the provider had the request, or with which the provider refused it. After any
#: other one, the provider may have answered, and bills the answer.
_NOT_BILLED = ("HTTP ", "Connect", "PoolTimeout", "ClientConnect", "EndpointConnection", "NewConn")


class Captured(NamedTuple):
    """The sums over some calls of one provider, model and operation on one UTC day."""

    provider: str
    #: The endpoint family in which the provider bills them; None if it bills their cost alone.
    family: str | None
    model_name: str
    day: dt.date
    #: The last four characters of the API key, "" if they were not recorded.
    key_hint: str
    is_batch: bool
    #: All rows, and the requests that were billed: of a batch, those that it completed.
    rows: int
    requests: int
    prompt_tokens: int
    completion_tokens: int
    #: The sum of the known costs in USD; None if no call has one.
    cost: Decimal | None
    #: The tokens of the calls that have a cost.
    priced_prompt_tokens: int
    priced_completion_tokens: int
    #: Successful calls without usage, and the tokens that were counted before their answer ended.
    unknown: int
    partial_tokens: int
    #: Those of them that were left or cut, and failed calls that the provider may have answered.
    left: int
    timed_out: int
    unpriced: int
    unpriced_tokens: int

    @property
    def tokens(self) -> int:
        """The tokens of prompt and completion."""
        return self.prompt_tokens + self.completion_tokens


#: The number of the day comes first, because SQLite sorts by these to group.
_KEYS = ("day_number", "model_name", "operation", "provider", "hint")
_SUMS = (
    "billed_requests",
    "prompt_tokens",
    "completion_tokens",
    "cost",
    "priced_prompt",
    "priced_completion",
    "is_unknown",
    "partial",
    "is_left",
    "is_timed_out",
    "is_unpriced",
    "unpriced_tokens",
)


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
            day_number=_number_of(midnights[1:-1]),
            hint=KeyTextTransform("key_hint", "metadata") if hints else Value(""),
            **_numbers(),
        )
        .values_list(*_KEYS, *_SUMS)
    )
    sql, parameters = rows.query.get_compiler(using=using).as_sql()
    keys = ", ".join(_KEYS)
    sums = ", ".join(f"SUM({name})" for name in _SUMS)
    with connections[using].cursor() as cursor:
        cursor.execute(
            f"SELECT {keys}, COUNT(*), {sums} FROM ({sql}) AS source GROUP BY {keys}", parameters
        )
        return list(_read(cursor.fetchall(), days))


def _read(rows: Sequence[tuple[Any, ...]], days: Sequence[dt.date]) -> Iterator[Captured]:
    for number, model_name, operation, provider, hint, calls, *sums in rows:
        requests, prompt, completion, cost, *rest = sums
        family = family_of(provider, operation)
        yield Captured(
            provider,
            None if family is None else family.name,
            model_name,
            days[number],
            hint or "",
            operation == _BATCH,
            int(calls),
            int(requests or 0),
            int(prompt or 0),
            int(completion or 0),
            None if cost is None else as_cost(cost),
            *(int(each or 0) for each in rest),
        )


def _numbers() -> dict[str, Any]:
    is_batch = Q(operation=_BATCH)
    priced = Q(cost__isnull=False)
    not_billed = Q()
    for beginning in _NOT_BILLED:
        not_billed |= Q(error_message__startswith=beginning)
    reason = Case(
        When(UNKNOWN_USAGE, then=KeyTextTransform("unknown", "metadata")),
        output_field=CharField(),
    )
    return {
        "reason": reason,
        "billed_requests": Case(
            When(is_batch & Q(success=True), then=_Count("batch", "completed")),
            When(UNCOUNTED & Q(success=False), then=Value(0)),
            default=Value(1),
            output_field=BigIntegerField(),
        ),
        "priced_prompt": Case(When(priced, then=F("prompt_tokens"))),
        "priced_completion": Case(When(priced, then=F("completion_tokens"))),
        "is_unknown": _flag(UNKNOWN_USAGE),
        "partial": Case(
            When(UNCOUNTED, then=_Count("partial", "prompt_tokens", "completion_tokens")),
            output_field=BigIntegerField(),
        ),
        "is_left": _flag(Q(reason__in=_LEFT)),
        "is_timed_out": _flag(UNCOUNTED & Q(success=False) & ~not_billed),
        "is_unpriced": _flag(UNPRICED),
        "unpriced_tokens": Case(When(UNPRICED, then=F("total_tokens"))),
    }


def _flag(condition: Q) -> Any:
    return Case(When(condition, then=Value(1)), default=Value(0), output_field=IntegerField())


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
