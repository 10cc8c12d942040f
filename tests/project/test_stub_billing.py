"""The admin APIs of the stub: computed from its journal, in the shapes of the providers."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from email.message import Message
from typing import Any
from urllib.parse import urlencode

import anthropic
import httpx
import openai
import pytest
from freezegun import freeze_time
from genai_prices import Usage, calc_price
from hypothesis import given
from hypothesis import strategies as st
from openai.types.admin import organization as shapes
from openai.types.admin.organization import projects as project_shapes

from project.stub import ADMIN_KEYS, StubProvider
from project.stub.billing.openai_admin import GROUPS
from project.stub.billing.prices import PRICES
from project.stub.exchange import Charge, Counts
from project.stub.remote import fetch_journal

#: One client, because a context for TLS takes its time. It keeps no connection open.
HTTP = httpx.Client(verify=False, limits=httpx.Limits(max_keepalive_connections=0))
NOON = datetime(2026, 11, 25, 12, tzinfo=UTC)
START = int(datetime(2026, 11, 24, tzinfo=UTC).timestamp())
END = int(datetime(2026, 11, 27, tzinfo=UTC).timestamp())
SITE, OTHER = "sk-proj-0123456789-site", "sk-proj-0123456789-else"
MINI = "gpt-4o-mini-2024-07-18"
HAIKU = "claude-haiku-4-5-20251001"
PAGES: dict[str, Any] = {
    "completions": shapes.UsageCompletionsResponse,
    "embeddings": shapes.UsageEmbeddingsResponse,
    "images": shapes.UsageImagesResponse,
    "audio_speeches": shapes.UsageAudioSpeechesResponse,
    "audio_transcriptions": shapes.UsageAudioTranscriptionsResponse,
    "moderations": shapes.UsageModerationsResponse,
    "decisions": shapes.UsageDecisionsResponse,
    "web_search_calls": shapes.UsageWebSearchCallsResponse,
    "file_search_calls": shapes.UsageFileSearchCallsResponse,
    "code_interpreter_sessions": shapes.UsageCodeInterpreterSessionsResponse,
}
#: An operation of the journal for each family.
OPERATIONS = {
    "completions": "chat",
    "embeddings": "embeddings",
    "images": "image_generation",
    "audio_speeches": "speech",
    "audio_transcriptions": "transcription",
    "moderations": "moderation",
    "decisions": "decision",
    "web_search_calls": "web_search",
    "file_search_calls": "file_search",
    "code_interpreter_sessions": "code_interpreter",
}


@pytest.fixture(autouse=True)
def _capture_off(settings: Any) -> None:
    settings.AI_USAGE_ENABLED = False


class Clock:
    """The clock of the stub."""

    now = NOON

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def stub(clock: Clock) -> Iterator[StubProvider]:
    with StubProvider(clock=clock) as provider:
        provider.bill.register("openai", SITE, name="The site", project="proj_shop")
        provider.bill.register("openai", OTHER, name="Another service", project="proj_back_office")
        yield provider


@pytest.fixture
def admin(stub: StubProvider) -> Iterator[Any]:
    """Usage of the official SDK."""
    with openai.OpenAI(
        base_url=stub.openai_url, admin_api_key=ADMIN_KEYS["openai"], max_retries=0
    ) as client:
        yield client.admin.organization


def ask(stub: StubProvider, prompt: str, *, key: str = SITE, model: str = "gpt-4o-mini") -> None:
    body = {"model": model, "messages": [{"role": "user", "content": prompt}]}
    post(stub, "/openai/v1/chat/completions", body, {"Authorization": f"Bearer {key}"})


def ask_claude(stub: StubProvider, prompt: str, key: str = "sk-ant-api03-0123456789") -> None:
    messages = [{"role": "user", "content": prompt}]
    body = {"model": "claude-haiku-4-5", "max_tokens": 9, "messages": messages}
    post(stub, "/anthropic/v1/messages", body, {"x-api-key": key})


def ask_router(stub: StubProvider, prompt: str, key: str = "sk-or-v1-0123456789") -> None:
    body = {"model": "openai/gpt-4.1", "messages": [{"role": "user", "content": prompt}]}
    post(stub, "/openrouter/api/v1/chat/completions", body, {"Authorization": f"Bearer {key}"})


def post(stub: StubProvider, path: str, body: object, headers: dict[str, str]) -> None:
    try:
        HTTP.post(stub.url + path, json=body, headers=headers)
    except httpx.TransportError:
        assert "cut" in json.dumps(body)  # the stub closed the connection


def get(stub: StubProvider, path: str, provider: str, **params: Any) -> httpx.Response:
    key = ADMIN_KEYS[provider]
    anthropic_headers = {"x-api-key": key, "anthropic-version": "2023-06-01"}
    bearer = {"Authorization": f"Bearer {key}"}
    headers = anthropic_headers if provider == "anthropic" else bearer
    return HTTP.get(stub.url + path, params=params, headers=headers)


def usage_page(stub: StubProvider, family: str = "completions", **params: Any) -> Any:
    path = f"/openai/v1/organization/usage/{family}"
    answer = get(stub, path, "openai", start_time=START, end_time=END, **params)
    assert answer.status_code == 200, answer.text
    return answer.json()


def report(stub: StubProvider, name: str, **params: Any) -> Any:
    span = {"starting_at": "2026-11-24T00:00:00Z", "ending_at": "2026-11-27T00:00:00Z"}
    answer = get(stub, f"/anthropic/v1/organizations/{name}", "anthropic", **span, **params)
    assert answer.status_code == 200, answer.text
    return answer.json()


def results(page: Any) -> list[Any]:
    return [result for bucket in page["data"] for result in bucket["results"]]


class TestOpenAI:
    def test_usage_is_that_of_the_journal(self, stub, admin):
        ask(stub, "one [stub cached=4]")
        ask(stub, "two [stub cached=2 reasoning=3]")
        ask(stub, "three", key=OTHER)

        page = admin.usage.completions(
            start_time=START, end_time=END, group_by=["model", "project_id", "api_key_id"]
        )

        served = stub.journal
        (bucket,) = [each for each in page.data if each.results]
        assert bucket.start_time == int(NOON.replace(hour=0).timestamp())
        assert bucket.end_time - bucket.start_time == 24 * 60 * 60
        ours, theirs = bucket.results
        assert (ours.model, ours.project_id) == (MINI, "proj_shop")
        assert ours.api_key_id == served[0].api_key_id != theirs.api_key_id
        assert ours.num_model_requests == 2
        assert ours.input_tokens == served[0].prompt_tokens + served[1].prompt_tokens
        assert ours.output_tokens == served[0].completion_tokens + served[1].completion_tokens
        assert ours.input_cached_tokens == 6
        assert (theirs.num_model_requests, theirs.project_id) == (1, "proj_back_office")

    @pytest.mark.parametrize("family", GROUPS)
    def test_usage_has_the_shape_of_the_sdk(self, stub, admin, family):
        charge = Charge(Counts(prompt=7, completion=5), units={"images": 2, "seconds": 3})
        stub.bill.add("openai", OPERATIONS[family], "a-model", at=NOON, charge=charge)

        page = PAGES[family].model_validate(usage_page(stub, family))

        (result,) = [each for bucket in page.data for each in bucket.results]
        assert not page.model_extra
        assert not result.model_extra
        assert all(getattr(result, name) is None for name in GROUPS[family])
        grouped = getattr(admin.usage, family)(start_time=START, group_by=list(GROUPS[family]))
        (result,) = [each for bucket in grouped.data for each in bucket.results]
        if "model" in GROUPS[family]:
            assert result.model == "a-model"

    def test_costs_are_usage_times_price(self, stub, admin):
        ask(stub, "one [stub usage=1000/100 cached=400]")

        page = admin.usage.costs(
            start_time=START, end_time=END, group_by=["line_item", "project_id", "api_key_id"]
        )

        found = [each for bucket in page.data for each in bucket.results]
        assert {each.line_item: (each.amount.value, each.quantity) for each in found} == {
            f"{MINI}, input_tokens": (pytest.approx(600 * 0.15e-6), 600),
            f"{MINI}, cached_input_tokens": (pytest.approx(400 * 0.075e-6), 400),
            f"{MINI}, output_tokens": (pytest.approx(100 * 0.6e-6), 100),
        }
        assert {each.project_id for each in found} == {"proj_shop"}
        assert not any(each.model_extra for each in found)

    def test_costs_without_groups_are_one_amount(self, stub, admin):
        ask(stub, "one [stub usage=1000/100]")

        page = admin.usage.costs(start_time=START, end_time=END)

        (result,) = [each for bucket in page.data for each in bucket.results]
        assert result.amount.value == pytest.approx(1000 * 0.15e-6 + 100 * 0.6e-6)
        assert (result.line_item, result.project_id, result.quantity) == (None, None, None)

    def test_batches_cost_half(self, stub):
        message = {"role": "user", "content": "[stub usage=1000/100]"}
        line = {"custom_id": "1", "body": {"model": "gpt-4o-mini", "messages": [message]}}
        headers = {"Authorization": f"Bearer {SITE}"}
        sent = HTTP.post(
            f"{stub.openai_url}/files",
            files={"file": ("in.jsonl", json.dumps(line))},
            data={"purpose": "batch"},
            headers=headers,
        )
        batch = {"input_file_id": sent.json()["id"], "endpoint": "/v1/chat/completions"}
        post(stub, "/openai/v1/batches", batch, headers)

        page = usage_page(stub, group_by=["batch", "model"])
        costs = get(
            stub, "/openai/v1/organization/costs", "openai", start_time=START, end_time=END
        ).json()

        (result,) = results(page)
        assert (result["batch"], result["model"]) == (True, MINI)
        assert (result["num_model_requests"], result["input_tokens"]) == (1, 1000)
        (cost,) = results(costs)
        assert cost["amount"]["value"] == pytest.approx((1000 * 0.15e-6 + 100 * 0.6e-6) / 2)

    def test_filters_narrow_the_bill(self, stub, admin):
        ask(stub, "one")
        ask(stub, "two", key=OTHER, model="gpt-4o")
        ours, theirs = (each.api_key_id for each in stub.journal)

        def requests(**filters: Any) -> int:
            page = admin.usage.completions(start_time=START, end_time=END, **filters)
            return sum(each.num_model_requests for bucket in page.data for each in bucket.results)

        assert requests() == 2
        assert requests(project_ids=["proj_shop"]) == 1
        assert requests(api_key_ids=[ours, theirs]) == 2
        assert requests(api_key_ids=[theirs], project_ids=["proj_shop"]) == 0
        assert requests(models=["gpt-4o-2024-08-06"]) == 1
        assert requests(batch=True) == 0

    def test_pages_hold_every_bucket_once(self, stub, clock, admin):
        for day in range(3):
            clock.now = NOON + timedelta(days=day - 1)
            ask(stub, f"day {day}")
        pages = [admin.usage.completions(start_time=START, end_time=END, limit=2)]
        while pages[-1].has_more:
            pages.append(
                admin.usage.completions(
                    start_time=START, end_time=END, limit=2, page=pages[-1].next_page
                )
            )

        buckets = [bucket for page in pages for bucket in page.data]
        assert [len(page.data) for page in pages] == [2, 1]
        assert [bucket.start_time for bucket in buckets] == [START + 86400 * n for n in range(3)]
        assert [bucket.results[0].num_model_requests for bucket in buckets] == [1, 1, 1]
        assert pages[-1].next_page is None

    def test_hours_and_minutes_are_buckets_too(self, stub):
        ask(stub, "one")

        hours = usage_page(stub, bucket_width="1h", limit=168)["data"]

        assert len(hours) == 72
        (hour,) = [each for each in hours if each["results"]]
        assert hour["start_time"] == int(NOON.timestamp())

    def test_projects_and_keys_are_listed(self, stub, admin):
        projects = list(admin.projects.list(limit=1))
        (key,) = admin.projects.api_keys.list("proj_shop")

        assert [each.id for each in projects] == ["proj_shop", "proj_back_office"]
        assert not projects[0].model_extra
        assert isinstance(key, project_shapes.ProjectAPIKey)
        assert (key.name, key.redacted_value) == ("The site", "sk-...site")
        assert not key.model_extra
        with pytest.raises(openai.NotFoundError):
            list(admin.projects.api_keys.list("proj_unknown"))

    @pytest.mark.parametrize(
        "params",
        [
            {"limit": 32},
            {"limit": "x"},
            {"bucket_width": "2d"},
            {"group_by": "color"},
            {"page": "page_99"},
            {"start_time": "yesterday"},
        ],
    )
    def test_bad_parameter_is_refused(self, stub, params):
        answer = get(
            stub,
            "/openai/v1/organization/usage/completions",
            "openai",
            **{"start_time": START, **params},
        )

        assert answer.status_code == 400
        assert repr(str(next(iter(params.values())))) in answer.json()["error"]["message"]


class TestAnthropic:
    def test_usage_is_that_of_the_journal(self, stub):
        ask_claude(stub, "one [stub cached=5 cache_write=3]")
        (served,) = stub.journal

        page = report(stub, "usage_report/messages", **{"group_by[]": ["model", "api_key_id"]})

        assert [each["starting_at"] for each in page["data"]] == [
            "2026-11-24T00:00:00Z",
            "2026-11-25T00:00:00Z",
            "2026-11-26T00:00:00Z",
        ]
        (result,) = results(page)
        assert result == {
            "uncached_input_tokens": served.prompt_tokens - 8,
            "cache_creation": {
                "ephemeral_1h_input_tokens": 0,
                "ephemeral_5m_input_tokens": 3,
            },
            "cache_read_input_tokens": 5,
            "output_tokens": served.completion_tokens,
            "server_tool_use": {"web_search_requests": 0},
            "model": HAIKU,
            "api_key_id": served.api_key_id,
            "workspace_id": None,
            "service_tier": None,
            "context_window": None,
            "inference_geo": None,
        }

    def test_costs_are_text_in_cents(self, stub):
        ask_claude(stub, "one [stub usage=1000/100]")

        found = results(report(stub, "cost_report", **{"group_by[]": "description"}))

        assert {each["token_type"]: Decimal(each["amount"]) for each in found} == {
            "uncached_input_tokens": Decimal("0.1"),
            "output_tokens": Decimal("0.05"),
        }
        assert {each["currency"] for each in found} == {"USD"}
        assert {each["model"] for each in found} == {HAIKU}
        (total,) = results(report(stub, "cost_report"))
        assert Decimal(total["amount"]) == Decimal("0.15")
        assert total["model"] is total["description"] is total["workspace_id"] is None

    def test_batches_have_their_tier(self, stub):
        message = {"role": "user", "content": "[stub usage=1000/100]"}
        params = {"model": "claude-haiku-4-5", "max_tokens": 9, "messages": [message]}
        requests = [{"custom_id": str(n), "params": params} for n in range(2)]
        post(stub, "/anthropic/v1/messages/batches", {"requests": requests}, {"x-api-key": SITE})
        ask_claude(stub, "one")

        found = results(report(stub, "usage_report/messages", **{"group_by[]": "service_tier"}))

        assert {each["service_tier"]: each["output_tokens"] for each in found}["batch"] == 200
        assert {each["service_tier"] for each in found} == {"batch", "standard"}

    def test_keys_have_the_shape_of_the_sdk(self, stub):
        stub.bill.register(
            "anthropic", "sk-ant-api03-0123456789", name="The site", project="wrkspc_1"
        )
        with anthropic.Anthropic(
            base_url=stub.anthropic_url, api_key=ADMIN_KEYS["anthropic"]
        ) as client:
            (key,) = client.beta.organization.api_keys.list()

        assert (key.name, key.partial_key_hint) == ("The site", "sk-ant-api03-...6789")
        assert key.scope.to_dict() == {"type": "workspace", "workspace_id": "wrkspc_1"}

    def test_pages_hold_every_bucket_once(self, stub):
        first = report(stub, "usage_report/messages", limit=2)
        second = report(stub, "usage_report/messages", limit=2, page=first["next_page"])

        assert (first["has_more"], second["has_more"]) == (True, False)
        assert [len(page["data"]) for page in (first, second)] == [2, 1]
        assert second["next_page"] is None


class TestOpenRouter:
    def test_activity_is_that_of_completed_days(self, stub, clock):
        for day, prompts in ((0, ("a", "b")), (1, ("c",)), (2, ("d",))):
            clock.now = NOON + timedelta(days=day)
            for prompt in prompts:
                ask_router(stub, prompt)

        found = get(stub, "/openrouter/api/v1/activity", "openrouter").json()["data"]

        served = stub.journal[:2]
        assert [(each["date"], each["requests"]) for each in found] == [
            ("2026-11-25", 2),
            ("2026-11-26", 1),
        ]
        assert found[0]["model"] == "openai/gpt-4.1"
        assert found[0]["prompt_tokens"] == sum(each.prompt_tokens for each in served)
        assert found[0]["completion_tokens"] == sum(each.completion_tokens for each in served)
        assert found[0]["usage"] == pytest.approx(sum(each.cost for each in served))

    def test_activity_can_be_narrowed_to_a_key_and_a_day(self, stub, clock):
        for key in ("sk-or-v1-0123456789", "sk-or-v1-9876543210"):
            ask_router(stub, "a", key=key)
        clock.now = NOON + timedelta(days=1)
        key_id = stub.journal[0].api_key_id
        path = "/openrouter/api/v1/activity"

        (item,) = get(stub, path, "openrouter", api_key_hash=key_id, date="2026-11-25").json()[
            "data"
        ]
        today = get(stub, path, "openrouter", date="2026-11-26")
        key = get(stub, f"/openrouter/api/v1/keys/{key_id}", "openrouter").json()["data"]

        assert item["requests"] == 1
        assert (today.status_code, today.json()["error"]["code"]) == (400, 400)
        assert (key["hash"], key["label"]) == (key_id, "sk-or-v1-...6789")


@pytest.mark.parametrize(
    "order", ["cut=1", "cut=0", "nousage", "garbage", "delay=0.01", "reasoning=4"]
)
def test_answered_requests_are_billed_in_full(stub, order):
    ask(stub, f"same [stub {order}]")

    (result,) = results(usage_page(stub))

    extra = 4 if order == "reasoning=4" else 0
    stub.clear()
    ask(stub, "same")
    (served,) = stub.journal
    assert result["input_tokens"] == served.prompt_tokens
    assert result["output_tokens"] == served.completion_tokens + extra


@pytest.mark.parametrize("order", ["status=500", "status=429", "leak=sk-abc", "error_in_stream"])
def test_failed_requests_are_not_billed(stub, order):
    ask(stub, f"same [stub {order}]")

    assert results(usage_page(stub)) == []


def test_streams_of_clients_that_left_are_billed_in_full(stub):
    with (
        HTTP.stream(
            "POST",
            f"{stub.openai_url}/chat/completions",
            json={
                "model": "gpt-4o-mini",
                "stream": True,
                "messages": [{"role": "user", "content": "[stub usage=90/80 words=400 cut=3]"}],
            },
        ) as answer,
        pytest.raises(httpx.TransportError),
    ):
        answer.read()

    (result,) = results(usage_page(stub))

    assert stub.journal[0].completion_tokens is None
    assert (result["input_tokens"], result["output_tokens"]) == (90, 80)


@pytest.mark.parametrize(
    ("path", "key", "status"),
    [
        ("/openai/v1/organization/costs", "", 401),
        ("/openai/v1/organization/costs", "wrong", 401),
        ("/openai/v1/organization/costs", SITE, 403),
        ("/anthropic/v1/organizations/cost_report", "", 401),
        ("/anthropic/v1/organizations/cost_report", "sk-ant-api03-0123456789", 403),
        ("/openrouter/api/v1/activity", "", 401),
        ("/openrouter/api/v1/activity", "sk-or-v1-0123456789", 403),
    ],
)
def test_other_keys_are_refused(stub, path, key, status):
    bearer = {"Authorization": f"Bearer {key}"} if key else {}
    answer = HTTP.get(stub.url + path, headers={**bearer, "anthropic-version": "2023-06-01"})

    assert answer.status_code == status
    assert answer.json()["error"]["message"]


def test_anthropic_needs_a_version(stub):
    answer = HTTP.get(
        f"{stub.anthropic_url}/v1/organizations/cost_report",
        headers={"x-api-key": ADMIN_KEYS["anthropic"]},
    )

    assert answer.status_code == 400
    assert "anthropic-version" in answer.json()["error"]["message"]


def test_journal_has_the_moment_and_the_key_but_not_its_secret(stub):
    ask(stub, "one")

    (served,) = fetch_journal(stub.url)

    assert [served] == stub.journal
    assert served.served_at == NOON
    assert served.api_key_id.startswith("key_")
    assert (served.api_key_hint, served.project) == ("site", "proj_shop")
    assert SITE not in HTTP.get(f"{stub.url}/journal").text + str(vars(stub.bill))


def test_short_keys_have_no_hint(stub):
    ask(stub, "one", key="anything")

    assert stub.journal[0].api_key_hint == ""


def test_a_key_has_one_id_in_every_stub(stub):
    ask(stub, "one")
    with StubProvider() as another:
        ask(another, "two")
        assert another.journal[0].api_key_id == stub.journal[0].api_key_id


@pytest.mark.server
def test_freezegun_moves_the_clock():
    with StubProvider() as stub, freeze_time(NOON, ignore=["asyncio"]) as frozen:
        ask(stub, "one")
        frozen.move_to(NOON + timedelta(days=1))
        ask(stub, "two")

    assert [each.served_at for each in stub.journal] == [NOON, NOON + timedelta(days=1)]


def test_admin_requests_are_not_in_the_journal(stub):
    usage_page(stub)

    assert stub.journal == []
    assert [each.partition("?")[0] for each in stub.bill.requests] == [
        "/openai/v1/organization/usage/completions"
    ]


class TestControls:
    def test_late_data_is_shown_when_released(self, stub, clock):
        ask(stub, "one")
        clock.now = NOON + timedelta(hours=1)
        ask(stub, "two")
        clock.now = NOON + timedelta(hours=2)

        def requests() -> int:
            return sum(each["num_model_requests"] for each in results(usage_page(stub)))

        stub.bill.hidden_from = NOON + timedelta(minutes=30)
        assert requests() == 1
        stub.bill.release()
        assert requests() == 2
        stub.bill.lag = timedelta(minutes=90)
        assert requests() == 1

    @pytest.mark.parametrize("status", [401, 403, 429, 500])
    @pytest.mark.parametrize("provider", ADMIN_KEYS)
    def test_the_nth_request_fails(self, stub, provider, status):
        path = {
            "openai": f"/openai/v1/organization/costs?start_time={START}",
            "anthropic": "/anthropic/v1/organizations/api_keys",
            "openrouter": "/openrouter/api/v1/activity",
        }[provider]
        stub.bill.fail(status, on=2, retry_after=7)
        key = ADMIN_KEYS[provider]
        headers = {"Authorization": f"Bearer {key}", "anthropic-version": "2023-06-01"}

        answers = [HTTP.get(stub.url + path, headers=headers) for _ in range(3)]

        assert [each.status_code for each in answers] == [200, status, 200]
        assert answers[1].headers["Retry-After"] == "7"
        assert answers[1].json()["error"]["message"]

    def test_a_page_repeats(self, stub):
        stub.bill.repeats_page = True

        page = usage_page(stub)

        assert page["has_more"]
        assert usage_page(stub, page=page["next_page"]) == page

    def test_pages_are_small(self, stub):
        stub.bill.page_size = 1

        assert len(usage_page(stub, limit=31)["data"]) == 1
        assert len(report(stub, "cost_report")["data"]) == 1

    def test_unknown_fields_are_everywhere(self, stub):
        ask(stub, "one")
        stub.bill.extra_fields = {"surprise": {"of": ["any", "kind"]}}

        page = usage_page(stub)

        assert all("surprise" in each for each in (page, *page["data"], *results(page)))

    def test_buckets_begin_in_another_zone(self, stub):
        stub.bill.zone = timezone(timedelta(hours=13))

        days = report(stub, "usage_report/messages")["data"]
        first = usage_page(stub)["data"][0]

        assert days[0]["starting_at"] == "2026-11-24T00:00:00+13:00"
        assert first["start_time"] == START - 13 * 60 * 60

    @pytest.mark.parametrize(
        ("amount", "shown"),
        [(str, "0.00021000"), (lambda _: "-1.5", "-1.5"), (lambda _: "NaN", "NaN")],
    )
    def test_amounts_are_what_a_test_says(self, stub, amount, shown):
        ask(stub, "one [stub usage=1000/100]")
        stub.bill.amount = amount

        page = get(
            stub, "/openai/v1/organization/costs", "openai", start_time=START, end_time=END
        ).json()

        value = results(page)[0]["amount"]["value"]
        assert value == shown or Decimal(value) == Decimal(shown)

    def test_a_price_error_changes_costs_alone(self, stub):
        ask(stub, "one [stub usage=1000/100]")
        before = results(usage_page(stub)), self.cost(stub)

        stub.bill.price_factors[MINI] = Decimal(2)

        assert results(usage_page(stub)) == before[0]
        assert self.cost(stub) == pytest.approx(2 * before[1])

    @staticmethod
    def cost(stub: StubProvider) -> float:
        page = get(
            stub, "/openai/v1/organization/costs", "openai", start_time=START, end_time=END
        ).json()
        return float(sum(each["amount"]["value"] for each in results(page)))


@given(
    charges=st.lists(
        st.tuples(
            st.integers(0, 3 * 24 * 60 - 1), st.sampled_from(["a", "b"]), st.integers(0, 10**6)
        ),
        max_size=12,
    ),
    groups=st.sets(st.sampled_from(GROUPS["completions"])),
    limit=st.integers(1, 31),
)
def test_pages_and_groups_never_change_the_sum(charges, groups, limit):
    stub = StubProvider()  # not started: the bill needs no server
    for minute, model, tokens in charges:
        at = datetime.fromtimestamp(START, UTC) + timedelta(minutes=minute)
        charge = Charge(Counts(prompt=tokens, completion=1))
        stub.bill.add("openai", "chat", model, at=at, charge=charge)
    headers = Message()
    headers["Authorization"] = f"Bearer {ADMIN_KEYS['openai']}"

    found, following = [], "page_0"
    while following:
        query = {"start_time": START, "end_time": END, "limit": limit, "page": following}
        answer = stub.bill.answer(
            "/openai/v1/organization/usage/completions",
            urlencode({**query, "group_by": sorted(groups)}, doseq=True),
            headers,
        )
        assert answer
        page = json.loads(answer.body)
        found += page["data"]
        following = page["next_page"]

    assert len({bucket["start_time"] for bucket in found}) == len(found) == 3
    every = results({"data": found})
    assert sum(each["num_model_requests"] for each in every) == len(charges)
    assert sum(each["input_tokens"] for each in every) == sum(each[2] for each in charges)


@pytest.mark.parametrize("model", PRICES)
def test_prices_are_those_of_the_providers(model):
    provider = "anthropic" if model.startswith("claude") else "openai"

    def price(**tokens: int) -> Decimal:
        usage = Usage(**{"input_tokens": 1000, **tokens})
        return calc_price(usage, model_ref=model, provider_id=provider).total_price * 1000

    fresh = price()
    assert PRICES[model] == (
        fresh,
        price(cache_read_tokens=1000),
        price(cache_write_tokens=1000),
        price(output_tokens=1000) - fresh,
    )
