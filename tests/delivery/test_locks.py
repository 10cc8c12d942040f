"""`health.locks`: whether a lock holds between processes is tried by two processes."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from usage_tracking.health import locks
from usage_tracking.system import files

pytestmark = pytest.mark.process


def test_lock_that_holds_is_sound_and_nothing_is_left(tmp_path: Path) -> None:
    told = locks.locks(tmp_path)

    assert (told.level, told.code) == ("ok", "locks")
    assert list(tmp_path.iterdir()) == []


def test_lock_that_keeps_nobody_out_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a network's disk that keeps locks to one machine, or ignores them."""
    monkeypatch.setattr(files, "lock", lambda fd: None)

    told = locks.locks(tmp_path)

    assert told.level == "problem"
    assert told.text == f"A lock on a file in {tmp_path} does not keep another process out"
    assert told.fix == "Set AI_USAGE_OUTBOX to a directory on a local disk."
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("executable", ["/bin/false", "/nowhere/python"])
def test_python_that_does_not_start_says_nothing_of_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, executable: str
) -> None:
    monkeypatch.setattr(sys, "executable", executable)

    told = locks.locks(tmp_path)

    assert (told.level, told.code) == ("note", "locks_untried")
    assert executable in told.text
    assert list(tmp_path.iterdir()) == []


def test_lock_that_is_never_released_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or what a dead process left would never be delivered."""
    kept: list[int] = []
    monkeypatch.setattr(files, "close", kept.append)
    try:
        told = locks.locks(tmp_path)
    finally:
        os.close(*kept)

    assert told.level == "problem"
    assert told.text == f"A lock on a file in {tmp_path} stays after its release"


def test_disk_without_locks_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(fd: int) -> None:
        raise OSError(37, "No locks available")

    monkeypatch.setattr(files, "lock", refuse)

    told = locks.locks(tmp_path)

    assert told.level == "problem"
    assert told.text == f"Files in {tmp_path} cannot be locked: [Errno 37] No locks available"
    assert list(tmp_path.iterdir()) == []


def test_directory_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    assert locks.locks(tmp_path / "nowhere").level == "problem"


def test_platform_without_locks_is_not_tried(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "CAN_LOCK", False)

    assert locks.locks(tmp_path).code == "locks_untried"
