"""Choose the providers whose bills are compared, and fetch their bills."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from traceback import extract_tb
from typing import Any

from django.core.management.base import CommandError
from django.db import DatabaseError
from django.utils import timezone

from .. import billing, conf
from ..billing.sources import SOURCES, title_of
from ..days import DayRange, stored
from ..models import AIProviderBill, AIUsageLog
from ..system.interruptions import from_outside
from .base import CANNOT_RUN

#: The account to write into AI_USAGE_BILLING. Keys stay out of the settings, and only one host has
#: them: the settings must load without them.
_ACCOUNTS = {
    "openai": '{"key": os.environ.get("OPENAI_ADMIN_KEY")}',
    "anthropic": '{"key": os.environ.get("ANTHROPIC_ADMIN_KEY")}',
    "openrouter": '{"key": os.environ.get("OPENROUTER_MANAGEMENT_KEY")}',
    "aws": '{"regions": ["us-east-1"]}',
}


@dataclass(frozen=True, slots=True)
class Said:
    """A sentence about the bill of a provider."""

    provider: str
    text: str

    def as_dict(self) -> dict[str, str]:
        """Return the fields."""
        return {"provider": self.provider, "text": self.text}


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of fetching the bills."""

    #: Why bills could not be fetched. The older ones are kept.
    errors: list[Said] = field(default_factory=list)
    #: What providers left out of the bills that were fetched.
    notes: list[Said] = field(default_factory=list)

    @property
    def failed(self) -> list[str]:
        """The providers whose bills could not be fetched."""
        return [error.provider for error in self.errors]


def choose(wanted: str | None, days: DayRange, *, offline: bool, using: str) -> list[str]:
    """Return the providers to compare: `wanted`, or else all that have an account.

    Args:
        wanted: The value of `--provider`.
        days: The days that are compared.
        offline: Whether a stored bill will do where there is no account.
        using: The database alias.

    Raises:
        CommandError: `wanted` is unknown, or there is no account. The message has the setting to
            write.
    """
    accounts = list(conf.billing())
    # Bills are read in any case: if the table is missing, no provider must be asked.
    bills = AIProviderBill.objects.using(using).order_by("provider")
    if wanted is None:
        bills = bills.filter(day__range=days.ends())
    stored = list(bills.values_list("provider", flat=True).distinct())
    chosen = [*accounts, *(name for name in stored if offline and name not in accounts)]
    if wanted is None and chosen:
        return chosen
    if wanted in chosen:
        return [wanted]
    raise CommandError(_refusal(wanted, chosen, accounts, offline=offline), returncode=CANNOT_RUN)


def fetch(
    providers: Iterable[str], days: DayRange, *, using: str, tell: Callable[[Said], None]
) -> Outcome:
    """Fetch and store the bill of each provider. One that fails does not stop the others.

    Args:
        providers: Names of AI_USAGE_BILLING.
        days: The days in UTC.
        using: The database alias.
        tell: Is called with each error at once.
    """
    outcome = Outcome()
    for provider in providers:
        try:
            more: dict[str, Any] = {}
            if provider in SOURCES and SOURCES[provider].takes_models:
                more["models"] = _models(provider, days, using)
            fetched = billing.fetch(provider, *days.ends(), **more)
            billing.replace(provider, fetched, using=using, now=timezone.now())
        except DatabaseError:
            raise
        except Exception as error:
            if from_outside(error):
                raise
            outcome.errors.append(Said(provider, _reason(provider, error)))
            tell(outcome.errors[-1])
        else:
            outcome.notes.extend(Said(provider, note) for note in fetched.notes)
    return outcome


def _models(provider: str, days: DayRange, using: str) -> set[str]:
    """Return the models of the log and of the stored bill on these days of UTC."""
    first, last = days.ends()
    start, end = (
        stored(dt.datetime.combine(day, dt.time(), dt.UTC))
        for day in (first, last + dt.timedelta(days=1))
    )
    logged = AIUsageLog.objects.using(using).filter(
        provider=provider, created_at__gte=start, created_at__lt=end
    )
    billed = AIProviderBill.objects.using(using).filter(provider=provider, day__range=(first, last))
    return {
        name
        for rows in (logged, billed)
        for name in rows.order_by().values_list("model_name", flat=True).distinct()
    }


def _reason(provider: str, error: Exception) -> str:
    """Return why a bill was not fetched.

    Of an error that is not expected, only the place is known: its text could have the key, and a
    traceback would hide the other providers.
    """
    if isinstance(error, billing.BillingError):
        return str(error)
    *_, frame = extract_tb(error.__traceback__)
    return (
        f"The bill of {title_of(provider)} could not be read because of a bug: "
        f"{type(error).__name__} in {Path(frame.filename).name}, line {frame.lineno}. Please "
        "report it. The stored bill was not changed."
    )


def _refusal(wanted: str | None, chosen: list[str], accounts: list[str], *, offline: bool) -> str:
    if wanted is not None and wanted not in _ACCOUNTS:
        known = sorted({*_ACCOUNTS, *chosen})
        near = get_close_matches(wanted.lower(), known, n=1)
        hint = f"Did you mean {near[0]!r}?" if near else f"Use {', '.join(known)}."
        return f"{wanted!r} is not a provider whose bill is known. {hint}"
    named = "" if wanted is None else f" of {wanted!r}"
    lack = f"No bill{named} is stored, and " if offline else ""
    name = wanted or "openai"
    setting = (
        f'AI_USAGE_BILLING["{name}"] = {_ACCOUNTS[name]}'
        if accounts
        else f'AI_USAGE_BILLING = {{"{name}": {_ACCOUNTS[name]}}}'
    )
    return f"{lack}AI_USAGE_BILLING has no account{named}. Write in your settings:\n    {setting}"
