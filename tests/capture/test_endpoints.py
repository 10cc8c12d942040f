"""Which requests are AI calls, in which format, of which provider, for which model."""

from __future__ import annotations

from itertools import product
from typing import Any

import pytest
from django.test import override_settings

from tests.support.cases import check_each
from tests.support.wire import Case, event_of, events_of, make_case
from usage_tracking.call_paths import table
from usage_tracking.capture.endpoints import Target, provider_of, recognise
from usage_tracking.formats import READERS
from usage_tracking.pricing import quote

ARN = "arn%3Aaws%3Abedrock%3Aeu-west-1%3A123456789012%3A"
BEDROCK = "bedrock-runtime.eu-west-1.amazonaws.com"
VERTEX = "us-east5-aiplatform.googleapis.com"
PUBLISHERS = "/v1/projects/p/locations/us-east5/publishers"


def test_call_is_recognised() -> None:
    def check(host: str, path: str, endpoint: tuple[str, ...]) -> None:
        wire_format, operation, provider, model = (*endpoint, "")[:4]
        geography = "us-east5" if host == VERTEX else ""

        assert recognise("POST", host, None, path) == Target(
            wire_format, operation, provider, model, "", geography=geography
        )

    calls = [
        ("api.openai.com", "/v1/chat/completions", ("openai.chat", "chat", "openai")),
        ("api.openai.com", "/v1/completions", ("openai.chat", "text_completion", "openai")),
        ("api.openai.com", "/v1/responses", ("openai.responses", "chat", "openai")),
        ("api.openai.com", "/v1/embeddings", ("openai.embeddings", "embeddings", "openai")),
        ("api.openai.com", "/v1/images/edits", ("openai.images", "image_generation", "openai")),
        ("api.openai.com", "/v1/audio/speech", ("openai.audio", "speech", "openai")),
        (
            "api.openai.com",
            "/v1/audio/translations",
            ("openai.audio", "transcription", "openai"),
        ),
        (
            "me.openai.azure.com",
            "/openai/deployments/dall-e-3/images/generations",
            ("openai.images", "image_generation", "azure", "dall-e-3"),
        ),
        (
            "me.openai.azure.com",
            "/openai/deployments/my%20gpt/chat/completions",
            ("openai.chat", "chat", "azure", "my gpt"),
        ),
        ("api.anthropic.com", "/v1/messages", ("anthropic.messages", "chat", "anthropic")),
        (
            "api.anthropic.com",
            "/v1/complete",
            ("anthropic.complete", "text_completion", "anthropic"),
        ),
        (
            "generativelanguage.googleapis.com",
            "/v1beta/models/gemini-2.5-flash:streamGenerateContent",
            ("gemini.generate_content", "generate_content", "google", "gemini-2.5-flash"),
        ),
        (
            "generativelanguage.googleapis.com",
            "/v1beta/models/gemini-embedding-001:batchEmbedContents",
            ("gemini.embed_content", "embeddings", "google", "gemini-embedding-001"),
        ),
        (
            "generativelanguage.googleapis.com",
            "/v1beta/interactions",
            ("gemini.interactions", "generate_content", "google"),
        ),
        (
            "generativelanguage.googleapis.com",
            "/v1beta/models/imagen-4.0-generate-001:predict",
            ("vertex.predict", "image_generation", "google", "imagen-4.0-generate-001"),
        ),
        (
            VERTEX,
            f"{PUBLISHERS}/google/models/text-embedding-005:predict",
            ("vertex.predict", "embeddings", "google", "text-embedding-005"),
        ),
        (
            VERTEX,
            f"{PUBLISHERS}/anthropic/models/claude-sonnet-4%4020250514:streamRawPredict",
            ("vertex.raw_predict", "chat", "google", "claude-sonnet-4@20250514"),
        ),
        (
            BEDROCK,
            "/model/eu.amazon.nova-lite-v1%3A0/converse",
            ("bedrock.converse", "chat", "aws", "eu.amazon.nova-lite-v1:0"),
        ),
        (
            BEDROCK,
            f"/model/{ARN}inference-profile%2Feu.anthropic.claude-sonnet-4-v1%3A0/converse-stream",
            ("bedrock.converse", "chat", "aws", "eu.anthropic.claude-sonnet-4-v1:0"),
        ),
        (
            BEDROCK,
            f"/model/{ARN}application-inference-profile%2Fab12/invoke",
            ("bedrock.invoke", "chat", "aws", "application-inference-profile/ab12"),
        ),
        (
            BEDROCK,
            "/model/arn:aws:bedrock:eu-west-1::foundation-model/meta.llama3-8b/invoke",
            ("bedrock.invoke", "chat", "aws", "meta.llama3-8b"),
        ),
        (
            BEDROCK,
            "/model/amazon.titan-embed-text-v2%3A0/invoke",
            ("bedrock.invoke", "embeddings", "aws", "amazon.titan-embed-text-v2:0"),
        ),
        (
            BEDROCK,
            "/model/cohere.rerank-v3-5%3A0/invoke",
            ("bedrock.invoke", "rerank", "aws", "cohere.rerank-v3-5:0"),
        ),
        (
            BEDROCK,
            "/model/amazon.nova-canvas-v1%3A0/invoke-with-response-stream",
            ("bedrock.invoke", "image_generation", "aws", "amazon.nova-canvas-v1:0"),
        ),
        ("api.cohere.com", "/v2/chat", ("cohere.chat", "chat", "cohere")),
        ("api.cohere.com", "/v1/generate", ("cohere.chat", "text_completion", "cohere")),
        ("api.cohere.com", "/v2/embed", ("cohere.embed", "embeddings", "cohere")),
        ("api.cohere.com", "/v2/rerank", ("rerank", "rerank", "cohere")),
        ("api.writer.com", "/v1/chat", ("cohere.chat", "chat", "writer")),
        ("api.voyageai.com", "/v1/rerank", ("rerank", "rerank", "voyageai")),
        (
            "api.voyageai.com",
            "/v1/multimodalembeddings",
            ("openai.embeddings", "embeddings", "voyageai"),
        ),
        ("api.jina.ai", "/v1/rerank", ("rerank", "rerank", "jina")),
        ("api.mistral.ai", "/v1/ocr", ("mistral.ocr", "ocr", "mistral")),
        (
            "eu-de.ml.cloud.ibm.com",
            "/ml/v1/deployments/d1/text/generation_stream",
            ("watsonx", "text_completion", "watsonx"),
        ),
        ("eu-de.ml.cloud.ibm.com", "/ml/v1/text/chat_stream", ("openai.chat", "chat", "watsonx")),
        ("eu-de.ml.cloud.ibm.com", "/ml/v1/text/rerank", ("watsonx", "rerank", "watsonx")),
        ("eu-de.ml.cloud.ibm.com", "/ml/v1/text/embeddings", ("watsonx", "embeddings", "watsonx")),
        (
            "openrouter.ai",
            "/api/v1/embeddings",
            ("openai.embeddings", "embeddings", "openrouter"),
        ),
        (
            "api.replicate.com",
            "/v1/models/meta/meta-llama-3-8b/predictions",
            ("replicate", "generate_content", "replicate", "meta/meta-llama-3-8b"),
        ),
    ]
    check_each(check, calls)


AGENT = "bedrock-agent-runtime.eu-west-1.amazonaws.com"
HUGGING_FACE = "router.huggingface.co"


def test_call_with_an_id_or_a_model_in_its_path_is_recognised() -> None:
    def check(host: str, path: str, expected: tuple[str, str, str, str]) -> None:
        for tail in ("", "/"):
            assert recognise("POST", host, None, path + tail) == Target(*expected, "")

    conversation = ("mistral.conversations", "chat", "mistral", "")
    agent = ("bedrock.agent", "invoke_agent", "aws", "")
    llama = "@cf/meta/llama-3.1-8b-instruct"
    flux = "@cf/black-forest-labs/flux-1-schnell"
    e5 = "intfloat/multilingual-e5-large"
    calls: list[tuple[str, str, tuple[str, str, str, str]]] = [
        ("api.mistral.ai", "/v1/conversations", conversation),
        ("api.mistral.ai", "/v1/conversations/conv_01", conversation),
        ("api.mistral.ai", "/v1/conversations/conv_01/restart", conversation),
        ("api.mistral.ai", "/v1/agents/completions", ("openai.chat", "chat", "mistral", "")),
        (
            "api.mistral.ai",
            "/v1/fim/completions",
            ("openai.chat", "text_completion", "mistral", ""),
        ),
        ("api.openai.com", "/v1/decisions", ("decisions", "decision", "openai", "")),
        ("api.cohere.com", "/v1/classify", ("classify", "classification", "cohere", "")),
        (AGENT, "/agents/A1/agentAliases/B1/sessions/s1/text", agent),
        (AGENT, "/agents/s1", agent),
        (AGENT, "/flows/F1/aliases/B1", agent),
        (AGENT, "/retrieveAndGenerate", ("bedrock.agent", "chat", "aws", "")),
        (AGENT, "/rerank", ("rerank", "rerank", "aws", "")),
        (
            "api.cloudflare.com",
            f"/client/v4/accounts/a1/ai/run/{llama}",
            ("cloudflare", "chat", "cloudflare", llama),
        ),
        (
            "api.cloudflare.com",
            f"/client/v4/accounts/a1/ai/run/{flux}",
            ("cloudflare", "image_generation", "cloudflare", flux),
        ),
        (
            "gateway.ai.cloudflare.com",
            "/v1/a1/g1/workers-ai/@cf/baai/bge-m3",
            ("cloudflare", "embeddings", "cloudflare", "@cf/baai/bge-m3"),
        ),
        (
            "gateway.ai.cloudflare.com",
            "/v1/a1/g1/workers-ai/v1/chat/completions",
            ("openai.chat", "chat", "cloudflare", ""),
        ),
        (
            HUGGING_FACE,
            "/hf-inference/models/openai/whisper-large-v3",
            ("huggingface", "transcription", "huggingface", "openai/whisper-large-v3"),
        ),
        (
            HUGGING_FACE,
            f"/hf-inference/models/{e5}/pipeline/feature-extraction",
            ("huggingface", "embeddings", "huggingface", e5),
        ),
        (
            "api.fireworks.ai",
            "/inference/v1/workflows/accounts/fireworks/models/flux-1-dev-fp8/text_to_image",
            (
                *("openai.images", "image_generation", "fireworks"),
                "accounts/fireworks/models/flux-1-dev-fp8",
            ),
        ),
        (
            "api.writer.com",
            "/v1/applications/app-1",
            ("openai.chat", "text_completion", "writer", ""),
        ),
        (
            HUGGING_FACE,
            "/hf-inference/models/gpt2",
            ("huggingface", "generate_content", "huggingface", "gpt2"),
        ),
        (
            HUGGING_FACE,
            "/hf-inference/models/google/gemma/v1/chat/completions",
            ("openai.chat", "chat", "huggingface", ""),
        ),
        (
            HUGGING_FACE,
            "/fal-ai/fal-ai/flux/dev",
            ("huggingface", "image_generation", "huggingface", "fal-ai/flux/dev"),
        ),
    ]
    check_each(check, calls)


def test_path_of_one_provider_is_not_a_call_to_another() -> None:
    paths = [
        *("/v1/conversations", "/v1/conversations/c1", "/v1/agents/a1"),
        *("/v1/conversations/c1/items", "/v1/responses/input_tokens"),
    ]
    found = {path: recognise("POST", "api.openai.com", None, path) for path in paths}

    assert found == dict.fromkeys(paths)
    assert recognise("POST", "api.mistral.ai", None, "/v1/agents/a1") is None


def test_longest_ending_decides_between_plain_ones_and_those_with_ids() -> None:
    found = recognise("POST", "gw.example.com", None, "/agents/embeddings")

    assert found is not None
    assert found.format == "openai.embeddings"


def test_ollama_is_known_by_its_port() -> None:
    def check(host: str, path: str) -> None:
        known, unknown = recognise("POST", host, 11434, path), recognise("POST", host, 8080, path)

        assert known is not None
        assert unknown is not None
        assert (known.provider, known.unknown_host) == ("ollama", "")
        assert (unknown.provider, unknown.unknown_host) == ("unknown", f"{host}:8080")

    paths = ["/api/chat", "/api/generate", "/api/embed", "/api/embeddings"]
    check_each(check, product(["localhost", "gpu.internal"], paths))


def test_port_of_ollama_counts_for_its_paths_only() -> None:
    assert provider_of("localhost", 11434, "/v1/chat") is None


def test_batch_is_recognised_wherever_it_is_asked_for() -> None:
    def check(method: str, path: str, wire_format: str, *, polls: bool) -> None:
        for tail in ("", "/"):
            found = recognise(method, "api.example.com", None, path + tail)

            assert found is not None
            assert (found.format, found.operation, found.polls) == (wire_format, "batch", polls)

    vertex = "/v1/projects/p/locations/l/batchPredictionJobs"
    begun = [
        ("POST", "/v1/batches", "batch"),
        ("POST", "/openai/batches", "batch"),  # Azure
        ("POST", "/v1beta/openai/batches", "batch"),  # Gemini
        ("POST", "/v1/messages/batches", "anthropic.batch"),
        ("POST", "/v1beta/models/gemini-2.5-flash:batchGenerateContent", "gemini.batch"),
        ("POST", "/v1/models/gemini-embedding-001:asyncBatchEmbedContent", "gemini.batch"),
        ("POST", "/v1/batch/jobs", "mistral.batch"),
        ("POST", vertex, "vertex.batch"),
        ("POST", "/model-invocation-job", "bedrock.batch"),
    ]
    polled = [
        ("GET", "/openai/v1/batches/b1", "batch"),
        ("POST", "/v1/batches/b1/cancel", "batch"),
        ("GET", "/v1beta/batches/b1", "batch"),
        ("GET", "/v1/messages/batches/b1", "anthropic.batch"),
        ("POST", "/v1/messages/batches/b1/cancel", "anthropic.batch"),
        ("GET", "/v1/messages/batches/b1/results", "anthropic.batch_results"),
        ("GET", "/v1/batch/jobs/b1", "mistral.batch"),
        ("GET", "/openai/files/f1/content", "openai.batch_results"),
        ("GET", "/download/v1beta/files/f1:download", "gemini.batch_results"),
        ("GET", f"{vertex}/1", "vertex.batch"),
        ("GET", "/model-invocation-job/arn%3Aaws%3Abedrock", "bedrock.batch"),
    ]
    calls = [(*each, False) for each in begun] + [(*each, True) for each in polled]
    check_each(lambda *call: check(*call[:3], polls=call[3]), calls)


def test_listing_of_batches_or_files_is_not_a_call() -> None:
    paths = ("/v1/batches", "/v1/messages/batches", "/v1/batch/jobs", "/v1/files", "/v1/files/f1")

    assert [recognise("GET", "api.openai.com", None, path) for path in paths] == [None] * 5


def test_other_path_is_not_a_call() -> None:
    paths = [
        "",
        "/",
        "/chat",
        "/v1/messages/count_tokens",
        "/v1/messages/batches/b1",
        "/v1/lambda/invoke",
        "/2015-03-31/functions/my-model/invoke",
        "/v1/models/resnet:classify",
        f"{PUBLISHERS}/anthropic/models/count-tokens:rawPredict",
        "/v1/projects/p/locations/l/endpoints/123:predict",
        "/model/amazon.nova-lite-v1%3A0/count-tokens",
        "/v1/xchat",
        "/my-embeddings",
        "/chat/completions/more",
    ]
    found = {path: recognise("POST", "api.example.com", None, path) for path in paths}

    assert found == dict.fromkeys(paths)


def test_other_method_is_not_a_call() -> None:
    methods = ["GET", "PUT", "DELETE", "HEAD"]
    host, path = "api.openai.com", "/v1/chat/completions"

    assert recognise("POST", host, None, path) is not None
    found = {method: recognise(method, host, None, path) for method in methods}
    assert found == dict.fromkeys(methods)


def test_host_names_the_provider() -> None:
    providers = {
        "bedrock-runtime.us-east-1.amazonaws.com": "aws",
        "bedrock-runtime-fips.us-east-1.amazonaws.com": "aws",
        "vpce-1-2.bedrock-runtime.us-east-1.vpce.amazonaws.com": "aws",
        "bedrock-runtime.cn-north-1.amazonaws.com.cn": "aws",
        "bedrock-runtime.us-east-1.api.aws": "aws",
        "bedrock-runtime-fips.us-east-1.api.aws": "aws",
        "bedrock-mantle.eu-west-1.api.aws": "aws",
        "vpce-1-2.bedrock-mantle.us-east-1.vpce.amazonaws.com": "aws",
        "bedrock-runtime.cn-north-1.api.amazonwebservices.com.cn": "aws",
        "bedrock-runtime.eusc-de-east-1.amazonaws.eu": "aws",
        # Claude Platform on AWS has Anthropic's own models and prices.
        "aws-external-anthropic.us-west-2.api.aws": "anthropic",
        "s3.us-east-1.api.aws": None,
        "bedrock-runtime.us-east-1.api.aws.example.com": None,
        "us-api.together.ai": "together",
        "us-east-1.api.x.ai": "x-ai",
        "bedrock-runtime.us-east-1.amazonaws.com.example.com": None,
        "s3.us-east-1.amazonaws.com": None,
        "api.z.ai": "zai",
        "adb-1.azuredatabricks.net": "databricks",
    }
    found = {host: provider_of(host, None, "/v1/chat/completions") for host in providers}

    assert found == providers


@pytest.mark.parametrize(
    ("host", "path", "expected"),
    [
        (
            "adb-1.azuredatabricks.net",
            "/serving-endpoints/databricks-gemma-3-12b/invocations",
            ("databricks", "databricks-gemma-3-12b"),
        ),
        (
            "adb-1.azuredatabricks.net",
            "/serving-endpoints/my-llama/served-models/v2/invocations",
            ("databricks", "my-llama"),
        ),
        (
            "runtime.sagemaker.eu-west-1.amazonaws.com",
            "/endpoints/my-llama/invocations",
            ("sagemaker", "my-llama"),
        ),
    ],
)
def test_deployment_is_the_model(host: str, path: str, expected: tuple[str, str]) -> None:
    endpoint = recognise("POST", host, None, path)

    assert endpoint is not None
    assert endpoint.is_deployment
    assert (endpoint.provider, endpoint.model) == expected
    assert recognise("POST", host, None, "/invocations") is None


def test_host_of_site_services_needs_the_right_answer() -> None:
    endpoint = recognise("POST", "mine.azure-api.net", None, "/v1/chat")

    assert endpoint is not None
    assert (endpoint.provider, endpoint.unknown_host) == ("azure", "mine.azure-api.net")


def test_every_path_has_a_reader_and_is_found() -> None:
    for ending, (wire_format, _) in table.CALLS.items():
        path = f"/model/m{ending}" if ending in table.NEED_MODEL else ending
        path = f"/models/m{ending}" if ending.startswith(":") else path
        path = f"/endpoints/m{ending}" if ending == "/invocations" else path.replace("{}", "x1")
        for tail in ("", "/"):
            endpoint = recognise("POST", "api.openai.com", None, path + tail)
            assert endpoint is not None
            assert endpoint.format == wire_format
            assert wire_format in READERS
            assert endpoint.operation


class TestOwnPaths:
    def test_ending_is_read_in_the_format_that_is_named(self) -> None:
        def check(ending: str) -> None:
            with override_settings(AI_USAGE_PATHS={ending: "openai.chat"}):
                endpoint = recognise("POST", "gw.example.com", None, "/v7/llm/ask")

            assert endpoint == Target("openai.chat", "chat", "unknown", "", "gw.example.com")
            assert recognise("POST", "gw.example.com", None, "/v7/llm/ask") is None

        check_each(check, ["/llm/ask", "llm/ask", "/llm/ask/"])

    def test_own_ending_wins(self) -> None:
        with override_settings(AI_USAGE_PATHS={"/v1/chat": "ollama", ":ask": "ollama"}):
            chat = recognise("POST", "api.cohere.com", None, "/v1/chat")
            ask = recognise("POST", "api.cohere.com", None, "/models/m:ask")

        assert chat is not None
        assert chat.format == "ollama"
        assert ask is not None
        assert ask.model == "m"

    def test_unknown_format_is_ignored(self) -> None:
        with override_settings(AI_USAGE_PATHS={"/llm/ask": "no.such"}):
            assert recognise("POST", "gw.example.com", None, "/llm/ask") is None

    def test_ending_is_text_not_an_expression(self) -> None:
        with override_settings(AI_USAGE_PATHS={"/a.b(": "openai.chat"}):
            assert recognise("POST", "h", None, "/a.b(") is not None
            assert recognise("POST", "h", None, "/axb(") is None


CLAUDE: dict[str, Any] = {
    "type": "message",
    "role": "assistant",
    "model": "claude-sonnet-4-5-20250929",
    "usage": {"input_tokens": 1000, "output_tokens": 100},
}
CHAT: dict[str, Any] = {
    "object": "chat.completion",
    "choices": [],
    "usage": {"prompt_tokens": 1000, "completion_tokens": 100, "total_tokens": 1100},
}
CONVERSE: dict[str, Any] = {"usage": {"inputTokens": 1000, "outputTokens": 100}}


def case(url: str, answer: Any, request: Any = None) -> Case:
    return make_case(f"https://{url}", answer, request=request or {})


class TestOtherAnswers:
    def test_own_path_of_a_site_counts_with_the_answer_of_a_provider_only(self) -> None:
        conversation = {
            "object": "conversation.response",
            "outputs": [{"type": "message.output", "id": "m1", "model": "mistral-medium"}],
            "usage": {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7},
        }
        event = event_of(case("gw.example.com/v1/conversations/c1", conversation))

        assert (event.provider, event.model_name) == ("unknown", "mistral-medium")
        assert (event.prompt_tokens, event.completion_tokens) == (3, 4)
        for path, answer in [
            ("/v1/conversations", {"object": "conversation", "usage": {"prompt_tokens": 1}}),
            ("/agents/completions", {"id": 5}),
            ("/agents/5", {"output": "done", "sessionId": "s"}),
            ("/decisions", {"answers": ["yes"], "usage": {"input_tokens": 1}}),
            ("/ai/run/report", {"result": {"rows": 5}, "ok": True}),
        ]:
            assert events_of(case(f"crm.example.com{path}", answer)) == []

    def test_decision_costs_its_input_only(self) -> None:
        answer = {
            "answers": [{"type": "predicate", "name": None, "probability": 0.9}],
            "model": "gpt-6-luna",
            "usage": {
                "input_tokens": 1_000,
                "input_tokens_details": {"cached_tokens": 400, "cache_write_tokens": 100},
                "output_tokens": 50,
                "output_tokens_details": {"reasoning_tokens": 20},
            },
        }
        event = event_of(case("api.openai.com/v1/decisions", answer))

        assert (event.operation, event.completion_tokens) == ("decision", 50)
        assert f"{quote(event).cost:f}".rstrip("0") == "0.0001"

    def test_cloudflare_is_priced_by_the_model_in_the_path(self) -> None:
        model = "@cf/meta/llama-3.1-8b-instruct"
        usage = {"prompt_tokens": 1000, "completion_tokens": 10, "total_tokens": 1010}
        answer = {"result": {"response": "Hi", "usage": usage}, "success": True, "errors": []}
        event = event_of(case(f"api.cloudflare.com/client/v4/accounts/a/ai/run/{model}", answer))

        assert (event.provider, event.model_name) == ("cloudflare", model)
        assert quote(event).cost is not None

    def test_list_of_hugging_face_is_a_call_without_counts(self) -> None:
        path = f"{HUGGING_FACE}/hf-inference/models/distilbert/sst-2"
        event = event_of(case(path, [[{"label": "POSITIVE", "score": 0.9}]], {"inputs": "Fine"}))

        assert (event.provider, event.model_name) == ("huggingface", "distilbert/sst-2")
        assert event.success
        assert not event.is_known
        assert event.metadata["unknown"] == "no usage in the answer"

    def test_knowledge_base_names_the_model_in_the_request(self) -> None:
        request = {
            "input": {"text": "?"},
            "retrieveAndGenerateConfiguration": {
                "knowledgeBaseConfiguration": {
                    "modelArn": "arn:aws:bedrock:eu-west-1::foundation-model/amazon.nova-pro-v1:0"
                }
            },
        }
        answer = {"output": {"text": "Four."}, "sessionId": "s1", "citations": []}
        event = event_of(case(f"{AGENT}/retrieveAndGenerate", answer, request))

        assert (event.provider, event.model_name) == ("aws", "amazon.nova-pro-v1:0")
        assert event.metadata["unknown"] == "no usage in the answer"


class TestModel:
    """The model of a row is the one that its price is for."""

    def test_refused_request_names_the_model_within(self) -> None:
        request = {"request": {"model": "sonar-deep-research", "messages": []}}
        refused = case("api.perplexity.ai/async/chat/completions", {}, request) | {"status": 400}

        assert event_of(refused).model_name == "sonar-deep-research"

    def test_bedrock_names_the_region_in_the_path_only(self) -> None:
        def check(path: str, model: str, cost: str | None) -> None:
            event = event_of(case(f"{BEDROCK}{path}", CLAUDE))

            assert (event.provider, event.model_name) == ("aws", model)
            assert "requested_model" not in event.metadata
            found = quote(event).cost
            assert (None if found is None else f"{found.normalize()}") == cost

        name = "anthropic.claude-sonnet-4-5-20250929-v1:0"
        check_each(
            check,
            [
                (f"/model/us.{name}/invoke", f"us.{name}", "0.00495"),
                (f"/model/global.{name}/invoke", f"global.{name}", "0.0045"),
                (
                    f"/model/{ARN}inference-profile%2Fglobal.{name}/invoke",
                    f"global.{name}",
                    "0.0045",
                ),
                # Bought by the hour.
                (f"/model/{ARN}provisioned-model%2Fab12/invoke", "provisioned-model/ab12", None),
            ],
        )

    def test_bedrock_names_the_profile_in_the_request_of_other_formats(self) -> None:
        name = "global.anthropic.claude-sonnet-4-5-20250929-v1:0"
        for host in ("bedrock-mantle.eu-west-1.api.aws", BEDROCK):
            event = event_of(case(f"{host}/anthropic/v1/messages", CLAUDE, {"model": name}))

            assert (event.provider, event.model_name) == ("aws", name)

    def test_profile_with_a_name_of_the_site_has_the_model_of_the_answer(self) -> None:
        path = f"/model/{ARN}application-inference-profile%2Fab12"
        invoked = event_of(case(f"{BEDROCK}{path}/invoke", CLAUDE))
        conversed = event_of(case(f"{BEDROCK}{path}/converse", CONVERSE))

        assert invoked.model_name == "claude-sonnet-4-5-20250929"
        assert invoked.metadata["requested_model"] == "application-inference-profile/ab12"
        assert conversed.model_name == "application-inference-profile/ab12"

    def test_model_that_a_prompt_router_chose_wins(self) -> None:
        router = f"/model/{ARN}default-prompt-router%2Fanthropic.claude%3A1/converse"
        chosen = "arn:aws:bedrock:us-east-1:1:inference-profile/us.amazon.nova-lite-v1:0"
        answer = {**CONVERSE, "trace": {"promptRouter": {"invokedModelId": chosen}}}

        assert event_of(case(BEDROCK + router, answer)).model_name == "us.amazon.nova-lite-v1:0"

    def test_name_of_a_deployment_does_not_hide_the_model(self) -> None:
        url = "me.openai.azure.com/openai/deployments/my-gpt4/chat/completions"
        named = event_of(case(url, {**CHAT, "model": "gpt-4o-2024-11-20"}))

        assert named.model_name == "gpt-4o-2024-11-20"
        assert named.metadata["requested_model"] == "my-gpt4"
        assert quote(named).cost is not None
        assert event_of(case(url, CHAT)).model_name == "my-gpt4"

    def test_publisher_of_vertex_is_not_part_of_the_model(self) -> None:
        url = f"{VERTEX}/v1/projects/p/locations/global/endpoints/openapi/chat/completions"
        name = "google/gemini-2.5-flash"
        event = event_of(case(url, {**CHAT, "model": name}, {"model": name}))

        assert (event.provider, event.model_name) == ("google", "gemini-2.5-flash")
        assert "requested_model" not in event.metadata
        assert quote(event).cost is not None


class TestGeography:
    """Some hosts and paths keep a call in one geography, which may cost more."""

    GEMINI = "/google/models/{}:generateContent"
    CLAUDE = "/anthropic/models/{}:rawPredict"

    def test_geography_is_a_fact_if_the_model_costs_more_there(self) -> None:
        def check(url: str, model: str, geography: str | None) -> None:
            wire = CLAUDE if "anthropic" in url else CHAT
            if ":generateContent" in url:
                wire = {
                    "candidates": [],
                    "modelVersion": model,
                    "usageMetadata": {"promptTokenCount": 10, "totalTokenCount": 10},
                }
            event = event_of(case(url.format(model), {**wire, "model": model}))

            assert event.price_context == ({"inference_geo": geography} if geography else {})
            assert (quote(event).cost is None) == (geography is not None)

        region, world = VERTEX + PUBLISHERS, VERTEX + PUBLISHERS.replace("us-east5", "global")
        check_each(
            check,
            [
                (region + self.GEMINI, "gemini-3.1-pro-preview", "us-east5"),
                (world + self.GEMINI, "gemini-3.1-pro-preview", None),
                (region + self.GEMINI, "gemini-2.5-flash", None),
                (region + self.CLAUDE, "claude-sonnet-4-5@20250929", "us-east5"),
                (region + self.CLAUDE, "claude-opus-5", "us-east5"),
                (world + self.CLAUDE, "claude-opus-5", None),
                (region + self.CLAUDE, "claude-sonnet-4@20250514", None),
                ("eu.api.openai.com/v1/chat/completions", "gpt-5.4-2026-03-05", "eu"),
                ("eu.api.openai.com/v1/chat/completions", "gpt-4o-mini", None),
                ("api.openai.com/v1/chat/completions", "gpt-5.4-2026-03-05", None),
                ("us-east-1.api.x.ai/v1/chat/completions", "grok-4", "us-east-1"),
            ],
        )

    def test_answer_says_it_better(self) -> None:
        url = f"{VERTEX}{PUBLISHERS}/anthropic/models/claude-opus-5:rawPredict"
        usage = {"input_tokens": 1, "output_tokens": 1, "inference_geo": "us"}
        answer = {**CLAUDE, "model": "claude-opus-5", "usage": usage}

        assert event_of(case(url, answer)).price_context == {"inference_geo": "us"}


FOUNDRY = "me.services.ai.azure.com"
GEMINI_API = "generativelanguage.googleapis.com"
VEO = f"{PUBLISHERS}/google/models/veo-3.1"
INVOCATION = "/async-invoke/arn%3Aaws%3Abedrock%3Aus-east-1%3A1%3Aasync-invoke%2Fabc123"


def test_beginning_of_a_job_is_recognised() -> None:
    def check(host: str, path: str, wire_format: str, provider: str, model: str = "") -> None:
        target = recognise("POST", host, None, path)

        assert target is not None
        assert (target.format, target.provider, target.model) == (wire_format, provider, model)
        assert not target.polls

    check_each(
        check,
        [
            (GEMINI_API, "/v1beta/interactions", "gemini.interactions", "google"),
            ("api.perplexity.ai", "/async/chat/completions", "perplexity.async", "perplexity"),
            ("api.perplexity.ai", "/v1/async/sonar", "perplexity.async", "perplexity"),
            ("api.x.ai", "/v1/chat/completions", "openai.chat", "x-ai"),
            ("api.openai.com", "/v1/threads/runs", "openai.runs", "openai"),
            ("api.openai.com", "/v1/threads/thread_1/runs", "openai.runs", "openai"),
            ("me.openai.azure.com", "/openai/threads/thread_1/runs", "openai.runs", "azure"),
            (FOUNDRY, "/api/projects/p/threads/thread_1/runs", "openai.runs", "azure"),
            ("api.openai.com", "/v1/videos", "videos", "openai"),
            ("api.openai.com", "/v1/videos/video_1/remix", "videos", "openai"),
            ("api.openai.com", "/v1/videos/edits", "videos", "openai"),
            ("api.x.ai", "/v1/videos/generations", "videos", "x-ai"),
            ("api.together.xyz", "/v2/videos", "videos", "together"),
            ("openrouter.ai", "/api/v1/videos", "videos", "openrouter"),
            ("me.openai.azure.com", "/openai/v1/video/generations/jobs", "videos", "azure"),
            (
                GEMINI_API,
                "/v1beta/models/veo:predictLongRunning",
                "google.operations",
                "google",
                "veo",
            ),
            (VERTEX, f"{VEO}:predictLongRunning", "google.operations", "google", "veo-3.1"),
            (BEDROCK, "/async-invoke", "bedrock.async_invoke", "aws"),
            ("api.replicate.com", "/v1/predictions", "replicate", "replicate"),
            ("api.dev.runwayml.com", "/v1/image_to_video", "media.tasks", "runway"),
            ("api.bfl.ai", "/v1/flux-2-pro", "media.tasks", "black-forest-labs"),
            ("api.dev.runwayml.com", "/v1/recipes/product_ad", "media.tasks", "runway"),
            ("api.lumalabs.ai", "/dream-machine/v1/generations", "media.tasks", "luma"),
            ("api.lumalabs.ai", "/dream-machine/v1/generations/image", "media.tasks", "luma"),
            ("api.lumalabs.ai", "/dream-machine/v1/generations/7/upscale", "media.tasks", "luma"),
        ],
    )


def test_poll_for_a_job_is_recognised() -> None:
    def check(host: str, path: str, wire_format: str, provider: str, method: str = "GET") -> None:
        for tail in ("", "/"):
            target = recognise(method, host, None, path + tail)

            assert target is not None
            assert (target.format, target.provider) == (wire_format, provider)
            assert target.polls
            assert target.operation

    interaction, run = "/v1beta/interactions/v1_Chd", "/v1/threads/thread_1/runs/run_1"
    check_each(
        check,
        [
            ("api.openai.com", "/v1/responses/resp_1", "openai.responses", "openai"),
            (GEMINI_API, interaction, "gemini.interactions", "google"),
            (GEMINI_API, f"{interaction}/cancel", "gemini.interactions", "google", "POST"),
            ("api.perplexity.ai", "/async/chat/completions/7", "perplexity.async", "perplexity"),
            ("api.perplexity.ai", "/v1/async/sonar/7", "perplexity.async", "perplexity"),
            ("api.x.ai", "/v1/chat/deferred-completion/7", "openai.chat", "x-ai"),
            ("api.openai.com", run, "openai.runs", "openai"),
            ("api.openai.com", f"{run}/cancel", "openai.runs", "openai", "POST"),
            ("api.openai.com", f"{run}/submit_tool_outputs", "openai.runs", "openai", "POST"),
            (FOUNDRY, "/api/projects/p/threads/t/runs/r", "openai.runs", "azure"),
            ("api.openai.com", "/v1/videos/video_1", "videos", "openai"),
            ("me.openai.azure.com", "/openai/v1/video/generations/jobs/7", "videos", "azure"),
            (GEMINI_API, "/v1beta/models/veo/operations/7", "google.operations", "google"),
            (VERTEX, f"{VEO}:fetchPredictOperation", "google.operations", "google", "POST"),
            (BEDROCK, INVOCATION, "bedrock.async_invoke", "aws"),
            ("api.replicate.com", "/v1/predictions/7", "replicate", "replicate"),
            ("api.dev.runwayml.com", "/v1/tasks/7", "media.tasks", "runway"),
            ("api.eu.bfl.ai", "/v1/get_result", "media.tasks", "black-forest-labs"),
            ("api.lumalabs.ai", "/dream-machine/v1/generations/7", "media.tasks", "luma"),
            ("api.replicate.com", "/v1/predictions/7/cancel", "replicate", "replicate", "POST"),
        ],
    )


def test_path_beside_a_job_is_no_call() -> None:
    paths = {
        "GET": [
            *("/v1/videos", "/v1/videos/video_1/content", "/v1/videos/characters/char_1"),
            *("/v1/threads/t", "/v1/threads/t/messages", "/v1/threads/t/runs"),
            *("/v1/threads/t/runs/r/steps", "/v1/threads/t/runs/r/steps/s"),
            *("/v1/predictions", "/v1/trainings/7", "/v1beta/interactions", "/v1beta/models/veo"),
            *("/async/chat/completions", "/v1/async/sonar", "/async-invoke", "/v1/responses"),
            *("/openai/v1/video/generations/jobs", "/openai/v1/video/generations/7/content/video"),
            "/v1/chat/completions/chatcmpl-1",
        ],
        "POST": [
            *("/v1/threads", "/v1/threads/t", "/v1/threads/t/messages", "/v1/threads/t/runs/r"),
            *("/v1/evals/e/runs", "/v1/videos/characters", "/v1/videos/video_1", "/remix"),
            *("/v1beta/interactions/v1_1", "/v1/predictions/7", "/v1beta/models/veo/operations/7"),
        ],
    }
    for method, among in paths.items():
        assert [p for p in among if recognise(method, "api.openai.com", None, p)] == []


class TestServedModels:
    """One path of Databricks and SageMaker has models of every kind."""

    URL = "adb-1.azuredatabricks.net/serving-endpoints/mine/invocations"
    USAGE = {"prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 120}

    @pytest.mark.parametrize(
        ("answer", "expected"),
        [
            (
                {"object": "chat.completion", "choices": [{}], "usage": USAGE},
                ("chat", 100, 20),
            ),
            (
                {"object": "text_completion", "choices": [{}], "usage": USAGE},
                ("text_completion", 100, 20),
            ),
            (
                {
                    "object": "list",
                    "data": [{"embedding": [0.1]}],
                    "usage": {"prompt_tokens": 8, "total_tokens": 8},
                },
                ("embeddings", 8, None),
            ),
            (
                {"object": "response", "usage": {"input_tokens": 9, "output_tokens": 4}},
                ("chat", 9, 4),
            ),
        ],
    )
    def test_answer_shows_what_the_model_does(
        self, answer: dict[str, Any], expected: tuple[str, int, int | None]
    ) -> None:
        event = event_of(case(self.URL, answer))

        assert (event.operation, event.prompt_tokens, event.completion_tokens) == expected
        assert (event.provider, event.model_name) == ("databricks", "mine")

    def test_model_without_language_is_no_call(self) -> None:
        assert events_of(case(self.URL, {"predictions": [0.5]})) == []

    def test_refused_request_is_a_failed_call(self) -> None:
        event = event_of(case(self.URL, {"message": "slow down"}) | {"status": 429})

        assert (event.success, event.error_message) == (False, "HTTP 429 slow down")


def test_path_or_model_decides_the_operation_of_formats_that_several_share() -> None:
    def check(url: str, answer: Any, operation: str) -> None:
        assert event_of(case(url, answer)).operation == operation

    billed = {"meta": {"billed_units": {"input_tokens": 4, "output_tokens": 5}}}
    titan = {"embedding": [0.1], "inputTextTokenCount": 5}
    check_each(
        check,
        [
            (
                "api.cohere.com/v1/generate",
                {"generations": [{"text": "Hi"}], **billed},
                "text_completion",
            ),
            ("api.cohere.com/v1/summarize", {"summary": "Hi", **billed}, "text_completion"),
            ("api.cohere.com/v2/parse", {"pages": [], **billed}, "ocr"),
            (f"{BEDROCK}/model/amazon.titan-embed-text-v2:0/invoke", titan, "embeddings"),
            (f"{BEDROCK}/model/cohere.command-r-v1:0/invoke", {"text": "Hi", **billed}, "chat"),
        ],
    )


def test_ocr_of_a_partner_on_vertex() -> None:
    answer = {"pages": [{"index": 0}], "usage_info": {"pages_processed": 3}}
    url = f"{VERTEX}{PUBLISHERS}/mistralai/models/mistral-ocr-2505:rawPredict"
    event = event_of(case(url, answer))

    assert (event.operation, event.model_name) == ("ocr", "mistral-ocr-2505")
    assert event.usage_details == {"input_document_pages": 3}


def test_ocr_with_pictures_is_read_at_its_end() -> None:
    """Only the end of an answer above 8 MB is kept, which does not have the pages."""
    answer = {
        "pages": [{"index": 0, "images": [{"image_base64": "A" * 9_000_000}]}],
        "model": "mistral-ocr-2512",
        "document_annotation": None,
        "usage_info": {"pages_processed": 29, "doc_size_bytes": 3},
    }
    event = event_of(case("api.mistral.ai/v1/ocr", answer))
    annotated = event_of(case("api.mistral.ai/v1/ocr", answer | {"document_annotation": "{}"}))

    assert event.usage_details == {"input_document_pages": 29}
    assert quote(event).cost
    assert quote(annotated).cost is None
