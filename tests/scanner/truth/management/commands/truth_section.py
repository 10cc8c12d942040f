from __future__ import annotations

from django.core.management.base import BaseCommand

from tests.scanner.truth.ai import client
from usage_tracking import ai_section


class Command(BaseCommand):
    @ai_section("chat")
    def handle(self, *args, **options):
        client.responses.create(model="command_section", input="Hi")
