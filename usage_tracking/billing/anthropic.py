"""The usage and cost reports of Anthropic, which need an Admin key of an organization.

https://platform.claude.com/docs/en/api/admin/usage_report/retrieve_messages and
https://platform.claude.com/docs/en/api/admin/cost_report. They do not count requests.
"""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from decimal import Decimal
from typing import Any

from . import http
from .billed import COSTS, Billed, BillingError, Fetched
from .buckets import Layout, Reports, pages
from .values import Fields, hint_of, named

TITLE = "Anthropic"
BASE_URL = "https://api.anthropic.com"
VERSION = "2023-06-01"
FAMILY = "messages"
NEEDS = (
    'AI_USAGE_BILLING["anthropic"]["key"] to an Admin key (sk-ant-admin…) of an organization;'
    " individual accounts have none"
)
USAGE_GROUP_BY = ("api_key_id", "workspace_id", "model", "service_tier")
COSTS_GROUP_BY = ("workspace_id", "description")

#: The most buckets in a page, and the most keys.
_LIMIT, _KEYS_LIMIT = 31, 1000
_CENTS = Decimal(100)


def fetch(
    account: Mapping[str, Any],
    first: dt.date,
    last: dt.date,
    *,
    get: http.Get = http.get,
    sleep: Callable[[float], None] = time.sleep,
) -> Fetched:
    """Fetch the bill of the days from `first` to `last`.

    The cost report knows no API keys: with `api_key_ids` there are no costs.

    Args:
        account: `key`, and optionally `workspace_ids`, `api_key_ids` and `base_url`.
        first: The first day in UTC.
        last: The last day.
        get: Sends the requests.
        sleep: Waits before a request is retried.

    Raises:
        BillingError: The bill cannot be read.
    """
    key = account["key"]
    headers = {"x-api-key": key, "anthropic-version": VERSION}
    client = http.Client(TITLE, NEEDS, key, headers, get, sleep)
    return _Bill(client, account, Reports(client, _LAYOUT, first, last)).fetch()


class _Bill:
    """The answers of one fetch."""

    def __init__(self, client: http.Client, account: Mapping[str, Any], reports: Reports) -> None:
        self._client, self._reports, self._notes = client, reports, reports.notes
        self._url = (account.get("base_url") or BASE_URL).rstrip("/") + "/v1/organizations"
        self._workspaces = list(account.get("workspace_ids") or ())
        self._api_keys = list(account.get("api_key_ids") or ())

    def fetch(self) -> Fetched:
        rows = self._named(self._usage())
        if self._api_keys:
            self._notes.append(
                f"{TITLE} does not report costs by API key. They are left out, because api_key_ids"
                " is set."
            )
        else:
            if any(row.service_tier.startswith("priority") for row in rows):
                self._notes.append(f"The costs of {TITLE} do not include its Priority Tier.")
            rows += self._costs()
        return self._reports.fetched(rows)

    def _usage(self) -> list[Billed]:
        scope = {"workspace_ids[]": self._workspaces, "api_key_ids[]": self._api_keys}
        params: http.Params = {
            "group_by[]": USAGE_GROUP_BY,
            **{name: ids for name, ids in scope.items() if ids},
        }
        results = self._results("usage_report/messages", params, decides=True)
        return [_usage_row(day, result) for day, result in results]

    def _costs(self) -> list[Billed]:
        results = self._results("cost_report", {"group_by[]": COSTS_GROUP_BY})
        rows = [_cost_row(day, result) for day, result in results]
        # The report has no parameter for this.
        return [row for row in rows if not self._workspaces or row.project in self._workspaces]

    def _results(
        self, path: str, params: http.Params, *, decides: bool = False
    ) -> Iterator[tuple[dt.date, Fields]]:
        params = {"limit": _LIMIT, **params}
        return self._reports.results(f"{self._url}/{path}", params, decides=decides)

    def _named(self, rows: list[Billed]) -> list[Billed]:
        """Return the rows with the names of their keys."""
        ids = {row.key_id for row in rows if row.key_id}
        if not ids:
            return rows
        try:
            return named(rows, self._keys(ids))
        except BillingError as error:
            self._notes.append(f"The names of API keys are unknown. {error}")
            return rows

    def _keys(self, ids: Collection[str]) -> dict[str, tuple[str, str]]:
        """Return the names and last four characters of keys, by their ids."""
        params = {"limit": _KEYS_LIMIT}
        url = f"{self._url}/api_keys"
        return {
            key.text("id"): (key.text("name"), hint_of(key.text("partial_key_hint")))
            for page in pages(self._client, url, params, cursor="after_id", follows="last_id")
            for key in page.items("data")
            if key.text("id") in ids
        }


def _usage_row(day: dt.date, result: Fields) -> Billed:
    cached = result.count("cache_read_input_tokens")
    written = result.inside("cache_creation")
    return Billed(
        day=day,
        family=FAMILY,
        model_name=result.text("model"),
        project=result.text("workspace_id"),
        key_id=result.text("api_key_id"),
        service_tier=_tier(result),
        prompt_tokens=result.count("uncached_input_tokens")
        + cached
        + written.count("ephemeral_5m_input_tokens")
        + written.count("ephemeral_1h_input_tokens"),
        completion_tokens=result.count("output_tokens"),
        cached_tokens=cached,
        units=_tools(result),
    )


def _tools(result: Fields) -> dict[str, int]:
    """Return how often Anthropic's own tools were used."""
    if result.values.get("server_tool_use") is None:
        return {}
    tools = result.inside("server_tool_use")
    counts = {name: tools.optional_count(name) for name in tools.values}
    return {name: count for name, count in counts.items() if count}


def _cost_row(day: dt.date, result: Fields) -> Billed:
    result.dollars()
    return Billed(
        day=day,
        family=COSTS,
        model_name=result.text("model"),
        project=result.text("workspace_id"),
        service_tier=_tier(result),
        line_item=result.text("description"),
        cost=result.amount("amount") / _CENTS,
    )


def _tier(result: Fields) -> str:
    tier = result.text("service_tier")
    return "" if tier == "standard" else tier


def _rfc3339(day: dt.date) -> str:
    return f"{day.isoformat()}T00:00:00Z"


def _moment(value: str) -> dt.datetime:
    moment = dt.datetime.fromisoformat(value)
    if moment.tzinfo is None:
        raise ValueError
    return moment.astimezone(dt.UTC)


_LAYOUT = Layout("starting_at", "ending_at", _moment, _rfc3339)
