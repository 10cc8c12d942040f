"""The `reprice_ai_usage` command."""

from __future__ import annotations

import json
from argparse import ArgumentParser
from typing import Any

from ... import checks
from ...maintenance import reprice
from ..arguments import (
    Progress,
    add_database,
    database_alias,
    explained,
)
from ..base import UsageCommand
from ..formatting import count, money
from ..periods import add_period, period_of
from ..tables import Table, shown, write_tables

_COLUMNS = ("ROWS", "CHANGED", "KEPT", "OLD COST USD", "NEW COST USD", "STILL UNPRICED")
#: The words of the summary, by reason.
_KEPT = {
    "provider": "reported by the provider",
    "uncertain": "of uncertain origin",
    "no_price": "without a price today",
}


class Command(UsageCommand):
    """Price old rows anew."""

    help = (
        "Price the rows (AIUsageLog) of successful calls anew, with the price table and "
        "AI_USAGE_PRICES of today, at the prices of the day of each call. The daily rows "
        "(AIUsageTracking) change with them. Costs that the provider reported, and costs of "
        "uncertain origin, are kept. Safe beside live traffic; you can stop it and run it again. "
        "Restart the site first, so that it uses the same prices."
    )
    requires_system_checks = [checks.TAG]

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Define the options."""
        add_period(parser, default="all days")
        parser.add_argument("--model", metavar="NAME", help="only calls of this model")
        parser.add_argument("--only-unpriced", action="store_true", help="only rows without a cost")
        parser.add_argument(
            "--dry-run", action="store_true", help="change nothing; only show what would change"
        )
        parser.add_argument("--json", action="store_true", help="print JSON")
        add_database(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        """Price the rows, and show the old and the new cost by model."""
        days, dry_run = period_of(options), options["dry_run"]
        using = database_alias(options)
        selection = reprice.Selection(
            start=days.first,
            end=days.last,
            model=options["model"],
            only_unpriced=options["only_unpriced"],
        )
        outcome = (
            "Nothing was changed." if dry_run else "Completed batches stay repriced; run it again."
        )
        with explained("Repricing", outcome, using=using):
            expected = selection.rows(using).count()
            with Progress(self.stderr, expected, options) as progress:
                repriced = reprice.reprice(
                    selection, using=using, dry_run=dry_run, advance=progress.advance
                )
        if options["json"]:
            self.stdout.write(_as_json(repriced, selection, dry_run=dry_run))
        elif options["verbosity"]:
            self._report(repriced, options)

    def _report(self, repriced: reprice.Repriced, options: dict[str, Any]) -> None:
        totals = repriced.totals
        if repriced.models:
            rows = [
                (_name(provider, model), *_cells(each))
                for (provider, model), each in repriced.models.items()
            ]
            table = Table(("MODEL", *_COLUMNS), (*rows, ("Total", *_cells(totals))))
            write_tables([table], self.stdout, options)
        verb = "would be " if options["dry_run"] else ""
        self.stdout.write(f"{totals.changed} of {totals.rows} rows {verb}repriced")
        if totals.kept:
            reasons = ", ".join(f"{n} {_KEPT[reason]}" for reason, n in repriced.kept.items())
            self.stdout.write(f"{totals.kept} rows keep their cost: {reasons}")


def _name(provider: str, model: str) -> str:
    return shown(f"{model or 'unknown'} ({provider})" if provider else model or "unknown")


def _cells(totals: reprice.Effect) -> tuple[str, ...]:
    return (
        count(totals.rows),
        count(totals.changed),
        count(totals.kept),
        money(totals.old_cost),
        money(totals.new_cost),
        count(totals.unpriced),
    )


def _as_json(repriced: reprice.Repriced, selection: reprice.Selection, *, dry_run: bool) -> str:
    return json.dumps(
        {
            "from": selection.start and selection.start.isoformat(),
            "to": selection.end and selection.end.isoformat(),
            "model": selection.model,
            "only_unpriced": selection.only_unpriced,
            "dry_run": dry_run,
            "totals": _figures(repriced.totals),
            "kept": {reason: repriced.kept.get(reason, 0) for reason in _KEPT},
            "models": [
                {"provider": provider, "model_name": model, **_figures(each)}
                for (provider, model), each in repriced.models.items()
            ],
        },
        indent=2,
    )


def _figures(totals: reprice.Effect) -> dict[str, Any]:
    return {
        "rows": totals.rows,
        "changed": totals.changed,
        "kept": totals.kept,
        "old_cost": format(totals.old_cost, "f"),
        "new_cost": format(totals.new_cost, "f"),
        "unpriced": totals.unpriced,
    }
