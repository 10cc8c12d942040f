from __future__ import annotations

import pytest

from tests.providers import dead_stub, one_certificate, own_stub, provider, stub, user

pytest.register_assert_rewrite("tests.told")

__all__ = ["dead_stub", "one_certificate", "own_stub", "provider", "stub", "user"]
