"""Checks for every SDK: its calls are recorded as served, and its behavior does not change."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.contrib.auth.models import User

from project.stub import StubProvider
from tests.sdks.results import Result
from tests.support import comparison
from usage_tracking import ai_usage
from usage_tracking.capture import exchange

SECTION = "knowledge_qa"
#: Instructions for the stub with which the calls are made.
ORDERS = ("", "gzip")

Call = Callable[[Any, str], Any]


@dataclass(frozen=True)
class Way:
    """One way to make a call with an SDK.

    `call` gets the stub of the session and a prompt, and returns the SDK's answer as plain data.
    """

    #: The requirement with extras: `openai[aiohttp]`.
    sdk: str
    call: Call
    streamed: bool

    @property
    def is_async(self) -> bool:
        return inspect.iscoroutinefunction(self.call)

    def __str__(self) -> str:
        return self.call.__name__


def ways(sdk: str, plain: Sequence[Call], streamed: Sequence[Call] = ()) -> list[Any]:
    found = [Way(sdk, call, streamed=False) for call in plain]
    found += [Way(sdk, call, streamed=True) for call in streamed]
    return [pytest.param(way, id=str(way)) for way in found]


class Bench:
    def __init__(self, stub: StubProvider, user: User, patch: pytest.MonkeyPatch) -> None:
        self._stub = stub
        self._user = user
        self._carriers = _watch(patch)
        self.results: list[Result] = []

    def check(self, way: Way, order: str = "") -> None:
        """Check that one call has a row as served and the same answer as without capture."""
        prompt = f"Why is the sky blue? [stub {order}]"
        with comparison.without_capture():
            untouched = self._ask(way, prompt)
        self._reset()
        answer = self._ask(way, prompt)

        rows = comparison.rows()
        journal = self._stub.journal
        self._note(way, captured=_alike(rows, journal))
        assert steady(answer) == steady(untouched)
        assert [(served.status, served.completed) for served in journal] == [(200, True)]
        comparison.assert_recorded_as_served(rows, journal)
        assert len(rows) == 1
        assert comparison.attributed(rows[0]) == (self._user.get_username(), SECTION)
        assert rows[0].error_message is None
        assert "partial" not in rows[0].metadata
        assert "unknown" not in rows[0].metadata or journal[0].prompt_tokens is None

    def check_refusal(self, way: Way) -> None:
        """Check that a refused call has a row with the failure and raises the SDK's own error."""
        prompt = "Why is the sky blue? [stub status=400]"
        with comparison.without_capture(), pytest.raises(Exception) as untouched:  # noqa: PT011
            self._ask(way, prompt)
        self._reset()
        with pytest.raises(Exception) as raised:  # noqa: PT011
            self._ask(way, prompt)

        # botocore creates new error classes for each session.
        assert repr(raised.type) == repr(untouched.type)
        comparison.assert_recorded_as_served(comparison.rows(), self._stub.journal)
        row = comparison.only_row()
        assert not row.success
        assert row.error_message
        assert comparison.attributed(row) == (self._user.get_username(), SECTION)

    def _ask(self, way: Way, prompt: str) -> Any:
        async def main() -> Any:
            async with ai_usage(section=SECTION, user=self._user):
                return await way.call(self._stub, prompt)

        if way.is_async:
            return async_to_sync(main)()
        with ai_usage(section=SECTION, user=self._user):
            return way.call(self._stub, prompt)

    def _reset(self) -> None:
        assert not comparison.rows(), "a call was recorded without capture"
        assert self._stub.journal, "the SDK did not call the stub"
        self._stub.clear()
        self._carriers.clear()

    def _note(self, way: Way, *, captured: bool) -> None:
        self.results.append(
            Result(
                sdk=way.sdk,
                version=version(way.sdk.partition("[")[0]),
                call=str(way),
                transports=list(dict.fromkeys(self._carriers)),
                is_async=way.is_async,
                streamed=way.streamed,
                captured=captured,
            )
        )


#: Keys of all SDKs whose values differ between two answers to the same prompt.
_VOLATILE = {
    "ResponseMetadata",
    "_request_id",
    "conversation_id",
    "generation_id",
    "headers",
    "id",
    "message_id",
    "response_id",
    "response_ms",
    "run_id",
    "sdk_http_response",
    "x_groq",
}


def steady(value: Any) -> Any:
    """Return an SDK's answer as plain data, without the keys that always differ."""
    if isinstance(value, dict):
        kept = {name: item for name, item in value.items() if name not in _VOLATILE}
        return {name: steady(item) for name, item in comparison.steady(kept).items()}
    if isinstance(value, list):
        return [steady(item) for item in value]
    return value


def _alike(rows: Sequence[Any], journal: Sequence[Any]) -> bool:
    try:
        comparison.assert_recorded_as_served(rows, journal)
    except AssertionError:
        return False
    return bool(rows)


def _watch(patch: pytest.MonkeyPatch) -> list[str]:
    """Return a list that collects the transports of requests: hooked ones and those beneath."""
    carriers: list[str] = []
    begin = exchange.begin

    def watching(transport: str, *args: Any, **options: Any) -> Any:
        carriers.append(transport)
        return begin(transport, *args, **options)

    for name, module in sys.modules.copy().items():
        if name.startswith("usage_tracking.capture") and getattr(module, "begin", None) is begin:
            patch.setattr(module, "begin", watching)
    if aiohttp := sys.modules.get("aiohttp"):
        # httpx can send through aiohttp. Then aiohttp's own hook records nothing.
        connect = aiohttp.BaseConnector.connect

        async def connecting(*args: Any, **options: Any) -> Any:
            carriers.append("aiohttp")
            return await connect(*args, **options)

        patch.setattr(aiohttp.BaseConnector, "connect", connecting)
    return carriers
