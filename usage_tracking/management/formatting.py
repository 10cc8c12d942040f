"""Format numbers and totals for tables of text."""

from __future__ import annotations

from decimal import Decimal

from ..reports import Totals

UNKNOWN = "unknown"
NONE = "-"
#: The titles of `cells`.
COLUMNS = ("CALLS", "FAILED", "TOKENS", "COST USD", "AVG MS", "NO TOKENS", "NO PRICE")


def cells(totals: Totals) -> tuple[str, ...]:
    """Return the totals of a line, for the columns COLUMNS."""
    return (
        count(totals.calls),
        count(totals.failures),
        count(totals.total_tokens),
        money(totals.cost),
        average(totals),
        count(totals.unknown_usage),
        count(totals.unpriced),
    )


def count(number: int | None) -> str:
    """Format a number of calls or tokens."""
    return UNKNOWN if number is None else f"{number:,}"


def money(amount: Decimal | None) -> str:
    """Format USD."""
    if amount is None:
        return UNKNOWN
    # An embedding can cost less than a millionth of a dollar, which must not look like 0.
    return "<0.000001" if 0 < amount < Decimal("0.000001") else f"{amount:,.6f}"


def average(totals: Totals) -> str:
    """Format the average response time in ms."""
    average_ms = totals.average_response_time_ms
    return NONE if average_ms is None else f"{average_ms:,.0f}"


def change(now: float | Decimal | None, before: float | Decimal | None) -> str:
    """Format the change from `before` to `now` in percent; "-" if unknown."""
    if now is None or not before:
        return NONE
    return f"{float(now) / float(before) - 1:+.1%}"
