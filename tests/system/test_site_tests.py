"""Whether the site's tests are running."""

from __future__ import annotations

import sys
from types import ModuleType

import pytest

from usage_tracking.system.site_tests import running_test


def test_tests_of_a_site_are_noticed() -> None:
    assert running_test() is not None


def test_module_that_another_thread_is_importing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "django.test.utils", ModuleType("django.test.utils"))

    assert running_test() is None
