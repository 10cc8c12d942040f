"""The self-test of `diagnose_ai_usage`, on a site with the SDKs of the session."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import pytest

from tests.support.children import ROOT
from usage_tracking.capture.selftest_sdks import SDKS

#: Prints the outcome of each trial, what left the machine, and what changed in the environment.
SITE = """
import json, os, socket

import django

django.setup()
from usage_tracking.capture import selftest

outside = []
connect, look_up = socket.socket.connect, socket.getaddrinfo

def watch(host):
    if host not in ("127.0.0.1", "localhost"):
        outside.append(str(host))

def watched_connect(self, address):
    watch(address[0])
    return connect(self, address)

def watched_look_up(host, *arguments, **options):
    watch(host)
    return look_up(host, *arguments, **options)

socket.socket.connect, socket.getaddrinfo = watched_connect, watched_look_up
before = dict(os.environ)
found = (selftest.try_transports(), selftest.try_sdks())
outcomes = [{f"{one.package} {one.mode}": one.problem for one in trials} for trials in found]
changed = sorted(name for name, _ in os.environ.items() ^ before.items())
print("REPORT" + json.dumps([*outcomes, outside, changed]))
"""


@pytest.mark.process
def test_every_sdk_is_captured_and_leaves_no_trace(tmp_path: Path) -> None:
    program = tmp_path / "site.py"
    program.write_text(SITE)
    environ = {name: value for name, value in os.environ.items() if "LITELLM" not in name}
    done = subprocess.run(
        [sys.executable, "-m", "coverage", "run", str(program)],
        check=True,
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={
            **environ,
            "DJANGO_SETTINGS_MODULE": "tests.sdks.settings",
            "PYTHONPATH": str(ROOT),
        },
    )

    transports, sdks, outside, changed = json.loads(done.stdout.partition("REPORT")[2])

    assert transports == dict.fromkeys(transports, "")
    assert sdks == dict.fromkeys(sdks, "")
    assert {name.split()[0] for name in sdks} == {sdk.package for sdk in SDKS if _has(sdk.package)}
    assert outside == []
    assert changed == []


def _has(package: str) -> bool:
    try:
        version(package)
    except PackageNotFoundError:
        return False
    return True
