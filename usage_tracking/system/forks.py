"""Database connections of a parent process, which a forked child must not use."""

from __future__ import annotations

from typing import Any

from django.db import connections

from . import files

#: Open connections and connection pools that came into this process by a fork. Kept, for a driver
#: may say goodbye to the server in the parent's name when the object is freed.
_inherited: list[Any] = []


def is_inherited(connection: Any) -> bool:
    """Return whether a query on `connection` would go over a socket of the parent process."""
    return any(
        thing is connection.connection or thing is _pool(connection)
        for thing in _inherited  # empty but in a child
    )


def _pool(connection: Any) -> Any:
    """Return Django's pool behind `connection` if there is one already, else None."""
    return getattr(connection, "_connection_pools", {}).get(connection.alias)


def _after_fork() -> None:
    for connection in connections.all(initialized_only=True):
        for thing in (connection.connection, _pool(connection)):
            if thing is not None:
                _inherited.append(thing)


files.after_fork(_after_fork)
