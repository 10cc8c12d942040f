"""Locks and offsets as each platform has them; tests/system/test_platforms.py runs whole sites."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from usage_tracking.system import files


@pytest.fixture
def fd(tmp_path: Path) -> Iterator[int]:
    fd = files.open_file(tmp_path / "file", os.O_RDWR | os.O_CREAT)
    yield fd
    os.close(fd)


@pytest.fixture(params=["pread", "no pread"])
def _offsets(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "_HAS_PREAD", request.param == "pread")


@pytest.mark.usefixtures("_offsets")
class TestOffsets:
    def test_writing_and_reading_go_by_the_offset_and_not_by_the_position(self, fd):
        files.write_at(fd, b"hello", 0)
        files.write_at(fd, b"world", 6)
        files.write_at(fd, b"J", 0)

        assert files.read_at(fd, 5, 6) == b"world"
        assert files.read_at(fd, 100, 0) == files.read_all(fd) == b"Jello\0world"
        assert files.read_at(fd, 5, 11) == b""

    def test_what_the_disk_did_not_take_is_an_error(self, fd, monkeypatch):
        monkeypatch.setattr(os, "pwrite", lambda fd, data, offset: len(data) - 1)
        monkeypatch.setattr(os, "write", lambda fd, data: len(data) - 1)

        with pytest.raises(OSError, match="the disk took 4 of 5 bytes"):
            files.write_at(fd, b"hello", 0)


def test_write_in_the_middle_of_a_read_does_not_mislead_it(fd, monkeypatch):
    """As a garbage collection does that finishes an abandoned stream."""
    monkeypatch.setattr(files, "_HAS_PREAD", False)
    files.write_at(fd, b"hello", 0)
    read, collections = os.read, [b", world"]

    def collect(fd: int, length: int) -> bytes:
        if collections:
            files.write_at(fd, collections.pop(), 5)
        return read(fd, length)

    monkeypatch.setattr(os, "read", collect)

    assert files.read_at(fd, 5, 0) == b"hello"


def test_lock_of_another_descriptor_is_respected(fd, tmp_path):
    other = files.open_file(tmp_path / "file", os.O_RDWR)
    files.lock(fd)
    with pytest.raises(BlockingIOError):
        files.lock(other, shared=True)
    files.close(other)


def test_windows_locks_a_byte_that_nobody_reads_and_unlocks_it_first(fd, monkeypatch):
    calls = []

    def locking(fd: int, mode: str, count: int) -> None:
        calls.append((mode, os.lseek(fd, 0, os.SEEK_CUR), count))

    windows = SimpleNamespace(LK_UNLCK="unlock", LK_LOCK="wait", LK_NBLCK="now", locking=locking)
    monkeypatch.setattr(files, "_fcntl", None)
    monkeypatch.setattr(files, "_msvcrt", windows)

    files.lock(fd)
    files.lock(fd, wait=True)
    files.close(os.dup(fd))

    assert calls == [("now", 2**30, 1), ("wait", 2**30, 1), ("unlock", 2**30, 1)]


def test_fork_is_no_matter_where_there_is_none(monkeypatch):
    monkeypatch.delattr(os, "register_at_fork")

    files.after_fork(pytest.fail)
