"""Whether tracking works, asked of a live site: a row of tests, each a plain function.

Nothing here prints. Every finding has a code for machines and, where something is wrong, its fix.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from functools import partial

from django.db import DatabaseError

from ..errors import was_stopped
from . import activity, probe, site, transports, undelivered
from .findings import CANNOT_RUN, Finding, Result, Thresholds, failed, manage, problem

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
    """Runs the tests one after the other; ends early where nothing more can be said.

    `user` is a username or a key; without it a superuser is taken, else an active user.
    """
    limits = limits or Thresholds()
    before = undelivered.look()  # before delivery of our own takes over what others have left
    reachable = site.models(using)
    yield reachable
    if reachable.cannot_run:
        return
    try:
        found, owner = site.find_user(user, using)
        yield found
        if found.cannot_run:
            return
        yield site.rows(using)
        yield from _safely(lambda: probe.track(owner, using, keep=keep))
        rest: tuple[Callable[[], Result], ...] = (
            site.api,
            lambda: site.middleware(using),
            lambda: site.settings(using),
            transports.transports,
            lambda: transports.sdks(leave_out=not sdks),
            lambda: undelivered.examine(before, limits, site.outbox_settings(using)),
            lambda: activity.drift(using, repair=repair),
            lambda: activity.recent(using, limits),
            lambda: activity.shares(using, limits),
            lambda: activity.sections(using),
            lambda: activity.hosts(using, limits),
        )
        for test in rest:
            yield from _safely(partial(_alone, test))
    except DatabaseError as error:
        if was_stopped(error):
            raise KeyboardInterrupt from error
        text = f"The database {using!r} stopped answering: {failed(error)}"
        lost = problem("database_error", text, manage("dbshell", using))
        yield Result("Asking the database", (lost,))


def _alone(test: Callable[[], Result]) -> tuple[Result]:
    return (test(),)


def _safely(run: Callable[[], tuple[Result, ...]]) -> tuple[Result, ...]:
    """The results of `run`; a setting of a wrong type must not end the tests that would tell it."""
    try:
        return run()
    except DatabaseError:
        raise
    except Exception as error:  # it becomes a finding
        if was_stopped(error):
            raise KeyboardInterrupt from error
        text = f"The test could not be made: {failed(error)}"
        return (Result("Testing", (problem("unexpected", text, "python manage.py check"),)),)
