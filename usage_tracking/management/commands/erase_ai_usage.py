"""The `erase_ai_usage` command."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import CommandError

from ... import checks, outbox
from ...maintenance import privacy
from ..arguments import (
    Progress,
    add_database,
    add_no_input,
    add_user,
    confirm,
    database_alias,
    explained,
    find_user,
)
from ..base import CANNOT_RUN, UsageCommand
from ..formatting import money
from ..tables import shown


class Command(UsageCommand):
    """Remove a user from all AI usage."""

    help = (
        "Remove a user from all AI usage, for an erasure request. Calls are "
        "kept without user, error message and metadata, so every total that is not by user "
        "stays. The user's daily rows are removed. The command also removes the user from the "
        "calls in the outbox of this machine: run it on every machine that has an outbox. Calls "
        "that the user makes afterwards are recorded again. It asks for confirmation first. Exit "
        "code 2: the command cannot run, or the answer was not yes."
    )
    requires_system_checks = [checks.TAG]

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Define the options."""
        add_user(parser, "the user to erase", required=True)
        parser.add_argument(
            "--dry-run", action="store_true", help="only show what would be removed"
        )
        add_no_input(parser)
        add_database(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        """Erase the user, and report what was changed."""
        using = database_alias(options)
        with explained("Erasing", "Nothing was changed.", using=using):
            hint = "For a deleted user, run: flush_ai_usage --forget"
            user = find_user(options, using=using, hint=hint)
            stored = privacy.count_user_data(user, using=using)
            if not options["dry_run"]:
                confirm(_question(user, stored, using), options, stderr=self.stderr)
        with explained("Erasing", "What was erased stays erased; run it again.", using=using):
            if options["dry_run"]:
                result = f"{stored.rows} calls would be kept without their user, "
                result += f"{stored.daily_rows} daily rows removed"
            else:
                lines = _forget(user)
                erased = 0
                with Progress(self.stderr, stored.rows, options) as progress:
                    for count in privacy.erase(user, using=using):
                        erased += count
                        progress.advance(count)
                lines += _forget(user)
                result = f"{erased} calls kept without their user, "
                result += f"{stored.daily_rows} daily rows removed, "
                result += f"{lines} outbox lines kept without their user"
        if options["verbosity"]:
            self.stdout.write(result)
            if stored.pruned_calls:
                lost = "would be lost" if options["dry_run"] else "are lost"
                self.stdout.write(
                    f"{stored.pruned_calls} calls ({stored.pruned_tokens} tokens, "
                    f"${stored.pruned_cost:.2f}) whose rows were pruned {lost} from the global "
                    "totals"
                )


def _question(user: Any, stored: privacy.UserDataCounts, using: str) -> str:
    lines = [
        f"This removes the user {shown(user.get_username())} (ID {user.pk}) from all AI usage in "
        f"the database {using!r}:",
        f"  {stored.rows} calls ({money(stored.cost)} USD) are kept without their user, error "
        "message and metadata",
        f"  {stored.daily_rows} daily rows are removed",
    ]
    if stored.pruned_calls:
        lines.append(
            f"  {stored.pruned_calls} calls ({money(stored.pruned_cost)} USD) whose rows were "
            "pruned are lost from the global totals"
        )
    return "\n".join((*lines, "You cannot undo this."))


def _forget(user: Any) -> int:
    try:
        return outbox.get().forget(privacy.matcher(user))
    except OSError as error:
        raise CommandError(
            f"The user cannot be removed from the whole outbox: {error}", returncode=CANNOT_RUN
        ) from error
