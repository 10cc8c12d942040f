"""The curl lines of docs/api.md and docs/monitoring.md work, with the documented responses."""

from __future__ import annotations

import json
import os
import re
import subprocess
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.utils import timezone
from rest_framework.authtoken.models import Token

from tests.support.builders import save_log
from tests.support.children import ROOT
from usage_tracking.models import AIUsageLog
from usage_tracking.pricing import data

pytestmark = pytest.mark.process

TEXT = (ROOT / "docs" / "api.md").read_text()
MONITORING = (ROOT / "docs" / "monitoring.md").read_text()


def curls(text: str) -> list[str]:
    return re.findall(r"^curl .*$", text, re.MULTILINE)


SAMPLES = [json.loads(block) for block in re.findall(r"^```json\n(.*?)^```", TEXT, re.M | re.S)]


@pytest.fixture
def run(live_server: Any) -> Any:
    user = User.objects.create_superuser("ada", "ada@example.com")
    save_log(user=user, created_at=timezone.now())
    environment = {
        "PATH": os.environ["PATH"],
        "TOKEN": Token.objects.create(user=user).key,
        "SITE": live_server.url,
    }

    def run(command: str) -> Any:
        ended = subprocess.run(
            ["sh", "-ec", command],
            env=environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert (ended.returncode, ended.stderr) == (0, ""), ended.stdout
        return json.loads(ended.stdout)

    return run


def test_every_line_runs(run: Any, subtests: pytest.Subtests):
    for command in (*curls(TEXT), *curls(MONITORING)):
        with subtests.test(command):
            assert run(command)


def test_recorded_call_is_there(run: Any):
    (command,) = [line for line in curls(TEXT) if " -d " in line]

    row = run(command)

    assert AIUsageLog.objects.get(pk=row["id"]).metadata == {
        "order": 7,
        "cost_source": data.load().version,
    }


def test_answers_have_the_keys_of_the_samples(run: Any):
    logs, stats, all_ = SAMPLES
    assert keys(run(curls(TEXT)[0])) == keys(logs)
    (command,) = [line for line in curls(TEXT) if "stats/?days=30" in line]
    answer = run(command)
    assert keys(answer | {"recent_logs": []}) == keys(stats)
    (command,) = [line for line in curls(TEXT) if "logs/global" in line]
    assert set(run(command)) == set(stats) | set(all_) | {"unattributed_requests", "total_users"}
    assert keys(run(command)["top_users"]) == keys(all_["top_users"])


def test_there_is_something_to_run():
    assert (len(curls(TEXT)), len(SAMPLES)) == (7, 3)
    assert curls(MONITORING)


def keys(value: Any) -> Any:
    """Return the keys of `value` at every level; of a list, those of its first item."""
    if isinstance(value, dict):
        return {name: keys(item) for name, item in value.items() if name != "metadata"}
    return [keys(value[0])] if isinstance(value, list) and value else None
