"""The one end of a unit of work: of a request, a message, a task, an outermost block."""

from __future__ import annotations

from django.http import HttpRequest
from django.http.response import HttpResponseBase

from .. import outbox
from ..attribution.scope import Unit
from ..errors import contain, contained
from . import pending_users
from .finalizers import catch_up


def finish(unit: Unit, response: HttpResponseBase | None = None, *, patience: float = 0.0) -> None:
    """End a unit of work and wake delivery for its calls.

    To end it again does no harm.

    Args:
        unit: The unit.
        response: The response of a request, which is the site's until it is closed.
        patience: Seconds for which the caller at least waits for the rows of its calls.

    Raises:
        Exception: A time limit of the site has ended the wait. No error of ours is raised.
    """
    close(unit, response)
    wait = _wait(unit)
    if wait is None:
        return
    if wait := max(patience, wait):
        outbox.wake(wait=wait)
    else:
        _wake()


async def afinish(unit: Unit, response: HttpResponseBase | None = None) -> None:
    """Do as `finish`, on an event loop, which goes on meanwhile."""
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
def close(unit: Unit, response: HttpResponseBase | None = None) -> None:
    """End a unit of work; delivery comes to its calls without being woken."""
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
    """Return for how many seconds a unit waits for its rows, None if its end wakes nothing.

    After a request Django's `request_finished` wakes delivery, when the response was sent, unless
    the request waits for its rows or delivers them itself.
    """
    wait = unit.wait()
    if not issubclass(type(unit.request), HttpRequest):
        return wait
    return wait if unit.calls and (wait or outbox.inline()) else None
