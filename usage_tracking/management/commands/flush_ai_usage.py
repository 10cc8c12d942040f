"""The `flush_ai_usage` command."""

from __future__ import annotations

import os
from argparse import ArgumentParser
from collections.abc import Callable
from pathlib import Path
from typing import Any

from django.contrib.auth import get_user_model
from django.core.exceptions import ValidationError
from django.core.management.base import CommandError

from ... import checks, outbox, places
from ...delivery import delivery
from ...maintenance import privacy
from ...outbox import segments
from ..arguments import add_database, database_alias, explained
from ..base import CANNOT_RUN, UsageCommand


class Command(UsageCommand):
    """Deliver the calls in the outbox."""

    help = (
        "Deliver the AI calls in the outbox, including those of dead processes, to the database "
        "that DATABASE_ROUTERS choose. A living process delivers its own calls. Run this command "
        "from cron if no process may be alive."
    )
    requires_system_checks = [checks.TAG]

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Define the options."""
        parser.add_argument(
            "--retry-dead",
            action="store_true",
            help="retry the calls that the database refused",
        )
        parser.add_argument(
            "--forget",
            metavar="USER",
            help="first remove this user (username or primary key; pk=7 or username=7 if both "
            "exist) from all undelivered and refused calls, which are kept without user; also "
            "works for a deleted user",
        )
        parser.add_argument(
            "--adopt",
            nargs="*",
            metavar="FILE",
            help="first take over these files of the outbox, which belong to another database; "
            "for example after the database got another host or name in the settings",
        )
        parser.add_argument(
            "--all", action="store_true", help="with --adopt: every file of another database"
        )
        add_database(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        """Deliver, and report what was done and what is left."""
        if database_alias(options) != (alias := places.own()):
            raise CommandError(
                f"Calls are delivered to the database {alias!r}, which DATABASE_ROUTERS choose. "
                "The calls in the outbox belong to it.",
                returncode=CANNOT_RUN,
            )
        with explained("Delivery", "Undelivered calls stay in the outbox.", using=alias):
            self._flush(options)

    def _flush(self, options: dict[str, Any]) -> None:
        box = outbox.get()
        forgotten = None
        adopted = self._adopt(box, options)
        try:
            if options["forget"]:
                forgotten = box.forget(_matcher(options["forget"]))
        except OSError as error:
            raise CommandError(
                f"The user cannot be removed from the whole outbox: {error}", returncode=CANNOT_RUN
            ) from error
        try:
            retried = box.retry_dead_letters() if options["retry_dead"] else 0
        except OSError as error:
            raise CommandError(
                f"The refused calls cannot be read: {error}", returncode=CANNOT_RUN
            ) from error
        done = delivery.deliver()
        others = box.other_segments()
        lines = {
            "{} outbox lines kept without their user": forgotten,
            "{} files of other databases taken over": adopted or None,
            "{} refused calls retried": retried or None,
            "{} calls delivered": done.written,
            "{} files of dead processes taken over": done.adopted or None,
            "{} calls wait for their user to be saved or unlocked": done.deferred or None,
            "{} files belong to living processes, which deliver them": others.living or None,
            "{} files belong to other databases; flush them with the settings of those databases, "
            "or take them over: flush_ai_usage --adopt --all": others.elsewhere or None,
            "{} files belong to other system users or are writable by everyone; flush them as "
            "their owner: diagnose_ai_usage lists them": others.denied or None,
        }
        if options["verbosity"]:
            for text, count in lines.items():
                if count is not None:
                    self.stdout.write(text.format(count))
        if done.set_aside:
            raise CommandError(
                f"{done.set_aside} calls stay in the outbox: the database or the schema of their "
                "tenant is not available; see the log for the reason",
                returncode=1,
            )
        if done.dead_lettered:
            raise CommandError(
                f"{done.dead_lettered} calls were refused by the database; see the dead letters in "
                f"{os.fspath(box.directory) if box.directory else 'memory'}",
                returncode=1,
            )

    def _adopt(self, box: outbox.MemoryOutbox, options: dict[str, Any]) -> int:
        """Take over the files of the command line, and return how many."""
        if options["adopt"] is None:
            if options["all"]:
                raise CommandError("--all needs --adopt", returncode=CANNOT_RUN)
            names: list[str] = []
        elif bool(options["adopt"]) == options["all"]:
            raise CommandError("--adopt takes either file names or --all", returncode=CANNOT_RUN)
        else:
            names = options["adopt"]
        if box.directory is None:
            if options["adopt"] is not None:
                raise CommandError(
                    "There is no outbox: AI_USAGE_OUTBOX is None", returncode=CANNOT_RUN
                )
            return 0
        try:
            segments.paths(box.directory)
        except OSError as error:
            raise CommandError(
                f"The outbox cannot be read: {error}", returncode=CANNOT_RUN
            ) from error
        wanted = box.elsewhere() if options["all"] else [_find(box.directory, n) for n in names]
        for path in wanted:
            try:
                segments.take_over(path, box.directory)
            except (OSError, ValueError) as error:
                raise CommandError(
                    f"{path} cannot be taken over: {error}", returncode=CANNOT_RUN
                ) from error
        return len(wanted)


def _find(directory: Path, name: str) -> Path:
    """Return a path as it is, or a file name as a path in the outbox."""
    return path if (path := Path(name)).exists() else directory / name


def _matcher(wanted: str) -> Callable[[str, str], bool]:
    """Return a function (user id, username of an event) → whether they identify `wanted`."""
    users: Any = get_user_model()._base_manager.using(places.users_of(places.own()))
    kind, _, value = wanted.partition("=")
    if kind not in ("pk", "username"):
        kind, value = "", wanted
    by_name = by_pk = None
    if kind != "pk":
        by_name = users.filter(**{users.model.USERNAME_FIELD: value}).first()
    if kind != "username":
        try:
            by_pk = users.filter(pk=users.model._meta.pk.to_python(value)).first()
        except (ValidationError, OverflowError):
            by_pk = None
    if by_name and by_pk and by_name.pk != by_pk.pk:
        raise CommandError(
            f"{value} is the username of one user and the primary key of another: "
            f"use username={value} or pk={value}",
            returncode=CANNOT_RUN,
        )
    if user := by_name or by_pk:
        return privacy.matcher(user)
    return lambda user_id, username: (
        (kind != "username" and user_id == value) or (kind != "pk" and username == value)
    )
