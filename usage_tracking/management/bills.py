"""Choose the providers whose bills are compared, and fetch their bills."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from difflib import get_close_matches

from django.core.management.base import CommandError
from django.utils import timezone

from .. import billing, conf
from ..billing.sources import SOURCES
from ..days import DayRange
from ..models import AIProviderBill
from .base import CANNOT_RUN
from .tables import shown

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


def title_of(provider: str) -> str:
    """Return the provider for people; a stored bill may be of one that has no source."""
    source = SOURCES.get(provider)
    return source.title if source else shown(provider)


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
            fetched = billing.fetch(provider, *days.ends())
            billing.replace(provider, fetched, using=using, now=timezone.now())
        except billing.BillingError as error:
            outcome.errors.append(Said(provider, str(error)))
            tell(outcome.errors[-1])
        else:
            outcome.notes.extend(Said(provider, note) for note in fetched.notes)
    return outcome


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
