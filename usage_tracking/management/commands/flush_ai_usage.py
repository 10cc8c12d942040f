from __future__ import annotations

import os
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.contrib.auth import get_user_model
from django.core.exceptions import ValidationError
from django.core.management.base import CommandError

from usage_tracking import checks, outbox, places
from usage_tracking.delivery import delivery
from usage_tracking.maintenance import privacy
from usage_tracking.management.arguments import add_database, database, explained
from usage_tracking.management.base import UsageCommand
from usage_tracking.outbox import segments


class Command(UsageCommand):
    help = (
        "Delivers the AI calls that wait in the outbox, those of processes that died included, to "
        "the database that the site's routers name. A living process delivers its own; run this "
        "from cron where none may be alive."
    )
    requires_system_checks = [checks.TAG]

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--retry-dead",
            action="store_true",
            help="try the calls again that the database refused",
        )
        parser.add_argument(
            "--forget",
            metavar="USER",
            help="first take this user (username or primary key; pk=7 or username=7 where both "
            "exist) off all calls that wait or were refused; they are kept without user. Also for "
            "one who is deleted already",
        )
        parser.add_argument(
            "--adopt",
            nargs="*",
            metavar="FILE",
            help="first take over these files of the outbox, which name another database: that of "
            "before, if its host or name in the settings has changed",
        )
        parser.add_argument(
            "--all", action="store_true", help="with --adopt: every file of another database"
        )
        add_database(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        if database(options) != (alias := places.own()):
            raise CommandError(
                f"Calls are delivered into the database {alias!r}, which the site's routers name; "
                "what waits belongs to it.",
                returncode=2,
            )
        with explained("Delivery", "What is not delivered waits."):
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
                f"The user could not be taken off everything in the outbox: {error}", returncode=2
            ) from error
        try:
            retried = box.retry_dead_letters() if options["retry_dead"] else 0
        except OSError as error:
            raise CommandError(
                f"The refused calls cannot be read: {error}", returncode=2
            ) from error
        done = delivery.deliver()
        others = box.other_segments()
        lines = {
            "{} lines of the outbox kept without their user": forgotten,
            "{} files of other databases taken over": adopted or None,
            "{} refused calls tried again": retried or None,
            "{} calls delivered": done.written,
            "{} files of dead processes taken over": done.adopted or None,
            "{} calls wait for their user to be saved or unlocked": done.deferred or None,
            "{} files belong to living processes, which deliver them": others.living or None,
            "{} files belong to other databases; flush them with the settings that name those, or "
            "take them over: flush_ai_usage --adopt --all": others.elsewhere or None,
            "{} files belong to other system users, or may be written by all; flush them as their "
            "owner: diagnose_ai_usage names them": others.denied or None,
        }
        if options["verbosity"]:
            for text, count in lines.items():
                if count is not None:
                    self.stdout.write(text.format(count))
        if done.set_aside:
            raise CommandError(
                f"{done.set_aside} calls wait: the database or the schema of their tenant is away; "
                "the log says why",
                returncode=1,
            )
        if done.dead_lettered:
            raise CommandError(
                f"{done.dead_lettered} calls were refused by the database; see dead letters in "
                f"{os.fspath(box.directory) if box.directory else 'memory'}",
                returncode=1,
            )

    def _adopt(self, box: outbox.MemoryOutbox, options: dict[str, Any]) -> int:
        """Take over the files that the command line names; returns how many."""
        if options["adopt"] is None:
            if options["all"]:
                raise CommandError("--all needs --adopt", returncode=2)
            names: list[str] = []
        elif bool(options["adopt"]) == options["all"]:
            raise CommandError("--adopt takes either names of files, or --all", returncode=2)
        else:
            names = options["adopt"]
        if box.directory is None:
            if options["adopt"] is not None:
                raise CommandError("There is no outbox: AI_USAGE_OUTBOX is None", returncode=2)
            return 0
        try:
            segments.paths(box.directory)
        except OSError as error:
            raise CommandError(f"The outbox cannot be read: {error}", returncode=2) from error
        wanted = box.elsewhere() if options["all"] else [_find(box.directory, n) for n in names]
        for path in wanted:
            try:
                segments.take_over(path, box.directory)
            except (OSError, ValueError) as error:
                raise CommandError(f"{path} cannot be taken over: {error}", returncode=2) from error
        return len(wanted)


def _find(directory: Path, name: str) -> Path:
    """A file by its path, or by its name in the outbox."""
    return path if (path := Path(name)).exists() else directory / name


def _matcher(wanted: str) -> Any:
    """Says of a user id and username whether they are the one that is `wanted`."""
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
            f"{value} is the username of one user and the key of another: "
            f"say username={value} or pk={value}",
            returncode=2,
        )
    if user := by_name or by_pk:
        return privacy.is_of(user)
    return lambda user_id, username: (
        (kind != "username" and user_id == value) or (kind != "pk" and username == value)
    )
