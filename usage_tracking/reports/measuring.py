"""Measure how much of a bill the log has."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from decimal import Decimal
from typing import TypeVar

from ..billing.families import family_named, main_family
from .bills import BillRow
from .captured import Captured
from .reconciled import Measure, Measures

T = TypeVar("T", int, Decimal)

#: How much the shares of prompt and completion tokens may differ for the tokens to be the same.
_MIX_TOLERANCE = Decimal("0.05")

#: What is compared one by one: an endpoint family and a model.
_Cell = tuple[str, str]


class _Sums:
    """The sums of one cell. None is not known."""

    def __init__(self) -> None:
        self.is_billed = False
        self.billed_requests: int | None = None
        self.billed_tokens: int | None = None
        self.requests = self.tokens = 0

    def bill(self, row: BillRow) -> None:
        self.is_billed = True
        self.billed_requests = plus(self.billed_requests, row.requests)
        self.billed_tokens = plus(self.billed_tokens, row.tokens)

    def capture(self, calls: Captured) -> None:
        self.requests += calls.requests
        self.tokens += calls.tokens


def measures_of(bills: Iterable[BillRow], captured: Iterable[Captured]) -> Measures:
    """Compare some rows of one provider's bill with the calls that belong to them.

    Requests and tokens are compared by family and model: a surplus of one model does not make up
    for what is missing of another. What the provider does not say is compared on neither side.
    """
    provider = ""
    cells: dict[_Cell, _Sums] = {}
    billed_cost: Decimal | None = None
    captured_cost: Decimal | None = None
    has_calls = False
    for row in bills:
        provider = row.provider
        billed_cost = plus(billed_cost, row.cost)
        if not row.family:  # nothing was billed on the day: 0 is known
            cells.setdefault((main_family(provider), ""), _Sums()).bill(row)
        elif row.is_usage and row.is_recorded:
            cells.setdefault((row.family, row.model_name), _Sums()).bill(row)
    for calls in captured:
        provider = calls.provider
        has_calls = True
        captured_cost = plus(captured_cost, calls.cost)
        if calls.family is not None:
            cells.setdefault((calls.family, calls.model_name), _Sums()).capture(calls)
    requests: list[tuple[int, int]] = []
    tokens: list[tuple[int, int]] = []
    for (family, _), sums in cells.items():
        known = family_named(provider, family)
        if known.has_requests and (sums.billed_requests is not None or not sums.is_billed):
            requests.append((sums.billed_requests or 0, sums.requests))
        if known.has_tokens and (sums.billed_tokens is not None or not sums.is_billed):
            tokens.append((sums.billed_tokens or 0, sums.tokens))
    if not has_calls:
        captured_cost = Decimal(0)
    return Measures(_measure(requests), _measure(tokens), _money(billed_cost, captured_cost))


def _measure(pairs: list[tuple[int, int]]) -> Measure:
    if not pairs:
        return Measure()
    return Measure(
        sum(billed for billed, _ in pairs),
        sum(captured for _, captured in pairs),
        sum(min(pair) for pair in pairs),
    )


def _money(billed: Decimal | None, captured: Decimal | None) -> Measure:
    if billed is None or captured is None:
        return Measure(billed, captured, None)
    return Measure(billed, captured, min(billed, captured))


def plus(total: T | None, value: T | None) -> T | None:
    """Return the sum of both; None is not known, and adds nothing."""
    if total is None or value is None:
        return value if total is None else total
    return total + value


def price_ratio(bills: Collection[BillRow], calls: Collection[Captured]) -> Decimal | None:
    """Return how many times the billed price the log has for the same tokens of one model.

    Where calls are missing, the costs are compared per token, provided that the mix of prompt and
    completion tokens is the same. None if it cannot be told.
    """
    billed_cost = sum((row.cost for row in bills if row.cost is not None), Decimal(0))
    usage = [row for row in bills if row.is_recorded]
    prompt = sum(row.prompt_tokens or 0 for row in usage)
    completion = sum(row.completion_tokens or 0 for row in usage)
    cost = sum((each.cost for each in calls if each.cost is not None), Decimal(0))
    priced_prompt = sum(each.prompt_tokens for each in calls if each.is_priced)
    priced_completion = sum(each.completion_tokens for each in calls if each.is_priced)
    priced = priced_prompt + priced_completion
    if billed_cost <= 0 or cost <= 0 or priced <= 0 or prompt + completion <= 0:
        return None
    share = Decimal(priced) / (prompt + completion)
    for own, billed in ((priced_prompt, prompt), (priced_completion, completion)):
        expected = billed * share
        if abs(own - expected) > _MIX_TOLERANCE * max(expected, Decimal(own)):
            return None
    return (cost / billed_cost / share).quantize(Decimal("0.001"))
