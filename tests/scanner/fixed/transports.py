"""Requests that capture does not record, or of which the scan does not know that it does."""

from __future__ import annotations

import json
import os
from contextlib import closing
from urllib.request import Request, urlopen

import httpx
from django.http import HttpResponse

from tests.scanner.fixed.ai import URL
from tests.scanner.unscanned import completion
from usage_tracking import ai_section, ai_usage


def body(model):
    return json.dumps({"model": model, "messages": [{"role": "user", "content": "Hi"}]}).encode()


def unhooked(request):
    # fix: put the call into `with ai_usage(section="…") as usage:`, and call
    #   usage.record(response) in it
    with ai_usage(section="chat") as usage:  # fixed
        asked = Request(f"{URL}/chat/completions", body("unhooked"))
        with closing(urlopen(asked)) as file:  # case: unhooked
            answer = json.load(file)
        usage.record(answer)  # fixed
    return HttpResponse(answer["id"])


@ai_section("chat")
def unhooked_in_section(request):
    # fix: put the call into `with ai_usage(section="…") as usage:`, and call
    #   usage.record(response) in it
    with ai_usage(section="chat") as usage:  # fixed
        asked = Request(f"{URL}/chat/completions", body("unhooked_in_section"))
        with closing(urlopen(asked)) as file:  # case: unhooked_in_section
            answer = json.load(file)
        usage.record(answer)  # fixed
    return HttpResponse(answer["id"])


def address(request):
    payload = {"model": "address", "messages": [{"role": "user", "content": "Hi"}]}
    # fix: put the call into `with ai_usage(section="…") as usage:`, and call
    #   usage.record(response) in it; a call that is recorded anyway is not counted twice
    with ai_usage(section="chat") as usage:  # fixed
        answer = httpx.post(os.environ["ADDRESS"], json=payload)  # case: address
        usage.record(answer)  # fixed
    return HttpResponse(answer.text)


def unknown(request):
    # fix: put the call into `with ai_usage(section="…") as usage:`, and call
    #   usage.record(response) in it; a call that is recorded anyway is not counted twice
    with ai_usage(section="chat") as usage:  # fixed
        answer = completion(messages=[{"role": "user", "content": "Hi"}])  # case: unknown
        usage.record(answer)  # fixed
    return HttpResponse(answer.id)
