"""Outbox files of the same database under another name, or of another system user."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from tests.support.builders import make_event, make_user
from tests.support.commands import run_command
from usage_tracking import outbox
from usage_tracking.health import undelivered
from usage_tracking.health.findings import Thresholds
from usage_tracking.models import AIUsageLog
from usage_tracking.outbox import MemoryOutbox, Outbox, dead_letters, segments
from usage_tracking.outbox.memory import Others
from usage_tracking.system import files

pytestmark = pytest.mark.django_db


@pytest.fixture
def box(tmp_path: Path, settings: Any, monkeypatch: pytest.MonkeyPatch) -> MemoryOutbox:
    settings.AI_USAGE_OUTBOX = tmp_path / "outbox"
    monkeypatch.setattr(outbox, "inline", lambda: False)
    return outbox.get()


def leave_file(box: MemoryOutbox, *events: Any, header: bytes | None = None) -> Path:
    """Write the file of a dead process and return its path. `header` can name another database."""
    assert box.directory is not None
    before = set(segments.paths(box.directory))
    other = Outbox(box.directory)
    for event in events:
        other.put(event)
    other.close()
    (path,) = set(segments.paths(box.directory)) - before
    if header is not None:
        _, _, lines = path.read_bytes().partition(b"\n")
        path.write_bytes(header + b"\n" + lines)
    return path


MOVED_HEADER = json.dumps({"outbox": 2, "database": "postgresql at old.example.com"}).encode()


@pytest.fixture
def moved_file(box: MemoryOutbox) -> Path:
    return leave_file(box, make_event(), make_event(), header=MOVED_HEADER)


def finding(code: str) -> Any:
    result = undelivered.examine(undelivered.snapshot(), Thresholds(), [])
    return next((found for found in result.findings if found.code == code), None)


class TestOtherDatabase:
    @pytest.mark.process  # for the check of file locks
    def test_file_is_named_with_its_database_and_the_fix(self, box, moved_file):
        found = finding("outbox_elsewhere")

        assert moved_file.name in found.text
        assert "old.example.com" in found.text
        assert f"--adopt {moved_file.name}" in found.fix
        assert box.other_segments() == Others(elsewhere=1)

    def test_file_does_not_count_towards_the_capacity_of_this_site(
        self, box, moved_file, monkeypatch
    ):
        assert box.size() == 0
        monkeypatch.setattr(outbox.limits, "CAPACITY", 1000)
        with moved_file.open("ab") as file:
            file.write(b"x" * 2000)

        box.put(make_event())

        assert (box.dropped, len(segments.paths(box.directory))) == (0, 2)

    @pytest.mark.parametrize("how", ["name", "path", "all"])
    def test_file_is_adopted(self, box, moved_file, how):
        argument = {"name": moved_file.name, "path": str(moved_file), "all": "--all"}[how]

        assert run_command("flush_ai_usage", "--adopt", argument) == (
            0,
            "1 files of other databases taken over\n2 calls delivered\n"
            "1 files of dead processes taken over\n",
            "",
        )

        assert AIUsageLog.objects.count() == 2
        assert not moved_file.exists()
        assert box.other_segments() == Others()

    def test_file_of_an_older_release_belongs_to_this_site(self, box):
        old = next(name for name, version in segments.databases().items() if version == 1)
        leave_file(box, make_event(), header=segments._line(1, old).strip())

        assert run_command("flush_ai_usage").code == 0
        assert AIUsageLog.objects.count() == 1

    @pytest.mark.parametrize(
        ("arguments", "error"),
        [
            (["--all"], "--all needs --adopt\n"),
            (["--adopt"], "--adopt takes either file names or --all\n"),
            (["--adopt", "a", "--all"], "--adopt takes either file names or --all\n"),
        ],
    )
    def test_command_prints_its_usage(self, box, arguments, error):
        assert run_command("flush_ai_usage", *arguments) == (2, "", error)

    def test_missing_file_is_an_error(self, box, moved_file):
        code, out, err = run_command("flush_ai_usage", "--adopt", "gone.jsonl")

        assert (code, out) == (2, "")
        assert "gone.jsonl cannot be taken over: " in err

    def test_file_of_another_kind_is_not_changed(self, box, tmp_path):
        (note := tmp_path / "note.txt").write_text("Dear diary\n")

        code, _, err = run_command("flush_ai_usage", "--adopt", str(note))

        assert (code, err) == (
            2,
            f"{note} cannot be taken over: it is not a file of an outbox\n",
        )
        assert note.read_text() == "Dear diary\n"

    def test_file_of_a_running_process_is_not_adopted(self, box):
        running = Outbox(box.directory)
        running.put(make_event())
        try:
            (path,) = segments.paths(box.directory)
            code, _, err = run_command("flush_ai_usage", "--adopt", str(path))
        finally:
            running.close()

        assert (code, err) == (2, f"{path} cannot be taken over: a living process holds it\n")

    def test_full_disk_loses_nothing(self, box, moved_file, monkeypatch):
        write_at = files.write_at

        def write(fd: int, data: bytes, offset: int) -> None:
            if offset > len(segments.header()):
                raise OSError("No space left on device")
            write_at(fd, data, offset)

        with monkeypatch.context() as patched:
            patched.setattr(files, "write_at", write)
            assert run_command("flush_ai_usage", "--adopt", "--all").code == 2

        assert segments.paths(box.directory) == [moved_file]
        assert run_command("flush_ai_usage", "--adopt", "--all").code == 0
        assert AIUsageLog.objects.count() == 2


@pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only the superuser gives files away"
)
class TestOtherSystemUser:
    """The superuser and `nobody` (65534) share an outbox."""

    NOBODY = 65534

    @pytest.mark.process  # for the check of file locks
    def test_file_of_another_system_user_is_not_read(self, box):
        path = leave_file(box, make_event(section="forged"))
        os.chown(path, self.NOBODY, -1)

        assert run_command("flush_ai_usage").code == 0

        assert not AIUsageLog.objects.exists()
        assert path.exists()
        assert box.other_segments() == Others(denied=1)
        found = finding("outbox_denied")
        assert "belongs to the system user 'nobody'" in found.text
        assert "chown" in found.fix

    @pytest.mark.process  # for the check of file locks
    def test_world_writable_file_is_not_read(self, box):
        path = leave_file(box, make_event(section="forged"))
        path.chmod(0o606)

        run_command("flush_ai_usage")

        assert not AIUsageLog.objects.exists()
        assert "every system user may write it" in finding("outbox_denied").text

    def test_world_writable_directory_is_not_read(self, box):
        path = leave_file(box, make_event())
        path.parent.chmod(0o777)

        code, _, err = run_command("flush_ai_usage")

        assert (code, err) == (
            2,
            f"The outbox cannot be read: every system user may write into {path.parent}\n",
        )
        assert "every system user may write" in finding("outbox_unreadable").text

    def test_dead_letters_of_another_system_user_are_not_retried(self, box):
        box.dead_letter(make_event(), "no")
        os.chown(box.directory / dead_letters.FILE, self.NOBODY, -1)

        code, _, err = run_command("flush_ai_usage", "--retry-dead")

        assert code == 2
        assert "The refused calls cannot be read: " in err
        assert box.dead_letters() == []

    def test_superuser_leaves_the_dead_letters_of_the_site(self, box):
        for section in ("chat", "other"):
            box.dead_letter(make_event(section=section), "no")
        path = box.directory / dead_letters.FILE
        for each in (path, path.parent):
            os.chown(each, self.NOBODY, -1)
        path.chmod(0o640)

        assert run_command("flush_ai_usage", "--retry-dead").code == 0

        assert (path.stat().st_uid, path.stat().st_mode & 0o777) == (self.NOBODY, 0o640)

    def test_superuser_delivers_files_of_the_outbox_owner(self, box):
        path = leave_file(box, make_event())
        for each in (path, path.parent):
            os.chown(each, self.NOBODY, -1)

        assert run_command("flush_ai_usage").out.startswith("1 calls delivered")

    def test_system_user_without_access_to_the_outbox_gets_an_error(self, box, monkeypatch):
        """For example, cron runs `flush_ai_usage` on a web server's outbox."""
        path = leave_file(box, make_event())
        os.chown(path.parent, self.NOBODY, -1)
        monkeypatch.setattr(os, "geteuid", lambda: 1234)

        code, _, err = run_command("flush_ai_usage")

        assert (code, err) == (
            2,
            f"The outbox cannot be read: {path.parent} belongs to the system user 'nobody'\n",
        )
        assert "chown -R" in finding("outbox_unreadable").fix

    def test_directory_of_the_superuser_is_read(self, box, monkeypatch):
        leave_file(box, make_event())
        monkeypatch.setattr(os, "geteuid", lambda: 1234)

        assert run_command("flush_ai_usage").out.startswith("1 calls delivered")


def test_directory_that_cannot_be_listed_is_an_error(box, monkeypatch):
    leave_file(box, make_event(user=make_user()))

    def refuse(directory: Path, suffix: str) -> list[Path]:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(segments, "_files", refuse)

    code, out, err = run_command("flush_ai_usage")

    assert (code, out) == (2, "")
    assert err == "The outbox cannot be read: [Errno 13] Permission denied\n"
    assert "Permission denied" in finding("outbox_unreadable").text
