"""Counts in `usage_details` as SQL, for sums over many rows."""

from __future__ import annotations

from typing import Any

from django.db.models import BigIntegerField, F, Func

from .. import units


class DetailCount(Func):
    """The count of some units in `usage_details` together; NULL if the row has none of them.

    A value that cannot be a count, such as text or a number above `units.MAX_COUNT`, is left out: a
    site's own SQL may have written it.
    """

    output_field = BigIntegerField()

    def __init__(self, *names: str) -> None:
        for name in names:
            if not units.is_unit(name):
                raise ValueError(f"unit must be one of units.NAMES, not {name!r}")
        super().__init__(F("usage_details"))
        self.names = names

    def as_postgresql(self, compiler: Any, connection: Any, **context: Any) -> Any:
        """Return SQL for PostgreSQL, where a cast of text to a number fails."""
        template = _sum_of([_on_postgresql(name) for name in self.names])
        return self.as_sql(compiler, connection, template=template, **context)

    def as_sqlite(self, compiler: Any, connection: Any, **context: Any) -> Any:
        """Return SQL for SQLite."""
        template = _sum_of([_on_sqlite(name) for name in self.names])
        return self.as_sql(compiler, connection, template=template, **context)


def _on_postgresql(name: str) -> str:
    number = f"(%(expressions)s ->> '{name}')::numeric"
    return (
        f"CASE jsonb_typeof(%(expressions)s -> '{name}') WHEN 'number' THEN "
        f"CASE WHEN {number} BETWEEN 0 AND {units.MAX_COUNT} THEN {number}::bigint END END"
    )


def _on_sqlite(name: str) -> str:
    number = f"json_extract(%(expressions)s, '$.{name}')"
    return (
        f"CASE WHEN json_type(%(expressions)s, '$.{name}') IN ('integer', 'real') "
        f"AND {number} BETWEEN 0 AND {units.MAX_COUNT} THEN CAST({number} AS INTEGER) END"
    )


def _sum_of(counts: list[str]) -> str:
    """Return the sum of the known counts, read from rows with details only: most have none."""
    (total,) = counts if len(counts) == 1 else [_known_sum(counts)]
    return f"CASE WHEN %(expressions)s IS NOT NULL THEN {total} END"


def _known_sum(counts: list[str]) -> str:
    total = " + ".join(f"COALESCE({count}, 0)" for count in counts)
    return f"CASE WHEN COALESCE({', '.join(counts)}) IS NOT NULL THEN {total} END"
