"""Settings are optional, typed, and read when they are used."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from django.test import override_settings
from django.utils import timezone

from tests.support.children import run_python
from usage_tracking import conf
from usage_tracking.days import day_of


class TestDefaults:
    @pytest.mark.process
    def test_defaults_are_as_documented(self, tmp_path: Path):
        printed = run_python(
            tmp_path,
            """
            from usage_tracking import conf
            print(conf.enabled(), conf.capture(), conf.unknown_hosts())
            print(conf.default_section(), conf.section_map(), conf.gateways(), conf.prices())
            print(conf.propagate_threads(), conf.log_usernames(), conf.raise_errors())
            print(conf.billing(), conf.key_hint())
            print(conf.sections() == conf.DEFAULT_SECTIONS, conf.inline(), conf.day_timezone())
            print(conf.outbox())
            """,
            settings="""
            del AI_USAGE_OUTBOX, AI_USAGE_RAISE_ERRORS
            BASE_DIR = "/srv/site"
            """,
        )

        assert printed.splitlines() == [
            "True True True",
            "other {} {} {}",
            "True True False",
            "{} False",
            "True False UTC",
            "/srv/site/.ai_usage_outbox",
        ]


class TestAccess:
    def test_setting_is_read_when_it_is_used(self):
        changes = [
            ("ENABLED", conf.enabled, False),
            ("DEFAULT_SECTION", conf.default_section, "chat"),
            ("SECTION_MAP", conf.section_map, {"chat:page": "chat"}),
            ("CAPTURE", conf.capture, ["httpx"]),
            ("CAPTURE", conf.capture, False),
            ("GATEWAYS", conf.gateways, {"llm.example.com": "openai"}),
            ("UNKNOWN_HOSTS", conf.unknown_hosts, False),
            ("PATHS", conf.paths, {"/llm/ask": "openai.chat"}),
            ("PRICES", conf.prices, {"m": {"input": 1}}),
            ("PROPAGATE_THREADS", conf.propagate_threads, False),
            ("LOG_USERNAMES", conf.log_usernames, False),
            ("BILLING", conf.billing, {"openai": {"key": "sk-admin-1"}}),
            ("KEY_HINT", conf.key_hint, True),
            ("RAISE_ERRORS", conf.raise_errors, True),
            ("RAISE_ERRORS", conf.raise_errors, False),
        ]
        for name, function, value in changes:
            before = function()

            with override_settings(**{f"AI_USAGE_{name}": value}):
                assert function() == value, name

            assert function() == before, name

    def test_every_setting_has_a_function(self):
        others = {"ENABLED", "OUTBOX", "DAY_TIMEZONE", "SECTIONS"}

        assert {name for name in conf.SETTINGS if not hasattr(conf, name.lower())} == set()
        assert others <= set(conf.SETTINGS)


class TestSections:
    def test_sections_come_as_a_mapping_pairs_or_codes(self, settings):
        cases: list[tuple[Any, dict[str, str]]] = [
            ({"support": "Support"}, {"support": "Support"}),
            (
                [("support", "Support"), ("sales", "Sales")],
                {"support": "Support", "sales": "Sales"},
            ),
            (["support_chat", ("sales", "$")], {"support_chat": "Support Chat", "sales": "$"}),
            (("support",), {"support": "Support"}),
            ({}, {}),
        ]
        for value, sections in cases:
            settings.AI_USAGE_SECTIONS = value

            assert conf.sections() == sections, value

    def test_translated_labels_are_text(self, settings):
        from django.utils.translation import gettext_lazy

        settings.AI_USAGE_SECTIONS = {"support": gettext_lazy("Delete")}

        assert conf.sections() == {"support": "Delete"}
        assert type(conf.sections()["support"]) is str


class TestOutbox:
    def test_directory_is_a_path(self, settings):
        for value in ("/srv/outbox", Path("/srv/outbox")):
            settings.AI_USAGE_OUTBOX = value

            assert conf.outbox() == Path("/srv/outbox")
            assert not conf.inline()

    def test_none_enables_inline_delivery(self, settings):
        settings.AI_USAGE_OUTBOX = None

        assert conf.outbox() is None
        assert conf.inline()

    def test_base_dir_can_be_text(self, settings):
        settings.BASE_DIR = "/srv/site"

        assert conf.outbox() == Path("/srv/site/.ai_usage_outbox")

    def test_directory_is_none_without_base_dir(self, settings):
        del settings.BASE_DIR

        assert conf.outbox() is None
        assert not conf.inline()


class TestDay:
    def test_default_zone_is_the_time_zone_of_the_site(self, settings):
        settings.TIME_ZONE = "Asia/Tokyo"

        assert conf.day_timezone() == ZoneInfo("Asia/Tokyo")

    def test_own_zone_wins(self, settings):
        settings.TIME_ZONE = "Asia/Tokyo"
        settings.AI_USAGE_DAY_TIMEZONE = "Europe/Berlin"

        assert conf.day_timezone() == ZoneInfo("Europe/Berlin")

    def test_day_is_in_the_zone(self, settings):
        days = [
            ("UTC", "2026-03-14T23:59:59.999999+00:00", dt.date(2026, 3, 14)),
            ("UTC", "2026-03-15T08:59:59+09:00", dt.date(2026, 3, 14)),
            ("Europe/Berlin", "2026-03-28T23:00:00+00:00", dt.date(2026, 3, 29)),
            ("Europe/Berlin", "2026-03-29T21:59:59+00:00", dt.date(2026, 3, 29)),
            ("Europe/Berlin", "2026-03-29T22:00:00+00:00", dt.date(2026, 3, 30)),
            ("Europe/Berlin", "2026-10-24T22:00:00+00:00", dt.date(2026, 10, 25)),
            ("Europe/Berlin", "2026-10-25T22:59:59+00:00", dt.date(2026, 10, 25)),
            ("Europe/Berlin", "2026-10-25T23:00:00+00:00", dt.date(2026, 10, 26)),
            # Samoa skipped this day when it crossed the date line.
            ("Pacific/Apia", "2011-12-30T09:59:59+00:00", dt.date(2011, 12, 29)),
            ("Pacific/Apia", "2011-12-30T10:00:00+00:00", dt.date(2011, 12, 31)),
        ]
        wrong = []
        for zone, when, day in days:
            settings.AI_USAGE_DAY_TIMEZONE = zone
            if (found := day_of(dt.datetime.fromisoformat(when))) != day:
                wrong.append((zone, when, found))

        assert wrong == []

    def test_naive_datetime_is_in_the_time_zone_of_the_site(self, settings):
        settings.TIME_ZONE = "Asia/Tokyo"
        settings.AI_USAGE_DAY_TIMEZONE = "UTC"

        assert day_of(dt.datetime(2026, 3, 15, 8, 59)) == dt.date(2026, 3, 14)  # noqa: DTZ001

    def test_activated_zone_has_no_effect(self):
        when = dt.datetime(2026, 3, 14, 12, tzinfo=dt.UTC)

        with timezone.override("Pacific/Kiritimati"):
            assert day_of(when) == dt.date(2026, 3, 14)
