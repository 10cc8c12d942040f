"""Pages: the chat with streamed answers, the usage page, and a page for anonymous visitors."""

from __future__ import annotations

from collections.abc import Iterator

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_POST, require_safe

from project.chat.clients import CHAT_MODEL, openai_client
from project.chat.questions import ask_openai, question_in
from project.chat.ways import WAYS
from usage_tracking import ai_usage

_ANONYMOUS_TOPIC = "what this site is about"


@require_safe
@login_required
def page(request: HttpRequest) -> HttpResponse:
    """Show the chat."""
    ways = [("Stream from OpenAI", reverse("chat:answer"))]
    ways += [(label, reverse(f"chat:{name}")) for name, label in WAYS.items()]
    return render(request, "chat/page.html", {"ways": ways})


@require_POST
@login_required
def answer(request: HttpRequest) -> StreamingHttpResponse:
    """Stream an answer from OpenAI, with usage."""
    return _text_stream(_answer(question_in(request)))


@require_POST
@login_required
def answer_uncounted(request: HttpRequest) -> StreamingHttpResponse:
    """Stream without `include_usage`, as most code does: the provider reports no usage."""
    with ai_usage(section="chat"):
        chunks = openai_client().chat.completions.create(
            model=CHAT_MODEL,
            messages=[{"role": "user", "content": question_in(request)}],
            stream=True,
        )
    pieces = (chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    return _text_stream(pieces)


@require_safe
@login_required
def usage(request: HttpRequest) -> HttpResponse:
    """Show the visitor's own usage, with the template tag only."""
    return render(request, "chat/usage.html")


@require_safe
def welcome(request: HttpRequest) -> HttpResponse:
    """Call OpenAI for an anonymous visitor."""
    topic = request.GET.get("topic", _ANONYMOUS_TOPIC)[:200]
    with ai_usage(section="web_knowledge"):
        greeting = ask_openai(f"Welcome a new visitor who wonders about {topic}.")
    return render(request, "chat/welcome.html", {"greeting": greeting})


@ai_usage(section="chat")
def _answer(question: str) -> Iterator[str]:
    """Stream after the view has returned. The decorator still applies."""
    chunks = openai_client().chat.completions.create(
        model=CHAT_MODEL,
        messages=[{"role": "user", "content": question}],
        stream=True,
        stream_options={"include_usage": True},
    )
    for chunk in chunks:
        for choice in chunk.choices:
            yield choice.delta.content or ""


def _text_stream(pieces: Iterator[str]) -> StreamingHttpResponse:
    response = StreamingHttpResponse(pieces, content_type="text/plain; charset=utf-8")
    # Keeps nginx from buffering the whole answer.
    response["X-Accel-Buffering"] = "no"
    return response
