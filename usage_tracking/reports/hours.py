"""The hours of AI_USAGE_DAY_TIMEZONE in SQL: those of UTC, of which none occurs twice.

In a zone such as UTC+5:30, hours start off those of UTC by the shift of the zone.
"""

from __future__ import annotations

import datetime as dt
from typing import Any

from django.conf import settings
from django.db.models import DateTimeField, ExpressionWrapper, F, Value
from django.db.models.functions import TruncHour

from .. import conf
from ..days import aware

HOUR = dt.timedelta(hours=1)


def shift_at(start: dt.date | dt.datetime) -> dt.timedelta:
    """Return by how many minutes the hours of the zone start off those of UTC, at `start`."""
    moment = start if isinstance(start, dt.datetime) else dt.datetime.combine(start, dt.time())
    offset = moment.replace(tzinfo=conf.day_timezone()).utcoffset() or dt.timedelta()
    return offset % HOUR


def hour_of_call(shift: dt.timedelta) -> Any:
    """Return an expression for the hour of a call, plus `shift`."""
    moment = ExpressionWrapper(F("created_at") + Value(shift), DateTimeField())
    return TruncHour(moment if shift else "created_at", tzinfo=dt.UTC if settings.USE_TZ else None)


def as_instant(moment: dt.datetime) -> dt.datetime:
    """Return a moment that a raw cursor gave, as an aware one in UTC."""
    if settings.USE_TZ and moment.tzinfo is None:
        return moment.replace(tzinfo=dt.UTC)
    return aware(moment).astimezone(dt.UTC)


def ends_of_day(day: dt.date) -> tuple[dt.datetime, dt.datetime]:
    """Return the instants in UTC at which `day` begins and ends."""
    zone = conf.day_timezone()
    start, end = (
        dt.datetime.combine(date, dt.time(), zone).astimezone(dt.UTC)
        for date in (day, day + dt.timedelta(days=1))
    )
    return start, end


def hours_of_day(day: dt.date) -> list[dt.datetime]:
    """Return the starts of the hours of `day` in UTC: 23 to 25 where the clocks change."""
    start, end = ends_of_day(day)
    return [start + n * HOUR for n in range(-((start - end) // HOUR))]
