"""Which requests are AI calls: the path tells the wire format, the host tells the provider."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple
from urllib.parse import unquote

from django.core.signals import setting_changed

from .. import conf
from ..events import UNKNOWN
from ..formats import READERS
from ..formats.bedrock_converse import model_name
from ..providers import provider_of as known_provider
from ..providers import runs_site_services


class Target(NamedTuple):
    format: str
    operation: str
    provider: str
    #: The model where only the path names it, else "".
    model: str
    #: `host[:port]` of a host that neither our table nor AI_USAGE_GATEWAYS knows, or behind which
    #: a site's own services may be, else "": only an answer of the right shape counts there.
    unknown_host: str
    #: The request asks how a response is getting on that another one has begun.
    polls: bool = False


# Path ending → wire format and operation (https://opentelemetry.io/docs/specs/semconv/registry/
# attributes/gen-ai/ `gen_ai.operation.name`; where that has no word, the plainest one). Generic
# ones may be a site's own: there only an answer in the right shape is recorded.
_PATHS = {
    "/chat/completions": ("openai.chat", "chat"),
    "/completions": ("openai.chat", "text_completion"),
    "/responses": ("openai.responses", "chat"),
    "/embeddings": ("openai.embeddings", "embeddings"),
    "/multimodalembeddings": ("openai.embeddings", "embeddings"),  # Voyage
    "/contextualizedembeddings": ("openai.embeddings", "embeddings"),
    "/images/generations": ("openai.images", "image_generation"),
    "/images/edits": ("openai.images", "image_generation"),
    "/images/variations": ("openai.images", "image_generation"),
    "/audio/transcriptions": ("openai.audio", "transcription"),
    "/audio/translations": ("openai.audio", "transcription"),
    "/audio/speech": ("openai.audio", "speech"),
    "/v1/messages": ("anthropic.messages", "chat"),
    "/v1/complete": ("anthropic.complete", "text_completion"),
    ":generateContent": ("gemini.generate_content", "generate_content"),
    ":streamGenerateContent": ("gemini.generate_content", "generate_content"),
    ":embedContent": ("gemini.embed_content", "embeddings"),
    ":batchEmbedContents": ("gemini.embed_content", "embeddings"),
    "/interactions": ("gemini.interactions", "generate_content"),
    ":predict": ("vertex.predict", ""),
    ":rawPredict": ("vertex.raw_predict", "chat"),
    ":streamRawPredict": ("vertex.raw_predict", "chat"),
    "/converse": ("bedrock.converse", "chat"),
    "/converse-stream": ("bedrock.converse", "chat"),
    "/invoke": ("bedrock.invoke", ""),
    "/invoke-with-response-stream": ("bedrock.invoke", ""),
    "/v1/chat": ("cohere.chat", "chat"),
    "/v2/chat": ("cohere.chat", "chat"),
    "/v1/generate": ("cohere.chat", "text_completion"),
    "/v1/embed": ("cohere.embed", "embeddings"),
    "/v2/embed": ("cohere.embed", "embeddings"),
    "/rerank": ("rerank", "rerank"),
    "/api/chat": ("ollama", "chat"),
    "/api/generate": ("ollama", "text_completion"),
    "/api/embed": ("ollama", "embeddings"),
    "/text/chat": ("openai.chat", "chat"),  # watsonx
    "/text/chat_stream": ("openai.chat", "chat"),
    "/text/generation": ("watsonx", "text_completion"),
    "/text/generation_stream": ("watsonx", "text_completion"),
    "/ml/v1/text/embeddings": ("watsonx", "embeddings"),
    "/ml/v1/text/rerank": ("watsonx", "rerank"),
    "/predictions": ("replicate", "generate_content"),
}

#: Where the path does not say what a model does, a word in its name may: the first that fits.
_WORDS = (
    (("embed", "gecko"), "embeddings"),
    (("rerank",), "rerank"),
    (("imagen", "image", "canvas", "stability"), "image_generation"),
)

# The model that a path names: of Google, of Bedrock (an ARN may hold slashes), of Azure, and of
# Replicate.
_MODEL = re.compile(
    r"/models/(?P<google>[^/:]+):\w+/?$"
    r"|/model/(?P<bedrock>.+)/(?:converse|invoke)[a-z-]*/?$"
    r"|/models/(?P<replicate>[^/]+/[^/]+)/predictions/?$"
    r"|/deployments/(?P<azure>[^/]+)/(?:chat/|images/|audio/)?[a-z]+/?$"
)

_OLLAMA_PORT, _OLLAMA_PATHS = 11434, ("/api/chat", "/api/generate", "/api/embed", "/api/embeddings")


def recognise(method: str, host: str, port: int | None, path: str) -> Target | None:
    """The AI endpoint that a request goes to, None if it goes to none.

    `path` is the raw path, percent-encoded, without the query.
    """
    if method not in {"POST", "GET"}:
        return None
    endings, paths = _endings()
    match = endings.search(path) if method == "POST" else None
    if match is not None:
        wire_format, operation = paths[match[1]]
        model = _model(path)
        if (match[1] in _NEED_MODEL and not model) or model in _NO_MODELS:
            return None
        if not operation:
            operation = next(
                (name for words, name in _WORDS if any(word in model for word in words)), "chat"
            )
    elif _polls(method, path):
        wire_format, operation, model = "openai.responses", "chat", ""
    else:
        return None
    provider = provider_of(host, port, path)
    unknown_host = ""
    if provider is None or runs_site_services(host):
        unknown_host = f"{host}:{port}" if port else host
    provider = provider or UNKNOWN
    return Target(wire_format, operation, provider, model, unknown_host, match is None)


#: Words that mean something only after the name of a model.
_NEED_MODEL = {
    *(":predict", ":rawPredict", ":streamRawPredict"),
    *("/converse", "/converse-stream", "/invoke", "/invoke-with-response-stream"),
}
#: Anthropic on Vertex counts the tokens of a prompt under the name of a model.
_NO_MODELS = {"count-tokens"}


# How a response made in the background is asked for, or given up.
_POLL = re.compile(r"/responses/[^/]+(/cancel)?/?$")


def _polls(method: str, path: str) -> bool:
    match = _POLL.search(path)
    return match is not None and method == ("POST" if match[1] else "GET")


@lru_cache(maxsize=1)
def _endings() -> tuple[re.Pattern[str], dict[str, tuple[str, str]]]:
    """One expression for all endings of paths, those of AI_USAGE_PATHS among them.

    Every request of the site comes by here: it begins with one of two characters, which lets the
    search pass over the rest of a path at once.
    """
    own = {
        "/" + ending.strip("/") if not ending.startswith(":") else ending: (
            wire_format,
            READERS[wire_format].operation,
        )
        for ending, wire_format in conf.paths().items()
        if wire_format in READERS
    }
    paths = _PATHS | own
    # The longest first: a regular expression takes the first that fits.
    endings = sorted(paths, key=len, reverse=True)
    return re.compile(f"([/:](?:{'|'.join(re.escape(e[1:]) for e in endings)}))/?$"), paths


def _model(path: str) -> str:
    match = _MODEL.search(path)
    if match is None:
        return ""
    name = unquote(match[match.lastgroup or 0])
    return model_name(name) if match.lastgroup == "bedrock" else name


@lru_cache(maxsize=512)
def provider_of(host: str, port: int | None, path: str) -> str | None:
    """The provider behind a host: AI_USAGE_GATEWAYS first, the longest prefix winning.

    Of two gateways that differ in the port only, the one that names it.
    """
    # A port that is not named is the scheme's own.
    authorities = {host, *(f"{host}:{number}" for number in ((port,) if port else (443, 80)))}
    matching: list[tuple[int, bool, str]] = []
    for place, provider in conf.gateways().items():
        authority, _, prefix = place.partition("/")
        prefix = "/" + prefix.strip("/") if prefix.strip("/") else ""
        if authority.lower() in authorities and (path == prefix or path.startswith(prefix + "/")):
            matching.append((len(prefix), ":" in authority, provider))
    if matching:
        return max(matching)[-1]
    if port == _OLLAMA_PORT and path.rstrip("/").endswith(_OLLAMA_PATHS):
        return "ollama"
    return known_provider(host)


def _forget(**_: object) -> None:
    provider_of.cache_clear()
    _endings.cache_clear()


setting_changed.connect(_forget)
