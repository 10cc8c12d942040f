"""Stub of AI providers for the demo and the tests.

It serves the wire formats of OpenAI, Anthropic, Gemini and the other providers in `endpoints.py`
over HTTP, so that real SDKs work without a key, a network or costs. It keeps a journal of what it
served, with which recorded calls are compared, and bills it: the usage and cost APIs of OpenAI,
Anthropic and OpenRouter answer from the journal. It uses only the standard library.
"""

from __future__ import annotations

from project.stub.billing.keys import ADMIN_KEYS
from project.stub.exchange import Served
from project.stub.server import StubProvider

__all__ = ["ADMIN_KEYS", "Served", "StubProvider"]
