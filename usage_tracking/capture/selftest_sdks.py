"""The SDKs that the self-test calls: how to make one call, and what the server answers.

They are the SDKs that send requests with code of their own. A framework that sends through one of
them is in `selftest_known`.

To add an SDK, write its functions and add one entry to `SDKS`. SDKs are imported by name when they
are called, so this module imports none of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from importlib import import_module
from types import MappingProxyType
from typing import Any, NamedTuple

from .selftest_answers import (
    ANTHROPIC_MESSAGES,
    BEDROCK_CONVERSE,
    COHERE_CHAT,
    GEMINI,
    MODEL,
    OLLAMA_CHAT,
    OPENAI_CHAT,
    REPLICATE_PREDICTION,
    SERVING_ENDPOINT,
    VOYAGE_EMBEDDINGS,
    WRITER_CHAT,
    Answer,
)
from .selftest_grpc import (
    AIPLATFORM,
    AIPLATFORM_CALLS,
    GENERATIVELANGUAGE,
    GENERATIVELANGUAGE_CALLS,
    XAI_CALLS,
)

#: Makes one call to the server at a URL; a coroutine function for the async mode.
Call = Callable[[str], Any]

_QUESTION = "Are you there?"
#: The body of a call in OpenAI's chat format.
REQUEST = {"model": MODEL, "messages": [{"role": "user", "content": _QUESTION}]}


class SDK(NamedTuple):
    """One SDK."""

    #: Name of the distribution.
    package: str
    #: The module to import before the calls, because that may take much longer than a call.
    module: str
    #: Over gRPC, the message with the same content.
    answer: Answer
    #: One call for each mode that the SDK has.
    calls: tuple[Call, ...]
    #: Environment variables during the import and the calls.
    environ: Mapping[str, str] = MappingProxyType({})


def _openai(module: str, name: str, url: str) -> None:
    client_class = getattr(import_module(module), name)
    with client_class(base_url=f"{url}/v1", api_key="none", max_retries=0) as client:
        client.chat.completions.create(**REQUEST)


async def _aopenai(module: str, name: str, url: str) -> None:
    client_class = getattr(import_module(module), name)
    async with client_class(base_url=f"{url}/v1", api_key="none", max_retries=0) as client:
        await client.chat.completions.create(**REQUEST)


def _like_openai(package: str, module: str, name: str) -> SDK:
    """Return an SDK that is generated as OpenAI's is, with a client class of this name."""
    calls = (partial(_openai, module, name), partial(_aopenai, module, f"Async{name}"))
    return SDK(package, module, OPENAI_CHAT, calls)


def _anthropic(url: str) -> None:
    client_class = import_module("anthropic").Anthropic
    with client_class(base_url=url, api_key="none", max_retries=0) as client:
        client.messages.create(max_tokens=9, **REQUEST)


async def _aanthropic(url: str) -> None:
    client_class = import_module("anthropic").AsyncAnthropic
    async with client_class(base_url=url, api_key="none", max_retries=0) as client:
        await client.messages.create(max_tokens=9, **REQUEST)


def _genai_client(url: str) -> Any:
    genai = import_module("google.genai")
    return genai.Client(api_key="none", http_options=genai.types.HttpOptions(base_url=url))


def _genai(url: str) -> None:
    client = _genai_client(url)
    client.models.generate_content(model=MODEL, contents=_QUESTION)


async def _agenai(url: str) -> None:
    client = _genai_client(url).aio
    try:
        await client.models.generate_content(model=MODEL, contents=_QUESTION)
    finally:
        await client.aclose()


def _mistral_client(url: str) -> Any:
    # The class moved in 2.0.
    found = getattr(import_module("mistralai.client"), "Mistral", None)
    return (found or import_module("mistralai").Mistral)(api_key="none", server_url=url)


def _mistral(url: str) -> None:
    _mistral_client(url).chat.complete(**REQUEST)


async def _amistral(url: str) -> None:
    await _mistral_client(url).chat.complete_async(**REQUEST)


def _cohere(url: str) -> None:
    with import_module("cohere").ClientV2(api_key="none", base_url=url) as client:
        client.chat(**REQUEST)


async def _acohere(url: str) -> None:
    async with import_module("cohere").AsyncClientV2(api_key="none", base_url=url) as client:
        await client.chat(**REQUEST)


def _ollama(url: str) -> None:
    import_module("ollama").Client(host=url).chat(**REQUEST)


async def _aollama(url: str) -> None:
    await import_module("ollama").AsyncClient(host=url).chat(**REQUEST)


@contextmanager
def _huggingface_hub() -> Iterator[Any]:
    """Yield the package, and keep it from asking the hub which program may be running it.

    Its environment variable has no effect once the site has imported it.
    """
    constants: Any = import_module("huggingface_hub.constants")
    before = constants.HF_HUB_DISABLE_TELEMETRY
    constants.HF_HUB_DISABLE_TELEMETRY = True
    try:
        yield import_module("huggingface_hub")
    finally:
        constants.HF_HUB_DISABLE_TELEMETRY = before


def _huggingface(url: str) -> None:
    with _huggingface_hub() as hub:
        hub.InferenceClient(base_url=url).chat_completion(messages=REQUEST["messages"])


async def _ahuggingface(url: str) -> None:
    with _huggingface_hub() as hub:
        async with hub.AsyncInferenceClient(base_url=url) as client:
            await client.chat_completion(messages=REQUEST["messages"])


def _bedrock_options(url: str) -> dict[str, str]:
    return {
        "service_name": "bedrock-runtime",
        "region_name": "us-east-1",
        "endpoint_url": url,
        "aws_access_key_id": "none",
        "aws_secret_access_key": "none",
    }


_CONVERSE = {"modelId": MODEL, "messages": [{"role": "user", "content": [{"text": _QUESTION}]}]}


def _bedrock(url: str) -> None:
    import_module("boto3").client(**_bedrock_options(url)).converse(**_CONVERSE)


async def _abedrock(url: str) -> None:
    session = import_module("aiobotocore.session").get_session()
    async with session.create_client(**_bedrock_options(url)) as client:
        await client.converse(**_CONVERSE)


def _azure_options(url: str) -> dict[str, Any]:
    credential = import_module("azure.core.credentials").AzureKeyCredential("none")
    return {"endpoint": url, "credential": credential}


def _azure(url: str) -> None:
    client_class = import_module("azure.ai.inference").ChatCompletionsClient
    with client_class(**_azure_options(url)) as client:
        client.complete(body=REQUEST)


async def _aazure(url: str) -> None:
    client_class = import_module("azure.ai.inference.aio").ChatCompletionsClient
    async with client_class(**_azure_options(url)) as client:
        await client.complete(body=REQUEST)


def _ai21(url: str) -> None:
    client = import_module("ai21").AI21Client(api_key="none", api_host=url)
    client.chat.completions.create(model=MODEL, messages=[_ai21_message()])


async def _aai21(url: str) -> None:
    client = import_module("ai21").AsyncAI21Client(api_key="none", api_host=url)
    await client.chat.completions.create(model=MODEL, messages=[_ai21_message()])


def _ai21_message() -> Any:
    return import_module("ai21.models.chat").ChatMessage(role="user", content=_QUESTION)


def _writer(url: str) -> None:
    with import_module("writerai").Writer(base_url=url, api_key="none", max_retries=0) as client:
        client.chat.chat(**REQUEST)


async def _awriter(url: str) -> None:
    client_class = import_module("writerai").AsyncWriter
    async with client_class(base_url=url, api_key="none", max_retries=0) as client:
        await client.chat.chat(**REQUEST)


def _openrouter(url: str) -> None:
    with import_module("openrouter").OpenRouter(api_key="none", server_url=url) as client:
        client.chat.send(**REQUEST)


async def _aopenrouter(url: str) -> None:
    async with import_module("openrouter").OpenRouter(api_key="none", server_url=url) as client:
        await client.chat.send_async(**REQUEST)


def _voyage(url: str) -> None:
    client = import_module("voyageai").Client(api_key="none", base_url=f"{url}/v1")
    client.embed([_QUESTION], model=MODEL)


async def _avoyage(url: str) -> None:
    client = import_module("voyageai").AsyncClient(api_key="none", base_url=f"{url}/v1")
    await client.embed([_QUESTION], model=MODEL)


_PREDICTION = {"model": (MODEL, MODEL), "input": {"prompt": _QUESTION}}


def _replicate(url: str) -> None:
    client = import_module("replicate").Client(api_token="none", base_url=url)  # noqa: S106
    client.models.predictions.create(**_PREDICTION)


async def _areplicate(url: str) -> None:
    client = import_module("replicate").Client(api_token="none", base_url=url)  # noqa: S106
    await client.models.predictions.async_create(**_PREDICTION)


def _databricks(url: str) -> None:
    client_class = import_module("databricks.sdk").WorkspaceClient
    serving = import_module("databricks.sdk.service.serving")
    message = serving.ChatMessage(role=serving.ChatMessageRole.USER, content=_QUESTION)
    client = client_class(host=url, token="none", auth_type="pat")  # noqa: S106
    client.serving_endpoints.query(name=MODEL, messages=[message])


def _portkey(url: str) -> None:
    client = import_module("portkey_ai").Portkey(api_key="none", base_url=f"{url}/v1")
    client.chat.completions.create(**REQUEST)


async def _aportkey(url: str) -> None:
    client = import_module("portkey_ai").AsyncPortkey(api_key="none", base_url=f"{url}/v1")
    await client.chat.completions.create(**REQUEST)


def _zhipu(module: str, name: str, url: str) -> None:
    # The key must have two parts.
    client = getattr(import_module(module), name)(api_key="no.ne", base_url=f"{url}/v1")
    client.chat.completions.create(**REQUEST)


def _litellm_options(url: str) -> dict[str, Any]:
    # In Anthropic's format, because LiteLLM sends OpenAI's through the openai SDK. `no-log` keeps
    # the call from the callbacks that the site has registered with LiteLLM.
    return REQUEST | {
        "model": f"anthropic/{MODEL}",
        "api_base": url,
        "api_key": "none",
        "max_retries": 0,
        "no-log": True,
    }


def _litellm(url: str) -> None:
    import_module("litellm").completion(**_litellm_options(url))


async def _alitellm(url: str) -> None:
    await import_module("litellm").acompletion(**_litellm_options(url))


#: Otherwise LiteLLM downloads prices when it is imported, and a list of headers at a call.
_LITELLM_ENVIRON = {
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    "LITELLM_LOCAL_ANTHROPIC_BETA_HEADERS": "True",
}

SDKS = (
    _like_openai("openai", "openai", "OpenAI"),
    SDK("anthropic", "anthropic", ANTHROPIC_MESSAGES, (_anthropic, _aanthropic)),
    SDK("google-genai", "google.genai", GEMINI, (_genai, _agenai)),
    SDK("mistralai", "mistralai.client", OPENAI_CHAT, (_mistral, _amistral)),
    SDK("cohere", "cohere", COHERE_CHAT, (_cohere, _acohere)),
    _like_openai("groq", "groq", "Groq"),
    SDK("ollama", "ollama", OLLAMA_CHAT, (_ollama, _aollama)),
    SDK("huggingface_hub", "huggingface_hub", OPENAI_CHAT, (_huggingface, _ahuggingface)),
    SDK("boto3", "boto3", BEDROCK_CONVERSE, (_bedrock,)),
    SDK("aiobotocore", "aiobotocore.session", BEDROCK_CONVERSE, (_abedrock,)),
    SDK("azure-ai-inference", "azure.ai.inference", OPENAI_CHAT, (_azure, _aazure)),
    SDK("databricks-sdk", "databricks.sdk", SERVING_ENDPOINT, (_databricks,)),
    SDK("ai21", "ai21", OPENAI_CHAT, (_ai21, _aai21)),
    _like_openai("cerebras_cloud_sdk", "cerebras.cloud.sdk", "Cerebras"),
    _like_openai("fireworks-ai", "fireworks", "Fireworks"),
    SDK("openrouter", "openrouter", OPENAI_CHAT, (_openrouter, _aopenrouter)),
    _like_openai("perplexityai", "perplexity", "Perplexity"),
    SDK("portkey-ai", "portkey_ai", OPENAI_CHAT, (_portkey, _aportkey)),
    SDK("replicate", "replicate", REPLICATE_PREDICTION, (_replicate, _areplicate)),
    _like_openai("sambanova", "sambanova", "SambaNova"),
    _like_openai("together", "together", "Together"),
    SDK("voyageai", "voyageai", VOYAGE_EMBEDDINGS, (_voyage, _avoyage)),
    SDK("writer-sdk", "writerai", WRITER_CHAT, (_writer, _awriter)),
    SDK("zai-sdk", "zai", OPENAI_CHAT, (partial(_zhipu, "zai", "ZaiClient"),)),
    SDK("zhipuai", "zhipuai", OPENAI_CHAT, (partial(_zhipu, "zhipuai", "ZhipuAI"),)),
    SDK("xai-sdk", "xai_sdk", OPENAI_CHAT, XAI_CALLS),
    SDK("google-ai-generativelanguage", GENERATIVELANGUAGE, GEMINI, GENERATIVELANGUAGE_CALLS),
    SDK("google-cloud-aiplatform", AIPLATFORM, GEMINI, AIPLATFORM_CALLS),
    SDK(
        "litellm",
        "litellm",
        ANTHROPIC_MESSAGES,
        (_litellm, _alitellm),
        _LITELLM_ENVIRON,
    ),
)
