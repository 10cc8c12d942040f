"""Detect database connections of a parent process, which a forked child must not use."""

from __future__ import annotations

from typing import Any

from django.db import connections

from . import files

#: Open connections and connection pools that this process inherited by a fork. They are kept alive,
#: because a driver may close the parent's session on the server when the object is freed.
_inherited: list[Any] = []


def is_inherited(connection: Any) -> bool:
    """Return whether a query on `connection` would use a socket of the parent process."""
    return any(
        thing is connection.connection or thing is _pool(connection)
        for thing in _inherited  # empty except in a forked process
    )


def _pool(connection: Any) -> Any:
    """Return Django's connection pool of `connection`, None if there is none yet."""
    return getattr(connection, "_connection_pools", {}).get(connection.alias)


def _after_fork() -> None:
    for connection in connections.all(initialized_only=True):
        for thing in (connection.connection, _pool(connection)):
            if thing is not None:
                _inherited.append(thing)


files.after_fork(_after_fork)
