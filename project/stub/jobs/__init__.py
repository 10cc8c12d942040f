"""APIs that begin a job, whose result the client fetches later."""

from __future__ import annotations

from project.stub.jobs import chats, google, media, openai
from project.stub.jobs.base import COST, JobEndpoint

__all__ = ["COST", "ENDPOINTS"]

#: All endpoints; a path that two of them match belongs to the first.
ENDPOINTS: tuple[type[JobEndpoint], ...] = (
    *google.ENDPOINTS,
    *openai.ENDPOINTS,
    *chats.ENDPOINTS,
    *media.ENDPOINTS,
)
