"""Detect whether the site's tests are running."""

from __future__ import annotations

import sys

from django.core import mail


def running_test() -> object | None:
    """Return an object that identifies the running test, None outside tests.

    In tests, Django's `setup_test_environment` has run, and each test has a new `mail.outbox`.
    """
    # Another thread may be importing the module just now.
    state = getattr(sys.modules.get("django.test.utils"), "_TestState", None)
    if not hasattr(state, "saved_data"):
        return None
    mark: object = vars(mail).get("outbox", state)
    return mark
