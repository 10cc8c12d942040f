"""The log lines are exactly as documented and appear only after the commit."""

from __future__ import annotations

import logging
from decimal import Decimal
from typing import Any

import pytest
from freezegun import freeze_time

from tests.support.builders import NOON, make_event, make_user, refuse_section
from usage_tracking import AIUsageTracker, outbox, track_ai_usage, track_ai_usage_safe
from usage_tracking.delivery import Delivery
from usage_tracking.delivery.log_lines import committed
from usage_tracking.delivery.writer import store
from usage_tracking.models import AIUsageLog
from usage_tracking.pricing import table

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _debug(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, logger="ai_usage_tracker")


def lines(caplog: pytest.LogCaptureFixture) -> list[tuple[str, str]]:
    return [(record.levelname, record.getMessage()) for record in caplog.records]


@freeze_time(NOON)
class TestTrackedCall:
    def test_first_call_of_a_day_is_logged_step_by_step(self, caplog):
        log, _ = track_ai_usage(make_user(), "chat", 150, 80)

        assert lines(caplog) == [
            ("DEBUG", "[TRACK_START] User: ada, Section: chat, Tokens: 150+80, Success: True"),
            ("DEBUG", "[TRACK_LOG] Creating AIUsageLog - User: ada, Section: chat"),
            (
                "DEBUG",
                "[TRACK_AGGREGATE] Adding to AIUsageTracking - User: ada, Date: 2026-03-14",
            ),
            (
                "INFO",
                f"[TRACK_LOG_SUCCESS] AIUsageLog created - ID: {log.pk}, User: ada, "
                "Section: chat, Tokens: 230",
            ),
            (
                "INFO",
                "[TRACK_AGGREGATE_NEW] AIUsageTracking created - User: ada, Date: 2026-03-14",
            ),
            (
                "INFO",
                "[TRACK_AGGREGATE_SUCCESS] AIUsageTracking updated - User: ada, "
                "Date: 2026-03-14, Total Requests: 1, Total Tokens: 230",
            ),
            (
                "INFO",
                "[TRACK_COMPLETE] ✅ Successfully tracked AI usage - User: ada, Section: chat, "
                "Tokens: 230, Status: SUCCESS",
            ),
        ]

    def test_next_call_logs_that_the_daily_row_exists(self, caplog):
        user = make_user()
        track_ai_usage(user, "chat", 150, 80)
        caplog.clear()

        log, _ = track_ai_usage(user, "chat", 1000, 20, success=False)

        assert lines(caplog) == [
            ("DEBUG", "[TRACK_START] User: ada, Section: chat, Tokens: 1000+20, Success: False"),
            ("DEBUG", "[TRACK_LOG] Creating AIUsageLog - User: ada, Section: chat"),
            (
                "DEBUG",
                "[TRACK_AGGREGATE] Adding to AIUsageTracking - User: ada, Date: 2026-03-14",
            ),
            (
                "INFO",
                f"[TRACK_LOG_SUCCESS] AIUsageLog created - ID: {log.pk}, User: ada, "
                "Section: chat, Tokens: 1020",
            ),
            ("DEBUG", "[TRACK_AGGREGATE_EXISTS] AIUsageTracking - User: ada, Date: 2026-03-14"),
            (
                "INFO",
                "[TRACK_AGGREGATE_SUCCESS] AIUsageTracking updated - User: ada, "
                "Date: 2026-03-14, Total Requests: 2, Total Tokens: 1250",
            ),
            (
                "INFO",
                "[TRACK_COMPLETE] ✅ Successfully tracked AI usage - User: ada, Section: chat, "
                "Tokens: 1020, Status: FAILED",
            ),
        ]

    def test_lines_come_from_the_documented_logger(self, caplog):
        track_ai_usage(make_user(), "chat", 150, 80)

        assert {record.name for record in caplog.records} == {"ai_usage_tracker"}

    def test_values_are_in_extra_too(self, caplog):
        user = make_user()

        log, _ = track_ai_usage(user, "chat", 150, 80, model_name="gpt-4o")

        written, _, day, complete = (r for r in caplog.records if r.levelname == "INFO")
        assert (written.log_id, written.user_id, written.section) == (
            str(log.pk),
            user.pk,
            "chat",
        )
        assert (day.user_id, day.date) == (user.pk, "2026-03-14")
        assert (complete.log_id, complete.user_id, complete.section) == (
            str(log.pk),
            user.pk,
            "chat",
        )
        assert (complete.model, complete.provider) == ("gpt-4o", "")
        assert (complete.tokens, complete.cost, complete.success) == (230, "0.0011750000", True)

    def test_usernames_can_be_omitted(self, caplog, settings):
        settings.AI_USAGE_LOG_USERNAMES = False
        user = make_user("ada.lovelace")

        track_ai_usage(user, "section-of-this-test", 150, 80)
        with pytest.raises(ValueError, match="section"):
            track_ai_usage(user, "", 150, 80)
        with AIUsageTracker(user, ""):
            pass

        assert "lovelace" not in caplog.text
        assert all(
            f"user:{user.pk}" in message
            for message in caplog.messages
            if "not tracked" not in message
        )

    def test_call_without_a_user_has_a_dash(self, caplog):
        outbox.put(make_event())
        assert AIUsageLog.objects.exists()

        assert [message for _, message in lines(caplog)][-1] == (
            "[TRACK_COMPLETE] ✅ Successfully tracked AI usage - User: -, Section: chat, "
            "Tokens: 230, Status: SUCCESS"
        )

    def test_unknown_tokens_are_logged_as_unknown(self, caplog):
        outbox.put(
            make_event(
                user=make_user(),
                prompt_tokens=None,
                completion_tokens=None,
                usage_source="unknown",
                model_name="m",
            )
        )
        assert AIUsageLog.objects.exists()

        written, *_, complete = (r for r in caplog.records if r.levelname == "INFO")
        assert written.getMessage().endswith("Section: chat, Tokens: unknown")
        assert "Tokens: unknown, Status: SUCCESS" in complete.getMessage()
        assert (complete.tokens, complete.cost) == (None, None)

    def test_batch_logs_each_row_and_each_daily_row_once(self, caplog):
        ada, bob = make_user("ada"), make_user("bob")

        committed(
            store(
                [make_event(user=ada), make_event(user=ada), make_event(user=bob), make_event()],
                using="default",
            )
        )

        prefixes = [text.split()[0] for level, text in lines(caplog) if level == "INFO"]
        assert sorted(prefixes) == sorted(
            ["[TRACK_LOG_SUCCESS]"] * 4
            + ["[TRACK_AGGREGATE_NEW]", "[TRACK_AGGREGATE_SUCCESS]"] * 2
            + ["[TRACK_COMPLETE]"] * 4
        )

    def test_stored_event_is_not_logged_again(self, caplog):
        event = make_event(user=make_user())
        committed(store([event], using="default"))
        caplog.clear()

        committed(store([event, event.amended(section="other")], using="default"))

        assert lines(caplog) == []

    def test_lines_cost_nothing_where_info_is_disabled(self, caplog):
        caplog.set_level(logging.WARNING, logger="ai_usage_tracker")

        track_ai_usage(make_user(), "chat", 150, 80)

        assert lines(caplog) == []


class TestOrder:
    def test_completion_is_logged_only_after_the_commit(self, caplog):
        user = make_user()
        event = make_event(user=user, section="poison")
        refuse_section("poison")

        class CountRows(logging.Handler):
            def emit(self, record: logging.LogRecord) -> None:
                if "[TRACK_COMPLETE]" in record.getMessage():
                    rows.append(AIUsageLog.objects.count())

        rows: list[int] = []
        logger = logging.getLogger("ai_usage_tracker")
        handler = CountRows()
        logger.addHandler(handler)
        try:
            box = outbox.get()
            box.put(event)
            box.put(make_event(user=user))
            Delivery().deliver()
        finally:
            logger.removeHandler(handler)

        assert rows == [1]
        assert not [m for m in caplog.messages if "poison" in m and "[TRACK_COMPLETE]" in m]


class TestErrors:
    @pytest.mark.parametrize(
        ("arguments", "line"),
        [
            ((None, "chat"), "[TRACK_ERROR] User is None - cannot track usage"),
            (("ada", ""), "[TRACK_ERROR] Section is empty for user ada"),
        ],
    )
    def test_refused_input_is_logged(self, arguments, line, caplog):
        user, section = arguments

        track_ai_usage_safe(make_user() if user else None, section)

        assert ("ERROR", line) in lines(caplog)

    def test_unknown_section_is_logged_as_a_warning(self, caplog):
        track_ai_usage(make_user(), "chatbot", 150, 80)

        assert ("WARNING", "[TRACK_WARNING] Invalid section 'chatbot' for user ada") in lines(
            caplog
        )

    def test_other_errors_are_logged_with_a_traceback(self, caplog, settings, monkeypatch):
        settings.AI_USAGE_RAISE_ERRORS = False
        monkeypatch.setattr(table, "find", None)

        log, _ = track_ai_usage(make_user(), "chat", 150, 80, model_name="gpt-4o")

        error = next(record for record in caplog.records if record.levelname == "ERROR")
        assert error.getMessage().startswith(
            "[TRACK_EXCEPTION] ❌ Error tracking AI usage: TypeError in pricing.price: "
        )
        assert error.exc_info
        assert (log.cost, AIUsageLog.objects.count()) == (None, 1)


def test_known_cost_is_logged(caplog: Any) -> None:
    outbox.put(make_event(user=make_user(), cost=Decimal("0.25")))
    assert AIUsageLog.objects.exists()

    assert caplog.records[-1].cost == "0.2500000000"
