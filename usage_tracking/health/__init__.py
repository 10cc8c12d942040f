"""Test on a live site whether tracking works. Each test is a plain function.

Nothing here prints. Every finding has a code for machines and, if something is wrong, a fix.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from functools import partial

from django.db import DatabaseError

from ..errors import was_stopped
from . import activity, bill, probe, site, transports, undelivered
from .findings import CANNOT_RUN, Finding, Result, Thresholds, failed, problem

__all__ = ["CANNOT_RUN", "Finding", "Result", "Thresholds", "diagnose"]


def diagnose(
    *,
    using: str,
    user: str | None = None,
    keep: bool = False,
    repair: bool = False,
    sdks: bool = True,
    limits: Thresholds | None = None,
) -> Generator[Result, None, None]:
    """Run the tests one after the other; stop early if the remaining tests cannot run.

    Args:
        using: The database alias.
        user: Username or primary key of the user of the test call. The default is a superuser, or
            else an active user.
        keep: Keep the row of the test call.
        repair: Rebuild daily rows, and remove deleted users from the rows.
        sdks: Also try every SDK, which takes seconds.
        limits: The default is `Thresholds()`.
    """
    limits = limits or Thresholds()
    # Before the test call, whose delivery takes over the files of dead processes.
    before = undelivered.snapshot()
    reachable = site.models(using)
    yield reachable
    if reachable.cannot_run:
        return
    try:
        found, test_user = site.find_user(user, using)
        yield found
        if found.cannot_run:
            return
        yield site.rows(using)
        yield from _safely(lambda: probe.track(test_user, using, keep=keep))
        rest: tuple[Callable[[], Result], ...] = (
            site.api,
            site.middleware,
            lambda: site.settings(using),
            transports.transports,
            lambda: transports.sdks(skip=not sdks),
            lambda: undelivered.examine(before, limits, site.outbox_settings()),
            lambda: activity.drift(using, repair=repair),
            lambda: activity.recent(using, limits),
            lambda: activity.shares(using, limits),
            lambda: activity.sections(using),
            lambda: activity.hosts(using, limits),
            lambda: bill.bills(using, limits),
        )
        for test in rest:
            yield from _safely(partial(_alone, test))
    except DatabaseError as error:
        if was_stopped(error):
            raise KeyboardInterrupt from error
        yield Result("Querying the database", (site.query_failed(error, using),))


def _alone(test: Callable[[], Result]) -> tuple[Result]:
    return (test(),)


def _safely(run: Callable[[], tuple[Result, ...]]) -> tuple[Result, ...]:
    """Turn an exception into a finding: a setting of a wrong type must not end the other tests."""
    try:
        return run()
    except DatabaseError:
        raise
    except Exception as error:  # it becomes a finding
        if was_stopped(error):
            raise KeyboardInterrupt from error
        text = f"The test failed to run: {failed(error)}"
        return (Result("Testing", (problem("unexpected", text, "python manage.py check"),)),)
