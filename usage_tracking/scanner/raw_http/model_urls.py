"""Which URLs belong to a model, judged by their known parts."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from ...providers import has_other_apis
from .. import recorded_urls
from ..catalog import Catalog

_URL = re.compile(r"^(?:(?:https?|wss?)://)?(?P<host>[^/?#]*)(?P<path>[^?#]*)", re.IGNORECASE)
_UNKNOWN_PART = re.compile(r"\{[^}]*\}")
_OLLAMA = re.compile(r"11434|ollama", re.IGNORECASE)
#: Names of settings that hold the URL of a model.
_MODEL_SETTING = re.compile(
    r"openai|anthropic|claude|gemini|mistral|groq|cohere|openrouter|deepseek|llm|vllm|ollama|litellm|lm_?studio|qwen|hugging|chat_?completion|gpt|(?:^|_)hf_|(?:^|_)ai_",
    re.IGNORECASE,
)
_URL_SETTING = re.compile(r"(?:url|uri|endpoint|completions?_api)(?:_v\d)?\}", re.IGNORECASE)
_PROVIDER = re.compile(
    r"openai|anthropic|gemini|mistral|groq|cohere|openrouter|deepseek|ollama|litellm",
    re.IGNORECASE,
)
#: Names of hosts and settings of servers that a site runs for its models.
_MODEL_SERVER = re.compile(
    r"(?:^|[^a-z])(?:tgi|tei|v?llms?|triton|kserve|sagemaker|inference|predictor|embeddings?|rerank(?:er)?|diffusion|comfy(?:ui)?|whisper|llama|bento(?:ml)?|ray_?serve|mlflow|ml_server|lm_server|lmstudio)(?:[^a-z]|$)",
    re.IGNORECASE,
)
#: Keys of bodies that such a server gets at any path.
_SERVER_BODIES = {"inputs": "completion", "prompt": "completion", "instances": "prediction"}
#: Keys of bodies whose answers are those of a provider with the same path, and those of others.
_ANSWERED_ALIKE = {"model", "documents"}
_ANSWERED_OTHERWISE = {"instances", "texts"}
#: Providers with a path for each model: `/models/{model}`.
_PATH_PER_MODEL = {"huggingface", "cloudflare", "google"}


@dataclass(frozen=True, slots=True)
class ModelURL:
    """A URL of a model, and the kind of call that it serves."""

    kind: str
    provider: str
    #: Host and path are both known.
    is_certain: bool
    url: str
    #: The host belongs to a provider.
    is_known_host: bool = True
    #: Keys of the body that show what it asks, if the URL alone does not.
    keys: frozenset[str] = frozenset()

    def is_recorded(self, tracking: recorded_urls.Tracking) -> bool | None:
        """Return whether capture records a request to it; None if that is unknown.

        A server of the site may have a path of a provider, and answer in another way.
        """
        found = recorded_urls.is_recorded(self.url, tracking=tracking)
        if not found or not self.keys or self.keys & _ANSWERED_ALIKE:
            return found
        return None if self.keys.isdisjoint(_ANSWERED_OTHERWISE) else False

    @classmethod
    def unknown(cls, kind: str, url: str, keys: frozenset[str] = frozenset()) -> ModelURL:
        """Return a URL of a model whose host is unknown."""
        provider = _named_provider(url)
        return cls(kind, provider, is_certain=False, url=url, is_known_host=False, keys=keys)


def is_excluded(url: str, catalog: Catalog) -> bool:
    """Return whether a path is known to call no model: a list of models, a count of tokens."""
    if recorded_urls.kind_by_settings(url, catalog.tracking):
        return False
    parts = _split(url)
    return parts is not None and _calls_no_model(parts[1], catalog)


def of_own_server(url: str, groups: Sequence[set[str]], catalog: Catalog) -> ModelURL | None:
    """Return a URL of an unknown host as one of a model if path and body fit.

    Args:
        url: The URL, with unknown parts in braces.
        groups: The keys of the body, then those in each of its envelopes.
        catalog: The paths, and the bodies that each gets.
    """
    parts = _split(url)
    if parts is None:
        return None
    host, path = parts
    for end, kind, bodies in catalog.own_paths:
        if fnmatchcase(path, f"*{end}"):
            for known in bodies:
                if any(known <= group for group in groups):
                    return ModelURL.unknown(kind, url, known)
    if path.strip("/") in {"", "prompt"} or _UNKNOWN_PART.fullmatch(path.strip("/")):
        name = host or path
        for key, kind in _SERVER_BODIES.items():
            if any(key in group for group in groups) and _MODEL_SERVER.search(name):
                return ModelURL.unknown(kind, url, frozenset({key}))
    return None


def is_of_other_service(url: str, catalog: Catalog, *, is_collection_other: bool) -> bool:
    """Return whether the known parts of a URL name another service than a model.

    Args:
        url: The URL, with unknown parts in braces.
        catalog: The hosts and words of other services.
        is_collection_other: A path to a collection of things, as `/cars`, is one of another
            service.
    """
    host, path = _split(url) or ("", "")
    name = _name(host)
    if any(name == each or name.endswith(f".{each}") for each in catalog.other_hosts):
        return True
    if _MODEL_SERVER.search(f"{host}{path}"):
        return False
    words = re.findall(r"[a-z]+", _UNKNOWN_PART.sub(" ", f"{name} {path}".lower()))
    if not catalog.other_words.isdisjoint(words):
        return True
    steps = [
        step for step in _UNKNOWN_PART.sub("", path).split("/") if re.search(r"[a-z]{3}", step)
    ]
    return is_collection_other and bool(steps) and _is_collection(steps[-1])


def _is_collection(step: str) -> bool:
    """Return whether the last step of a path is the plural of things to store."""
    return step.endswith("s") and not step.endswith(
        ("ss", "ions", "chats", "messages", "prompts", "summaries")
    )


def recognise(url: str, catalog: Catalog) -> ModelURL | None:
    """Return a URL as one of a model, None if it is not.

    Unknown parts of the URL are in braces: `https://{HOST}/v1/chat/completions`.
    """
    parts = _split(url)
    if parts is None:
        return None
    host, path = parts
    name = _name(host)
    gateway = recorded_urls.gateway_of(url, catalog.tracking)
    provider = gateway or (_provider_of(name, catalog) if name else None)
    if kind := recorded_urls.kind_by_settings(url, catalog.tracking):
        is_known = bool(name) and "{" not in name
        return ModelURL(kind, provider or _named_provider(url), is_known, url)
    if _calls_no_model(path, catalog):
        return None
    if kind := _kind(path, catalog.paths):
        is_known = provider is not None
        return ModelURL(kind, provider or _named_provider(url), is_known, url, is_known)
    if (_OLLAMA.search(url) or provider == "ollama") and (
        kind := _kind(path, catalog.ollama_paths)
    ):
        return ModelURL(kind, "ollama", is_certain="11434" in url, url=url)
    if gateway and (kind := _kind(path, catalog.host_paths)):
        return ModelURL(kind, gateway, is_certain=True, url=url)
    if provider is not None and not gateway and not has_other_apis(name):
        return _of_provider(url, path, provider, catalog)
    if provider is not None and "/ai/run/" in path:
        return ModelURL("prediction", provider, is_certain=True, url=url)
    return _of_setting(url, path, catalog)


def _calls_no_model(path: str, catalog: Catalog) -> bool:
    if path.endswith(catalog.not_path_ends):
        return True
    # `/v1/models/NAME` is about a model, `/v1/models/NAME:predict` asks it.
    is_verb = ":" in path.rpartition("/")[2]
    return not is_verb and any(part in path + "/" for part in catalog.not_path_parts)


def _split(url: str) -> tuple[str, str] | None:
    """Return the host, "" if there is none, and the path in lower case."""
    match = _URL.match(url.strip())
    if match is None:
        return None
    host, path = match["host"], match["path"]
    if "://" in url or "." in host or ":" in host:
        return host, re.sub(r"/{2,}", "/", path).rstrip("/").lower()
    return "", re.sub(r"/{2,}", "/", "/" + url.partition("?")[0].strip("/")).lower()


def _name(host: str) -> str:
    """Return a host without user and port, in lower case; with unknown parts as it is."""
    return (host if "{" in host else host.rpartition("@")[2].partition(":")[0]).lower()


def _provider_of(name: str, catalog: Catalog) -> str | None:
    provider = catalog.provider_of(name)
    if provider is None and "{" in name:
        provider = catalog.provider_of(_UNKNOWN_PART.sub("x", name))
    return provider


def _kind(path: str, kinds: Mapping[str, str]) -> str:
    return next((kind for ending, kind in kinds.items() if path.endswith(ending)), "")


def _of_provider(url: str, path: str, provider: str, catalog: Catalog) -> ModelURL:
    if kind := _kind(path, catalog.host_paths):
        return ModelURL(kind, provider, is_certain=True, url=url)
    if kind := next((kind for part, kind in catalog.host_parts.items() if part in path), ""):
        return ModelURL(kind, provider, is_certain=True, url=url)
    if ("/models/" in path and provider in _PATH_PER_MODEL) or "/ai/run/" in path:
        return ModelURL("prediction", provider, is_certain=True, url=url)
    # An API of a provider whose path is known only when the program runs.
    return ModelURL("request", provider, is_certain="{" not in path, url=url)


def _of_setting(url: str, path: str, catalog: Catalog) -> ModelURL | None:
    """Judge a URL of an unknown host by the settings that it is made of."""
    if not _MODEL_SETTING.search(" ".join(_UNKNOWN_PART.findall(url))):
        return None
    if kind := _kind(path, catalog.host_paths):
        return ModelURL.unknown(kind, url)
    if re.fullmatch(r"\{[^}]*\}/?", url) and _URL_SETTING.search(url):
        return ModelURL.unknown("request", url)
    return None


def _named_provider(url: str) -> str:
    match = _PROVIDER.search(url)
    return match[0].lower() if match else "unknown"
