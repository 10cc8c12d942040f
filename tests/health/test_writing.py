"""A real write in the directory of the outbox."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from usage_tracking.health.findings import Finding
from usage_tracking.health.writing import writing
from usage_tracking.system import files


def refused(directory: Path, reason: str, fix: str) -> Finding:
    text = f"The outbox {directory} cannot be written: {reason}. "
    return Finding("problem", "check_w005", f"{text}Events are lost if their process dies.", fix)


def test_directory_is_written_and_left_as_it_was(tmp_path: Path):
    (tmp_path / "events.jsonl").touch()

    assert writing(tmp_path) == Finding("ok", "outbox", f"The outbox {tmp_path} can be written")
    assert os.listdir(tmp_path) == ["events.jsonl"]


def test_missing_directory_is_not_created(tmp_path: Path):
    assert writing(tmp_path / "a" / "outbox").level == "ok"
    assert os.listdir(tmp_path) == []


def test_file_is_not_a_directory(tmp_path: Path):
    file = tmp_path / "file"
    file.touch()
    fix = "Set AI_USAGE_OUTBOX to a directory that the site can write."

    assert writing(file) == refused(file, "Not a directory (ENOTDIR)", fix)
    assert writing(file / "outbox") == refused(file / "outbox", "Not a directory (ENOTDIR)", fix)


@pytest.mark.parametrize(
    ("number", "reason", "fix"),
    [
        (errno.ENOSPC, "No space left on device (ENOSPC)", "Free disk space (df -h, df -i)"),
        (errno.EDQUOT, "Disk quota exceeded (EDQUOT)", "Free disk space (df -h, df -i)"),
        (errno.EROFS, "Read-only file system (EROFS)", "Mount the disk of "),
        (errno.EIO, "Input/output error (EIO)", "Set AI_USAGE_OUTBOX to a directory"),
    ],
)
def test_disk_refuses_the_content(tmp_path: Path, monkeypatch, number: int, reason: str, fix: str):
    def fail(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(files, "write_at", fail)

    found = writing(tmp_path)

    assert found == refused(tmp_path, reason, found.fix)
    assert found.fix.startswith(fix)
    assert os.listdir(tmp_path) == []


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="no system users on this platform")
def test_permissions_are_refused(tmp_path: Path):
    if os.geteuid() == 0:
        pytest.skip("root may write anywhere")
    tmp_path.chmod(0o500)

    found = writing(tmp_path)

    tmp_path.chmod(0o700)
    assert found == refused(
        tmp_path,
        "Permission denied (EACCES)",
        f"As root: chown -R USER {tmp_path}; chmod 700 {tmp_path}, where USER is the system user "
        "of the site",
    )


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="no /proc on this system")
def test_file_system_without_files_is_refused_even_for_root():
    assert writing(Path("/proc/self")).code == "check_w005"
