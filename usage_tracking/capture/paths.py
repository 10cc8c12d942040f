"""The paths of AI calls, of polls for what they began, and of websockets.

A path is given as its ending. `{}` stands for one segment, `{*}` for one or more.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple

from django.core.signals import setting_changed

from .. import conf
from ..formats import READERS

#: Wire format and operation (https://opentelemetry.io/docs/specs/semconv/registry/attributes/
#: gen-ai/ `gen_ai.operation.name`; where that has no name, the plainest one). "" if the model
#: decides the operation.
_Kind = tuple[str, str]


class Match(NamedTuple):
    """What a path ends with."""

    ending: str
    format: str
    operation: str
    #: The only provider that has such a path, "" if several have.
    owner: str = ""
    #: The request asks about a job that another request began.
    polls: bool = False


# What a POST begins. Generic paths may be a site's own: there only an answer of the right shape is
# recorded.
_CALLS: dict[str, _Kind] = {
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
    "/invocations": ("invocations", "chat"),  # Databricks, SageMaker
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
    "/batches": ("batch", "batch"),
    "/messages/batches": ("anthropic.batch", "batch"),
    ":batchGenerateContent": ("gemini.batch", "batch"),
    ":asyncBatchEmbedContent": ("gemini.batch", "batch"),
    "/batch/jobs": ("mistral.batch", "batch"),
    "/batchPredictionJobs": ("vertex.batch", "batch"),
    "/model-invocation-job": ("bedrock.batch", "batch"),
    "/threads/{}/runs": ("openai.runs", "invoke_agent"),
    "/videos/{}/remix": ("videos", "video_generation"),
}

# Paths that only one provider has, or that mean something else elsewhere: OpenAI only creates a
# conversation where Mistral answers. They count at this provider, and on unknown hosts if the
# answer has the right shape.
_CALLS_OF: dict[str, dict[str, _Kind]] = {
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
    "runway": {
        **dict.fromkeys(
            (
                *("/image_to_video", "/text_to_video", "/video_to_video", "/video_to_hdr"),
                *("/video_upscale", "/character_performance", "/avatar_videos"),
                *("/generate/video", "/recipes/{}"),
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
    },
    "black-forest-labs": {"/v1/flux-{}": ("media.tasks", "image_generation")},
    "luma": {
        **dict.fromkeys(
            ("/dream-machine/v1/generations/image", "/dream-machine/v1/generations/image/reframe"),
            ("media.tasks", "image_generation"),
        ),
        **dict.fromkeys(
            (
                "/dream-machine/v1/generations",
                "/dream-machine/v1/generations/video",
                "/dream-machine/v1/generations/video/{}",
                "/dream-machine/v1/generations/{}/audio",
                "/dream-machine/v1/generations/{}/upscale",
            ),
            ("media.tasks", "video_generation"),
        ),
    },
}

# What asks about a job by GET, or by POST, which may also cancel it or let it go on.
_POLLS: dict[str, _Kind] = {
    "/responses/{}": ("openai.responses", "chat"),
    "/interactions/{}": ("gemini.interactions", "generate_content"),
    "/async/chat/completions/{}": ("perplexity.async", "chat"),
    "/async/sonar/{}": ("perplexity.async", "chat"),
    "/chat/deferred-completion/{}": ("openai.chat", "chat"),  # xAI
    "/threads/{}/runs/{}": ("openai.runs", "invoke_agent"),
    "/videos/{}": ("videos", "video_generation"),
    "/video/generations/jobs/{}": ("videos", "video_generation"),
    "/models/{}/operations/{}": ("google.operations", "video_generation"),
    "/async-invoke/{*}": ("bedrock.async_invoke", "generate_content"),
    "/predictions/{}": ("replicate", "generate_content"),
    "/messages/batches/{}": ("anthropic.batch", "batch"),
    "/messages/batches/{}/results": ("anthropic.batch_results", "batch"),
    "/files/{}:download": ("gemini.batch_results", "batch"),
    "/batches/{}": ("batch", "batch"),
    "/batch/jobs/{}": ("mistral.batch", "batch"),
    "/batchPredictionJobs/{}": ("vertex.batch", "batch"),
    "/model-invocation-job/{*}": ("bedrock.batch", "batch"),
    "/files/{}/content": ("openai.batch_results", "batch"),
}
_POLLS_OF: dict[str, dict[str, _Kind]] = {
    "runway": {"/tasks/{}": ("media.tasks", "video_generation")},
    "black-forest-labs": {"/get_result": ("media.tasks", "image_generation")},
    "luma": {"/dream-machine/v1/generations/{}": ("media.tasks", "video_generation")},
}
_POSTED_POLLS: dict[str, _Kind] = {
    "/responses/{}/cancel": ("openai.responses", "chat"),
    "/interactions/{}/cancel": ("gemini.interactions", "generate_content"),
    "/threads/{}/runs/{}/cancel": ("openai.runs", "invoke_agent"),
    "/threads/{}/runs/{}/submit_tool_outputs": ("openai.runs", "invoke_agent"),
    "/models/{}:fetchPredictOperation": ("google.operations", "video_generation"),
    "/predictions/{}/cancel": ("replicate", "generate_content"),
    "/messages/batches/{}/cancel": ("anthropic.batch", "batch"),
    "/batches/{}/cancel": ("batch", "batch"),
    "/batch/jobs/{}/cancel": ("mistral.batch", "batch"),
}


# What a websocket is opened to; the first that matches. Google's may end with "Constrained", for a
# browser's token.
_SOCKETS = {
    "/audio/transcriptions/realtime": "openai.audio",  # Mistral
    "/audio/speech/realtime": "openai.audio",  # Mistral
    "/realtime": "openai.realtime",  # OpenAI, Azure, xAI
    "/responses": "openai.responses",  # OpenAI, xAI
    "/realtime/translations": "openai.audio",
    "/live/sessions": "openai.audio",
    "/live/sessions/{}/fork": "openai.audio",  # a copy of a session is a session of its own
    "BidiGenerateContent": "gemini.generate_content",
    "BidiGenerateContentConstrained": "gemini.generate_content",
}

#: Words at the end of a path that are looked up: more than any template has.
_MOST_WORDS = 16


def find(method: str, path: str) -> Match | None:
    """Return what a path ends with, None if no request with this method begins or polls a call.

    Every request of the site is searched: most paths have none of the words.

    Args:
        method: "GET" or "POST".
        path: The raw path, percent-encoded, without the query.
    """
    endings, templates = _tables()[method]
    if path[-1:] == "/":
        path = path[:-1]
    word = path[path.rfind("/") + 1 :]
    if (found := endings.get(_word(word) if ":" in word else word)) is not None:
        for match in found:
            if path.endswith(match.ending):
                return match
    words = path.rsplit("/", _MOST_WORDS)
    if templates.keys().isdisjoint(words):
        return None
    for word in words:
        for pattern, match in templates.get(word, ()):
            if pattern.search(path):
                return match
    return None


def find_socket(path: str) -> str:
    """Return the wire format of a websocket, "" if it is none of AI calls.

    Args:
        path: The raw path, percent-encoded, without the query.
    """
    path = path.rstrip("/")
    return next((name for pattern, name in _sockets() if pattern.search(path)), "")


def _forget(**_: object) -> None:
    _tables.cache_clear()
    _sockets.cache_clear()


setting_changed.connect(_forget)

#: Endings by their last word, the longest first, and templates by their first word.
_Table = tuple[dict[str, list[Match]], dict[str, list[tuple[re.Pattern[str], Match]]]]


@lru_cache(maxsize=1)
def _tables() -> dict[str, _Table]:
    return {"POST": _table(_posted()), "GET": _table(_got())}


@lru_cache(maxsize=1)
def _sockets() -> list[tuple[re.Pattern[str], str]]:
    own = {ending: name for ending, name in _own().items() if name in _SOCKETS.values()}
    return [(_compiled(ending), name) for ending, name in (own | _SOCKETS).items()]


def _own() -> dict[str, str]:
    """Return the endings of AI_USAGE_PATHS with their formats."""
    return {
        ending if ending.startswith(":") else "/" + ending.strip("/"): wire_format
        for ending, wire_format in conf.paths().items()
        if wire_format in READERS
    }


def _posted() -> Iterator[Match]:
    own = {ending: (name, READERS[name].operation) for ending, name in _own().items()}
    for ending, kind in (_CALLS | own).items():
        yield Match(ending, *kind)
    for owner, paths in _CALLS_OF.items():
        for ending, kind in paths.items():
            yield Match(ending, *kind, owner)
    for ending, kind in _POSTED_POLLS.items():
        yield Match(ending, *kind, polls=True)


def _got() -> Iterator[Match]:
    for ending, kind in _POLLS.items():
        yield Match(ending, *kind, polls=True)
    for owner, paths in _POLLS_OF.items():
        for ending, kind in paths.items():
            yield Match(ending, *kind, owner, polls=True)


def _table(matches: Iterator[Match]) -> _Table:
    endings: dict[str, list[Match]] = {}
    templates: dict[str, list[tuple[re.Pattern[str], Match]]] = {}
    for match in sorted(matches, key=lambda match: len(match.ending), reverse=True):
        if match.owner or "{" in match.ending:
            templates.setdefault(_first_word(match.ending), []).append(
                (_compiled(match.ending), match)
            )
        else:
            endings.setdefault(_word(match.ending), []).append(match)
    return endings, templates


def _first_word(template: str) -> str:
    """Return the first word of a template, but not a version, which begins the paths of others."""
    words = template.split("/")[1:]
    word = words[1] if words[0] == "v1" and "{" not in words[1] else words[0]
    return word.partition(":")[0]


def _word(path: str) -> str:
    """Return what follows the last slash or colon."""
    return path[max(path.rfind("/"), path.rfind(":")) + 1 :]


def _compiled(template: str) -> re.Pattern[str]:
    pattern = re.escape(template).replace(r"\{\*\}", ".+").replace(r"\{\}", "[^/:]+")
    return re.compile(pattern + "$")
