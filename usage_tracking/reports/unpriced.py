"""The models that have calls without a cost, and the setting that prices them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from django.db import connections
from django.db.models import Case, CharField, F, Func, QuerySet, Value, When
from django.db.models.fields.json import KeyTextTransform
from django.db.models.functions import Substr

from .. import conf, units
from ..models import AIUsageLog
from ..pricing import data, own, table, unknown_model
from ..querysets import UNPRICED
from .lines import TOP

#: The command that prices the old rows once their price is known.
REPRICE = "reprice_ai_usage --only-unpriced"

#: How many kinds of calls are read of one model: those with different units, reasons and facts.
_KINDS = 20
_COLUMNS = ("provider", "model_name", "reason", "unpriced", "counted", "named")
_KIND = ", ".join(_COLUMNS)
#: The units that can have a price, in the order of reports; each call is one request.
_PRICED = (*units.NAMES, "requests")
_SHORT = {unit: name for name, unit in own.SHORT_NAMES.items()}
#: Priced apart from their whole by most providers.
_APART = ("cache_read_tokens", "cache_write_tokens")
_MODAL = re.compile("_?(?:audio|image|video)_")


@dataclass(frozen=True, slots=True)
class UnpricedModel:
    """The unpriced calls of one provider's model. Either name is "" if unknown."""

    provider: str
    model_name: str
    calls: int
    #: The counted units that have no price; all counted ones if the model has none at all.
    units: tuple[str, ...]
    #: Why most of the calls have no cost, "" if their rows do not say so.
    reason: str
    #: A line of settings to paste, in which `...` stands for the price in USD of each unit that is
    #: needed; "" if no price can help.
    setting: str

    def as_dict(self) -> dict[str, Any]:
        """Return the fields, under the keys of `usage_today --json`."""
        return {
            "provider": self.provider,
            "model_name": self.model_name,
            "calls": self.calls,
            "units": list(self.units),
            "reason": self.reason,
            "setting": self.setting,
        }


@dataclass(slots=True)
class _Model:
    """What is read of one model, the most frequent kind of calls first."""

    calls: int
    reasons: list[str] = field(default_factory=list)
    counted: set[str] = field(default_factory=set)
    unpriced: set[str] = field(default_factory=set)


def unpriced_models(
    logs: QuerySet[AIUsageLog], *, top: int = TOP, using: str
) -> tuple[UnpricedModel, ...]:
    """Return the models with unpriced calls among `logs`, most calls first.

    It takes one statement, and reads at most 20 kinds of calls of each model.

    Args:
        logs: The calls, priced or not.
        top: How many models to list.
        using: The database alias of `logs`.
    """
    found: dict[tuple[str, str], _Model] = {}
    for provider, name, reason, unpriced, counted, details, calls in _rows(logs, top, using):
        model = found.setdefault((provider, name), _Model(calls))
        if not reason and table.find(provider, name) is None:
            reason = unknown_model(provider, name)
        model.reasons.append(str(reason or ""))
        model.unpriced.update(_names(unpriced))
        model.counted.update(filter(units.is_unit, f"{counted or ''},{details or ''}".split(",")))
    lines = []
    has_prices = bool(conf.prices())
    for key, model in found.items():
        lines.append(_line(*key, model, has_prices=has_prices))
        has_prices = has_prices or bool(lines[-1].setting)
    return tuple(lines)


def setting_for(
    provider: str,
    model_name: str,
    counted: Iterable[str],
    unpriced: Iterable[str],
    reason: str,
    *,
    has_prices: bool | None = None,
) -> str:
    """Return the line of settings that prices a model, "" if no price can help.

    Args:
        provider: The provider of the calls, or "".
        model_name: The model of the calls, or "".
        counted: The units that the calls counted.
        unpriced: Those that have no price, if that is the reason.
        reason: Why the cost is unknown, as the row says.
        has_prices: Whether the line follows another definition of AI_USAGE_PRICES; None if it only
            does where the site has that setting.
    """
    facts = _facts(reason)
    if not model_name or not (facts or unpriced or _lacks_a_model(provider, model_name, reason)):
        return ""
    unpriced = set(unpriced)
    if not set(unpriced) <= set(_PRICED):
        return ""  # only a newer release, which counted the call, knows this unit
    names = _needed(set(counted), unpriced)
    if not names:
        return ""
    key = f"{provider}:{model_name}" if provider else model_name
    parts = [f'"when": {json.dumps(facts, ensure_ascii=False)}'] if facts else []
    # An entry without "when" replaces all prices of the table, so it repeats them.
    listed = {} if facts else _of_table(provider, model_name)
    parts += (
        f"{json.dumps(_SHORT.get(unit, unit))}: {listed.get(unit, '...')}"
        for unit in _ordered({*names, *listed})
    )
    entry = f"{{{', '.join(parts)}}}"
    quoted = json.dumps(key, ensure_ascii=False)
    prices = conf.prices()
    if not (bool(prices) if has_prices is None else has_prices):
        return f"AI_USAGE_PRICES = {{{quoted}: {entry}}}"
    place = f"AI_USAGE_PRICES[{quoted}]"
    if key in prices:
        star = "" if isinstance(prices[key], Mapping) else "*"
        entry = f"[{star}{place}, {entry}]"
    return f"{place} = {entry}"


def _of_table(provider: str, model_name: str) -> dict[str, str]:
    """Return the prices of the table in USD by unit; "..." for one that is not a single figure."""
    tariff = table.find(provider, model_name)
    if tariff is None:
        return {}
    is_single = len(tariff.entries) == 1
    return {
        unit: format(price, "f") if is_single and isinstance(price, Decimal) else "..."
        for unit, price in tariff.entries[-1].prices.items()
    }


def _rows(logs: QuerySet[AIUsageLog], top: int, using: str) -> Iterator[tuple[Any, ...]]:
    kinds = (
        logs.order_by()
        .filter(UNPRICED)
        .annotate(
            reason=Substr(KeyTextTransform("unpriced_reason", "metadata"), 1, 200),
            unpriced=Substr(KeyTextTransform("unpriced_units", "metadata"), 1, 2000),
            counted=_flags(),
            named=_KeysOf(F("usage_details")),
        )
    )
    sql, parameters = kinds.values_list(*_COLUMNS).query.get_compiler(using=using).as_sql()
    with connections[using].cursor() as cursor:
        cursor.execute(
            f"SELECT {_KIND}, in_all FROM (SELECT of_kinds.*, "
            "DENSE_RANK() OVER (ORDER BY in_all DESC, provider, model_name) AS place "
            "FROM (SELECT kinds.*, "
            "SUM(calls) OVER (PARTITION BY provider, model_name) AS in_all, "
            f"ROW_NUMBER() OVER (PARTITION BY provider, model_name ORDER BY calls DESC, {_KIND}) "
            f"AS kind FROM (SELECT {_KIND}, COUNT(*) AS calls FROM ({sql}) AS source "
            f"GROUP BY {_KIND}) AS kinds) AS of_kinds) AS placed "
            f"WHERE place <= {int(top)} AND kind <= {_KINDS} ORDER BY place, kind",
            parameters,
        )
        for *values, calls in cursor.fetchall():
            yield (*values, int(calls))


def _flags() -> Any:
    """Return an expression for the units whose columns hold a count above 0, joined by commas."""
    flags: Any = Value("")
    for unit, column in units.FIELDS.items():
        part = Case(When(**{f"{column}__gt": 0}, then=Value(f"{unit},")), default=Value(""))
        flags = _Joined(flags, part)
    return flags


class _Joined(Func):
    """Two texts, one after the other; Concat() would cast each."""

    template = "(%(expressions)s)"
    arg_joiner = " || "
    output_field = CharField()


class _KeysOf(Func):
    """The keys of a JSON object, joined by commas; NULL for any other value."""

    output_field = CharField()

    def as_postgresql(self, compiler: Any, connection: Any, **context: Any) -> Any:
        """Return SQL for PostgreSQL."""
        template = (
            "CASE jsonb_typeof(%(expressions)s) WHEN 'object' THEN (SELECT string_agg(of_row.key, "
            "',') FROM jsonb_object_keys(%(expressions)s) AS of_row(key)) END"
        )
        return self.as_sql(compiler, connection, template=template, **context)

    def as_sqlite(self, compiler: Any, connection: Any, **context: Any) -> Any:
        """Return SQL for SQLite."""
        template = (
            "CASE json_type(%(expressions)s) WHEN 'object' THEN (SELECT group_concat(of_row.key, "
            "',') FROM json_each(%(expressions)s) AS of_row) END"
        )
        return self.as_sql(compiler, connection, template=template, **context)


def _line(provider: str, name: str, model: _Model, *, has_prices: bool) -> UnpricedModel:
    settings = (
        setting_for(provider, name, model.counted, model.unpriced, reason, has_prices=has_prices)
        for reason in dict.fromkeys(model.reasons)
    )
    reason = model.reasons[0]
    if name and reason == unknown_model(provider, name):
        reason = "no price for the model"  # the line names it
    return UnpricedModel(
        provider=provider,
        model_name=name,
        calls=model.calls,
        units=_ordered(model.unpriced or model.counted),
        reason=reason,
        setting=next(filter(None, settings), ""),
    )


def _names(value: str | None) -> set[str]:
    """Return the units in the JSON list of a row, which may be any text; None for no text."""
    try:
        value = json.loads(value or "null")
    except (ValueError, RecursionError):
        return set()
    if not isinstance(value, list):
        return set()
    return {name for name in value if isinstance(name, str) and name in _PRICED}


def _ordered(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted(names, key=_PRICED.index))


def _needed(counted: set[str], unpriced: set[str]) -> tuple[str, ...]:
    """Return the units whose prices calls with these units need.

    The own prices of a site replace those of the table, so that all units need one that are not
    part of another. Cache reads and writes are beside them, except where a modality was counted: of
    audio that was read from the cache, for example, the price would be unclear.
    """
    kinds = data.load().units
    roots = {
        unit
        for unit in counted
        if not any(kinds[whole].dimensions < kinds[unit].dimensions for whole in counted)
    }
    needed = roots | unpriced
    if not any(_MODAL.search(unit) for unit in counted):
        needed |= counted.intersection(_APART)
    return _ordered(needed)


def _facts(reason: str) -> dict[str, str]:
    """Return the facts for which there is no price, such as `{"inference_geo": "us"}`."""
    found = re.findall(r"(\w+)=(\S+)", reason) if reason.startswith("no price for ") else []
    return {name: value for name, value in found if name in own.FACTS}


def _lacks_a_model(provider: str, name: str, reason: str) -> bool:
    """Return whether a price of the model `name` is missing, rather than something else."""
    if not reason:  # rows of older releases do not say why
        return table.find(provider, name) is None
    return reason.startswith(f"no price for the model {name} of ")
