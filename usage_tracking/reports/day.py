"""The report of a day and the day before, which `usage_today` prints."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Any

from django.db import router

from .. import conf, outbox
from ..days import aware, stored
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
from .totals import Totals
from .unpriced import UnpricedModel, unpriced_models

_DAY = dt.timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Backlog:
    """The state of this machine's outbox."""

    bytes: int
    files: int
    dead_letters: int


@dataclass(frozen=True, slots=True)
class Period:
    """A day in AI_USAGE_DAY_TIMEZONE; up to `until` unless that is None."""

    date: dt.date
    until: dt.datetime | None
    figures: Totals


@dataclass(frozen=True, slots=True)
class DayReport:
    """The calls of a day, beside those of the day before."""

    #: The name of AI_USAGE_DAY_TIMEZONE.
    timezone: str
    #: The only user in the report; None for all users.
    username: str | None
    #: The code of the only section in the report; None for all sections.
    section: str | None
    totals: Period
    #: The day before, up to the same time of day.
    previous: Period
    by_section: tuple[SectionLine, ...]
    by_model: tuple[ModelLine, ...]
    #: The users with the most tokens. The calls without a user are always the last line.
    top_users: tuple[UserLine, ...]
    #: How many users made calls; `top_users` may show fewer.
    users: int
    outbox: Backlog
    #: The models with the most unpriced calls.
    unpriced_models: tuple[UnpricedModel, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """Return what `usage_today --json` prints; the README describes the keys."""
        return {
            "date": self.totals.date,
            "until": self.totals.until,
            "timezone": self.timezone,
            "user": self.username,
            "section": self.section,
            "totals": self.totals.figures.as_dict(),
            "previous": {
                "date": self.previous.date,
                "until": self.previous.until,
                **self.previous.figures.as_dict(),
            },
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
    user: Any = None,
    section: str | None = None,
    until: dt.datetime | None = None,
    top: int = TOP,
    using: str | None = None,
) -> DayReport:
    """Report the calls of `day`, and those of the day before up to the same time of day.

    It takes three statements, whatever the number of rows, and one more if calls are unpriced.

    Args:
        day: The day, in AI_USAGE_DAY_TIMEZONE.
        user: Only this user's calls.
        section: Only the calls of the section with this code.
        until: Leave out later calls. None, or a time after the day, means both whole days. A naive
            time is local time of `TIME_ZONE`.
        top: How many users to list.
        using: The database alias; by default the one that the routers name for reading.
    """
    using = using or router.db_for_read(AIUsageLog)
    zone = conf.day_timezone()
    if until is not None:
        until = aware(until).astimezone(zone)
        if until.date() > day:
            until = None
    logs = AIUsageLog.objects.using(using).order_by()
    if user is not None:
        logs = logs.filter(user=user)
    if section is not None:
        logs = logs.filter(section=section)
    of_day, of_day_before = logs.filter(day=day), logs.filter(day=day - _DAY)
    before = None
    if until is not None:
        before = _same_time(until, -1)
        of_day = of_day.filter(created_at__lte=stored(until))
        of_day_before = of_day_before.filter(created_at__lte=stored(before))
    sections, models, users = totals_of(of_day, BY_SECTION, by_model(), by_user(top))
    (sections_before,) = totals_of(of_day_before, BY_SECTION)
    figures = Totals.sum(totals for _, totals in sections.found)
    return DayReport(
        timezone=str(zone),
        username=None if user is None else user.get_username(),
        section=section,
        totals=Period(day, until, figures),
        previous=Period(
            day - _DAY, before, Totals.sum(totals for _, totals in sections_before.found)
        ),
        by_section=section_lines(sections),
        by_model=model_lines(models),
        top_users=user_lines(users, using=using),
        users=users.number,
        outbox=backlog(),
        unpriced_models=unpriced_models(of_day, using=using) if figures.unpriced else (),
    )


def backlog() -> Backlog:
    """Return the state of this machine's outbox."""
    box = outbox.get()
    return Backlog(
        bytes=box.size(), files=len(box.segments()), dead_letters=len(box.dead_letters())
    )


def _same_time(moment: dt.datetime, days: int) -> dt.datetime:
    """Return the same local time `days` days later.

    If a change of daylight saving time skips or repeats that time, the offset before the change
    applies.
    """
    return dt.datetime.combine(
        moment.date() + days * _DAY, moment.time().replace(fold=0), moment.tzinfo
    )
