"""Hold the log against what providers billed, and say what is missing."""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection

from .reconciled import Reconciliation

#: What the lines of a reconciliation can be.
BY = ("day", "model", "key", "project")


def reconciliation(
    start: dt.date,
    end: dt.date,
    *,
    by: str = "model",
    providers: Collection[str] | None = None,
    using: str | None = None,
) -> Reconciliation:
    """Compare the stored bills with the log. It takes three statements at most.

    Days are those of UTC, and calls count under the day of their `created_at` in UTC. A provider
    takes part if its bill of any of the days was fetched, or if `providers` names it.

    Args:
        start: The first day.
        end: The last day.
        by: What the lines are: "day", "model", "key" or "project".
        providers: Only these providers, as the log names them.
        using: The database alias; by default the one that the routers name for reading.

    Raises:
        ValueError: `end` is before `start`, or `by` is unknown.
    """
    raise NotImplementedError
