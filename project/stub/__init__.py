"""A provider that lives on this machine.

It speaks the wire formats of OpenAI, Anthropic, Gemini and of those in `endpoints.py` over real
HTTP, so that the real SDKs can be driven without a key, a network or a bill, and it keeps a journal
of what it served: the truth that a usage tracker is measured against. Only the standard library is
used.
"""

from __future__ import annotations

from project.stub.exchange import Served
from project.stub.server import StubProvider

__all__ = ["Served", "StubProvider"]
