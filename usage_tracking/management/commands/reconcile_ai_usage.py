"""The `reconcile_ai_usage` command."""

from __future__ import annotations

import datetime as dt
import json
import re
from argparse import ArgumentParser, ArgumentTypeError
from collections.abc import Callable, Iterator
from decimal import Decimal
from difflib import get_close_matches
from functools import partial
from typing import Any

from django.core.management.base import CommandError

from ... import checks
from ...billing.sources import title_of
from ...days import YEARS, DayRange, parse_day, utc_today
from ...models import AIProviderBill, AIUsageLog
from ...reports import BY, ProviderReconciliation, Reconciliation, reconciliation
from .. import bill_tables, bills
from ..arguments import add_database, database_alias, explained, whole_number
from ..base import CANNOT_RUN, UsageCommand
from ..tables import shown, write_tables

_LONGEST = 366
_DAYS_AGO = {"today": 0, "yesterday": 1}
_PERCENT = re.compile(r"[0-9]{1,3}(\.[0-9]{1,9})?")


class Command(UsageCommand):
    """Compare the log with the bills of the providers."""

    help = (
        "Fetch what the providers of AI_USAGE_BILLING billed, store it, and compare it with the "
        "log: how much of the bill the log has, and what is missing. Days are those of UTC. Exit "
        "code 1: the log has less than --fail-under; 2: a bill could not be fetched, or the "
        "command cannot run."
    )
    requires_system_checks = [checks.TAG]

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Define the options."""
        parser.add_argument("--provider", metavar="NAME", help="only the bill of this provider")
        parser.add_argument(
            "--days",
            type=_days,
            default=7,
            metavar="N",
            help=f"how many days, at most {_LONGEST} (default: 7)",
        )
        parser.add_argument(
            "--until",
            type=_day,
            metavar="DAY",
            help="last day in UTC: YYYY-MM-DD, today or yesterday (default: today)",
        )
        parser.add_argument(
            "--by",
            type=_by,
            default="model",
            metavar="NAME",
            help=f"{', '.join(BY)} (default: model)",
        )
        parser.add_argument(
            "--offline", action="store_true", help="fetch nothing; use the bills that are stored"
        )
        parser.add_argument(
            "--fail-under",
            type=_percent,
            metavar="PERCENT",
            help="exit with 1 if the log has less of the requests or tokens of the settled days of "
            "a provider",
        )
        parser.add_argument("--json", action="store_true", help="print JSON")
        add_database(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        """Fetch the bills, print the comparison, and fail if it says so."""
        by, limit = _parsed(_by, options["by"]), _parsed(_percent, options["fail_under"])
        until, length = _parsed(_day, options["until"]), _parsed(_days, options["days"])
        days = DayRange.until(until or utc_today(), length)
        offline: bool = options["offline"]
        using = database_alias(options, for_reading=offline)
        outcome = bills.Outcome()
        explain = partial(
            explained,
            "The comparison with the bills",
            using=using,
            models=(AIUsageLog, AIProviderBill),
        )
        unchanged = "Nothing was changed."
        with explain(unchanged):
            providers = bills.choose(options["provider"], days, offline=offline, using=using)
        with explain(unchanged if offline else "Bills that were fetched before are stored."):
            if not offline:
                outcome = bills.fetch(providers, days, using=using, tell=self._tell)
            found = reconciliation(*days.ends(), by=by, providers=providers, using=using)
        if limit is not None:
            outcome.notes.extend(_exempt(found))
        below = [] if limit is None else [_below(each, limit) for each in found.below(limit)]
        code = CANNOT_RUN if outcome.errors else int(bool(below))
        if options["json"]:
            self.stdout.write(_as_json(found, outcome, code))
        else:
            self._report(found, outcome, options)
        if outcome.errors:
            titles = ", ".join(map(_title, outcome.failed))
            below.insert(0, f"Bills that could not be fetched: {titles}.")
        if below:
            raise CommandError("\n".join(below), returncode=code)

    def _tell(self, error: bills.Said) -> None:
        self.stderr.write(shown(error.text))

    def _report(
        self, found: Reconciliation, outcome: bills.Outcome, options: dict[str, Any]
    ) -> None:
        for number, each in enumerate(found.providers):
            if number:
                self.stdout.write("")
            title = _title(each.provider)
            lines = [bill_tables.headline(title, each, found.start, found.end)]
            if options["verbosity"]:
                failed = each.provider in outcome.failed
                lines += bill_tables.facts(each, failed=failed, stored=options["offline"])
                lines += [
                    shown(note.text) for note in outcome.notes if note.provider == each.provider
                ]
            tables = [bill_tables.table(each, found.by)] if each.lines else []
            write_tables(tables, self.stdout, options, heading="\n".join(lines))
            if rest := list(bill_tables.explanations(each)):
                self.stdout.write("\n".join(("", *rest)))


def _exempt(found: Reconciliation) -> Iterator[bills.Said]:
    """Yield why `--fail-under` does not apply to a provider."""
    for each in found.providers:
        if each.settled.percent is None:
            if not each.days:
                why = "no day can be compared"
            elif not each.settled_days:
                why = "no day is settled"
            else:
                why = "the bill of the settled days has no requests and no tokens to compare"
            yield bills.Said(each.provider, f"--fail-under does not apply: {why}")


def _title(provider: str) -> str:
    return shown(title_of(provider))


def _below(each: ProviderReconciliation, limit: Decimal) -> str:
    share = bill_tables.percent(each.settled.percent)
    title = _title(each.provider)
    return f"{title}: the log has {share} of the settled days, less than --fail-under {limit}."


def _as_json(found: Reconciliation, outcome: bills.Outcome, code: int) -> str:
    return json.dumps(
        {
            **found.as_dict(),
            "errors": [error.as_dict() for error in outcome.errors],
            "notes": [note.as_dict() for note in outcome.notes],
            "exit_code": code,
        },
        indent=2,
        ensure_ascii=False,
    )


def _parsed(parse: Callable[[str], Any], value: Any) -> Any:
    """Return the value of an option; `call_command` does not parse it.

    Raises:
        CommandError: It is not valid.
    """
    try:
        return value if value is None else parse(str(value))
    except ArgumentTypeError as error:
        raise CommandError(str(error), returncode=CANNOT_RUN) from error


_days = whole_number(_LONGEST, lowest=1)


def _day(text: str) -> dt.date:
    today = utc_today()
    if text in _DAYS_AGO:
        return today - dt.timedelta(days=_DAYS_AGO[text])
    try:
        day = parse_day(text)
    except ValueError:
        day = dt.date.min
    if day.year not in YEARS:
        raise ArgumentTypeError(f"{text!r} is not a valid date (YYYY-MM-DD)")
    if day > today:
        raise ArgumentTypeError(f"{text} is in the future: in UTC, today is {today}")
    return day


def _by(text: str) -> str:
    if text not in BY:
        near = get_close_matches(text.lower(), BY, n=1)
        hint = f"Did you mean {near[0]!r}?" if near else f"Use {', '.join(BY)}."
        raise ArgumentTypeError(f"{text!r} is not a valid choice. {hint}")
    return text


def _percent(text: str) -> Decimal:
    percent = Decimal(text) if _PERCENT.fullmatch(text) else Decimal(-1)
    if not 0 <= percent <= 100:
        raise ArgumentTypeError(f"must be a number from 0 to 100, not {text!r}")
    return percent
