"""The wire formats of the stub whose SDKs are tried elsewhere (tests/sdks): what it says is what
its journal says, and it is asked for trouble in the same words.
"""

from __future__ import annotations

import base64
import json
import struct
from collections.abc import Iterator
from itertools import product
from typing import Any, NamedTuple
from zlib import crc32

import openai
import pytest
import requests
from genai_prices import Usage, calc_price
from google import genai

from project.stub import Served, StubProvider
from project.stub.cohere_wire import PREAMBLE

BOUNDARY = "0123"


@pytest.fixture(autouse=True)
def _capture_off(settings: Any) -> None:
    settings.AI_USAGE_ENABLED = False


@pytest.fixture(scope="module")
def running() -> Iterator[StubProvider]:
    with StubProvider() as provider:
        yield provider


@pytest.fixture
def stub(running: StubProvider) -> StubProvider:
    running.clear()
    return running


@pytest.fixture
def openai_client(stub: StubProvider) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=stub.openai_url, api_key="any", max_retries=0) as client:
        yield client


def only(stub: StubProvider) -> Served:
    (served,) = stub.journal
    return served


def messages(prompt: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": prompt}]


def chat(prompt: str, **more: Any) -> dict[str, Any]:
    return {"model": "m", "messages": messages(prompt), **more}


def bedrock_chat(prompt: str) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": [{"text": prompt}]}]}


def claude_chat(prompt: str) -> dict[str, Any]:
    version = "bedrock-2023-05-31"
    return {"anthropic_version": version, "max_tokens": 9, "messages": messages(prompt)}


class Frame(NamedTuple):
    headers: dict[str, str]
    payload: Any


def frames(data: bytes) -> Iterator[Frame]:
    """An AWS event stream, read strictly."""
    while data:
        total, head_length, prelude_sum = struct.unpack(">III", data[:12])
        assert prelude_sum == crc32(data[:8])
        assert struct.unpack(">I", data[total - 4 : total])[0] == crc32(data[: total - 4])
        head, payload = data[12 : 12 + head_length], data[12 + head_length : total - 4]
        headers = {}
        while head:
            name, head = head[1 : 1 + head[0]], head[1 + head[0] :]
            kind, length = struct.unpack(">BH", head[:3])
            assert kind == 7
            headers[name.decode()] = head[3 : 3 + length].decode()
            head = head[3 + length :]
        yield Frame(headers, json.loads(payload))
        data = data[total:]


def chunks_of(data: bytes) -> list[Any]:
    return [json.loads(base64.b64decode(frame.payload["bytes"])) for frame in frames(data)]


def events(answer: requests.Response) -> list[Any]:
    if "eventstream" in answer.headers["Content-Type"]:
        return [frame.payload for frame in frames(answer.content)]
    lines = answer.text.splitlines()
    if "event-stream" in answer.headers["Content-Type"]:
        data = [line[6:] for line in lines if line.startswith("data: ")]
        return [json.loads(line) for line in data if line != "[DONE]"]
    return [json.loads(line) for line in lines]


class Format(NamedTuple):
    """One endpoint: where it is, what it is asked, and how its answers tell their counts."""

    path: str
    ask: Any
    usage: Any
    streamed: Any = None


def of_usage(data: Any) -> Any:
    return data["usage"]["prompt_tokens"], data["usage"]["completion_tokens"]


def of_groq(data: Any) -> Any:
    return of_usage(data["x_groq"])


def of_cohere(usage: Any) -> Any:
    billed, counted = usage["billed_units"], usage["tokens"]
    assert counted["input_tokens"] == billed["input_tokens"] + PREAMBLE
    return billed["input_tokens"], billed["output_tokens"]


def of_converse(data: Any) -> Any:
    usage = data["usage"]
    assert usage["totalTokens"] == usage["inputTokens"] + usage["outputTokens"]
    return usage["inputTokens"], usage["outputTokens"]


def of_ollama(data: Any) -> Any:
    assert data["done"]
    return data["prompt_eval_count"], data["eval_count"]


FORMATS = {
    "mistral": Format("mistral/v1/chat/completions", chat, of_usage, of_usage),
    "groq": Format("groq/openai/v1/chat/completions", chat, of_usage, of_groq),
    "openrouter": Format("openrouter/api/v1/chat/completions", chat, of_usage, of_usage),
    "hf": Format("hf/v1/chat/completions", chat, of_usage, of_usage),
    "cohere": Format(
        "cohere/v2/chat",
        chat,
        lambda data: of_cohere(data["usage"]),
        lambda data: of_cohere(data["delta"]["usage"]),
    ),
    "cohere-v1": Format(
        "cohere/v1/chat",
        lambda prompt, **more: {"message": prompt, **more},
        lambda data: of_cohere(data["meta"]),
        lambda data: of_cohere(data["response"]["meta"]),
    ),
    "ollama-chat": Format("ollama/api/chat", chat, of_ollama, of_ollama),
    "ollama-generate": Format(
        "ollama/api/generate",
        lambda prompt, **more: {"model": "m", "prompt": prompt, **more},
        of_ollama,
        of_ollama,
    ),
}
STREAM = {"stream": True, "stream_options": {"include_usage": True}}


def post(stub: StubProvider, path: str, body: Any) -> requests.Response:
    return requests.post(f"{stub.url}/{path}", json=body, timeout=60)


#: One of each kind of stream; how its bytes travel is not the business of a format.
FRAMINGS = ("mistral", "ollama-chat")


@pytest.mark.parametrize(
    ("name", "how"),
    [
        *product(FORMATS, [""]),
        *product(FRAMINGS, ["gzip", "fragments", "gzip fragments"]),
    ],
)
class TestFormats:
    def test_plain_reports_what_the_journal_says(self, stub, name, how):
        tried = FORMATS[name]
        body = tried.ask(f"Hello [stub {how}]", stream=False)
        answer = post(stub, tried.path, body)

        served = only(stub)
        assert tried.usage(answer.json()) == (served.prompt_tokens, served.completion_tokens)
        assert served.prompt_tokens
        assert served.completion_tokens
        assert served.completed
        assert not served.streamed
        assert "Hello" in answer.text

    def test_stream_reports_what_the_journal_says(self, stub, name, how):
        tried = FORMATS[name]
        answer = post(stub, tried.path, tried.ask(f"Hello [stub {how}]", **STREAM))

        served = only(stub)
        told = [event for event in events(answer) if _tells(tried.streamed, event)]
        assert tried.streamed(told[-1]) == (served.prompt_tokens, served.completion_tokens)
        assert len(events(answer)) > 3
        assert served.completed
        assert served.streamed


def _tells(read: Any, event: Any) -> bool:
    try:
        return bool(read(event))
    except (KeyError, TypeError, AssertionError):
        return False


class TestTrouble:
    def ask(self, stub: StubProvider, name: str, order: str, *, stream: bool) -> requests.Response:
        tried = FORMATS[name]
        stub.clear()
        how = STREAM if stream else {"stream": False}
        return post(stub, tried.path, tried.ask(f"Hello [stub {order}]", **how))

    @pytest.mark.parametrize("name", FORMATS)
    def test_status_is_answered(self, stub, name):
        for stream in (False, True):
            answer = self.ask(stub, name, "status=429", stream=stream)

            assert answer.status_code == 429, f"{stream=}"
            assert "429" in json.dumps(answer.json()), f"{stream=}"
            assert only(stub).failed, f"{stream=}"
            assert not only(stub).streamed, f"{stream=}"

    @pytest.mark.parametrize("name", FORMATS)
    def test_nousage_leaves_the_usage_out(self, stub, name):
        tried = FORMATS[name]
        plain = self.ask(stub, name, "nousage", stream=False).json()
        assert only(stub).prompt_tokens is None
        streamed = events(self.ask(stub, name, "nousage", stream=True))
        assert only(stub).prompt_tokens is None

        assert not _tells(tried.usage, plain)
        assert [event for event in streamed if _tells(tried.streamed, event)] == []

    @pytest.mark.parametrize("name", FORMATS)
    def test_error_in_the_body_is_informative(self, stub, name):
        for stream in (False, True):
            answer = self.ask(stub, name, "error_in_stream", stream=stream)

            assert answer.status_code == 200, f"{stream=}"
            assert "had an error" in answer.text, f"{stream=}"
            assert only(stub).failed, f"{stream=}"

    @pytest.mark.parametrize("name", FRAMINGS)
    def test_cut_breaks_the_answer_off(self, stub, name):
        for stream in (False, True):
            with pytest.raises(requests.RequestException):
                self.ask(stub, name, "cut=2", stream=stream)

            assert not only(stub).completed, f"{stream=}"
            assert only(stub).prompt_tokens is None, f"{stream=}"

    @pytest.mark.parametrize("name", ["mistral", "cohere-v1", "ollama-chat"])
    def test_garbage_cannot_be_parsed(self, stub, name):
        """One of each class that writes garbage of its own."""
        with pytest.raises(json.JSONDecodeError):
            self.ask(stub, name, "garbage", stream=False).json()
        with pytest.raises(json.JSONDecodeError):
            events(self.ask(stub, name, "garbage", stream=True))

    @pytest.mark.parametrize("name", ["mistral", "cohere", "ollama-chat"])
    def test_unsupported_directive_is_refused(self, stub, name):
        """One of each class that refuses orders of its own."""
        for stream in (False, True):
            answer = self.ask(stub, name, "reasoning=3", stream=stream)

            assert answer.status_code == 400, f"{stream=}"
            assert "reasoning" in answer.text, f"{stream=}"


class TestOthers:
    @pytest.mark.parametrize(
        ("path", "body", "read"),
        [
            (
                "mistral/v1/embeddings",
                {"model": "mistral-embed", "input": ["tea", "coffee"]},
                lambda data: data["usage"]["prompt_tokens"],
            ),
            (
                "cohere/v2/embed",
                {"model": "embed-v4.0", "texts": ["tea"], "embedding_types": ["float"]},
                lambda data: data["meta"]["billed_units"]["input_tokens"],
            ),
            (
                "ollama/api/embed",
                {"model": "all-minilm", "input": ["tea", "coffee"]},
                lambda data: data["prompt_eval_count"],
            ),
            (
                "bedrock/model/amazon.titan-embed-text-v2:0/invoke",
                {"inputText": "tea"},
                lambda data: data["inputTextTokenCount"],
            ),
            (
                "google/v1beta/models/gemini-embedding-001:embedContent",
                {"content": {"parts": [{"text": "tea"}]}},
                lambda data: data["usageMetadata"]["promptTokenCount"],
            ),
        ],
    )
    def test_embeddings_report_what_the_journal_says(self, stub, path, body, read):
        answer = post(stub, path, body)

        served = only(stub)
        assert served.operation == "embeddings"
        assert read(answer.json()) == served.prompt_tokens
        assert served.completion_tokens is None

    def test_google_embeds_batches(self, stub):
        client = genai.Client(api_key="any", http_options={"base_url": stub.google_url})
        answer: Any = client.models.embed_content(
            model="gemini-embedding-001",
            contents=["tea", "coffee"],
            config={"output_dimensionality": 8},
        )
        client.close()

        assert [len(embedding.values) for embedding in answer.embeddings] == [8, 8]
        assert answer.usage_metadata.prompt_token_count == only(stub).prompt_tokens
        assert only(stub).prompt == "tea\ncoffee"

    def test_rerank_is_billed_by_the_search(self, stub):
        body = {"model": "rerank-v3.5", "query": "tea", "documents": ["a", "b", "c"], "top_n": 2}
        answer = post(stub, "cohere/v2/rerank", body).json()

        assert [result["index"] for result in answer["results"]] == [0, 1]
        assert answer["meta"]["billed_units"] == {"search_units": 1}
        assert (only(stub).operation, only(stub).prompt_tokens) == ("rerank", None)

    def test_cohere_tells_what_was_cached(self, stub):
        answer = post(stub, "cohere/v2/chat", chat("Hello [stub cached=5]")).json()

        assert answer["usage"]["cached_tokens"] == only(stub).cached_tokens == 5

    def test_ollama_streams_unless_it_is_informative_not_to(self, stub):
        post(stub, "ollama/api/chat", chat("Hello"))

        assert only(stub).streamed

    def test_groq_adds_a_chunk_if_asked(self, stub):
        answer = post(stub, "groq/openai/v1/chat/completions", chat("Hello", **STREAM))

        *_, in_groq, last = events(answer)
        assert in_groq["x_groq"]["usage"] == last["usage"]
        assert last["choices"] == []

    @pytest.mark.parametrize("how", [{}, STREAM])
    def test_openrouter_names_the_cost(self, stub, how):
        answer = post(stub, "openrouter/api/v1/chat/completions", chat("Hello", **how))

        told = events(answer)[-1] if how else answer.json()
        assert told["usage"]["cost"] == only(stub).cost
        assert only(stub).cost

    def test_bad_request_is_refused(self, stub):
        bad = [
            ("bedrock/model/m/converse", {}),
            ("bedrock/model/anthropic.claude/invoke", chat("Hello")),
            ("cohere/v2/embed", {"model": "m"}),
            ("cohere/v1/chat", {"model": "m"}),
            ("google/v1beta/models/m:embedContent", {"content": {}}),
            ("google/v1beta/models/m:batchEmbedContents", {"requests": "many"}),
            ("ollama/api/generate", {"model": "m"}),
            ("openai/v1/images/generations", {"model": "m"}),
            ("openai/v1/completions", {"model": "m"}),
        ]
        told = [(path, post(stub, path, body).status_code) for path, body in bad]

        assert [(path, status) for path, status in told if status != 400] == []


class TestBedrock:
    MODEL = "us.anthropic.claude-haiku-4-5-20251001-v1:0"

    def test_converse_reports_what_the_journal_says(self, stub):
        path = f"bedrock/model/{self.MODEL.replace(':', '%3A')}/converse"
        answer = post(stub, path, bedrock_chat("Hello")).json()

        served = only(stub)
        assert of_converse(answer) == (served.prompt_tokens, served.completion_tokens)
        assert served.requested_model == self.MODEL
        assert (served.model, served.provider) == ("", "aws")

    @pytest.mark.parametrize("how", ["", "fragments"])
    def test_converse_stream_reports_what_the_journal_says(self, stub, how):
        answer = post(stub, "bedrock/model/m/converse-stream", bedrock_chat(f"Hello [stub {how}]"))

        served = only(stub)
        *_, last = frames(answer.content)
        assert last.headers[":event-type"] == "metadata"
        assert of_converse(last.payload) == (served.prompt_tokens, served.completion_tokens)
        assert served.streamed
        assert served.completed

    def test_converse_counts_the_cache_apart(self, stub):
        asked = bedrock_chat("Hello [stub cached=100 cache_write=7]")
        usage = post(stub, "bedrock/model/m/converse", asked).json()["usage"]

        served = only(stub)
        assert usage["inputTokens"] == (served.prompt_tokens or 0) - 107
        assert (usage["cacheReadInputTokens"], usage["cacheWriteInputTokens"]) == (100, 7)
        assert (served.cached_tokens, served.cache_write_tokens) == (100, 7)

    @pytest.mark.parametrize(
        ("model", "body"),
        [
            (MODEL, claude_chat("Hello")),
            ("meta.llama3-1-8b-instruct-v1:0", {"prompt": "Hello"}),
            ("cohere.command-text-v14", {"prompt": "Hello"}),
        ],
    )
    def test_invoke_tells_counts_in_headers_and_at_the_end_of_a_stream(self, stub, model, body):
        answer = post(stub, f"bedrock/model/{model}/invoke", body)
        stream = post(stub, f"bedrock/model/{model}/invoke-with-response-stream", body)

        plain, streamed = stub.journal
        counts = (plain.prompt_tokens, plain.completion_tokens)
        assert counts == (streamed.prompt_tokens, streamed.completion_tokens)
        assert counts == tuple(
            int(answer.headers[f"x-amzn-bedrock-{side}-token-count"])
            for side in ("input", "output")
        )
        metrics = chunks_of(stream.content)[-1]["amazon-bedrock-invocationMetrics"]
        assert counts == (metrics["inputTokenCount"], metrics["outputTokenCount"])
        assert "Hello" in answer.text

    def test_invoke_of_claude_names_model_and_id(self, stub):
        answer = post(stub, f"bedrock/model/{self.MODEL}/invoke", claude_chat("Hello")).json()

        served = only(stub)
        assert answer["model"] == served.model == "claude-haiku-4-5-20251001"
        assert answer["id"] == served.response_id
        assert answer["usage"]["output_tokens"] == served.completion_tokens

    def test_status_names_its_type_in_a_header(self, stub):
        answer = post(stub, "bedrock/model/m/converse", bedrock_chat("[stub status=429]"))

        assert answer.status_code == 429
        assert answer.headers["x-amzn-ErrorType"].startswith("ThrottlingException:")

    def test_error_in_stream_is_an_exception_frame(self, stub):
        asked = bedrock_chat("Hello [stub error_in_stream]")
        answer = post(stub, "bedrock/model/m/converse-stream", asked)

        *_, last = frames(answer.content)
        assert last.headers[":message-type"] == "exception"
        assert only(stub).failed

    def test_garbage_has_a_wrong_checksum(self, stub):
        asked = bedrock_chat("Hello [stub garbage]")
        answer = post(stub, "bedrock/model/m/converse-stream", asked)

        with pytest.raises(AssertionError):
            list(frames(answer.content))

    def test_nousage_leaves_counts_out_everywhere(self, stub):
        body = {"prompt": "Hello [stub nousage]"}
        answer = post(stub, "bedrock/model/meta.llama/invoke", body)
        stream = post(stub, "bedrock/model/meta.llama/invoke-with-response-stream", body)

        assert not [name for name in answer.headers if "token-count" in name.lower()]
        assert "token_count" not in answer.text
        assert "amazon-bedrock-invocationMetrics" not in chunks_of(stream.content)[-1]

    def test_unsupported_directive_is_refused(self, stub):
        for order in ("gzip", "reasoning=1", "cached=1"):
            body = {"prompt": f"Hello [stub {order}]"}

            answer = post(stub, "bedrock/model/meta.llama/invoke", body)
            assert answer.status_code == 400, order


class TestBackground:
    def ask(self, client: openai.OpenAI, order: str = "") -> Any:
        prompt = f"Hello [stub {order}]"
        return client.responses.create(model="gpt-5-mini", input=prompt, background=True)

    @pytest.mark.parametrize(("order", "times"), [("", 1), ("queued=0", 0), ("queued=3", 3)])
    def test_response_is_found_queued_and_then_completed(self, stub, openai_client, order, times):
        promised = self.ask(openai_client, order)
        states = [openai_client.responses.retrieve(promised.id) for _ in range(times + 2)]

        assert (promised.status, promised.usage) == ("queued", None)
        assert [state.status for state in states[:times]] == ["queued"] * times
        assert {state.status for state in states[times:]} == {"completed"}
        assert states[-1].usage.input_tokens == stub.journal[-1].prompt_tokens
        assert "Hello" in states[-1].output_text
        assert {served.response_id for served in stub.journal} == {promised.id}
        counted = [served.prompt_tokens is not None for served in stub.journal]
        assert counted == [False] * (times + 1) + [True, True]

    def test_cancelled_response_stays_so(self, openai_client):
        promised = self.ask(openai_client)
        cancelled = openai_client.responses.cancel(promised.id)

        assert (cancelled.status, cancelled.usage) == ("cancelled", None)
        assert openai_client.responses.retrieve(promised.id).status == "cancelled"

    def test_completed_response_cannot_be_cancelled(self, openai_client):
        promised = self.ask(openai_client, "queued=0")
        openai_client.responses.retrieve(promised.id)

        assert openai_client.responses.cancel(promised.id).status == "completed"

    def test_unknown_response_is_missing(self, openai_client):
        with pytest.raises(openai.NotFoundError, match="resp_nothing"):
            openai_client.responses.retrieve("resp_nothing")

    def test_promises_are_one_servers_own(self, openai_client):
        promised = self.ask(openai_client)
        with (
            StubProvider() as other,
            openai.OpenAI(base_url=other.openai_url, api_key="any") as client,
            pytest.raises(openai.NotFoundError),
        ):
            client.responses.retrieve(promised.id)


class TestOpenAIMedia:
    def test_completions_report_what_the_journal_says(self, stub, openai_client):
        answer = openai_client.completions.create(model="gpt-3.5-turbo-instruct", prompt="Hello")
        *_, last = openai_client.completions.create(
            model="gpt-3.5-turbo-instruct",
            prompt="Hello",
            stream=True,
            stream_options={"include_usage": True},
        )

        for told, served in zip((answer, last), stub.journal, strict=True):
            assert told.id == served.response_id
            assert told.usage.prompt_tokens == served.prompt_tokens
            assert told.usage.completion_tokens == served.completion_tokens
            assert served.operation == "text_completion"

    def test_images_report_what_the_journal_says(self, stub, openai_client):
        answer = openai_client.images.generate(model="gpt-image-1", prompt="A cat")
        *_, last = openai_client.images.generate(model="gpt-image-1", prompt="A cat", stream=True)

        for told, served in zip((answer, last), stub.journal, strict=True):
            assert told.usage.input_tokens == served.prompt_tokens
            assert told.usage.output_tokens == served.completion_tokens
            assert (served.model, served.requested_model) == ("", "gpt-image-1")
        png = base64.b64decode(answer.data[0].b64_json)
        assert png.startswith(b"\x89PNG")

    @pytest.mark.parametrize("order", ["", "[stub gzip]"])
    def test_transcriptions_report_what_the_journal_says(self, stub, openai_client, order):
        asked: Any = {
            "model": "gpt-4o-transcribe",
            "file": ("a.wav", b"RIFF\r\n--\x00\xff" * 300),
            "prompt": f"A lecture {order}",
        }
        answer = openai_client.audio.transcriptions.create(**asked)
        *_, last = openai_client.audio.transcriptions.create(**asked, stream=True)

        for told, served in zip((answer, last), stub.journal, strict=True):
            assert told.usage.input_tokens == served.prompt_tokens
            assert told.usage.output_tokens == served.completion_tokens
        assert [served.streamed for served in stub.journal] == [False, True]

    def test_whisper_is_billed_by_the_second(self, stub, openai_client):
        answer = openai_client.audio.transcriptions.create(model="whisper-1", file=("a", b"RIFF"))

        assert (answer.usage.type, answer.usage.seconds) == ("duration", 1)
        assert only(stub).prompt_tokens is None

    @pytest.mark.parametrize("line_end", ["\r\n", "\n"])
    def test_form_of_another_client_is_read(self, stub, line_end):
        lines = [
            f"--{BOUNDARY}",
            'Content-Disposition: form-data; name="model"',
            "",
            "gpt-4o-transcribe",
            f"--{BOUNDARY}",
            'content-disposition: form-data; filename="ü.wav"; name=file',
            "Content-Type: audio/wav",
            "",
            "RIFF",
            f"--{BOUNDARY}--",
            "",
        ]
        answer = requests.post(
            f"{stub.openai_url}/audio/transcriptions",
            data=line_end.join(lines).encode(),
            headers={"Content-Type": f'multipart/form-data; boundary="{BOUNDARY}"'},
            timeout=60,
        )

        assert answer.status_code == 200
        assert only(stub).prompt == "a recording of 4 bytes"

    def test_broken_form_is_refused(self, stub):
        answer = requests.post(
            f"{stub.openai_url}/audio/transcriptions",
            data=b"nothing of the kind",
            headers={"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"},
            timeout=60,
        )

        assert answer.status_code == 400

    def test_unsupported_directive_is_refused(self, openai_client):
        with pytest.raises(openai.BadRequestError, match="not supported for media"):
            openai_client.images.generate(model="gpt-image-1", prompt="[stub cached=3]")


@pytest.mark.parametrize(
    ("provider", "model"),
    [
        ("aws", "us.anthropic.claude-haiku-4-5-20251001-v1:0"),
        ("cohere", "command-a-03-2025"),
        ("groq", "llama-3.3-70b-versatile"),
        ("mistral", "mistral-small-latest"),
    ],
)
def test_models_of_the_sdk_tests_have_a_price(provider, model):
    assert calc_price(Usage(input_tokens=1), model, provider_id=provider).total_price


def test_gateways_name_every_place(stub):
    assert stub.gateways[f"{stub.host_port}/bedrock"] == "aws"
    assert len(stub.gateways) == 16
