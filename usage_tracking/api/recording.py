"""Record calls that a trusted worker reports: of any user, at any time, each once."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import partial
from typing import Any
from uuid import UUID, uuid5

from django.db import DatabaseError, connections, transaction
from rest_framework import serializers, status
from rest_framework.exceptions import APIException

from .. import daily, places, related_users
from ..delivery import log_lines, reads, row_values
from ..delivery.writer import store
from ..events import MANUAL, PRICE_FACTS, UsageEvent, utc_now, uuid7
from ..models import AIUsageLog
from ..pricing import quote
from ..usage import COUNTS, Usage
from .fields import UNKNOWN_USER
from .serializers import MAX_CALLS, TrustedRecordSerializer

#: How often a write is tried that another transaction makes fail.
_TRIES = 5
#: Keys of one client never collide with those of another.
_NAMESPACE = UUID("5d8f2f0e-4f0b-4a86-9b0c-6f3f0f2f6f4e")
_TWICE = "Another call of this request has the same key."
_REUSED = "You have used this key for another call, which differs in: {names}."


class ReusedKey(APIException):
    """422: an idempotency key belongs to another call, as the draft of the IETF has it.

    https://datatracker.ietf.org/doc/draft-ietf-httpapi-idempotency-key-header/
    """

    status_code = status.HTTP_422_UNPROCESSABLE_ENTITY


@dataclass(frozen=True, slots=True)
class Recorded:
    """The rows of some calls, in their order, and how many of them are new."""

    logs: list[AIUsageLog]
    created: int


Call = Mapping[str, Any]


def read_calls(items: Any) -> list[dict[str, Any]]:
    """Validate the calls of one request.

    Raises:
        ValidationError: It names each wrong call by its index.
    """
    if not isinstance(items, list) or not 1 <= len(items) <= MAX_CALLS:
        raise serializers.ValidationError({"calls": [f"Give a list of 1 to {MAX_CALLS:,} calls."]})
    serializer = TrustedRecordSerializer()
    calls: list[dict[str, Any]] = []
    errors: dict[Any, Any] = {}
    seen: set[str] = set()
    for index, item in enumerate(items):
        try:
            calls.append(call := serializer.run_validation(item))
        except serializers.ValidationError as error:
            errors[index] = error.detail
            continue
        if key := call.get("idempotency_key"):
            if key in seen:
                errors[index] = {"idempotency_key": [_TWICE]}
            seen.add(key)
    if errors:
        raise serializers.ValidationError({"calls": errors})
    return calls


def record(calls: Sequence[Call], client: Any, request: Any) -> Recorded:
    """Write the rows of all `calls`, or of none, in one transaction.

    Args:
        calls: Valid data of `TrustedRecordSerializer`.
        client: The user who sends them.
        request: Django's request, which may belong to a tenant.

    Raises:
        ByIndex: A user does not exist, or a key belongs to another call.
        DatabaseError: Any error of the database; nothing is written then.
    """
    place = places.here(request, user=client)
    using = places.alias_of(place.database) or places.own()
    connection = connections[using]
    with places.active(using, place.tenant), reads.unwatched(connection):
        events = _events(calls, client, using)
        tries = 1 if reads.in_transaction(connection) else _TRIES
        for left in reversed(range(tries)):
            try:
                return _record(calls, events, using)
            except DatabaseError:  # a deadlock, or the user was deleted meanwhile
                if not left:
                    raise
    raise AssertionError("there is at least one try")


class ByIndex(Exception):  # noqa: N818 -- it is turned into a response
    """Errors of fields by the index of the call."""

    def __init__(self, kind: type[APIException], errors: dict[Any, Any]) -> None:
        super().__init__(errors)
        self.kind, self.errors = kind, errors

    def of_many(self) -> APIException:
        """Return the response to a list of calls."""
        return self._response({"calls": self.errors})

    def of_one(self) -> APIException:
        """Return the response to a single call."""
        return self._response(self.errors[0])

    def _response(self, detail: Any) -> APIException:
        error = self.kind()
        error.detail = detail
        return error


def _events(calls: Sequence[Call], client: Any, using: str) -> list[UsageEvent]:
    keys = [call.get("user", client.pk) for call in calls]
    names = related_users.usernames(set(keys) - {None}, using=using)
    if missing := {
        index: {"user": [UNKNOWN_USER]}
        for index, key in enumerate(keys)
        if key is not None and key not in names
    }:
        raise ByIndex(serializers.ValidationError, missing)
    now = utc_now()
    events = []
    for call, user in zip(calls, keys, strict=True):
        moment = call.get("created_at", now)
        key = call.get("idempotency_key")
        events.append(
            UsageEvent.create(
                # The key is in the id, so the primary key lets no second row in.
                id=uuid5(_NAMESPACE, f"{client.pk}:{key}") if key else uuid7(moment),
                created_at=moment,
                user_id=None if user is None else str(user),
                username="" if user is None else str(names[user]),
                usage=Usage(cost=call["cost"], **{name: call[name] for name in COUNTS}),
                source=MANUAL,
                error_message=call["error_message"] or "",
                **{name: call[name] for name in _SAME_NAMES},
            )
        )
    return events


_SAME_NAMES = (
    "section",
    "provider",
    "model_name",
    "operation",
    "response_time_ms",
    "success",
    "metadata",
)


def _record(calls: Sequence[Call], events: Sequence[UsageEvent], using: str) -> Recorded:
    ids = [event.id for event in events]
    rows = related_users.with_users(AIUsageLog.objects.using(using).filter(pk__in=ids))
    with transaction.atomic(using=using):
        daily.begin_write(using)
        known = set(rows.values_list("pk", flat=True))
        new = [event for event in events if event.id not in known]
        log_lines.storing(new)
        stored = store(new, using=using, patience=dt.timedelta.min)
        logs = {log.pk: log for log in rows}
        if len(logs) < len(set(ids)):
            raise DatabaseError("Another transaction has locked a row of this request.")
        written = {row.event.id for row in stored.rows}
        # Also those that another request wrote since `known` was read.
        reused: dict[Any, Any] = {}
        for index, (call, event) in enumerate(zip(calls, events, strict=True)):
            if event.id not in written and (names := _differences(call, event, logs[event.id])):
                reused[index] = {"idempotency_key": [_REUSED.format(names=", ".join(names))]}
        if reused:
            raise ByIndex(ReusedKey, reused)
    reads.when_committed(connections[using], partial(log_lines.committed, stored))
    return Recorded([logs[pk] for pk in ids], len(written))


def _differences(call: Call, event: UsageEvent, log: AIUsageLog) -> list[str]:
    """Return the fields in which a repeated call differs from its row.

    What the client left out does not count, and neither does what the site has changed since: a
    deleted user, a new price.
    """
    values = row_values.of_event(event, quote(event), log.day)
    values["metadata"] = _own(values["metadata"])
    found = {name: getattr(log, name) for name in values} | {"metadata": _own(log.metadata)}
    ignored = {"day", "usage_source"}
    if "created_at" not in call:
        ignored.add("created_at")
    if call["cost"] is None:
        ignored.add("cost")
    elif found["cost"] is not None:
        # SQLite keeps 15 digits.
        values["cost"], found["cost"] = round(values["cost"], 8), round(found["cost"], 8)
    names = [name for name in values if name not in ignored and values[name] != found[name]]
    if log.user_id is not None and str(log.user_id) != event.user_id:
        names.append("user")
    return names


def _own(metadata: Any) -> Any:
    if not isinstance(metadata, dict):
        return metadata
    own = {name: value for name, value in metadata.items() if name not in PRICE_FACTS}
    # PostgreSQL returns 1e30 as a whole number, which is not equal to the float.
    return json.loads(json.dumps(own), parse_float=Decimal)
