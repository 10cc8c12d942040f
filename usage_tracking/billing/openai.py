"""The usage and cost APIs of OpenAI, which need an admin key.

https://platform.openai.com/docs/api-reference/usage; the types are those of the package openai,
`types/admin/organization`. Only the costs are those of the invoice.
"""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple
from urllib.parse import quote

from . import http
from .billed import COSTS, Billed, BillingError, Fetched
from .buckets import Layout, Reports, pages
from .values import Fields, hint_of, named

TITLE = "OpenAI"
BASE_URL = "https://api.openai.com/v1"
NEEDS = (
    'AI_USAGE_BILLING["openai"]["key"] to an admin key of the organization with the permission'
    " api.usage.read"
)


class Usage(NamedTuple):
    """How a family reports its usage."""

    #: What the results are grouped by.
    group_by: tuple[str, ...] = ("project_id", "api_key_id", "model")
    #: The field of the requests; "" if there is none.
    requests: str = "num_model_requests"
    #: Whether it reports input tokens, and whether output and cached tokens too.
    has_input: bool = False
    has_output: bool = False
    #: Further counts.
    units: tuple[str, ...] = ()

    @property
    def has_keys(self) -> bool:
        """Whether it knows API keys."""
        return "api_key_id" in self.group_by


_TEXT = Usage(
    ("project_id", "api_key_id", "model", "batch", "service_tier"), has_input=True, has_output=True
)

#: The families of `families.FAMILIES`, by the last part of their path.
USAGE: dict[str, Usage] = {
    "completions": _TEXT,
    "embeddings": Usage(has_input=True),
    "images": Usage(units=("images",)),
    "audio_speeches": Usage(units=("characters",)),
    "audio_transcriptions": Usage(units=("seconds",)),
    "decisions": _TEXT,
    "moderations": Usage(has_input=True),
    "web_search_calls": Usage(requests="num_requests"),
    "file_search_calls": Usage(("project_id", "api_key_id"), requests="num_requests"),
    "code_interpreter_sessions": Usage(("project_id",), requests="", units=("num_sessions",)),
}
#: A base_url without this family is wrong, and a day without its bucket is not reported.
_FIRST = "completions"

#: The most buckets in a page.
_USAGE_LIMIT, _COSTS_LIMIT, _KEYS_LIMIT = 31, 180, 100


def fetch(
    account: Mapping[str, Any],
    first: dt.date,
    last: dt.date,
    *,
    get: http.Get = http.get,
    sleep: Callable[[float], None] = time.sleep,
) -> Fetched:
    """Fetch the bill of the days from `first` to `last`.

    Args:
        account: `key`, and optionally `project_ids`, `api_key_ids` and `base_url`.
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
    return _Bill(client, account, Reports(client, _LAYOUT, first, last)).fetch()


class _Bill:
    """The answers of one fetch."""

    def __init__(self, client: http.Client, account: Mapping[str, Any], reports: Reports) -> None:
        self._client, self._reports, self._notes = client, reports, reports.notes
        self._url = (account.get("base_url") or BASE_URL).rstrip("/") + "/organization"
        scope = {name: list(account.get(name) or ()) for name in ("project_ids", "api_key_ids")}
        # The SDK writes lists like this, too.
        self._scope = {f"{name}[]": ids for name, ids in scope.items() if ids}

    def fetch(self) -> Fetched:
        rows = [row for family, usage in USAGE.items() for row in self._usage(family, usage)]
        rows += self._costs()
        return self._reports.fetched(self._named(rows))

    def _usage(self, family: str, usage: Usage) -> list[Billed]:
        if "api_key_ids[]" in self._scope and not usage.has_keys:
            self._notes.append(
                f"{TITLE} does not report {family} by API key. They are left out, because"
                " api_key_ids is set."
            )
            return []
        url = f"{self._url}/usage/{family}"
        try:
            return [
                _usage_row(day, family, usage, result)
                for day, result in self._results(
                    url, _USAGE_LIMIT, usage.group_by, decides=family == _FIRST
                )
            ]
        except http.RefusedError as error:
            if error.status != 404 or family == _FIRST:
                raise
            self._notes.append(f"{TITLE} does not report {family} (404).")
            return []

    def _costs(self) -> list[Billed]:
        group_by = ("line_item", "project_id", "api_key_id")
        results = self._results(f"{self._url}/costs", _COSTS_LIMIT, group_by)
        return [_cost_row(day, result) for day, result in results]

    def _results(
        self, url: str, limit: int, group_by: Sequence[str], *, decides: bool = False
    ) -> Iterator[tuple[dt.date, Fields]]:
        params: http.Params = {"limit": limit, "group_by[]": group_by, **self._scope}
        return self._reports.results(url, params, decides=decides)

    def _named(self, rows: list[Billed]) -> list[Billed]:
        """Return the rows with the names of their keys."""
        keys: dict[str, tuple[str, str]] = {}
        for project in sorted({row.project for row in rows if row.key_id and row.project}):
            try:
                keys |= self._keys(project)
            except BillingError as error:
                self._notes.append(f"The names of some API keys are unknown. {error}")
                if not (isinstance(error, http.RefusedError) and error.status == 404):
                    break
        return named(rows, keys)

    def _keys(self, project: str) -> dict[str, tuple[str, str]]:
        """Return the names and last four characters of the keys of a project, by their ids."""
        url = f"{self._url}/projects/{quote(project, safe='')}/api_keys"
        params: http.Params = {"limit": _KEYS_LIMIT, "owner_project_access": "any"}
        return {
            key.required_text("id"): (key.text("name"), hint_of(key.text("redacted_value")))
            for page in pages(self._client, url, params, cursor="after", follows="last_id")
            for key in page.items("data")
        }


def _usage_row(day: dt.date, family: str, usage: Usage, result: Fields) -> Billed:
    prompt = result.count("input_tokens") if usage.has_input else None
    is_batch = result.values.get("batch") is True
    tier = result.text("service_tier")
    return Billed(
        day=day,
        family=family,
        model_name=result.text("model"),
        project=result.text("project_id"),
        key_id=result.text("api_key_id"),
        service_tier="batch" if is_batch else "" if tier == "default" else tier,
        requests=result.count(usage.requests) if usage.requests else None,
        # The input tokens include those that were read from the cache and written to it.
        prompt_tokens=prompt,
        # A family that has input alone has no output.
        completion_tokens=(
            result.count("output_tokens") if usage.has_output else 0 if usage.has_input else None
        ),
        cached_tokens=result.optional_count("input_cached_tokens") if usage.has_output else None,
        units={name: result.count(name) for name in usage.units},
    )


def _cost_row(day: dt.date, result: Fields) -> Billed:
    amount = result.inside("amount")
    amount.dollars()
    item = result.text("line_item")
    return Billed(
        day=day,
        family=COSTS,
        model_name=_model(item),
        project=result.text("project_id"),
        key_id=result.text("api_key_id"),
        line_item=item,
        cost=amount.amount("value"),
    )


def _model(line_item: str) -> str:
    """Return the model of an item such as "gpt-4o-mini-2024-07-18, input"."""
    name, comma, _ = line_item.partition(",")
    return name if comma and " " not in name else ""


def _seconds(day: dt.date) -> int:
    return int(dt.datetime.combine(day, dt.time(), dt.UTC).timestamp())


_LAYOUT = Layout(
    "start_time",
    "end_time",
    lambda seconds: dt.datetime.fromtimestamp(int(seconds), dt.UTC),
    _seconds,
)
