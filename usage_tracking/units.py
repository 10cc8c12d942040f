"""The units in which providers count and bill, under the names that genai-prices gives them.

https://github.com/pydantic/genai-prices (its registry of units; a test holds these names to it)
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

#: A count; only durations may be fractional.
Number = int | float

#: The largest number of tokens that one call can have; a larger count is an error of its sender.
MAX_COUNT: Final = 10**9

#: Unit → the field of events and rows that holds it.
FIELDS: Final[Mapping[str, str]] = {
    "input_tokens": "prompt_tokens",
    "output_tokens": "completion_tokens",
    "cache_read_tokens": "cached_tokens",
    "output_reasoning_tokens": "reasoning_tokens",
}

_MODALITIES = ("text", "audio", "image", "video")
_CACHE = tuple(
    f"cache_{modality}{kind}_tokens"
    for modality in ("", *(f"{name}_" for name in _MODALITIES))
    for kind in ("read", "write", "write_5m", "write_1h")
)
#: Units of whole seconds or parts of them.
DURATIONS: Final = ("audio_seconds", "input_audio_seconds", "output_audio_seconds")
#: Units that are the calls of a tool which the provider runs.
TOOL_CALLS: Final = ("web_searches", "social_searches", "storage_searches", "code_executions")

#: All units, in the order of reports. `requests` is not counted: each call is one.
NAMES: Final = (
    "input_tokens",
    *(f"input_{name}_tokens" for name in _MODALITIES),
    *_CACHE,
    "input_tool_tokens",
    *(f"input_{name}_tool_tokens" for name in _MODALITIES),
    "output_tokens",
    *(f"output_{name}_tokens" for name in _MODALITIES),
    *(
        f"output_{modality}{kind}_tokens"
        for kind in ("reasoning", "citation")
        for modality in ("", *(f"{name}_" for name in _MODALITIES))
    ),
    "input_characters",
    "input_text_messages",
    *DURATIONS,
    "input_pixels",
    "input_document_pages",
    "input_annotated_document_pages",
    "rerank_searches",
    *TOOL_CALLS,
)

#: The names that providers give to their standard service, which has the standard price.
STANDARD: Final = frozenset(
    {"default", "standard", "auto", "on_demand", "global", "not_available", "none", "unspecified"}
)

#: Parts that do not overlap, so that their sum cannot exceed the whole.
_PARTITIONS: Final = (
    ("input_tokens", ("cache_read_tokens", "cache_write_tokens")),
    ("cache_write_tokens", ("cache_write_5m_tokens", "cache_write_1h_tokens")),
    ("input_tokens", tuple(f"input_{name}_tokens" for name in _MODALITIES)),
    ("cache_read_tokens", tuple(f"cache_{name}_read_tokens" for name in _MODALITIES)),
    ("output_tokens", tuple(f"output_{name}_tokens" for name in _MODALITIES)),
    ("output_tokens", ("output_reasoning_tokens", "output_citation_tokens")),
)
_KNOWN = frozenset(NAMES)
#: What the name of a unit looks like; a newer release may count units that this one does not know.
_UNIT: Final = re.compile(r"[a-z][a-z0-9_]{0,59}")


def is_unit(name: str) -> bool:
    """Return whether `name` is a unit that a call can count."""
    return name in _KNOWN


class UnknownUnitError(TypeError):
    """A keyword argument is not the name of a unit."""


def check_names(names: Iterable[str]) -> None:
    """Check the names of units.

    Raises:
        UnknownUnitError: A name is not in `NAMES`.
    """
    for name in names:
        if not is_unit(name):
            raise UnknownUnitError(f"{name!r} is not a unit{suggestions(name)}")


def fault_of(unit: str, value: object) -> str:
    """Return why a value cannot be a count of `unit`, "" if it can."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return f"<{type(value).__name__}>"
    if value < 0:
        return "negative"
    if isinstance(value, float) and not math.isfinite(value):
        return "not finite"
    if isinstance(value, float) and not value.is_integer() and unit not in DURATIONS:
        return "not whole"
    return f"above {MAX_COUNT}" if value > MAX_COUNT else ""


def clean(counts: Mapping[str, Any], faults: dict[str, str]) -> dict[str, Number]:
    """Return the counts that can be true; the others are named in `faults`.

    Args:
        counts: Unit → count as a provider or a site gave it. None means that it was not counted.
        faults: Receives unit → what is wrong with its count.
    """
    cleaned: dict[str, Number] = {}
    for unit, value in counts.items():
        if value is None:
            continue
        if unit not in _KNOWN and not _UNIT.fullmatch(unit):
            faults["usage_details"] = "has a name that is not a unit"
            continue
        if type(value) is int and 0 <= value <= MAX_COUNT:
            cleaned[unit] = value
            continue
        if fault := fault_of(unit, value):
            faults[unit] = fault
        else:
            is_whole = type(value) is not float or value.is_integer()
            cleaned[unit] = int(value) if is_whole else value
    if len(cleaned) > 1:
        _drop_contradictions(cleaned, faults)
    return cleaned


def _drop_contradictions(counts: dict[str, Number], faults: dict[str, str]) -> None:
    for whole, parts in _PARTITIONS:
        counted = [part for part in parts if counts.get(part)]
        if not counted or whole in faults:
            continue
        size = counts.get(whole)
        if size is None:
            continue
        above = [part for part in counted if counts[part] > size]
        rest = [part for part in counted if part not in above]
        if sum(counts[part] for part in rest) > size:
            above = counted
        for part in above:
            faults[part] = f"more than {whole}"
            del counts[part]


def is_informative(unit: str, counts: Mapping[str, Any]) -> bool:
    """Return whether a count says anything: it is not 0, or the price depends on the 0.

    If audio was read, and something was read from the cache, then whether that was audio matters.
    """
    if counts[unit]:
        return True
    modality = unit.removeprefix("cache_").removesuffix("_read_tokens")
    return (
        modality in _MODALITIES
        and bool(counts.get("cache_read_tokens"))
        and bool(counts.get(f"input_{modality}_tokens"))
    )


def suggestions(name: str, among: Iterable[str] = NAMES) -> str:
    """Return `; did you mean "..."?` for a misspelt name, "" if nothing is close to it."""
    import difflib  # only for errors

    close = difflib.get_close_matches(name, list(among), 1)
    return f'; did you mean "{close[0]}"?' if close else ""
