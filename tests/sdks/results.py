"""The result of one call of one SDK, for the table in docs/sdks.md."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Result:
    #: The requirement with extras: `openai[aiohttp]`.
    sdk: str
    version: str
    call: str
    #: From the library that the SDK calls to the library that sends the bytes.
    transports: list[str]
    is_async: bool
    streamed: bool
    captured: bool
