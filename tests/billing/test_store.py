"""Bills in the table: whole days are replaced, never mixed, never doubled."""

from __future__ import annotations

import datetime as dt
import threading
from collections import Counter
from dataclasses import replace as changed
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from django.db import IntegrityError, connection, transaction
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.children import run_python
from tests.support.threads import blocks_another, run_in_threads
from tests.support.waiting import join, wait_until
from usage_tracking.billing import COSTS, Billed, BillingError, Fetched, replace
from usage_tracking.models import AIProviderBill

FIRST = dt.date(2026, 3, 14)
SECOND, THIRD = FIRST + dt.timedelta(days=1), FIRST + dt.timedelta(days=2)
NOW = dt.datetime(2026, 3, 17, 2, 30, tzinfo=dt.UTC)
LARGEST = 2**63 - 1

store = partial(replace, using="default", now=NOW)


def billed(day: dt.date = FIRST, **changes: Any) -> Billed:
    values: dict[str, Any] = {
        "family": "completions",
        "model_name": "gpt-4o",
        "requests": 3,
        "prompt_tokens": 1000,
        "completion_tokens": 200,
    }
    return Billed(day=day, **values | changes)


def fetched(*rows: Billed, days: tuple[dt.date, ...] = (FIRST,)) -> Fetched:
    return Fetched(days, rows)


def table(*names: str) -> list[tuple[Any, ...]]:
    rows = AIProviderBill.objects.order_by("provider", "day", "family", "model_name", "pk")
    return list(rows.values_list(*names))


@pytest.mark.django_db
class TestRows:
    def test_row_has_what_was_billed(self):
        bill = billed(
            project="proj_1",
            key_id="key_1",
            key_name="Shop",
            key_hint="a1B2",
            service_tier="batch",
            line_item="gpt-4o, input",
            cached_tokens=600,
            cost=Decimal("-0.0123456789"),
            units={"images": 2, "characters": 70},
        )

        assert store("openai", fetched(bill)) == 1

        row = AIProviderBill.objects.get()
        assert (row.provider, row.fetched_at) == ("openai", NOW)
        for name in Billed.__dataclass_fields__:
            assert getattr(row, name) == getattr(bill, name), name

    def test_what_the_provider_does_not_say_is_null(self):
        store("anthropic", fetched(Billed(day=FIRST, family="messages")))

        row = AIProviderBill.objects.get()
        assert (row.requests, row.prompt_tokens, row.completion_tokens) == (None, None, None)
        assert (row.cached_tokens, row.cost) == (None, None)
        assert AIProviderBill.objects.filter(units__isnull=True).exists()  # SQL NULL

    def test_day_without_anything_billed_has_a_row_of_zeros(self):
        assert store("openai", fetched(billed(SECOND), days=(FIRST, SECOND, THIRD))) == 3

        assert table("day", "family", "requests", "prompt_tokens", "cached_tokens", "cost") == [
            (FIRST, "", 0, 0, 0, 0),
            (SECOND, "completions", 3, 1000, None, None),
            (THIRD, "", 0, 0, 0, 0),
        ]

    def test_rows_of_the_same_names_are_added_up(self):
        cost = Decimal("0.00000000006")
        one = billed(cost=cost, key_name="Shop", units={"images": 1})
        other = billed(cost=cost, key_name="Shop", requests=None, units={"seconds": 7})

        assert store("openai", fetched(one, other, billed(model_name="gpt-4o-mini"))) == 2

        row = AIProviderBill.objects.get(model_name="gpt-4o")
        assert (row.requests, row.prompt_tokens, row.completion_tokens) == (None, 2000, 400)
        # Rounded once, and not each part to 0.0000000001.
        assert (row.cost, row.key_name) == (Decimal("0.0000000001"), "Shop")
        assert row.units == {"images": 1, "seconds": 7}

    def test_text_is_cleaned_and_cut_to_its_column(self):
        long = "m" * 99
        same = [billed(model_name=f"{long}{end}", key_hint="\0\ud800") for end in ("ab", "cd")]

        assert store("openai", fetched(*same)) == 1

        row = AIProviderBill.objects.get()
        assert (row.model_name, row.requests, row.key_hint) == (f"{long}…", 6, "�?")

    def test_every_text_fits_into_its_column(self):
        names = ("family", "model_name", "project", "key_id", "key_name", "key_hint")
        texts: dict[str, Any] = dict.fromkeys((*names, "service_tier", "line_item"), "ü" * 1000)

        store("openai", fetched(billed(**texts)))

        row = AIProviderBill.objects.get()
        row.full_clean()
        assert all(getattr(row, name).endswith("…") for name in texts)

    def test_names_that_differ_in_case_are_two_rows(self):
        rows = [billed(model_name="gpt-4o"), billed(model_name="GPT-4o")]

        assert store("openai", fetched(*rows)) == 2

    def test_largest_numbers_fit(self):
        cost = Decimal("999999999.9999999999")
        largest = billed(requests=LARGEST, prompt_tokens=LARGEST, cost=cost)

        store("openai", fetched(largest, billed(model_name="credit", cost=-cost)))

        row, credit = AIProviderBill.objects.order_by("-cost")
        assert (row.requests, row.prompt_tokens) == (LARGEST, LARGEST)
        for stored in (row.cost, -(credit.cost or 0)):
            assert abs((stored or 0) - cost) < Decimal("0.00001")  # SQLite has floating point


@pytest.mark.django_db
class TestReplacing:
    def test_whole_days_are_replaced(self):
        store("openai", fetched(billed(), billed(model_name="old"), billed(SECOND), days=DAYS[:2]))
        store("anthropic", fetched(billed(family="messages")))
        later = NOW + dt.timedelta(days=1)

        replace("openai", fetched(billed(requests=4)), using="default", now=later)

        assert table("provider", "day", "model_name", "requests", "fetched_at") == [
            ("anthropic", FIRST, "gpt-4o", 3, NOW),
            ("openai", FIRST, "gpt-4o", 4, later),
            ("openai", SECOND, "gpt-4o", 3, NOW),
        ]

    def test_marker_of_an_empty_day_is_replaced(self):
        store("openai", fetched())
        store("openai", fetched(billed()))
        assert table("family") == [("completions",)]

        store("openai", fetched())
        assert table("family") == [("",)]

    def test_nothing_fetched_changes_nothing(self):
        store("openai", fetched(billed()))

        assert store("openai", fetched(days=())) == 0

        assert table("requests") == [(3,)]

    @pytest.mark.parametrize(
        ("changes", "text"),
        [
            ({"requests": LARGEST + 1}, "requests of 'gpt-4o' must be a whole number up to"),
            ({"prompt_tokens": -1}, "prompt_tokens of 'gpt-4o' must be a whole number up to"),
            ({"cached_tokens": True}, "cached_tokens of 'gpt-4o' must be a whole number up to"),
            ({"completion_tokens": 1.5}, "completion_tokens of 'gpt-4o' must be a whole number"),
            ({"units": {"images": -1}}, "images of 'gpt-4o' must be a whole number up to"),
            ({"cost": Decimal("NaN")}, "cost of 'gpt-4o' must be a number of USD up to"),
            ({"cost": Decimal("-Infinity")}, "cost of 'gpt-4o' must be a number of USD up to"),
            ({"cost": Decimal("1E+400")}, "cost of 'gpt-4o' must be a number of USD up to"),
            ({"cost": Decimal("-1.1E+9")}, "must be a number of USD up to 1000000000, not -1.1E+9"),
            ({"cost": Decimal("1000000000.00000000001")}, "must be a number of USD up to"),
            ({"line_item": "Sora", "requests": -1}, "requests of 'Sora' must be"),
            ({"model_name": "", "requests": -1}, "requests of 'completions' must be"),
            ({"day": SECOND}, "has an amount of 2026-03-15, a day that was not asked for"),
        ],
    )
    def test_what_does_not_fit_changes_nothing(self, changes, text):
        store("openai", fetched(billed()))

        with pytest.raises(BillingError) as caught:
            store("openai", fetched(billed(model_name="new"), changed(billed(), **changes)))

        assert text in str(caught.value)
        assert str(caught.value).endswith("The stored bill was not changed.")
        assert table("day", "model_name", "requests") == [(FIRST, "gpt-4o", 3)]

    def test_sum_that_does_not_fit_changes_nothing(self):
        with pytest.raises(BillingError):
            store("openai", fetched(billed(requests=LARGEST), billed(requests=LARGEST)))

        assert table("requests") == []

    def test_error_of_the_database_changes_nothing(self, monkeypatch):
        store("openai", fetched(billed()))
        monkeypatch.setattr("usage_tracking.billing.store._rows", lambda *_: [{"day": FIRST}] * 2)

        with pytest.raises(IntegrityError), transaction.atomic():
            store("openai", fetched())

        assert table("requests") == [(3,)]


DAYS = (FIRST, SECOND, THIRD)
NAMES = st.sampled_from(["", "a", "b", "ä" * 101, "ä" * 102])
BILLED = st.builds(
    Billed,
    day=st.sampled_from(DAYS),
    family=st.sampled_from(["", "completions", COSTS]),
    model_name=NAMES,
    key_id=NAMES,
    requests=st.none() | st.integers(0, 1000),
    prompt_tokens=st.integers(0, 1000),
    cost=st.decimals(-100, 100, places=4),
)


@pytest.mark.django_db
@pytest.mark.slow
@settings(
    max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None
)
@given(fetches=st.lists(st.lists(BILLED, max_size=6), min_size=1, max_size=3))
def test_the_last_fetch_is_stored_once(fetches: list[list[Billed]]):
    for rows in fetches:
        store("openai", fetched(*rows, days=DAYS))

    bills = list(AIProviderBill.objects.filter(provider="openai"))
    assert {bill.day for bill in bills} == set(DAYS)
    for name in ("prompt_tokens", "cost"):
        sums: Counter[dt.date] = Counter()
        for bill in bills:
            sums[bill.day] += round(getattr(bill, name) or 0, 4)
        expected: Counter[dt.date] = Counter()
        for row in fetches[-1]:
            expected[row.day] += getattr(row, name)
        assert {day: sums[day] for day in DAYS} == {day: expected[day] for day in DAYS}


@pytest.mark.django_db(transaction=True)
class TestTwoFetches:
    def test_days_of_two_fetches_do_not_mix(self):
        def fetch(name: str) -> None:
            # Without a lock, neither fetch would delete the rows of the other.
            for count in range(10):
                rows = [billed(day, model_name=f"{name}-{count}-{n}") for day in DAYS for n in "ab"]
                store("openai", fetched(*rows, days=DAYS))

        run_in_threads(*(partial(fetch, name) for name in ("one", "two", "three")))

        found = table("day", "model_name")
        days = {day: {name[:-2] for at, name in found if at == day} for day in DAYS}
        assert len(found) == 6, found
        assert {len(names) for names in days.values()} == {1}

    @pytest.mark.postgres
    @pytest.mark.parametrize("level", ["READ COMMITTED", "REPEATABLE READ"])
    @pytest.mark.parametrize("stored", ["old", ""])
    @pytest.mark.parametrize("name", ["first", "second"])
    def test_second_fetch_waits_for_the_first_and_replaces_it(
        self, level: str, stored: str, name: str
    ):
        if stored:
            store("openai", fetched(billed(model_name=stored)))

        def fetch() -> None:
            with connection.cursor() as cursor:
                cursor.execute(
                    f"SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL {level}"
                )
            store("openai", fetched(billed(model_name=name, requests=5)))

        second = threading.Thread(target=run_in_threads, args=(fetch,))
        with transaction.atomic():
            store("openai", fetched(billed(model_name="first", requests=4)))
            second.start()
            wait_until(blocks_another, awaited="a second fetch, which waits for the first")
        join(second)

        assert table("model_name", "requests") == [(name, 5)]

    @pytest.mark.postgres
    def test_reader_does_not_wait(self):
        store("openai", fetched(billed()))
        read: list[Any] = []

        with transaction.atomic():
            store("openai", fetched(billed(requests=4)))
            run_in_threads(lambda: read.extend(table("requests")))

        assert read == [(3,)]


@pytest.mark.process
@pytest.mark.one_database
def test_bill_is_in_the_database_of_the_usage_tables(tmp_path: Path):
    printed = run_python(
        tmp_path,
        """
        import datetime as dt
        from django.core.management import call_command
        from django.db import connection, router
        from usage_tracking.billing import Billed, Fetched, replace
        from usage_tracking.models import AIProviderBill, AIUsageLog

        for alias in ("default", "usage"):
            call_command("migrate", database=alias, verbosity=0)
        day, now = dt.date(2026, 3, 14), dt.datetime.now(dt.UTC)
        using = router.db_for_write(AIUsageLog)
        bill = Fetched((day,), (Billed(day=day, family="activity", requests=3),))
        print(using, replace("openrouter", bill, using=using, now=now))
        print(replace("openrouter", bill, using=using, now=now))
        print(AIProviderBill.objects.using("usage").count())
        print("ai_usage_bill" in connection.introspection.table_names())
        """,
        settings=f"""
        DATABASES = {{
            alias: {{"ENGINE": "django.db.backends.sqlite3", "NAME": "{tmp_path}/" + alias}}
            for alias in ("default", "usage")
        }}
        DATABASE_ROUTERS = ["tests.routers.Router"]
        """,
    )

    assert printed == "usage 1\n1\n1\nFalse\n"
