"""Pass many rows as one JSON parameter, with the same statement for both databases.

With a placeholder per value, the driver would need more time for 500 rows than the database does.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

#: Column name → PostgreSQL type; SQLite uses the types of JSON.
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
    """Return the JSON parameter of `relation`."""
    return json.dumps(list(rows), separators=(",", ":"))


def key(field: Any, value: Any, connection: Any) -> Any:
    """Return a key for JSON: a number stays a number, everything else becomes database text."""
    prepared = None if value is None else field.get_db_prep_value(value, connection)
    return prepared if prepared is None or isinstance(prepared, int) else str(prepared)


def moment(value: Any, connection: Any) -> str:
    """Return a datetime as the text that the database stores."""
    adapted = connection.ops.adapt_datetimefield_value(value)
    return adapted if isinstance(adapted, str) else str(adapted.isoformat())
