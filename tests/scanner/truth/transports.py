"""Requests whose row is written later, by another call, or never."""

from __future__ import annotations

import json
import urllib.request
from contextlib import closing

import httpx
from django.http import HttpResponse

from tests.scanner.truth.ai import URL, client
from usage_tracking import ai_usage, track_ai_usage


def _body(model):
    return json.dumps({"model": model, "messages": [{"role": "user", "content": "Hi"}]}).encode()


def _ask(model):
    asked = urllib.request.Request(f"{URL}/chat/completions", _body(model))
    with closing(urllib.request.urlopen(asked)) as answer:  # case: urllib_of_helper
        return json.load(answer)


def urllib_of_helper(request):
    with ai_usage("chat"):
        return HttpResponse(_ask("urllib_of_helper")["id"])


def urllib_tracked(request):
    asked = urllib.request.Request(f"{URL}/chat/completions", _body("urllib_tracked"))
    with closing(urllib.request.urlopen(asked)) as file:  # case: urllib_tracked
        answer = json.load(file)
    track_ai_usage(
        request.user,
        "chat",
        prompt_tokens=answer["usage"]["prompt_tokens"],
        completion_tokens=answer["usage"]["completion_tokens"],
        model_name=answer["model"],
    )
    return HttpResponse(answer["id"])


def urllib_recorded_without_section(request):
    asked = urllib.request.Request(
        f"{URL}/chat/completions", _body("urllib_recorded_without_section")
    )
    with (
        ai_usage() as usage,
        # case: urllib_recorded_without_section
        closing(urllib.request.urlopen(asked)) as file,
    ):
        usage.record(json.load(file))
    return HttpResponse()


def urllib_recorded_sometimes(request):
    asked = urllib.request.Request(f"{URL}/chat/completions", _body("urllib_recorded_sometimes"))
    with ai_usage("chat") as usage:
        with closing(urllib.request.urlopen(asked)) as file:  # case: urllib_recorded_sometimes
            answer = json.load(file)
        if "record" in request.GET:
            usage.record(answer)
    return HttpResponse()


def video_not_polled(request):
    with ai_usage("chat"):
        video = client.videos.create(model="video_not_polled", prompt="A cat", seconds="8")
    return HttpResponse(video.id)


def background_not_polled(request):
    with ai_usage("chat"):
        answer = client.responses.create(model="background_not_polled", input="Hi", background=True)
    return HttpResponse(answer.id)


def embeddings(request):
    with ai_usage("search"):
        found = client.embeddings.create(model="embeddings_in_block", input=["Hi"])
    return HttpResponse(str(len(found.data)))


def images(request):
    client.images.generate(model="images_of_view", prompt="A cat")
    return HttpResponse()


def streamed_with_httpx(request):
    body = json.loads(_body("streamed_with_httpx")) | {"stream": True}
    with (
        ai_usage("chat"),
        # case: streamed_with_httpx
        httpx.stream("POST", f"{URL}/chat/completions", json=body) as answer,
    ):
        return HttpResponse("".join(answer.iter_text()))
