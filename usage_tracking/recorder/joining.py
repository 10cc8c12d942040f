"""Find the captured call that a manual record describes, and merge the record into it."""

from __future__ import annotations

import time
from typing import Any

from ..attribution.scope import Attempt, Attribution, Call, Scope, Unit
from ..attribution.users import CallUser
from ..events import MANUAL, UNKNOWN, UsageEvent
from ..redaction import clean_metadata
from ..units import FIELDS

#: Seconds for which a manual record can join a call made outside every open unit.
JOINABLE = 60.0
#: How similar the names of two models are. One of two that are SIMILAR contains the other: "gpt-4o"
#: and "gpt-4o-2024-08-06".
OTHER, NAMELESS, SIMILAR, SAME = range(4)
#: How the ids begin that LiteLLM gives to chats and, in base64, to responses:
#: https://docs.litellm.ai/docs/response_api
_OWN_IDS = ("chatcmpl-", "resp_bGl0ZWxsbTpj")


def find(attributed: Attribution, reported: UsageEvent, response_id: str) -> Call | None:
    """Return the captured call that `reported` describes, None if there is none.

    Of several calls it is the one whose model, then whose provider, has the most similar name; of
    equal ones the newest.
    """
    unit, block = attributed.unit, attributed.scope
    oldest = 0.0 if unit.open else time.monotonic() - JOINABLE
    best, found = (-1, False), None
    for call in reversed(unit.calls):
        if call.joined or call.at < oldest or _place(call.event) != _place(reported):
            continue
        if _is_about(reported, call, response_id, in_block=_is_inside(call.scope, block)):
            if response_id and response_id == call.response_id:
                return call
            likeness = (_likeness(reported.model_name, call), _is_of_provider(reported, call))
            if likeness > best:
                best, found = likeness, call
    return found


def changes(captured: UsageEvent, reported: UsageEvent, user: CallUser | None) -> dict[str, Any]:
    """Return the fields of `captured` that `reported` changes.

    Captured values take precedence; `reported` adds what only the site knows.
    """
    found: dict[str, Any] = {
        "section": reported.section or captured.section,
        "provider": _known(captured.provider) or reported.provider or captured.provider,
        "model_name": captured.model_name or reported.model_name,
        "operation": captured.operation or reported.operation,
        "response_time_ms": captured.response_time_ms or reported.response_time_ms,
        "success": captured.success and reported.success,
        "error_message": captured.error_message or reported.error_message,
        "metadata": _metadata(captured, reported),
    }
    if user is not None:
        found |= {"user_id": user.id, "username": user.username}
    if _replaces(reported, captured):
        found |= {
            "prompt_tokens": reported.prompt_tokens,
            "completion_tokens": reported.completion_tokens,
            "cached_tokens": reported.cached_tokens,
            "cache_write_tokens": reported.cache_write_tokens,
            "reasoning_tokens": reported.reasoning_tokens,
            "usage_details": reported.usage_details,
            "cost": reported.cost,
            "price_context": reported.price_context or captured.price_context,
            "usage_source": MANUAL,
        }
    elif further := {
        unit: count for unit, count in reported.usage_details.items() if unit not in captured.units
    }:
        found["usage_details"] = captured.usage_details | further
    return found


def _metadata(captured: UsageEvent, reported: UsageEvent) -> dict[str, Any]:
    """Return the metadata of both, with the values of both that are not valid.

    The value of the other event takes the place of one that is not valid.
    """
    metadata = clean_metadata({**captured.metadata, **reported.metadata})
    used, other = (reported, captured) if _replaces(reported, captured) else (captured, reported)
    if used.is_known:
        metadata.pop("unknown", None)
    elif "unknown" in captured.metadata:
        metadata["unknown"] = captured.metadata["unknown"]
    counted = {FIELDS.get(unit, unit) for unit in used.units}
    if used.cost is not None:
        counted.add("cost")
    further = {name: why for name, why in _faults(other).items() if name not in counted}
    if faults := further | _faults(used):
        metadata["clamped"] = faults
    elif isinstance(metadata.get("clamped"), dict):
        del metadata["clamped"]
    return metadata


def _faults(event: UsageEvent) -> dict[str, Any]:
    clamped = event.metadata.get("clamped")
    return clamped if isinstance(clamped, dict) else {}


def _replaces(reported: UsageEvent, captured: UsageEvent) -> bool:
    """Return whether the usage of `reported` replaces that of `captured`, which is unknown."""
    return not captured.usage.known and any(reported.usage.units.values())


def failed_attempts(call: Call, unit: Unit) -> list[Call]:
    """Return the failed attempts that the SDK repeated as `call`, the latest first.

    Only attempts that the SDK itself marks as repeated within one call are returned. A loop in the
    site's code does not count: the same request may come from the next user of a thread.
    """
    calls = list(unit.calls)
    found: list[Call] = []
    later = call
    for earlier in reversed(calls[: calls.index(call)]):
        if later.attempt is None:
            break
        if earlier.attempt is None or earlier.attempt.worker != later.attempt.worker:
            continue
        if not _is_repeated(earlier, earlier.attempt, later, later.attempt):
            break
        found.append(earlier)
        later = earlier
    return found


def _is_repeated(failed: Call, attempt: Attempt, call: Call, again: Attempt) -> bool:
    if failed.joined or failed.event.success or call.at - failed.at > JOINABLE:
        return False
    if (attempt.key, attempt.asked) != (again.key, again.asked):
        return False
    if _place(failed.event) != _place(call.event):
        return False
    if again.number is None or attempt.number is None:
        return again.number is attempt.number and bool(again.key)
    return again.number == attempt.number + 1


def _place(event: UsageEvent) -> tuple[str, str]:
    return event.database, event.schema


def _is_inside(scope: Scope | None, block: Scope | None) -> bool:
    while scope is not None and scope is not block:
        scope = scope.parent
    return scope is block or block is None


def _is_about(reported: UsageEvent, call: Call, response_id: str, *, in_block: bool) -> bool:
    captured = call.event
    # A hand-written tracker passes 0/0 if it has no counts.
    has_tokens = bool(reported.prompt_tokens or reported.completion_tokens)
    if response_id and call.response_id:
        if response_id == call.response_id:
            return True
        if not _is_replaced(call.response_id, response_id):
            return False
        if not (in_block and has_tokens and captured.usage.known):
            return False
    if captured.usage.known and has_tokens:
        return _agree(reported.prompt_tokens, captured.prompt_tokens) and _agree(
            reported.completion_tokens, captured.completion_tokens
        )
    if not in_block or (has_tokens and reported.success and not captured.success):
        return False  # the call of another block, or the failed attempt before the reported one
    likeness = _likeness(reported.model_name, call)
    # Sites have their own names for providers; those of models say more.
    return likeness >= SIMILAR or (likeness == NAMELESS and _is_of_provider(reported, call))


def _is_replaced(captured: str, reported: str) -> bool:
    """Return whether a framework may have replaced the id of an answer by one of its own."""
    return any(reported.startswith(own) and not captured.startswith(own) for own in _OWN_IDS)


def _is_of_provider(reported: UsageEvent, call: Call) -> bool:
    return _may_be(reported.provider.lower(), _known(call.event.provider))


def _likeness(reported: str, call: Call) -> int:
    """Return how similar the name of a reported model is to the names of a call's model.

    A call has several: Azure, Databricks and aliases answer with another name than was requested.
    """
    metadata = call.event.metadata
    names = [call.event.model_name, metadata.get("requested_model"), metadata.get("response_model")]
    known = [_plain(name) for name in names if isinstance(name, str) and name]
    name = _plain(reported)
    if not name or not known:
        return NAMELESS
    if name in known:
        return SAME
    return SIMILAR if any(_may_be(name, other) for other in known) else OTHER


def _plain(name: str) -> str:
    """Return the name of a model without path, case and punctuation, which differ between APIs.

    So "openai/gpt-4o", "models/gpt-4o" and "GPT-4o" are the same model.
    """
    return "".join(filter(str.isalnum, name.rpartition("/")[2].lower()))


def _agree(reported: int | None, captured: int | None) -> bool:
    return reported is None or reported == (captured or 0)


def _known(provider: str) -> str:
    return "" if provider == UNKNOWN else provider


def _may_be(reported: str, captured: str) -> bool:
    """Return whether two names may mean the same: one is unknown, or contains the other."""
    return not reported or not captured or reported in captured or captured in reported
