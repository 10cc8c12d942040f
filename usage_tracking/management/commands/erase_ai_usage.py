from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import CommandError

from usage_tracking import checks, outbox, reports
from usage_tracking.maintenance import privacy
from usage_tracking.management.arguments import Progress, add_database, database, explained
from usage_tracking.management.base import UsageCommand


class Command(UsageCommand):
    help = (
        "Takes a user off all AI usage, for a request of erasure: calls are kept without user, "
        "error message and metadata, and so every figure that is not by user stays as it is; the "
        "daily rows of the user are removed. Also takes the user off what waits in the outbox of "
        "this machine: run it on every machine that has one. Calls that the user makes afterwards "
        "are recorded again."
    )
    requires_system_checks = [checks.TAG]

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--user", required=True, metavar="NAME|ID", help="whose")
        parser.add_argument("--dry-run", action="store_true", help="say what would go, only")
        add_database(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        using = database(options)
        with explained("Erasing", "What is erased so far stays so; run it again to go on."):
            try:
                user = reports.find_user(options["user"], using=using)
            except reports.NotFound as error:
                hint = "Of one who is deleted already: flush_ai_usage --forget"
                raise CommandError(f"{error} {hint}", returncode=2) from error
            stored = privacy.stored(user, using=using)
            if options["dry_run"]:
                told = f"{stored.logs} calls would be kept without their user, "
                told += f"{stored.days} daily rows removed"
            else:
                waiting = _forget(user)
                erased = 0
                with Progress(self.stderr, stored.logs, options) as progress:
                    for step in privacy.erase(user, using=using):
                        erased += step
                        progress.advance(step)
                waiting += _forget(user)
                told = f"{erased} calls kept without their user, {stored.days} daily rows removed, "
                told += f"{waiting} lines of the outbox kept without their user"
        if options["verbosity"]:
            self.stdout.write(told)
            if stored.pruned_calls:
                leave = "would leave" if options["dry_run"] else "have left"
                self.stdout.write(
                    f"{stored.pruned_calls} calls ({stored.pruned_tokens} tokens, "
                    f"${stored.pruned_cost:.2f}) whose logs were pruned {leave} the global figures"
                )


def _forget(user: Any) -> int:
    try:
        return outbox.get().forget(privacy.is_of(user))
    except OSError as error:
        raise CommandError(
            f"The user could not be taken off everything in the outbox: {error}", returncode=2
        ) from error
