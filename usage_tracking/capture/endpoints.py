"""Recognise AI calls: the path decides the wire format, the host decides the provider."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple
from urllib.parse import unquote

from django.core.signals import setting_changed

from .. import conf
from ..call_paths import DEPLOYMENT, MODEL, fits
from ..events import UNKNOWN
from ..formats.bedrock_converse import model_name
from ..providers import provider_at, runs_site_services
from . import paths


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


#: Words in the name of a model → operation, where the path does not decide it. The first match
#: wins.
_WORDS = (
    (("rerank",), "rerank"),
    (("embed", "gecko", "/bge-"), "embeddings"),
    (("imagen", "image", "canvas", "stab", "/flux"), "image_generation"),
    (("whisper",), "transcription"),
    (("/melotts", "/aura-"), "speech"),
)


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
    match = paths.table().find(method, path)
    if match is None:
        return None
    model = _model(path)
    provider = provider_of(host, port, path)
    if not fits(match, model, provider):
        return None
    unknown_host = ""
    if provider is None or runs_site_services(host):
        unknown_host = f"{host}:{port}" if port else host
    provider = provider or UNKNOWN
    geography = geography_of(provider, host, path)
    return Target(
        match.format,
        match.operation or _operation(match.format, model),
        provider,
        model,
        unknown_host,
        polls=match.polls,
        geography=geography,
        is_deployment=match.ending == DEPLOYMENT,
    )


def _operation(wire_format: str, model: str) -> str:
    """Return the operation of a call whose path does not decide it."""
    return next(
        (name for words, name in _WORDS if any(word in model for word in words)),
        "generate_content" if wire_format == "huggingface" else "chat",
    )


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


def _model(path: str) -> str:
    match = MODEL.search(path)
    if match is None:
        return ""
    name = unquote(match[match.lastgroup or 0])
    return model_name(name) if match.lastgroup == "bedrock" else name


@lru_cache(maxsize=512)
def provider_of(host: str, port: int | None, path: str) -> str | None:
    """Return the provider behind a host, None if it is unknown; AI_USAGE_GATEWAYS comes first."""
    return provider_at(host, port, path, conf.gateways().items())


def _forget(**_: object) -> None:
    provider_of.cache_clear()


setting_changed.connect(_forget)
