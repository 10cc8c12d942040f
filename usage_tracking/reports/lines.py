"""The lines of reports: by section, by model, by user and by error."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

from django.db.models import Case, Q, QuerySet, TextField, Value, When
from django.db.models.functions import Coalesce

from .. import conf, units
from ..models import AIUsageLog
from ..querysets import UNCOUNTED, UNKNOWN_USAGE, UNPRICED
from .details import DetailCount
from .grouping import Grouping, Groups, Measure, as_cost, group
from .names import names_of
from .totals import RANKS, Totals

#: How many users, models or errors a report lists by default.
TOP = 10

BY_SECTION = Grouping(("section",))
BY_DAY_AND_SECTION = Grouping(("day", "section"))
_TEXT = TextField()


def by_model(top: int | None = None, rank: str = "tokens") -> Grouping:
    """Group by provider and model, and keep the `top` models by `rank`, one of RANKS."""
    return Grouping(("provider", "model_name"), top, RANKS[rank][0])


def by_user(top: int, rank: str = "tokens") -> Grouping:
    """Group by user, and keep the `top` users by `rank` and the calls without one."""
    return Grouping(("user_id",), top, RANKS[rank][0])


def by_error(top: int) -> Grouping:
    """Group the failed calls by message, and keep the `top` messages with the most calls."""
    return Grouping(("error",), top, rank=("calls",), keeps_null=False)


@dataclass(frozen=True, slots=True)
class SectionLine:
    """The calls of one section; `display_name` is its label in AI_USAGE_SECTIONS, else its code."""

    section: str
    display_name: str
    figures: Totals


@dataclass(frozen=True, slots=True)
class ModelLine:
    """The calls of one provider's model. Either name is "" if unknown."""

    provider: str
    model_name: str
    figures: Totals


@dataclass(frozen=True, slots=True)
class UserLine:
    """The calls of one user. In the line of the calls without a user, all three are None."""

    user_id: Any
    username: str | None
    email: str | None
    figures: Totals


@dataclass(frozen=True, slots=True)
class ErrorLine:
    """The failed calls with one error message; "" stands for none."""

    error_message: str
    figures: Totals


def totals_of(logs: QuerySet[AIUsageLog], *groupings: Grouping) -> tuple[Groups[Totals], ...]:
    """Return the totals of `logs` by each of the groupings, in one statement."""
    more = sorted({name for g in groupings for name in g.columns} & {*logs.query.annotations})
    return group([countable(logs, *more)], TOTALS, *groupings)


def countable(logs: QuerySet[AIUsageLog], *more: str) -> QuerySet[AIUsageLog, dict[str, Any]]:
    """Return the columns of `logs` that `TOTALS` and the groupings read, and those named `more`."""
    error = Case(When(success=False, then=Coalesce("error_message", Value(""), output_field=_TEXT)))
    # Annotations, so that each of these definitions is written once, as a Q.
    marks = {name: Case(When(condition, then=Value(1))) for name, condition in _MARKS.items()}
    details = {name: DetailCount(*names) for name, names in _DETAILS.items()}
    rows = logs.annotate(error=error, **marks, **details)
    return cast(
        "QuerySet[AIUsageLog, dict[str, Any]]", rows.values(*_COLUMNS, *marks, *details, *more)
    )


def section_lines(groups: Groups[Totals]) -> tuple[SectionLine, ...]:
    """Return one line for each group of `BY_SECTION`."""
    return tuple(section_line(code, totals) for (code,), totals in groups.found)


def section_line(code: str, totals: Totals) -> SectionLine:
    """Return the line of the section `code`, under its label."""
    return SectionLine(code, conf.sections().get(code, code), totals)


def model_lines(groups: Groups[Totals]) -> tuple[ModelLine, ...]:
    """Return one line for each group of `by_model`."""
    return tuple(ModelLine(provider, name, totals) for (provider, name), totals in groups.found)


def user_lines(groups: Groups[Totals], *, using: str) -> tuple[UserLine, ...]:
    """Return one line for each group of `by_user`, that of the calls without a user last."""
    attributed = [(pk, totals) for (pk,), totals in groups.found if pk is not None]
    names = names_of([pk for pk, _ in attributed], using=using)
    lines = [UserLine(pk, *names[pk], totals) for pk, totals in attributed]
    lines += [UserLine(None, None, None, totals) for (pk,), totals in groups.found if pk is None]
    return tuple(lines)


def error_lines(groups: Groups[Totals]) -> tuple[ErrorLine, ...]:
    """Return one line for each group of `by_error`."""
    return tuple(ErrorLine(message, totals) for (message,), totals in groups.found)


def _totals(sums: Sequence[Any]) -> Totals:
    numbers = dict(zip(TOTALS.sums, sums, strict=True))
    cost = numbers.pop("cost")
    # PostgreSQL's SUM of bigints is a numeric, which comes as a Decimal.
    whole: dict[str, Any] = {
        name: None if value is None else int(value) for name, value in numbers.items()
    }
    return Totals(**whole, cost=None if cost is None else as_cost(cost))


#: Calls that are counted, by the name of their number in `Totals`.
_MARKS = {
    "unknown_usage": UNKNOWN_USAGE,
    "failed_unknown_usage": UNCOUNTED & Q(success=False),
    "unpriced": UNPRICED,
    "failed_unpriced": Q(success=False, cost=None),
}
#: Sums in `Totals` of units that have no column.
_DETAILS = {
    "cache_write_tokens": ("cache_write_tokens",),
    "audio_tokens": ("input_audio_tokens", "output_audio_tokens"),
    "image_tokens": ("input_image_tokens", "output_image_tokens"),
    "tool_calls": units.TOOL_CALLS,
}
_COLUMNS = (
    "day",
    "section",
    "provider",
    "model_name",
    "user_id",
    "success",
    "error",
    "prompt_tokens",
    "completion_tokens",
    "total_tokens",
    "cached_tokens",
    "reasoning_tokens",
    "cost",
    "response_time_ms",
)
#: The sums of `Totals`, for `group`.
TOTALS = Measure(
    sums={
        "calls": "COUNT(*)",
        "failures": "COUNT(CASE WHEN NOT success THEN 1 END)",
        "prompt_tokens": "SUM(prompt_tokens)",
        "completion_tokens": "SUM(completion_tokens)",
        "total_tokens": "SUM(total_tokens)",
        "cached_tokens": "SUM(cached_tokens)",
        "reasoning_tokens": "SUM(reasoning_tokens)",
        "cost": "SUM(cost)",
        "response_time_ms": "SUM(response_time_ms)",
        "calls_with_tokens": "COUNT(total_tokens)",
        "unattributed": "COUNT(CASE WHEN user_id IS NULL THEN 1 END)",
        **{name: f"COUNT({name})" for name in _MARKS},
        **{name: f"SUM({name})" for name in _DETAILS},
    },
    count="calls",
    read=_totals,
)
