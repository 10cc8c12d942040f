"""The explicit API as a drop-in for hand-written trackers, and its handling of bad input."""

from __future__ import annotations

import logging
import unittest
from contextlib import nullcontext
from decimal import Decimal
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.contrib.auth.models import AnonymousUser, User
from django.db import connection, transaction
from django.test import TestCase
from django.utils.functional import SimpleLazyObject
from freezegun import freeze_time

import usage_tracking
from tests.support.builders import NOON, capture, make_user, own_metadata, rolled_back
from tests.support.ledger import assert_in_step, read_days
from usage_tracking import (
    AIUsageTracker,
    ai_usage,
    log_ai_usage,
    track_ai_usage,
    track_ai_usage_safe,
)
from usage_tracking.delivery import reads
from usage_tracking.models import AIUsageLog, AIUsageTracking

pytestmark = pytest.mark.django_db

TODAY = NOON.date()


@pytest.fixture(autouse=True)
def _info(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, logger="ai_usage_tracker")


class TestTrack:
    @freeze_time(NOON)
    def test_outside_a_transaction_both_rows_are_saved(self):
        user = make_user()

        log, day = track_ai_usage(
            user,
            "rag_pipeline",
            150,
            80,
            900,
            False,
            "gpt-4o",
            "timed out",
            {"conversation": 7},
        )

        assert log == AIUsageLog.objects.get()
        assert day == AIUsageTracking.objects.get()
        assert (log.user, log.section, log.model_name) == (user, "rag_pipeline", "gpt-4o")
        assert (log.prompt_tokens, log.completion_tokens, log.total_tokens) == (150, 80, 230)
        assert (log.response_time_ms, log.success, log.error_message) == (900, False, "timed out")
        assert (own_metadata(log), log.usage_source) == ({"conversation": 7}, "manual")
        assert (log.created_at, log.day) == (NOON, TODAY)
        assert log.cost == Decimal("0.001175")
        assert (day.date, day.total_requests, day.total_tokens) == (TODAY, 1, 230)
        assert day.failed_requests == 1
        assert_in_step()

    def test_second_call_of_the_day_adds_to_the_daily_row(self):
        user = make_user()

        track_ai_usage(user, "chat", 150, 80)
        _, day = track_ai_usage(user, "chat", 1, 2, success=False)

        assert (day.total_requests, day.total_tokens, day.failed_requests) == (2, 233, 1)
        assert_in_step()

    def test_defaults_equal_those_of_hand_written_trackers(self):
        log, _ = track_ai_usage(make_user(), "chat")

        assert (log.prompt_tokens, log.completion_tokens, log.response_time_ms) == (0, 0, 0)
        assert (log.success, log.model_name, log.error_message, log.metadata) == (
            True,
            "",
            None,
            {},
        )

    @pytest.mark.django_db(transaction=True)
    def test_rows_are_saved_without_a_transaction_around_the_test_too(self):
        log, day = track_ai_usage(make_user(), "chat", 1, 2)

        assert (log._state.adding, day._state.adding) == (False, False)

    def test_lazy_user_is_accepted(self):
        user = make_user()

        log, _ = track_ai_usage(SimpleLazyObject(lambda: user), "chat", 1, 2)

        assert log.user == user

    def test_whole_floats_are_numbers(self):
        log, _ = track_ai_usage(make_user(), "chat", 150.0, 80.0, 900.0)  # type: ignore[arg-type]

        assert (log.prompt_tokens, log.completion_tokens, log.response_time_ms) == (150, 80, 900)

    def test_section_is_trimmed_and_fits_its_column(self):
        user = make_user()

        assert track_ai_usage(user, "  chat ")[0].section == "chat"
        assert track_ai_usage(user, "x" * 80)[0].section == "x" * 49 + "…"

    def test_section_overrides_and_metadata_extends_the_scope(self):
        user = make_user()

        with ai_usage("rag_pipeline", user=make_user("bob"), metadata={"a": 1, "b": 1}):
            log, _ = track_ai_usage(user, "chat", 1, 2, metadata={"b": 2})

        assert (log.user, log.section, log.metadata) == (user, "chat", {"a": 1, "b": 2})

    def test_none_and_empty_values_are_accepted(self):
        log, _ = track_ai_usage(
            make_user(),
            "chat",
            model_name=None,  # type: ignore[arg-type]
            error_message="",
            metadata=None,
        )

        assert (log.model_name, log.error_message, log.metadata) == ("", None, {})


class TestPreview:
    @freeze_time(NOON)
    def test_inside_a_transaction_the_rows_are_previews(self):
        user = make_user()
        track_ai_usage(user, "chat", 1, 2, 100)

        with transaction.atomic():
            log, day = track_ai_usage(user, "chat", 150, 80, 900, model_name="gpt-4o")

        assert (log._state.adding, day._state.adding) == (True, True)
        assert (log.user, log.section, log.total_tokens) == (user, "chat", 230)
        assert (log.day, log.created_at, log.cost) == (TODAY, NOON, Decimal("0.001175"))
        assert (day.user, day.date) == (user, TODAY)
        assert (day.total_requests, day.total_tokens) == (2, 233)
        assert (day.average_response_time_ms, day.successful_requests) == (500.0, 2)
        saved = AIUsageLog.objects.get(pk=log.pk)
        assert saved.total_tokens == 230
        assert_in_step()

    def test_first_preview_of_a_day_counts_from_nothing(self):
        with transaction.atomic():
            _, day = track_ai_usage(make_user(), "chat", 150, 80)

        assert (day.total_requests, day.total_tokens, day.total_cost) == (1, 230, Decimal(0))

    def test_call_counts_independently_of_the_transaction(self):
        user = make_user()
        with rolled_back():
            log, _ = track_ai_usage(user, "chat", 150, 80)

        assert AIUsageLog.objects.get().pk == log.pk
        assert_in_step()

    @pytest.mark.parametrize("is_there", [False, True])
    def test_preview_that_the_site_saves_counts_once(self, is_there: bool):
        user = make_user()
        with rolled_back():
            log, _ = track_ai_usage(user, "chat", 150, 80)
        with reads.unwatched(connection) if not is_there else nullcontext():
            log.metadata = {"conversation": 7}
            log.save()

        assert AIUsageLog.objects.get().metadata == {"conversation": 7}
        assert AIUsageTracking.objects.get().total_requests == 1
        assert_in_step()

    def test_broken_transaction_gives_a_preview(self, settings):
        settings.AI_USAGE_RAISE_ERRORS = False
        user = make_user()
        with rolled_back():
            with pytest.raises(Exception, match=r"UNIQUE|unique"):
                User.objects.create(username=user.username)
            log, day = track_ai_usage(user, "chat", 150, 80)

        assert (log._state.adding, day.total_requests) == (True, 1)
        assert AIUsageLog.objects.get().pk == log.pk

    def test_missing_table_does_not_break_the_callers_transaction(self, settings):
        settings.AI_USAGE_RAISE_ERRORS = False
        user = make_user()
        with rolled_back():
            with connection.cursor() as cursor:
                cursor.execute("ALTER TABLE ai_usage_tracking RENAME TO out_of_the_way")

            log, day = track_ai_usage(user, "chat", 150, 80)

            assert User.objects.count() == 1
            assert (log.total_tokens, day.total_requests) == (230, 1)

        assert AIUsageLog.objects.get().pk == log.pk
        assert_in_step()

    def test_event_loop_gives_a_preview(self):
        user = make_user()

        async def view() -> tuple[AIUsageLog, AIUsageTracking]:
            return track_ai_usage(user, "chat", 150, 80)

        log, day = async_to_sync(view)()

        assert (log._state.adding, day.total_requests) == (True, 1)
        assert AIUsageLog.objects.get().pk == log.pk
        assert_in_step()

    def test_call_of_a_user_deleted_meanwhile_is_kept_without_user(self):
        user = make_user()
        User.objects.all().delete()

        log, _ = track_ai_usage(user, "chat", 150, 80)

        assert log.total_tokens == 230
        assert AIUsageLog.objects.get().user is None
        assert_in_step()


class TestRejected:
    def test_missing_user_is_rejected(self, caplog):
        for user in (None, AnonymousUser(), User(username="unsaved"), 7, "ada", object(), {}):
            caplog.clear()
            with pytest.raises(
                ValueError, match=r"^user must be a saved, authenticated user, not "
            ):
                track_ai_usage(user, "chat", 150, 80)

            assert caplog.messages == ["[TRACK_ERROR] User is None - cannot track usage"], user
            assert caplog.records[0].levelname == "ERROR"
        assert not AIUsageLog.objects.exists()

    def test_empty_section_is_rejected(self, caplog):
        user = make_user()
        sections: list[Any] = ["", "   ", None, 7, ["chat"]]
        for section in sections:
            caplog.clear()
            with pytest.raises(ValueError, match=r"^section must be a non-empty string$"):
                track_ai_usage(user, section, 150, 80)

            assert caplog.messages == ["[TRACK_ERROR] Section is empty for user ada"], section
            assert caplog.records[0].levelname == "ERROR"
        assert not AIUsageLog.objects.exists()

    @pytest.mark.parametrize("name", ["prompt_tokens", "completion_tokens", "response_time_ms"])
    def test_impossible_number_is_rejected(self, name, caplog):
        values: list[tuple[Any, str]] = [
            (-1, "must not be negative"),
            (-1.0, "must not be negative"),
            (1.5, "must be a whole number, not float"),
            (float("nan"), "must be a whole number, not float"),
            (float("inf"), "must be a whole number, not float"),
            ("150", "must be a whole number, not str"),
            (None, "must be a whole number, not NoneType"),
            (True, "must be a whole number, not bool"),
            (Decimal(5), "must be a whole number, not Decimal"),
        ]
        user = make_user()
        for value, reason in values:
            caplog.clear()
            with pytest.raises(ValueError, match=f"^{name} {reason}$"):
                track_ai_usage(user, "chat", **{name: value})

            told = [f"[TRACK_ERROR] {name} {reason} - cannot track usage"]
            assert caplog.messages == told, value
        assert not AIUsageLog.objects.exists()


class TestHostileInput:
    @pytest.mark.parametrize(
        ("name", "largest", "kept", "fate"),
        [
            ("prompt_tokens", 10**9, None, "left out"),
            ("completion_tokens", 10**9, None, "left out"),
            ("response_time_ms", 10**12, 10**12, "clamped"),
        ],
    )
    def test_huge_number_is_marked_with_a_warning(self, name, largest, kept, fate, caplog):
        user = make_user()
        numbers: list[Any] = [largest + 1, 2**63, 10**100, 1e300]
        for value in numbers:
            caplog.clear()
            log, _ = track_ai_usage(user, "chat", **{name: value})

            log.refresh_from_db()
            assert getattr(log, name) == kept, value
            assert own_metadata(log) == {"clamped": {name: f"above {largest}"}}, value
            warning = f"[TRACK_WARNING] {name} is above {largest} and was {fate}"
            assert warning in caplog.messages, value

        assert_in_step()
        assert_in_step()

    def test_unknown_section_is_recorded_with_one_warning(self, caplog):
        user = make_user()

        for _ in range(3):
            track_ai_usage(user, "chatbot-of-this-test", 150, 80)

        warnings = [r.getMessage() for r in caplog.records if r.levelname == "WARNING"]
        assert warnings == ["[TRACK_WARNING] Invalid section 'chatbot-of-this-test' for user ada"]
        assert AIUsageLog.objects.filter(section="chatbot-of-this-test").count() == 3

    def test_unserializable_metadata_is_marked(self):
        circle: dict[str, Any] = {}
        circle["self"] = circle

        log, _ = track_ai_usage(
            make_user(), "chat", metadata={"id": 7, "bad": object(), "circle": circle}
        )

        log.refresh_from_db()
        assert (log.metadata["id"], log.metadata["bad"]) == (7, "<object>")

    def test_metadata_other_than_a_mapping_is_marked(self):
        user = make_user()
        told: list[Any] = ["text", 7, [1], object()]
        for metadata in told:
            log, _ = track_ai_usage(user, "chat", metadata=metadata)

            log.refresh_from_db()
            assert log.metadata == {"invalid": f"<{type(metadata).__name__}>"}

    def test_huge_metadata_is_truncated_and_marked(self):
        log, _ = track_ai_usage(
            make_user(), "chat", metadata={"id": 7, "prompt": "x" * 10**6, "more": 8}
        )

        log.refresh_from_db()
        assert (log.metadata["id"], log.metadata["truncated"]) == (7, True)

    def test_secrets_are_redacted_in_rows_and_log_lines(self, caplog):
        secret = "sk-proj-aB3dE5gH7jK9mN1pQ3sT5vW7"

        log, _ = track_ai_usage(
            make_user(),
            "chat",
            success=False,
            error_message=f"Incorrect API key provided: {secret}",
            metadata={"note": secret, "api_key": "hunter2"},
        )

        log.refresh_from_db()
        assert log.error_message == "Incorrect API key provided: [redacted]"
        assert log.metadata == {"note": "[redacted]", "api_key": "[redacted]"}
        assert secret not in caplog.text

    def test_forged_log_lines_stay_on_their_line(self, caplog):
        user = make_user("ada\n[TRACK_COMPLETE] forged")

        track_ai_usage(user, "chat\n[TRACK_COMPLETE] forged", 150, 80, model_name="m\nforged")
        with pytest.raises(ValueError, match="section"):
            track_ai_usage(user, "")

        assert len(caplog.messages) >= 5
        assert not [message for message in caplog.messages if "\n" in message]
        assert "ada\\n[TRACK_COMPLETE] forged" in caplog.text

    def test_text_that_databases_cannot_store_is_cleaned(self):
        log, _ = track_ai_usage(
            make_user(),
            "chat",
            model_name="m\0\ud800",
            error_message="e\0\ud800",
            metadata={"a\0": "b\ud800"},
        )

        log.refresh_from_db()
        assert (log.model_name, log.error_message) == ("m�?", "e�?")
        assert log.metadata == {"a�": "b?"}

    def test_exception_as_an_error_message_is_its_text(self):
        log, _ = track_ai_usage(
            make_user(),
            "chat",
            success=False,
            error_message=ValueError("no"),  # type: ignore[arg-type]
        )

        log.refresh_from_db()
        assert log.error_message == "no"

    def test_long_error_is_truncated(self):
        log, _ = track_ai_usage(make_user(), "chat", success=False, error_message="x" * 10**6)

        log.refresh_from_db()
        assert log.error_message == "x" * 499 + "…"


class TestSafe:
    def test_result_equals_track_ai_usage(self):
        log, day = track_ai_usage_safe(make_user(), "chat", 150, 80)

        assert (log, day) == (AIUsageLog.objects.get(), AIUsageTracking.objects.get())

    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"user": None}, "[TRACK_ERROR] User is None - cannot track usage"),
            ({"section": ""}, "[TRACK_ERROR] Section is empty for user ada"),
            (
                {"prompt_tokens": -1},
                "[TRACK_ERROR] prompt_tokens must not be negative - cannot track usage",
            ),
        ],
    )
    def test_rejected_input_returns_none_and_logs_a_line(self, changes, message, caplog):
        values = {"user": make_user(), "section": "chat"} | changes

        assert track_ai_usage_safe(**values) == (None, None)
        assert message in caplog.messages

    @pytest.mark.parametrize(
        "call",
        [
            lambda: track_ai_usage_safe(),
            lambda: track_ai_usage_safe(1, 2, 3, 4, 5, 6, 7, 8, 9, 10),
            lambda: track_ai_usage_safe(make_user(), "chat", wrong=1),
        ],
        ids=["missing", "too many", "unknown"],
    )
    def test_wrong_arguments_return_none_and_log_a_traceback(self, call, settings, caplog):
        settings.AI_USAGE_RAISE_ERRORS = False

        assert call() == (None, None)
        (record,) = [r for r in caplog.records if r.levelname == "ERROR"]
        assert record.getMessage().startswith(
            "[TRACK_EXCEPTION] ❌ Error tracking AI usage: TypeError"
        )
        assert record.exc_info

    def test_old_name_is_the_same(self):
        assert log_ai_usage is track_ai_usage_safe

    def test_unavailable_database_only_logs_a_line(self, settings):
        settings.AI_USAGE_RAISE_ERRORS = False
        user = make_user()
        with rolled_back():
            with connection.cursor() as cursor:
                cursor.execute("ALTER TABLE ai_usage_log RENAME TO out_of_the_way")
            log, _ = track_ai_usage_safe(user, "chat", 150, 80)

        assert log is not None
        assert AIUsageLog.objects.get().pk == log.pk
        assert_in_step()


class TestJoining:
    """A manual record after an SDK's call counts that call once."""

    def test_manual_record_adds_to_the_captured_call(self):
        ada, bob = make_user("ada"), make_user("bob")

        with ai_usage("other", user=bob, metadata={"scope": 1}):
            captured = capture(metadata={"response_id": "r1"}, cached_tokens=10)
            log, day = track_ai_usage(
                ada, "rag_pipeline", 150, 80, 5000, metadata={"conversation": 7}
            )

        assert log == AIUsageLog.objects.get()
        assert (log.pk, log.user, log.section) == (captured.id, ada, "rag_pipeline")
        assert (log.model_name, log.provider, log.cached_tokens) == ("gpt-4o", "openai", 10)
        assert (log.response_time_ms, log.usage_source) == (900, "reported")
        assert own_metadata(log) == {"response_id": "r1", "conversation": 7}
        assert day.total_requests == 1
        assert list(read_days()) == [(ada.pk, log.day)]
        assert_in_step()

    @pytest.mark.parametrize(
        ("seen", "said", "rows"),
        [
            ((150, 80), (150, 80), 1),
            ((150, 80), (0, 0), 1),
            ((None, None), (150, 80), 1),
            ((None, None), (0, 0), 1),
            ((150, 80), (150, 81), 2),
            ((150, 80), (230, 0), 2),
            ((150, None), (150, 0), 1),
        ],
    )
    def test_equal_counts_identify_the_call(self, seen, said, rows):
        with ai_usage("chat", user=make_user()):
            capture(prompt_tokens=seen[0], completion_tokens=seen[1])
            track_ai_usage(make_user("bob"), "chat", *said)

        assert AIUsageLog.objects.count() == rows
        assert_in_step()

    def test_unknown_counts_come_from_the_manual_record(self):
        user = make_user()

        with ai_usage("chat", user=user):
            capture(prompt_tokens=None, completion_tokens=None, usage_source="unknown")
            log, _ = track_ai_usage(user, "chat", 150, 80)

        assert (log.prompt_tokens, log.completion_tokens) == (150, 80)
        assert log.usage_source == "manual"
        assert_in_step()

    def test_reported_failure_is_kept(self):
        user = make_user()

        with ai_usage("chat", user=user):
            capture()
            log, day = track_ai_usage(
                user, "chat", 150, 80, success=False, error_message="answer was no JSON"
            )

        assert (log.success, log.error_message) == (False, "answer was no JSON")
        assert day.failed_requests == 1

    def test_each_record_joins_its_own_call_newest_first(self):
        user = make_user()

        with ai_usage("chat", user=user):
            first, second = capture(), capture()
            one, _ = track_ai_usage(user, "chat", 150, 80)
            two, _ = track_ai_usage(user, "chat", 150, 80)
            three, _ = track_ai_usage(user, "chat", 150, 80)

        assert (one.pk, two.pk) == (second.id, first.id)
        assert three.pk not in (first.id, second.id)
        assert AIUsageTracking.objects.get().total_requests == 3
        assert_in_step()

    def test_record_without_tokens_finds_the_call_of_its_model(self):
        user = make_user()

        with ai_usage("chat", user=user):
            gpt = capture(model_name="gpt-4o-2024-08-06")
            capture(model_name="claude-sonnet-4-5", provider="anthropic")
            log, _ = track_ai_usage(user, "chat", model_name="gpt-4o")

        assert log.pk == gpt.id
        assert log.model_name == "gpt-4o-2024-08-06"

    def test_call_of_another_unit_of_work_is_not_joined(self):
        user = make_user()
        with ai_usage("chat", user=user):
            capture()
        with ai_usage("chat", user=user):
            track_ai_usage(user, "chat", 150, 80)

        assert AIUsageTracking.objects.get().total_requests == 2
        assert_in_step()

    @pytest.mark.slow
    def test_call_outside_scopes_is_joined_for_a_minute(self):
        user = make_user()
        with freeze_time(NOON) as clock:
            first = capture(user_id=None, prompt_tokens=11)
            clock.tick(59)
            assert track_ai_usage(user, "chat", 11, 80)[0].pk == first.id
            capture(user_id=None, prompt_tokens=12)
            clock.tick(61)
            track_ai_usage(user, "chat", 12, 80)

        assert AIUsageLog.objects.count() == 3

    def test_inside_a_transaction_the_preview_is_the_joined_call(self):
        user = make_user()

        with ai_usage("other", user=user):
            with rolled_back():
                captured = capture(prompt_tokens=21)
                log, _ = track_ai_usage(user, "chat", 21, 80, metadata={"conversation": 7})
            assert (log.pk, log.section, log._state.adding) == (captured.id, "chat", True)

        saved = AIUsageLog.objects.get()
        assert (saved.pk, saved.section) == (captured.id, "chat")
        assert own_metadata(saved) == {"conversation": 7}
        assert_in_step()

    def test_tests_of_a_site_do_not_join_each_others_calls(self, transactional_db: None):
        class First(TestCase):
            def test(self) -> None:
                capture(user_id=None, section="chat", prompt_tokens=31)

        class Second(TestCase):
            def test(self) -> None:
                log, _ = track_ai_usage(make_user(), "other", 31, 80)
                assert log.model_name == ""
                assert AIUsageLog.objects.count() == 1

        for case in (First, Second):
            result = unittest.TestSuite([case("test")]).run(unittest.TestResult())
            assert [text for _, text in (*result.errors, *result.failures)] == []


class TestTracker:
    def test_block_is_one_call(self):
        user = make_user()

        with freeze_time(NOON) as clock, AIUsageTracker(user, "chat", "gpt-4o") as tracker:
            clock.tick(1.5)
            tracker.set_tokens(prompt_tokens=150, completion_tokens=80)
            tracker.set_metadata({"conversation": 7}, turn=2)

        log = AIUsageLog.objects.get()
        assert (log.user, log.section, log.model_name) == (user, "chat", "gpt-4o")
        assert (log.prompt_tokens, log.completion_tokens) == (150, 80)
        assert (log.response_time_ms, log.success) == (1500, True)
        assert own_metadata(log) == {"conversation": 7, "turn": 2}
        assert_in_step()

    def test_block_without_a_report_is_recorded_too(self):
        with AIUsageTracker(make_user(), "chat"):
            pass

        assert AIUsageTracking.objects.get().total_requests == 1

    def test_exception_makes_it_a_failure_and_propagates(self):
        with pytest.raises(KeyError), AIUsageTracker(make_user(), "chat") as tracker:  # noqa: PT012
            tracker.set_tokens(150)
            raise KeyError("sk-proj-aB3dE5gH7jK9mN1pQ3sT5vW7")

        log = AIUsageLog.objects.get()
        assert (log.success, log.prompt_tokens) == (False, 150)
        assert log.error_message == "KeyError: '[redacted]'"
        assert_in_step()

    def test_failure_and_success_can_be_reported(self):
        user = make_user()

        with AIUsageTracker(user, "chat") as tracker:
            tracker.mark_failure("no answer")
        with AIUsageTracker(user, "other") as tracker:
            tracker.mark_failure("no answer")
            tracker.mark_success()

        logs = AIUsageLog.objects.order_by("section")
        assert [(log.success, log.error_message) for log in logs] == [
            (False, "no answer"),
            (True, None),
        ]

    def test_captured_call_of_the_block_is_counted_once(self):
        user = make_user()

        with AIUsageTracker(user, "rag_pipeline") as tracker:
            captured = capture()
            tracker.set_tokens(150, 80)
            tracker.set_metadata(conversation=7)

        log = AIUsageLog.objects.get()
        assert (log.pk, log.user, log.section) == (captured.id, user, "rag_pipeline")
        assert own_metadata(log) == {"conversation": 7}
        assert_in_step()

    def test_captured_calls_without_a_report_are_not_changed(self):
        with AIUsageTracker(make_user(), "rag_pipeline"):
            capture()
            capture()

        assert AIUsageTracking.objects.get().total_requests == 2
        assert set(AIUsageLog.objects.values_list("section", flat=True)) == {"rag_pipeline"}

    @pytest.mark.parametrize(
        ("user", "section"), [(None, "chat"), (AnonymousUser(), "chat"), ("ada", "")]
    )
    def test_bad_input_never_reaches_the_block(self, user, section, settings):
        settings.AI_USAGE_RAISE_ERRORS = False
        reached = False

        with AIUsageTracker(user, section) as tracker:
            tracker.set_tokens(-5)
            reached = True

        assert reached
        assert not AIUsageLog.objects.exists()

    def test_bad_metadata_never_reaches_the_block(self):
        with AIUsageTracker(make_user(), "chat") as tracker:
            tracker.set_metadata("no mapping")  # type: ignore[arg-type]
            tracker.set_metadata(None)
            tracker.set_metadata({7: object()})  # type: ignore[dict-item]

        assert AIUsageTracking.objects.get().total_requests == 1

    def test_block_inside_a_transaction_counts_independently_of_it(self):
        user = make_user()
        with rolled_back(), AIUsageTracker(user, "chat") as tracker:
            tracker.set_tokens(150, 80)

        assert AIUsageLog.objects.get().total_tokens == 230


class TestDisabled:
    @pytest.fixture(autouse=True)
    def _off(self, settings: Any) -> None:
        settings.AI_USAGE_ENABLED = False

    def test_nothing_is_recorded_or_queried(self, django_assert_num_queries):
        user = make_user()

        with django_assert_num_queries(0):
            log, day = track_ai_usage(user, "chat", 150, 80)
            with AIUsageTracker(user, "chat") as tracker:
                tracker.set_tokens(150, 80)
            with ai_usage("chat", user=user) as usage:
                usage.record(prompt_tokens=5)

        assert (log.total_tokens, day.total_requests) == (230, 1)
        assert not AIUsageLog.objects.exists()

    def test_bad_input_is_still_rejected(self):
        with pytest.raises(ValueError, match="user"):
            track_ai_usage(None, "chat")


class TestPackage:
    def test_public_names_can_be_imported(self):
        names = usage_tracking.__all__

        assert [name for name in names if not callable(getattr(usage_tracking, name))] == []

    def test_other_names_raise_attribute_error(self):
        with pytest.raises(AttributeError, match="module 'usage_tracking' has no attribute 'nope'"):
            _ = usage_tracking.nope
