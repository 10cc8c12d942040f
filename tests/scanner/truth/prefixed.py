"""AI_USAGE_SECTION_MAP names this module."""

from __future__ import annotations

from django.http import HttpResponse

from tests.scanner.truth.ai import client


def by_module(request):
    return HttpResponse(client.responses.create(model="mapped_by_module", input="Hi").output_text)


def helper_by_module():
    """No view: the prefix says nothing about it."""
    return client.responses.create(model="helper_in_mapped_module", input="Hi").output_text
