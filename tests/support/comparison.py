"""Compare recorded rows with the exchanges that the stub served."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import pytest

from project.stub import Served
from usage_tracking import capture
from usage_tracking.models import AIUsageLog, AIUsageTracking

#: For tests that leave a stream to the garbage collector. The collector may free the socket before
#: the connection that would close it.
leaves_a_socket = pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")


class CallFacts(NamedTuple):
    """One call, recorded or served. `None` means that the value was not reported."""

    provider: str
    operation: str
    model: str
    requested_model: str
    response_id: str
    prompt_tokens: int | None
    completion_tokens: int | None
    cached_tokens: int | None
    cache_write_tokens: int | None
    reasoning_tokens: int | None
    success: bool


def by_row(row: AIUsageLog) -> CallFacts:
    return CallFacts(
        provider=row.provider,
        operation=row.operation,
        model=row.model_name,
        requested_model=row.metadata.get("requested_model", row.model_name),
        response_id=row.metadata.get("response_id", ""),
        prompt_tokens=row.prompt_tokens,
        completion_tokens=row.completion_tokens,
        cached_tokens=row.cached_tokens,
        cache_write_tokens=(row.usage_details or {}).get("cache_write_tokens"),
        reasoning_tokens=row.reasoning_tokens,
        success=row.success,
    )


def by_stub(served: Served) -> CallFacts:
    return CallFacts(
        provider=served.provider,
        operation=served.operation,
        # Only the name that a request to Bedrock has in its path names the region.
        model=(served.model if served.provider != "aws" else "") or served.requested_model,
        requested_model=served.requested_model,
        response_id=served.response_id,
        prompt_tokens=served.prompt_tokens,
        completion_tokens=served.completion_tokens,
        cached_tokens=served.cached_tokens,
        cache_write_tokens=served.cache_write_tokens or None,
        reasoning_tokens=served.reasoning_tokens,
        success=not served.failed,
    )


def assert_recorded_as_served(rows: Iterable[AIUsageLog], journal: Iterable[Served]) -> None:
    """Assert that the rows and the served exchanges agree one to one, in any order.

    All exchanges must be complete.
    """
    assert sorted(map(by_row, rows), key=str) == sorted(map(by_stub, journal), key=str)


def rows() -> list[AIUsageLog]:
    return list(AIUsageLog.objects.order_by("created_at"))


def only_row() -> AIUsageLog:
    (row,) = rows()
    return row


def forget() -> None:
    """Delete all rows, between two cases of one test."""
    AIUsageLog.objects.all().delete()
    AIUsageTracking.objects.all().delete()


def attributed(row: AIUsageLog) -> tuple[str | None, str]:
    return (row.user.get_username() if row.user else None, row.section)


@contextmanager
def without_capture() -> Iterator[None]:
    capture.uninstall()
    try:
        yield
    finally:
        capture.install(True)


#: Keys whose values differ between two answers to the same prompt.
_VOLATILE = {"id", "created", "created_at", "completed_at", "item_id", "obfuscation", "response_id"}


def steady(value: Any) -> Any:
    """Return `value`, an SDK's answer as plain data, without the keys that always differ."""
    if isinstance(value, dict):
        return {name: steady(item) for name, item in value.items() if name not in _VOLATILE}
    if isinstance(value, list):
        return [steady(item) for item in value]
    return value
