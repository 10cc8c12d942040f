"""Recognise AI calls: the path decides the wire format, the host decides the provider."""

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
    """What a request that is an AI call goes to."""

    format: str
    operation: str
    provider: str
    #: The model that the path names, else "".
    model: str
    #: `host[:port]` of a host that is neither in `providers` nor in AI_USAGE_GATEWAYS, or where
    #: sites run services of their own: there only an answer of the right shape counts. Else "".
    unknown_host: str
    #: The request asks about a job that another request began.
    polls: bool = False
    #: Where the call is served, if the host or the path says so and that may have a price of its
    #: own: "eu", or a region of Google.
    geography: str = ""
    #: The path names a deployment, and the price may be for that and not for the model in it.
    is_deployment: bool = False

    @property
    def known_as(self) -> str:
        """The provider, or the host if that is unknown."""
        return self.unknown_host or self.provider


# Path ending → wire format and operation (https://opentelemetry.io/docs/specs/semconv/registry/
# attributes/gen-ai/ `gen_ai.operation.name`; where that has no name, the plainest one). Generic
# paths may be a site's own: there only an answer of the right shape is recorded.
_PATHS = {
    "/chat/completions": ("openai.chat", "chat"),
    "/async/chat/completions": ("perplexity.async", "chat"),
    "/async/sonar": ("perplexity.async", "chat"),
    "/completions": ("openai.chat", "text_completion"),
    "/agents/completions": ("openai.chat", "chat"),  # Mistral
    "/responses": ("openai.responses", "chat"),
    "/responses/compact": ("openai.responses", "chat"),
    "/decisions": ("decisions", "decision"),  # OpenAI, Google
    "/v1/systemone": ("decisions", "decision"),  # Ollama and others
    "/embeddings": ("openai.embeddings", "embeddings"),
    "/multimodalembeddings": ("openai.embeddings", "embeddings"),  # Voyage
    "/contextualizedembeddings": ("openai.embeddings", "embeddings"),
    "/images/generations": ("openai.images", "image_generation"),
    "/images/edits": ("openai.images", "image_generation"),
    "/images/variations": ("openai.images", "image_generation"),
    "/videos": ("videos", "video_generation"),
    "/videos/generations": ("videos", "video_generation"),
    "/videos/edits": ("videos", "video_generation"),
    "/videos/extensions": ("videos", "video_generation"),
    "/video/generations/jobs": ("videos", "video_generation"),  # Azure
    "/threads/runs": ("openai.runs", "invoke_agent"),
    "/audio/transcriptions": ("openai.audio", "transcription"),
    "/audio/translations": ("openai.audio", "transcription"),
    "/audio/speech": ("openai.audio", "speech"),
    "/v1/messages": ("anthropic.messages", "chat"),
    "/v1/complete": ("anthropic.complete", "text_completion"),
    ":generateContent": ("gemini.generate_content", "generate_content"),
    ":streamGenerateContent": ("gemini.generate_content", "generate_content"),
    ":embedContent": ("gemini.embed_content", "embeddings"),
    ":batchEmbedContents": ("gemini.embed_content", "embeddings"),
    ":generateAnswer": ("gemini.generate_content", "generate_content"),
    "/interactions": ("gemini.interactions", "generate_content"),
    ":predict": ("vertex.predict", ""),
    ":predictLongRunning": ("google.operations", "video_generation"),
    ":rawPredict": ("vertex.raw_predict", "chat"),
    ":streamRawPredict": ("vertex.raw_predict", "chat"),
    "/converse": ("bedrock.converse", "chat"),
    "/converse-stream": ("bedrock.converse", "chat"),
    "/invoke": ("bedrock.invoke", ""),
    "/invoke-with-response-stream": ("bedrock.invoke", ""),
    "/async-invoke": ("bedrock.async_invoke", "generate_content"),
    "/invocations": ("openai.chat", "chat"),  # Databricks, SageMaker
    "/v1/chat": ("cohere.chat", "chat"),
    "/v2/chat": ("cohere.chat", "chat"),
    "/v1/generate": ("cohere.chat", "text_completion"),
    "/v1/summarize": ("cohere.chat", "text_completion"),
    "/v2/parse": ("cohere.chat", "ocr"),
    "/v1/classify": ("classify", "classification"),  # Cohere, Jina
    "/v1/embed": ("cohere.embed", "embeddings"),
    "/v2/embed": ("cohere.embed", "embeddings"),
    "/rerank": ("rerank", "rerank"),
    "/ocr": ("mistral.ocr", "ocr"),
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
    "/chat/deferred-completion": ("xai.deferred", "chat"),  # only over gRPC; REST has a GET
    "/batches": ("batch", "batch"),
    "/messages/batches": ("anthropic.batch", "batch"),
    ":batchGenerateContent": ("gemini.batch", "batch"),
    ":asyncBatchEmbedContent": ("gemini.batch", "batch"),
    "/batch/jobs": ("mistral.batch", "batch"),
    "/batchPredictionJobs": ("vertex.batch", "batch"),
    "/model-invocation-job": ("bedrock.batch", "batch"),
}

# Paths that only one provider has, or that mean something else elsewhere: OpenAI only creates a
# conversation where Mistral answers. They count at this provider, and on unknown hosts if the
# answer has the right shape. `{}` stands for one segment, `{*}` for one or more.
_PATHS_OF = {
    "mistral": {
        "/v1/conversations": ("mistral.conversations", "chat"),
        "/v1/conversations/{}": ("mistral.conversations", "chat"),
        "/v1/conversations/{}/restart": ("mistral.conversations", "chat"),
    },
    "aws": {
        "/agents/{}/agentAliases/{}/sessions/{}/text": ("bedrock.agent", "invoke_agent"),
        "/agents/{}": ("bedrock.agent", "invoke_agent"),
        "/flows/{}/aliases/{}": ("bedrock.agent", "invoke_agent"),
        "/retrieveAndGenerate": ("bedrock.agent", "chat"),
        "/retrieveAndGenerateStream": ("bedrock.agent", "chat"),
        "/optimize-prompt": ("bedrock.agent", "chat"),
        "/generateQuery": ("bedrock.agent", "chat"),
    },
    "cloudflare": {
        "/ai/run/{*}": ("cloudflare", ""),
        "/workers-ai/@{}/{}/{}": ("cloudflare", ""),  # through the AI Gateway
    },
    "fireworks": {
        "/workflows/{*}/text_to_image": ("openai.images", "image_generation"),
        "/image_generation/{*}": ("openai.images", "image_generation"),
    },
    "writer": {
        "/v1/applications/{}": ("openai.chat", "text_completion"),
        "/v1/graphs/question": ("openai.chat", "chat"),
    },
    "huggingface": {
        "/hf-inference/models/{}": ("huggingface", ""),
        "/hf-inference/models/{}/{}": ("huggingface", ""),
        # One of feature-extraction and sentence-similarity; other tasks need no name.
        "/hf-inference/models/{}/{}/pipeline/{}": ("huggingface", "embeddings"),
        "/fal-ai/{*}": ("huggingface", ""),
        "/novita/v3/hf/{*}": ("huggingface", ""),
        "/wavespeed/api/v3/{*}": ("huggingface", ""),
    },
}

#: Words in the name of a model → operation, where the path does not decide it. The first match
#: wins.
_WORDS = (
    (("rerank",), "rerank"),
    (("embed", "gecko", "/bge-"), "embeddings"),
    (("imagen", "image", "canvas", "stab", "/flux"), "image_generation"),
    (("whisper",), "transcription"),
    (("/melotts", "/aura-"), "speech"),
)

# The model in a path of Google, Bedrock (an ARN may have slashes), Replicate, Azure, Cloudflare,
# Hugging Face, or of an endpoint of Databricks or SageMaker, whose name the price is for.
_MODEL = re.compile(
    r"/(?:tunedM|m)odels/(?P<google>[^/:]+):\w+/?$"
    r"|/model/(?P<bedrock>.+)/(?:converse|invoke)[a-z-]*/?$"
    r"|/models/(?P<replicate>[^/]+/[^/]+)/predictions/?$"
    r"|/deployments/(?P<azure>[^/]+)/(?:chat/|images/|audio/)?[a-z]+/?$"
    r"|/(?:serving-)?endpoints/(?P<endpoint>[^/]+)(?:/served-models/[^/]+)?/invocations/?$"
    r"|/(?:workflows/(?=.+/text_to_image)|image_generation/)(?P<fireworks>accounts/.+?)"
    r"(?:/text_to_image)?/?$"
    r"|/(?:ai/run/|workers-ai/(?=@))(?P<cloudflare>.+?)/?$"
    r"|/hf-inference/models/(?P<huggingface>[^/]+(?:/[^/]+)?)(?:/pipeline/[^/]+)?/?$"
    r"|/(?:fal-ai|novita/v3/hf|wavespeed/api/v3)/(?P<routed>.+?)/?$"
)

_OLLAMA_PORT = 11434
_OLLAMA_PATHS = ("/api/chat", "/api/generate", "/api/embed", "/api/embeddings", "/v1/systemone")


def recognise(method: str, host: str, port: int | None, path: str) -> Target | None:
    """Return the target of a request, None if the request is not an AI call.

    Args:
        method: The HTTP method, in upper case.
        host: The host, in lower case.
        port: The port, None if the URL names none.
        path: The raw path, percent-encoded, without the query.
    """
    if method not in {"POST", "GET"}:
        return None
    polls = False
    match = _match(path) if method == "POST" else None
    if match is not None:
        wire_format, operation = match.format, match.operation
        model = _model(path)
        if (match.ending in _NEED_MODEL and not model) or model in _NO_MODELS:
            return None
        if not operation:
            operation = next(
                (name for words, name in _WORDS if any(word in model for word in words)),
                "generate_content" if wire_format == "huggingface" else "chat",
            )
    elif (job := _job(method, path)) is not None:
        wire_format, operation, polls = job.format, job.operation, job.polls
        model = _model(path)
    else:
        return None
    provider = provider_of(host, port, path)
    if match is not None and match.owner not in {"", provider or match.owner}:
        return None
    unknown_host = ""
    if provider is None or runs_site_services(host):
        unknown_host = f"{host}:{port}" if port else host
    provider = provider or UNKNOWN
    geography = geography_of(provider, host, path)
    return Target(
        wire_format,
        operation,
        provider,
        model,
        unknown_host,
        polls=polls,
        geography=geography,
        is_deployment=match is not None and match.ending == _DEPLOYMENT,
    )


_DEPLOYMENT = "/invocations"
#: Endings that count only after the name of a model.
_NEED_MODEL = {
    *(":predict", ":predictLongRunning", ":rawPredict", ":streamRawPredict"),
    *("/converse", "/converse-stream", "/invoke", "/invoke-with-response-stream"),
    _DEPLOYMENT,
}
#: Names in the place of a model that are not models: Anthropic on Vertex counts tokens under one.
_NO_MODELS = {"count-tokens"}


# The hosts and paths that keep a call in one geography:
# https://developers.openai.com/api/docs/guides/your-data (also the price)
# https://docs.x.ai/developers/pricing
# https://docs.together.ai/docs/serverless/geo-specific-inference
# https://docs.cloud.google.com/vertex-ai/generative-ai/docs/learn/locations
_GEOGRAPHIES = {
    "openai": re.compile(r"^([a-z0-9-]+)\.api\.openai\.com/"),
    "x-ai": re.compile(r"^([a-z0-9-]+)\.api\.x\.ai/"),
    "together": re.compile(r"^([a-z]+)-api\.together\.ai/"),
    "google": re.compile(r"/locations/(?!global/)([a-z0-9-]+)/"),
}


def geography_of(provider: str, host: str, path: str) -> str:
    """Return the geography that the host or the path keeps a call in, "" if they name none."""
    pattern = _GEOGRAPHIES.get(provider)
    match = pattern.search(host + path) if pattern is not None else None
    return match[1] if match else ""


# Path that asks about a job, or cancels it → method, wire format and operation. Its first word is
# one of the path itself.
_POLL_PATHS = {
    r"/responses/[^/]+": ("GET", "openai.responses", "chat"),
    r"/responses/[^/]+/cancel": ("POST", "openai.responses", "chat"),
    r"/interactions/[^/]+": ("GET", "gemini.interactions", "generate_content"),
    r"/interactions/[^/]+/cancel": ("POST", "gemini.interactions", "generate_content"),
    r"/async/(?:chat/completions|sonar)/[^/]+": ("GET", "perplexity.async", "chat"),
    r"/chat/deferred-completion/[^/]+": ("GET", "openai.chat", "chat"),  # xAI
    r"/threads/[^/]+/runs/[^/]+": ("GET", "openai.runs", "invoke_agent"),
    r"/threads/[^/]+/runs/[^/]+/cancel": ("POST", "openai.runs", "invoke_agent"),
    r"/threads/[^/]+/runs/[^/]+/submit_tool_outputs": ("POST", "openai.runs", "invoke_agent"),
    r"/videos/[^/]+": ("GET", "videos", "video_generation"),
    r"/video/generations/jobs/[^/]+": ("GET", "videos", "video_generation"),
    r"/models/[^/]+/operations/[^/]+": ("GET", "google.operations", "video_generation"),
    r"/models/[^/]+:fetchPredictOperation": ("POST", "google.operations", "video_generation"),
    r"/async-invoke/.+": ("GET", "bedrock.async_invoke", "generate_content"),
    r"/predictions/[^/]+": ("GET", "replicate", "generate_content"),
    r"/predictions/[^/]+/cancel": ("POST", "replicate", "generate_content"),
    r"/tasks/[^/]+": ("GET", "media.tasks", "video_generation"),  # Runway
    r"/get_result": ("GET", "media.tasks", "image_generation"),  # Black Forest Labs
    r"/dream-machine/v1/generations/[^/]+": ("GET", "media.tasks", "video_generation"),  # Luma
    r"/messages/batches/[^/]+": ("GET", "anthropic.batch", "batch"),
    r"/messages/batches/[^/]+/cancel": ("POST", "anthropic.batch", "batch"),
    r"/messages/batches/[^/]+/results": ("GET", "anthropic.batch_results", "batch"),
    r"/files/[^/:]+:download": ("GET", "gemini.batch_results", "batch"),
    r"/batches/[^/:]+": ("GET", "batch", "batch"),
    r"/batches/[^/]+/cancel": ("POST", "batch", "batch"),
    r"/batch/jobs/[^/]+": ("GET", "mistral.batch", "batch"),
    r"/batch/jobs/[^/]+/cancel": ("POST", "mistral.batch", "batch"),
    r"/batchPredictionJobs/[^/:]+": ("GET", "vertex.batch", "batch"),
    r"/model-invocation-job/.+": ("GET", "bedrock.batch", "batch"),
    r"/files/[^/]+/content": ("GET", "openai.batch_results", "batch"),
}
# Path that begins a job, with the id of something else → wire format and operation.
_BEGIN_PATHS = {
    r"/threads/[^/]+/runs": ("openai.runs", "invoke_agent"),
    r"/videos/[^/]+/remix": ("videos", "video_generation"),
    # Runway
    **dict.fromkeys(
        (
            *("/image_to_video", "/text_to_video", "/video_to_video", "/video_to_hdr"),
            *("/video_upscale", "/character_performance", "/avatar_videos", "/generate/video"),
            r"/recipes/[a-z_]+",
        ),
        ("media.tasks", "video_generation"),
    ),
    **dict.fromkeys(
        ("/text_to_image", "/image_upscale", "/generate/image"),
        ("media.tasks", "image_generation"),
    ),
    **dict.fromkeys(
        (
            *("/text_to_speech", "/speech_to_speech", "/sound_effect", "/video_to_audio"),
            *("/voice_dubbing", "/voice_isolation", "/generate/audio"),
        ),
        ("media.tasks", "speech"),
    ),
    r"/v1/flux-[^/]+": ("media.tasks", "image_generation"),  # Black Forest Labs
    # Luma
    r"/dream-machine/v1/generations/image(?:/reframe)?": ("media.tasks", "image_generation"),
    r"/dream-machine/v1/generations(?:/video(?:/\w+)?)?": ("media.tasks", "video_generation"),
    r"/dream-machine/v1/generations/[^/]+/(?:audio|upscale)": ("media.tasks", "video_generation"),
}


class _JobPath(NamedTuple):
    """A path of `_POLL_PATHS` or `_BEGIN_PATHS`."""

    pattern: re.Pattern[str]
    format: str
    operation: str
    polls: bool


def _job_paths() -> dict[str, dict[str, list[_JobPath]]]:
    """Return the paths of jobs by the method and the first word of the path."""
    found: dict[str, dict[str, list[_JobPath]]] = {"GET": {}, "POST": {}}
    asked = [(path, *asked, True) for path, asked in _POLL_PATHS.items()]
    begun = [(path, "POST", *begun, False) for path, begun in _BEGIN_PATHS.items()]
    for path, method, wire_format, operation, polls in (*asked, *begun):
        job = _JobPath(re.compile(f"{path}/?$"), wire_format, operation, polls)
        found[method].setdefault(path.split("/")[1], []).append(job)
    return found


_JOB_PATHS = _job_paths()


def _job(method: str, path: str) -> _JobPath | None:
    """Return the path of a job that `path` ends with, None if there is none.

    Every request of the site is searched: most paths have none of the words.
    """
    jobs = _JOB_PATHS[method]
    for word in path.split("/"):
        for job in jobs.get(word, ()):
            if job.pattern.search(path):
                return job
    return None


class _Match(NamedTuple):
    """What a path ends with."""

    ending: str
    format: str
    operation: str
    #: The only provider that has such a path, "" if several have.
    owner: str = ""


def _match(path: str) -> _Match | None:
    """Return the longest ending of a path that is one of a call, None if it has none.

    Every request of the site is searched: for most, the last word of the path is not one of ours.
    """
    endings, anchor, templates = _endings()
    if path[-1:] == "/":
        path = path[:-1]
    word = path[path.rfind("/") + 1 :]
    if (found := endings.get(_word(word) if ":" in word else word)) is not None:
        for match in found:
            if path.endswith(match.ending):
                return match
    for word in anchor.findall(path):
        for pattern, match in templates[word]:
            if pattern.search(path):
                return match
    return None


def _word(path: str) -> str:
    """Return what follows the last slash or colon."""
    return path[max(path.rfind("/"), path.rfind(":")) + 1 :]


@lru_cache(maxsize=1)
def _endings() -> tuple[
    dict[str, list[_Match]], re.Pattern[str], dict[str, list[tuple[re.Pattern[str], _Match]]]
]:
    """Return the endings by their last word, including AI_USAGE_PATHS, the longest first.

    Then an expression for the words that the paths of one provider begin with, and these paths.
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
    endings: dict[str, list[_Match]] = {}
    for ending in sorted(paths, key=len, reverse=True):
        endings.setdefault(_word(ending), []).append(_Match(ending, *paths[ending]))
    templates: dict[str, list[tuple[re.Pattern[str], _Match]]] = {}
    for owner, of_provider in _PATHS_OF.items():
        for ending, kind in of_provider.items():
            # A version begins the paths of others too.
            word = ending.removeprefix("/v1").split("/")[1]
            match = _Match(ending, *kind, owner)
            templates.setdefault(word, []).append((_compiled(ending), match))
    return endings, re.compile(f"/({'|'.join(sorted(templates))})(?![^/])"), templates


def _compiled(template: str) -> re.Pattern[str]:
    pattern = re.escape(template).replace(r"\{\*\}", ".+").replace(r"\{\}", "[^/]+")
    return re.compile(pattern + "$")


def _model(path: str) -> str:
    match = _MODEL.search(path)
    if match is None:
        return ""
    name = unquote(match[match.lastgroup or 0])
    return model_name(name) if match.lastgroup == "bedrock" else name


@lru_cache(maxsize=512)
def provider_of(host: str, port: int | None, path: str) -> str | None:
    """Return the provider behind a host, None if it is unknown.

    AI_USAGE_GATEWAYS comes first. The longest prefix wins; of two gateways that differ only in the
    port, the one that names it.
    """
    # Without a port, the URL uses the default port of its scheme.
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
