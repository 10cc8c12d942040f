"""What the scanner's data says about SDKs, held to what capture does."""

from __future__ import annotations

from tests.sdks import method_list
from tests.sdks.method_list import FREE, LATER, NOT_YET, ROW, Method
from tests.support.cases import check_each
from usage_tracking.scanner import data_files, recorded_urls
from usage_tracking.scanner.catalog import Target

#: SDK or service → the type of its client.
CLIENTS = {
    "anthropic": "anthropic.client",
    "bedrock-agent-runtime": "bedrock.client",
    "bedrock-runtime": "bedrock.client",
    "cohere": "cohere.client",
    "google-genai": "google.client",
    "groq": "groq.client",
    "huggingface-hub": "huggingface.client",
    "mistralai": "mistral.client",
    "ollama": "ollama.client",
    "openai": "openai.client",
    "sagemaker-runtime": "sagemaker.client",
}
METHODS = method_list.load()


def target_of(method: Method) -> Target | None:
    known = data_files.load()
    name, sdk = method.name, method.sdk
    if sdk == "boto3":
        sdk, _, name = name.partition(".")
    if sdk == "litellm":
        return known.function(f"litellm.{name}")
    if sdk == "langchain-openai":
        made = known.type_made_by(f"langchain_openai.{name}")
        call = "embed_query" if name.endswith("Embeddings") else "invoke"
        return known.target_of(made, call) if made else None
    client = known.types[CLIENTS[sdk]]
    first, _, rest = name.partition(".")
    while first in client.attributes:
        client, name = known.types[client.attributes[first]], rest
        first, _, rest = name.partition(".")
    return known.target_of(client.name, name)


def test_every_method_with_a_row_is_a_call_that_is_recorded() -> None:
    wrong = {
        (method.sdk, method.name): target
        for method in METHODS
        if method.kind in {ROW, LATER} and not NOT_YET.issuperset(method.requests)
        if not (target := target_of(method)) or not target.is_recorded
    }

    assert wrong == {}


def test_method_without_a_row_is_not_called_recorded() -> None:
    wrong = {
        (method.sdk, method.name): target
        for method in METHODS
        if method.kind not in {ROW, LATER} or NOT_YET.issuperset(method.requests)
        if (target := target_of(method)) and target.is_recorded is not False
    }

    assert wrong == {}


def test_free_methods_are_no_call_sites() -> None:
    found = {
        (method.sdk, method.name)
        for method in METHODS
        if method.kind == FREE and (target := target_of(method)) and target.kind != "moderation"
    }

    assert found == set()


RECORDED = [
    "openai.OpenAI images.edit",
    "openai.OpenAI videos.create",
    "openai.OpenAI batches.create",
    "openai.OpenAI beta.threads.runs.create",
    "openai.AsyncOpenAI live.connect",
    "xai_sdk.Client image.sample",
    "vertexai.generative_models.GenerativeModel generate_content",
    "replicate.Client run",
    "voyageai.Client rerank",
    "runwayml.RunwayML image_to_video.create",
    "lumaai.LumaAI generations.create",
    "langchain_google_vertexai.ChatVertexAI invoke",
    "langchain_aws.ChatBedrock stream",
    "langchain_openai.ChatOpenAI batch",
    "langchain_aws.BedrockEmbeddings embed_query",
    "llama_index.llms.bedrock.Bedrock chat",
    "perplexity.Perplexity chat.completions.create",
]
UNRECORDED = [
    "elevenlabs.client.ElevenLabs text_to_speech.convert",
    "elevenlabs.ElevenLabs music.compose",
    "deepgram.DeepgramClient listen.v1.media.transcribe_url",
    "deepgram.DeepgramClient listen.v1.connect",
    "assemblyai.Transcriber transcribe",
    "fal_client.SyncClient subscribe",
    "dashscope.audio.tts_v2.SpeechSynthesizer call",
    "sparkai.llm.llm.ChatSparkLLM generate",
    "openai.OpenAI moderations.create",
    "tencentcloud.hunyuan.v20230901.hunyuan_client.HunyuanClient ChatCompletions",
    "aleph_alpha_client.Client complete",
    "nlpcloud.Client generation",
    "hume.HumeClient tts.synthesize_json",
    "langchain_community.chat_models.ChatTongyi invoke",
    "langchain_community.chat_models.ChatSparkLLM invoke",
    "langchain_community.chat_models.MiniMaxChat invoke",
    "langchain_community.embeddings.DashScopeEmbeddings embed_query",
    "llama_index.llms.dashscope.DashScope chat",
    "mem0.MemoryClient add",
]
UNCERTAIN = [
    "qianfan.ChatCompletion do",
    "langchain_community.chat_models.QianfanChatEndpoint invoke",
    "reka.client.Reka chat.create",
]


def test_call_of_a_class() -> None:
    known = data_files.load()

    def check(case: str, status: bool | None) -> None:
        dotted, call = case.split()
        made = known.type_made_by(dotted)
        assert made is not None
        target = known.target_of(made, call)
        assert target is not None
        assert target.is_recorded is status
        assert target.transport in recorded_urls.HOOKED

    statuses = ((RECORDED, True), (UNRECORDED, False), (UNCERTAIN, None))
    check_each(check, [(case, status) for cases, status in statuses for case in cases])


def test_functions_of_an_sdk() -> None:
    def check(dotted: str, status: bool | None) -> None:
        target = data_files.load().function(dotted)
        assert target is not None
        assert target.is_recorded is status

    check_each(
        check,
        [
            ("dashscope.Generation.call", False),
            ("dashscope.TextEmbedding.call", False),
            ("fal_client.subscribe", False),
            ("fastapi_poe.get_final_response", False),
            ("erniebot.ChatCompletion.create", None),
            ("replicate.run", True),
            ("litellm.avideo_generation", True),
        ],
    )


def test_chain_of_a_model_that_is_not_recorded_is_not_recorded() -> None:
    known = data_files.load()
    model = known.types[known.type_made_by("langchain_community.llms.Tongyi") or ""]
    chain = known.target_of(model.pipes or "", "invoke")

    assert chain is not None
    assert chain.is_recorded is False


def test_unhooked_transport_is_said() -> None:
    def check(dotted: str, call: str, transport: str) -> None:
        known = data_files.load()
        target = known.target_of(known.type_made_by(dotted) or "", call)
        assert target is not None
        assert target.transport == transport
        assert transport not in recorded_urls.HOOKED

    check_each(
        check,
        [
            ("claude_agent_sdk.ClaudeSDKClient", "query", "subprocess"),
            ("fastmcp.Context", "sample", "mcp"),
            ("pinecone.Pinecone", "inference.embed", "urllib3"),
            ("langchain_oci.ChatOCIGenAI", "invoke", "oci"),
            ("g4f.client.Client", "images.generate", ""),
        ],
    )
