"""Jobs of the stub: a request begins one, and later requests ask about it."""

from __future__ import annotations

import threading

from project.stub.exchange import Ask
from project.stub.wire import MissingError


class Background:
    """Jobs that a client asks about later, and their states."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._asks: dict[str, Ask] = {}
        self._states: dict[str, str] = {}
        self._polls: dict[str, int] = {}

    def promise(self, ask: Ask) -> None:
        """Queue a job."""
        with self._lock:
            self._asks[ask.response_id] = ask
            self._states[ask.response_id] = "queued"
            self._polls[ask.response_id] = ask.orders.queued

    def find(self, response_id: str) -> Ask:
        """Return the question of a job. Raises MissingError if there is none."""
        with self._lock:
            if response_id not in self._asks:
                raise MissingError(f"Job with id '{response_id}' not found.")
            return self._asks[response_id]

    def poll(self, response_id: str) -> str:
        """Return the state, which becomes final after `queued` polls."""
        with self._lock:
            if self._states[response_id] == "queued":
                if self._polls[response_id] == 0:
                    ask = self._asks[response_id]
                    self._states[response_id] = "failed" if ask.orders.fails else "completed"
                self._polls[response_id] -= 1
            return self._states[response_id]

    def finish(self, response_id: str) -> None:
        """Let the next poll see the end."""
        with self._lock:
            self._polls[response_id] = 0

    def cancel(self, response_id: str) -> str:
        """Cancel a queued job, and return the state."""
        with self._lock:
            if self._states[response_id] == "queued":
                self._states[response_id] = "cancelled"
            return self._states[response_id]
