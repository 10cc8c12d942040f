"""Encode AWS event streams: binary frames with two checksums, which botocore verifies.

https://docs.aws.amazon.com/transcribe/latest/dg/event-stream.html
"""

from __future__ import annotations

import struct
from zlib import crc32

from project.stub.wire import compact

_STRING = 7


def event_frame(kind: str, value: object) -> bytes:
    """Return a frame with an event of type `kind`."""
    return _frame({":event-type": kind, **_JSON, ":message-type": "event"}, compact(value))


def exception_frame(kind: str, value: object) -> bytes:
    """Return a frame with an exception of type `kind`."""
    return _frame({":exception-type": kind, **_JSON, ":message-type": "exception"}, compact(value))


_JSON = {":content-type": "application/json"}


def _frame(headers: dict[str, str], payload: bytes) -> bytes:
    head = b"".join(_header(name, value) for name, value in headers.items())
    # Total length: prelude with its checksum (12), headers, payload, checksum (4).
    prelude = struct.pack(">II", 12 + len(head) + len(payload) + 4, len(head))
    frame = prelude + _checksum(prelude) + head + payload
    return frame + _checksum(frame)


def _header(name: str, value: str) -> bytes:
    raw_name, raw_value = name.encode(), value.encode()
    length = struct.pack(">BH", _STRING, len(raw_value))
    return bytes([len(raw_name)]) + raw_name + length + raw_value


def _checksum(data: bytes) -> bytes:
    return struct.pack(">I", crc32(data))
