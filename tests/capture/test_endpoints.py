"""Which requests are AI calls, in which format, of which provider, for which model."""

from __future__ import annotations

from itertools import product

from django.test import override_settings

from tests.support.cases import check_each
from usage_tracking.capture import endpoints
from usage_tracking.capture.endpoints import Target, provider_of, recognise
from usage_tracking.formats import READERS

ARN = "arn%3Aaws%3Abedrock%3Aeu-west-1%3A123456789012%3A"
BEDROCK = "bedrock-runtime.eu-west-1.amazonaws.com"
VERTEX = "us-east5-aiplatform.googleapis.com"
PUBLISHERS = "/v1/projects/p/locations/us-east5/publishers"


def test_call_is_recognised() -> None:
    def check(host: str, path: str, endpoint: tuple[str, ...]) -> None:
        wire_format, operation, provider, model = (*endpoint, "")[:4]

        assert recognise("POST", host, None, path) == Target(
            wire_format, operation, provider, model, ""
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


def test_other_path_is_not_a_call() -> None:
    paths = [
        "",
        "/",
        "/chat",
        "/v1/messages/count_tokens",
        "/v1/messages/batches",
        "/v1/lambda/invoke",
        "/2015-03-31/functions/my-model/invoke",
        "/v1/models/resnet:classify",
        f"{PUBLISHERS}/anthropic/models/count-tokens:rawPredict",
        "/v1/projects/p/locations/l/endpoints/123:predict",
        "/model/amazon.nova-lite-v1%3A0/count-tokens",
        "/v1beta/interactions/i1/cancel",
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
        "bedrock-runtime.us-east-1.amazonaws.com.example.com": None,
        "s3.us-east-1.amazonaws.com": None,
        "api.z.ai": "zai",
        "adb-1.azuredatabricks.net": "databricks",
    }
    found = {host: provider_of(host, None, "/v1/chat/completions") for host in providers}

    assert found == providers


def test_host_of_site_services_needs_the_right_answer() -> None:
    endpoint = recognise("POST", "mine.azure-api.net", None, "/v1/chat")

    assert endpoint is not None
    assert (endpoint.provider, endpoint.unknown_host) == ("azure", "mine.azure-api.net")


def test_every_path_has_a_reader_and_is_found() -> None:
    for ending, (wire_format, _) in endpoints._PATHS.items():
        path = f"/model/m{ending}" if ending in endpoints._NEED_MODEL else ending
        path = f"/models/m{ending}" if ending.startswith(":") else path
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
