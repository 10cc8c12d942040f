"""Explain why a bill and the log differ, in the order in which one would look for it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from decimal import Decimal

from ..billing.families import family_named
from .amounts import (
    MOST,
    Amount,
    be,
    counted,
    grouped,
    have,
    keys_of,
    largest,
    models_of,
    share_of,
    to_keys,
    total,
    were,
)
from .bills import BillRow
from .captured import Captured
from .measuring import measures_of, price_ratio
from .reconciled import Explanation

#: Prices that differ by less are rounded or mixed differently.
_PRICE_TOLERANCE = Decimal("0.02")


def explanations_of(
    bills: Sequence[BillRow],
    calls: Sequence[Captured],
    closed_bills: Sequence[BillRow],
    closed_calls: Sequence[Captured],
) -> tuple[Explanation, ...]:
    """Return the explanations in the order of `reconciled.KINDS`.

    Args:
        bills: The rows of one provider's bill.
        calls: The calls of the same days, with the same names of models.
        closed_bills: The rows of the days that the provider has closed: costs come late.
        closed_calls: The calls of these days.
    """
    usage = [row for row in bills if row.is_usage and row.is_recorded]
    priced = (closed_bills, closed_calls) if closed_bills else (bills, calls)
    return (
        *_models_without_rows(usage, calls),
        *_keys_without_rows(usage, calls),
        *_families_without_rows(bills, calls),
        *_unknown_usage(calls),
        *_left_or_timed_out(calls),
        *_unpriced(calls),
        *_batches(usage, calls),
        *_prices(*priced),
        *_more_captured(bills, calls),
        *_unexplained(usage, calls),
    )


def _models_without_rows(
    usage: Iterable[BillRow], calls: Iterable[Captured]
) -> Iterator[Explanation]:
    known = {each.model_name for each in calls}
    groups = grouped((row for row in usage if row.model_name not in known), lambda r: r.model_name)
    for name, rows, amount in largest(groups):
        yield Explanation(
            "model_without_rows",
            f"The log has no call of {name or 'unnamed models'}, of which {amount} "
            f"{were(amount)} billed{to_keys(rows)}. Look for a call site or a service that is "
            "not captured.",
            *amount,
            models=models_of(rows),
            keys=keys_of(rows),
        )


def _keys_without_rows(
    usage: Iterable[BillRow], calls: Iterable[Captured]
) -> Iterator[Explanation]:
    hints = {each.key_hint for each in calls} - {""}
    if not hints:
        return
    groups = grouped(
        (row for row in usage if row.key_hint and row.key_hint not in hints), lambda r: r.key_id
    )
    for _, rows, amount in largest(groups):
        yield Explanation(
            "key_without_rows",
            f"The log has no call with the key {', '.join(keys_of(rows))}, to which {amount} "
            f"{were(amount)} billed. If another service uses it, limit AI_USAGE_BILLING to the "
            "projects or keys of this site.",
            *amount,
            models=models_of(rows),
            keys=keys_of(rows),
        )


def _families_without_rows(
    bills: Iterable[BillRow], calls: Iterable[Captured]
) -> Iterator[Explanation]:
    known = {each.family for each in calls}
    groups = grouped(
        (row for row in bills if row.is_usage and row.family not in known), lambda r: r.family
    )
    for name, rows, amount in largest(groups):
        why = (
            "The log has none of them."
            if family_named(rows[0].provider, name).is_recorded
            else "The log does not have them, and the shares above do not count them."
        )
        yield Explanation(
            "family_without_rows",
            f"{amount} of the endpoint family {name} {were(amount)} billed. {why}",
            *amount,
            models=models_of(rows),
            keys=keys_of(rows),
        )


def _unknown_usage(calls: Sequence[Captured]) -> Iterator[Explanation]:
    found = [each for each in calls if each.unknown]
    if found:
        number, partial = sum(e.unknown for e in found), sum(e.partial_tokens for e in found)
        seen = f"; {counted(partial, 'token')} were counted before they ended" if partial else ""
        yield Explanation(
            "unknown_usage",
            f"{counted(number, 'successful call')} in the log {have(number)} no usage{seen}. "
            "The provider bills them in full.",
            number,
            partial,
            models=models_of(found),
        )


def _left_or_timed_out(calls: Sequence[Captured]) -> Iterator[Explanation]:
    found = [each for each in calls if each.left or each.timed_out]
    left, timed_out = sum(e.left for e in found), sum(e.timed_out for e in found)
    parts = []
    if left:
        parts.append(f"{counted(left, 'answer')} {be(left)} not read to the end")
    if timed_out:
        parts.append(f"{counted(timed_out, 'call')} failed without an answer, as after a time-out")
    if parts:
        yield Explanation(
            "left_or_timed_out",
            f"{' and '.join(parts)}: the provider may bill all that it wrote.",
            left + timed_out,
            models=models_of(found),
        )


def _unpriced(calls: Sequence[Captured]) -> Iterator[Explanation]:
    found = [each for each in calls if each.unpriced]
    if found:
        number, tokens = sum(e.unpriced for e in found), sum(e.tokens for e in found)
        yield Explanation(
            "unpriced",
            f"{counted(number, 'call')} with {counted(tokens, 'token')} {have(number)} no "
            "price in the log, so its cost is too low. usage_today names the settings "
            "that price them.",
            number,
            tokens,
            models=models_of(found),
        )


def _batches(usage: Sequence[BillRow], calls: Sequence[Captured]) -> Iterator[Explanation]:
    billed = [row for row in usage if row.is_batch]
    own = [each for each in calls if each.is_batch]
    if not billed and not own:
        return
    amount = total(billed)
    everything = total(usage)
    share = ""
    if amount.tokens and everything.tokens:
        share = f", {share_of(amount.tokens, everything.tokens)} of the billed tokens"
    captured = Amount(sum(e.requests for e in own), sum(e.tokens for e in own))
    yield Explanation(
        "batch",
        f"The bill has {amount if billed else 'nothing'} of batches{share}; the log has "
        f"{captured}. A batch counts once your code has read its results.",
        *amount,
        models=models_of((*billed, *own)),
        keys=keys_of(billed),
    )


def _prices(bills: Sequence[BillRow], calls: Sequence[Captured]) -> Iterator[Explanation]:
    # Where the provider does not say what an amount is for, only all models can be compared.
    names = dict.fromkeys(row.model_name for row in bills if row.model_name and row.cost)
    models = _by_model(bills, calls) if names else {"": (bills, calls)}
    for name in names or models:
        rows, own = models[name]
        ratio = price_ratio(rows, own)
        if ratio is None or abs(ratio - 1) <= _PRICE_TOLERANCE:
            continue
        cost = measures_of(rows, own).cost
        yield Explanation(
            "price",
            f"The tokens of {name or 'all models'} agree, and their price does not: the log has "
            f"{ratio} times the billed price. Compare AI_USAGE_PRICES with the provider's prices, "
            "discounts and free tokens.",
            cost=Decimal(cost.captured or 0) - Decimal(cost.billed or 0),
            models=(name,) if name else (),
        )


def _more_captured(bills: Sequence[BillRow], calls: Sequence[Captured]) -> Iterator[Explanation]:
    surplus = []
    for name, (rows, own) in _by_model(bills, calls).items():
        if not own:
            continue
        of_model = measures_of(rows, own)
        requests, tokens = (
            max(0, int(measure.captured or 0) - int(measure.matched or 0))
            for measure in (of_model.requests, of_model.tokens)
        )
        if requests or tokens:
            surplus.append((name, Amount(requests, tokens)))
    surplus.sort(key=lambda each: (-(each[1].tokens or 0), -(each[1].requests or 0), each[0]))
    for name, amount in surplus[:MOST]:
        yield Explanation(
            "more_captured",
            f"The log has {amount} of {name or 'unnamed models'} more than were billed. "
            "AI_USAGE_BILLING may leave out a project or key of this site, or the calls were free.",
            *amount,
            models=(name,) if name else (),
        )
    credits = sum((row.cost for row in bills if row.cost is not None and row.cost < 0), Decimal(0))
    if credits:
        yield Explanation(
            "more_captured",
            f"The bill has credits of {-credits:f} USD, which the log does not know.",
            cost=credits,
        )


def _unexplained(usage: Sequence[BillRow], calls: Sequence[Captured]) -> Iterator[Explanation]:
    hints = {each.key_hint for each in calls} - {""}
    left = []
    for name, (rows, own) in _by_model(usage, calls).items():
        if not own:
            continue
        measures = measures_of(rows, own)
        known = total([row for row in rows if hints and row.key_hint and row.key_hint not in hints])
        uncertain = sum(each.unknown + each.timed_out for each in own)
        requests = int(measures.requests.missing or 0) - (known.requests or 0)
        requests -= sum(each.timed_out for each in own)
        tokens = int(measures.tokens.missing or 0) - (known.tokens or 0)
        if requests <= 0 and (tokens <= 0 or uncertain):
            continue
        left.append((name, rows, Amount(max(0, requests), max(0, tokens))))
    left.sort(key=lambda each: (-(each[2].tokens or 0), -(each[2].requests or 0), each[0]))
    for name, rows, amount in left[:MOST]:
        yield Explanation(
            "unexplained",
            f"Of {name or 'unnamed models'}, the log lacks {amount}, and does not show why."
            + (f" The model was billed{keys}." if (keys := to_keys(rows)) else ""),
            *amount,
            models=(name,) if name else (),
            keys=keys_of(rows),
        )


def _by_model(
    bills: Iterable[BillRow], calls: Iterable[Captured]
) -> dict[str, tuple[Sequence[BillRow], Sequence[Captured]]]:
    models: dict[str, tuple[list[BillRow], list[Captured]]] = {}
    for row in bills:
        models.setdefault(row.model_name, ([], []))[0].append(row)
    for each in calls:
        models.setdefault(each.model_name, ([], []))[1].append(each)
    return {**models}
