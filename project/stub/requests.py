"""Read request bodies: with a length or chunked, JSON or multipart forms."""

from __future__ import annotations

import json
from collections.abc import Iterator
from email.message import Message
from email.parser import BytesParser
from email.policy import HTTP
from io import BufferedIOBase
from typing import Any

from project.stub.wire import BadRequestError


class UnreadableError(ValueError):
    """The end of the body is unknown, so the connection cannot be reused."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


def read_body(headers: Message, stream: BufferedIOBase) -> bytes:
    """Return the body. Raises UnreadableError."""
    if headers.get("Transfer-Encoding", "").strip().lower() == "chunked":
        return b"".join(_chunks(stream))
    length = headers.get("Content-Length", "")
    if not length.isdigit():
        raise UnreadableError(411, "The request must have a Content-Length or a chunked body.")
    return stream.read(int(length))


def object_of(body: bytes, content_type: str) -> dict[str, Any]:
    """Return the fields of the body. Files are bytes; an empty body has no fields.

    Raises BadRequestError.
    """
    if content_type.startswith("multipart/form-data"):
        return _form(body, content_type)
    if not body:
        return {}
    try:
        value = json.loads(body)
    except ValueError:
        raise BadRequestError("We could not parse the JSON body of your request.") from None
    if not isinstance(value, dict):
        raise BadRequestError("The JSON body of a request must be an object.")
    return value


def _chunks(stream: BufferedIOBase) -> Iterator[bytes]:
    while True:
        # Extensions may follow the size: https://www.rfc-editor.org/rfc/rfc9112#section-7.1
        line = stream.readline(1024).partition(b";")[0].strip()
        try:
            size = int(line, 16)
        except ValueError:
            raise UnreadableError(400, "The chunked body is malformed.") from None
        if size == 0:
            while stream.readline(8192).strip():
                pass  # trailers
            return
        yield stream.read(size)
        stream.readline(8)


def _form(body: bytes, content_type: str) -> dict[str, Any]:
    # A form is a MIME message without its header.
    message = BytesParser(policy=HTTP).parsebytes(
        b"Content-Type: " + content_type.encode() + b"\r\n\r\n" + body
    )
    fields: dict[str, Any] = {}
    for part in message.iter_parts():
        name = part.get_param("name", header="Content-Disposition")
        content = part.get_payload(decode=True)
        if isinstance(name, str) and isinstance(content, bytes):
            is_file = part.get_filename() is not None
            fields[name] = content if is_file else content.decode("utf-8", "replace")
    return fields
