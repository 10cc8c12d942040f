"""Cursors: where the next page of a list begins, and which query the list answers.

A cursor is the key of the last row and the query, signed for one endpoint and one user. Rows are in
the order of their keys, so new rows move no row to another page.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.core.signing import BadSignature, Signer
from rest_framework import serializers

#: Asks for the first page by cursor.
FIRST = "*"
_OTHER_QUERY = "The cursor belongs to a query with another value. Repeat that query, or start anew."
_NOT_OURS = (
    "This is not a cursor that this endpoint gave to you. Take it from `next`, "
    f"or start with `{FIRST}`."
)


def write(kind: str, user: Any, query: Mapping[str, str], key: list[Any]) -> str:
    """Return the cursor of the page after the row with `key`."""
    return _signer(kind, user).sign_object([dict(query), key], compress=True)


def read(
    text: str, kind: str, user: Any, given: Mapping[str, str]
) -> tuple[dict[str, str], list[Any]]:
    """Return the query and the key of a cursor.

    Args:
        text: What the client sent.
        kind: The endpoint.
        user: The client.
        given: The query that the client repeats; it may leave parameters out.

    Raises:
        ValidationError: It is not the cursor of this endpoint and this user, or of another query.
    """
    try:
        query, key = _signer(kind, user).unsign_object(text)
    except BadSignature:
        raise serializers.ValidationError({"cursor": [_NOT_OURS]}) from None
    if errors := {
        name: [_OTHER_QUERY] for name, value in given.items() if query.get(name) != value
    }:
        raise serializers.ValidationError(errors)
    return query, key


def _signer(kind: str, user: Any) -> Signer:
    return Signer(salt=f"usage_tracking.api.{kind}.{user.pk}")
