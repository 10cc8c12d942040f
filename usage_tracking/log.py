"""The logger of the package, and functions that make outside text safe for log lines."""

from __future__ import annotations

import logging

from . import conf

logger = logging.getLogger("ai_usage_tracker")


def shown_user(user_id: str | None, username: str) -> str:
    """Return the name of a user for log lines; "-" for no user."""
    if user_id is None:
        return "-"
    if username and conf.log_usernames():
        return one_line(username)
    return f"user:{one_line(user_id)}"


def one_line(text: object) -> str:
    """Return `text` with control characters and line separators escaped.

    This prevents forged log lines.
    """
    plain = str(text)
    if plain.isprintable():
        return plain
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in plain)
