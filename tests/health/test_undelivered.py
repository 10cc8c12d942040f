"""The functions behind `diagnose_ai_usage`."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from tests.support.builders import NOON, make_event, make_user
from tests.support.sites import make_calls
from usage_tracking import outbox, places
from usage_tracking.health import Finding, Result, Thresholds, activity, diagnose, undelivered
from usage_tracking.health.findings import failed, manage, ok
from usage_tracking.health.undelivered import Snapshot
from usage_tracking.outbox import Outbox

PROBLEM = Finding("problem", "drift", "They differ.", "Rebuild them.")


@pytest.fixture
def box(tmp_path: Path, settings: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    settings.AI_USAGE_OUTBOX = tmp_path / "outbox"
    monkeypatch.setattr(outbox, "inline", lambda: False)
    yield tmp_path / "outbox"
    outbox.get().close()


def test_result_lists_its_problems():
    result = Result("Checking", (ok("fine", "It is fine."), PROBLEM))

    assert result.problems == [PROBLEM]
    assert not result.cannot_run
    assert Result("Checking", (Finding("problem", "not_migrated", "No table"),)).cannot_run


def test_text_of_a_finding_is_one_line():
    assert ok("code", "a\nb").text == "a\\nb"
    assert failed(ValueError("first\nsecond")) == "ValueError: first"
    assert failed(ValueError()) == "ValueError"


def test_command_line_names_a_database_other_than_the_default():
    assert manage("migrate", "default") == "python manage.py migrate"
    assert manage("migrate", "other") == "python manage.py migrate --database other"


class TestSnapshot:
    def test_site_without_an_outbox(self, db):
        assert undelivered.snapshot() == Snapshot(None)

    def test_unused_outbox_is_empty_and_not_created(self, box):
        assert undelivered.snapshot() == Snapshot(box)
        assert not box.exists()

    def test_distinguishes_files_of_living_and_dead_processes(self, box):
        living, dead = Outbox(box), Outbox(box)
        for _ in range(3):
            living.put(make_event())
        dead.put(make_event())
        dead.close()

        found = undelivered.snapshot()
        assert replace(found, idle=0) == Snapshot(box, events=4, oldest=NOON, orphans=1, orphaned=1)
        living.close()

    def test_ages_are_of_the_oldest(self, box):
        for at in (NOON, NOON - timedelta(minutes=5), NOON + timedelta(minutes=5)):
            dead = Outbox(box)
            dead.put(make_event(created_at=at))
            dead.close()
        _, old, _ = sorted(box.glob("*.jsonl"))
        os.utime(old, (0, 1_000_000_000))

        found = undelivered.snapshot()

        assert found.oldest == NOON - timedelta(minutes=5)
        assert found.idle > 700_000_000

    def test_unreadable_line_has_no_age(self, box, subtests):
        dead = Outbox(box)
        dead.put(make_event())
        dead.close()
        (path,) = box.glob("*.jsonl")
        header = path.read_bytes().splitlines(keepends=True)[0]

        for first in (b"", b"noise\n"):
            with subtests.test(repr(first)):
                path.write_bytes(header + first)

                assert undelivered.snapshot().oldest is None

    def test_leaves_the_file_for_delivery(self, box):
        dead = Outbox(box)
        dead.put(make_event())
        dead.close()

        undelivered.snapshot()

        assert outbox.get().adopt_orphans() == 1

    def test_files_of_another_database_are_listed_apart(self, box, monkeypatch):
        other = Outbox(box)
        with monkeypatch.context() as patched:
            patched.setattr(places, "identity", lambda alias: "another")
            other.put(make_event())
        other.close()

        (path,) = box.glob("*.jsonl")
        assert undelivered.snapshot() == Snapshot(box, foreign=((path.name, "another"),))

    def test_dead_letters_are_counted_with_the_first_reason(self, box):
        outbox.get().dead_letter(make_event(), "first")
        outbox.get().dead_letter(make_event(), "second")

        assert undelivered.snapshot() == Snapshot(box, dead_letters=2, reason="first")


@pytest.mark.server
@pytest.mark.django_db
def test_number_of_statements_does_not_depend_on_the_number_of_calls(settings):
    settings.AI_USAGE_SECTIONS = {"chat": "Chat", "other": "Other"}
    user = make_user("ada")

    def statements() -> int:
        with CaptureQueriesContext(connection) as queries:
            list(diagnose(using="default", sdks=False))
        return len(queries)

    make_calls(user, 1)
    few = statements()
    make_calls(user, 500)

    assert statements() == few


@pytest.mark.django_db
def test_silence_is_measured_by_the_threshold():
    make_calls(make_user(), 1, minutes=90)

    def codes(hours: float) -> set[str]:
        limits = Thresholds(max_silence=hours)
        return {finding.code for finding in activity.recent("default", limits).findings}

    assert "silence" in codes(1.4)
    assert "active" in codes(1.6)
