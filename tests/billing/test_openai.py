"""OpenAI's usage and costs, read from a server that pages and fails."""

from __future__ import annotations

import datetime as dt
import json
from decimal import Decimal
from typing import Any
from urllib.parse import parse_qs

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.billing.scripted import Asked, Reply, page_of, paged, serve
from usage_tracking.billing import COSTS, Billed, BillingError, http, openai

pytestmark = pytest.mark.server

KEY = "sk-admin-T3stAbCdEfGhIjKlMnOpQrStUvWxYz0123456789wxyz"
FIRST, LAST = dt.date(2026, 11, 19), dt.date(2026, 11, 21)
DAYS = [FIRST, FIRST + dt.timedelta(days=1), LAST]
PREFIX = "/v1/organization/"


def seconds(day: dt.date, hours: int = 0) -> int:
    return int(dt.datetime.combine(day, dt.time(), dt.UTC).timestamp()) + hours * 3600


def bucket(day: dt.date, *results: dict[str, Any], **changes) -> dict[str, Any]:
    return {
        "object": "bucket",
        "start_time": seconds(day),
        "end_time": seconds(day, 24),
        "results": list(results),
        **changes,
    }


def text_result(**changes) -> dict[str, Any]:
    return {
        "object": "organization.usage.completions.result",
        "input_tokens": 100,
        "output_tokens": 20,
        "num_model_requests": 3,
        "input_cached_tokens": 40,
        "project_id": "proj_1",
        "api_key_id": "key_1",
        "model": "gpt-4o-mini-2024-07-18",
        "batch": False,
        "service_tier": "default",
        **changes,
    }


def cost_result(**changes) -> dict[str, Any]:
    return {
        "object": "organization.costs.result",
        "amount": {"value": 0.06, "currency": "usd"},
        "line_item": "gpt-4o-mini-2024-07-18, input",
        "project_id": "proj_1",
        "api_key_id": "key_1",
        **changes,
    }


def whole(buckets: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the buckets, and an empty one for each further day, as OpenAI does."""
    days = [each["start_time"] for each in buckets]
    return [*buckets, *(bucket(day) for day in DAYS if seconds(day) not in days)]


class Account:
    """An account whose buckets a test fills, by the last part of the path."""

    def __init__(self, **buckets) -> None:
        self.pages = {name: paged(name, whole(each), []) for name, each in buckets.items()}
        self.empty = paged("", whole([]), [])
        self.replies: dict[str, Reply] = {}
        self.keys: dict[str, list[dict[str, Any]]] = {}

    def __call__(self, asked):
        name = asked.path.removeprefix(PREFIX).removeprefix("usage/")
        if name in self.replies:
            return self.replies[name]
        if name.endswith("/api_keys"):
            return self._keys(name.split("/")[1], asked.params.get("after", [""])[0])
        return page_of(self.pages.get(name, self.empty), asked)

    def _keys(self, project: str, after: str):
        """Return one key a page."""
        keys = self.keys.get(project)
        if keys is None:
            return Reply({"error": {"message": "No such project."}}, 404)
        ids = [key["id"] for key in keys]
        start = ids.index(after) + 1 if after else 0
        page = keys[start : start + 1]
        return {
            "object": "list",
            "data": page,
            "has_more": start + 1 < len(keys),
            "last_id": page[-1]["id"] if page else None,
        }


@pytest.fixture
def server():
    with serve(Account()) as server:
        yield server


def fetch(server, **account):
    fields = {"key": KEY, "base_url": f"{server.url}/v1/", **account}
    return openai.fetch(fields, FIRST, LAST, sleep=lambda seconds: None)


def failure(server, **account) -> str:
    with pytest.raises(BillingError) as caught:
        fetch(server, **account)
    assert KEY not in str(caught.value)
    return str(caught.value)


def test_completions_are_read(server):
    server.script = Account(
        completions=[
            bucket(FIRST, text_result(), text_result(api_key_id="key_2", model="o5")),
            bucket(DAYS[1], text_result(batch=True), text_result(service_tier="flex")),
            bucket(LAST, text_result(input_cached_tokens=None, news="unknown field")),
        ],
    )
    server.script.keys["proj_1"] = [
        {"id": "key_1", "name": "Production", "redacted_value": "sk-...AbC4"},
        {"id": "key_2", "name": None, "redacted_value": "sk-proj-****"},
    ]
    fetched = fetch(server)
    one: dict[str, Any] = {
        "family": "completions",
        "model_name": "gpt-4o-mini-2024-07-18",
        "project": "proj_1",
        "key_id": "key_1",
        "key_name": "Production",
        "key_hint": "AbC4",
        "requests": 3,
        "prompt_tokens": 100,
        "completion_tokens": 20,
        "cached_tokens": 40,
    }
    assert fetched.rows == (
        Billed(day=FIRST, **one),
        Billed(
            day=FIRST,
            **{**one, "model_name": "o5", "key_id": "key_2", "key_name": ""} | {"key_hint": ""},
        ),
        Billed(day=DAYS[1], service_tier="batch", **one),
        Billed(day=DAYS[1], service_tier="flex", **one),
        Billed(day=LAST, **{**one, "cached_tokens": None}),
    )
    assert (fetched.days, fetched.notes) == (tuple(DAYS), ())


def test_families_of_other_units_are_read(server):
    counts = {
        "embeddings": {"input_tokens": 7, "num_model_requests": 2},
        "moderations": {"input_tokens": 5, "num_model_requests": 1},
        "images": {"images": 4, "num_model_requests": 2},
        "audio_speeches": {"characters": 900, "num_model_requests": 1},
        "audio_transcriptions": {"seconds": 61, "num_model_requests": 1},
        "web_search_calls": {"num_requests": 5, "num_model_requests": 3},
        "file_search_calls": {"num_requests": 6},
        "code_interpreter_sessions": {"num_sessions": 8},
    }
    server.script = Account(
        **{family: [bucket(FIRST, result)] for family, result in counts.items()}
    )
    rows = {row.family: row for row in fetch(server).rows}
    assert {
        family: (row.requests, row.prompt_tokens, row.completion_tokens, dict(row.units))
        for family, row in rows.items()
    } == {
        "embeddings": (2, 7, 0, {}),
        "moderations": (1, 5, 0, {}),
        "images": (2, None, None, {"images": 4}),
        "audio_speeches": (1, None, None, {"characters": 900}),
        "audio_transcriptions": (1, None, None, {"seconds": 61}),
        "web_search_calls": (5, None, None, {}),
        "file_search_calls": (6, None, None, {}),
        "code_interpreter_sessions": (None, None, None, {"num_sessions": 8}),
    }


@pytest.mark.parametrize(
    ("line_item", "model"),
    [
        ("gpt-4o-mini-2024-07-18, input", "gpt-4o-mini-2024-07-18"),
        ("ft:gpt-4o:acme::1, cached input, batch", "ft:gpt-4o:acme::1"),
        ("web search tool calls", ""),
        ("assistants api | file search", ""),
        ("code interpreter, sessions", ""),
        (None, ""),
    ],
)
def test_cost_names_its_model(server, line_item, model):
    server.script = Account(costs=[bucket(LAST, cost_result(line_item=line_item))])
    (row,) = fetch(server).rows
    assert row == Billed(
        day=LAST,
        family=COSTS,
        model_name=model,
        project="proj_1",
        key_id="key_1",
        line_item=line_item or "",
        cost=Decimal("0.06"),
    )


@pytest.mark.parametrize("value", ["-1.5", -1.5, "-1.50"])
def test_credit_is_negative(server, value):
    result = cost_result(amount={"value": value, "currency": "USD"})
    server.script = Account(costs=[bucket(LAST, result)])
    assert [row.cost for row in fetch(server).rows] == [Decimal("-1.5")]


def test_requests_are_scoped(server):
    fetched = fetch(server, project_ids=["proj_1"], api_key_ids=["key_1", "key_2"])
    assert len(server.asked) == len(openai.USAGE)  # one has no keys, and the costs
    for asked in server.asked:
        assert asked.headers["Authorization"] == f"Bearer {KEY}"
        assert asked.params["project_ids[]"] == ["proj_1"]
        assert asked.params["api_key_ids[]"] == ["key_1", "key_2"]
        assert asked.params["start_time"] == [str(seconds(FIRST))]
        assert asked.params["end_time"] == [str(seconds(LAST, 24))]
        assert asked.params["bucket_width"] == ["1d"]
    assert fetched.notes == (
        "OpenAI does not report code_interpreter_sessions by API key. They are left out, because"
        " api_key_ids is set.",
    )


def test_results_of_the_same_names_are_added_up(server):
    server.script = Account(
        completions=[bucket(FIRST, text_result(), text_result(service_tier=None))],
        images=[
            bucket(
                FIRST,
                {"images": 1, "num_model_requests": 1},
                {"images": 2, "num_model_requests": 1},
            )
        ],
        costs=[bucket(FIRST, cost_result(), cost_result(quantity=5))],
    )
    rows = {row.family: row for row in fetch(server).rows}
    assert len(rows) == 3
    assert (rows["completions"].requests, rows["completions"].prompt_tokens) == (6, 200)
    assert dict(rows["images"].units) == {"images": 3}
    assert rows[COSTS].cost == Decimal("0.12")


def test_current_day_may_be_cut(server):
    server.script = Account(
        completions=[bucket(LAST, text_result(), end_time=seconds(LAST) + 4711)]
    )
    assert [row.day for row in fetch(server).rows] == [LAST]


def test_day_without_a_bucket_is_unknown(server):
    server.script = account = Account()
    account.empty = paged("", [bucket(FIRST), bucket(LAST)], [])
    fetched = fetch(server)
    assert fetched.days == (FIRST, LAST)
    assert fetched.notes == ("OpenAI did not report 2026-11-20.",)


def test_day_that_only_other_reports_have_is_unknown(server):
    server.script = account = Account(
        costs=[bucket(day, cost_result(api_key_id=None)) for day in DAYS]
    )
    account.pages["completions"] = paged("", [bucket(LAST, text_result(api_key_id=None))], [])
    fetched = fetch(server)
    assert fetched.days == (LAST,)
    assert {row.day for row in fetched.rows} == {LAST}
    assert fetched.notes == ("OpenAI did not report 2 days from 2026-11-19 to 2026-11-20.",)


def test_answer_without_any_day_is_an_error(server):
    server.script.pages["completions"] = paged("", [], [])
    message = failure(server)
    assert message == "OpenAI reported none of the days from 2026-11-19 to 2026-11-21."


def test_family_that_does_not_exist_is_noted(server):
    server.script = Account(completions=[bucket(FIRST, text_result(api_key_id=None))])
    server.script.replies["decisions"] = Reply({"error": {"message": "Unknown"}}, 404)
    fetched = fetch(server)
    assert fetched.notes == ("OpenAI does not report decisions (404).",)
    assert len(fetched.rows) == 1


@pytest.mark.parametrize("status", [401, 403, 404, 429, 500])
@pytest.mark.parametrize("family", ["completions", "costs"])
def test_refused_report_is_an_error(server, family, status):
    server.script.replies[family] = Reply({"error": {"message": f"Not with {KEY}."}}, status)
    message = failure(server)
    assert f"{status}" in message
    if status == 403:
        assert "an admin key of the organization with the permission api.usage.read" in message


def test_refused_listing_of_keys_costs_the_names_only(server):
    results = [text_result(), text_result(project_id="proj_2"), text_result(project_id="proj_3")]
    server.script = account = Account(completions=[bucket(FIRST, *results)])
    account.keys["proj_3"] = [{"id": "key_1", "name": "Third", "redacted_value": "sk-***wxyz"}]
    account.replies["projects/proj_1/api_keys"] = Reply({"error": {"message": "Gone."}}, 404)
    account.replies["projects/proj_2/api_keys"] = Reply({"error": {"message": "No."}}, 404)
    fetched = fetch(server)
    assert {row.key_name for row in fetched.rows} == {"Third"}
    assert [note[:35] for note in fetched.notes] == ["The names of some API keys are unkn"] * 2

    account.replies["projects/proj_1/api_keys"] = Reply({"error": {"message": "No."}}, 403)
    fetched = fetch(server)
    assert {(row.key_name, row.requests) for row in fetched.rows} == {("", 3)}
    assert fetched.notes == (
        "The names of some API keys are unknown. OpenAI does not let the key read"
        f" /v1/organization/projects/proj_1/api_keys. Set {openai.NEEDS} (403). OpenAI says: No.",
    )


BAD_COUNTS = [-1, "100", True, 1.5, [], {}, 2**63, 1e300, 1e-300, float("nan"), float("inf"), "NaN"]


@pytest.mark.parametrize("value", BAD_COUNTS)
@pytest.mark.parametrize(
    "name", ["input_tokens", "output_tokens", "num_model_requests", "input_cached_tokens"]
)
def test_odd_count_is_an_error(server, name, value):
    server.script = Account(completions=[bucket(FIRST, text_result(**{name: value}))])
    start = f"The answer of OpenAI to completions: {name} must be a whole number of at least 0, not"
    assert failure(server).startswith(start)


def test_whole_number_may_be_written_with_a_fraction(server):
    server.script = Account(completions=[bucket(FIRST, text_result(input_tokens=1e3))])
    assert [row.prompt_tokens for row in fetch(server).rows] == [1000]


@pytest.mark.parametrize("name", ["input_tokens", "output_tokens", "num_model_requests"])
def test_renamed_count_is_an_error(server, name):
    result = text_result()
    result[f"{name}_v2"] = result.pop(name)
    server.script = Account(completions=[bucket(FIRST, result)])
    assert failure(server) == (
        f'The answer of OpenAI to completions has no "{name}". The API may have changed.'
    )


@pytest.mark.parametrize(
    ("amount", "sentence"),
    [
        ({"value": "NaN", "currency": "usd"}, "value must be a finite amount of money, not 'NaN'."),
        (
            {"value": float("nan"), "currency": "usd"},
            "value must be a finite amount of money, not nan.",
        ),
        (
            {"value": float("-inf"), "currency": "usd"},
            "value must be a finite amount of money, not -inf.",
        ),
        (
            {"value": "1e999999999", "currency": "usd"},
            "value must be a finite amount of money, not '1e999999999'.",
        ),
        ({"value": True, "currency": "usd"}, "value must be a finite amount of money, not True."),
        ({"value": "one", "currency": "usd"}, "value must be a finite amount of money, not 'one'."),
        ({"value": [], "currency": "usd"}, "value must be a finite amount of money, not a list."),
        ({"value": 1, "currency": "eur"}, "currency must be USD, not 'eur'."),
        (5, "amount must be an object, not 5."),
    ],
)
def test_odd_amount_is_an_error(server, amount, sentence):
    server.script = Account(costs=[bucket(FIRST, cost_result(amount=amount))])
    assert failure(server) == f"The answer of OpenAI to costs: {sentence}"


@pytest.mark.parametrize(
    ("amount", "name"), [(None, "amount"), ({"currency": "usd"}, "value"), ({}, "currency")]
)
def test_missing_amount_is_an_error(server, amount, name):
    server.script = Account(costs=[bucket(FIRST, cost_result(amount=amount))])
    assert failure(server) == (
        f'The answer of OpenAI to costs has no "{name}". The API may have changed.'
    )


@pytest.mark.parametrize("name", ["model", "project_id", "api_key_id", "service_tier"])
def test_name_that_is_not_text_is_an_error(server, name):
    server.script = Account(completions=[bucket(FIRST, text_result(**{name: 7}))])
    assert failure(server) == f"The answer of OpenAI to completions: {name} must be text, not 7."


@pytest.mark.parametrize(
    ("day", "start", "end"),
    [
        (FIRST, 11, 35),  # Los Angeles
        (FIRST, -13, 11),  # Auckland
        (FIRST, 0, 1),
        (LAST, 1, 2),
        (FIRST, 0, 48),
        (FIRST, 24, 0),
        (LAST, 0, 0),
    ],
)
def test_bucket_that_is_not_a_day_is_an_error(server, day, start, end):
    times = {"start_time": seconds(day, start), "end_time": seconds(day, end)}
    server.script = Account(completions=[bucket(day, **times)])
    assert "which is not one day of UTC" in failure(server)


@pytest.mark.parametrize("day", [FIRST - dt.timedelta(days=1), LAST + dt.timedelta(days=1)])
def test_bucket_that_was_not_asked_for_is_an_error(server, day):
    server.script = Account(completions=[bucket(day)])
    assert failure(server) == (
        f"The answer of OpenAI to completions has a bucket of {day}, which was not asked for."
    )


@pytest.mark.parametrize("value", [None, "soon", 10**30, [], {}, float("nan"), float("inf")])
def test_bucket_without_a_time_is_an_error(server, value):
    server.script = Account(completions=[bucket(FIRST, start_time=value)])
    assert "start_time" in failure(server)


@pytest.mark.parametrize(
    ("page", "sentence"),
    [
        ({"data": []}, ' has no "has_more". The API may have changed.'),
        ({"data": [], "has_more": "no"}, ": has_more must be true or false, not 'no'."),
        ({"has_more": False}, ' has no "data". The API may have changed.'),
        ({"data": {}, "has_more": False}, ": data must be a list of objects, not an object."),
        ({"data": [1], "has_more": False}, ": data must be a list of objects, not a list."),
        ({"data": [], "has_more": True}, ' has no "next_page". The API may have changed.'),
        ({"data": [], "has_more": True, "next_page": ""}, ": next_page must be text, not ''."),
        ({"data": [], "has_more": True, "next_page": "x"}, " repeats a page: next_page names it"),
    ],
)
def test_odd_page_is_an_error(server, page, sentence):
    server.script.replies["completions"] = Reply(page)
    assert failure(server).startswith("The answer of OpenAI to completions" + sentence)


def test_page_that_repeats_is_an_error(server):
    server.script = account = Account()
    first, second = paged("x", [bucket(FIRST, text_result()), bucket(LAST)], [1])
    account.pages["completions"] = [first, {**second, "data": first["data"]}]
    assert failure(server) == (
        "The answer of OpenAI to completions repeats a page: it has results of a day twice."
    )


def test_pages_that_never_end_are_an_error(server, monkeypatch):
    monkeypatch.setattr("usage_tracking.billing.buckets.MAX_PAGES", 5)
    server.script = lambda asked: {
        "data": [],
        "has_more": True,
        "next_page": str(len(server.asked)),
    }
    assert failure(server) == (
        "The answer of OpenAI to completions has more than 5 pages. Fetch fewer days."
    )


def test_limit_in_the_middle_of_pages_is_waited_for(server):
    account = Account()
    account.pages["completions"] = paged(
        "x", [bucket(FIRST, text_result()), bucket(LAST, text_result())], [1]
    )
    refusals = iter([Reply(b"", 429, {"Retry-After": "0"})] * 2)

    def script(asked):
        return next(refusals, None) or account(asked) if "page" in asked.params else account(asked)

    server.script = script
    assert [row.day for row in fetch(server).rows] == [FIRST, LAST]

    server.script = lambda asked: Reply(b"", 429) if "page" in asked.params else account(asked)
    assert "limits the rate of requests" in failure(server)


RESULTS = st.lists(
    st.tuples(
        st.sampled_from(DAYS),
        st.sampled_from(["a", "b"]),
        st.sampled_from(["key_1", None]),
        st.integers(0, 10**9),
    ),
    max_size=8,
    unique_by=lambda each: each[:3],
)


@pytest.mark.slow
@given(results=RESULTS, sizes=st.lists(st.integers(0, 3), max_size=5))
def test_any_split_into_pages_gives_the_same_rows(results, sizes):
    buckets = [
        bucket(day, text_result(model=model, api_key_id=key, input_tokens=tokens))
        for day, model, key, tokens in results
    ]
    account = Account()
    account.pages["completions"] = paged("x", whole(buckets), sizes)
    in_one_page = Account(
        completions=[
            bucket(
                day, *(each["results"][0] for each in buckets if each["start_time"] == seconds(day))
            )
            for day in DAYS
        ]
    )

    def fetched(script):
        def get(url, headers):
            path, _, query = url.removeprefix("http://x").partition("?")
            reply = script(Asked(path, parse_qs(query), headers))
            reply = reply if isinstance(reply, Reply) else Reply(reply)
            return http.Answer(reply.status, {}, json.dumps(reply.body).encode())

        return openai.fetch({"key": KEY, "base_url": "http://x/v1"}, FIRST, LAST, get=get)

    assert fetched(account) == fetched(in_one_page)
    assert sum(row.prompt_tokens for row in fetched(account).rows) == sum(
        tokens for *_, tokens in results
    )
