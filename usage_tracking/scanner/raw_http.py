"""Which URLs, as far as they are known, are those of a model."""

from __future__ import annotations

import re
from dataclasses import dataclass

from .catalog import Catalog

_URL = re.compile(r"^(?:(?:https?|wss?)://)?(?P<host>[^/?#]*)(?P<path>[^?#]*)", re.IGNORECASE)
_OLLAMA = re.compile(r"11434|ollama", re.IGNORECASE)
#: Names of settings that hold the address of a model.
_SPEAKING = re.compile(
    r"openai|anthropic|claude|gemini|mistral|groq|cohere|openrouter|deepseek|llm|vllm|ollama|litellm|lm_?studio|qwen|hugging|chat_?completion|gpt|(?:^|_)hf_|(?:^|_)ai_",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Endpoint:
    """What a request asks for."""

    kind: str
    provider: str
    #: Host and path are both known.
    is_certain: bool
    url: str


def recognise(url: str, catalog: Catalog) -> Endpoint | None:
    """The endpoint behind a URL whose unknown parts are in braces, None if it is none."""
    match = _URL.match(url.strip())
    if match is None:
        return None
    host, path = match["host"], re.sub(r"/{2,}", "/", match["path"]).rstrip("/").lower()
    has_host = "://" in url or "." in host or ":" in host
    if not has_host:
        host, path = "", re.sub(r"/{2,}", "/", "/" + url.partition("?")[0].strip("/")).lower()
    name = host.rpartition("@")[2].partition(":")[0] if "{" not in host else host
    provider = catalog.provider_of(name.lower()) if has_host else None
    if provider is None and "{" in host:
        provider = catalog.provider_of(re.sub(r"\{[^}]*\}", "x", host).lower())
    if any(path.endswith(end) for end in catalog.not_path_ends) or any(
        part in path + "/" for part in catalog.not_path_parts
    ):
        return None
    for ending, kind in catalog.paths.items():
        if path.endswith(ending):
            return Endpoint(kind, provider or _said(url), provider is not None, url)
    if _OLLAMA.search(url) or provider == "ollama":
        for ending, kind in catalog.ollama_paths.items():
            if path.endswith(ending):
                return Endpoint(kind, "ollama", is_certain="11434" in url, url=url)
    if provider is not None:
        for ending, kind in catalog.host_paths.items():
            if path.endswith(ending):
                return Endpoint(kind, provider, is_certain=True, url=url)
        if (
            "/models/" in path and provider in {"huggingface", "cloudflare", "google"}
        ) or "/ai/run/" in path:
            return Endpoint("prediction", provider, is_certain=True, url=url)
        # An API of a provider whose path only the running program knows.
        return Endpoint("request", provider, is_certain="{" not in path, url=url)
    if _SPEAKING.search(" ".join(re.findall(r"\{[^}]*\}", url))):
        for ending, kind in catalog.host_paths.items():
            if path.endswith(ending):
                return Endpoint(kind, _said(url), is_certain=False, url=url)
        if re.fullmatch(r"\{[^}]*\}/?", url) and _is_endpoint_name(url):
            return Endpoint("request", _said(url), is_certain=False, url=url)
    return None


def _is_endpoint_name(url: str) -> bool:
    return re.search(r"(?i)(url|uri|endpoint|completions?_api)(_v\d)?\}", url) is not None


def _said(url: str) -> str:
    match = re.search(
        r"(?i)openai|anthropic|gemini|mistral|groq|cohere|openrouter|deepseek|ollama|litellm", url
    )
    return match[0].lower() if match else "unknown"
