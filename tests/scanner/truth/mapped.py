"""Views that AI_USAGE_SECTION_MAP names."""

from __future__ import annotations

from django.http import HttpResponse
from django.views import View

from tests.scanner.truth.ai import client


def _helper():
    return client.responses.create(model="helper_of_mapped_view", input="Hi").output_text


def by_name(request):
    return HttpResponse(client.responses.create(model="mapped_by_name", input="Hi").output_text)


def by_namespace(request):
    text = client.responses.create(model="mapped_by_namespace", input="Hi").output_text
    return HttpResponse(text + _helper())


def by_inner_namespace(request):
    text = client.responses.create(model="mapped_by_inner_namespace", input="Hi").output_text
    return HttpResponse(text)


def by_path(request):
    return HttpResponse(client.responses.create(model="mapped_by_path", input="Hi").output_text)


class ByPath(View):
    def get(self, request):
        text = client.responses.create(model="mapped_class_by_path", input="Hi").output_text
        return HttpResponse(text)


def two_routes(request):
    """It has a mapped and an unmapped route."""
    return HttpResponse(client.responses.create(model="mapped_sometimes", input="Hi").output_text)


def by_path_not(request):
    """Its path only begins with a mapped one."""
    return HttpResponse(client.responses.create(model="mapped_not", input="Hi").output_text)


class NameOfClass(View):
    def get(self, request):
        text = client.responses.create(model="mapped_class_by_namespace", input="Hi").output_text
        return HttpResponse(text)
