"""The AI providers and their hosts: the one table that capture and the scanner read.

`providers.json` maps each provider to its `hosts`. Its names are those of genai-prices
(https://github.com/pydantic/genai-prices) if that has the provider, because the price of a call is
looked up by this name; a test checks it. In a host, `*` stands for any characters.

- `site_hosts` are those of the hosts where sites run services of their own. There capture records a
  call only if its answer has the right shape, as on an unknown host.
- `mixed_hosts` are those of the hosts that serve other APIs too. There the scanner reports a call
  only if its path is one of a model.

The hosts of Bedrock: https://docs.aws.amazon.com/general/latest/gr/bedrock.html and
https://docs.aws.amazon.com/bedrock/latest/userguide/endpoints.html (Claude Platform on AWS, which
has Anthropic's names and prices: https://docs.aws.amazon.com/claude-platform/latest/userguide/)
The hosts of SageMaker: https://docs.aws.amazon.com/general/latest/gr/sagemaker.html
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from fnmatch import fnmatchcase
from functools import lru_cache
from pathlib import Path

# JSON, because every site reads it when it starts and has `json` loaded already.
PATH = Path(__file__).with_name("providers.json")

_TABLE: dict[str, dict[str, list[str]]] = json.loads(PATH.read_bytes())


def _hosts(key: str) -> Iterator[tuple[str, str]]:
    for provider, entry in _TABLE.items():
        for host in entry.get(key, ()):
            yield host, provider


#: Host or pattern → provider.
HOSTS = dict(_hosts("hosts"))
#: Hosts and patterns where sites run services of their own.
SITE_HOSTS = tuple(host for host, _ in _hosts("site_hosts"))
#: Hosts and patterns that serve other APIs too.
MIXED_HOSTS = tuple(host for host, _ in _hosts("mixed_hosts"))

OLLAMA_PORT = 11434
_OLLAMA_PATHS = ("/api/chat", "/api/generate", "/api/embed", "/api/embeddings", "/v1/systemone")

_PATTERNS = {host: provider for host, provider in HOSTS.items() if "*" in host}


def provider_of(host: str) -> str | None:
    """Return the provider behind a host name in lower case, None if the table has none."""
    if host in HOSTS and "*" not in host:
        return HOSTS[host]
    return next(
        (provider for pattern, provider in _PATTERNS.items() if fnmatchcase(host, pattern)), None
    )


def provider_at(
    host: str, port: int | None, path: str, gateways: Iterable[tuple[str, str]]
) -> str | None:
    """Return the provider behind a host, port and path, None if it is unknown.

    Gateways come first. The longest prefix wins; of two gateways that differ only in the port, the
    one that names it.

    Args:
        host: The host, in lower case.
        port: The port, None if the URL names none.
        path: The raw path, percent-encoded, without the query.
        gateways: The items of AI_USAGE_GATEWAYS: `host[:port][/prefix]` and provider.
    """
    # Without a port, the URL uses the default port of its scheme.
    authorities = {host, *(f"{host}:{number}" for number in ((port,) if port else (443, 80)))}
    matching: list[tuple[int, bool, str]] = []
    for place, provider in gateways:
        authority, _, prefix = place.partition("/")
        prefix = "/" + prefix.strip("/") if prefix.strip("/") else ""
        if authority.lower() in authorities and (path == prefix or path.startswith(prefix + "/")):
            matching.append((len(prefix), ":" in authority, provider))
    if matching:
        return max(matching)[-1]
    if port == OLLAMA_PORT and path.rstrip("/").endswith(_OLLAMA_PATHS):
        return "ollama"
    return provider_of(host)


@lru_cache(maxsize=512)  # capture asks for each call
def runs_site_services(host: str) -> bool:
    """Return whether sites run services of their own under a known host."""
    return _is_any(host, SITE_HOSTS)


def has_other_apis(host: str) -> bool:
    """Return whether a known host serves other APIs than those of models."""
    return _is_any(host, MIXED_HOSTS)


def _is_any(host: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatchcase(host, pattern) for pattern in patterns)
