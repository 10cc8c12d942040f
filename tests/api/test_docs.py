"""The curl lines of docs/api.md and docs/monitoring.md work, with the documented responses."""

from __future__ import annotations

import json
import os
import re
import subprocess
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.utils import timezone
from rest_framework.authentication import TokenAuthentication
from rest_framework.authtoken.models import Token

from tests.support.builders import NOON, save_bill, save_log
from tests.support.children import ROOT
from usage_tracking.api.base import UsageView
from usage_tracking.models import AIUsageLog
from usage_tracking.pricing import data

pytestmark = pytest.mark.process

TEXT = (ROOT / "docs" / "api.md").read_text()
MONITORING = (ROOT / "docs" / "monitoring.md").read_text()


def curls(text: str) -> list[str]:
    return re.findall(r"^curl .*$", text, re.MULTILINE)


SAMPLES = [json.loads(block) for block in re.findall(r"^```json\n(.*?)^```", TEXT, re.M | re.S)]


LISTS = ("days", "missing_days", "provisional_days", "pruned_days")
REPORT, LOG_LIST, RECORDED, STATS, ALL, RECONCILED = SAMPLES
PROGRAMS = re.findall(r"^```python\n(.*?)^```", TEXT, re.M | re.S)


@pytest.fixture
def run(live_server: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    # Most sites have REST framework's own tokens and nothing else.
    monkeypatch.setattr(UsageView, "authentication_classes", (TokenAuthentication,))
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
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert (ended.returncode, ended.stderr) == (0, ""), ended.stdout
        return ended.stdout if "text/csv" in command else json.loads(ended.stdout)

    return run


def test_every_line_runs(run: Any, subtests: pytest.Subtests):
    for command in (*curls(TEXT), *curls(MONITORING)):
        with subtests.test(command):
            assert run(command)


def test_recorded_call_is_there(run: Any):
    command = next(line for line in curls(TEXT) if " -d '{" in line)

    row = run(command)

    assert AIUsageLog.objects.get(pk=row["id"]).metadata == {
        "order": 7,
        "cost_source": data.load().version,
    }


def test_calls_of_a_worker_are_there_once(run: Any):
    one, many = (line for line in curls(TEXT) if "idempotency_key" in line)

    rows = [run(one), run(one)]
    answers = [run(many), run(many)]

    assert rows[0] == rows[1]
    assert (rows[0]["user"], rows[0]["cost"], rows[0]["day"]) == (
        None,
        "0.0012500000",
        "2026-10-14",
    )
    assert [(answer["created"], answer["repeated"]) for answer in answers] == [(2, 0), (0, 2)]
    assert set(answers[0]) == set(RECORDED)


def test_answers_have_the_keys_of_the_samples(run: Any):
    assert keys(run(next(line for line in curls(TEXT) if '/logs/"' in line))) == keys(LOG_LIST)
    (command,) = [line for line in curls(TEXT) if "stats/?days=30" in line]
    answer = run(command)
    assert keys(answer | {"recent_logs": []}) == keys(STATS)
    (command,) = [line for line in curls(TEXT) if "logs/global" in line]
    assert set(run(command)) == set(STATS) | set(ALL) | {"unattributed_requests", "total_users"}
    assert keys(run(command)["top_users"]) == keys(ALL["top_users"])


def test_report_has_the_keys_and_the_columns_of_the_samples(run: Any):
    save_log(user=User.objects.get(), created_at=NOON.replace(month=10))
    bill = next(line for line in curls(TEXT) if "group_by=day,user,model" in line)
    (table,) = [line for line in curls(TEXT) if "text/csv" in line]
    (sample,) = re.findall(r"^```csv\n(.*?)\n", TEXT, re.M)

    assert keys(run(bill)) == keys(REPORT)
    assert run(table).splitlines()[0] == sample


def test_reconciliation_has_the_keys_of_its_sample(run: Any):
    at = NOON.replace(month=10)
    save_log(created_at=at, cost=Decimal(1))
    save_bill(day=at.date(), requests=2, prompt_tokens=300, completion_tokens=160)
    (command,) = [line for line in curls(TEXT) if "reconciliation" in line]

    answer = run(command)

    # Lists of days and names may be empty.
    (found,), (sample,) = (
        [{**each, **dict.fromkeys(LISTS)} for each in of["providers"]]
        for of in (answer, RECONCILED)
    )
    for provider in (found, sample):
        provider["explanations"][0] |= dict.fromkeys(("models", "keys"))
    assert keys(found) == keys(sample)
    assert set(answer) == set(RECONCILED)


def test_billing_program_prints_the_sums(run: Any, live_server: Any):
    user = User.objects.get()
    for cost in (Decimal("1.25"), Decimal("0.5"), None):
        save_log(user=user, created_at=NOON.replace(month=10), cost=cost)
    (program,) = [block for block in PROGRAMS if "owed" in block]
    names: dict[str, Any] = {
        "site": live_server.url,
        "token": Token.objects.get().key,
        "print": lambda *_: None,
    }

    exec(program, names)

    assert (names["owed"], names["unpriced"]) == ({"ada": Decimal("1.75")}, 1)


def test_there_is_something_to_run():
    assert (len(curls(TEXT)), len(SAMPLES)) == (14, 6)
    assert curls(MONITORING)


def keys(value: Any) -> Any:
    """Return the keys of `value` at every level; of a list, those of its first item."""
    if isinstance(value, dict):
        return {name: keys(item) for name, item in value.items() if name != "metadata"}
    return [keys(value[0])] if isinstance(value, list) and value else None
