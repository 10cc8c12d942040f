"""The activity of OpenRouter, which needs a management key.

https://openrouter.ai/docs/api/api-reference/analytics/get-user-activity-grouped-by-endpoint: the
last 30 completed days in UTC, in one answer.
"""

from __future__ import annotations

import datetime as dt
import re
import time
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import quote

from ..days import utc_today
from . import http
from .billed import Billed, BillingError, Fetched
from .values import Fields, added, days_of, hint_of

TITLE = "OpenRouter"
BASE_URL = "https://openrouter.ai/api/v1"
FAMILY = "activity"
NEEDS = 'AI_USAGE_BILLING["openrouter"]["key"] to a management key'
#: Completed days that it reports.
DAYS = 30

_DATE = re.compile(r"(\d{4}-\d\d-\d\d)(?:[ T]00:00(?::00(?:\.0+)?)?(?:Z|[+-]00:?00)?)?", re.ASCII)


def fetch(
    account: Mapping[str, Any],
    first: dt.date,
    last: dt.date,
    *,
    get: http.Get = http.get,
    sleep: Callable[[float], None] = time.sleep,
) -> Fetched:
    """Fetch the bill of those days from `first` to `last` that OpenRouter reports.

    Rows have a key if `api_key_ids` names the hashes of keys: OpenRouter does not name the keys of
    all activity.

    Args:
        account: `key`, and optionally `api_key_ids` and `base_url`.
        first: The first day in UTC.
        last: The last day.
        get: Sends the requests.
        sleep: Waits before a request is retried.

    Raises:
        BillingError: The bill cannot be read.
    """
    key = account["key"]
    headers = {"Authorization": f"Bearer {key}"}
    client = http.Client(TITLE, NEEDS, key, headers, get, sleep)
    url = (account.get("base_url") or BASE_URL).rstrip("/")
    days, notes = _reported(first, last)
    rows: list[Billed] = []
    if days:
        for key_id in account.get("api_key_ids") or [""]:
            name, hint = _key(client, url, key_id, notes) if key_id else ("", "")
            params = {"api_key_hash": key_id} if key_id else {}
            activity = Fields(
                f"The answer of {TITLE} to {FAMILY}", client.json(f"{url}/activity", params)
            )
            rows += [
                _row(day, item, key_id, name, hint)
                for item in activity.items("data")
                if (day := _day(item)) in days
            ]
    return Fetched(tuple(days), added(rows), tuple(notes))


def _reported(first: dt.date, last: dt.date) -> tuple[list[dt.date], list[str]]:
    """Return the days that OpenRouter reports, and notes about the others."""
    today = utc_today()
    notes = []
    if last >= today:
        notes.append(
            f"{TITLE} reports completed days only: days from {max(first, today)} on are left out."
        )
    oldest = today - dt.timedelta(days=DAYS)
    if first < oldest:
        notes.append(
            f"{TITLE} reports the last {DAYS} days only: days before {oldest} are left out."
        )
    return days_of(max(first, oldest), min(last, today - dt.timedelta(days=1))), notes


def _key(client: http.Client, url: str, key_id: str, notes: list[str]) -> tuple[str, str]:
    """Return the name and the last four characters of a key."""
    source = f"The answer of {TITLE} to keys"
    try:
        answer = Fields(source, client.json(f"{url}/keys/{quote(key_id, safe='')}"))
        key = answer.inside("data")
        return key.text("name"), hint_of(key.text("label"))
    except BillingError as error:
        notes.append(f"The name of an API key is unknown. {error}")
        return "", ""


def _day(item: Fields) -> dt.date:
    match = _DATE.fullmatch(item.required_text("date"))
    try:
        if match:
            return dt.date.fromisoformat(match[1])
    except ValueError:
        pass
    raise item.error("date", "a day of UTC")


def _row(day: dt.date, item: Fields, key_id: str, name: str, hint: str) -> Billed:
    reasoning = item.optional_count("reasoning_tokens")
    return Billed(
        day=day,
        family=FAMILY,
        model_name=item.required_text("model"),
        key_id=key_id,
        key_name=name,
        key_hint=hint,
        requests=item.count("requests"),
        prompt_tokens=item.count("prompt_tokens"),
        completion_tokens=item.count("completion_tokens"),
        # What OpenRouter charges, and what the site's own provider account was charged.
        cost=item.amount("usage") + item.amount("byok_usage_inference"),
        units={"reasoning_tokens": reasoning} if reasoning else {},
    )
