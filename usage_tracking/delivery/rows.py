"""An event with the values of its row that it does not have itself."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any, NamedTuple

from django.contrib.auth import get_user_model
from django.core.exceptions import ValidationError

from ..events import MAX_USERNAME, UsageEvent
from ..pricing import Quote


class Row(NamedTuple):
    """An event, and the values of its row that the event does not have."""

    event: UsageEvent
    user_id: Any
    quote: Quote
    day: dt.date
    #: Whether to write the row without its user if the user does not exist.
    give_up: bool

    @property
    def cost(self) -> Decimal | None:
        """The cost of the call in USD, None if it is unknown."""
        return self.quote.cost


def known_username(event: UsageEvent) -> Any:
    """Return the value of the username field that the event names.

    It is None if the value is unknown: the user is stateless or has an empty name, the name was
    truncated, or the field cannot convert it.
    """
    if not event.username or len(event.username) >= MAX_USERNAME:
        return None
    try:
        return username_field().to_python(event.username)
    except (ValidationError, ValueError):
        return None


def username_field() -> Any:
    """Return the field of the user model that holds the username."""
    user = get_user_model()
    return user._meta.get_field(user.USERNAME_FIELD)
