"""Events: immutable records of finished AI calls that can be written as JSON and read back."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields, replace
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Any, Self
from uuid import UUID

from .redaction import clean_error, clean_metadata, clean_text
from .usage import COUNTS, FIELDS_OF, ITERATIONS, MAX_COUNT, MAX_MODEL, MIXED, Usage, billed_units

__all__ = [
    "ENDING",
    "ITERATIONS",
    "MANUAL",
    "MAX_COST",
    "MAX_COUNT",
    "MAX_DURATION",
    "MAX_USERNAME",
    "PRICE_FACTS",
    "REPORTED",
    "UNKNOWN",
    "UNSEEN",
    "Usage",
    "UsageEvent",
    "clean_context",
    "named_uuid7",
    "utc_now",
    "uuid7",
    "with_faults",
]

#: The longest valid duration in ms. The sum of a day must fit into 64 bits.
MAX_DURATION = 10**12
#: The cost of one call in USD must be below this limit.
MAX_COST = Decimal(10**6)
#: Longer usernames are truncated and may not be unique then.
MAX_USERNAME = 255

#: Keys of a row's metadata that say how its cost came about.
PRICE_FACTS = ("cost_source", "price_context", "unpriced_units", "unpriced_reason")

REPORTED, MANUAL, UNKNOWN = "reported", "manual", "unknown"


def clean_context(context: object, faults: dict[str, str]) -> dict[str, str]:
    """Return the facts of a price context that are text; the others are named in `faults`.

    Args:
        context: The price context as a line or a row has it.
        faults: Receives `price_context` if a part of it cannot be read.
    """
    if not context:
        return {}
    if not isinstance(context, Mapping):
        faults["price_context"] = f"<{type(context).__name__}>"
        return {}
    facts: dict[str, str] = {}
    for name, value in context.items():
        if isinstance(name, str) and isinstance(value, str):
            facts[clean_text(name, _LONGEST_FACT)] = clean_text(value, _LONGEST_FACT)
        elif value is not None:
            faults["price_context"] = f"<{type(value).__name__}>"
    return facts


def with_faults(metadata: dict[str, Any], faults: Mapping[str, str]) -> dict[str, Any]:
    """Return the metadata of a call that also names the values that cannot be true.

    Args:
        metadata: The metadata so far.
        faults: Unit or other name → what is wrong with its value.
    """
    if not faults:
        return metadata
    earlier = metadata.get("clamped")
    named = {FIELDS_OF.get(name, name): fault for name, fault in faults.items()}
    return metadata | {"clamped": (earlier if isinstance(earlier, dict) else {}) | named}


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageEvent:
    """One finished AI call. Create it with `UsageEvent.create`, which cleans the values."""

    id: UUID
    created_at: datetime
    user_id: str | None = None
    username: str = ""
    section: str = ""
    provider: str = ""
    model_name: str = ""
    operation: str = ""
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    cached_tokens: int | None = None
    cache_write_tokens: int | None = None
    reasoning_tokens: int | None = None
    #: The units that have no field of their own, see `Usage.details`.
    usage_details: dict[str, Any] = field(default_factory=dict)
    usage_source: str = UNKNOWN
    cost: Decimal | None = None
    #: What the answer says about the price beside the units, such as the service tier that was
    #: used: names and values of genai-prices' `price_context`.
    price_context: dict[str, Any] = field(default_factory=dict)
    response_time_ms: int = 0
    success: bool = True
    error_message: str = ""
    metadata: dict[str, Any] = field(default_factory=dict)
    #: The id of the unit of work, while the unit is open in its process.
    unit: str = ""
    #: Number of amendments; if an id occurs twice, the higher revision wins.
    revision: int = 0
    #: Begins a job whose end comes as another event, possibly from another process. If the row is
    #: already completed, only what this event knows changes: user, section, metadata.
    begins: bool = False
    #: Completes a call that another event started, possibly in another process. If the row exists,
    #: only the `ENDING` fields change.
    completes: bool = False
    #: The database of the row, see `places.identity`; "" for the site's own database.
    database: str = ""
    #: The schema of the row, "" for the schema of the connection.
    schema: str = ""
    #: Unknown keys of a line that a newer release wrote, kept for a process that knows them.
    extra: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def create(
        cls,
        *,
        usage: Usage,
        source: str = REPORTED,
        metadata: object = None,
        facts: dict[str, Any] | None = None,
        **values: Any,
    ) -> Self:
        """Return an event in which every string, number and mapping is safe to store.

        Invalid numbers are left out or clamped, and named in `metadata["clamped"]`.

        Args:
            usage: The tokens and the cost in USD.
            source: The source of the tokens, if any are known.
            metadata: The site's metadata; it is cleaned.
            facts: This app's own metadata, already clean; `metadata` takes precedence.
            **values: Other fields of the event; `response_time_ms` is in milliseconds.
        """
        extra = clean_metadata(metadata) if metadata else {}
        if facts:
            extra = facts | extra
        usage = usage.cleaned()
        clamped = {FIELDS_OF.get(unit, unit): fault for unit, fault in usage.faults.items()}
        values["response_time_ms"] = _duration(values.get("response_time_ms", 0), clamped)
        cost = usage.cost
        if cost is not None and not (cost.is_finite() and 0 <= cost < MAX_COST):
            clamped["cost"], cost = str(cost)[:40], None
        if clamped:
            extra["clamped"] = clamped
        for name, limit in _LIMITS.items():
            if value := values.get(name):
                values[name] = clean_text(value, limit)
        if error := values.get("error_message"):
            values["error_message"] = clean_error(error)
        return cls(
            **{name: getattr(usage, name) for name in COUNTS},
            usage_details=dict(usage.details),
            usage_source=source if usage.known else UNKNOWN,
            cost=cost,
            metadata=extra,
            **values,
        )

    @classmethod
    def manual(cls, *, usage: Usage, **values: Any) -> Self:
        """Return an event, created now, for a call that the site reports; see `create`."""
        now = utc_now()
        return cls.create(id=uuid7(now), created_at=now, usage=usage, source=MANUAL, **values)

    @property
    def total_tokens(self) -> int:
        """The sum of the known tokens."""
        return (self.prompt_tokens or 0) + (self.completion_tokens or 0)

    @property
    def units(self) -> dict[str, Any]:
        """All counts by unit, as they are billed."""
        return billed_units(self, self.usage_details)

    @property
    def is_known(self) -> bool:
        """Whether anything was counted."""
        return (
            self.prompt_tokens is not None
            or self.completion_tokens is not None
            or bool(self.usage_details)
        )

    @property
    def usage(self) -> Usage:
        """The tokens and the cost of the call."""
        return Usage(
            prompt_tokens=self.prompt_tokens,
            completion_tokens=self.completion_tokens,
            cached_tokens=self.cached_tokens,
            cache_write_tokens=self.cache_write_tokens,
            reasoning_tokens=self.reasoning_tokens,
            details=self.usage_details,
            cost=self.cost,
        )

    def amended(self, **changes: Any) -> Self:
        """Return the event with `changes` as its next revision."""
        return replace(self, revision=self.revision + 1, **changes)

    @property
    def detail(self) -> int:
        """How much is known of what the call used: 0 nothing, 1 the sum of its requests, 2 all."""
        if not self.is_known:
            return 0
        iterations = self.usage_details.get(ITERATIONS, ())
        return 1 if any(MIXED in each for each in iterations) else 2

    def completed(self, end: Self) -> Self:
        """Return the event completed by `end`, unless that says less."""
        if end.detail < self.detail:
            return self
        return replace(self, revision=max(self.revision, end.revision), **end.ending(self.metadata))

    def ending(self, metadata: dict[str, Any]) -> dict[str, Any]:
        """Return the fields of a call with this `metadata` that this event changes as its end."""
        changes = {name: getattr(self, name) for name in ENDING}
        if not self.model_name:
            del changes["model_name"]  # the answer to a poll may not name it
        return changes | {"metadata": self.completing(metadata), "begins": False}

    def completing(self, metadata: dict[str, Any]) -> dict[str, Any]:
        """Return the `metadata` of a call after this event has completed it."""
        return _without(metadata, _END_FACTS) | _only(self.metadata, _END_FACTS | _SIZES)

    def beginning(self, metadata: dict[str, Any]) -> dict[str, Any]:
        """Return the `metadata` of a completed call whose beginning is this event."""
        return _without(self.metadata, _END_FACTS) | _only(metadata, _END_FACTS | _SIZES)

    def to_json(self) -> str:
        """Return one line of JSON without a line break; default values are left out."""
        line: dict[str, Any] = {"id": self.id.hex, "created_at": self.created_at.isoformat()}
        for name, default in _DEFAULTS.items():
            value = getattr(self, name)
            if value != default:
                line[name] = value
        if self.cost is not None:
            line["cost"] = str(self.cost)
        if self.extra:
            line = self.extra | line
        return _encode(line)

    @classmethod
    def from_json(cls, line: str | bytes) -> Self:
        """Return the event that `to_json` wrote.

        Raises:
            ValueError: The line is not such an event. A line on disk can be torn or tampered with.
        """
        text = line.decode() if isinstance(line, bytes) else line
        data = json.loads(text)
        if "\\ud" in text or "\\uD" in text:
            json.dumps(data, ensure_ascii=False).encode()  # raises for half a surrogate pair
        if not isinstance(data, dict):
            raise ValueError("not a JSON object")
        try:
            values: dict[str, Any] = {
                "id": UUID(data.pop("id")),
                "created_at": datetime.fromisoformat(data.pop("created_at")),
            }
            if values["created_at"].tzinfo is None or not 1 < values["created_at"].year < 9999:
                raise ValueError("created_at must have a time zone and a year from 2 to 9998")
            values |= _plain_values(data)
            faults: dict[str, str] = {}
            values |= _used_values(data, faults)
            if faults:
                values["metadata"] = with_faults(values.get("metadata", {}), faults)
        except (KeyError, TypeError, AttributeError, InvalidOperation, OverflowError) as error:
            raise ValueError(f"not an event: {error!r}") from error
        return cls(**values, extra=data)


def _plain_values(data: dict[str, Any]) -> dict[str, Any]:
    """Remove the fields of `_PLAIN` from `data` and return them.

    Raises:
        ValueError: A value has the wrong type or is out of range.
    """
    values: dict[str, Any] = {}
    for name, kind in _PLAIN.items():
        value = data.pop(name, None)
        if value is None:
            continue
        # bool is a subclass of int, but not a valid count.
        if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
            given = type(value).__name__
            raise ValueError(f"{name} must be of type {kind.__name__}, not {given}")
        if isinstance(value, int) and not 0 <= value <= MAX_DURATION:
            raise ValueError(f"{name} must be from 0 to {MAX_DURATION}")
        values[name] = value
    return values


def _used_values(data: dict[str, Any], faults: dict[str, str]) -> dict[str, Any]:
    """Remove what the call used and cost from `data` and return it.

    A value that cannot be true is left out and named in `faults`: the call itself is not lost.
    """
    details = data.pop("usage_details", None) or {}
    if not isinstance(details, dict):
        faults["usage_details"] = f"<{type(details).__name__}>"
        details = {}
    counts = {name: data.pop(name, None) for name in COUNTS}
    usage = Usage(**counts, details=details).cleaned()
    faults |= usage.faults
    return {
        **{name: getattr(usage, name) for name in COUNTS},
        "usage_details": dict(usage.details),
        "cost": _cost(data.pop("cost", None), faults),
        "price_context": clean_context(data.pop("price_context", None), faults),
    }


def _cost(value: object, faults: dict[str, str]) -> Decimal | None:
    if value is None:
        return None
    try:
        is_number = isinstance(value, (str, int, float)) and not isinstance(value, bool)
        cost = Decimal(str(value) if is_number else "NaN")
    except InvalidOperation:
        cost = Decimal("NaN")
    if cost.is_finite() and 0 <= cost < MAX_COST:
        return cost
    faults["cost"] = str(value)[:40] if isinstance(value, str) else f"<{type(value).__name__}>"
    return None


_encode = json.JSONEncoder(separators=(",", ":")).encode

#: The fields that are only known at the end of a call.
ENDING = (
    "model_name",
    *COUNTS,
    "usage_details",
    "usage_source",
    "cost",
    "price_context",
    "success",
    "error_message",
)
_END_FACTS = frozenset({"batch", "clamped", "partial", "service_tier", "unknown", *PRICE_FACTS})
#: Facts about the size of an answer: the end changes those that it names.
_SIZES = frozenset({"credits", "predict_seconds", "video_seconds", "video_size", "videos"})
#: In the metadata of a row whose call was completed, but whose beginning was not seen yet.
UNSEEN = {"beginning": "not seen"}


def _only(metadata: dict[str, Any], names: frozenset[str]) -> dict[str, Any]:
    return {name: value for name, value in metadata.items() if name in names}


def _without(metadata: dict[str, Any], names: frozenset[str]) -> dict[str, Any]:
    return {name: value for name, value in metadata.items() if name not in names}


_LIMITS = {
    "user_id": 255,
    "username": MAX_USERNAME,
    "section": 50,
    "provider": 50,
    "model_name": MAX_MODEL,
    "operation": 30,
}

_LONGEST_FACT = 50

#: Fields with what a call used and cost, see `_used_values`.
_USED = (*COUNTS, "usage_details", "cost", "price_context")

_PLAIN: dict[str, type] = {
    f.name: {"str": str, "str | None": str, "int": int, "int | None": int, "bool": bool}.get(
        str(f.type), dict
    )
    for f in fields(UsageEvent)
    if f.name not in {"id", "created_at", "extra", *_USED}
}


_DEFAULTS: dict[str, Any] = {
    f.name: {} if f.default is MISSING else f.default
    for f in fields(UsageEvent)
    if f.name not in {"id", "created_at", "cost", "extra"}
}


def _duration(value: object, clamped: dict[str, str]) -> int:
    """Return a duration in ms; 0 for an invalid one, which is named in `clamped`."""
    if value is None:
        return 0
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        is_number = isinstance(value, int) and not isinstance(value, bool)
        clamped["response_time_ms"] = "negative" if is_number else f"<{type(value).__name__}>"
        return 0
    if value > MAX_DURATION:
        clamped["response_time_ms"] = f"above {MAX_DURATION}"
        return MAX_DURATION
    return value


_RANDOM = (0xFFF << 64) | (2**62 - 1)
_VERSION_7 = (0x7 << 76) | (0x2 << 62)


def utc_now() -> datetime:
    """Return the current time in UTC."""
    return datetime.now(UTC)


def named_uuid7(moment: datetime, name: str) -> UUID:
    """Return a UUID like `uuid7` that depends only on `moment` and `name`, in every process."""
    noise = int.from_bytes(hashlib.sha256(name.encode()).digest()[:10], "big")
    return _uuid7(moment, noise)


def uuid7(moment: datetime) -> UUID:
    """Return a random UUID of version 7 (RFC 9562, 5.7) that sorts by `moment` (aware).

    The random part comes from the operating system, so that forks of a process never get the same.
    """
    return _uuid7(moment, int.from_bytes(os.urandom(10), "big"))


def _uuid7(moment: datetime, noise: int) -> UUID:
    milliseconds = int(moment.timestamp() * 1000) & (2**48 - 1)
    return UUID(int=(milliseconds << 80) | (noise & _RANDOM) | _VERSION_7)
