"""Delivery: moves events from the outbox into the database.

The modules: `listener` is what others see, `worker` says when, `deliverer` what, `batches` finds
events that the database refuses, `writer` has the SQL, `sqlite` gives way to the site, `direct`
writes at once, `reads` serves the tests of a site, `log_lines` tells operators.
"""

from __future__ import annotations

import atexit
from contextlib import suppress

from django.core.signals import request_finished
from django.utils.timezone import get_default_timezone

from .. import conf, outbox
from ..system import files
from . import reads
from .listener import Delivery

#: The delivery of this process.
delivery = Delivery()


def connect() -> None:
    """Make delivery listen; called once, when Django is ready."""
    outbox.listener = delivery
    # Where the system has no time zones, those of the package tzdata are imported. A zone that
    # does not exist is reported by the checks.
    for zone in (conf.day_timezone, get_default_timezone):
        with suppress(Exception):
            zone()
    reads.deliver = delivery.before_read
    reads.connect()
    request_finished.connect(_request_finished, dispatch_uid="usage_tracking.delivery")


def _request_finished(**_: object) -> None:
    # Inline delivery has its own wake-ups, before the response is sent.
    if not outbox.inline():
        delivery.wake()


files.after_fork(delivery.after_fork)
atexit.register(delivery.stop)
