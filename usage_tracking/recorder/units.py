"""Finish units of work: requests, messages, tasks and outermost blocks."""

from __future__ import annotations

from django.http import HttpRequest
from django.http.response import HttpResponseBase

from .. import outbox
from ..attribution.scope import Unit
from ..errors import contain, contained
from . import pending_users
from .finalizers import catch_up


def finish(unit: Unit, response: HttpResponseBase | None = None, *, min_wait: float = 0.0) -> None:
    """Finish a unit of work and wake delivery for its calls.

    Finishing a unit twice is harmless.

    Args:
        unit: The unit.
        response: The response of a request, which the site may use until it is closed.
        min_wait: The least number of seconds to wait for the rows of the calls.

    Raises:
        Exception: Only if a time limit of the site ends the wait.
    """
    _close(unit, response)
    wait = _wait(unit)
    if wait is None:
        return
    if wait := max(min_wait, wait):
        outbox.wake(wait=wait)
    else:
        _wake()


async def afinish(unit: Unit, response: HttpResponseBase | None = None) -> None:
    """Do the same as `finish` without blocking the event loop."""
    try:
        try:
            await pending_users.aresolve_routed(unit)
        finally:
            pending_users.end(unit, response)
        catch_up()
        wait = _wait(unit)
        if wait is not None:
            await outbox.awake(wait=wait)
    except Exception as error:  # noqa: BLE001 -- see errors.contained
        contain(error, "units.afinish")


@contained
def _close(unit: Unit, response: HttpResponseBase | None = None) -> None:
    """End a unit of work without waking delivery, which takes its calls in its next run."""
    try:
        pending_users.resolve_routed(unit)
    finally:
        pending_users.end(unit, response)
    catch_up()


@contained
def _wake() -> None:
    outbox.wake()


@contained
def _wait(unit: Unit) -> float | None:
    """Return the seconds to wait for a unit's rows, None if its end does not wake delivery.

    After a request, Django's `request_finished` wakes delivery when the response was sent. The
    exceptions are requests that wait for their rows or deliver them inline.
    """
    wait = unit.wait()
    if not issubclass(type(unit.request), HttpRequest):
        return wait
    return wait if unit.calls and (wait or outbox.inline()) else None
