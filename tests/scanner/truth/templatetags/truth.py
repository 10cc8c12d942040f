from __future__ import annotations

from django import template

from tests.scanner.truth.ai import client
from usage_tracking import ai_usage

register = template.Library()


@register.simple_tag
def summary():
    return client.responses.create(model="template_tag", input="Hi").output_text


@register.filter
@ai_usage("chat")
def rephrased(value):
    return client.responses.create(model="template_filter_in_block", input=value).output_text
