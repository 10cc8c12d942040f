"""`Usage`: what one call used, without values that cannot be true."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any, Self

from . import units
from .redaction import clean_text

#: The largest valid count of one call.
MAX_COUNT = units.MAX_COUNT
#: The most characters of a model's name that are kept.
MAX_MODEL = 100

#: Unit → the field of `Usage` and of events that holds it.
FIELDS_OF = {**units.FIELDS, "cache_write_tokens": "cache_write_tokens"}
COUNTS = tuple(FIELDS_OF.values())
#: Key of `usage_details`: the parts of a call that the provider ran as requests of their own, each
#: with its units and, if it is not the model of the call, its model.
ITERATIONS = "iterations"
#: Keys of such a part that is the sum of several requests, with their number: of requests of like
#: size, which have the same price by their average size, or of requests whose sizes are not known.
REQUESTS, MIXED = "requests", "mixed_requests"


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """What one call used, as OpenTelemetry defines it; None if the provider does not report it.

    `prompt_tokens` includes cache reads (`cached_tokens`) and writes (`cache_write_tokens`),
    `completion_tokens` includes reasoning. `details` has all other units, see `units.NAMES`; it
    also has `input_tokens` or `output_tokens` where more is billed than the provider includes in
    its prompt or completion tokens. `cost` is in USD and only set if the provider reports it.
    `faults` names values that cannot be true, and are therefore left out.
    https://opentelemetry.io/docs/specs/semconv/gen-ai/
    """

    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    cached_tokens: int | None = None
    cache_write_tokens: int | None = None
    reasoning_tokens: int | None = None
    details: Mapping[str, Any] = field(default_factory=dict)
    cost: Decimal | None = None
    faults: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        counts: Mapping[str, Any],
        *,
        billed: Mapping[str, Any] | None = None,
        iterations: Sequence[Mapping[str, Any]] = (),
        cost: Decimal | None = None,
        faults: Mapping[str, str] | None = None,
    ) -> Self:
        """Return the usage that a provider or a site reports by unit.

        Counts that cannot be true are left out and named in `faults`: text, negative and fractional
        numbers, numbers above `units.MAX_COUNT`, and parts that are larger than their whole.

        Args:
            counts: Unit → count; None means that it was not counted.
            billed: The whole that the price applies to, if `counts` has less: `output_tokens` of a
                provider that counts reasoning beside the completion.
            iterations: See `ITERATIONS`.
            cost: The cost in USD that the provider itself reports.
            faults: Further values that cannot be true.
        """
        details = {unit: n for unit, n in counts.items() if unit not in FIELDS_OF}
        if billed:
            details |= billed
        if iterations:
            details[ITERATIONS] = list(iterations)
        values: dict[str, Any] = {name: counts.get(unit) for unit, name in FIELDS_OF.items()}
        return cls(**values, details=details, cost=cost, faults=faults or {}).cleaned()

    @property
    def units(self) -> dict[str, Any]:
        """All counts by unit, as they are billed."""
        return billed_units(self, self.details)

    def cleaned(self) -> Self:
        """Return the usage without values that cannot be true; they are named in `faults`."""
        if not self.details and not self.faults and self._is_plain():
            return self
        faults = dict(self.faults)
        counts = units.clean(self.units, faults)
        values: dict[str, Any] = {}
        for unit, name in FIELDS_OF.items():
            own = getattr(self, name)
            is_apart = unit in self.details and not units.fault_of(unit, own)
            values[name] = int(own) if is_apart else counts.get(unit)
        details: dict[str, Any] = {
            unit: count
            for unit, count in counts.items()
            if (unit not in FIELDS_OF or unit in self.details)
            and units.is_informative(unit, counts)
        }
        if iterations := _cleaned_iterations(self.details.get(ITERATIONS), faults):
            details[ITERATIONS] = iterations
        return replace(self, **values, details=details, faults=faults)

    def updated(self, counts: Mapping[str, Any]) -> Self:
        """Return the usage with further counts by unit, which take precedence over its own."""
        given = {unit: count for unit, count in counts.items() if count is not None}
        if not given:
            return self
        if given.items() <= self.units.items():
            return self
        # Iterations are those of other counts; a cost that the provider reports still is the cost.
        own = self.units | {
            unit: count for unit, name in FIELDS_OF.items() if (count := getattr(self, name))
        }
        return type(self).of(own | given, cost=self.cost, faults=self.faults)

    def _is_plain(self) -> bool:
        """Return whether the usage is that of most calls: tokens without a fault."""
        prompt, completion, cached, written, reasoning = (
            self.prompt_tokens,
            self.completion_tokens,
            self.cached_tokens,
            self.cache_write_tokens,
            self.reasoning_tokens,
        )
        for count in (prompt, completion, cached, written, reasoning):
            if count is not None and (type(count) is not int or not 0 <= count <= MAX_COUNT):
                return False
        return (cached or 0) + (written or 0) <= (prompt or 0) and (reasoning or 0) <= (
            completion or 0
        )

    @property
    def known(self) -> bool:
        """Whether anything was counted."""
        return (
            self.prompt_tokens is not None
            or self.completion_tokens is not None
            or bool(self.details)
        )


def billed_units(counted: object, details: Mapping[str, Any]) -> dict[str, Any]:
    """Return all counts by unit of a usage or an event, as they are billed."""
    counts: dict[str, Any] = {}
    for unit, name in FIELDS_OF.items():
        if (count := getattr(counted, name)) is not None:
            counts[unit] = count
    if details:
        counts |= details
        counts.pop(ITERATIONS, None)
    return counts


def parts_of(
    counts: Mapping[str, Any], iterations: Iterable[Mapping[str, Any]] | None
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the parts of a call that are billed by themselves: model ("" = the call's), counts.

    Raises:
        ValueError: The iterations are more than the whole.
    """
    if not iterations:
        yield "", dict(counts)
        return
    rest = dict(counts)
    for iteration in iterations:
        part = dict(iteration)
        model = str(part.pop("model", ""))
        yield model, part
        for unit, count in part.items():
            if unit not in (REQUESTS, MIXED):
                rest[unit] = rest.get(unit, 0) - count
    if any(count < 0 for count in rest.values()):
        raise ValueError("the iterations are more than the whole")
    if rest := {unit: count for unit, count in rest.items() if count}:
        yield "", rest


def _cleaned_iterations(iterations: object, faults: dict[str, str]) -> list[dict[str, Any]]:
    if not iterations:
        return []
    if not isinstance(iterations, list):
        faults[ITERATIONS] = f"<{type(iterations).__name__}>"
        return []
    return [part for each in iterations if (part := _cleaned_iteration(each, faults))]


def _cleaned_iteration(counts: object, faults: dict[str, str]) -> dict[str, Any]:
    if not isinstance(counts, Mapping):
        faults[ITERATIONS] = f"<{type(counts).__name__}>"
        return {}
    model = counts.get("model")
    cleaned: dict[str, Any] = units.clean({u: n for u, n in counts.items() if u != "model"}, faults)
    cleaned = {u: n for u, n in cleaned.items() if units.is_informative(u, cleaned)}
    if model and not isinstance(model, str):
        faults[ITERATIONS] = f"model <{type(model).__name__}>"
        model = None
    return cleaned | ({"model": clean_text(model, MAX_MODEL)} if model else {})
