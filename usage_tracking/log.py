"""The logger of the package, and how its lines show text from outside."""

from __future__ import annotations

import logging

from . import conf

logger = logging.getLogger("ai_usage_tracker")


def shown_user(user_id: str | None, username: str) -> str:
    """Return the name that log lines use for a user."""
    if user_id is None:
        return "-"
    if username and conf.log_usernames():
        return one_line(username)
    return f"user:{one_line(user_id)}"


def one_line(text: object) -> str:
    """Return `text` with control characters and line separators escaped.

    Text from outside cannot forge a log line then.
    """
    plain = str(text)
    if plain.isprintable():
        return plain
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in plain)
