"""Thread-safe journal of served requests."""

from __future__ import annotations

import threading
from collections import Counter, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from itertools import count

from project.stub.billing.keys import NO_KEY, ApiKey
from project.stub.exchange import Charge, Counts, Part, Question, Reply, Served


def utc_now() -> datetime:
    """Return the current time."""
    return datetime.now(UTC)


class Entry:
    """One request in progress.

    Bytes are noted *before* they are sent, so that the journal is complete when a client has read
    the last of them.
    """

    def __init__(
        self,
        number: int,
        path: str,
        provider: str,
        operation: str,
        *,
        moment: datetime,
        key: ApiKey = NO_KEY,
    ) -> None:
        self._lock = threading.Lock()
        self._moment, self._key = moment, key
        self._charge: Charge | None = None
        self._number, self._path = number, path
        self._provider, self._operation = provider, operation
        self._model = self._requested_model = self._response_id = self._prompt = ""
        self._streamed = self._completed = self._failed = False
        self._status = 0
        self._counts = Counts()
        self._body = bytearray()
        #: What `served` returned since the last change. Each admin request reads all entries.
        self._served: Served | None = None

    def asked(self, question: Question) -> None:
        """Note the parsed request."""
        with self._change():
            self._requested_model, self._prompt = question.model, question.prompt

    def answering(self, reply: Reply) -> None:
        """Note the response before it is sent."""
        with self._change():
            self._status, self._streamed = reply.status, reply.streamed
            self._model, self._response_id = reply.model, reply.response_id
            self._failed = reply.status >= 400
            self._charge = reply.charge

    def writing(self, wire: bytes, part: Part) -> None:
        """Note bytes and their counts before they are sent."""
        with self._change():
            self._body += wire
            self._counts = part.reports or self._counts
            self._failed = self._failed or part.failed

    def completed(self, *, completed: bool) -> None:
        """Note whether the whole response is sent."""
        with self._change():
            self._completed = completed

    def served(self) -> Served:
        """Return the current state."""
        with self._lock:
            if self._served is None:
                self._served = self._now_served()
            return self._served

    @contextmanager
    def _change(self) -> Iterator[None]:
        with self._lock:
            self._served = None
            yield

    def _now_served(self) -> Served:
        counts = self._counts
        return Served(
            number=self._number,
            path=self._path,
            provider=self._provider,
            operation=self._operation,
            model=self._model,
            requested_model=self._requested_model,
            response_id=self._response_id,
            prompt_tokens=counts.prompt,
            completion_tokens=counts.completion,
            cached_tokens=counts.cached,
            cache_write_tokens=counts.cache_write,
            reasoning_tokens=counts.reasoning,
            streamed=self._streamed,
            status=self._status,
            prompt=self._prompt,
            body=bytes(self._body),
            completed=self._completed,
            failed=self._failed,
            cost=counts.cost,
            served_at=self._moment,
            api_key_id=self._key.id,
            api_key_hint=self._key.hint,
            project=self._key.project,
            charge=self._charge,
        )


class Journal:
    """All requests, or the last `keep` of them."""

    def __init__(
        self, keep: int | None = None, clock: Callable[[], datetime] | None = None
    ) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._numbers = count(1)
        self._entries: deque[Entry] = deque(maxlen=keep)
        self._asked: Counter[tuple[str, str]] = Counter()

    def now(self) -> datetime:
        """Return the time of the stub's clock, in UTC."""
        return (self._clock or utc_now)()

    def open(self, path: str, provider: str, operation: str, key: ApiKey = NO_KEY) -> Entry:
        """Add an entry for a new request."""
        moment = self.now()
        with self._lock:
            number = next(self._numbers)
            entry = Entry(number, path, provider, operation, moment=moment, key=key)
            self._entries.append(entry)
            return entry

    def times_asked(self, path: str, prompt: str) -> int:
        """Count this request, and return how often this path received this prompt."""
        with self._lock:
            self._asked[path, prompt] += 1
            return self._asked[path, prompt]

    def served(self) -> list[Served]:
        """Return the entries, oldest first."""
        with self._lock:
            entries = list(self._entries)
        return [entry.served() for entry in entries]

    def clear(self) -> None:
        with self._lock:
            self._entries.clear()
            self._asked.clear()
