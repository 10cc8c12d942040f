from __future__ import annotations

from tests.scanner.truth.ai import client
from usage_tracking import ai_usage


class Summaries:
    def __init__(self, get_response):
        self.get_response = get_response

    def __call__(self, request):
        if "summary" in request.GET:
            client.responses.create(model="middleware_call", input="Hi")
        if "summary" in request.GET:
            with ai_usage("chat"):
                client.responses.create(model="middleware_call_in_block", input="Hi")
        return self.get_response(request)

    def process_view(self, request, view, args, kwargs):
        if "summary" in request.GET:
            client.responses.create(model="process_view", input="Hi")
