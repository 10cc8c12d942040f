"""botocore, which boto3 uses.

`URLLib3Session.send` is below signing and retries: one call per attempt. JSON, event streams and
streaming bodies are all read from the `raw` of its response.
https://github.com/boto/botocore/blob/develop/botocore/httpsession.py
"""

from __future__ import annotations

from types import ModuleType
from typing import Any
from urllib.parse import urlsplit

from ..errors import contained
from ..system.patching import is_patched, patch, unpatch
from .exchange import Exchange, begin
from .sending import wrap
from .urllib3 import tee


def hook(module: ModuleType, _transport: str) -> None:
    """Hook botocore."""
    patch(module.URLLib3Session, "send", lambda original: wrap(original, _begin, _listen))


def unhook(module: ModuleType) -> None:
    """Remove the hooks."""
    unpatch(module.URLLib3Session, "send")


def is_hooked(module: ModuleType) -> bool:
    """Return whether every hook is in place."""
    return is_patched(module.URLLib3Session, "send")


@contained
def _begin(_session: Any, request: Any) -> Exchange | None:
    url = urlsplit(request.url)
    body = request.body
    if isinstance(body, str):
        body = body.encode()
    exchange = begin(
        "botocore",
        request.method,
        url.hostname or "",
        url.port,
        url.path,
        bytes(body) if isinstance(body, (bytes, bytearray)) else None,
    )
    if exchange is not None:
        exchange.headers = request.headers
    return exchange


@contained
def _listen(exchange: Exchange, response: Any) -> None:
    exchange.answered(response.status_code, response.headers)
    if response._content is None:
        tee(response.raw, exchange)
    else:  # read already, as it came from the network: botocore decodes nothing
        exchange.chunk(response._content)
        exchange.end()
