"""Delivery: move events from the outbox into the database.

`listener` is the interface for the rest of the package. `worker` decides when to deliver, and
`deliverer` does it. `batches` finds events that the database refuses, `writer` has the SQL, and
`sqlite` gives way to the site. `direct` writes at once, `inline` delivers on the caller's
connection, and `reads` delivers in a site's tests. `log_lines` informs operators.
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
    """Connect delivery to the outbox and to Django's signals, once, when Django is ready."""
    outbox.listener = delivery
    # Load the time zones now: without those of the system, Python imports the package tzdata, and
    # the thread must import nothing. The checks report a zone that does not exist.
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
