"""What a provider says it billed: the values that every source returns."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal

#: The family of amounts of money that belong to no endpoint.
COSTS = "costs"


class BillingError(Exception):
    """A bill that cannot be read. The message is a sentence for people and contains no key."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Billed:
    """What a provider billed on one day for one combination of the names below.

    None is "the provider does not say", which is not 0. The tokens have the meaning of the log:
    `prompt_tokens` include cached tokens and cache writes, `completion_tokens` include reasoning.
    """

    #: The day in UTC.
    day: dt.date
    #: The endpoint family, see `families`; COSTS for an amount of money without requests.
    family: str
    model_name: str = ""
    #: The id of the project or workspace.
    project: str = ""
    #: The id of the API key, its name and its last four characters, as the provider lists them.
    key_id: str = ""
    key_name: str = ""
    key_hint: str = ""
    #: The tier that was served; "batch" for requests of batches, "" for the standard one.
    service_tier: str = ""
    #: What an amount of money is for, in the provider's words.
    line_item: str = ""
    requests: int | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    #: Part of the prompt tokens.
    cached_tokens: int | None = None
    #: In USD; negative for a credit.
    cost: Decimal | None = None
    #: Further counts, by the names of the provider, such as `images` or `characters`.
    units: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Fetched:
    """The bill of some days. A day of `days` without rows is one on which nothing was billed."""

    days: tuple[dt.date, ...]
    rows: tuple[Billed, ...]
    #: Sentences about what the provider left out, such as days that it has not closed.
    notes: tuple[str, ...] = ()
