"""Counts in `usage_details` as SQL, for sums over many rows."""

from __future__ import annotations

from typing import Any

from django.db.models import BigIntegerField, F, Func

from .. import units


class DetailCount(Func):
    """The count of a unit in `usage_details`; NULL if the row has none.

    A value that cannot be a count, such as text or a number above `units.MAX_COUNT`, is NULL too: a
    site's own SQL may have written it.
    """

    output_field = BigIntegerField()

    def __init__(self, unit: str) -> None:
        if not units.is_unit(unit):
            raise ValueError(f"unit must be one of units.NAMES, not {unit!r}")
        super().__init__(F("usage_details"))
        self.extra["unit"] = unit

    def as_postgresql(self, compiler: Any, connection: Any, **context: Any) -> Any:
        """Return SQL for PostgreSQL, where a cast of text to a number fails."""
        number = "(%(expressions)s ->> '%(unit)s')::numeric"
        return self.as_sql(
            compiler,
            connection,
            template=_guarded(
                "CASE jsonb_typeof(%(expressions)s -> '%(unit)s') WHEN 'number' THEN "
                f"CASE WHEN {number} BETWEEN 0 AND {units.MAX_COUNT} THEN {number}::int END END"
            ),
            **context,
        )

    def as_sqlite(self, compiler: Any, connection: Any, **context: Any) -> Any:
        """Return SQL for SQLite."""
        number = "json_extract(%(expressions)s, '$.%(unit)s')"
        return self.as_sql(
            compiler,
            connection,
            template=_guarded(
                "CASE WHEN json_type(%(expressions)s, '$.%(unit)s') IN ('integer', 'real') "
                f"AND {number} BETWEEN 0 AND {units.MAX_COUNT} THEN CAST({number} AS INTEGER) END"
            ),
            **context,
        )


def _guarded(sql: str) -> str:
    """Return `sql` for rows with details only: most have none."""
    return f"CASE WHEN %(expressions)s IS NOT NULL THEN {sql} END"
