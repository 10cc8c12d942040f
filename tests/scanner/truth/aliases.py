"""Blocks and decorators by other names, and others by these names."""

# mypy: disable-error-code="assignment"

from __future__ import annotations

from django.http import HttpResponse

import usage_tracking
from tests.scanner.truth.ai import client
from tests.scanner.truth.tracking import (
    Section,
    beside_section,
    chat_block,
    fake,
    in_chat,
    in_section,
    mark_chat,
    marks,
    section_of,
    tracked_block,
    user_block,
)

ai_usage, ai_section, track_ai_usage = fake.ai_usage, fake.ai_section, fake.track_ai_usage


def module_attribute(request):
    with usage_tracking.ai_usage(section="chat"):
        text = client.responses.create(model="module_attribute", input="Hi").output_text
    return HttpResponse(text)


def re_exported(request):
    with tracked_block(section="chat"):
        text = client.responses.create(model="re_exported", input="Hi").output_text
    return HttpResponse(text)


def block_of_another_package(request):
    with ai_usage(section="chat"):
        text = client.responses.create(model="block_of_another_package", input="Hi").output_text
    return HttpResponse(text)


@ai_section("chat")
def mark_of_another_package(request):
    text = client.responses.create(model="mark_of_another_package", input="Hi").output_text
    return HttpResponse(text)


def tracker_of_another_package(request):
    answer = client.responses.create(model="tracker_of_another_package", input="Hi")
    track_ai_usage(request.user, "chat")
    return HttpResponse(answer.output_text)


@section_of("chat")
def section_by_alias(request):
    text = client.responses.create(model="section_by_alias", input="Hi").output_text
    return HttpResponse(text)


@in_chat
def stored_decorator(request):
    text = client.responses.create(model="stored_decorator", input="Hi").output_text
    return HttpResponse(text)


@mark_chat
def stored_mark(request):
    text = client.responses.create(model="stored_mark", input="Hi").output_text
    return HttpResponse(text)


@marks("chat")
def own_mark(request):
    return HttpResponse(client.responses.create(model="own_mark", input="Hi").output_text)


def partial_block(request):
    with chat_block():
        text = client.responses.create(model="partial_block", input="Hi").output_text
    return HttpResponse(text)


def partial_block_without_section(request):
    with user_block():
        text = client.responses.create(
            model="partial_block_without_section", input="Hi"
        ).output_text
    return HttpResponse(text)


def section_enum(request):
    with tracked_block(section=Section.SEARCH):
        text = client.responses.create(model="section_enum", input="Hi").output_text
    return HttpResponse(text)


def higher_order(request):
    answer = in_section("chat", client.responses.create, model="higher_order", input="Hi")
    return HttpResponse(answer.output_text)


def higher_order_lambda(request):
    answer = in_section(
        "chat", lambda: client.responses.create(model="higher_order_lambda", input="Hi")
    )
    return HttpResponse(answer.output_text)


def higher_order_beside(request):
    answer = beside_section(
        "chat", client.responses.create, model="higher_order_beside", input="Hi"
    )
    return HttpResponse(answer.output_text)
