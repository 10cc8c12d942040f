"""The base of the wire readers: take the events or the body of one answer, extract its usage."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Any, NamedTuple

from ..units import STANDARD
from ..usage import Usage
from .streams import Splitter

#: Characters of a name or a message that are read. A provider may send megabytes, and no more is
#: kept of the longest text, an error.
MAX_TEXT = 4000
#: After so many events that no format recognises, only those are parsed that name usage or an
#: error.
MAX_UNRECOGNISED = 1000


class Job(NamedTuple):
    """Work that one request begins and later ones ask about: a background response, a batch."""

    #: The id under which the provider knows it.
    id: str
    #: It has reached its final state, and the answer says what it used.
    ended: bool
    #: When it began, if the answer says so.
    began: datetime | None = None
    #: What distinguishes its row from others of the same job, such as the model in a batch.
    part: str = ""


class Reader:
    """Reads one answer of one wire format.

    Call either `body` once, or `feed` per stream event and then `end`. It knows nothing of HTTP.
    """

    #: The operation of this format, as OpenTelemetry names it (`gen_ai.operation.name`).
    operation = ""
    #: The bytes that name the usage object; a stream event without them is not parsed.
    usage_key = b'"usage"'
    #: The bytes that name what is billed beside the usage object.
    beside_usage: tuple[bytes, ...] = ()
    #: Whether the usage of a stream that ended is final, although the stream did not say so.
    final_at_end = True
    #: Whether each answer about a job says when it began, so that the id of its row may depend on
    #: that and sorts by it.
    dates_jobs = False
    #: Whether the request asks about a job, although its path is that of requests that begin one.
    polls = False
    #: Whether an answer may be of any length, since no more than a line of it is kept.
    any_length = False
    #: Why the usage of a job that has not ended is unknown.
    in_progress = "made in the background; its end was not seen yet"
    #: Why the usage of an answer that ended is unknown.
    no_usage = "no usage in the answer"

    def __init__(self) -> None:
        self.usage: Usage | None = None
        self.model = ""
        self.response_id = ""
        self.error = ""
        #: The tier that was used, as the provider names it.
        self.service_tier = ""
        #: Other facts that the price depends on, such as `{"speed": "fast"}`.
        self.price_facts: dict[str, str] = {}
        #: The operation that the answer shows, "" if its path alone decides that.
        self.shown_operation = ""
        #: The answer has the shape of this format.
        self.recognised = False
        self._unrecognised = 0
        #: The job that the answer is about, None if it is about none.
        self.job: Job | None = None
        #: All usage of the answer has been read.
        self.complete = False
        #: The cost in USD that a gateway adds to the headers of an answer.
        self.header_cost: Decimal | None = None
        #: The headers name a cost that cannot be one.
        self.header_cost_is_invalid = False
        #: Other facts about the size of the answer, for the metadata of the row.
        self.facts: dict[str, Any] = {}

    @property
    def price_context(self) -> dict[str, str]:
        """The facts of the answer that its price depends on; those of standard calls are left out.

        The names are those of genai-prices' `price_context`.
        """
        found = self.price_facts
        if self.service_tier:
            found = found | {"service_tier": self.service_tier}
        return {
            name: value.lower()[:50]
            for name, value in found.items()
            if value and value.lower() not in STANDARD
        }

    @property
    def parts(self) -> Sequence[Reader]:
        """The readers whose calls are rows: several if the answer is about several calls."""
        return (self,)

    def splitter(self) -> Splitter | None:
        """Return what splits the answer into events; None if its Content-Type decides that."""
        return None

    def asked(self, path: str, body: bytes | Mapping[str, Any] | None) -> None:
        """Take the request, for formats whose answers do not say all; `path` has no query."""

    def dropped(self, part: bytes | bytearray, end: int) -> None:
        """Take a part of a long answer, of which what stands before `end` will not be kept."""

    def cut(self, head: bytes) -> bool:
        """Take the beginning of an answer that is too long to be kept; return whether it says all.

        Formats that report usage do so at the end, and need no beginning.
        """
        return False

    def head(self, headers: Mapping[str, str]) -> None:
        """Take the headers of the response, before its body; their names ignore case."""
        # LiteLLM's proxy: https://docs.litellm.ai/docs/proxy/cost_tracking
        value = headers.get("x-litellm-response-cost")
        self.header_cost = money(value)
        self.header_cost_is_invalid = bool(value) and self.header_cost is None

    def use(self, found: Usage, *, complete: bool = True) -> None:
        """Take a usage if it says anything; `complete` tells whether it is final."""
        if found.known or found.cost is not None or found.faults:
            self.usage = found
            self.complete = complete

    def feed(self, data: bytes) -> None:
        """Take the data of one stream event.

        Raises:
            ValueError: The data is not JSON.
            RecursionError: The JSON is nested too deeply.
        """
        if self.wants(data):
            if not self.recognised:
                self._unrecognised += 1
            parsed = json.loads(data)
            if isinstance(parsed, dict):
                self.event(parsed)

    def wants(self, data: bytes) -> bool:
        """Return whether one event, or any of several, may have something to read."""
        return self._asks_shape or b'"error' in data or self._has_usage(data)

    @property
    def _asks_shape(self) -> bool:
        """Whether the next event may still show that the answer has this format."""
        return not self.recognised and self._unrecognised < MAX_UNRECOGNISED

    def _has_usage(self, data: bytes) -> bool:
        """Return whether an event names usage that is not `"usage": null`."""
        key = self.usage_key
        named = data.count(key)
        return named > 0 and named > data.count(key + b":null") + data.count(key + b": null")

    def event(self, data: dict[str, Any]) -> None:
        """Take one parsed stream event."""
        self.body(data)

    def long_event(self, data: dict[str, Any]) -> None:
        """Take what could be read of an event that was too long: its usage, model and type."""
        self.event(data)

    def done(self) -> None:
        """Take `[DONE]`, the last event of a stream of some providers."""

    def body(self, data: dict[str, Any]) -> None:
        """Take a whole answer."""
        raise NotImplementedError

    def end(self) -> None:
        """Finish a stream that ended or was abandoned."""


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


def moment(value: object) -> datetime | None:
    """Return a moment as providers write it, in Unix time or RFC 3339; None for other values."""
    try:
        if isinstance(value, str):
            found = datetime.fromisoformat(value)
            return found if found.tzinfo else found.replace(tzinfo=UTC)
        if isinstance(value, (int, float)) and not isinstance(value, bool) and value > 0:
            return datetime.fromtimestamp(value, UTC)
    except (ValueError, OverflowError, OSError):
        return None
    return None


def mapping(value: object) -> dict[str, Any]:
    """Return a JSON object as it is; {} for any other value."""
    return value if isinstance(value, dict) else {}


def text(value: object) -> str:
    """Return the first `MAX_TEXT` characters of a string; "" for any other value."""
    return value[:MAX_TEXT] if isinstance(value, str) else ""


def added(*counts: int | None) -> int | None:
    """Return the sum of the known counts; None if no count is known."""
    known = [c for c in counts if c is not None]
    return sum(known) if known else None


def total(*values: object) -> object:
    """Return the sum of counts as they stand in an answer, None if all are missing.

    If one of them cannot be a count, return that one, so that it is named and not counted.
    """
    known = [value for value in values if value is not None]
    wrong = [value for value in known if count(value) is None]
    if wrong:
        return wrong[0]
    return sum(count(value) or 0 for value in known) if known else None


def first(*values: object) -> object:
    """Return the first of the counts of one thing that an answer has; one above 0 comes first."""
    zero = None
    for value in values:
        if value:
            return value
        if zero is None:
            zero = value
    return zero


_MODALITIES = ("text", "audio", "image", "video")
_INPUT = {f"{name}_tokens": f"input_{name}_tokens" for name in _MODALITIES}
_OUTPUT = {f"{name}_tokens": f"output_{name}_tokens" for name in _MODALITIES}
_CACHED = {
    f"{prefix}{name}_tokens": f"cache_{name}_read_tokens"
    for name in _MODALITIES
    for prefix in ("", "cached_")
}


def input_units(details: dict[str, Any]) -> dict[str, Any]:
    """Return the units in the details of the input tokens, as OpenAI and others write them."""
    found = _units(details, _INPUT) if details else {}
    found["cache_read_tokens"] = details.get("cached_tokens")
    found["cache_write_tokens"] = details.get("cache_write_tokens")
    if isinstance(cached := details.get("cached_tokens_details"), dict):
        # Here a 0 matters, see `units.is_informative`.
        found |= {unit: cached[name] for name, unit in _CACHED.items() if name in cached}
    return found


def output_units(details: dict[str, Any]) -> dict[str, Any]:
    """Return the units in the details of the output tokens, as OpenAI and others write them."""
    found = _units(details, _OUTPUT) if details else {}
    found["output_reasoning_tokens"] = details.get("reasoning_tokens")
    return found


def _units(details: dict[str, Any], names: dict[str, str]) -> dict[str, Any]:
    # Most answers have zeros here, and a usage without further units is read faster.
    return {
        unit: value
        for name, unit in names.items()
        if (value := details.get(name)) is not None and value != 0
    }


def money(value: object) -> Decimal | None:
    """Return an amount from 0 to below 10^15, a number or its text; None for any other value."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    try:
        amount = Decimal(str(value)[:50])
    except InvalidOperation:
        return None
    # Larger ones could not be added.
    return amount if amount.is_finite() and 0 <= amount < 10**15 else None


def cost(usage: dict[str, Any], faults: dict[str, str] | None = None) -> Decimal | None:
    """Return the cost of the call in USD that the provider itself reports; None if it does not.

    Args:
        usage: The `usage` object of the answer.
        faults: Receives `cost` if the reported value cannot be a cost.
    """
    # xAI: https://docs.x.ai/developers/cost-tracking (10^10 ticks are one dollar)
    ticks = usage.get("cost_in_usd_ticks")
    if exact := count(ticks):
        return Decimal(exact).scaleb(-10)
    if ticks is not None and exact is None and faults is not None:
        faults["cost"] = "not a number of ticks"
    # DeepInfra: https://deepinfra.com/docs/openai_api (`estimated_cost`)
    value = usage.get("cost")
    if value is None:
        value = usage.get("estimated_cost")
    if value is None:
        return None
    if isinstance(value, dict):  # Perplexity: https://docs.perplexity.ai/api-reference
        value = value.get("total_cost")
    amount = money(value)
    # With the customer's own key (BYOK), OpenRouter's cost is its fee; the provider bills the rest:
    # https://openrouter.ai/docs/use-cases/usage-accounting
    if amount is not None and usage.get("is_byok") is True:
        upstream = money(mapping(usage.get("cost_details")).get("upstream_inference_cost"))
        amount = None if upstream is None else amount + upstream
    if amount is None and faults is not None:
        faults["cost"] = "not an amount of USD"
    return amount


def items(value: object) -> list[dict[str, Any]]:
    """Return the items of a list, {} for each that is not an object; [] for any other value."""
    return [mapping(item) for item in value] if isinstance(value, list) else []


def seconds(value: object) -> float | int | None:
    """Return a duration as providers write it, a number or a numeric string; else None."""
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
    """Return the message of an error answer in the shapes that providers use, "" if it has none.

    Only fields with the provider's own words are read: others may repeat the prompt.
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
        # AWS, Cohere and Mistral use `message`, providers on FastAPI (Voyage, Jina) `detail`.
        return text(data.get("message")) or text(data.get("detail"))
    kind = text(error.get("type")) or text(error.get("status")) or _code(error.get("code"))
    message = text(error.get("message"))
    return f"{kind}: {message}" if kind and message else message or kind


def _code(value: object) -> str:
    return text(str(value)) if value and isinstance(value, (str, int)) else ""
