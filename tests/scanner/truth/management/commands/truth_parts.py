from __future__ import annotations

from django.core.management.base import BaseCommand

from tests.scanner.truth.ai import client
from usage_tracking import ai_section, ai_usage


@ai_section("chat")
class Command(BaseCommand):
    ai_section = "chat"

    def handle(self, *args, **options):
        with ai_usage(section="search"):
            self.index("Hi")
        self.report()

    def index(self, text):
        client.responses.create(model="command_block_above", input=text)

    def report(self):
        client.responses.create(model="command_marked_class", input="Hi")
