"""Many rows as one JSON parameter: the same statement for both databases, parsed once by them.

A placeholder per value would make a driver spend more time on 500 rows than the database does.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

#: A column's type where PostgreSQL must be told it; SQLite takes what JSON gives.
Columns = Mapping[str, str]


def relation(columns: Columns, connection: Any, alias: str) -> str:
    """Return a FROM item whose rows are the objects of a JSON array, the next parameter.

    https://www.postgresql.org/docs/current/functions-json.html · https://sqlite.org/json1.html
    """
    if connection.vendor == "postgresql":
        typed = ", ".join(f"{name} {kind}" for name, kind in columns.items())
        return f"jsonb_to_recordset(%s::jsonb) AS {alias}({typed})"
    extracted = ", ".join(f"json_extract(value, '$.{name}') AS {name}" for name in columns)
    return f"(SELECT {extracted} FROM json_each(%s)) AS {alias}"


def parameter(rows: Iterable[Mapping[str, Any]]) -> str:
    """Return the parameter of `relation`."""
    return json.dumps(list(rows), separators=(",", ":"))


def key(field: Any, value: Any, connection: Any) -> Any:
    """Return a key as JSON: a number stays one, other keys are text as the database knows it."""
    prepared = None if value is None else field.get_db_prep_value(value, connection)
    return prepared if prepared is None or isinstance(prepared, int) else str(prepared)


def moment(value: Any, connection: Any) -> str:
    """Return a datetime as the text that the database stores."""
    adapted = connection.ops.adapt_datetimefield_value(value)
    return adapted if isinstance(adapted, str) else str(adapted.isoformat())
