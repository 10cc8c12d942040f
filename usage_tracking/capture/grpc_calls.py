"""One AI call over gRPC: its messages and its end, passed to an exchange as HTTP would."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection
from typing import Any
from urllib.parse import urlsplit

from .. import conf
from ..errors import contained
from .exchange import Exchange, begin
from .grpc_methods import Method, Piece, http_body, named, rest_path

_JSON, _EVENTS = "application/json", "text/event-stream"

#: What is read of an answer that cannot be.
_UNREADABLE = Piece(b"{}")

#: What grpc says in the details of a call that this side has given up.
_LEFT = (
    "Locally cancelled by application!",
    "Cancelled upon garbage collection!",
    "Channel closed!",
)


class GRPCCall:
    """Takes the messages of one call, and records it at the first of its possible ends.

    Nothing here raises. A thread of grpc and the caller's may both end a call: the second waits
    until the first has recorded it, so that a caller who goes on finds it recorded.
    """

    def __init__(
        self,
        exchange: Exchange,
        method: Method,
        request: dict[str, Any] | bytes,
        *,
        is_stream: bool,
        is_ended_by_message: bool,
    ) -> None:
        """Begin a call.

        Args:
            exchange: The exchange of the call.
            method: What is called.
            request: What the exchange has of the request; the model is added when it is seen.
            is_stream: Whether the answer is a stream of messages.
            is_ended_by_message: Whether there is a message only if the call succeeds.
        """
        self._exchange = exchange
        self._method = method
        self._request = request
        self._is_stream = is_stream
        self._is_ended_by_message = is_ended_by_message
        self._is_sent = False
        self._is_answered = False
        #: The single answer, None while it is not there yet.
        self._piece: Piece | None = _UNREADABLE
        self._lock = threading.RLock()
        self._is_done = False

    def serializer(self, original: Callable[[Any], bytes] | None) -> Callable[[Any], bytes]:
        """Return `original`, which turns a request into bytes, watched."""

        def serialize(request: Any) -> bytes:
            data: bytes = request if original is None else original(request)
            self._asked(request)
            return data

        return serialize

    def deserializer(self, original: Callable[[bytes], Any] | None) -> Callable[[bytes], Any]:
        """Return `original`, which turns bytes into a message of the answer, watched."""

        def deserialize(data: bytes) -> Any:
            try:
                message = data if original is None else original(data)
            except BaseException as error:
                self.failed(error)
                raise
            self._took(message)
            return message

        return deserialize

    @contained
    def succeeded(self) -> None:
        """End a call with the status OK."""
        with self._lock:
            if not self._ends():
                return
            if self._is_stream:
                self._answer(_EVENTS)
                self._exchange.end()
            elif self._piece is not None:
                self._answer(self._piece.content_type or _JSON)
                self._exchange.whole(self._piece.data)

    @contained
    def ended(self, code: Any, details: str | None) -> None:
        """End a call with a status, a `grpc.StatusCode`."""
        if code.name == "OK":
            self.succeeded()
        elif self._is_stream and any(left in (details or "") for left in _LEFT):
            self.left()
        else:
            self._fail(_error(code.name, details))

    @contained
    def failed(self, error: BaseException) -> None:
        """End a call that raised."""
        code, details = getattr(error, "code", None), getattr(error, "details", None)
        if callable(code) and callable(details) and hasattr(status := code(), "name"):
            self.ended(status, details())
        else:
            self._fail(error)

    @contained
    def left(self) -> None:
        """End a call that this side has given up."""
        with self._lock:
            if self._ends():
                self._exchange.end(abandoned=True)

    @contained
    def __del__(self) -> None:
        if self._ends():
            self._exchange.abandon()

    def _ends(self) -> bool:
        """Return whether this is the first end of a call that was sent."""
        is_first, self._is_done = not self._is_done, True
        return is_first and self._is_sent

    def _fail(self, error: BaseException) -> None:
        with self._lock:
            if not self._ends():
                return
            if self._is_answered:
                self._exchange.end(error)
            else:
                self._exchange.failed(error)

    def _answer(self, content_type: str) -> None:
        if not self._is_answered:
            self._is_answered = True
            self._exchange.answered(200, {"content-type": content_type})

    @contained
    def _asked(self, request: Any) -> None:
        self._is_sent = True
        if isinstance(self._request, dict) and not self._request.get("model"):
            self._request["model"] = named(request, "model").rpartition("/")[2]

    @contained
    def _took(self, message: Any) -> None:
        if self._is_stream:
            self._took_part(self._method.read(message))
            return
        try:
            self._piece = self._method.read(message)
        finally:
            if self._is_ended_by_message:
                self.succeeded()

    def _took_part(self, piece: Piece | None) -> None:
        if piece is not None:
            self._answer(piece.content_type or _EVENTS)
            is_event = not piece.content_type
            self._exchange.chunk(b"data: %b\n\n" % piece.data if is_event else piece.data)


@contained
def open_call(
    method: Method,
    target: str,
    request: Any,
    metadata: Any,
    *,
    is_stream: bool,
    is_ended_by_message: bool,
) -> GRPCCall | None:
    """Return the call that a request opens, None if it is not one to record.

    Args:
        method: What is called.
        target: The target of the channel, such as "dns:///api.x.ai:443".
        request: The message of the request; an iterator if it is a stream of messages.
        metadata: The metadata of the request, None if it has none.
        is_stream: Whether the answer is a stream of messages.
        is_ended_by_message: Whether there is a message only if the call succeeds.
    """
    host, port = _address(target)
    resource = named(request, method.field)
    model = named(request, "model").rpartition("/")[2]
    body = http_body(request) or {"model": model}
    exchange = begin("grpc", method.verb, host, port, rest_path(method, resource), body)
    if exchange is None:
        return None
    if isinstance(metadata, Collection) and conf.key_hint():
        exchange.headers = dict(metadata)
    return GRPCCall(
        exchange,
        method,
        body,
        is_stream=is_stream,
        is_ended_by_message=is_ended_by_message,
    )


def _address(target: str) -> tuple[str, int | None]:
    """Return host and port of a target: https://github.com/grpc/grpc/blob/master/doc/naming.md."""
    _, slashes, endpoint = target.rpartition("/")
    if not slashes and target.startswith(("dns:", "ipv4:", "ipv6:", "passthrough:")):
        endpoint = target.partition(":")[2]
    try:
        url = urlsplit(f"//{endpoint}")
        return url.hostname or "", url.port
    except ValueError:
        return endpoint.lower(), None


def _error(code: str, details: str | None) -> Exception:
    """Return an error that is shown as "UNAVAILABLE: …", as REST shows the status."""
    kind: type[Exception] = type(code, (Exception,), {})
    return kind(details or "")
