"""Internal errors are logged and counted in one place, and never reach the host."""

from __future__ import annotations

import pytest

from usage_tracking import errors
from usage_tracking.errors import contain, contained
from usage_tracking.log import one_line, shown_user


@pytest.fixture(autouse=True)
def _as_in_production(settings: object) -> None:
    settings.AI_USAGE_RAISE_ERRORS = False  # type: ignore[attr-defined]


@contained
def divide(number: int, by: int) -> float:
    """Divides."""
    return number / by


class TestContained:
    def test_result_is_returned(self):
        assert divide(6, by=3) == 2

    def test_error_gives_none(self):
        assert divide(1, 0) is None

    def test_error_is_logged_with_its_traceback(self, caplog):
        divide(1, 0)

        (record,) = caplog.records
        assert record.name == "ai_usage_tracker"
        assert record.levelname == "ERROR"
        assert record.getMessage() == (
            "[TRACK_EXCEPTION] ❌ Error tracking AI usage: ZeroDivisionError in divide: "
            "division by zero"
        )
        assert record.exc_info
        assert record.where == "divide"

    def test_error_is_counted(self):
        before = errors.failures["divide"]

        divide(1, 0)
        divide(1, 0)

        assert errors.failures["divide"] == before + 2

    def test_error_is_raised_if_configured(self, settings):
        settings.AI_USAGE_RAISE_ERRORS = True

        with pytest.raises(ZeroDivisionError):
            divide(1, 0)

    def test_process_exit_is_not_an_internal_error(self):
        @contained
        def interrupted(stop: type[BaseException]) -> None:
            raise stop

        for stop in (KeyboardInterrupt, SystemExit, GeneratorExit):
            with pytest.raises(stop):
                interrupted(stop)

    def test_function_keeps_its_name(self):
        assert (divide.__name__, divide.__doc__) == ("divide", "Divides.")


class TestContain:
    def test_secret_in_the_text_is_redacted(self, caplog):
        contain(ValueError("bad key sk-proj-abcdefgh12345678"), "test")

        assert caplog.messages == [
            "[TRACK_EXCEPTION] ❌ Error tracking AI usage: ValueError in test: bad key [redacted]"
        ]

    def test_line_breaks_in_the_text_forge_no_line(self, caplog):
        contain(ValueError("a\n[TRACK_COMPLETE] forged\r\u2028b"), "test")

        assert caplog.messages[0].endswith("test: a\\n[TRACK_COMPLETE] forged\\r\\u2028b")


class TestOneLine:
    def test_text_stays_on_its_line(self):
        texts: list[tuple[object, str]] = [
            ("plain", "plain"),
            ("", ""),
            ("Grüße 🚀", "Grüße 🚀"),
            ("a\nb", "a\\nb"),
            ("a\r\nb", "a\\r\\nb"),
            ("a\x1b[31mb", "a\\x1b[31mb"),
            ("a\x00b", "a\\x00b"),
            ("a\x85b", "a\\x85b"),
            ("a\u2028b\u2029c", "a\\u2028b\\u2029c"),
            ("a\u202eb", "a\\u202eb"),
            ("a\ud800b", "a\\ud800b"),
            (None, "None"),
            (7, "7"),
        ]

        assert [(text, one_line(text)) for text, _ in texts] == texts


def test_user_without_a_known_name_is_shown_by_key():
    assert shown_user("7", "ada") == "ada"
    assert shown_user("7", "") == "user:7"
    assert shown_user(None, "") == "-"
