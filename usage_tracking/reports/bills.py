"""The stored bills, as reports read them."""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection
from decimal import Decimal
from typing import NamedTuple

from ..billing.families import family_named
from ..days import aware
from ..models import AIProviderBill

#: How many days after a day its bill may still grow: it is settled once these are over.
_PROVISIONAL_DAYS = 2


class BillRow(NamedTuple):
    """A row of a bill. Requests, tokens and cost are None if the provider does not say."""

    provider: str
    day: dt.date
    family: str
    model_name: str
    project: str
    key_id: str
    key_name: str
    key_hint: str
    service_tier: str
    line_item: str
    requests: int | None
    prompt_tokens: int | None
    completion_tokens: int | None
    cost: Decimal | None
    fetched_at: dt.datetime

    @property
    def tokens(self) -> int | None:
        """The tokens of prompt and completion; None if neither is known."""
        if self.prompt_tokens is None and self.completion_tokens is None:
            return None
        return (self.prompt_tokens or 0) + (self.completion_tokens or 0)

    @property
    def is_usage(self) -> bool:
        """Whether the row has calls, unlike an amount of money and a day without a bill."""
        return bool(self.requests or self.tokens)

    @property
    def is_recorded(self) -> bool:
        """Whether the log has calls of this family."""
        return family_named(self.provider, self.family).is_recorded

    @property
    def is_batch(self) -> bool:
        """Whether the calls were those of batches."""
        return self.service_tier == "batch"

    @property
    def key(self) -> str:
        """The key for people: its name and its end, as the provider lists it; "" if unknown."""
        hint = self.key_hint and f"…{self.key_hint}"
        if self.key_name:
            return f"{self.key_name} ({hint})" if hint else self.key_name
        return hint or self.key_id


def bill_rows(
    start: dt.date, end: dt.date, providers: Collection[str] | None, *, using: str
) -> list[BillRow]:
    """Return the rows of the bills from `start` to `end`, in one statement.

    Args:
        start: The first day in UTC.
        end: The last day in UTC.
        providers: Only the bills of these; None for all.
        using: The database alias.
    """
    rows = AIProviderBill.objects.using(using).filter(day__gte=start, day__lte=end).order_by()
    if providers is not None:
        rows = rows.filter(provider__in=list(providers))
    return [BillRow._make(values) for values in rows.values_list(*BillRow._fields).iterator()]


def is_provisional(day: dt.date, fetched_at: dt.datetime) -> bool:
    """Return whether the bill of `day` was fetched before the provider had closed it."""
    return (aware(fetched_at).astimezone(dt.UTC).date() - day).days < _PROVISIONAL_DAYS
