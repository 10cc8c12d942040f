"""Group the same rows in several ways, in one statement that reads each row once."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Context, Decimal
from typing import Any, Generic, TypeVar

from django.contrib.auth import get_user_model
from django.db import connections
from django.db.models import DateField, DateTimeField, Field, QuerySet, TextField

from .totals import COST_STEP

T = TypeVar("T")
Key = tuple[Any, ...]
# The significant digits of SQLite's floating point numbers, as Django reads them.
_EXACT = Context(prec=15)


@dataclass(frozen=True, slots=True)
class Grouping:
    """Columns to group by.

    Groups are ranked by the sums that `rank` names, the largest first and unknown ones last; each
    further sum orders groups of equal rank. `top` is how many to keep; None keeps all. `keeps_null`
    keeps the group whose first column is NULL as one more; False leaves that group out.
    """

    columns: tuple[str, ...]
    top: int | None = None
    rank: tuple[str, ...] = ("total_tokens",)
    keeps_null: bool = True


@dataclass(frozen=True, slots=True)
class Measure(Generic[T]):
    """The sums of each group.

    `sums` maps names to SQL, and `read` gets their values in that order. `count` names the sum that
    is the number of calls; it orders the groups whose ranks are equal.
    """

    sums: Mapping[str, str]
    count: str
    read: Callable[[Sequence[Any]], T]


@dataclass(frozen=True, slots=True)
class Groups(Generic[T]):
    """The groups of one grouping that are kept, largest first, and the `number` of all groups.

    A group whose first column is NULL comes first and is not counted.
    """

    found: tuple[tuple[Key, T], ...]
    number: int


def group(
    sources: Sequence[QuerySet[Any, Any]], measure: Measure[T], *groupings: Grouping
) -> tuple[Groups[T], ...]:
    """Add up the rows of all `sources` by each of the groupings.

    The columns of the sources must be in the same order; their names are those of the first.
    """
    using = sources[0].db
    connection = connections[using]
    columns = list(dict.fromkeys(name for g in groupings for name in g.columns))
    # Not QuerySet.union(): it renames the columns before Django 5.2.
    compiled = [rows.order_by().query.get_compiler(using=using).as_sql() for rows in sources]
    source = " UNION ALL ".join(sql for sql, _ in compiled)
    parameters = [parameter for _, given in compiled for parameter in given]
    sums = ", ".join(f"{sql} AS sum_{name}" for name, sql in measure.sums.items())
    if connection.vendor == "postgresql":
        grouped = _by_grouping_sets(source, sums, columns, groupings)
    else:
        grouped = _by_repetition(source, sums, columns, groupings)
    keys = ", ".join(f"key_{name}" for name in columns)
    is_null = " OR ".join(
        f"(number = {n} AND key_{g.columns[0]} IS NULL)" for n, g in enumerate(groupings)
    )
    placed = (
        "SELECT marked.*, COUNT(*) OVER (PARTITION BY number, is_null) AS in_all, ROW_NUMBER() "
        f"OVER (PARTITION BY number, is_null ORDER BY {_ranks(groupings)}, "
        f"sum_{measure.count} DESC, {keys}) AS place FROM (SELECT "
        f"grouped.*, CASE WHEN {is_null} THEN 1 ELSE 0 END AS is_null FROM ({grouped}) AS grouped"
        ") AS marked"
    )
    kept = " OR ".join(_kept(number, g) for number, g in enumerate(groupings))
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT number, in_all, {keys}, {', '.join(f'sum_{name}' for name in measure.sums)} "
            f"FROM ({placed}) AS placed WHERE {kept} ORDER BY number, is_null DESC, place",
            parameters,
        )
        fetched = cursor.fetchall()
    found: list[list[tuple[Key, T]]] = [[] for _ in groupings]
    counts = [0] * len(groupings)
    fields = {name: _field(name) for name in columns}
    for number, in_all, *values in fetched:
        read = {name: fields[name].to_python(v) for name, v in zip(columns, values, strict=False)}
        key = tuple(read[name] for name in groupings[number].columns)
        found[number].append((key, measure.read(values[len(columns) :])))
        counts[number] = 0 if key[0] is None else in_all
    return tuple(Groups(tuple(f), n) for f, n in zip(found, counts, strict=True))


def group_in_order(
    rows: QuerySet[Any, Any], measure: Measure[T], columns: Sequence[str], limit: int | None
) -> list[tuple[Key, T]]:
    """Add up `rows` by `columns`, and return the first `limit` groups in the order of their keys.

    A key that is NULL comes last. Without columns, all rows are one group.
    """
    using = rows.db
    sql, parameters = rows.order_by().query.get_compiler(using=using).as_sql()
    sums = [f"{sql} AS sum_{name}" for name, sql in measure.sums.items()]
    statement = f"SELECT {', '.join([*columns, *sums])} FROM ({sql}) AS source"
    if columns:
        statement += f" GROUP BY {', '.join(columns)} ORDER BY "
        statement += ", ".join(f"{name} NULLS LAST" for name in columns)
    if limit is not None:
        statement += f" LIMIT {int(limit)}"
    with connections[using].cursor() as cursor:
        cursor.execute(statement, parameters)
        fetched = cursor.fetchall()
    fields = [_field(name) for name in columns]
    size = len(columns)
    return [
        (
            tuple(f.to_python(value) for f, value in zip(fields, values[:size], strict=True)),
            measure.read(values[size:]),
        )
        for values in fetched
    ]


def _by_grouping_sets(
    source: str, sums: str, columns: Sequence[str], groupings: Sequence[Grouping]
) -> str:
    # GROUPING() sets a bit for each column that a row's grouping lacks; the last column is bit 0.
    bits = {name: 1 << place for place, name in enumerate(reversed(columns))}
    numbers = " ".join(
        f"WHEN {sum(bit for name, bit in bits.items() if name not in g.columns)} THEN {number}"
        for number, g in enumerate(groupings)
    )
    keys = ", ".join(f"{name} AS key_{name}" for name in columns)
    sets = ", ".join(f"({', '.join(g.columns)})" for g in groupings)
    return (
        f"SELECT CASE GROUPING({', '.join(columns)}) {numbers} END AS number, {keys}, {sums} "
        f"FROM ({source}) AS source GROUP BY GROUPING SETS ({sets})"
    )


def _by_repetition(
    source: str, sums: str, columns: Sequence[str], groupings: Sequence[Grouping]
) -> str:
    """Write the same for SQLite, which has no GROUPING SETS.

    Each row is repeated once for every grouping, beside that grouping's number, and grouped by the
    number and the grouping's columns.
    """
    keys = ", ".join(
        f"CASE WHEN number.value IN ({_numbers_with(name, groupings)}) THEN {name} END "
        f"AS key_{name}"
        for name in columns
    )
    numbers = list(range(len(groupings)))
    return (
        f"SELECT number.value AS number, {keys}, {sums} FROM ({source}) AS source "
        f"CROSS JOIN json_each('{numbers}') AS number "
        f"GROUP BY number.value, {', '.join(f'key_{name}' for name in columns)}"
    )


def _numbers_with(column: str, groupings: Sequence[Grouping]) -> str:
    return ", ".join(str(n) for n, g in enumerate(groupings) if column in g.columns)


def _ranks(groupings: Sequence[Grouping]) -> str:
    terms = []
    for level in range(max(len(g.rank) for g in groupings)):
        cases = " ".join(
            f"WHEN {number} THEN sum_{g.rank[level]}"
            for number, g in enumerate(groupings)
            if level < len(g.rank)
        )
        terms.append(f"CASE number {cases} END DESC NULLS LAST")
    return ", ".join(terms)


def _kept(number: int, grouping: Grouping) -> str:
    condition = f"number = {number}"
    if grouping.top is not None:
        condition += f" AND (is_null = 1 OR place <= {int(grouping.top)})"
    if not grouping.keeps_null:
        condition += " AND is_null = 0"
    return f"({condition})"


def as_cost(value: Any) -> Decimal:
    """Convert a sum of costs from a raw cursor to USD."""
    exact = _EXACT.create_decimal_from_float(value) if isinstance(value, float) else Decimal(value)
    return exact.quantize(COST_STEP)


def _field(name: str) -> Field[Any, Any]:
    """Return the field that converts a key from a raw cursor as the ORM does."""
    if name == "user_id":
        pk: Field[Any, Any] = get_user_model()._meta.pk
        return pk
    if name == "hour":
        return DateTimeField()
    return DateField() if name in ("day", "date") else TextField()
