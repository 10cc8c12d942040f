from __future__ import annotations

from django import template

from tests.scanner.fixed.ai import client
from usage_tracking import ai_usage

register = template.Library()


@register.simple_tag
def summary():
    # fix: put the statement at line +2 into `with ai_usage(section="…"):`
    with ai_usage(section="chat"):  # fixed
        return client.responses.create(model="template_tag", input="Hi").output_text
