"""`health.locks` tests with two processes whether file locks work."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from usage_tracking.health import locks
from usage_tracking.system import files

pytestmark = pytest.mark.process


def test_working_lock_is_ok_and_no_file_is_left(tmp_path: Path) -> None:
    result = locks.locks(tmp_path)

    assert (result.level, result.code) == ("ok", "locks")
    assert list(tmp_path.iterdir()) == []


def test_lock_that_excludes_no_process_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Network file systems can ignore locks or limit them to one machine."""
    monkeypatch.setattr(files, "lock", lambda fd: None)

    result = locks.locks(tmp_path)

    assert result.level == "problem"
    assert result.text == f"A lock on a file in {tmp_path} does not keep another process out"
    assert result.fix == "Set AI_USAGE_OUTBOX to a directory on a local disk."
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("executable", ["/bin/false", "/nowhere/python"])
def test_failed_start_of_python_is_not_a_problem_of_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, executable: str
) -> None:
    monkeypatch.setattr(sys, "executable", executable)

    result = locks.locks(tmp_path)

    assert (result.level, result.code) == ("note", "locks_untried")
    assert executable in result.text
    assert list(tmp_path.iterdir()) == []


def test_lock_that_is_never_released_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With such a lock, files of dead processes would never be delivered."""
    kept: list[int] = []
    monkeypatch.setattr(files, "close", kept.append)
    try:
        result = locks.locks(tmp_path)
    finally:
        os.close(*kept)

    assert result.level == "problem"
    assert result.text == f"A lock on a file in {tmp_path} stays after its release"


def test_disk_without_locks_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(fd: int) -> None:
        raise OSError(37, "No locks available")

    monkeypatch.setattr(files, "lock", refuse)

    result = locks.locks(tmp_path)

    assert result.level == "problem"
    assert result.text == f"Files in {tmp_path} cannot be locked: [Errno 37] No locks available"
    assert list(tmp_path.iterdir()) == []


def test_unwritable_directory_is_reported(tmp_path: Path) -> None:
    assert locks.locks(tmp_path / "nowhere").level == "problem"


def test_platform_without_locks_is_not_tested(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "CAN_LOCK", False)

    assert locks.locks(tmp_path).code == "locks_untried"
