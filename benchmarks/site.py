"""Sets a benchmark's site up: a directory of its own, the stub in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

import django


@contextmanager
def site(settings: str = "benchmarks.settings") -> Iterator[None]:
    """Django is set up inside, with an outbox in a directory that goes away."""
    with tempfile.TemporaryDirectory() as directory:
        os.environ |= {
            "SITE_DIRECTORY": directory,
            "DJANGO_SETTINGS_MODULE": settings,
        }
        django.setup()
        yield


@contextmanager
def stub() -> Iterator[str]:
    """The stub provider in a process of its own, so that its CPU is not ours; gives host:port."""
    process = subprocess.Popen(
        [sys.executable, "-m", "project.stub", "--port", "0"], stdout=subprocess.PIPE, text=True
    )
    try:
        if process.stdout is None:
            raise RuntimeError("the stub has no output")
        host_port = process.stdout.readline().rpartition("http://")[2].split()[0].strip("/.,")
        os.environ["STUB"] = host_port
        yield host_port
    finally:
        process.terminate()
        process.wait()
