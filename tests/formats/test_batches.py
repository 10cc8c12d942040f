"""Readers of batches and of their results, with answers in the documented shapes."""

from __future__ import annotations

import json
from collections.abc import Iterable
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.wire import event_of, make_case
from usage_tracking.events import UsageEvent
from usage_tracking.formats import READERS
from usage_tracking.formats.batches.long_lines import MAX_LINE, LongLines
from usage_tracking.formats.batches.reader import ResultsReader
from usage_tracking.formats.batches.rows import STEPS, Batch, part_of
from usage_tracking.formats.reader import Reader
from usage_tracking.pricing import data, quote

# https://developers.openai.com/api/reference/resources/batches/methods/retrieve
OPENAI = {
    "id": "batch_abc123",
    "object": "batch",
    "endpoint": "/v1/completions",
    "model": "gpt-5-2025-08-07",
    "errors": None,
    "input_file_id": "file-abc123",
    "completion_window": "24h",
    "status": "completed",
    "output_file_id": "file-cvaTdG",
    "error_file_id": "file-HOWS94",
    "created_at": 1711471533,
    "request_counts": {"total": 100, "completed": 95, "failed": 5},
    "usage": {
        "input_tokens": 1500,
        "input_tokens_details": {"cached_tokens": 1024},
        "output_tokens": 500,
        "output_tokens_details": {"reasoning_tokens": 300},
        "total_tokens": 2000,
    },
    "metadata": {"customer_id": "user_123456789"},
}


def read(
    wire_format: str, answer: dict[str, Any], path: str = "", body: Any = None
) -> list[Reader]:
    reader = READERS[wire_format]()
    reader.body(answer)
    reader.asked(path, body)
    return list(reader.parts)


def results(wire_format: str, lines: Iterable[Any], path: str = "") -> list[Reader]:
    reader = READERS[wire_format]()
    assert isinstance(reader, ResultsReader)
    reader.batch = Batch("b1")
    split = reader.splitter()
    content = b"".join(json.dumps(line).encode() + b"\n" for line in lines)
    for line in (*split.feed(content), *split.end()):
        reader.feed(line)
    reader.end()
    if path:
        reader.asked(path, None)
    return list(reader.parts)


def one(parts: list[Reader]) -> Reader:
    (part,) = parts
    return part


def ended(part: Reader) -> bool:
    return part.job is not None and part.job.ended


def tokens(part: Reader) -> tuple[int | None, int | None]:
    assert part.usage is not None
    return part.usage.prompt_tokens, part.usage.completion_tokens


class TestOpenAI:
    def test_completed(self) -> None:
        part = one(read("batch", OPENAI))

        assert ended(part)
        assert tokens(part) == (1500, 500)
        assert part.usage is not None
        assert (part.usage.cached_tokens, part.usage.reasoning_tokens) == (1024, 300)
        assert (part.model, part.error) == ("gpt-5-2025-08-07", "")
        assert part.facts["batch"] == {"id": "batch_abc123", "completed": 95, "failed": 5}

    @pytest.mark.parametrize("status", ["validating", "in_progress", "finalizing", "cancelling"])
    def test_in_progress(self, status: str) -> None:
        part = one(read("batch", {**OPENAI, "status": status, "usage": None}))

        assert not ended(part)
        assert part.facts["batch"] == {"id": "batch_abc123"}

    def test_input_that_was_refused(self) -> None:
        error = {"code": "invalid_json_line", "line": 2, "message": "Line 2 is not JSON."}
        answer = {
            **OPENAI,
            "status": "failed",
            "errors": {"object": "list", "data": [error]},
            "request_counts": {"total": 0, "completed": 0, "failed": 0},
            "usage": None,
        }
        part = one(read("batch", answer))

        assert ended(part)
        assert part.error == "batch failed: Line 2 is not JSON."

    def test_expired_batch_has_what_was_made(self) -> None:
        part = one(read("batch", {**OPENAI, "status": "expired"}))

        assert part.error == "batch expired: 95 of 100 requests completed"
        assert (tokens(part), part.complete) == ((1500, 500), True)

    def test_batch_in_which_everything_failed(self) -> None:
        counts = {"total": 2, "completed": 0, "failed": 2}
        answer = {**OPENAI, "usage": None, "output_file_id": None, "request_counts": counts}

        assert one(read("batch", answer)).error == "all 2 requests failed"

    def test_sum_of_nothing_is_left_to_the_results(self) -> None:
        usage = {"input_tokens": 0, "output_tokens": 0, "total_tokens": 0}
        part = one(read("batch", {**OPENAI, "usage": usage}))

        assert (part.usage, part.no_usage) == (None, "batch ended; its results were not read yet")

    def test_together(self) -> None:
        # https://docs.together.ai/reference/batch-create
        job = {
            "id": "01234567-8901-2345-6789-012345678901",
            "input_file_id": "file-input123abc456def",
            "status": "IN_PROGRESS",
            "created_at": "2024-01-15T14:30:00Z",
            "endpoint": "/v1/chat/completions",
            "model_id": "meta-llama/Meta-Llama-3.1-8B-Instruct-Turbo",
            "output_file_id": "file-output789xyz012ghi",
        }
        begun = one(read("batch", {"job": job, "warning": ""}))
        reader = READERS["batch"]()
        reader.body({**job, "status": "COMPLETED"})
        end = one(list(reader.parts))

        assert begun.job is not None
        assert end.job == begun.job._replace(ended=True)
        assert begun.model == job["model_id"]
        assert end.no_usage == "batch ended; its results were not read yet"

    def test_other_answer_is_no_batch(self) -> None:
        for answer in ({}, {"id": 7}, {"status": "ok"}, {"data": [OPENAI], "object": "list"}):
            assert read("batch", answer) == []

    def test_results_of_every_endpoint(self) -> None:
        chat = {
            "object": "chat.completion",
            "model": "m",
            "choices": [],
            "usage": {"prompt_tokens": 10, "completion_tokens": 1},
        }
        response = {
            "object": "response",
            "model": "m",
            "usage": {"input_tokens": 20, "output_tokens": 2},
            "output": [{"type": "web_search_call", "status": "completed"}],
        }
        vectors = {
            "object": "list",
            "data": [{"embedding": [0.5] * 20_000}],
            "model": "m",
            "usage": {"prompt_tokens": 40, "total_tokens": 40},
        }
        image = {"data": [{"b64_json": ""}], "usage": {"input_tokens": 80, "output_tokens": 3}}
        part, other = results(
            "openai.batch_results",
            (
                {"custom_id": "1", "response": {"status_code": 200, "body": body}, "error": None}
                for body in (chat, response, vectors, image)
            ),
        )

        assert (tokens(other), other.model) == ((70, 3), "m")
        assert (tokens(part), part.model) == ((80, 3), "")
        assert other.usage is not None
        assert other.usage.details["web_searches"] == 1


class TestResults:
    """What all files with results have in common."""

    def chat(self, number: int, **body: Any) -> dict[str, Any]:
        usage = {"prompt_tokens": number, "completion_tokens": 1}
        answer = {"object": "chat.completion", "model": "gpt-4o", "choices": [], "usage": usage}
        return {"response": {"status_code": 200, "body": answer | body}, "error": None}

    def test_requests_of_like_size_are_summed_apart(self) -> None:
        part = one(
            results("openai.batch_results", map(self.chat, (10, 20, 272_000, 272_001, 300_000)))
        )

        assert part.usage is not None
        found = part.usage.details["iterations"]
        assert [(each["requests"], each["input_tokens"]) for each in found] == [
            (2, 30),
            (1, 272_000),
            (2, 572_001),
        ]

    def test_steps_are_those_of_the_price_table(self) -> None:
        found = set(steps(data.load().providers))

        assert found <= set(STEPS)
        assert {200_000, 272_000} <= found

    def test_failed_requests_are_counted(self) -> None:
        refused = {"response": {"status_code": 429, "body": {"error": {"message": "slow"}}}}
        expired = {"response": None, "error": {"code": "batch_expired", "message": "too late"}}
        part = one(results("openai.batch_results", [self.chat(10), refused, expired]))

        assert part.facts["batch"] == {"id": "b1", "completed": 1, "failed": 2}
        assert part.error == ""

    def test_line_that_is_not_json_is_a_failed_request(self) -> None:
        reader = READERS["openai.batch_results"]()
        assert isinstance(reader, ResultsReader)
        reader.batch = Batch("b1")
        for line in (b"<html>", b"[1]", json.dumps(self.chat(10)).encode()):
            reader.feed(line)
        reader.end()

        assert one(list(reader.parts)).facts["batch"]["failed"] == 1

    @pytest.mark.parametrize("length", [100, 20_000, MAX_LINE, 3 * MAX_LINE])
    def test_long_answers_are_counted(self, length: int) -> None:
        said = '{"usage": {"prompt_tokens": 7}, "model": "x"} "usage": {' + "ä" * length
        choice = {"message": {"content": said}}
        lines = [self.chat(10, choices=[choice]), self.chat(20)]
        for line in lines:
            body = line["response"]["body"]
            body["usage"] = body.pop("usage")  # it comes last
        part = one(results("openai.batch_results", lines))

        assert (tokens(part), part.model) == ((30, 2), "gpt-4o")

    def test_searches_in_a_long_answer_have_no_known_price(self) -> None:
        body = {
            "object": "response",
            "model": "m",
            "output": [{"type": "web_search_call"}, {"text": "a" * 3 * MAX_LINE}],
            "usage": {"input_tokens": 20, "output_tokens": 2},
        }
        line = {"response": {"status_code": 200, "body": body}}

        assert one(results("openai.batch_results", [line])).price_facts["answer"] == "too_long"

    def test_moderations_are_free(self) -> None:
        reader = READERS["batch"]()
        reader.body({"id": "b1", "object": "batch", "status": "x", "endpoint": "/v1/moderations"})

        assert reader.parts == ()

    @pytest.mark.parametrize("length", [100, 3 * MAX_LINE])
    def test_pages_are_counted(self, length: int) -> None:
        """Mistral's batches have other endpoints than chat."""
        body = {
            "pages": [{"index": 0, "markdown": "a" * length}],
            "model": "mistral-ocr-2512",
            "document_annotation": None,
            "usage_info": {"pages_processed": 3},
        }
        line = {"response": {"status_code": 200, "body": body}}
        part = one(results("openai.batch_results", [line, line]))

        assert part.usage is not None
        assert (part.usage.units["input_document_pages"], part.model) == (6, "mistral-ocr-2512")
        assert "answer" not in part.price_facts

    def test_tools_of_conversations_are_counted(self) -> None:
        body = {
            "object": "conversation.response",
            "outputs": [{"type": "message.output", "model": "mistral-medium-2508"}],
            "usage": {"prompt_tokens": 9, "completion_tokens": 4, "connectors": {"web_search": 2}},
        }
        part = one(
            results("openai.batch_results", [{"response": {"status_code": 200, "body": body}}])
        )

        assert part.usage is not None
        assert (tokens(part), part.usage.units["web_searches"]) == ((9, 4), 2)
        assert part.model == "mistral-medium-2508"

    def test_answers_without_a_model_are_those_of_the_batch(self) -> None:
        reader = READERS["openai.batch_results"]()
        assert isinstance(reader, ResultsReader)
        reader.batch = Batch("b1", model="gpt-image-1")
        answer = {"data": [{}], "usage": {"input_tokens": 80, "output_tokens": 3}}
        reader.feed(json.dumps({"response": {"status_code": 200, "body": answer}}).encode())
        reader.end()
        part = one(list(reader.parts))

        assert (part.model, tokens(part)) == ("gpt-image-1", (80, 3))

    def test_part_of_a_file_is_no_end(self) -> None:
        reader = READERS["openai.batch_results"]()
        assert isinstance(reader, ResultsReader)
        reader.batch = Batch("b1")
        reader.head({"content-range": "bytes 0-99/1000"})
        reader.feed(json.dumps(self.chat(10)).encode())
        reader.end()

        assert reader.parts == ()


class TestAnthropic:
    BATCH = {
        "id": "msgbatch_013Zva2CMHLNnXjNJJKqJ2EF",
        "type": "message_batch",
        "processing_status": "in_progress",
        "request_counts": {
            "processing": 3,
            "succeeded": 0,
            "errored": 0,
            "canceled": 0,
            "expired": 0,
        },
        "ended_at": None,
        "created_at": "2024-09-24T18:37:24.100435Z",
        "results_url": None,
    }
    PATH = f"/v1/messages/batches/{BATCH['id']}/results"

    def submit(self, *models: str) -> list[Reader]:
        requests = [{"custom_id": "1", "params": {"model": model}} for model in models]
        body = json.dumps({"requests": requests}).encode()
        return read("anthropic.batch", self.BATCH, "/v1/messages/batches", body)

    def message(self, model: str, **usage: Any) -> dict[str, Any]:
        counts = {"input_tokens": 10, "output_tokens": 5, "service_tier": "batch"} | usage
        message = {"type": "message", "role": "assistant", "model": model, "usage": counts}
        return {"custom_id": "1", "result": {"type": "succeeded", "message": message}}

    @pytest.mark.parametrize(
        ("requested", "answered"),
        [
            ("claude-sonnet-4-5", "claude-sonnet-4-5-20250929"),
            ("claude-opus-4-0", "claude-opus-4-20250514"),
            ("claude-3-5-haiku-latest", "claude-3-5-haiku-20241022"),
            ("anthropic/claude-haiku-4-5", "claude-haiku-4-5-20251001"),
            ("claude-opus-5", "claude-opus-5"),
        ],
    )
    def test_alias_and_answering_model_are_one(self, requested: str, answered: str) -> None:
        assert part_of(requested) == part_of(answered)

    def test_ends_meet_their_beginnings(self) -> None:
        begun = self.submit("claude-sonnet-4-5", "claude-haiku-4-5", "claude-haiku-4-5")
        lines = [
            self.message("claude-sonnet-4-5-20250929"),
            self.message("claude-haiku-4-5-20251001", cache_read_input_tokens=30),
        ]
        end = results("anthropic.batch_results", lines, self.PATH)

        assert [(part.job.id, part.job.part) for part in begun if part.job] == [
            (part.job.id, part.job.part) for part in end if part.job
        ]
        assert [part.model for part in begun] == ["claude-haiku-4-5", "claude-sonnet-4-5"]
        assert list(map(tokens, end)) == [(40, 5), (10, 5)]

    def test_batch_whose_models_were_not_read_is_one_row(self) -> None:
        (begun,) = read("anthropic.batch", self.BATCH, "/v1/messages/batches", None)
        end = one(results("anthropic.batch_results", [self.message("claude-haiku-4-5")], self.PATH))

        assert begun.job is not None
        assert end.job is not None
        assert begun.job.part == end.job.part

    def test_gateway_may_answer_with_other_names(self) -> None:
        reader = READERS["anthropic.batch_results"]()
        assert isinstance(reader, ResultsReader)
        reader.requested = ("our-model",)
        reader.feed(json.dumps(self.message("claude-haiku-4-5")).encode())
        reader.end()
        reader.asked(self.PATH, None)

        assert one(list(reader.parts)).model == "claude-haiku-4-5"

    def test_models_of_a_large_submission(self) -> None:
        tool = {"type": "tool_use", "input": {"model": "T"}}
        said = json.dumps({"model": "claude-in-text"})
        request = {
            "custom_id": "1",
            "params": {
                "model": "claude-haiku-4-5",
                "messages": [{"content": [tool, {"text": said * 1000}]}],
            },
        }
        body = json.dumps({"requests": [request] * 50}).encode()
        assert len(body) > 1024 * 1024
        parts = read("anthropic.batch", self.BATCH, "/v1/messages/batches", body)

        assert [part.model for part in parts] == ["claude-haiku-4-5"]

    def test_results_of_all_kinds(self) -> None:
        error = {"type": "invalid_request_error", "message": "max_tokens: required"}
        lines = [
            self.message("claude-haiku-4-5"),
            {"result": {"type": "errored", "error": {"type": "error", "error": error}}},
            {"result": {"type": "expired"}},
            {"result": {"type": "expired"}},
        ]
        part = one(results("anthropic.batch_results", lines, self.PATH))

        assert (part.error, tokens(part)) == ("batch expired: 2 of 4 requests", (10, 5))
        assert part.facts["batch"] == {"id": self.BATCH["id"], "completed": 1, "failed": 3}

    def test_facts_of_the_price_that_differ_are_named(self) -> None:
        there, anywhere = "us", "global"
        lines = [self.message("m", inference_geo=geo) for geo in (there, anywhere)]
        mixed = one(results("anthropic.batch_results", lines, self.PATH))
        same = one(results("anthropic.batch_results", lines[:1] * 2, self.PATH))

        assert mixed.price_context == {"processing": "batch", "inference_geo": "mixed"}
        assert same.price_context == {"processing": "batch", "inference_geo": "us"}

    def test_fallback_models_keep_their_own_counts(self) -> None:
        iterations = [
            {"type": "message", "input_tokens": 10, "output_tokens": 5},
            {"type": "advisor", "model": "other", "input_tokens": 100, "output_tokens": 50},
        ]
        line = self.message("m", iterations=iterations)
        part = one(results("anthropic.batch_results", [line, line], self.PATH))

        assert part.usage is not None
        found = {each.get("model", ""): each for each in part.usage.details["iterations"]}
        assert {name: (each["input_tokens"], each["requests"]) for name, each in found.items()} == {
            "": (20, 2),
            "other": (200, 2),
        }

    def test_poll_at_the_end(self) -> None:
        counts = {"processing": 0, "succeeded": 50, "errored": 30, "canceled": 10, "expired": 0}
        batch = {**self.BATCH, "processing_status": "ended", "request_counts": counts}
        part = one(read("anthropic.batch", batch))

        assert part.facts["batch"] == {"id": batch["id"], "completed": 50, "failed": 40}
        assert part.error == "batch canceled: 10 of 90 requests"


class TestGemini:
    def batch(self, state: str, **members: Any) -> dict[str, Any]:
        about = {
            "@type": "type.googleapis.com/google.ai.generativelanguage.v1main.GenerateContentBatch",
            "model": "models/gemini-2.5-flash",
            "createTime": "2025-07-08T13:45:10.123456789Z",
            "batchStats": {"requestCount": "2", "successfulRequestCount": "2"},
            "state": f"BATCH_STATE_{state}",
            "name": "batches/123",
        }
        return {"name": "batches/123", "metadata": about | members.pop("metadata", {}), **members}

    @pytest.mark.parametrize("state", ["PENDING", "RUNNING"])
    def test_in_progress(self, state: str) -> None:
        for wire_format in ("batch", "gemini.batch"):
            part = one(read(wire_format, self.batch(state)))

            assert not ended(part)
            assert part.model == "gemini-2.5-flash"

    def test_results_that_the_metadata_repeats_count_once(self) -> None:
        usage = {"promptTokenCount": 8, "candidatesTokenCount": 3, "thoughtsTokenCount": 20}
        answer = {"candidates": [{}], "usageMetadata": usage, "modelVersion": "gemini-2.5-flash"}
        output = {"inlinedResponses": {"inlinedResponses": [{"response": answer}] * 2}}
        part = one(
            read("batch", self.batch("SUCCEEDED", metadata={"output": output}, response=output))
        )

        assert tokens(part) == (16, 46)
        assert part.facts["batch"] == {"id": "123", "completed": 2, "failed": 0}

    def test_embeddings(self) -> None:
        answers = [{"response": {"embedding": {"values": [0.5]}, "tokenCount": "7"}}] * 2
        output = {"inlinedEmbedContentResponses": {"inlinedResponses": answers}}
        part = one(read("batch", self.batch("SUCCEEDED", response=output)))

        assert tokens(part) == (14, None)

    @pytest.mark.parametrize("state", ["FAILED", "CANCELLED", "EXPIRED"])
    def test_batch_that_did_not_succeed(self, state: str) -> None:
        error = {"code": 13, "message": "No."}
        part = one(read("batch", self.batch(state, error=error)))

        assert part.error.startswith(f"batch {state.lower()}: ")


class TestLongBatchOfGemini:
    """Inline results of more than 8 MB, of which the beginning and the end are kept."""

    URL = "https://generativelanguage.googleapis.com/v1beta/batches/b1"

    def event(self, *results: dict[str, Any], state: str = "SUCCEEDED") -> UsageEvent:
        output = {"inlinedResponses": {"inlinedResponses": results}}
        about = {
            "model": "models/gemini-2.5-pro",
            "output": output,
            "batchStats": {"successfulRequestCount": "2", "failedRequestCount": "1"},
            "state": f"BATCH_STATE_{state}",
        }
        answer = {"name": "batches/b1", "metadata": about, "done": True, "response": output}
        return event_of({**make_case(self.URL, answer), "method": "GET"})

    def result(self, prompt: int, **more: Any) -> dict[str, Any]:
        said = '"usageMetadata": {"promptTokenCount": 7}' + "A" * 3_000_000
        usage = {"promptTokenCount": prompt, "candidatesTokenCount": 10}
        content = {"content": {"parts": [{"text": said}]}, **more}
        return {"response": {"candidates": [content], "usageMetadata": usage}}

    def test_repeated_results_are_counted_once(self) -> None:
        event = self.event(self.result(150_000), {"error": {"code": 3}}, self.result(250_000))

        assert (event.model_name, event.prompt_tokens) == ("gemini-2.5-pro", 400_000)
        assert event.completion_tokens == 20
        assert event.metadata["batch"] == {"id": "b1", "completed": 2, "failed": 1}
        # https://ai.google.dev/gemini-api/docs/pricing: 0.625 and 5 USD, above 200k 1.25 and 7.5
        expected = Decimal("0.09375") + Decimal("0.3125") + Decimal("0.00005") + Decimal("0.000075")
        assert quote(event).cost == expected

    def test_searches_have_no_known_price(self) -> None:
        event = self.event(self.result(9, groundingMetadata={"webSearchQueries": ["a"]}))

        assert event.prompt_tokens == 9
        assert quote(event).cost is None

    def test_batch_that_expired_has_what_was_made(self) -> None:
        event = self.event(self.result(9), self.result(9), state="EXPIRED")

        assert (event.success, event.error_message) == (False, "batch expired")
        assert event.prompt_tokens == 18


class TestMistral:
    # https://docs.mistral.ai/api/endpoint/batch
    JOB = {
        "id": "b_5b7e",
        "object": "batch",
        "input_files": ["5b7e"],
        "endpoint": "/v1/chat/completions",
        "model": "mistral-small-latest",
        "output_file": None,
        "errors": [],
        "status": "QUEUED",
        "created_at": 1728000000,
        "total_requests": 2,
        "completed_requests": 0,
        "succeeded_requests": 0,
        "failed_requests": 0,
    }

    def test_job(self) -> None:
        begun = one(read("mistral.batch", self.JOB))
        done = {"status": "SUCCESS", "output_file": "o", "succeeded_requests": 2}
        end = one(read("mistral.batch", {**self.JOB, **done}))

        assert begun.job is not None
        assert end.job == begun.job._replace(ended=True)
        assert end.facts["batch"] == {"id": "b_5b7e", "completed": 2, "failed": 0}

    def test_inline_outputs(self) -> None:
        body = {"model": "m", "choices": [], "usage": {"prompt_tokens": 4, "completion_tokens": 2}}
        outputs = [{"custom_id": "1", "response": {"status_code": 200, "body": body}}] * 2
        done = {"status": "TIMEOUT_EXCEEDED", "succeeded_requests": 2, "outputs": outputs}
        part = one(read("mistral.batch", {**self.JOB, **done, "total_requests": 9}))

        assert tokens(part) == (8, 4)
        assert part.error == "batch timeout_exceeded: 2 of 9 requests completed"


def test_xai() -> None:
    state = {"num_requests": 2, "num_pending": 1, "num_success": 1, "num_error": 0}
    batch = {"batch_id": "b1", "name": "n", "create_time": "2026-01-01T00:00:00Z", "state": state}
    new = one(read("batch", {**batch, "state": dict.fromkeys(state, 0)}))
    begun = one(read("batch", batch))
    done = {**batch, "state": {**state, "num_pending": 0, "num_success": 2}}
    end = one(read("batch", {**done, "cost_breakdown": {"total_cost_usd_ticks": 12_500_000}}))

    assert [ended(part) for part in (new, begun, end)] == [False, False, True]
    assert end.usage is not None
    assert end.usage.cost == Decimal("0.00125")
    assert end.facts["batch"] == {"id": "b1", "completed": 2, "failed": 0}


class TestStored:
    """Batches whose results no answer has."""

    def test_vertex(self) -> None:
        job = {
            "name": "projects/p/locations/us-central1/batchPredictionJobs/123",
            "model": "publishers/google/models/gemini-2.5-flash",
            "createTime": "2025-07-08T13:45:10.123456Z",
            "state": "JOB_STATE_PENDING",
        }
        stats = {"successfulCount": "10", "incompleteCount": "-1"}
        begun = one(read("vertex.batch", job))
        end = one(
            read("vertex.batch", {**job, "state": "JOB_STATE_SUCCEEDED", "completionStats": stats})
        )

        assert begun.job is not None
        assert end.job == begun.job._replace(ended=True)
        assert end.no_usage == "batch ended; its results are in Cloud Storage or BigQuery"
        assert (end.model, end.facts["batch"]) == (
            "gemini-2.5-flash",
            {"id": "123", "completed": 10},
        )

    def test_bedrock(self) -> None:
        job = {"jobArn": "arn:aws:bedrock:us-west-2:1:model-invocation-job/abc"}
        body = json.dumps({"modelId": "amazon.nova-lite-v1:0"}).encode()
        begun = one(read("bedrock.batch", job, "/model-invocation-job", body))
        end = one(read("bedrock.batch", {**job, "status": "Failed", "message": "No role."}))

        assert begun.job is not None
        assert end.job is not None
        assert (begun.job.id, begun.job.part) == (end.job.id, end.job.part)
        assert (begun.model, end.error) == ("amazon.nova-lite-v1:0", "batch failed: No role.")


@given(st.lists(st.integers(0, 300_000), max_size=5), st.lists(st.integers(1, 100_000), min_size=1))
def test_lines_are_the_same_wherever_the_network_cuts_them(
    lengths: list[int], cuts: list[int]
) -> None:
    content = b"".join(b"%d" % n + b"x" * n + b"y\n" for n in lengths) + b"last"
    split = LongLines()
    found: list[bytes] = []
    at, turn = 0, 0
    while at < len(content):
        size = cuts[turn % len(cuts)] if len(cuts) > 1 else max(cuts[0], 1000)
        found += split.feed(content[at : at + max(size, 500)])
        at, turn = at + max(size, 500), turn + 1
    found += split.end()

    assert len(found) == len(lengths) + 1
    for line, length in zip(found, lengths, strict=False):
        assert line.startswith(b"%d" % length)
        assert line.endswith(b"y")
        assert (len(line) < length) == (b"\n" in line)


def steps(prices: Any) -> Iterable[int]:
    """Yield the sizes at which some price in the table changes."""
    if isinstance(prices, dict):
        for value in prices.values():
            yield from steps(value)
    elif isinstance(prices, list):
        for each in prices:
            is_step = isinstance(each, list) and len(each) == 2 and prices.index(each) > 0
            if is_step and all(isinstance(number, (int, float)) for number in each):
                yield each[0]
            else:
                yield from steps(each)
