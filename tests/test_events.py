"""Events are immutable, safe to store with any input, and unchanged by a round trip."""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
from collections.abc import Iterable
from decimal import Decimal
from itertools import product
from typing import Any
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.builders import NOON, make_event
from usage_tracking.events import UsageEvent, utc_now, uuid7
from usage_tracking.pricing import price
from usage_tracking.usage import MAX_COUNT, Usage

PROPERTY = settings(
    derandomize=True,
    database=None,
    deadline=None,
    max_examples=60,
    suppress_health_check=[HealthCheck.too_slow],  # depends on the machine
)


def create(usage: Usage | None = None, **values: Any) -> UsageEvent:
    return UsageEvent.create(
        id=uuid7(NOON), created_at=NOON, usage=usage or Usage(prompt_tokens=1), **values
    )


def accepted(lines: Iterable[str | bytes]) -> list[str | bytes]:
    """Return the lines that parse as an event. Others must raise ValueError with a message."""
    taken = []
    for line in lines:
        reason = ""
        try:
            UsageEvent.from_json(line)
        except ValueError as error:
            reason = str(error)
        if not reason:
            taken.append(line)
    return taken


class TestUsage:
    def test_usage_is_known_if_it_has_tokens(self):
        assert not Usage().known
        assert not Usage(cached_tokens=5, cost=Decimal(1)).known
        assert Usage(prompt_tokens=0).known
        assert Usage(completion_tokens=7).known

    def test_total_is_the_sum_of_known_counts(self):
        totals = {(1, 2): 3, (None, 2): 2, (1, None): 1, (None, None): 0}

        assert totals == {
            (prompt, completion): make_event(
                prompt_tokens=prompt, completion_tokens=completion
            ).total_tokens
            for prompt, completion in totals
        }

    def test_usage_of_an_event_equals_its_input(self):
        usage = Usage(
            prompt_tokens=10,
            completion_tokens=20,
            cached_tokens=3,
            cache_write_tokens=4,
            reasoning_tokens=5,
            details={"cache_write_1h_tokens": 2, "web_searches": 7, "audio_seconds": 1.5},
            cost=Decimal("0.5"),
        )

        assert create(usage).usage == usage


class TestUnits:
    @pytest.mark.parametrize(
        ("counts", "left_out"),
        [
            ({"input_tokens": 100, "cache_read_tokens": 101}, {"cache_read_tokens"}),
            (
                {"input_tokens": 100, "cache_read_tokens": 60, "cache_write_tokens": 60},
                {"cache_read_tokens", "cache_write_tokens"},
            ),
            (
                {"input_tokens": 9, "cache_write_tokens": 5, "cache_write_1h_tokens": 6},
                {"cache_write_1h_tokens"},
            ),
            (
                {"input_tokens": 5, "input_audio_tokens": 6, "input_text_tokens": 5},
                {"input_audio_tokens"},
            ),
            ({"output_tokens": 5, "output_reasoning_tokens": 6}, {"output_reasoning_tokens"}),
            ({"output_tokens": 5, "output_image_tokens": 6}, {"output_image_tokens"}),
        ],
    )
    def test_parts_above_the_whole_are_left_out_and_named(self, counts, left_out):
        usage = Usage.of(counts)

        assert set(usage.faults) == left_out
        assert usage.units == {u: n for u, n in counts.items() if u not in left_out}

    def test_whole_that_is_not_known_contradicts_nothing(self):
        assert not Usage.of({"cache_read_tokens": 5, "input_audio_tokens": 7}).faults

    def test_only_durations_have_fractions(self):
        usage = Usage.of({"audio_seconds": 1.5, "input_document_pages": 1.5, "web_searches": 2.0})

        assert usage.details == {"audio_seconds": 1.5, "web_searches": 2}
        assert usage.faults == {"input_document_pages": "not whole"}

    def test_more_is_billed_than_the_completion(self):
        usage = Usage.of(
            {"output_tokens": 10, "output_reasoning_tokens": 70}, billed={"output_tokens": 80}
        )
        event = create(usage)

        assert (event.completion_tokens, event.reasoning_tokens) == (10, 70)
        assert event.units == {"output_tokens": 80, "output_reasoning_tokens": 70}

    def test_zeros_are_not_kept(self):
        assert Usage.of({"input_tokens": 0, "web_searches": 0}).details == {}

    def test_faulty_iteration_is_named(self):
        usage = Usage.of(
            {"input_tokens": 5}, iterations=[{"input_tokens": 5}, {"input_tokens": -1}]
        )

        assert usage.faults == {"input_tokens": "negative"}


class TestCreate:
    def test_source_is_reported_if_the_provider_reports_usage(self):
        assert create(Usage(prompt_tokens=0)).usage_source == "reported"
        assert create(Usage()).usage_source == "unknown"
        assert create(Usage(prompt_tokens=0), source="manual").usage_source == "manual"

    def test_event_cannot_be_changed(self):
        with pytest.raises(dataclasses.FrozenInstanceError):
            create().section = "other"  # type: ignore[misc]

    def test_impossible_count_is_omitted_and_named(self):
        counts: list[tuple[Any, int | None, str | None]] = [
            (None, None, None),
            (0, 0, None),
            (5, 5, None),
            (5.0, 5, None),
            (MAX_COUNT, MAX_COUNT, None),
            (MAX_COUNT + 1, None, f"above {MAX_COUNT}"),
            (10**100, None, f"above {MAX_COUNT}"),
            (1e300, None, f"above {MAX_COUNT}"),
            (-1, None, "negative"),
            (-1.0, None, "negative"),
            (5.5, None, "not whole"),
            (float("nan"), None, "not finite"),
            (float("inf"), None, "not finite"),
            (True, None, "<bool>"),
            ("5", None, "<str>"),
            ([], None, "<list>"),
        ]
        names = ["prompt_tokens", "cached_tokens", "cache_write_tokens"]
        wrong = []
        for (count, kept, mark), name in product(counts, names):
            event = create(Usage(**{name: count}))
            metadata = {} if mark is None else {"clamped": {name: mark}}
            if (getattr(event, name), event.metadata) != (kept, metadata):
                wrong.append((name, count, getattr(event, name), event.metadata))

        assert wrong == []

    def test_impossible_time_is_zero(self):
        times: dict[Any, int] = {900: 900, -5: 0, "soon": 0, None: 0}

        assert times == {given: create(response_time_ms=given).response_time_ms for given in times}

    def test_impossible_cost_is_unknown_and_named(self):
        for cost in map(Decimal, ["NaN", "Infinity", "-Infinity", "-0.01", "1000000", "1e99"]):
            event = create(Usage(prompt_tokens=1, cost=cost))

            assert event.cost is None, cost
            assert event.metadata == {"clamped": {"cost": str(cost)}}

    def test_plausible_cost_is_kept(self):
        costs = [Decimal(cost) for cost in ("0", "0.0000000001", "999999.9999999999")]

        assert [create(Usage(cost=cost)).cost for cost in costs] == costs

    def test_text_fits_its_column(self):
        limits = {
            "user_id": 255,
            "username": 255,
            "section": 50,
            "provider": 50,
            "model_name": 100,
            "operation": 30,
            "error_message": 500,
        }
        for name, limit in limits.items():
            fits: Any = "x" * limit
            cut = "x" * (limit - 1) + "…"

            assert getattr(create(**{name: fits}), name) == fits, name
            assert getattr(create(**{name: fits + "x"}), name) == cut, name

    def test_text_can_be_stored_by_every_database(self):
        texts = {"a\0b": "a�b", "a\ud800b": "a?b", "Grüße 🚀": "Grüße 🚀", "": ""}
        for text, kept in texts.items():
            event = create(section=text, model_name=text, error_message=text)

            assert (event.section, event.model_name, event.error_message) == (kept, kept, kept)

    def test_number_as_a_user_id_becomes_text(self):
        assert create(user_id=7).user_id == "7"

    def test_secrets_are_redacted(self):
        event = create(
            error_message="bad key sk-proj-abcdefgh12345678",
            metadata={"note": "sk-proj-abcdefgh12345678", "api_key": "hunter2"},
        )

        assert event.error_message == "bad key [redacted]"
        assert event.metadata == {"note": "[redacted]", "api_key": "[redacted]"}

    def test_no_metadata_is_an_empty_mapping(self):
        nothing: list[object] = [None, {}, [], "", 0]

        assert [create(metadata=metadata).metadata for metadata in nothing] == [{}] * 5

    def test_metadata_of_the_site_wins_over_facts(self):
        event = create(metadata={"finish": "site"}, facts={"finish": "wire", "tier": "flex"})

        assert event.metadata == {"finish": "site", "tier": "flex"}


class TestAmended:
    def test_amendment_is_the_next_revision_of_the_same_event(self):
        event = make_event()

        amended = event.amended(section="other").amended(success=False)

        assert (amended.id, amended.created_at) == (event.id, event.created_at)
        assert (amended.section, amended.success, amended.revision) == ("other", False, 2)
        assert (event.section, event.revision) == ("chat", 0)


texts = st.text(st.characters(exclude_categories=[]), max_size=60)  # including unpaired surrogates
counts = st.none() | st.integers(-5, 10**20) | st.floats() | st.booleans() | texts
metadata = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | texts | st.binary() | st.decimals(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts | st.integers(), inner),
    max_leaves=12,
)
anything = st.builds(
    UsageEvent.create,
    id=st.uuids(),
    created_at=st.datetimes(
        dt.datetime(1971, 1, 2),  # noqa: DTZ001 -- hypothesis adds the zone
        dt.datetime(9998, 1, 1),  # noqa: DTZ001
        timezones=st.sampled_from([dt.UTC, dt.timezone(dt.timedelta(hours=5, minutes=45))]),
    ),
    usage=st.builds(
        Usage,
        prompt_tokens=counts,
        completion_tokens=counts,
        cached_tokens=counts,
        cache_write_tokens=counts,
        reasoning_tokens=counts,
        cost=st.none() | st.decimals(),
    ),
    user_id=st.none() | texts,
    username=texts,
    section=texts,
    provider=texts,
    model_name=texts,
    operation=texts,
    response_time_ms=counts,
    success=st.booleans(),
    error_message=texts,
    metadata=metadata | st.dictionaries(texts, metadata, max_size=5),
    unit=texts,
)


class TestJson:
    @pytest.mark.parametrize("year", [1970, 1969, 1900, 9998])
    def test_call_with_a_wrong_clock_is_an_event(self, year):
        """For example, a machine without a battery before its clock is synchronized."""
        event = make_event(created_at=dt.datetime(year, 1, 1, tzinfo=dt.UTC))

        assert UsageEvent.from_json(event.to_json()) == event

    @pytest.mark.slow
    @PROPERTY
    @given(event=anything, revision=st.integers(0, 5))
    def test_round_trip_gives_the_same_event(self, event, revision):
        event = dataclasses.replace(event, revision=revision)

        again = UsageEvent.from_json(event.to_json())

        assert again == event
        assert again.created_at.utcoffset() is not None
        assert UsageEvent.from_json(event.to_json().encode()) == again

    @pytest.mark.slow
    @PROPERTY
    @given(event=anything)
    def test_json_is_one_line_of_ascii(self, event):
        line = event.to_json()

        assert line.isascii()
        assert line.isprintable()
        assert len(line) < 12_000

    def test_default_values_are_omitted(self):
        event = UsageEvent(id=UUID(int=7), created_at=NOON)

        assert json.loads(event.to_json()) == {
            "id": UUID(int=7).hex,
            "created_at": "2026-03-14T12:00:00+00:00",
        }

    def test_zero_is_not_omitted(self):
        event = make_event(prompt_tokens=0, cost=Decimal(0), success=False)

        again = UsageEvent.from_json(event.to_json())

        assert (again.prompt_tokens, again.cost, again.success) == (0, Decimal(0), False)

    def test_unknown_keys_are_kept_and_written_again(self):
        newer = json.loads(make_event().to_json()) | {"energy_joule": 12, "region": None}

        event = UsageEvent.from_json(json.dumps(newer))

        assert event.extra == {"energy_joule": 12, "region": None}
        assert json.loads(event.to_json()) == newer

    def test_known_key_wins_over_an_unknown_key_of_the_same_name(self):
        event = make_event(extra={"section": "wrong", "energy_joule": 12})

        assert json.loads(event.to_json())["section"] == "chat"

    def test_null_means_unknown(self):
        line = json.loads(make_event().to_json()) | {"prompt_tokens": None, "section": None}

        event = UsageEvent.from_json(json.dumps(line))

        assert (event.prompt_tokens, event.section) == (None, "")

    def test_line_without_an_event_is_rejected(self):
        lines: list[str | bytes] = [
            "",
            "null",
            "[]",
            "{}",
            "7",
            '"text"',
            "{",
            b"\xff",
            '{"id": "no uuid", "created_at": "2026-03-14T12:00:00+00:00"}',
            '{"id": 7, "created_at": "2026-03-14T12:00:00+00:00"}',
            '{"id": null, "created_at": "2026-03-14T12:00:00+00:00"}',
            '{"id": "019ced3c6a007000800000000000000a"}',
        ]

        assert accepted(lines) == []

    def test_impossible_value_is_rejected(self):
        values = [
            ("created_at", "yesterday"),
            ("created_at", "2026-03-14T12:00:00"),
            ("created_at", 7),
            ("created_at", None),
            ("created_at", "0001-01-01T00:00:00+14:00"),
            ("created_at", "9999-12-31T23:59:59-14:00"),
            ("response_time_ms", 10**30),
            ("revision", -1),
            ("success", 1),
            ("success", "yes"),
            ("section", 5),
            ("section", "\ud800"),
            ("user_id", 7),
            ("metadata", []),
            ("metadata", "text"),
            ("metadata", {"a": ["\ud800"]}),
            ("metadata", {"\udfff": 1}),
        ]
        event = json.loads(make_event().to_json())

        assert accepted([json.dumps(event | {name: value}) for name, value in values]) == []

    @pytest.mark.parametrize(
        ("name", "value", "fault"),
        [
            ("cost", "cheap", "cheap"),
            ("cost", [], "<list>"),
            ("cost", [0, [1], 0], "<list>"),
            ("cost", True, "<bool>"),
            ("cost", "NaN", "NaN"),
            ("cost", "sNaN", "sNaN"),
            ("cost", "Infinity", "Infinity"),
            ("cost", "-1", "-1"),
            ("cost", "1e999999999", "1e999999999"),
            ("cost", 10**6, "<int>"),
            ("prompt_tokens", "150", "<str>"),
            ("prompt_tokens", True, "<bool>"),
            ("prompt_tokens", 1.5, "not whole"),
            ("prompt_tokens", -1, "negative"),
            ("prompt_tokens", 10**30, "above 1000000000"),
            ("prompt_tokens", 10**400, "above 1000000000"),
            ("completion_tokens", float("nan"), "not finite"),
            ("cached_tokens", 151, "more than input_tokens"),
            ("usage_details", [1], "<list>"),
            ("usage_details", "x", "<str>"),
            ("usage_details", {"a\x00": 1}, "has a name that is not a unit"),
            ("price_context", ["flex"], "<list>"),
            ("price_context", {"service_tier": ["flex"]}, "<list>"),
            ("price_context", {"service_tier": 5}, "<int>"),
        ],
    )
    def test_value_that_cannot_be_true_is_left_out_and_named(self, name, value, fault):
        """The call is not lost, and it never gets a cost that would be a guess."""
        whole = make_event(metadata={"clamped": {"response_time_ms": "negative"}, "a": 1})
        line = json.loads(whole.to_json()) | {name: value}

        event = UsageEvent.from_json(json.dumps(line))

        clamped = {"response_time_ms": "negative", name: fault}
        rest = UsageEvent.from_json(json.dumps(line | {name: None}))
        assert event == dataclasses.replace(rest, metadata={"clamped": clamped, "a": 1})
        assert price(event) is None
        assert UsageEvent.from_json(event.to_json()) == event

    @pytest.mark.slow
    @PROPERTY
    @given(
        values=st.dictionaries(
            st.sampled_from([f.name for f in dataclasses.fields(UsageEvent)]) | texts, metadata
        )
    )
    def test_any_object_is_an_event_or_a_value_error(self, values):
        plain = json.loads(json.dumps(values, default=str, skipkeys=True))
        line = json.dumps(json.loads(make_event().to_json()) | plain)

        try:
            event = UsageEvent.from_json(line)
        except ValueError:
            return
        again = UsageEvent.from_json(event.to_json())
        assert again == dataclasses.replace(event, usage_source=event.usage_source or "unknown")


class TestUuid7:
    def test_version_and_variant_follow_the_rfc(self):
        made = uuid7(NOON)

        assert (made.version, made.variant) == (7, "specified in RFC 4122")

    def test_time_is_in_the_first_48_bits(self):
        assert uuid7(NOON).int >> 80 == int(NOON.timestamp() * 1000)

    def test_later_times_sort_later(self):
        times = [NOON + dt.timedelta(milliseconds=n) for n in range(100)]
        ids = [uuid7(when) for when in times]

        assert ids == sorted(ids)
        assert [pk.hex for pk in ids] == sorted(pk.hex for pk in ids)

    def test_ids_of_the_same_time_differ(self):
        assert len({uuid7(NOON) for _ in range(1000)}) == 1000

    def test_now_is_aware(self):
        assert utc_now().tzinfo is dt.UTC
