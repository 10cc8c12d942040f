"""botocore, which boto3 uses.

`URLLib3Session.send` is below signing and retries: one call per attempt. JSON, event streams and
streaming bodies are all read from the `raw` of its response.
https://github.com/boto/botocore/blob/develop/botocore/httpsession.py

A handler of botocore's event `before-send` may answer a request, which is then not sent: so do the
mocks of moto. https://docs.getmoto.org/en/latest/docs/getting_started.html
"""

from __future__ import annotations

import io
import sys
from contextvars import ContextVar
from types import ModuleType
from typing import Any
from urllib.parse import urlsplit

import wrapt

from ..errors import contained
from ..system.patching import is_patched, patch, unpatch
from .exchange import Exchange, begin
from .sending import wrap
from .urllib3 import tee

_ENDPOINT = "botocore.endpoint"

#: The request that an endpoint was asked for and that nothing has sent.
_unsent: ContextVar[Any] = ContextVar("ai_usage_unsent", default=None)


def hook(module: ModuleType, _transport: str) -> None:
    """Hook botocore."""
    patch(module.URLLib3Session, "send", lambda original: wrap(original, _begin, _listen))
    wrapt.register_post_import_hook(_hook_endpoint, _ENDPOINT)


def _hook_endpoint(module: ModuleType) -> None:
    if is_hooked(sys.modules["botocore.httpsession"]):
        patch(module.Endpoint, "_do_get_response", _answering)


def unhook(module: ModuleType) -> None:
    """Remove the hooks."""
    unpatch(module.URLLib3Session, "send")
    if endpoint := sys.modules.get(_ENDPOINT):
        unpatch(endpoint.Endpoint, "_do_get_response")


def is_hooked(module: ModuleType) -> bool:
    """Return whether every hook is in place."""
    return is_patched(module.URLLib3Session, "send")


@contained
def _begin(_session: Any, request: Any) -> Exchange | None:
    _unsent.set(None)
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
        response.raw = tee(response.raw, exchange)
    else:  # read already, as it came from the network: botocore decodes nothing
        exchange.chunk(response._content)
        exchange.end()


def _answering(original: Any) -> Any:
    """Return `Endpoint._do_get_response` with the answers captured that come from no server."""

    def answer(endpoint: Any, request: Any, *args: Any, **options: Any) -> Any:
        _unsent.set(request)
        result = original(endpoint, request, *args, **options)
        _answered(*result)
        return result

    return answer


@contained
def _answered(success: tuple[Any, Any] | None, error: BaseException | None) -> None:
    request = _unsent.get()
    if request is None or (exchange := _begin(None, request)) is None:
        return
    if success is None:
        exchange.failed(error or LookupError("no answer"))
        return
    response, _ = success
    if response._content is None and isinstance(response.raw, io.BytesIO):
        exchange.answered(response.status_code, response.headers)
        exchange.whole(response.raw.getvalue())
    else:
        _listen(exchange, response)
