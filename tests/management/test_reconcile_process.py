"""`reconcile_ai_usage` as cron starts it: exit codes, and no key in any output."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from project.stub import ADMIN_KEYS, StubProvider
from tests.smallest import make_smallest_site
from tests.support.children import hear_control_c
from tests.support.sites import manage
from tests.support.waiting import finish

pytestmark = [pytest.mark.process, pytest.mark.server, pytest.mark.one_database]

#: The stub repeats it in its error, as OpenAI does.
WRONG_KEY = "admin-Qz7pL0vXeW3nT5yBkM9cR2dJ"


def make_site(directory: Path, key: str, url: str) -> dict[str, str]:
    account = {"openai": {"key": key, "base_url": url}}
    env = make_smallest_site(
        directory, f"sqlite:///{directory}/db.sqlite3", f"AI_USAGE_BILLING = {account!r}\n"
    )
    assert manage("migrate", "-v", "0", env=env, directory=directory).code == 0
    return env


def test_bill_is_fetched_by_cron(tmp_path: Path):
    with StubProvider() as stub:
        env = make_site(tmp_path, ADMIN_KEYS["openai"], stub.openai_url)

        ended = manage("reconcile_ai_usage", "--fail-under", "98", env=env, directory=tmp_path)

    assert (ended.code, ended.err) == (0, "")
    assert ended.out.startswith("OpenAI: nothing was billed from ")


def test_key_is_in_no_output_however_much_is_printed(tmp_path: Path):
    with StubProvider() as stub:
        env = make_site(tmp_path, WRONG_KEY, stub.openai_url)

        ended = manage("reconcile_ai_usage", "--traceback", "-v", "3", env=env, directory=tmp_path)

    assert ended.code != 0
    assert "OpenAI says: Incorrect API key provided: [redacted]" in ended.err
    assert WRONG_KEY not in ended.out + ended.err


def test_control_c_while_a_provider_is_slow(tmp_path: Path):
    with socket.create_server(("127.0.0.1", 0)) as slow:
        slow.settimeout(60)
        url = f"http://127.0.0.1:{slow.getsockname()[1]}/v1"
        env = make_site(tmp_path, WRONG_KEY, url)
        with subprocess.Popen(
            [sys.executable, "-m", "django", "reconcile_ai_usage"],
            cwd=tmp_path,
            env=os.environ | env,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=hear_control_c,
        ) as process:
            request, _ = slow.accept()
            with request:
                request.settimeout(60)
                assert request.recv(1) == b"G"  # it waits for the answer
                process.send_signal(signal.SIGINT)
                out, err = finish(process)

    assert (process.returncode, out) == (130, "")
    assert err == "CommandError: Stopped. Bills that were fetched before are stored.\n"
