"""What the dashboard says about a bill: shares, amounts, days and fetches."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any

import pytest
from django.test import override_settings
from django.utils import translation
from hypothesis import given
from hypothesis import strategies as st

from usage_tracking.pages.billed import BilledProvider, billed_providers, percent_text
from usage_tracking.reports.reconciled import (
    Explanation,
    Measure,
    Measures,
    ProviderReconciliation,
    Reconciliation,
)

FIRST = dt.date(2026, 3, 8)
FETCHED = dt.datetime(2026, 3, 14, 6, 5, tzinfo=dt.UTC)
counts = st.integers(min_value=0, max_value=10**12)


def days(*numbers: int) -> tuple[dt.date, ...]:
    return tuple(dt.date(2026, 3, number) for number in numbers)


def shown(**changes: Any) -> BilledProvider:
    values: dict[str, Any] = {
        "provider": "openai",
        "fetched_at": FETCHED,
        "days": days(8, 9, 10),
        "missing_days": (),
        "provisional_days": (),
        "pruned_days": (),
        "totals": Measures(),
        "settled": Measures(),
        "lines": (),
        "explanations": (),
    }
    provider = ProviderReconciliation(**values | changes)
    found = billed_providers(Reconciliation(FIRST, FIRST, "model", (provider,)))
    assert len(found) == 1
    return found[0]


def cards(**measures: Measure) -> list[tuple[str, str, str, str]]:
    return [
        (gauge.card.label, gauge.card.value, gauge.card.detail, gauge.percent)
        for gauge in shown(totals=Measures(**measures)).gauges
    ]


class TestCards:
    def test_share_comes_with_what_it_is_a_share_of(self):
        assert cards(
            requests=Measure(10_000, 9_500, 9_500),
            tokens=Measure(3_000_000, 2_999_999, 2_999_999),
            cost=Measure(Decimal("125.5"), Decimal("119.2250001"), Decimal("119.2250001")),
        ) == [
            ("Requests captured", "95.0 %", "9,500 of 10,000 billed", "95.00"),
            ("Tokens captured", "99.9 %", "2,999,999 of 3,000,000 billed", "99.99"),
            ("Cost captured", "$119.23", "of $125.50 billed", ""),
        ]

    def test_surplus_is_shown_and_does_not_count(self):
        requests, *_ = cards(requests=Measure(100, 120, 90))

        assert requests[1:3] == ("90.0 %", "90 of 100 billed; 120 captured")

    def test_what_the_provider_does_not_say_is_not_known(self):
        assert cards(requests=Measure(None, 7)) == [
            ("Requests captured", "not known", "the provider does not say; 7 captured", ""),
            ("Tokens captured", "not known", "the provider does not say", ""),
            ("Cost captured", "not known", "the provider does not say what it billed", ""),
        ]

    def test_nothing_billed_is_not_a_share(self):
        requests, tokens, cost = cards(
            requests=Measure(0, 3, 0),
            tokens=Measure(0, None, None),
            cost=Measure(Decimal(0), Decimal(1)),
        )

        assert requests[1:] == ("nothing billed", "3 captured", "")
        assert tokens[1:] == ("nothing billed", "", "")
        assert cost[1:] == ("$1.0000", "of $0 billed", "")

    def test_unknown_side_of_the_log_is_not_zero(self):
        _, tokens, cost = cards(tokens=Measure(100, None, None), cost=Measure(Decimal(2)))

        assert tokens[1:] == ("not known", "100 billed", "")
        assert cost[1:] == ("not known", "of $2.0000 billed", "")

    def test_credits_are_negative(self):
        *_, cost = cards(cost=Measure(Decimal("-3.5"), Decimal(1)))

        assert cost[2] == "of −$3.5000 billed"  # noqa: RUF001 -- a minus sign

    def test_days_without_any_comparison_have_no_cards(self):
        assert shown(days=(), pruned_days=days(8)).gauges == ()

    def test_meter_does_not_depend_on_the_language(self):
        with override_settings(USE_THOUSAND_SEPARATOR=True), translation.override("de"):
            (_, value, _, percent), *_ = cards(requests=Measure(10_000, 9_525, 9_525))

        assert (value, percent) == ("95,2 %", "95.25")


@pytest.mark.parametrize(
    ("matched", "billed", "text"),
    [
        (0, 10, "0.0 %"),
        (1, 100_000, "< 0.1 %"),
        (999_999, 1_000_000, "99.9 %"),
        (10, 10, "100.0 %"),
        (None, 10, ""),
        (10, None, ""),
        (0, 0, ""),
        (0, -1, ""),
    ],
)
def test_percent(matched: int | None, billed: int | None, text: str):
    assert percent_text(Measure(billed, matched, matched)) == text


@given(counts, counts)
def test_percent_is_rounded_down_and_only_all_is_all(one: int, other: int):
    matched, billed = sorted((one, other))
    text = percent_text(Measure(billed or 1, matched, matched)).removesuffix(" %")

    if not text.startswith("<"):
        assert 0 <= Decimal(matched) / (billed or 1) * 100 - Decimal(text) < Decimal("0.1")
    assert (text == "0.0") == (not matched)
    assert (text == "100.0") == (matched == (billed or 1))


class TestFacts:
    def test_days_are_named_in_ranges(self):
        found = shown(
            days=days(8, 9, 10, 13),
            provisional_days=days(13),
            missing_days=days(11, 12),
            pruned_days=days(1, 3),
        )

        assert dict(found.facts) == {
            "Compared": "4 days: March 8, 2026 to March 10, 2026; March 13, 2026",
            "Provisional": "1 day: March 13, 2026",
            "Without a bill": "2 days: March 11, 2026 to March 12, 2026",
            "Pruned from the log": "2 days: March 1, 2026; March 3, 2026",
            "Fetched": "March 14, 2026, 06:05 UTC or later",
        }

    def test_one_day_has_one_time(self):
        assert dict(shown(days=days(8)).facts)["Fetched"] == "March 14, 2026, 06:05 UTC"

    def test_time_is_that_of_utc(self):
        elsewhere = FETCHED.astimezone(dt.timezone(dt.timedelta(hours=13)))

        assert shown(fetched_at=elsewhere).facts == shown().facts


def test_explanations_keep_their_order():
    texts = ["The log has no row of model b.", "The log has no row of model a."]
    found = shown(explanations=tuple(Explanation("model_without_rows", text) for text in texts))

    assert list(found.explanations) == texts


def test_provider_without_a_bill_is_left_out():
    provider = ProviderReconciliation(
        "openai", None, (), days(8), (), (), Measures(), Measures(), (), ()
    )

    assert billed_providers(Reconciliation(FIRST, FIRST, "model", (provider,))) == ()
