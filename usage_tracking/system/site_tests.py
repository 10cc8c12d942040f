"""Detect whether the site's tests are running."""

from __future__ import annotations

import sys

from django.core import mail


def running_test() -> object | None:
    """Return an object that identifies the running test, None outside tests.

    In tests, Django's `setup_test_environment` has run, and each test has a new `mail.outbox`.
    """
    utils = sys.modules.get("django.test.utils")
    if utils is None or not hasattr(utils._TestState, "saved_data"):
        return None
    mark: object = vars(mail).get("outbox", utils._TestState)
    return mark
