"""Whether the tests of the site are running."""

from __future__ import annotations

import sys

from django.core import mail


def running_test() -> object | None:
    """Return a mark of the site's test that is running; None outside tests.

    Django's `setup_test_environment` has run in tests, and each test gets a new outbox of mails.
    """
    utils = sys.modules.get("django.test.utils")
    if utils is None or not hasattr(utils._TestState, "saved_data"):
        return None
    mark: object = vars(mail).get("outbox", utils._TestState)
    return mark
