"""Results that are fetched later: one call and one row, whichever process asks for them."""

from __future__ import annotations

import datetime as dt
import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest
from asgiref.sync import async_to_sync
from django.contrib.auth.models import User
from django.utils import timezone
from google import genai
from pytest_django import Settings

from project.stub import StubProvider
from project.stub.jobs import COST
from tests.support.children import run_python
from tests.support.comparison import attributed, only_row, rows
from tests.support.jobs import AGENT, FAILING, KINDS, Kind, gemini, get, gpt, post
from tests.support.ledger import assert_in_step
from usage_tracking import ai_usage
from usage_tracking.maintenance.prune import prune
from usage_tracking.models import AIUsageLog, AIUsageTracking

pytestmark = [
    pytest.mark.django_db,
    pytest.mark.filterwarnings("ignore:The (Assistants|Sora) API:DeprecationWarning"),
]

IN_PROGRESS = {
    "made in the background; its end was not seen yet",
    "the run goes on; its end was not seen yet",
}


@pytest.fixture
def url(stub: StubProvider, settings: Settings) -> str:
    settings.AI_USAGE_GATEWAYS = stub.gateways
    return stub.url


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> Kind:
    return KINDS[request.param]


def assert_is_complete(row: AIUsageLog, kind: Kind, stub: StubProvider) -> None:
    """Assert that the row says what the provider served in its last answer."""
    served = stub.journal[-1]
    assert (row.operation, row.model_name, row.success) == (kind.operation, kind.model, True)
    if kind.counts:
        assert served.prompt_tokens
        assert (row.prompt_tokens, row.completion_tokens) == (
            served.prompt_tokens,
            served.completion_tokens,
        )
    is_known = kind.counts or kind.costs
    assert (row.prompt_tokens is not None) == kind.counts
    assert row.metadata.get("unknown") == (None if is_known else "no usage in the answer")
    assert not kind.costs or row.cost == Decimal(str(COST))
    assert {name: row.metadata.get(name) for name in kind.facts} == kind.facts
    assert_in_step()


def test_begun_job_is_a_row_whose_usage_is_not_known_yet(
    kind: Kind, url: str, stub: StubProvider, user: User
) -> None:
    with ai_usage(section="chat", user=user):
        kind.begin(url, "")

    row = only_row()
    assert attributed(row) == ("ada", "chat")
    assert (row.provider, row.usage_source) == (stub.journal[0].provider, "unknown")
    assert (row.success, row.cost) == (True, None)
    assert row.metadata["unknown"] in IN_PROGRESS


def test_end_seen_elsewhere_belongs_to_the_beginning(
    kind: Kind, url: str, stub: StubProvider, user: User
) -> None:
    with ai_usage(section="chat", user=user, metadata={"order": 7}):
        job = kind.begin(url, "queued=1")
    with ai_usage(section="rag_pipeline", metadata={"poller": 1}):
        for _ in range(2):
            kind.poll(url, job)
    first = only_row()
    with ai_usage(section="rag_pipeline"):
        for _ in range(2):
            kind.poll(url, job)

    row = only_row()
    assert attributed(row) == ("ada", "chat")
    assert (row.metadata["order"], row.created_at) == (7, first.created_at)
    assert not {"poller", "beginning"} & set(row.metadata)
    assert_is_complete(row, kind, stub)


def test_end_seen_in_the_same_block_is_the_same_call(
    kind: Kind, url: str, stub: StubProvider
) -> None:
    with ai_usage(section="chat") as usage:
        job = kind.begin(url, "queued=1")
        for _ in range(3):
            kind.poll(url, job)
        assert usage.calls == 1

    assert_is_complete(only_row(), kind, stub)


def test_job_is_one_row_through_an_unknown_gateway(
    kind: Kind, url: str, stub: StubProvider, settings: Settings
) -> None:
    settings.AI_USAGE_GATEWAYS = {}
    with ai_usage(section="chat"):
        job = kind.begin(url, "queued=0")
    kind.poll(url, job)

    row = only_row()
    assert (row.provider, row.section) == ("unknown", "chat")
    assert row.metadata["host"] == stub.host_port
    assert (row.prompt_tokens is not None) == kind.counts


@pytest.mark.parametrize("name", FAILING)
def test_failed_job_is_a_failed_call(name: str, url: str) -> None:
    kind = KINDS[name]
    with ai_usage(section="chat"):
        job = kind.begin(url, "queued=0 fails")
    kind.poll(url, job)

    row = only_row()
    assert (row.section, row.success, row.prompt_tokens) == ("chat", False, None)
    assert row.error_message
    assert "unknown" not in row.metadata


def test_end_of_a_pruned_call_counts_nothing(kind: Kind, url: str, user: User) -> None:
    with ai_usage(section="chat", user=user):
        job = kind.begin(url, "queued=0")
    only_row()
    list(prune(timezone.now().date() + dt.timedelta(days=1), using="default"))
    totals = list(AIUsageTracking.objects.values())

    kind.poll(url, job)

    assert rows() == []
    assert list(AIUsageTracking.objects.values()) == totals


def test_job_without_a_poll_that_sees_its_end_stays_unknown(kind: Kind, url: str) -> None:
    job = kind.begin(url, "queued=3")
    kind.poll(url, job)

    assert only_row().metadata["unknown"] in IN_PROGRESS


def test_polls_in_parallel_complete_one_row(kind: Kind, url: str, stub: StubProvider) -> None:
    with ai_usage(section="chat"):
        job = kind.begin(url, "queued=2")
    together = threading.Barrier(4)

    def poll(_number: int) -> None:
        together.wait(60)
        for _ in range(2):
            kind.poll(url, job)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(poll, range(4)))

    row = only_row()
    assert row.section == "chat"
    assert_is_complete(row, kind, stub)


@pytest.mark.slow
@pytest.mark.process
def test_jobs_begun_in_one_process_are_completed_by_others(
    stub: StubProvider, tmp_path: Path
) -> None:
    """Each process has a site of its own, on one database file."""
    quiet = "import warnings; warnings.simplefilter('ignore', DeprecationWarning)"
    settings = f"""
        AI_USAGE_GATEWAYS = {stub.gateways!r}
        DATABASES = {{
            "default": {{
                "ENGINE": "django.db.backends.sqlite3",
                "NAME": {str(tmp_path / "db.sqlite3")!r},
                "OPTIONS": {{"timeout": 60}},
            }}
        }}
    """
    begin = f"""
        import json
        from django.contrib.auth.models import User
        from django.core.management import call_command
        from tests.support.jobs import KINDS
        from usage_tracking import ai_usage
        call_command("migrate", verbosity=0)
        ada = User.objects.create_user("ada")
        with ai_usage(section="chat", user=ada):
            print(json.dumps({{n: k.begin({stub.url!r}, "queued=2") for n, k in KINDS.items()}}))
        call_command("flush_ai_usage", verbosity=0)
    """
    jobs = json.loads(run_python(tmp_path, begin, settings=settings, first=quiet))
    poll = f"""
        from django.core.management import call_command
        from tests.support.jobs import KINDS
        for name, job in {jobs!r}.items():
            for _ in range(2):
                KINDS[name].poll({stub.url!r}, job)
        call_command("flush_ai_usage", verbosity=0)
    """
    with ThreadPoolExecutor(2) as pool:
        list(
            pool.map(lambda _: run_python(tmp_path, poll, settings=settings, first=quiet), range(2))
        )
    show = """
        import json
        from usage_tracking.models import AIUsageLog, AIUsageTracking
        fields = ("model_name", "user__username", "section", "usage_source", "prompt_tokens")
        print(json.dumps(list(AIUsageLog.objects.values_list(*fields))))
    """
    found = json.loads(run_python(tmp_path, show, settings=settings))

    last = {served.model: served for served in stub.journal if served.prompt_tokens is not None}
    expected = [
        [
            kind.model,
            "ada",
            "chat",
            "reported" if kind.counts else "unknown",
            last[kind.model].prompt_tokens if kind.counts else None,
        ]
        for kind in KINDS.values()
    ]
    assert sorted(found, key=str) == sorted(expected, key=str)


class TestInteractions:
    def create(self, client: genai.Client, order: str = "", **options: Any) -> Any:
        if "agent" not in options:
            options["model"] = "gemini-3-flash-preview"
        return client.interactions.create(input=f"Hello [stub {order}]", **options)

    @pytest.fixture
    def client(self, url: str) -> Iterator[genai.Client]:
        with gemini(url) as client:
            yield client

    def test_one_that_was_not_made_in_the_background_is_counted_once(
        self, client: genai.Client, stub: StubProvider
    ) -> None:
        with ai_usage(section="chat"):
            made = self.create(client)
        for _ in range(2):
            client.interactions.get(made.id)

        row = only_row()
        assert (row.section, row.usage_source) == ("chat", "reported")
        assert row.prompt_tokens == stub.journal[0].prompt_tokens
        assert_in_step()

    def test_streamed_one_is_counted_once(self, client: genai.Client) -> None:
        with ai_usage(section="chat"):
            *_, last = self.create(client, stream=True)
        client.interactions.get(last.interaction.id)

        row = only_row()
        assert (row.section, row.usage_source) == ("chat", "reported")

    def test_stream_left_early_is_completed_by_a_poll(self, client: genai.Client) -> None:
        with ai_usage(section="chat"), self.create(client, stream=True, background=True) as stream:
            first = next(iter(stream))
        assert only_row().usage_source == "unknown"

        client.interactions.get(first.interaction.id)

        row = only_row()
        assert (row.section, row.usage_source) == ("chat", "reported")

    def test_stream_that_is_resumed_completes_it(self, client: genai.Client) -> None:
        with ai_usage(section="chat"):
            begun = self.create(client, "queued=5", background=True)
        for _ in range(2):
            list(client.interactions.get(begun.id, stream=True))

        row = only_row()
        assert (row.section, row.usage_source) == ("chat", "reported")

    def test_cancelled_one_has_no_tokens(self, client: genai.Client) -> None:
        begun = self.create(client, "queued=9", agent=AGENT, background=True)
        client.interactions.cancel(begun.id)
        client.interactions.get(begun.id)

        row = only_row()
        assert (row.model_name, row.success) == (AGENT, True)
        assert row.metadata["unknown"] == "no usage in the answer"

    def test_asynchronous_client(self, url: str, stub: StubProvider) -> None:
        async def main() -> None:
            async with gemini(url).aio as client:
                with ai_usage(section="chat"):
                    begun: Any = await client.interactions.create(
                        agent=AGENT, input="Search [stub queued=1]", background=True
                    )
                for _ in range(3):
                    await client.interactions.get(begun.id)

        async_to_sync(main)()

        row = only_row()
        assert (row.section, row.model_name) == ("chat", AGENT)
        assert row.prompt_tokens == stub.journal[-1].prompt_tokens


class TestRuns:
    TOOL: Any = [{"type": "function", "function": {"name": "look"}}]

    def begin(self, url: str, **options: Any) -> Any:
        with gpt(url) as client, ai_usage(section="chat"):
            begun: Any = client.beta.threads.runs.create(
                "thread_1", assistant_id="a", model="gpt-4o", instructions="Go", **options
            )
            return list(begun) if options.get("stream") else begun

    def test_run_that_requires_an_action_goes_on(self, url: str, stub: StubProvider) -> None:
        begun = self.begin(url, tools=self.TOOL)
        assert begun.status == "requires_action"
        assert only_row().metadata["unknown"] in IN_PROGRESS
        outputs: Any = [{"tool_call_id": "call_1", "output": "42"}]
        with gpt(url) as client, ai_usage(section="rag_pipeline"):
            client.beta.threads.runs.submit_tool_outputs(
                begun.id, thread_id="thread_1", tool_outputs=outputs
            )

        row = only_row()
        assert (row.section, row.usage_source) == ("chat", "reported")
        assert row.prompt_tokens == stub.journal[-1].prompt_tokens

    def test_streamed_run(self, url: str, stub: StubProvider) -> None:
        events = self.begin(url, stream=True)
        assert events[-1].event == "thread.run.completed"

        row = only_row()
        assert (row.section, row.usage_source) == ("chat", "reported")
        assert row.prompt_tokens == stub.journal[-1].prompt_tokens
        with gpt(url) as client:
            client.beta.threads.runs.retrieve(events[-1].data.id, thread_id="thread_1")
        assert only_row().section == "chat"

    def test_streamed_run_goes_on_in_another_stream(self, url: str, stub: StubProvider) -> None:
        begun = [event.data for event in self.begin(url, stream=True, tools=self.TOOL)]
        assert only_row().usage_source == "unknown"
        outputs: Any = [{"tool_call_id": "call_1", "output": "42"}]
        with gpt(url) as client:
            list(
                client.beta.threads.runs.submit_tool_outputs(
                    begun[0].id, thread_id="thread_1", tool_outputs=outputs, stream=True
                )
            )

        row = only_row()
        assert (row.section, row.prompt_tokens) == ("chat", stub.journal[-1].prompt_tokens)

    def test_cancelled_run_has_no_tokens(self, url: str) -> None:
        begun = self.begin(url)
        with gpt(url) as client:
            client.beta.threads.runs.cancel(begun.id, thread_id="thread_1")

        row = only_row()
        assert (row.success, row.metadata["unknown"]) == (True, "no usage in the answer")


def test_prediction_that_was_waited_for_is_counted_once(url: str, stub: StubProvider) -> None:
    with ai_usage(section="chat"):
        body = {"input": {"text": "Hi", "wait": True}}
        made = post(url, "/replicate/v1/models/meta/llama-3/predictions", body)
    get(url, f"/replicate/v1/predictions/{made['id']}")

    row = only_row()
    assert (row.section, row.usage_source) == ("chat", "reported")
    assert row.prompt_tokens == stub.journal[0].prompt_tokens
    assert_in_step()


def test_video_in_an_answer_too_long_to_be_kept_is_complete() -> None:
    """Vertex answers with the video itself unless it is told where to put it."""
    model = "projects/p/locations/us-central1/publishers/google/models/veo-3.1"
    begun = {"name": f"{model}/operations/7"}
    video = {"bytesBase64Encoded": "A" * 9_000_000, "mimeType": "video/mp4"}
    answers = {
        "predictLongRunning": begun,
        "fetchPredictOperation": begun | {"done": True, "response": {"videos": [video]}},
    }

    def answer(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, json=answers[request.url.path.rpartition(":")[2]])

    host = "https://us-central1-aiplatform.googleapis.com/v1"
    with httpx.Client(transport=httpx.MockTransport(answer)) as client:
        with ai_usage(section="chat"):
            client.post(f"{host}/{model}:predictLongRunning", json={"instances": []})
        client.post(f"{host}/{model}:fetchPredictOperation", json={"operationName": begun["name"]})

    row = only_row()
    assert (row.section, row.model_name, row.success) == ("chat", "veo-3.1", True)
    assert row.metadata["unknown"] == "no usage in the answer"


def test_job_that_does_not_exist_is_no_call(kind: Kind, url: str) -> None:
    job = kind.begin(url, "")
    with pytest.raises(Exception, match=r"404|not found"):
        kind.poll(url, job[:-4] + "none")

    assert len(rows()) == 1


def test_remixed_video_is_a_call_of_its_own(url: str) -> None:
    with gpt(url) as client:
        made = client.videos.create(prompt="A cat [stub queued=0]", model="sora-2")
        client.videos.retrieve(made.id)
        client.videos.remix(made.id, prompt="A dog")
        with pytest.raises(Exception, match="404"):
            client.videos.download_content(made.id)

    assert len(rows()) == 2


def test_site_s_own_service_on_such_a_path_is_no_call(settings: Settings) -> None:
    """A path alone is never enough on a host that is not known."""
    settings.AI_USAGE_GATEWAYS = {}
    answers: dict[str, Any] = {
        "/videos/7": {"id": 7, "title": "A cat", "status": "completed", "duration": 8},
        "/api/predictions/3": {"id": "3", "status": "succeeded", "model": "arima", "value": 0.5},
        "/crm/interactions/4": {
            "id": "4",
            "status": "completed",
            "agent": "Bob",
            "created": "2026",
        },
        "/forum/threads/1/runs/2": {"id": "2", "status": "completed", "created_at": 1747000000},
        "/models/a/operations/b": {"name": "b", "done": True},
        "/async-invoke/x": {"invocationArn": "x", "status": "Completed"},
        "/ai/run/report": {"result": 7, "success": True},
        "/tasks/3": {"id": "3", "status": "SUCCEEDED", "createdAt": "2026-11-27T10:00:00Z"},
    }

    def answer(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, json=answers[request.url.path])

    with httpx.Client(transport=httpx.MockTransport(answer), base_url="https://me.test") as client:
        for path in answers:
            assert client.get(path).json() == answers[path]
        client.post("/ai/run/report")

    assert rows() == []


def test_requests_that_cloudflare_queues_are_one_call(user: User) -> None:
    """They are asked for with the path that has begun them."""
    usage = {"prompt_tokens": 200, "completion_tokens": 40, "total_tokens": 240}
    results: list[dict[str, Any]] = [
        {"status": "queued", "request_id": "r-1", "model": "@cf/meta/llama-3.1-8b-instruct"},
        {"status": "running", "request_id": "r-1"},
        *[{"responses": [{"id": 0, "result": {"response": "Hi"}}], "usage": usage}] * 2,
    ]
    answers = iter(
        [{"result": result, "success": True, "errors": [], "messages": []} for result in results]
    )

    def answer(_request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, json=next(answers))

    run = "https://api.cloudflare.com/client/v4/accounts/a/ai/run/@cf/meta/llama-3.1-8b-instruct"
    with httpx.Client(transport=httpx.MockTransport(answer)) as client:
        with ai_usage(section="chat", user=user):
            client.post(f"{run}?queueRequest=true", json={"requests": [{"prompt": "Hello"}]})
        assert only_row().metadata["unknown"] in IN_PROGRESS
        with ai_usage(section="rag_pipeline"):
            for _ in range(3):
                client.post(f"{run}?queueRequest=true", json={"request_id": "r-1"})

    row = only_row()
    assert attributed(row) == ("ada", "chat")
    assert (row.prompt_tokens, row.completion_tokens) == (200, 40)
    assert row.model_name == "@cf/meta/llama-3.1-8b-instruct"
    assert_in_step()
