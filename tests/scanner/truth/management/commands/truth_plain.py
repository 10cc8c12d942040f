from __future__ import annotations

from django.core.management.base import BaseCommand

from tests.scanner.truth.ai import client


class Command(BaseCommand):
    def handle(self, *args, **options):
        client.responses.create(model="command_plain", input="Hi")
