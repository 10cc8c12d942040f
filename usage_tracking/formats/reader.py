"""What every wire reader does: take the events or the body of one answer, and say what it says."""

from __future__ import annotations

import json
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from ..events import Usage

#: Characters of a name or a message of the provider. It may send megabytes; of the longest that is
#: kept, an error, no more is read.
MAX_TEXT = 4000
#: Events in the shape of no answer after which only those are parsed that name usage or an error.
MAX_UNRECOGNISED = 1000


class Reader:
    """Reads one answer of one wire format.

    Given either `body` once or `feed` per stream event. Knows nothing of HTTP.
    """

    #: What a call of this format does, in OpenTelemetry's words (`gen_ai.operation.name`).
    operation = ""
    #: The bytes that name the usage object; an event of a stream without them is not parsed.
    usage_key = b'"usage"'
    #: Whether usage seen before a stream's regular end is all that there is to come.
    final_at_end = True

    def __init__(self) -> None:
        self.usage: Usage | None = None
        self.model = ""
        self.response_id = ""
        self.error = ""
        self.service_tier = ""
        #: The answer has the shape of this format.
        self.recognised = False
        self._unrecognised = 0
        #: When a response that is made in the background was begun, in Unix time; else None.
        self.background_since: int | None = None
        #: Such a response will not change any more.
        self.ended = True
        #: Everything that counts has been said.
        self.complete = False
        #: What else the answer says of its size, for the metadata of the row.
        self.facts: dict[str, Any] = {}

    def head(self, headers: Mapping[str, str]) -> None:
        """Takes the headers of the response, whose names have no case, before its body."""

    def feed(self, data: bytes) -> None:
        """Takes the data of one stream event; raises ValueError if it is not JSON."""
        if self.wants(data):
            if not self.recognised:
                self._unrecognised += 1
            parsed = json.loads(data)
            if isinstance(parsed, dict):
                self.event(parsed)

    def wants(self, data: bytes) -> bool:
        """Whether one event, or any of several, says something that is still to be read."""
        return self._asks_shape or b'"error"' in data or self._has_usage(data)

    @property
    def _asks_shape(self) -> bool:
        """Whether the next event may still show that the answer has the shape of this format."""
        return not self.recognised and self._unrecognised < MAX_UNRECOGNISED

    def _has_usage(self, data: bytes) -> bool:
        """Whether an event names its usage and does not only say `"usage": null`."""
        key = self.usage_key
        named = data.count(key)
        return named > 0 and named > data.count(key + b":null") + data.count(key + b": null")

    def event(self, data: dict[str, Any]) -> None:
        """Takes one parsed stream event."""
        self.body(data)

    def body(self, data: dict[str, Any]) -> None:
        """Takes a whole answer."""
        raise NotImplementedError

    def end(self) -> None:
        """Called when a stream has ended or was left."""


def count(value: object) -> int | None:
    """Return a token count as providers write it, an integer or an integral float; else None."""
    if value is None:
        return None
    if type(value) is int:  # the usual cases first: readers count a dozen members per answer
        return value if value >= 0 else None
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    if isinstance(value, float) and not value.is_integer():
        return None
    return int(value) if value >= 0 else None


def mapping(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def text(value: object) -> str:
    """Return the beginning of a string, as much as anything is kept of; "" for what is none."""
    return value[:MAX_TEXT] if isinstance(value, str) else ""


def added(*counts: int | None) -> int | None:
    """The sum of the counts that are known; None if none is."""
    known = [c for c in counts if c is not None]
    return sum(known) if known else None


def money(value: object) -> Decimal | None:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    amount = Decimal(str(value))
    return amount if amount.is_finite() and amount >= 0 else None


def cost(usage: dict[str, Any]) -> Decimal | None:
    """What the provider itself says that the call cost, in USD."""
    # xAI: https://docs.x.ai/developers/cost-tracking (10^10 ticks are one dollar)
    if ticks := count(usage.get("cost_in_usd_ticks")):
        return Decimal(ticks).scaleb(-10)
    return money(usage.get("cost"))


def items(value: object) -> list[dict[str, Any]]:
    """The objects of a list, each as it is or empty; an empty list for what is none."""
    return [mapping(item) for item in value] if isinstance(value, list) else []


def seconds(value: object) -> float | int | None:
    """A duration as providers write it: a number, or a string that is one."""
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            return None
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    if isinstance(value, float) and not 0 <= value < float("inf"):
        return None
    return value if value >= 0 else None


def error_text(data: object) -> str:
    """The message of an error answer in the shapes that providers use, "" if there is none.

    Only fields that hold the provider's own words are read: others may repeat the prompt.
    """
    if isinstance(data, list) and data:
        data = data[0]  # Gemini wraps the errors of its JSON-array streams
    data = mapping(data)
    error = data.get("error")
    if isinstance(error, str):
        return text(error)
    if not error and isinstance(errors := data.get("errors"), list) and errors:
        error = errors[0]  # watsonx
    if not isinstance(error, dict):
        # AWS, Cohere and Mistral say `message`, those who use FastAPI (Voyage, Jina) `detail`.
        return text(data.get("message")) or text(data.get("detail"))
    kind = text(error.get("type")) or text(error.get("status")) or _code(error.get("code"))
    message = text(error.get("message"))
    return f"{kind}: {message}" if kind and message else message or kind


def _code(value: object) -> str:
    return text(str(value)) if value and isinstance(value, (str, int)) else ""
