"""Anthropic's message batches.

https://platform.claude.com/docs/en/api/messages/batches (a submission has its requests with it,
each with its model; a batch that has ended says how many succeeded, and nothing of their usage)
https://platform.claude.com/docs/en/build-with-claude/batch-processing (requests that failed, were
canceled or expired are not billed; the results name the dated model of an alias)
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

from ..anthropic import MessagesReader
from ..excerpts import MODEL
from ..reader import count, error_text, items, mapping, moment, text
from .reader import BatchReader, ResultsReader
from .rows import Batch

#: A larger submission is searched for its models, not parsed.
_SMALL = 1024 * 1024
_RESULTS = re.compile(r"/batches/([^/]+)/results/?$")
#: What other members of a large submission, such as the input of a tool, can hardly be named.
_FAMILIES = (b"claude", b"anthropic")


class MessageBatchReader(BatchReader):
    """Reads Anthropic's message batches."""

    def asked(self, path: str, body: bytes | Mapping[str, Any] | None) -> None:
        """Take the request: it names the models, and the answer does not."""
        if path.rstrip("/").endswith("/messages/batches"):
            self.requested = tuple(dict.fromkeys(_models(body)))

    def take(self, data: dict[str, Any]) -> None:
        """Take an answer that may name a batch."""
        batch_id, status = text(data.get("id")), text(data.get("processing_status"))
        if data.get("type") != "message_batch" or not batch_id:
            return
        self.ended = status == "ended"
        self.batch = Batch(batch_id, moment(data.get("created_at")))
        if self.ended:
            numbers = {
                name: count(number) or 0
                for name, number in mapping(data.get("request_counts")).items()
            }
            failed = {name: numbers.get(name, 0) for name in ("errored", "canceled", "expired")}
            whole = sum(failed.values()) + numbers.get("succeeded", 0)
            early = [name for name in ("canceled", "expired") if failed[name]]
            self.batch = self.batch._replace(
                completed=numbers.get("succeeded", 0),
                failed=sum(failed.values()),
                error=f"batch {early[0]}: {failed[early[0]]} of {whole} requests" if early else "",
            )


class MessageResultsReader(ResultsReader):
    """Reads the results of a message batch."""

    kind = MessagesReader

    def asked(self, path: str, body: object) -> None:
        """Take the request, which names the batch."""
        if found := _RESULTS.search(path):
            self.batch = Batch(found[1])

    def line(self, data: dict[str, Any]) -> None:
        """Take one parsed line: the result of one request."""
        result = mapping(data.get("result"))
        kind = text(result.get("type"))
        if kind == "succeeded":
            self.add(mapping(result.get("message")))
        elif kind in {"canceled", "expired"}:
            self.sums.leave_out(kind)
        else:
            error = mapping(result.get("error"))
            self.sums.fail(error_text(error) or kind)


def _models(body: bytes | Mapping[str, Any] | None) -> Iterable[str]:
    """Return the models that a submission names."""
    if isinstance(body, bytes) and len(body) > _SMALL:
        return _found(body)
    data: Any = body
    if isinstance(body, bytes):
        try:
            data = json.loads(body)
        except (ValueError, RecursionError):
            return ()
    requests = data.get("requests") if isinstance(data, Mapping) else None
    return (text(mapping(each.get("params")).get("model")) for each in items(requests))


def _found(body: bytes) -> Iterable[str]:
    at = 0
    while (at := body.find(b'"model"', at)) >= 0:
        if (found := MODEL.match(body, at)) and any(family in found[1] for family in _FAMILIES):
            yield found[1].decode("utf-8", "replace")
        at += 7
