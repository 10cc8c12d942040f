"""Batches: requests that are answered later, in one file."""

from __future__ import annotations

from project.stub.batches import anthropic, gemini, openai, openai_like
from project.stub.batches.base import Batches
from project.stub.wire import Endpoint


def make_batch_endpoints() -> tuple[Endpoint, ...]:
    """Return new endpoints for one server, which has its own batches."""
    known = Batches()
    kinds = (*openai.ENDPOINTS, *anthropic.ENDPOINTS, *gemini.ENDPOINTS, *openai_like.ENDPOINTS)
    return tuple(kind(known) for kind in kinds)
