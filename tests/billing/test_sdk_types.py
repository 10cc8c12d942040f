"""Names that the sources read and send, against the types of the official SDKs.

The answers are built with the SDKs' types, so a field that an SDK renames fails here. Anthropic's
SDK has no usage and cost reports, but an analytics variant with the same names.
"""

from __future__ import annotations

import datetime as dt
import importlib
from decimal import Decimal
from typing import Any, get_args, get_type_hints

import pytest
from anthropic import Anthropic
from anthropic.types.beta.organization import (
    BetaAnalyticsCostBucketedResult,
    BetaAnalyticsCostReportTimeBucket,
    BetaAnalyticsServerToolUse,
    BetaAnalyticsUsageBucketedResult,
    BetaAnalyticsUsageReportTimeBucket,
    BetaAPIKey,
)
from openai import OpenAI
from openai.types.admin.organization.projects import ProjectAPIKey

from tests.billing.scripted import serve
from usage_tracking.billing import COSTS, anthropic, openai
from usage_tracking.billing.families import FAMILIES

pytestmark = pytest.mark.server

DAY = dt.date(2026, 11, 20)
START = int(dt.datetime(2026, 11, 20, tzinfo=dt.UTC).timestamp())
TYPES = "openai.types.admin.organization"
NAMES = {"project_id": "proj_1", "api_key_id": "key_1", "model": "o5", "service_tier": "flex"}


def response_type(name: str) -> Any:
    module = importlib.import_module(f"{TYPES}.usage_{name}_response")
    return getattr(module, module.__all__[0])


def result_type(name: str) -> Any:
    """Return the type of the results of a report."""
    bucket = get_args(response_type(name).model_fields["data"].annotation)[0]
    result = get_args(bucket.model_fields["results"].annotation)[0]
    kind = {"file_search_calls": "file_searches", "web_search_calls": "web_searches"}.get(
        name, name
    )
    objects = {f"organization.usage.{kind}.result", f"organization.{kind}.result"}
    (found,) = [each for each in _members(result) if _literals(each, "object") & objects]
    return found


def _members(annotation: Any) -> list[Any]:
    if hasattr(annotation, "model_fields"):
        return [annotation]
    return [member for each in get_args(annotation) for member in _members(each)]


def _values(annotation: Any) -> set[object]:
    """Return the values of a Literal, which may be in a list or optional."""
    found = get_args(annotation)
    return set().union(*map(_values, found)) if found else {annotation}


def _literals(model: Any, name: str) -> set[object]:
    return set(get_args(model.model_fields[name].annotation))


def built(model: Any, /, **fields: Any) -> Any:
    """Return an object of a type of an SDK, which takes no name that it does not know."""
    assert set(fields) <= set(model.model_fields)
    kinds = {
        name: get_args(model.model_fields[name].annotation)
        for name in ("object",)
        if name in model.model_fields
    }
    return model(**{name: each[0] for name, each in kinds.items()}, **fields)


def page(name: str, *results: Any) -> dict[str, Any]:
    response = response_type(name)
    bucket = get_args(response.model_fields["data"].annotation)[0]
    data = built(bucket, start_time=START, end_time=START + 86400, results=list(results))
    return built(response, data=[data], has_more=False, next_page=None).model_dump(mode="json")


COUNTS = {
    "completions": {
        "input_tokens": 10,
        "output_tokens": 4,
        "num_model_requests": 2,
        "input_cached_tokens": 3,
        "batch": False,
    },
    "decisions": {
        "input_tokens": 10,
        "output_tokens": 4,
        "num_model_requests": 2,
        "input_cached_tokens": 3,
        "batch": False,
    },
    "embeddings": {"input_tokens": 10, "num_model_requests": 2},
    "moderations": {"input_tokens": 10, "num_model_requests": 2},
    "images": {"images": 7, "num_model_requests": 2},
    "audio_speeches": {"characters": 7, "num_model_requests": 2},
    "audio_transcriptions": {"seconds": 7, "num_model_requests": 2},
    "web_search_calls": {"num_requests": 2, "num_model_requests": 1},
    "file_search_calls": {"num_requests": 2},
    "code_interpreter_sessions": {"num_sessions": 7},
}


def fetch_openai(script: Any, **account: Any) -> tuple[Any, Any]:
    with serve(script) as server:
        fields = {"key": "sk-admin-x", "base_url": f"{server.url}/v1", **account}
        return openai.fetch(fields, DAY, DAY), server


def test_every_family_is_read():
    assert set(openai.USAGE) == {family.name for family in FAMILIES["openai"]} == set(COUNTS)


@pytest.mark.parametrize("family", COUNTS)
def test_openai_usage_has_the_fields_of_the_sdk(family):
    known = result_type(family)
    names = {name: NAMES[name] for name in openai.USAGE[family].group_by if name in NAMES}
    result = built(known, **COUNTS[family], **names)

    def script(asked):
        name = asked.path.rpartition("/")[2]
        return page(family, result) if name == family else page("completions")

    fetched, _ = fetch_openai(script)
    (row,) = fetched.rows
    assert (row.family, row.project) == (family, "proj_1")
    assert row.key_id == names.get("api_key_id", "")
    assert row.model_name == names.get("model", "")
    assert row.service_tier == names.get("service_tier", "")
    counts = COUNTS[family]
    requests = counts.get(openai.USAGE[family].requests)
    assert (row.requests, row.prompt_tokens) == (requests, counts.get("input_tokens"))
    assert row.cached_tokens == counts.get("input_cached_tokens")
    assert set(row.units.values()) <= {7}


def test_openai_costs_have_the_fields_of_the_sdk():
    known = result_type(COSTS)
    (amount,) = _members(known.model_fields["amount"].annotation)
    result = built(
        known,
        amount=built(amount, value=0.5, currency="usd"),
        line_item="o5, input",
        project_id="proj_1",
        api_key_id="key_1",
    )

    def script(asked):
        return page(COSTS, result) if asked.path.endswith("/costs") else page("completions")

    fetched, _ = fetch_openai(script)
    (row,) = fetched.rows
    assert (row.family, row.model_name, row.cost) == (COSTS, "o5", Decimal("0.5"))
    assert (row.project, row.key_id, row.line_item) == ("proj_1", "key_1", "o5, input")


def test_openai_requests_are_those_of_the_sdk():
    scope = {"project_ids": ["proj_1", "proj_2"], "api_key_ids": ["key_1"]}
    _, server = fetch_openai(lambda asked: page("completions"), **scope)
    _, unscoped = fetch_openai(lambda asked: page("completions"))
    ours = {each.path: each for each in [*unscoped.asked, *server.asked]}
    assert len(ours) == len(COUNTS) + 1
    with serve(lambda asked: page("completions")) as sdk_server:
        client = OpenAI(admin_api_key="sk-admin-x", base_url=f"{sdk_server.url}/v1")
        for path, asked in ours.items():
            name = path.rpartition("/")[2]
            module = importlib.import_module(f"{TYPES}.usage_{name}_params")
            hints = get_type_hints(getattr(module, module.__all__[0]))
            params = {each.removesuffix("[]"): value for each, value in asked.params.items()}
            assert set(params) <= set(hints), name
            for each in ("group_by", "bucket_width"):
                assert set(params[each]) <= _values(hints[each]), name

            getattr(client.admin.organization.usage, name)(
                **{
                    each: value if f"{each}[]" in asked.params else value[0]
                    for each, value in params.items()
                }
            )
            theirs = sdk_server.asked.pop()
            assert (theirs.path, theirs.params) == (asked.path, asked.params)
            assert theirs.headers["Authorization"] == asked.headers["Authorization"]
        client.close()


def test_openai_keys_have_the_fields_of_the_sdk():
    assert {"id", "name", "redacted_value"} <= set(ProjectAPIKey.model_fields)
    result = built(result_type("completions"), **COUNTS["completions"], **NAMES)

    def script(asked):
        if not asked.path.endswith("/api_keys"):
            return page("completions", *([result] if "/completions" in asked.path else []))
        key = {"id": "key_1", "name": "Site", "redacted_value": "sk-***aBcD"}
        is_first = "after" not in asked.params
        other = {**key, "id": "key_0"}
        return {"data": [other if is_first else key], "has_more": is_first, "last_id": "key_0"}

    fetched, server = fetch_openai(script)
    assert [(row.key_name, row.key_hint) for row in fetched.rows] == [("Site", "aBcD")]
    ours = [asked for asked in server.asked if asked.path.endswith("/api_keys")]
    with serve(script) as sdk_server:
        client = OpenAI(admin_api_key="sk-admin-x", base_url=f"{sdk_server.url}/v1")
        listing = client.admin.organization.projects.api_keys.list(
            "proj_1", limit=100, owner_project_access="any"
        )
        assert [key.id for key in listing] == ["key_0", "key_1"]
        client.close()
    assert [(each.path, each.params) for each in ours] == [
        (each.path, each.params) for each in sdk_server.asked
    ]


def test_anthropic_reports_have_the_fields_of_the_sdk():
    usage_fields = BetaAnalyticsUsageBucketedResult.model_fields
    writes = usage_fields["cache_creation"].annotation
    usage = built(
        BetaAnalyticsUsageBucketedResult,
        uncached_input_tokens=1000,
        cache_read_input_tokens=200,
        cache_creation=built(writes, ephemeral_1h_input_tokens=30, ephemeral_5m_input_tokens=4),
        output_tokens=500,
        server_tool_use=built(BetaAnalyticsServerToolUse, web_search_requests=2),
        model="claude-opus-5",
    )
    cost = built(
        BetaAnalyticsCostBucketedResult,
        amount="123.45",
        list_amount="200",
        currency="USD",
        model="claude-opus-5",
    )
    times = {
        "starting_at": dt.datetime(2026, 11, 20, tzinfo=dt.UTC),
        "ending_at": dt.datetime(2026, 11, 21, tzinfo=dt.UTC),
    }
    buckets = {
        "messages": built(BetaAnalyticsUsageReportTimeBucket, **times, results=[usage]),
        "cost_report": built(BetaAnalyticsCostReportTimeBucket, **times, results=[cost]),
    }

    def script(asked):
        bucket = buckets[asked.path.rpartition("/")[2]]
        return {"data": [bucket.model_dump(mode="json")], "has_more": False, "next_page": None}

    with serve(script) as server:
        fetched = anthropic.fetch({"key": "sk-ant-admin-x", "base_url": server.url}, DAY, DAY)
    costs, messages = fetched.rows
    assert (costs.model_name, costs.cost) == ("claude-opus-5", Decimal("1.2345"))
    assert (messages.model_name, messages.prompt_tokens) == ("claude-opus-5", 1234)
    assert (messages.completion_tokens, messages.cached_tokens) == (500, 200)
    assert dict(messages.units) == {"web_search_requests": 2}


def test_anthropic_groups_and_tiers_are_those_of_the_sdk():
    types = "anthropic.types.beta.organization"
    groups = importlib.import_module(f"{types}.analytics.beta_analytics_usage_group_by")
    assert set(anthropic.USAGE_GROUP_BY) <= set(get_args(groups.BetaAnalyticsUsageGroupBy))
    tiers = importlib.import_module(f"{types}.beta_analytics_service_tier")
    assert {"standard", "batch"} <= set(get_args(tiers.BetaAnalyticsServiceTier))


def test_anthropic_keys_have_the_fields_of_the_sdk():
    assert {"id", "name", "partial_key_hint"} <= set(BetaAPIKey.model_fields)
    result = {
        "uncached_input_tokens": 1,
        "cache_read_input_tokens": 0,
        "cache_creation": {"ephemeral_1h_input_tokens": 0, "ephemeral_5m_input_tokens": 0},
        "output_tokens": 1,
        "api_key_id": "apikey_1",
    }
    times = {"starting_at": "2026-11-20T00:00:00Z", "ending_at": "2026-11-21T00:00:00Z"}

    def script(asked):
        if not asked.path.endswith("/api_keys"):
            results = [result] if asked.path.endswith("/messages") else []
            return {"data": [{**times, "results": results}], "has_more": False}
        is_first = "after_id" not in asked.params
        key = {"id": "apikey_1", "name": "Site", "partial_key_hint": "sk-ant-api03-R2D...igAA"}
        other = {**key, "id": "apikey_0"}
        return {"data": [other if is_first else key], "has_more": is_first, "last_id": "apikey_0"}

    with serve(script) as server:
        fetched = anthropic.fetch({"key": "sk-ant-admin-x", "base_url": server.url}, DAY, DAY)
        ours = [asked for asked in server.asked if asked.path.endswith("/api_keys")]
    assert [(row.key_name, row.key_hint) for row in fetched.rows] == [("Site", "igAA")]
    with serve(script) as sdk_server:
        client = Anthropic(api_key="sk-ant-admin-x", base_url=sdk_server.url)
        keys = client.beta.organization.api_keys.list(limit=1000)
        assert [key.id for key in keys] == ["apikey_0", "apikey_1"]
        client.close()
    for mine, theirs in zip(ours, sdk_server.asked, strict=True):
        assert (mine.path, theirs.params | mine.params) == (theirs.path, theirs.params)
