from __future__ import annotations

from django.core.management.base import BaseCommand

from tests.scanner.fixed.ai import client
from usage_tracking import ai_usage


class Command(BaseCommand):
    def handle(self, *args, **options):
        # fix: put the statements at lines +2 and +3 into `with ai_usage(section="…"):`
        with ai_usage(section="chat"):  # fixed
            client.responses.create(model="command", input="Hi")
            self.index()

    def index(self):
        client.responses.create(model="method_of_command", input="Hi")
