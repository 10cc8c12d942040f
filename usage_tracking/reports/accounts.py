"""Bill and log by API key or project.

The log has the last four characters of a key at most. The provider's list of keys, which is stored
with the bill, says to which key and project they belong.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import replace

from .bills import BillRow
from .captured import Captured
from .measuring import measures_of
from .reconciled import Measure, Measures, ReconciledLine

#: The line of calls and amounts of money whose key is not known.
_NO_ACCOUNT = frozenset({""})
_UNKNOWN = {"key": "unknown key", "project": "unknown project"}


def account_lines(
    bills: Iterable[BillRow], calls: Sequence[Captured], by: str
) -> list[ReconciledLine]:
    """Return a line for each key or project.

    Keys with the same end share a line, because the log cannot tell them apart. Where no call has
    the end of its key, what was captured of each key is not known.

    Args:
        bills: The rows of one provider's bill.
        calls: The calls of the same days.
        by: "key" or "project".
    """
    rows = [row for row in bills if row.family]
    names = {_id(row, by): _label(row, by) for row in rows}
    # The end of a key → the keys or projects that it may be of.
    ids: dict[str, set[str]] = {}
    for row in rows:
        if row.key_hint:
            ids.setdefault(row.key_hint, set()).add(_id(row, by))
    billed: dict[frozenset[str], list[BillRow]] = {}
    captured: dict[frozenset[str], list[Captured]] = {}
    for row in rows:
        line = frozenset(ids.get(row.key_hint) or {_id(row, by)})
        billed.setdefault(line, []).append(row)
    for each in calls:
        hint = each.key_hint
        unlisted = f"…{hint}" if hint and by == "key" else ""
        captured.setdefault(frozenset(ids.get(hint) or {unlisted}), []).append(each)
    is_known = any(each.key_hint for each in calls)
    return [
        ReconciledLine(
            ", ".join(sorted(line)),
            ", ".join(names.get(each) or each or _UNKNOWN[by] for each in sorted(line)),
            _measures(
                billed.get(line, ()),
                captured.get(line, ()),
                is_known=is_known or line == _NO_ACCOUNT,
            ),
        )
        for line in dict.fromkeys((*billed, *captured))
    ]


def with_whole_hints(bills: Iterable[BillRow], calls: Iterable[Captured]) -> Iterator[BillRow]:
    """Yield the rows with the ends of keys as the log has them.

    Some listings show three characters of a key, the log has four.
    """
    hints = {each.key_hint for each in calls}
    for row in bills:
        longer = [each for each in hints if row.key_hint and each.endswith(row.key_hint)]
        yield row._replace(key_hint=longer[0]) if len(longer) == 1 else row


def _id(row: BillRow, by: str) -> str:
    return row.key_id if by == "key" else row.project


def _label(row: BillRow, by: str) -> str:
    return row.key if by == "key" else row.project


def _measures(
    bills: Collection[BillRow], calls: Collection[Captured], *, is_known: bool
) -> Measures:
    measures = measures_of(bills, calls)
    if is_known or not bills:
        return measures
    return Measures(
        *(_billed_alone(each) for each in (measures.requests, measures.tokens, measures.cost))
    )


def _billed_alone(measure: Measure) -> Measure:
    return replace(measure, captured=None, matched=None)
