"""Count the SQL statements that AI calls add to a request, on the view's connection.

python -m benchmarks.statements
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from benchmarks.site import statements, web_site
from benchmarks.table import FULL, Row, print_rows, scaled


def measure(part: float = FULL) -> Iterator[Row]:
    """Yield the rows of this benchmark."""
    most = scaled(20, part, 2)
    with web_site() as alice:
        from django.test import Client

        anonymous, visitor = Client(), Client()
        visitor.force_login(alice)
        for client in (anonymous, visitor):
            added(client, "n=1", "n=0")  # imports, caches
        by_calls = [
            added(client, f"n={calls}{load}", f"n=0{load}")
            for calls in (1, most)
            for client, load in ((anonymous, ""), (visitor, "&load"))
        ]
        unloaded = [added(visitor, f"n={calls}", "n=0") for calls in (1, most)]
    yield Row(
        "SQL on the caller's connection per request with N captured calls",
        "0",
        f"{max(by_calls)}; {max(unloaded)} if nothing has loaded the user (N = 1, {most})",
        met={*by_calls, *unloaded} == {0},
        invariant=True,
    )


def added(client: Any, query: str, without: str) -> int:
    """Return the statements of one request minus those of another."""
    return asked(client, query) - asked(client, without)


def asked(client: Any, query: str) -> int:
    """Return the number of statements of one request."""
    with statements() as noted:
        client.get(f"/calls/?{query}")
    return len(noted)


if __name__ == "__main__":
    print_rows(measure())
