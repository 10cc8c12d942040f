"""The report of some days and of those before them, which `usage_today` prints."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Any

from django.db import router
from django.db.models import QuerySet

from .. import conf, outbox
from ..days import DayRange, aware, stored
from ..models import AIUsageLog
from .lines import (
    BY_SECTION,
    TOP,
    ModelLine,
    SectionLine,
    UserLine,
    by_model,
    by_user,
    model_lines,
    section_lines,
    totals_of,
    user_lines,
)
from .selection import Selection
from .totals import RANKS, Totals
from .unpriced import UnpricedModel, unpriced_models


@dataclass(frozen=True, slots=True)
class Backlog:
    """The state of this machine's outbox."""

    bytes: int
    files: int
    dead_letters: int


@dataclass(frozen=True, slots=True)
class Period:
    """Days in AI_USAGE_DAY_TIMEZONE, from `date` to `last`; up to `until` unless that is None."""

    date: dt.date
    until: dt.datetime | None
    figures: Totals
    #: The last day, which is included. None for a period of one day.
    last: dt.date | None = None

    def days(self) -> dict[str, Any]:
        """Return the days and the time, under the keys of `usage_today --json`."""
        end = {} if self.last is None else {"end_date": self.last}
        return {"date": self.date, **end, "until": self.until}


@dataclass(frozen=True, slots=True)
class DayReport:
    """The calls of some days, beside those of as many days before."""

    #: The name of AI_USAGE_DAY_TIMEZONE.
    timezone: str
    #: The only user in the report; None for all users.
    username: str | None
    #: The code of the only section in the report; None for all sections.
    section: str | None
    totals: Period
    #: The days before, up to the same time of the same day.
    previous: Period
    by_section: tuple[SectionLine, ...]
    by_model: tuple[ModelLine, ...]
    #: The first users by rank. The calls without a user are always the last line.
    top_users: tuple[UserLine, ...]
    #: How many users made calls; `top_users` may show fewer.
    users: int
    outbox: Backlog
    #: The models with the most unpriced calls.
    unpriced_models: tuple[UnpricedModel, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """Return what `usage_today --json` prints; the README describes the keys."""
        return {
            **self.totals.days(),
            "timezone": self.timezone,
            "user": self.username,
            "section": self.section,
            "totals": self.totals.figures.as_dict(),
            "previous": {**self.previous.days(), **self.previous.figures.as_dict()},
            "by_section": [
                {
                    "section": line.section,
                    "display_name": line.display_name,
                    **line.figures.as_dict(),
                }
                for line in self.by_section
            ],
            "by_model": [
                {
                    "provider": line.provider,
                    "model_name": line.model_name,
                    **line.figures.as_dict(),
                }
                for line in self.by_model
            ],
            "top_users": [
                {
                    "user_id": None if line.user_id is None else str(line.user_id),
                    "username": line.username,
                    **line.figures.as_dict(),
                }
                for line in self.top_users
            ],
            "users": self.users,
            "outbox": {name: getattr(self.outbox, name) for name in Backlog.__slots__},
            "unpriced_models": [line.as_dict() for line in self.unpriced_models],
        }


def day_report(
    day: dt.date,
    *,
    last: dt.date | None = None,
    user: Any = None,
    section: str | None = None,
    until: dt.datetime | None = None,
    rank: str = "tokens",
    top: int = TOP,
    using: str | None = None,
) -> DayReport:
    """Report the calls of a day or a period, and those of the one before up to the same time.

    It takes three statements, whatever the number of rows, and one more if calls are unpriced.

    Args:
        day: The day, or the first of the period, in AI_USAGE_DAY_TIMEZONE.
        last: The last day of the period; None for one day. Before whole months come as many months,
            before other days as many days.
        user: Only this user's calls.
        section: Only the calls of the section with this code.
        until: Leave out later calls. None, or a time on another day, means both whole
            periods. A naive time is local time of `TIME_ZONE`.
        rank: The order of the lines, "tokens" or "cost", the highest first.
        top: How many users to list.
        using: The database alias; by default the one that the routers name for reading.

    Raises:
        ValueError: `last` is before `day`.
    """
    days = DayRange(day, last or day)
    before = days.before()
    using = using or router.db_for_read(AIUsageLog)
    zone = conf.day_timezone()
    if until is not None:
        until = aware(until).astimezone(zone)
        if until.date() not in days:
            until = None
    earlier = None if until is None else days.same_time_before(until)

    def logs(days: DayRange, until: dt.datetime | None) -> QuerySet[AIUsageLog]:
        found = Selection(days.first, days.last, user=user, section=section).logs(using)
        return found if until is None else found.filter(created_at__lte=stored(until))

    now = logs(days, until)
    sections, models, users = totals_of(now, BY_SECTION, by_model(rank=rank), by_user(top, rank))
    (sections_before,) = totals_of(logs(before, earlier), BY_SECTION)
    figures = Totals.sum(totals for _, totals in sections.found)
    return DayReport(
        timezone=str(zone),
        username=None if user is None else user.get_username(),
        section=section,
        totals=_period(days, until, figures),
        previous=_period(
            before, earlier, Totals.sum(totals for _, totals in sections_before.found)
        ),
        by_section=tuple(
            sorted(section_lines(sections), key=lambda line: RANKS[rank][1](line.figures))
        ),
        by_model=model_lines(models),
        top_users=user_lines(users, using=using),
        users=users.number,
        outbox=backlog(),
        unpriced_models=unpriced_models(now, using=using) if figures.unpriced else (),
    )


def backlog() -> Backlog:
    """Return the state of this machine's outbox."""
    box = outbox.get()
    return Backlog(
        bytes=box.size(), files=len(box.segments()), dead_letters=len(box.dead_letters())
    )


def _period(days: DayRange, until: dt.datetime | None, figures: Totals) -> Period:
    first, last = days.ends()
    return Period(first, until, figures, None if first == last else last)
