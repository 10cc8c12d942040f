"""`flush_ai_usage --forget` removes the user from all outbox files and loses no call."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.db import transaction

from tests.support.builders import accept_section, make_event, make_user, refuse_section
from tests.support.children import make_site
from tests.support.commands import run_command
from tests.support.sites import manage
from tests.support.threads import run_in_threads
from tests.support.waiting import wait_until
from usage_tracking import outbox
from usage_tracking.delivery import delivery
from usage_tracking.events import utc_now
from usage_tracking.models import AIUsageLog
from usage_tracking.outbox import MemoryOutbox, Outbox, dead_letters
from usage_tracking.outbox.memory import Others

pytestmark = pytest.mark.django_db


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "outbox"


@pytest.fixture
def box(directory: Path, settings: Any, monkeypatch: pytest.MonkeyPatch) -> MemoryOutbox:
    settings.AI_USAGE_OUTBOX = directory
    monkeypatch.setattr(outbox, "inline", lambda: False)
    return outbox.get()


@pytest.fixture
def running(directory: Path, box: MemoryOutbox) -> Iterator[MemoryOutbox]:
    """The outbox of another running process."""
    other = Outbox(directory)
    yield other
    other.close()


def content(directory: Path) -> str:
    return "".join(path.read_text() for path in directory.glob("*.jsonl"))


def drain(box: MemoryOutbox) -> list[Any]:
    return [event for batch in box.batches(100, lambda event: False) for event in batch]


@pytest.mark.parametrize("by", ["name", "key"])
def test_undelivered_calls_are_kept_without_the_user(box, by):
    ada, bob = make_user("ada"), make_user("bob")
    for user in (ada, bob, ada):
        box.put(make_event(user=user))

    assert run_command("flush_ai_usage", "--forget", "ada" if by == "name" else str(ada.pk)) == (
        0,
        "2 outbox lines kept without their user\n3 calls delivered\n",
        "",
    )
    assert sorted(str(log.user) for log in AIUsageLog.objects.all()) == ["None", "None", "bob"]


@pytest.mark.parametrize("wanted", ["ada", "77", "username=ada", "pk=77"])
def test_deleted_user_can_be_forgotten(box, directory, wanted):
    event = make_event(user_id="77", username="ada", created_at=utc_now())
    box.put(event)
    run_command("flush_ai_usage")  # deferred: the user may still be created
    assert "ada" in content(directory)
    delivery.after_fork()  # as in a new process, which has not searched for the user recently

    assert run_command("flush_ai_usage", "--forget", wanted).code == 0

    assert '"ada"' not in content(directory)
    assert AIUsageLog.objects.get().pk == event.id


def test_file_of_a_running_process_is_changed_in_place(box, running, directory):
    events = [make_event(user_id="77", username=name) for name in ("ada", "ada", "bob")]
    for event in events[:2]:
        running.put(event)
    size = running.size()

    assert box.forget(lambda user_id, username: username == "ada") == 2

    assert running.size() == size
    running.put(events[2])
    assert '"ada"' not in content(directory)
    found = drain(running)
    assert [(e.id, e.user_id, e.username) for e in found] == [
        (events[0].id, None, ""),
        (events[1].id, None, ""),
        (events[2].id, "77", "bob"),
    ]


@pytest.mark.slow
def test_running_process_that_writes_and_reads_meanwhile_loses_no_event(box, running):
    count = 400
    stop = threading.Event()
    rounds: list[int] = []

    def forget() -> None:
        while not stop.is_set():
            rounds.append(box.forget(lambda user_id, username: username == "ada"))

    def write_and_read() -> None:
        try:
            for number in range(count):
                running.put(make_event(user_id="77", username="ada", metadata={"number": number}))
                if number % 20 == 19:
                    seen = len(rounds)
                    wait_until(lambda seen=seen: len(rounds) > seen, awaited="another round")
                    found.extend(drain(running))
        finally:
            stop.set()

    found: list[Any] = []
    run_in_threads(forget, write_and_read)

    assert [event.metadata["number"] for event in found] == list(range(count))
    assert running.unreadable == 0
    assert sum(rounds) > 0


def test_dead_letters_lose_the_user_and_the_database_error(box, directory):
    ada, bob = make_user("ada.lovelace"), make_user("bob")
    refuse_section("poison")
    for user in (ada, bob):
        box.put(make_event(user=user, section="poison"))
    run_command("flush_ai_usage")

    code, out, _ = run_command("flush_ai_usage", "--forget", "ada.lovelace")

    assert (code, out) == (
        0,
        "1 outbox lines kept without their user\n0 calls delivered\n",
    )
    first, second = box.dead_letters()
    assert "ada.lovelace" not in content(directory)
    assert "user_id" not in first.event
    assert "\n" not in first.reason
    assert second.event["username"] == "bob"
    accept_section("poison")
    assert run_command("flush_ai_usage", "--retry-dead").code == 0
    assert sorted(str(log.user) for log in AIUsageLog.objects.all()) == ["None", "bob"]


def test_files_of_other_databases_are_not_changed_and_are_reported(box, running, directory):
    dead = Outbox(directory)
    dead.put(make_event(user_id="77", username="ada"))
    dead.close()
    (path,) = directory.glob("*.jsonl")
    path.write_bytes(path.read_bytes().replace(b"database", b"databank", 1))
    running.put(make_event())

    assert run_command("flush_ai_usage", "--forget", "ada").out == (
        "0 outbox lines kept without their user\n0 calls delivered\n"
        "1 files belong to living processes, which deliver them\n"
        "1 files belong to other databases; flush them with the settings of those databases, or "
        "take them over: flush_ai_usage --adopt --all\n"
    )
    assert "ada" in path.read_text()
    assert box.other_segments() == Others(living=1, elsewhere=1)


def test_username_that_is_another_users_key_is_ambiguous(box):
    one = make_user("one")
    other = make_user(str(one.pk))
    for user in (one, other):
        box.put(make_event(user=user))

    ended = run_command("flush_ai_usage", "--forget", str(one.pk))

    assert ended == (
        2,
        "",
        f"{one.pk} is the username of one user and the primary key of another: "
        f"use username={one.pk} or pk={one.pk}\n",
    )
    assert run_command("flush_ai_usage", "--forget", f"username={one.pk}").code == 0
    assert [str(user) for user in AIUsageLog.objects.values_list("user__username", flat=True)] in (
        [["one", "None"], ["None", "one"]]
    )


def test_user_is_forgotten_in_memory_too(settings):
    settings.AI_USAGE_OUTBOX = None
    with transaction.atomic():
        outbox.get().put(make_event(user_id="77", username="ada"))

    assert outbox.get().forget(lambda user_id, username: user_id == "77") == 1
    (event,) = drain(outbox.get())
    assert (event.user_id, event.username) == (None, "")


def test_incomplete_and_unknown_lines_are_not_changed(box, directory):
    dead = Outbox(directory)
    dead.put(make_event(user_id="77", username="ada"))
    dead.close()
    (path,) = directory.glob("*.jsonl")
    strange = b'[1]\n"x"\n\xff\xfe\n{"user_id": 5}\n{"id": "to'
    path.write_bytes(path.read_bytes() + strange)
    (directory / dead_letters.FILE).write_bytes(strange)

    assert box.forget(lambda user_id, username: username == "ada") == 1

    assert path.read_bytes().endswith(strange)
    assert (directory / dead_letters.FILE).read_bytes() == strange


def test_database_is_chosen_by_the_routers(box):
    box.put(make_event())

    assert run_command("flush_ai_usage", "--database", "default").out == "1 calls delivered\n"


@pytest.mark.process
def test_another_database_is_refused(tmp_path: Path):
    env = make_site(
        tmp_path,
        """
        DATABASES["other"] = DATABASES["default"] | {"NAME": str(BASE_DIR / "other.sqlite3")}
        """,
    )
    assert manage("flush_ai_usage", "--database", "other", env=env, directory=tmp_path) == (
        2,
        "",
        "CommandError: Calls are delivered to the database 'default', which DATABASE_ROUTERS "
        "choose. The calls in the outbox belong to it.\n",
    )
