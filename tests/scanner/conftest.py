from __future__ import annotations

from tests.support.providers import one_certificate, provider, stub

__all__ = ["one_certificate", "provider", "stub"]
