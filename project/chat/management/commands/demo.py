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
    help = (
        "Shows the whole way of an AI call on this machine: a stub provider, this site, three "
        "users and the real SDKs; then proves that what was recorded is what was served. "
        "Needs no key and no network. Uses demo.sqlite3, or the database of DATABASE_URL."
    )
    requires_system_checks = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--serve", action="store_true", help="stay up for a browser afterwards, until Ctrl-C"
        )
        parser.add_argument(
            "--port", type=int, default=0, help="port of the site (default: any free one)"
        )
        # Says that this is the child process, whose settings know the provider.
        parser.add_argument("--provider", default="", help=SUPPRESS)

    def handle(self, *args: Any, **options: Any) -> None:
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
        # Imported here, for the parent needs neither the site nor an HTTP client.
        from project.chat.demo.performance import perform
        from project.chat.demo.site import Site

        call_command("migrate", verbosity=0, interactive=False)
        create_accounts(with_admin=serve)
        with Site(port) as site:
            self._introduce(provider, site.url)
            performance = perform(site.url, provider)
            self._tell(performance)
            if serve:
                self._stay_up(site.url)
        return 0 if performance.proven else 1

    def _introduce(self, provider: str, site: str) -> None:
        database = connection.settings_dict["NAME"]
        self._heading("A site that talks to language models")
        self._facts(
            ("provider", f"{provider}  a stub for OpenAI, Anthropic and Gemini; no key, no bill"),
            ("site", f"{site}  this project, on a threaded server, under ATOMIC_REQUESTS"),
            ("database", f"{connection.display_name}, {database}"),
            ("visitors", f"{', '.join(VISITORS)} and someone who is not logged in"),
        )

    def _tell(self, performance: Performance) -> None:
        from project.chat.demo import report

        self.stdout.write(
            f"\nThey opened {len(performance.visited)} pages in {performance.seconds:.1f} s, "
            "all at the same time."
        )
        self._heading("What was recorded")
        self.stdout.write(report.calls_table(performance.logs))
        for note in report.calls_notes(performance.logs):
            self.stdout.write(f"  · {note}")
        self._heading("The day of each user so far")
        self.stdout.write(report.days_table(performance.days))
        log_file = os.environ["LOG_FILE"]
        sample = report.sample_log_line(Path(log_file), "[TRACK_COMPLETE]", VISITORS[0])
        if sample:
            self._heading("In the log, of each call")
            self.stdout.write(sample)
            self.stdout.write(f"  · the other lines are in {log_file}")
        self._heading("Is it true?")
        for line in report.finding_lines(performance.findings):
            self.stdout.write(line)

    def _stay_up(self, site: str) -> None:
        end = EndSignal()
        logins = ", ".join(f"{name} / {name}" for name in VISITORS)
        stats = reverse("ai_usage_api:global-log-stats")
        self._heading("Now it is your turn")
        self._facts(
            ("chat", f"{site}{reverse('chat:page')}  log in as {logins}"),
            ("usage", f"{site}{reverse('chat:usage')}  what each of them has used"),
            ("admin", f"{site}{reverse('admin:index')}  log in as {ADMIN} / {ADMIN}"),
            ("dashboard", f"{site}{reverse('admin:usage_tracking_dashboard')}"),
            ("API", f"{site}{reverse('ai_usage_api:logs')}  as docs/api.md has it, for {ADMIN}:"),
            ("", f"curl -H 'Authorization: Bearer {token_of(ADMIN)}' {site}{stats}"),
        )
        self.stdout.write("These are demo accounts with public passwords. Ctrl-C ends the demo.")
        self.stdout.flush()
        # The provider lives in the parent: without it there is no demo, however it died.
        parent = os.getppid()
        end.wait(is_needed=lambda: os.getppid() == parent)
        self.stdout.write("\nThe demo has ended.")

    def _heading(self, text: str) -> None:
        self.stdout.write("\n" + self.style.MIGRATE_HEADING(text))

    def _facts(self, *facts: tuple[str, str]) -> None:
        for name, fact in facts:
            self.stdout.write(f"  {name:<9} {fact}")
