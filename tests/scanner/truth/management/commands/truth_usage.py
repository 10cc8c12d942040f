from __future__ import annotations

from django.core.management.base import BaseCommand

from tests.scanner.truth.ai import client
from usage_tracking import ai_usage


class Command(BaseCommand):
    @ai_usage(section="chat")
    def handle(self, *args, **options):
        client.responses.create(model="command_usage", input="Hi")
