"""The `find_uninstrumented` command."""

from __future__ import annotations

import sys
from argparse import ArgumentParser
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from django.apps import apps
from django.conf import settings
from django.core.management.base import CommandError
from django.db import DatabaseError
from django.urls import URLPattern, URLResolver, get_resolver

from ... import capture, checks, conf
from ...capture import paths
from ...models import AIUsageLog
from ...scanner import Tracking, cli
from ...scanner.output import terminal
from ..arguments import add_database, database_alias
from ..base import CANNOT_RUN, UsageCommand


class Command(UsageCommand):
    """List the AI call sites of a project and whether they are tracked."""

    help = (
        "List every AI call site of the project and whether it is tracked. "
        "Exit code 0: all are; 1: some are not (--fail-on); 2: the scan could not run."
    )
    # The scan only reads code: it works on a site that fails its checks too.
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Add the paths, the options of the scanner and `--database`."""
        parser.add_argument(
            "paths", nargs="*", metavar="PATH", help="default: BASE_DIR, or the project's apps"
        )
        cli.add_arguments(parser)
        add_database(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        """Scan, and print the report."""
        using = database_alias(options, for_reading=True)
        for message in checks.check_settings():
            if message.is_serious():
                raise CommandError(message.msg, returncode=CANNOT_RUN)
        wanted = cli.options_of(
            options,
            tuple(options["paths"]) or tuple(_project()),
            extra=tuple(map(str, conf.scanner_extra())),
            trackers=tuple(conf.scanner_trackers()),
            tracking=_tracking(),
            mapped=frozenset(_mapped(conf.section_map())),
            mapped_prefixes=frozenset(name for name, code in conf.section_map().items() if code),
            scheduled=frozenset(_scheduled()),
        )
        out: Any = self.stdout
        pretty = terminal.printer(
            out,
            is_terminal=self.stdout.isatty(),
            no_color=options["no_color"],
            force_color=options["force_color"],
        )
        try:
            report = cli.run(wanted, options)
            if options["diff"]:
                cli.show_patch(
                    report,
                    options,
                    wanted.paths,
                    out,
                    lambda line: self.stderr.write(line, self.style.NOTICE),
                    sections=conf.sections(),
                )
            else:
                report = replace(report, silent_sections=self._silent_sections(using, options))
                verbosity = options["verbosity"]
                cli.show(report, options, self.stdout.write, verbosity=verbosity, pretty=pretty)
        except cli.UsageError as error:
            raise CommandError(str(error), returncode=CANNOT_RUN) from error
        if reason := cli.failure(report, options):
            raise CommandError(reason, returncode=1)

    def _silent_sections(self, using: str, options: dict[str, Any]) -> tuple[str, ...] | None:
        """Return the sections of the settings without rows; None if rows cannot be read."""
        try:
            seen = set(
                AIUsageLog.objects.using(using)
                .order_by()
                .values_list("section", flat=True)
                .distinct()
            )
        except DatabaseError as error:
            if options["verbosity"] > 0:
                text = str(error).strip().partition("\n")[0]
                self.stderr.write(f"Sections without rows are unknown: {text}", self.style.NOTICE)
            return None
        return tuple(code for code in conf.sections() if code not in seen)


def _project() -> Iterator[str]:
    """Yield the directories of the site's own code."""
    base = getattr(settings, "BASE_DIR", None)
    if base:
        yield str(base)
        return
    for app in apps.get_app_configs():
        if not {"site-packages", "dist-packages"} & set(Path(app.path).parts):
            yield app.path


def _tracking() -> Tracking:
    """Return what the settings say about the calls of the site."""
    wanted = conf.capture()
    return Tracking(
        is_enabled=conf.enabled(),
        hooked=frozenset(
            name
            for name in capture.TRANSPORTS
            if wanted is True or (wanted is not False and name in wanted)
        ),
        paths=tuple(paths.own().items()),
        gateways=tuple(conf.gateways().items()),
        records_unknown_hosts=conf.unknown_hosts(),
        reaches_threads=conf.propagate_threads(),
        reads_views=checks.has_middleware(),
    )


def _mapped(sections: Mapping[str, str]) -> Iterator[str]:
    """Yield the dotted paths of the views all of whose routes AI_USAGE_SECTION_MAP names."""
    if not sections or not getattr(settings, "ROOT_URLCONF", None):
        return
    try:
        views = list(_views(get_resolver(), ()))
    except Exception as error:
        raise CommandError(
            f"AI_USAGE_SECTION_MAP needs the site's URLs, but {settings.ROOT_URLCONF} cannot be "
            f"loaded: {type(error).__name__}: {error}",
            returncode=CANNOT_RUN,
        ) from error
    routes: dict[str, list[bool]] = {}
    for names, dotted in views:
        routes.setdefault(dotted, []).append(bool(conf.mapped_section(dotted, *names)))
    for dotted, are_mapped in routes.items():
        if all(are_mapped):
            yield dotted


def _scheduled() -> Iterator[str]:
    """Yield the names of the tasks that Celery beat sends, as far as the settings name them."""
    schedules = [
        getattr(settings, name, None) for name in ("CELERY_BEAT_SCHEDULE", "CELERYBEAT_SCHEDULE")
    ]
    if celery := sys.modules.get("celery"):  # only if the site itself uses it
        with suppress(Exception):  # the site's own configuration may be broken
            schedules.append(celery.current_app.conf.beat_schedule)
    for schedule in schedules:
        for entry in schedule.values() if isinstance(schedule, Mapping) else ():
            if isinstance(entry, Mapping) and isinstance(entry.get("task"), str):
                yield entry["task"]


def _views(resolver: URLResolver, namespaces: tuple[str, ...]) -> Iterator[tuple[list[str], str]]:
    """Yield (name and namespaces, dotted path) of every view of the site."""
    for pattern in resolver.url_patterns:
        if isinstance(pattern, URLResolver):
            inner = (*namespaces, pattern.namespace) if pattern.namespace else namespaces
            yield from _views(pattern, inner)
        elif isinstance(pattern, URLPattern):
            callback: Any = pattern.callback
            view = getattr(callback, "view_class", None) or getattr(callback, "cls", callback)
            names = [":".join((*namespaces, pattern.name))] if pattern.name else []
            names += [":".join(namespaces[:n]) for n in range(len(namespaces), 0, -1)]
            module = getattr(view, "__module__", "")
            name = getattr(view, "__qualname__", type(view).__qualname__)
            yield names, f"{module}.{name}"
