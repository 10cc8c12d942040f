"""The HTML of single values in lists and on the pages of rows. Unknown values are never 0."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from django.utils import timezone
from django.utils.formats import date_format, number_format
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _

from .. import conf
from ..pages.call_cost import exact_usd
from ..pages.charts import color_class
from ..pages.formatting import count, usd

#: Response times in ms: below `_FAST` they are green, below `_SLOW` orange, otherwise red.
_FAST, _SLOW = 1_000, 3_000
#: A duration in ms of which hundredths of a second say nothing.
_LONG = 100_000
#: Characters of a text that a line can show; the tooltip has the rest.
_LINE = 300


def unknown(text: str) -> SafeString:
    """Return that a value is unknown, and in which way."""
    return format_html('<span class="ai-usage-unknown">{}</span>', text)


def one_line(text: str, css_class: str = "ai-usage-clip") -> SafeString:
    """Return `text` on one line, which the style sheet cuts off, with all of it as a tooltip."""
    line = " ".join(text[:_LINE].split())
    return format_html('<span class="{}" dir="auto" title="{}">{}</span>', css_class, text, line)


def model(name: str, provider: str) -> SafeString:
    """Return a model after its provider, on one line."""
    return format_html(
        '<span class="ai-usage-clip" dir="auto" title="{} {}">'
        '<span class="ai-usage-provider">{}</span> {}</span>',
        *(provider, name or _("unknown model")),
        *(provider, name or unknown(_("unknown model"))),
    )


def section(code: str, label: str) -> SafeString:
    """Return the label of a section in the colour that it has in the charts."""
    color = color_class(code, conf.sections(), conf.default_section())
    return one_line(label, f"ai-usage-badge ai-usage-clip {color}")


def status(*, success: bool) -> SafeString:
    """Return whether a call succeeded."""
    name, label = ("ok", _("OK")) if success else ("failed", _("Failed"))
    return format_html('<span class="ai-usage-badge ai-usage-{}">{}</span>', name, label)


def tokens(prompt: int | None, completion: int | None) -> SafeString:
    """Return prompt and completion tokens, which the tooltip names."""
    if prompt is None and completion is None:
        return unknown(_("not reported"))
    shown = ["?" if number is None else count(number) for number in (prompt, completion)]
    named = _("%(prompt)s prompt + %(completion)s completion tokens")
    return format_html(
        '<span title="{}"><span class="ai-usage-number">{} +</span> '
        '<span class="ai-usage-number">{}</span></span>',
        named % {"prompt": shown[0], "completion": shown[1]},
        *shown,
    )


def number(value: int | None) -> SafeString | str:
    """Return a number of tokens."""
    return unknown(_("not reported")) if value is None else count(value)


def counted(number: int, label: str, css_class: str = "") -> SafeString:
    """Return a number of calls; narrow lists, which have no columns, show the label too."""
    return format_html(
        '<span class="{}">{}<span class="ai-usage-narrow"> {}</span></span>',
        *(css_class, count(number), label),
    )


def cost(amount: Decimal | None) -> SafeString:
    """Return an amount in USD, with all of its digits as a tooltip."""
    if amount is None:
        return unknown(_("unpriced"))
    return format_html(
        '<span class="ai-usage-number" title="{}">{}</span>', exact_usd(amount), usd(amount)
    )


def seconds(ms: float, css_class: str = "ai-usage-number") -> SafeString:
    """Return a duration in seconds, to a hundredth below 100 s."""
    rounded = round(Decimal(ms) / 1000, 2 if ms < _LONG else 0)
    text = number_format(rounded, force_grouping=True)
    return format_html('<span class="{}">{} s</span>', css_class, text)


def response_time(ms: int) -> SafeString:
    """Return the response time of a call in seconds, coloured by speed."""
    return seconds(ms, f"ai-usage-{'fast' if ms < _FAST else 'medium' if ms < _SLOW else 'slow'}")


def moment(value: dt.datetime) -> SafeString:
    """Return a time to the minute, in the current time zone, with all of it as a tooltip."""
    local = _local(value)
    return format_html(
        '<time dir="ltr" datetime="{}" title="{}">{} {}</time>',
        local.isoformat(),
        exact_moment(value),
        date_format(local, "SHORT_DATE_FORMAT"),
        f"{local:%H:%M}",
    )


def exact_moment(value: dt.datetime) -> str:
    """Return a time to the microsecond, in the current time zone."""
    return f"{_local(value):%Y-%m-%d %H:%M:%S.%f %Z}".strip()


def as_json(value: Any) -> SafeString:
    """Return any JSON value, indented."""
    text = json.dumps(value, indent=2, ensure_ascii=False, default=str)
    return format_html('<pre class="ai-usage-setting" dir="ltr" tabindex="0">{}</pre>', text)


def links(labels: Mapping[str, str]) -> SafeString:
    """Return links, by their URLs, to stand beside a value."""
    return format_html_join("", ' <a class="ai-usage-beside" href="{}">{}</a>', labels.items())


def facts(values: Mapping[str, Any]) -> SafeString:
    """Return named values; a value may be any JSON value."""
    rows = ((name, _json_line(value)) for name, value in values.items())
    return format_html(
        '<dl class="ai-usage-facts">{}</dl>',
        format_html_join("", '<dt>{}</dt><dd dir="auto">{}</dd>', rows),
    )


def _local(value: dt.datetime) -> dt.datetime:
    return timezone.localtime(value) if timezone.is_aware(value) else value


def _json_line(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
