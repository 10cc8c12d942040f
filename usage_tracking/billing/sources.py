"""The providers whose bill can be read, and what each needs."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from typing import Any, NamedTuple

from . import accounts, anthropic, bedrock, openai, openrouter
from .billed import BillingError, Fetched


class Source(NamedTuple):
    """One provider whose bill can be read."""

    #: The provider for people.
    title: str
    #: `fetch(account, first, last)` of its module.
    fetch: Callable[..., Fetched]
    #: Whether `fetch` takes `models`: the API does not name all that it can be asked for.
    takes_models: bool = False


#: Provider, as the log names it → its source.
SOURCES: dict[str, Source] = {
    "openai": Source(openai.TITLE, openai.fetch),
    "anthropic": Source(anthropic.TITLE, anthropic.fetch),
    "openrouter": Source(openrouter.TITLE, openrouter.fetch),
    "aws": Source(bedrock.TITLE, bedrock.fetch, takes_models=True),
}


def title_of(provider: str) -> str:
    """Return the provider for people; a stored bill may be of one that has no source."""
    source = SOURCES.get(provider)
    return source.title if source else provider


def fetch(provider: str, first: dt.date, last: dt.date, **more: Any) -> Fetched:
    """Return what a provider billed to the account in AI_USAGE_BILLING.

    Args:
        provider: The provider, as the log names it.
        first: The first day in UTC.
        last: The last day in UTC.
        more: Arguments of the source's `fetch`.

    Raises:
        BillingError: The provider has no source or no account, something is wrong with the account,
            or the bill cannot be read.
    """
    if provider not in SOURCES:
        raise BillingError(
            f"The bill of {provider!r} cannot be read. Choose from {', '.join(SOURCES)}."
        )
    try:
        account = accounts.account(provider)
    except ValueError as error:
        raise BillingError(str(error)) from None
    return SOURCES[provider].fetch(account, first, last, **more)
