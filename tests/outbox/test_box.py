"""The outbox keeps each event until it is stored, even if processes die."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from textwrap import dedent
from uuid import UUID

import pytest
from freezegun import freeze_time
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from tests.support.builders import NOON, make_event
from tests.support.children import make_site, run_python
from tests.support.threads import run_in_threads
from tests.support.waiting import awaiting_output, run, wait_until
from usage_tracking import outbox, places
from usage_tracking.events import UsageEvent
from usage_tracking.outbox import MemoryOutbox, Outbox
from usage_tracking.outbox.dead_letters import DeadLetter
from usage_tracking.outbox.segments import Segment, paths
from usage_tracking.system import files


def nothing(event: UsageEvent) -> bool:
    return False


def drain(
    box: MemoryOutbox, limit: int = 500, defers: Callable[[UsageEvent], bool] = nothing
) -> list[UsageEvent]:
    """Take all events that are ready, as if they were stored."""
    return [event for batch in box.batches(limit, defers) for event in batch]


def segments(directory: Path) -> list[Path]:
    return paths(directory)


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "outbox"


@pytest.fixture
def box(directory: Path) -> Iterator[Outbox]:
    box = Outbox(directory)
    yield box
    box.close()


@pytest.fixture
def crash(box: Outbox, directory: Path) -> Callable[[], Outbox]:
    """Release the locks of `box`, as the kernel does when a process dies, and open a new outbox."""

    def crash() -> Outbox:
        box.close()
        return Outbox(directory)

    return crash


@pytest.fixture(params=["disk", "memory"])
def any_box(request: pytest.FixtureRequest, directory: Path) -> Iterator[MemoryOutbox]:
    box = Outbox(directory) if request.param == "disk" else MemoryOutbox()
    yield box
    box.close()


class TestBatches:
    def test_new_outbox_is_empty(self, any_box):
        assert any_box.is_empty()
        assert drain(any_box) == []

    def test_event_is_returned_unchanged(self, any_box):
        event = make_event(
            user_id="7", username="ada", metadata={"a": ["ä", None]}, error_message="a\nb"
        )

        any_box.put(event)

        assert not any_box.is_empty()
        assert drain(any_box) == [event]

    def test_events_are_returned_once_and_in_order(self, any_box):
        events = [make_event() for _ in range(10)]
        for event in events:
            any_box.put(event)

        assert drain(any_box) == events
        assert any_box.is_empty()
        assert drain(any_box) == []

    def test_batches_do_not_exceed_the_given_size(self, any_box):
        events = [make_event() for _ in range(10)]
        for event in events:
            any_box.put(event)

        assert list(any_box.batches(4, nothing)) == [events[:4], events[4:8], events[8:]]

    def test_batch_longer_than_a_disk_block_is_complete(self, any_box):
        events = [make_event(error_message=str(number) * 400) for number in range(900)]
        for event in events:
            any_box.put(event)

        assert drain(any_box) == events

    def test_batch_is_returned_again_after_its_consumer_fails(self, any_box):
        events = [make_event() for _ in range(9)]
        for event in events:
            any_box.put(event)

        with pytest.raises(ConnectionError):
            fail_at(any_box, batch=2, limit=3)

        assert not any_box.is_empty()
        assert drain(any_box) == events[3:]

    def test_failed_batch_stays_in_the_outbox_with_later_events(self, any_box):
        first, second = make_event(), make_event()
        any_box.put(first)
        with pytest.raises(ConnectionError):
            fail_at(any_box, batch=1)
        any_box.put(second)

        assert drain(any_box) == [first, second]

    def test_event_put_during_a_delivery_is_returned_by_the_next(self, any_box):
        first, second = make_event(), make_event()
        any_box.put(first)

        for batch in any_box.batches(500, nothing):
            assert batch == [first]
            any_box.put(second)

        assert drain(any_box) == [second]

    def test_deferred_event_stays_in_the_outbox(self, any_box):
        events = [make_event() for _ in range(5)]
        for event in events:
            any_box.put(event)

        ready = drain(any_box, defers=lambda event: event.id == events[2].id)

        assert ready == [*events[:2], *events[3:]]
        assert not any_box.is_empty()
        assert drain(any_box) == [events[2]]
        assert any_box.is_empty()

    def test_only_deferred_events_return_no_batch_and_do_not_loop_endlessly(self, any_box):
        events = [make_event() for _ in range(5)]
        for event in events:
            any_box.put(event)

        for _ in range(3):
            assert drain(any_box, limit=2, defers=lambda event: True) == []

        assert drain(any_box) == events

    def test_deferred_event_of_a_failed_batch_is_returned_once(self, any_box):
        events = [make_event() for _ in range(4)]
        for event in events:
            any_box.put(event)

        with pytest.raises(ConnectionError):
            fail_at(any_box, batch=1, defers=lambda event: event.id == events[0].id)

        assert sorted(event.id for event in drain(any_box)) == sorted(e.id for e in events)

    def test_last_amendment_of_an_event_is_returned(self, box):
        event = make_event()
        amended = event.amended(section="other")
        for line in (event, amended, amended.amended(success=False)):
            box.put(line)

        (out,) = drain(box)

        assert (out.id, out.section, out.success, out.revision) == (event.id, "other", False, 2)

    def test_clear_removes_events_from_memory(self):
        box = MemoryOutbox()
        box.put(make_event())

        box.clear()

        assert box.is_empty()
        assert drain(box) == []


class TestFiles:
    def test_only_the_owner_may_read(self, box, directory):
        box.put(make_event())

        assert directory.stat().st_mode & 0o777 == 0o700
        assert [path.stat().st_mode & 0o777 for path in segments(directory)] == [0o600]

    def test_open_umask_changes_nothing(self, box, directory):
        before = os.umask(0)
        try:
            box.put(make_event())
        finally:
            os.umask(before)

        assert directory.stat().st_mode & 0o777 == 0o700
        assert [path.stat().st_mode & 0o777 for path in segments(directory)] == [0o600]

    def test_git_ignores_the_directory(self, box, directory):
        box.put(make_event())

        assert (directory / ".gitignore").read_text() == "*\n"

    def test_existing_directory_is_not_changed(self, directory):
        directory.mkdir(mode=0o750)
        box = Outbox(directory)

        box.put(make_event())

        assert directory.stat().st_mode & 0o777 == 0o750
        assert len(drain(box)) == 1
        box.close()

    def test_missing_parents_are_created(self, tmp_path):
        box = Outbox(tmp_path / "a" / "b" / "outbox")

        box.put(make_event())

        assert len(segments(tmp_path / "a" / "b" / "outbox")) == 1
        box.close()

    def test_no_file_is_created_before_the_first_event(self, box, directory):
        assert box.is_empty()
        assert box.size() == 0
        assert box.adopt_orphans() == 0
        assert box.dead_letters() == []
        assert not directory.exists()

    def test_event_is_one_line_below_a_header_that_names_the_database(self, box, directory):
        event = make_event(error_message="a\nb\r\u2028c")
        box.put(event)

        (path,) = segments(directory)
        header, line, end = path.read_bytes().split(b"\n")
        assert json.loads(header) == {"outbox": 2, "database": places.identity("default")}
        assert UsageEvent.from_json(line) == event
        assert end == b""

    def test_file_is_locked_while_its_process_runs(self, box, directory):
        box.put(make_event())
        (path,) = segments(directory)

        with path.open() as other, pytest.raises(BlockingIOError):
            fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def test_delivered_file_is_removed(self, box, directory):
        box.put(make_event())

        drain(box)

        assert segments(directory) == []

    def test_directory_is_recreated_after_it_is_removed(self, box, directory):
        box.put(make_event())
        for path in directory.iterdir():
            path.unlink()
        directory.rmdir()
        lost = drain(box)

        box.put(make_event())

        assert len(lost) == 1, "the file was still open"
        assert len(segments(directory)) == 1
        assert len(drain(box)) == 1

    def test_size_includes_all_files(self, box, directory):
        box.put(make_event())
        (directory / "other.jsonl").write_bytes(b"x" * 1000)

        own = sum(path.stat().st_size for path in segments(directory)) - 1000
        assert box.size() == own + 1000


class TestDamage:
    """Lines that no release of this package wrote, or that a dying process left incomplete."""

    def damage(self, crash: Callable[[], Outbox], directory: Path, content: bytes) -> Outbox:
        successor = crash()
        (path,) = segments(directory)
        with path.open("ab") as file:
            file.write(content)
        assert successor.adopt_orphans() == 1
        return successor

    @pytest.mark.parametrize("cut", [1, 20, 200, -1])
    def test_incomplete_last_line_is_skipped(self, box, crash, directory, caplog, cut):
        event = make_event()
        box.put(event)
        torn = make_event().to_json().encode()[:cut]

        successor = self.damage(crash, directory, torn)

        assert drain(successor) == [event]
        assert successor.unreadable == 1
        assert caplog.messages == [
            f"[TRACK_WARNING] Outbox: skipped an unreadable line of {len(torn)} bytes"
        ]
        assert segments(directory) == []

    def test_last_line_without_its_line_break_is_read(self, box, crash, directory):
        event, last = make_event(), make_event()
        box.put(event)

        successor = self.damage(crash, directory, last.to_json().encode())

        assert drain(successor) == [event, last]

    @pytest.mark.parametrize(
        "line",
        [
            b"",
            b"\0\0\0\0",
            b"not json",
            b"null",
            b"[]",
            b"{}",
            b'"text"',
            b"\xff\xfe",
            b"[" * 100_000,
            b'{"id":' * 50_000,
            b'{"id": "no uuid", "created_at": "2026-03-14T12:00:00+00:00"}',
            b'{"id": "019ced3c6a007000800000000000000a"}',
            b'{"id": "019ced3c6a007000800000000000000a", "created_at": "2026-03-14T12:00:00"}',
            b'{"id": "019ced3c6a007000800000000000000a", "created_at": "yesterday"}',
            b'{"id": 7, "created_at": "2026-03-14T12:00:00+00:00"}',
            b'{"id": "019ced3c6a007000800000000000000a", "created_at": 7}',
            b'{"outbox": 1, "database": "header in the middle"}',
        ],
        ids=lambda line: repr(line[:60]),
    )
    def test_garbage_between_events_is_skipped(self, box, crash, directory, line):
        first, last = make_event(), make_event()
        box.put(first)

        content = line + b"\n" + last.to_json().encode() + b"\n"
        successor = self.damage(crash, directory, content)

        assert drain(successor) == [first, last]
        assert successor.unreadable == 1

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("success", 1),
            ("section", 5),
            ("metadata", []),
            ("metadata", "text"),
            ("user_id", 7),
        ],
    )
    def test_value_of_another_type_is_skipped(self, box, crash, directory, name, value):
        event = make_event()
        box.put(event)
        wrong = json.loads(make_event().to_json()) | {name: value}

        successor = self.damage(crash, directory, json.dumps(wrong).encode() + b"\n")

        assert drain(successor) == [event]

    @pytest.mark.parametrize(
        ("name", "value"),
        [("prompt_tokens", "150"), ("prompt_tokens", 10**30), ("cost", "cheap"), ("cost", [])],
    )
    def test_call_with_a_value_that_cannot_be_true_is_kept(
        self, box, crash, directory, name, value
    ):
        box.put(event := make_event())
        wrong = make_event()
        line = json.loads(wrong.to_json()) | {name: value}

        successor = self.damage(crash, directory, json.dumps(line).encode() + b"\n")

        first, second = drain(successor)
        assert (first, second.id) == (event, wrong.id)
        assert list(second.metadata["clamped"]) == [name]

    def test_file_of_garbage_returns_no_batch_and_is_removed(self, box, crash, directory):
        box.put(make_event())
        drain(box)
        box.put(make_event())
        successor = crash()
        (path,) = segments(directory)
        header = path.read_bytes().partition(b"\n")[0]
        path.write_bytes(header + b"\n" + b"garbage\n" * 1200)
        successor.adopt_orphans()

        assert list(successor.batches(500, nothing)) == []
        assert segments(directory) == []
        assert successor.is_empty()

    def test_unknown_keys_of_a_newer_release_are_kept(self, box, crash, directory):
        event = make_event()
        newer = json.loads(event.to_json()) | {"energy_joule": 12, "region": None}
        box.put(make_event())

        successor = self.damage(crash, directory, json.dumps(newer).encode() + b"\n")
        others = drain(successor, defers=lambda other: other.id == event.id)
        (out,) = drain(successor)

        assert len(others) == 1
        assert json.loads(out.to_json()) == newer


class TestOrphans:
    def test_file_of_a_dead_process_is_adopted(self, box, crash):
        events = [make_event() for _ in range(3)]
        for event in events:
            box.put(event)

        successor = crash()

        assert successor.is_empty()
        assert successor.adopt_orphans() == 1
        assert not successor.is_empty()
        assert drain(successor) == events

    def test_file_of_a_running_process_is_not_adopted(self, box, directory):
        event = make_event()
        box.put(event)
        other = Outbox(directory)

        assert other.adopt_orphans() == 0
        assert sum(other.other_segments()) == 1
        assert drain(other) == []
        assert drain(box) == [event]

    def test_own_files_are_not_foreign(self, box):
        box.put(make_event())
        with pytest.raises(ConnectionError):
            fail_at(box, batch=1)
        box.put(make_event())

        assert sum(box.other_segments()) == 0
        assert box.adopt_orphans() == 0

    def test_file_of_another_database_is_not_adopted(self, box, crash, directory):
        box.put(make_event())
        successor = crash()
        (path,) = segments(directory)
        content = path.read_bytes().replace(b"database", b"databank", 1)
        path.write_bytes(content)

        assert successor.adopt_orphans() == 0
        assert sum(successor.other_segments()) == 1
        assert drain(successor) == []
        assert path.read_bytes() == content

    def test_file_without_a_header_is_not_adopted(self, directory):
        directory.mkdir()
        (directory / "notes.jsonl").write_text("mine\n")
        box = Outbox(directory)

        assert box.adopt_orphans() == 0
        assert (directory / "notes.jsonl").read_text() == "mine\n"

    def test_orphan_without_events_is_removed(self, box, crash, directory):
        box.put(make_event())
        successor = crash()
        (path,) = segments(directory)
        path.write_bytes(path.read_bytes().partition(b"\n")[0] + b"\n")

        assert successor.adopt_orphans() == 1
        assert drain(successor) == []
        assert segments(directory) == []

    def test_delivered_part_of_an_orphan_is_returned_again(self, box, crash):
        events = [make_event() for _ in range(4)]
        for event in events:
            box.put(event)
        with pytest.raises(ConnectionError):
            fail_at(box, batch=2, limit=2)

        successor = crash()
        successor.adopt_orphans()

        assert drain(successor) == events

    @pytest.mark.parametrize(("age", "left"), [(0, True), (59, True), (3600, False)])
    def test_unfinished_file_is_removed_later(self, box, directory, age, left):
        directory.mkdir()
        path = directory / "half.new"
        path.touch()
        with freeze_time(NOON):
            os.utime(path, (time.time() - age, time.time() - age))
            box.adopt_orphans()

        assert path.exists() == left

    def test_file_that_disappears_meanwhile_is_skipped(self, directory):
        directory.mkdir()
        (directory / "gone.jsonl").symlink_to(directory / "delivered by its owner")
        box = Outbox(directory)

        assert box.adopt_orphans() == 0
        assert box.size() == 0

    def test_outbox_in_memory_has_no_orphans(self):
        assert MemoryOutbox().adopt_orphans() == 0
        assert sum(MemoryOutbox().other_segments()) == 0
        assert MemoryOutbox().size() == 0

    @pytest.mark.process
    def test_killed_process_loses_no_event(self, directory, tmp_path, database_url):
        code = (
            "import sys, time, django; django.setup()\n"
            "from pathlib import Path\n"
            "from tests.support.builders import make_event\n"
            "from usage_tracking.outbox import Outbox\n"
            "box = Outbox(Path(sys.argv[1]))\n"
            "while True:\n"
            "    event = make_event()\n"
            "    box.put(event)\n"
            "    print(event.id, flush=True)\n"
        )
        stderr_path = tmp_path / "stderr"
        with (
            stderr_path.open("w") as errors,
            subprocess.Popen(
                [sys.executable, "-c", code, directory],
                env=make_site(tmp_path) | {"DATABASE_URL": database_url},
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
            ) as process,
            awaiting_output(process),
        ):
            assert process.stdout is not None
            put = [process.stdout.readline().strip() for _ in range(50)]
            assert all(put), (process.poll(), put, stderr_path.read_text())
            box = Outbox(directory)
            assert box.adopt_orphans() == 0, "the process still runs"
            assert sum(box.other_segments()) == 1
            process.send_signal(signal.SIGKILL)
            put += [line.strip() for line in process.stdout if line.endswith("\n")]
        assert process.returncode == -signal.SIGKILL, stderr_path.read_text()

        assert box.adopt_orphans() == 1, (put[-3:], stderr_path.read_text())
        found = [str(event.id) for event in drain(box)]
        # The process may die between put and print, or inside a line that crosses a page.
        assert found[: len(put)] == put
        assert len(found) - len(put) + box.unreadable <= 1


class TestForks:
    @pytest.mark.process
    def test_child_has_its_own_file(self, tmp_path):
        printed = run_python(
            tmp_path,
            """
            import os
            from django.conf import settings
            from pathlib import Path
            from tests.support.builders import make_event
            from usage_tracking import outbox

            box, directory = outbox.get(), Path(settings.AI_USAGE_OUTBOX)
            box.put(make_event(section="parent"))
            child = os.fork()
            if not child:
                mine = outbox.get()
                print("child", mine.is_empty(), mine.adopt_orphans(), sum(mine.other_segments()))
                mine.put(make_event(section="child"))
                print(len(list(directory.glob("*.jsonl"))), flush=True)
                os._exit(0)
            os.waitpid(child, 0)
            box.put(make_event(section="parent"))
            print("parent", box.adopt_orphans())
            events = [e.section for batch in box.batches(9, lambda e: False) for e in batch]
            print(events, box.unreadable, list(directory.glob("*.jsonl")))
            """,
        )

        assert printed.splitlines() == [
            "child True 0 1",
            "2",
            "parent 1",
            "['child', 'parent', 'parent'] 0 []",
        ]

    @pytest.mark.process
    def test_child_of_a_fork_outside_python_has_its_own_file(self, tmp_path):
        """uWSGI forks outside Python. Both processes would write to the same place in one file."""
        printed = run_python(
            tmp_path,
            """
            import ctypes, os
            from tests.support.builders import make_event
            from usage_tracking import outbox

            box = outbox.get()
            box.put(make_event(section="parent"))
            child = ctypes.PyDLL(None).fork()
            if not child:
                box.put(make_event(section="child"))
                os._exit(0)
            os.waitpid(child, 0)
            box.put(make_event(section="parent"))
            box.adopt_orphans()
            print([e.section for batch in box.batches(9, lambda e: False) for e in batch])
            """,
        )

        assert printed == "['child', 'parent', 'parent']\n"

    @pytest.mark.process
    def test_events_in_memory_stay_with_the_parent(self, tmp_path):
        printed = run_python(
            tmp_path,
            """
            import os
            from tests.support.builders import make_event
            from usage_tracking import outbox

            outbox.get().put(make_event())
            child = os.fork()
            if not child:
                print("child", outbox.get().is_empty(), flush=True)
                os._exit(0)
            os.waitpid(child, 0)
            print("parent", outbox.get().is_empty())
            """,
            settings="AI_USAGE_OUTBOX = None",
        )

        assert printed == "child True\nparent False\n"

    @pytest.mark.process
    def test_child_does_not_hold_the_lock_of_a_dead_parent(self, tmp_path, database_url):
        code = """
        import os, signal, time
        import django; django.setup()
        from tests.support.builders import make_event
        from usage_tracking import outbox

        outbox.get().put(make_event(section="parent"))
        parent = os.getpid()
        if child := os.fork():
            os.waitpid(child, 0)  # until it kills us
        os.kill(parent, signal.SIGKILL)
        while os.getppid() == parent:
            time.sleep(0.01)
        print("orphans", outbox.get().adopt_orphans(), flush=True)
        """
        ended = run(
            [sys.executable, "-W", "error", "-c", dedent(code)],
            cwd=tmp_path,
            env=make_site(tmp_path) | {"DATABASE_URL": database_url},
        )
        assert (ended.returncode, ended.stdout) == (-signal.SIGKILL, "orphans 1\n"), ended.stderr

        box = Outbox(tmp_path / "outbox")
        # A child that ends closes its output before its files.
        wait_until(box.adopt_orphans, awaited="the end of the child", seen=box.other_segments)
        assert [event.section for event in drain(box)] == ["parent"]


class TestFullDisk:
    def test_unwritable_directory_keeps_events_in_memory_and_logs_one_error(self, tmp_path, caplog):
        (tmp_path / "file").write_text("no directory")
        box = Outbox(tmp_path / "file" / "outbox")
        events = [make_event() for _ in range(5)]

        for event in events:
            box.put(event)

        (record,) = caplog.records
        assert record.levelname == "ERROR"
        assert record.getMessage().startswith(
            f"[TRACK_ERROR] Outbox: cannot write to {tmp_path / 'file' / 'outbox'}: "
        )
        assert record.getMessage().endswith("; kept in memory")
        assert not box.is_empty()
        assert drain(box) == events

    @pytest.mark.slow
    def test_error_is_logged_again_after_a_minute(self, tmp_path, caplog):
        (tmp_path / "file").write_text("no directory")
        with freeze_time(NOON) as clock:
            box = Outbox(tmp_path / "file" / "outbox")
            for _ in range(4):
                box.put(make_event())
                clock.tick(31)

        assert len(caplog.records) == 2

    def test_directory_is_used_once_it_is_writable(self, tmp_path):
        blocked = tmp_path / "outbox"
        blocked.write_text("no directory")
        box = Outbox(blocked)
        first, second = make_event(), make_event()
        box.put(first)
        blocked.unlink()

        box.put(second)

        assert len(segments(blocked)) == 1
        assert sorted(event.id for event in drain(box)) == sorted([first.id, second.id])
        box.close()

    @pytest.mark.process
    def test_full_disk_loses_and_duplicates_no_event(self, tmp_path):
        printed = run_python(
            tmp_path,
            """
            import logging, resource, signal
            from pathlib import Path
            from tests.support.builders import make_event
            from usage_tracking.outbox import Outbox

            logging.basicConfig(format="%(levelname)s %(message)s")
            logging.getLogger("ai_usage_tracker").handlers = [logging.NullHandler()]
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            box = Outbox(Path("outbox").absolute())
            before = [make_event() for _ in range(3)]
            for event in before:
                box.put(event)
            resource.setrlimit(resource.RLIMIT_FSIZE, (1500, resource.RLIM_INFINITY))
            full = [make_event(error_message="x" * 400) for _ in range(20)]
            for event in full:
                box.put(event)
            resource.setrlimit(resource.RLIMIT_FSIZE, (2**40, resource.RLIM_INFINITY))
            after = [make_event() for _ in range(3)]
            for event in after:
                box.put(event)
            found = [e.id for batch in box.batches(7, lambda e: False) for e in batch]
            print(sorted(found) == sorted(e.id for e in before + full + after), box.is_empty())
            """,
            PYTHONDONTWRITEBYTECODE="yes",  # otherwise bytecode files would be truncated too
        )

        assert printed == "True True\n"

    @pytest.mark.process
    def test_disk_full_from_the_start_leaves_no_partial_file(self, tmp_path):
        printed = run_python(
            tmp_path,
            """
            import logging, resource, signal
            from pathlib import Path
            from tests.support.builders import make_event
            from usage_tracking.outbox import Outbox

            logging.getLogger("ai_usage_tracker").handlers = [logging.NullHandler()]
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            directory = Path("outbox").absolute()
            directory.mkdir()
            box = Outbox(directory)
            resource.setrlimit(resource.RLIMIT_FSIZE, (10, resource.RLIM_INFINITY))
            events = [make_event() for _ in range(3)]
            for event in events:
                box.put(event)
            resource.setrlimit(resource.RLIMIT_FSIZE, (2**40, resource.RLIM_INFINITY))
            print(list(directory.iterdir()))
            found = [e for batch in box.batches(7, lambda e: False) for e in batch]
            print(found == events)
            """,
            PYTHONDONTWRITEBYTECODE="yes",
        )

        assert printed == "[]\nTrue\n"

    @pytest.fixture
    def _small(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(outbox.limits, "CAPACITY", 4000)
        monkeypatch.setattr(outbox.limits, "UNCHECKED", 0)

    @pytest.mark.usefixtures("_small")
    def test_full_outbox_drops_events_and_logs_how_many(self, directory, caplog):
        with freeze_time(NOON) as clock:
            box = Outbox(directory)
            events = [make_event() for _ in range(30)]
            for event in events:
                box.put(event)
            clock.tick(61)
            box.put(make_event())

        assert 0 < box.dropped < 30
        assert caplog.messages == [
            "[TRACK_ERROR] Outbox: the outbox is full (4000 bytes); 1 events dropped so far",
            f"[TRACK_ERROR] Outbox: the outbox is full (4000 bytes); "
            f"{box.dropped} events dropped so far",
        ]
        assert box.size() <= 4000
        assert drain(box) == events[: 31 - box.dropped]
        box.close()

    @pytest.mark.slow
    @pytest.mark.usefixtures("_small")
    def test_full_outbox_accepts_events_once_there_is_room(self, directory):
        with freeze_time(NOON) as clock:
            box = Outbox(directory)
            while not box.dropped:
                box.put(make_event())
            drain(box)
            clock.tick(1.1)
            event = make_event()
            box.put(event)

        assert drain(box) == [event]
        box.close()

    @pytest.mark.usefixtures("_small")
    def test_deferred_event_is_not_dropped_from_a_full_outbox(self, directory):
        box = Outbox(directory)
        while not box.dropped:
            box.put(make_event())
        waiting = drain(box, defers=lambda event: True)

        assert waiting == []
        assert len(drain(box)) > 5
        box.close()

    def test_full_memory_drops_the_oldest_events_and_logs_how_many(self, monkeypatch, caplog):
        monkeypatch.setattr(outbox.limits, "MEMORY_CAPACITY", 3)
        box = MemoryOutbox()
        events = [make_event() for _ in range(5)]

        for event in events:
            box.put(event)

        assert box.dropped == 2
        assert caplog.messages == [
            "[TRACK_ERROR] Outbox: more than 3 events in memory; 1 events dropped so far"
        ]
        assert drain(box) == events[2:]


class TestDeadLetters:
    def test_dead_letter_is_listed_with_its_reason(self, box):
        event = make_event()
        box.put(make_event())

        box.dead_letter(event, "DataError: too long")

        (letter,) = box.dead_letters()
        assert letter == DeadLetter(json.loads(event.to_json()), "DataError: too long")

    def test_file_is_accessible_to_its_owner_only(self, box, directory):
        box.put(make_event())
        box.dead_letter(make_event(), "no")

        assert (directory / "dead.jsonl").stat().st_mode & 0o777 == 0o600

    def test_dead_letter_is_not_delivered(self, box):
        box.put(make_event())
        drain(box)

        box.dead_letter(make_event(), "no")

        assert box.is_empty()
        assert box.adopt_orphans() == 0
        assert sum(box.other_segments()) == 0
        assert drain(box) == []

    def test_dead_letter_is_kept_before_the_first_put(self, box):
        box.dead_letter(make_event(), "no")

        assert len(box.dead_letters()) == 1

    def test_dead_letter_is_logged_in_one_line(self, box, caplog):
        event = make_event()
        box.put(event)

        box.dead_letter(event, "no\n[TRACK_COMPLETE] forged")

        assert caplog.messages == [
            f"[TRACK_ERROR] The database refuses event {event.id}: "
            "no\\n[TRACK_COMPLETE] forged; see `flush_ai_usage --retry-dead`"
        ]

    def test_retried_events_are_delivered_again(self, box):
        events = [make_event() for _ in range(3)]
        box.put(make_event())
        drain(box)
        for event in events:
            box.dead_letter(event, "no")

        assert box.retry_dead_letters() == 3

        assert box.dead_letters() == []
        assert drain(box) == events
        assert box.retry_dead_letters() == 0

    def test_dead_letters_of_another_database_and_garbage_are_kept(self, box, directory):
        box.put(make_event())
        box.dead_letter(make_event(), "no")
        path = directory / "dead.jsonl"
        foreign = json.dumps(json.loads(path.read_text()) | {"database": "another"})
        path.write_text(f"{path.read_text()}{foreign}\ngarbage\n[]\n")

        assert len(box.dead_letters()) == 1
        assert box.retry_dead_letters() == 1

        assert path.read_text() == f"{foreign}\ngarbage\n[]\n"
        assert box.dead_letters() == []

    def test_retry_without_dead_letters_does_nothing(self, box):
        assert box.retry_dead_letters() == 0
        assert MemoryOutbox().retry_dead_letters() == 0
        assert MemoryOutbox().dead_letters() == []

    def test_retry_into_a_full_outbox_loses_no_dead_letter(self, box, monkeypatch):
        box.put(make_event())
        box.dead_letter(make_event(), "no")
        drain(box)
        monkeypatch.setattr(outbox.limits, "CAPACITY", 10)
        monkeypatch.setattr(outbox.limits, "UNCHECKED", 0)

        box.retry_dead_letters()

        assert len(box.dead_letters()) + len(drain(box)) == 1

    def test_dead_letters_leave_room_for_new_events(self, box, monkeypatch):
        monkeypatch.setattr(outbox.limits, "CAPACITY", 3000)
        monkeypatch.setattr(outbox.limits, "UNCHECKED", 0)
        for _ in range(20):
            box.dead_letter(make_event(), "no")
        kept, dropped = len(box.dead_letters()), box.dropped
        event = make_event()

        box.put(event)

        assert drain(box) == [event]
        assert (kept + dropped, box.dropped) == (20, dropped)
        assert 0 < kept < 20

    def test_unwritable_directory_is_logged(self, tmp_path, caplog):
        (tmp_path / "file").write_text("no directory")
        box = Outbox(tmp_path / "file" / "outbox")

        box.dead_letter(make_event(), "no")

        assert caplog.messages[1].startswith("[TRACK_ERROR] Outbox: cannot write dead.jsonl: ")
        assert box.dead_letters() == []


def open_files(directory: Path, box: MemoryOutbox) -> int:
    """Count this process's descriptors of files in the directory, including removed files."""
    if not Path("/proc/self/fd").is_dir():
        return len(box._held.waiting) + (box._held.current is not None)
    targets = []
    with os.scandir("/proc/self/fd") as descriptors:
        for descriptor in descriptors:
            with suppress(FileNotFoundError):
                targets.append(Path(os.readlink(descriptor)))
    return sum(target.is_relative_to(directory) for target in targets)


class Faults:
    """Simulate a full disk and a host without free descriptors, for the outbox only."""

    def __init__(self) -> None:
        self.disk_is_full = self.no_descriptors = False
        self._write_at, self._open_file = files.write_at, files.open_file
        self._listdir = os.listdir

    def install(self, patch: pytest.MonkeyPatch) -> None:
        patch.setattr(files, "write_at", self._write)
        patch.setattr(files, "open_file", self._open)
        patch.setattr(os, "listdir", self._list)

    def _write(self, fd: int, data: bytes, offset: int) -> None:
        if self.disk_is_full:
            self._write_at(fd, data[: len(data) // 2], offset)
            raise OSError(errno.ENOSPC, "No space left on device")
        self._write_at(fd, data, offset)

    def _open(self, path: Path, flags: int, mode: int = 0o600) -> int:
        self._need_descriptor()
        return self._open_file(path, flags, mode)

    def _list(self, path: Path) -> list[str]:
        self._need_descriptor()
        return self._listdir(path)

    def _need_descriptor(self) -> None:
        if self.no_descriptors:
            raise OSError(errno.EMFILE, "Too many open files")


@pytest.fixture
def faults(monkeypatch: pytest.MonkeyPatch) -> Faults:
    faults = Faults()
    faults.install(monkeypatch)
    return faults


class TestDescriptors:
    def test_failed_deliveries_open_no_more_files(self, box, directory):
        events = [make_event() for _ in range(500)]
        seen = set()

        for event in events:
            box.put(event)
            with pytest.raises(ConnectionError):
                fail_at(box, batch=1)
            seen.add((open_files(directory, box), len(segments(directory))))

        assert max(seen) <= (2, 2)
        assert drain(box) == events
        assert open_files(directory, box) == 0
        assert [path.name for path in directory.iterdir()] == [".gitignore"]

    def test_failed_writes_open_no_more_files(self, box, directory, faults):
        events = [make_event() for _ in range(101)]
        box.put(events[0])
        faults.disk_is_full = True
        for event in events[1:-1]:
            box.put(event)
        assert (open_files(directory, box), len(segments(directory))) == (1, 1)
        faults.disk_is_full = False
        box.put(events[-1])

        assert (open_files(directory, box), len(segments(directory))) == (1, 1)
        assert drain(box) == [events[0], events[-1], *events[1:-1]]
        assert box.unreadable == 0

    def test_events_between_failed_writes_survive_a_crash(self, box, crash, faults):
        before, after = make_event(), make_event()
        for event in (before, after):
            box.put(event)
            faults.disk_is_full = True
            box.put(make_event())
            faults.disk_is_full = False

        successor = crash()
        successor.adopt_orphans()

        assert drain(successor) == [before, after]
        assert successor.unreadable == 0

    def test_long_outage_creates_a_bounded_number_of_files(self, box, directory, monkeypatch):
        monkeypatch.setattr(outbox.limits, "SEGMENT", 2000)
        monkeypatch.setattr(outbox.limits, "ADOPTED", 3)
        events = [make_event() for _ in range(100)]

        for event in events:
            box.put(event)

        assert len(segments(directory)) == open_files(directory, box) == 4
        assert drain(box) == events
        assert segments(directory) == []

    def test_deferred_events_do_not_fill_the_disk_while_the_database_is_down(self, box):
        *events, ready = [make_event() for _ in range(51)]
        deferred = {event.id for event in events}
        for event in (*events, ready):
            box.put(event)
        size = box.size()

        for _ in range(100):
            with pytest.raises(ConnectionError):
                fail_at(box, batch=1, limit=10, defers=lambda event: event.id in deferred)

        assert box.size() <= 2 * size
        assert drain(box) == [*events, ready]

    def test_deferred_events_are_written_only_once_more(self, box, monkeypatch):
        """For example, a block is open for half a minute and the site delivers meanwhile."""
        events = [make_event() for _ in range(50)]
        for event in events:
            box.put(event)
        written: list[bytes] = []
        append = Segment.append

        def note(segment: Segment, line: bytes) -> None:
            written.append(line)
            append(segment, line)

        monkeypatch.setattr(Segment, "append", note)
        others = []
        for _ in range(100):
            box.put(other := make_event())
            others += drain(box, defers=lambda event: event.id != other.id)

        assert len(others) == 100
        assert len(written) == 100 + len(events)
        assert drain(box) == events
        assert box.is_empty()

    def test_delivered_deferred_events_free_their_space(self, box, directory):
        """One block is open for hours while many others begin and end."""
        box.put(long := make_event())
        for _ in range(50):
            deferred = [make_event() for _ in range(20)]
            for event in deferred:
                box.put(event)
            drain(box, defers=lambda event: True)
            drain(box, defers=lambda event: event.id == long.id)

        assert box.size() < 200 * len(long.to_json())
        assert drain(box) == [long]
        assert segments(directory) == []

    def test_deferred_event_loses_its_user_when_another_process_forgets_the_user(
        self, box, directory
    ):
        """`flush_ai_usage --forget` rewrites the lines of running processes."""
        box.put(event := make_event(user_id="7", username="ada"))
        drain(box, defers=lambda event: True)
        other = Outbox(directory)

        assert other.forget(lambda user_id, username: username == "ada") == 1

        (delivered,) = drain(box)
        assert (delivered.id, delivered.user_id, delivered.username) == (event.id, None, "")

    def test_removed_file_of_deferred_events_is_written_again(self, box, directory, crash):
        box.put(event := make_event())
        drain(box, defers=lambda event: True)
        for path in segments(directory):
            path.unlink()
        drain(box, defers=lambda event: True)

        successor = crash()
        successor.adopt_orphans()

        assert drain(successor) == [event]

    def test_deferred_events_outlive_their_process(self, box, crash):
        events = [make_event() for _ in range(3)]
        for event in events:
            box.put(event)
        drain(box, defers=lambda event: True)

        successor = crash()
        successor.adopt_orphans()

        assert drain(successor) == events

    def test_reinserted_events_do_not_fill_the_disk(self, box, directory):
        """For example, the events of a user who is not in the database yet."""
        events = [make_event() for _ in range(50)]
        for event in events:
            box.put(event)
        size = box.size()

        for _ in range(100):
            for batch in box.batches(20, nothing):
                for event in batch:
                    box.put(event, accepted=True)

        assert box.size() == size
        assert len(segments(directory)) == 1
        assert drain(box) == events

    def test_host_without_descriptors_keeps_events_in_memory_until_one_is_free(
        self, box, directory, faults, caplog
    ):
        orphan, *events = [make_event() for _ in range(4)]
        dead = Outbox(directory)
        dead.put(orphan)
        dead.close()
        faults.no_descriptors = True

        box.put(events[0])
        assert box.adopt_orphans() == 0
        assert not box.has_orphans()
        with pytest.raises(ConnectionError):
            fail_at(box, batch=1)
        box.put(events[1])
        faults.no_descriptors = False
        box.put(events[2])

        assert len(caplog.records) == 1
        assert "Too many open files" in caplog.text
        assert box.adopt_orphans() == 1
        assert drain(box) == [orphan, events[2], *events[:2]]
        assert segments(directory) == []

    def test_open_segment_accepts_events_without_a_free_descriptor(self, box, crash, faults):
        events = [make_event() for _ in range(3)]
        box.put(events[0])
        faults.no_descriptors = True
        for event in events[1:]:
            box.put(event)
        faults.no_descriptors = False

        successor = crash()
        successor.adopt_orphans()

        assert drain(successor) == events

    def test_refused_event_is_kept_while_no_descriptor_is_free(self, box, faults):
        event = make_event()
        faults.no_descriptors = True
        box.dead_letter(event, "no")
        faults.no_descriptors = False

        assert box.dead_letters() == []
        assert drain(box) == [event]

    def test_full_disk_loses_no_refused_event_and_damages_no_later_dead_letter(self, box, faults):
        box.put(first := make_event())
        faults.disk_is_full = True
        box.dead_letter(refused := make_event(), "no")
        faults.disk_is_full = False
        box.dead_letter(make_event(), "no")

        assert len(box.dead_letters()) == 1
        assert box.unreadable == 0
        assert drain(box) == [first, refused]

    def test_forgetting_a_user_raises_without_descriptors(self, box, faults):
        box.put(make_event(username="ada"))
        faults.no_descriptors = True

        with pytest.raises(OSError, match="Too many open files"):
            box.forget(lambda user_id, username: username == "ada")

    def test_unreadable_file_does_not_block_other_files(self, box, directory, caplog):
        sick, sound = make_event(), make_event()
        box.put(sick)
        with pytest.raises(ConnectionError):
            fail_at(box, batch=1)
        (path,) = segments(directory)
        (segment,) = box._held.waiting
        box.put(sound)
        descriptor = os.open(path, os.O_WRONLY)
        os.dup2(descriptor, segment.fd)  # a descriptor that cannot be read
        os.close(descriptor)

        assert drain(box) == [sound]
        assert f"cannot read {path}" in caplog.text
        assert open_files(directory, box) == 0
        assert box.adopt_orphans() == 1
        assert drain(box) == [sick]

    def test_file_that_cannot_be_removed_returns_its_events_once(self, box, directory, monkeypatch):
        event = make_event()
        box.put(event)

        def refuse(path: Path, missing_ok: bool = False) -> None:
            raise PermissionError(errno.EACCES, "Permission denied", str(path))

        with monkeypatch.context() as patch:
            patch.setattr(Path, "unlink", refuse)
            assert drain(box) == [event]
            assert open_files(directory, box) == 0
            assert box.adopt_orphans() == 0
            assert not box.has_orphans()
            successor = Outbox(directory)
            assert successor.adopt_orphans() == 1
            assert drain(successor) == []
        assert len(segments(directory)) == 1

        assert box.adopt_orphans() == 0
        assert segments(directory) == []

    def test_removed_file_is_soon_replaced(self, box, crash):
        waits, removed, follows = [make_event() for _ in range(3)]
        box.put(waits)
        with pytest.raises(ConnectionError):
            fail_at(box, batch=1)
        box.put(removed)
        assert box._held.current is not None
        box._held.current.path.unlink()
        with pytest.raises(ConnectionError):
            fail_at(box, batch=1)
        box.put(follows)

        successor = crash()
        successor.adopt_orphans()

        found = [event.id for event in drain(successor)]
        assert sorted(found) == sorted([waits.id, follows.id])

    @pytest.mark.process
    def test_host_keeps_its_descriptors_while_the_database_is_down(self, tmp_path, database_url):
        printed = run_python(
            tmp_path,
            """
            import os, resource
            from pathlib import Path
            from django.db import OperationalError
            from tests.support.builders import make_event
            from usage_tracking import delivery, outbox
            from usage_tracking.delivery import batches
            from usage_tracking.events import utc_now
            from usage_tracking.models import AIUsageLog

            def refuse(*args, **options):
                raise OperationalError("the database is away")

            AIUsageLog.objects.count()
            resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
            box, store, batches.store = outbox.get(), batches.store, refuse
            for _ in range(200):
                box.put(make_event(created_at=utc_now()))
                try:
                    delivery.delivery.deliver()
                except OperationalError:
                    pass
                Path("page").write_text("what the host does meanwhile")
            batches.store = store
            delivery.delivery.deliver()
            print(AIUsageLog.objects.count(), box.segments())
            """,
            DATABASE_URL=database_url,
        )

        assert printed == "200 []\n"

    @pytest.mark.process
    def test_delivery_recovers_when_descriptors_are_free_again(self, tmp_path, database_url):
        printed = run_python(
            tmp_path,
            """
            import logging, os, resource
            from tests.support.builders import make_event
            from tests.support.waiting import PATIENCE, wait_until
            from usage_tracking import outbox
            from usage_tracking.delivery import delivery
            from usage_tracking.events import utc_now
            from usage_tracking.models import AIUsageLog

            def put():
                outbox.put(make_event(created_at=utc_now()))

            logging.getLogger("ai_usage_tracker").handlers = [logging.NullHandler()]
            orphan = outbox.Outbox(outbox.get().directory)
            put()
            outbox.wake()
            wait_until(AIUsageLog.objects.count, awaited="the thread and its connection")
            orphan.put(make_event(created_at=utc_now()))
            orphan.close()
            resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
            taken = []
            try:
                while True:
                    taken.append(os.dup(0))
            except OSError:
                pass
            put()
            delivery._worker._next_orphans = 0
            delivery.wake(wait=PATIENCE)  # a whole cycle of the thread
            put()
            for descriptor in taken:
                os.close(descriptor)
            put()
            delivery._worker._next_orphans = 0

            def recovered():
                delivery.wake()
                return AIUsageLog.objects.count() == 5 and not outbox.get().segments()

            wait_until(recovered, awaited="all calls", seen=AIUsageLog.objects.count)
            """,
            DATABASE_URL=database_url,
        )

        assert printed == ""

    def test_memory_overflow_during_a_delivery_drops_only_the_oldest_events(self, monkeypatch):
        monkeypatch.setattr(outbox.limits, "MEMORY_CAPACITY", 3)
        box = MemoryOutbox()
        events = [make_event() for _ in range(5)]
        for event in events[:3]:
            box.put(event)

        for batch in box.batches(500, nothing):
            assert batch == events[:3]
            box.put(events[3])
            box.put(events[4])

        assert drain(box) == events[3:]


class TestThreads:
    def test_nested_put_loses_no_event(self, box, monkeypatch):
        """A garbage collection can finish an abandoned stream inside `put`."""
        outer, inner = make_event(), make_event()
        write_at, puts = files.write_at, [inner]

        def collect(fd: int, data: bytes, offset: int) -> None:
            if puts:
                box.put(puts.pop())
            write_at(fd, data, offset)

        monkeypatch.setattr(files, "write_at", collect)
        box.put(outer)

        assert sorted(event.id for event in drain(box)) == sorted([outer.id, inner.id])

    def test_interrupted_put_does_not_block_the_next(self, box, monkeypatch):
        first, second = make_event(), make_event()

        def interrupt(fd: int, data: bytes, offset: int) -> None:
            raise KeyboardInterrupt

        box.put(make_event())
        drain(box)
        with monkeypatch.context() as patch:
            patch.setattr(files, "write_at", interrupt)
            with pytest.raises(KeyboardInterrupt):
                box.put(first)
        assert not box.is_empty()
        box.put(second)

        assert drain(box) == [first, second]

    def test_concurrent_puts_lose_and_damage_no_event(self, box):
        events = [[make_event(error_message="x" * 300) for _ in range(150)] for _ in range(6)]

        def put(mine: list[UsageEvent]) -> None:
            for event in mine:
                box.put(event)

        run_in_threads(*(lambda mine=mine: put(mine) for mine in events))

        found = [event.id for event in drain(box)]
        assert sorted(found) == sorted(event.id for mine in events for event in mine)
        assert box.unreadable == 0

    def test_puts_during_a_delivery_lose_and_duplicate_no_event(self, box):
        events = [[make_event() for _ in range(150)] for _ in range(3)]
        found: list[UUID] = []

        ended: list[None] = []

        def put(mine: list[UsageEvent]) -> None:
            try:
                for event in mine:
                    box.put(event)
            finally:
                ended.append(None)

        def deliver() -> None:
            while len(ended) < len(events):
                found.extend(event.id for event in drain(box, limit=20))
            found.extend(event.id for event in drain(box, limit=20))

        run_in_threads(deliver, *(lambda mine=mine: put(mine) for mine in events))

        assert sorted(found) == sorted(event.id for mine in events for event in mine)


class TestListener:
    def test_event_is_kept_without_a_listener(self, monkeypatch):
        monkeypatch.setattr(outbox, "listener", None)
        outbox.get().clear()  # events that a test without a database has left
        event = make_event()

        outbox.expect()
        outbox.put(event)
        outbox.wake(wait=10)

        assert drain(outbox.get()) == [event]


class TestSettings:
    def test_outbox_of_the_tests_is_in_memory(self):
        assert outbox.inline()
        assert outbox.get().directory is None

    def test_directory_is_the_value_of_the_setting(self, settings, monkeypatch, directory):
        monkeypatch.setattr(outbox, "inline", lambda: False)
        settings.AI_USAGE_OUTBOX = str(directory)

        assert outbox.get().directory == directory
        assert outbox.get() is outbox.get()

    def test_default_directory_is_in_base_dir(self, settings, monkeypatch, tmp_path):
        monkeypatch.setattr(outbox, "inline", lambda: False)
        settings.BASE_DIR = tmp_path

        assert outbox.get().directory == tmp_path / ".ai_usage_outbox"

    def test_changed_setting_closes_the_files(self, settings, monkeypatch, directory):
        monkeypatch.setattr(outbox, "inline", lambda: False)
        settings.AI_USAGE_OUTBOX = directory
        event = make_event()
        outbox.get().put(event)

        settings.AI_USAGE_OUTBOX = directory.parent / "other"
        successor = Outbox(directory)

        assert outbox.get().is_empty()
        assert successor.adopt_orphans() == 1
        assert drain(successor) == [event]

    def test_site_without_base_dir_gets_an_error_about_lost_events(
        self, settings, monkeypatch, caplog
    ):
        monkeypatch.setattr(outbox, "inline", lambda: False)
        monkeypatch.setattr(outbox, "_outbox", None)  # the outbox of an earlier test
        del settings.BASE_DIR

        assert outbox.get().directory is None
        outbox.get()

        assert caplog.messages == [
            "[TRACK_ERROR] Outbox: neither AI_USAGE_OUTBOX nor BASE_DIR is set; "
            "events are kept in memory and die with the process"
        ]

    @pytest.mark.process
    def test_setting_none_keeps_events_in_memory_without_an_error(self, tmp_path):
        printed = run_python(
            tmp_path,
            """
            from usage_tracking import outbox
            print(outbox.inline(), outbox.get().directory)
            """,
            settings="AI_USAGE_OUTBOX = None",
        )

        assert printed == "True None\n"


def test_current_segment_that_fills_during_a_delivery_is_delivered(box, monkeypatch):
    """Events that are put back meanwhile fill it, so that another one becomes the current."""
    monkeypatch.setattr(outbox.limits, "SEGMENT", 1500)
    box.put(deferred := make_event())
    assert drain(box, defers=lambda event: True) == []
    events = [make_event() for _ in range(5)]
    for event in events:
        box.put(event)

    delivered = []
    for batch in box.batches(1, nothing):
        delivered += batch
        if batch == [deferred]:
            for _ in range(10):
                box.put(deferred, accepted=True)

    assert [event for event in delivered if event != deferred] == events


class Interleavings(RuleBasedStateMachine):
    """Puts, deliveries that fail anywhere, held events, faults and deaths, in any order.

    The segments are so small that they change all the time.
    """

    def __init__(self) -> None:
        super().__init__()
        self.patch = pytest.MonkeyPatch()
        self.patch.setattr(outbox.limits, "ADOPTED", 3)
        self.patch.setattr(outbox.limits, "SEGMENT", 1500)
        self.faults = Faults()
        self.faults.install(self.patch)
        self.directory = tempfile.mkdtemp()
        self.path = Path(self.directory) / "outbox"
        self.box = Outbox(self.path)
        self.waiting: set[UUID] = set()
        #: What was in the files at a death may come again; in the database the ids absorb it.
        self.may_repeat: set[UUID] = set()

    def teardown(self) -> None:
        try:
            # In the end everything comes out.
            self.disk_has_room()
            self.descriptors_are_free()
            self.deliver(limit=500, fails_at=None, holds=set(), misses=set())
            assert self.waiting == set()
            assert self.box.is_empty()
            assert segments(self.path) == []
            assert open_files(self.path, self.box) == 0
        finally:
            self.box.close()
            self.patch.undo()
            shutil.rmtree(self.directory)

    @rule(number=st.integers(1, 6))
    def put(self, number: int) -> None:
        for _ in range(number):
            event = make_event()
            self.box.put(event)
            self.waiting.add(event.id)

    @rule(
        limit=st.integers(1, 5),
        fails_at=st.none() | st.integers(1, 4),
        holds=st.sets(st.integers(0, 3)),
        misses=st.sets(st.integers(0, 3)),
    )
    def deliver(self, limit: int, fails_at: int | None, holds: set[int], misses: set[int]) -> None:
        """`misses` are events that are put back instead of stored, as those of missing users."""

        def hold(event: UsageEvent) -> bool:
            return event.id.int % 4 in holds

        adopted = True
        while adopted:
            adopted = self.box.adopt_orphans() > 0
            batches = self.box.batches(limit, hold)
            for number, batch in enumerate(batches, 1):
                if number == fails_at:
                    batches.close()  # type: ignore[attr-defined]
                    return
                ids = [event.id for event in batch]
                assert 0 < len(ids) <= limit
                assert len(ids) == len(set(ids))
                assert not any(hold(event) for event in batch)
                assert set(ids) <= self.waiting | self.may_repeat, "stored twice, or never put"
                for event in batch:
                    if event.id.int % 4 in misses:
                        self.box.put(event, accepted=True)
                        self.waiting.add(event.id)
                    else:
                        self.waiting.discard(event.id)
        if not self.faults.no_descriptors:
            assert all(pk.int % 4 in holds | misses for pk in self.waiting)

    @rule()
    def die(self) -> None:
        self.box.close()
        self.may_repeat |= (on_disk := self.on_disk())
        # What the host could not take was in memory, and an error line said so.
        self.waiting -= {event.id for event in self.box._memory} - on_disk
        self.box = Outbox(self.path)

    @rule()
    def disk_is_full(self) -> None:
        self.faults.disk_is_full = True

    @rule()
    def disk_has_room(self) -> None:
        self.faults.disk_is_full = False

    @rule()
    def descriptors_are_used_up(self) -> None:
        self.faults.no_descriptors = True

    @rule()
    def descriptors_are_free(self) -> None:
        self.faults.no_descriptors = False

    @invariant()
    def waiting_events_are_not_forgotten(self) -> None:
        assert self.waiting <= self.on_disk() | {event.id for event in self.box._memory}
        assert not (self.waiting and self.box.is_empty() and not self.on_disk())

    @invariant()
    def open_files_are_few(self) -> None:
        # The waiting ones, the current one, and that of deferred events.
        assert open_files(self.path, self.box) <= outbox.limits.ADOPTED + 2

    def on_disk(self) -> set[UUID]:
        return {
            UsageEvent.from_json(line).id
            for path in self.path.glob("*-*.jsonl")
            for line in path.read_bytes().splitlines()[1:]
        }


class OnWindows(Interleavings):
    """Without `pread`, and with files that are closed before they are renamed and removed."""

    def __init__(self) -> None:
        super().__init__()
        self.patch.setattr(files, "_HAS_PREAD", False)
        self.patch.setattr(files, "PINS_OPEN_FILES", True)


@pytest.mark.slow
@pytest.mark.parametrize("machine", [Interleavings, OnWindows])
def test_any_order_of_puts_failures_faults_and_crashes_loses_and_duplicates_no_event(machine):
    run_state_machine_as_test(
        machine,
        settings=hypothesis_settings(
            derandomize=True, database=None, deadline=None, max_examples=60, stateful_step_count=30
        ),
    )


def fail_at(
    box: MemoryOutbox,
    *,
    batch: int,
    limit: int = 500,
    defers: Callable[[UsageEvent], bool] = nothing,
) -> None:
    """Take batches as if they were stored, and fail at number `batch`."""
    for number, _ in enumerate(box.batches(limit, defers), 1):
        if number == batch:
            raise ConnectionError
