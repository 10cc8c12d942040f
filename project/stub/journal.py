"""What was served so far, safe to read while more is being served."""

from __future__ import annotations

import threading
from collections import Counter, deque
from itertools import count

from project.stub.exchange import Counts, Part, Question, Reply, Served


class Entry:
    """One exchange while it lasts.

    It is told of bytes *before* they are written: a client that has read the last of them finds
    the journal complete, without a race.
    """

    def __init__(self, number: int, path: str, provider: str, operation: str) -> None:
        self._lock = threading.Lock()
        self._number, self._path = number, path
        self._provider, self._operation = provider, operation
        self._model = self._requested_model = self._response_id = self._prompt = ""
        self._streamed = self._completed = self._failed = False
        self._status = 0
        self._counts = Counts()
        self._body = bytearray()

    def asked(self, question: Question) -> None:
        with self._lock:
            self._requested_model, self._prompt = question.model, question.prompt

    def answering(self, reply: Reply) -> None:
        with self._lock:
            self._status, self._streamed = reply.status, reply.streamed
            self._model, self._response_id = reply.model, reply.response_id
            self._failed = reply.status >= 400

    def writing(self, wire: bytes, part: Part) -> None:
        with self._lock:
            self._body += wire
            self._counts = part.reports or self._counts
            self._failed = self._failed or part.failed

    def completed(self, *, completed: bool) -> None:
        with self._lock:
            self._completed = completed

    def served(self) -> Served:
        with self._lock:
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
            )


class Journal:
    def __init__(self, keep: int | None = None) -> None:
        self._lock = threading.Lock()
        self._numbers = count(1)
        self._entries: deque[Entry] = deque(maxlen=keep)
        self._asked: Counter[tuple[str, str]] = Counter()

    def open(self, path: str, provider: str, operation: str) -> Entry:
        with self._lock:
            entry = Entry(next(self._numbers), path, provider, operation)
            self._entries.append(entry)
            return entry

    def times_asked(self, path: str, prompt: str) -> int:
        """How often this prompt came here, this time included."""
        with self._lock:
            self._asked[path, prompt] += 1
            return self._asked[path, prompt]

    def served(self) -> list[Served]:
        with self._lock:
            entries = list(self._entries)
        return [entry.served() for entry in entries]

    def clear(self) -> None:
        with self._lock:
            self._entries.clear()
            self._asked.clear()
