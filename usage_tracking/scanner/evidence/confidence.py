"""How it is known that a call calls a model."""

from __future__ import annotations

from dataclasses import dataclass

from ..catalog import Target
from ..values import Library, Values

CERTAIN, LIKELY, NAME_ONLY = "certain", "likely", "name only"
CONFIDENCES = (CERTAIN, LIKELY, NAME_ONLY)

#: Libraries whose methods call no model, whatever the methods are called.
NO_MODEL = {
    *("builtins", "django", "rest_framework", "stripe", "twilio", "telegram", "telebot", "aiogram"),
    *("discord", "slack_sdk", "celery", "subprocess", "logging", "unittest", "pytest", "typer"),
    *("click", "redis", "sqlalchemy", "pymongo", "elasticsearch", "channels", "kombu", "pika"),
}


@dataclass(frozen=True, slots=True)
class Evidence:
    """What a call requests, and how that is known."""

    target: Target
    confidence: str
    reason: str


def is_of_other_library(values: Values) -> bool:
    """Return whether any of `values` belongs to a library that calls no model."""
    return any(
        isinstance(value, Library)
        and value.dotted.partition(".")[0] in NO_MODEL
        and not value.dotted.startswith("builtins.")
        for value in values
    )
