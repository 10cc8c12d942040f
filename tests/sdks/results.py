"""What came of trying one call of one SDK, for the table in docs/sdks.md."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Result:
    #: As it is installed, extras included: `openai[aiohttp]`.
    sdk: str
    version: str
    call: str
    #: From the library that the SDK called down to the one that sent the bytes.
    transports: list[str]
    is_async: bool
    streamed: bool
    captured: bool
