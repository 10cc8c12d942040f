"""Anthropic's usage and cost reports, read from a server that pages and fails."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.billing.scripted import Reply, page_of, paged, serve
from usage_tracking.billing import COSTS, Billed, BillingError, anthropic

pytestmark = pytest.mark.server

KEY = "sk-ant-admin01-T3stAbCdEfGhIjKlMnOpQrStUvWxYz0123456789wxyz"
FIRST, LAST = dt.date(2026, 11, 20), dt.date(2026, 11, 21)
USAGE, COST, KEYS = (
    f"/v1/organizations/{path}" for path in ("usage_report/messages", "cost_report", "api_keys")
)


def bucket(day: dt.date, *results: dict[str, Any], **changes) -> dict[str, Any]:
    return {
        "starting_at": f"{day}T00:00:00Z",
        "ending_at": f"{day + dt.timedelta(days=1)}T00:00:00Z",
        "results": list(results),
        **changes,
    }


def usage(**changes) -> dict[str, Any]:
    return {
        "uncached_input_tokens": 1000,
        "cache_read_input_tokens": 200,
        "cache_creation": {"ephemeral_1h_input_tokens": 30, "ephemeral_5m_input_tokens": 4},
        "output_tokens": 500,
        "server_tool_use": {"web_search_requests": 2},
        "api_key_id": "apikey_1",
        "workspace_id": "wrkspc_1",
        "model": "claude-opus-5",
        "service_tier": "standard",
        "context_window": None,
        "inference_geo": None,
        **changes,
    }


def cost(**changes) -> dict[str, Any]:
    return {
        "amount": "123.45",
        "currency": "USD",
        "cost_type": "tokens",
        "description": "Claude Opus 5 Usage - Input Tokens",
        "model": "claude-opus-5",
        "service_tier": "standard",
        "token_type": "uncached_input_tokens",
        "context_window": "0-200k",
        "inference_geo": None,
        "workspace_id": "wrkspc_1",
        **changes,
    }


class Account:
    """An account whose reports a test fills."""

    def __init__(self, usage=(), costs=(), keys=()) -> None:
        empty = [bucket(FIRST), bucket(LAST)]
        self.pages = {
            USAGE: paged("usage", [*usage, *empty], []),
            COST: paged("cost", [*costs, *empty], []),
        }
        self.replies: dict[str, Reply] = {}
        self.keys = list(keys)

    def __call__(self, asked):
        if asked.path in self.replies:
            return self.replies[asked.path]
        if asked.path != KEYS:
            return page_of(self.pages[asked.path], asked)
        after = asked.params.get("after_id", [""])[0]
        ids = [key["id"] for key in self.keys]
        start = ids.index(after) + 1 if after else 0
        return {
            "data": self.keys[start : start + 1],
            "has_more": start + 1 < len(ids),
            "last_id": ids[start] if ids else None,
        }


@pytest.fixture
def server():
    with serve(Account()) as server:
        yield server


def fetch(server, **account):
    fields = {"key": KEY, "base_url": server.url, **account}
    return anthropic.fetch(fields, FIRST, LAST, sleep=lambda seconds: None)


def failure(server, **account) -> str:
    with pytest.raises(BillingError) as caught:
        fetch(server, **account)
    assert KEY not in str(caught.value)
    return str(caught.value)


def test_usage_and_costs_are_read(server):
    server.script = Account(
        usage=[
            bucket(FIRST, usage(), usage(service_tier="batch", api_key_id=None)),
            bucket(LAST, usage(server_tool_use=None, model="claude-haiku-5", news=1)),
        ],
        costs=[
            bucket(
                FIRST,
                cost(),
                cost(token_type="output_tokens", description="Claude Opus 5 Usage - Output Tokens"),
                cost(
                    amount="-0.5",
                    cost_type="web_search",
                    description="Web Search",
                    model=None,
                    service_tier=None,
                    token_type=None,
                    workspace_id=None,
                ),
            )
        ],
        keys=[
            {"id": "apikey_0", "name": "Other", "partial_key_hint": "sk-ant-api03-R2D...aaaa"},
            {"id": "apikey_1", "name": "Site", "partial_key_hint": "sk-ant-api03-R2D...igAA"},
        ],
    )
    tokens: dict[str, Any] = {"prompt_tokens": 1234, "completion_tokens": 500, "cached_tokens": 200}
    of_key: dict[str, Any] = {"key_id": "apikey_1", "key_name": "Site", "key_hint": "igAA"}
    opus: dict[str, Any] = {
        "family": "messages",
        "model_name": "claude-opus-5",
        "project": "wrkspc_1",
        **tokens,
    }
    costs: dict[str, Any] = {"day": FIRST, "family": COSTS}
    of_opus: dict[str, Any] = {"model_name": "claude-opus-5", "project": "wrkspc_1"}
    fetched = fetch(server)
    assert set(map(repr, fetched.rows)) == set(
        map(
            repr,
            [
                Billed(day=FIRST, **opus, **of_key, units={"web_search_requests": 2}),
                Billed(day=FIRST, **opus, service_tier="batch", units={"web_search_requests": 2}),
                Billed(day=LAST, **{**opus, "model_name": "claude-haiku-5"}, **of_key),
                Billed(
                    **costs,
                    **of_opus,
                    line_item="Claude Opus 5 Usage - Input Tokens",
                    cost=Decimal("1.2345"),
                ),
                Billed(
                    **costs,
                    **of_opus,
                    line_item="Claude Opus 5 Usage - Output Tokens",
                    cost=Decimal("1.2345"),
                ),
                Billed(**costs, line_item="Web Search", cost=Decimal("-0.005")),
            ],
        )
    )
    assert (fetched.days, fetched.notes) == ((FIRST, LAST), ())


def test_requests_are_those_of_the_documentation(server):
    fetch(server, workspace_ids=["wrkspc_1"])
    usage, costs = server.asked
    common = {
        "starting_at": ["2026-11-20T00:00:00Z"],
        "ending_at": ["2026-11-22T00:00:00Z"],
        "bucket_width": ["1d"],
        "limit": ["31"],
    }
    assert (usage.path, usage.params) == (
        USAGE,
        {
            **common,
            "group_by[]": ["api_key_id", "workspace_id", "model", "service_tier"],
            "workspace_ids[]": ["wrkspc_1"],
        },
    )
    assert (costs.path, costs.params) == (
        COST,
        {**common, "group_by[]": ["workspace_id", "description"]},
    )
    for asked in server.asked:
        assert asked.headers["x-api-key"] == KEY
        assert asked.headers["anthropic-version"] == "2023-06-01"


def test_costs_are_scoped_to_workspaces(server):
    rows = [cost(), cost(workspace_id="wrkspc_2"), cost(workspace_id=None)]
    server.script = Account(costs=[bucket(FIRST, *rows)])
    assert len(fetch(server).rows) == 3
    assert [row.project for row in fetch(server, workspace_ids=["wrkspc_2"]).rows] == ["wrkspc_2"]


def test_costs_are_left_out_if_the_bill_is_scoped_to_keys(server):
    server.script = Account(usage=[bucket(FIRST, usage())], costs=[bucket(FIRST, cost())])
    fetched = fetch(server, api_key_ids=["apikey_1"])
    assert server.asked[0].params["api_key_ids[]"] == ["apikey_1"]
    assert COST not in server.paths()
    assert {row.family for row in fetched.rows} == {"messages"}
    assert fetched.notes == (
        "Anthropic does not report costs by API key. They are left out, because api_key_ids is"
        " set.",
    )


def test_priority_tier_has_no_costs(server):
    server.script = Account(usage=[bucket(FIRST, usage(service_tier="priority"))])
    assert fetch(server).notes == ("The costs of Anthropic do not include its Priority Tier.",)


def test_costs_of_one_description_are_added_up(server):
    server.script = Account(costs=[bucket(FIRST, cost(), cost(context_window="200k-1M"))])
    assert [row.cost for row in fetch(server).rows] == [Decimal("2.469")]


@pytest.mark.parametrize("status", [401, 403, 404, 429, 500])
@pytest.mark.parametrize("path", [USAGE, COST])
def test_refused_report_is_an_error(server, path, status):
    body = {"type": "error", "error": {"type": "some_error", "message": f"invalid x-api-key {KEY}"}}
    server.script.replies[path] = Reply(body, status)
    message = failure(server)
    assert str(status) in message
    assert "Anthropic says: invalid x-api-key" in message
    if status in {401, 403}:
        assert "to an Admin key (sk-ant-admin…) of an organization" in message


def test_refused_listing_of_keys_costs_the_names_only(server):
    server.script = Account(usage=[bucket(FIRST, usage())])
    server.script.replies[KEYS] = Reply({"error": {"message": "No."}}, 403)
    fetched = fetch(server)
    assert [(row.key_id, row.key_name) for row in fetched.rows] == [("apikey_1", "")]
    assert fetched.notes == (
        "The names of API keys are unknown. Anthropic does not let the key read"
        f" /v1/organizations/api_keys. Set {anthropic.NEEDS} (403). Anthropic says: No.",
    )


@pytest.mark.parametrize("value", [-1, "7", False, 0.5, float("nan"), []])
@pytest.mark.parametrize(
    "name", ["uncached_input_tokens", "cache_read_input_tokens", "output_tokens"]
)
def test_odd_count_is_an_error(server, name, value):
    server.script = Account(usage=[bucket(FIRST, usage(**{name: value}))])
    assert failure(server).startswith(f"The answer of Anthropic to messages: {name} must be a whol")


@pytest.mark.parametrize(
    "name",
    ["uncached_input_tokens", "cache_read_input_tokens", "cache_creation", "output_tokens"],
)
def test_renamed_count_is_an_error(server, name):
    result = usage()
    result[f"new_{name}"] = result.pop(name)
    server.script = Account(usage=[bucket(FIRST, result)])
    assert failure(server) == (
        f'The answer of Anthropic to messages has no "{name}". The API may have changed.'
    )


@pytest.mark.parametrize("name", ["ephemeral_1h_input_tokens", "ephemeral_5m_input_tokens"])
def test_renamed_cache_write_is_an_error(server, name):
    writes = {**usage()["cache_creation"]}
    del writes[name]
    server.script = Account(usage=[bucket(FIRST, usage(cache_creation=writes))])
    assert f'has no "{name}"' in failure(server)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"amount": "NaN"}, ": amount must be a finite amount of money, not 'NaN'."),
        ({"amount": "Infinity"}, ": amount must be a finite amount of money, not 'Infinity'."),
        ({"amount": None}, ' has no "amount". The API may have changed.'),
        ({"currency": "EUR"}, ": currency must be USD, not 'EUR'."),
        ({"currency": None}, ' has no "currency". The API may have changed.'),
    ],
)
def test_odd_amount_is_an_error(server, changes, sentence):
    server.script = Account(costs=[bucket(FIRST, cost(**changes))])
    assert failure(server) == f"The answer of Anthropic to cost_report{sentence}"


@pytest.mark.parametrize(
    "start",
    [
        "2026-11-20T00:00:00+13:00",
        "2026-11-20T00:00:00-08:00",
        "2026-11-20T01:00:00Z",
        "2026-11-20T00:00:00",
        "2026-11-20",
        "yesterday",
        1763596800,
        None,
    ],
)
def test_bucket_that_is_not_a_day_is_an_error(server, start):
    server.script = Account(usage=[bucket(FIRST, usage(), starting_at=start)])
    message = failure(server)
    assert "is not one day of UTC" in message or "starting_at" in message


def test_same_moment_in_another_zone_is_the_same_day(server):
    times = {"starting_at": "2026-11-20T13:00:00+13:00", "ending_at": "2026-11-20T16:00:00-08:00"}
    server.script = Account(usage=[bucket(FIRST, usage(), **times)])
    assert [row.day for row in fetch(server).rows] == [FIRST]


def test_page_that_repeats_is_an_error(server):
    first, second = paged("x", [bucket(FIRST, usage()), bucket(LAST)], [1])
    server.script.pages[USAGE] = [first, {**second, "data": first["data"]}]
    assert "repeats a page" in failure(server)
    server.script.pages[USAGE] = [first, first]
    assert "repeats a page" in failure(server)


RESULTS = st.lists(
    st.tuples(st.sampled_from([FIRST, LAST]), st.sampled_from("abc"), st.integers(0, 10**9)),
    max_size=6,
    unique_by=lambda each: each[:2],
)


@pytest.mark.slow
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(results=RESULTS, sizes=st.lists(st.integers(0, 2), max_size=4))
def test_any_split_into_pages_gives_the_same_rows(server, results, sizes):
    buckets = [
        bucket(day, usage(model=model, output_tokens=tokens, api_key_id=None))
        for day, model, tokens in results
    ]
    buckets += [bucket(FIRST), bucket(LAST)]
    server.script = account = Account()
    account.pages[USAGE] = paged("x", buckets, sizes)
    rows = fetch(server).rows
    assert {(row.day, row.model_name, row.completion_tokens) for row in rows} == set(results)
    assert len(rows) == len(results)
