"""The command `manage.py demo`."""

from __future__ import annotations

import os
from argparse import SUPPRESS, ArgumentParser
from pathlib import Path
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError
from django.db import connection
from django.urls import reverse

from project.chat.demo.accounts import (
    ADMIN,
    VISITORS,
    ForeignUserError,
    create_accounts,
    token_of,
)
from project.chat.demo.launch import run_demo
from project.ending import EndSignal

if TYPE_CHECKING:
    from project.chat.demo.performance import Performance


class Command(BaseCommand):
    """Run the demo and verify what it records."""

    help = (
        "Runs this site with a stub provider, three users and the real SDKs, and verifies that "
        "every AI call is recorded as the provider served it. Needs no API key and no network. "
        "Uses demo.sqlite3, or the database of DATABASE_URL."
    )
    requires_system_checks = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Add the options of the command."""
        parser.add_argument(
            "--serve", action="store_true", help="serve the site afterwards, until Ctrl-C"
        )
        parser.add_argument(
            "--port", type=int, default=0, help="port of the site (default: any free one)"
        )
        # Marks the child process, whose settings contain the provider's address.
        parser.add_argument("--provider", default="", help=SUPPRESS)

    def handle(self, *args: Any, **options: Any) -> None:
        """Run the demo."""
        provider, serve, port = options["provider"], options["serve"], options["port"]
        try:
            if provider:
                code = self._perform(provider, port=port, serve=serve)
            else:
                arguments = ["--port", str(port), *(["--serve"] if serve else [])]
                code = run_demo(Path(settings.BASE_DIR), arguments, watched=serve)
        except KeyboardInterrupt:
            code = 130
        except ForeignUserError as error:
            raise CommandError(str(error)) from None
        if code:
            raise SystemExit(code)

    def _perform(self, provider: str, *, port: int, serve: bool) -> int:
        # Imported here, because the parent needs neither the site nor an HTTP client.
        from project.chat.demo.performance import perform
        from project.chat.demo.site import Site

        call_command("migrate", verbosity=0, interactive=False)
        create_accounts(with_admin=serve)
        with Site(port) as site:
            self._introduce(provider, site.url)
            performance = perform(site.url, provider)
            self._report(performance)
            if serve:
                self._stay_up(site.url)
        return 0 if performance.proven else 1

    def _introduce(self, provider: str, site: str) -> None:
        database = connection.settings_dict["NAME"]
        self._heading("A site that calls language models")
        self._facts(
            ("provider", f"{provider}  a stub for OpenAI, Anthropic and Gemini; no key, no cost"),
            ("site", f"{site}  this project, on a threaded server, with ATOMIC_REQUESTS"),
            ("database", f"{connection.display_name}, {database}"),
            ("visitors", f"{', '.join(VISITORS)} and one who is not logged in"),
        )

    def _report(self, performance: Performance) -> None:
        from project.chat.demo import report

        self.stdout.write(
            f"\nThe visitors opened {len(performance.visited)} pages in "
            f"{performance.seconds:.1f} s, in parallel."
        )
        self._heading("Recorded calls")
        self.stdout.write(report.calls_table(performance.logs))
        for note in report.calls_notes(performance.logs):
            self.stdout.write(f"  · {note}")
        self._heading("Daily rows")
        self.stdout.write(report.days_table(performance.days))
        log_file = os.environ["LOG_FILE"]
        sample = report.sample_log_line(Path(log_file), "[TRACK_COMPLETE]", VISITORS[0])
        if sample:
            self._heading("The log has one such line per call")
            self.stdout.write(sample)
            self.stdout.write(f"  · see {log_file} for the other lines")
        self._heading("Verification")
        for line in report.finding_lines(performance.findings):
            self.stdout.write(line)

    def _stay_up(self, site: str) -> None:
        end = EndSignal()
        logins = ", ".join(f"{name} / {name}" for name in VISITORS)
        stats = reverse("ai_usage_api:global-log-stats")
        self._heading("Try it yourself")
        self._facts(
            ("chat", f"{site}{reverse('chat:page')}  log in as {logins}"),
            ("usage", f"{site}{reverse('chat:usage')}  each user's own usage"),
            ("admin", f"{site}{reverse('admin:index')}  log in as {ADMIN} / {ADMIN}"),
            ("dashboard", f"{site}{reverse('admin:usage_tracking_dashboard')}"),
            ("API", f"{site}{reverse('ai_usage_api:logs')}  see docs/api.md; as {ADMIN}:"),
            ("", f"curl -H 'Authorization: Bearer {token_of(ADMIN)}' {site}{stats}"),
        )
        self.stdout.write(
            "The passwords of these demo accounts are public. Press Ctrl-C to end the demo."
        )
        self.stdout.flush()
        # The provider runs in the parent process. Without it, the demo must end.
        parent = os.getppid()
        end.wait(is_needed=lambda: os.getppid() == parent)
        self.stdout.write("\nThe demo has ended.")

    def _heading(self, text: str) -> None:
        self.stdout.write("\n" + self.style.MIGRATE_HEADING(text))

    def _facts(self, *facts: tuple[str, str]) -> None:
        for name, fact in facts:
            self.stdout.write(f"  {name:<9} {fact}")
