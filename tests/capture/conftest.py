from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.providers import dead_stub, one_certificate, own_stub, provider, stub, user

_HERE = Path(__file__).parent


@pytest.hookimpl(tryfirst=True)  # before `-m` selects
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if _HERE in item.path.parents:
            item.add_marker("one_database")


__all__ = ["dead_stub", "one_certificate", "own_stub", "provider", "stub", "user"]
