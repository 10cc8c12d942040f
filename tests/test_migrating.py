"""docs/migrating.md, command by command, on a site with tables of its own tracker."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.children import run_python

GUIDE = (Path(__file__).parent.parent / "docs" / "migrating.md").read_text()
STEPS = [
    (kind, line)
    for kind, block in re.findall(r"```(sql|console)\n(.*?)```", GUIDE, re.DOTALL)
    for line in block.strip().splitlines()
]

# What a site wrote before it had this package.
OWN_TRACKER = """
import uuid
from datetime import datetime, timedelta, UTC
from django.conf import settings
from django.core.management import call_command
from django.db import connection, models

class AIUsageLog(models.Model):
    id = models.UUIDField(primary_key=True, default=uuid.uuid4)
    user = models.ForeignKey("auth.User", models.CASCADE, related_name="+")
    section = models.CharField(max_length=50)
    prompt_tokens = models.IntegerField(default=0)
    completion_tokens = models.IntegerField(default=0)
    total_tokens = models.IntegerField(default=0)
    response_time_ms = models.IntegerField(default=0)
    success = models.BooleanField(default=True)
    model_name = models.CharField(max_length=100, blank=True)
    error_message = models.TextField(null=True, blank=True)
    metadata = models.JSONField(default=dict, blank=True)
    created_at = models.DateTimeField()

    class Meta:
        app_label = "own"
        db_table = "ai_usage_log"
        indexes = [models.Index(fields=["user", "-created_at"])]

class AIUsageTracking(models.Model):
    user = models.ForeignKey("auth.User", models.CASCADE, related_name="+")
    date = models.DateField()
    total_requests = models.IntegerField(default=0)
    total_prompt_tokens = models.IntegerField(default=0)
    total_completion_tokens = models.IntegerField(default=0)
    total_tokens = models.IntegerField(default=0)
    total_response_time_ms = models.IntegerField(default=0)
    average_response_time_ms = models.FloatField(default=0)
    successful_requests = models.IntegerField(default=0)
    failed_requests = models.IntegerField(default=0)

    class Meta:
        app_label = "own"
        db_table = "ai_usage_tracking"
        unique_together = [("user", "date")]

def track(user, section, prompt, completion, ms, at, success=True, error=None, metadata=None):
    AIUsageLog.objects.create(
        user=user, section=section, prompt_tokens=prompt, completion_tokens=completion,
        total_tokens=prompt + completion, response_time_ms=ms, success=success,
        model_name="gpt-4o", error_message=error, metadata=metadata or {}, created_at=at,
    )
    day, _ = AIUsageTracking.objects.get_or_create(user=user, date=at.date())
    day.total_requests += 1
    day.total_prompt_tokens += prompt
    day.total_completion_tokens += completion
    day.total_tokens += prompt + completion
    day.total_response_time_ms += ms
    day.average_response_time_ms = day.total_response_time_ms / day.total_requests
    day.successful_requests += success
    day.failed_requests += not success
    day.save()

call_command("migrate", "auth", verbosity=0)
with connection.schema_editor() as editor:
    editor.create_model(AIUsageLog)
    editor.create_model(AIUsageTracking)
from django.contrib.auth.models import User
ada, bob = User.objects.create(username="ada"), User.objects.create(username="bob")
NOON = datetime(2026, 3, 14, 12, tzinfo=UTC)
for number in range(30):
    track(ada, "chat", 100 + number, 10, 700, NOON - timedelta(hours=5 * number))
track(bob, "rag_pipeline", 5, 0, 90, NOON, False, "401: key sk-abcdefghijklmnop", {"api_key": "x"})
with connection.cursor() as cursor:
    cursor.execute(
        "CREATE TABLE chat_costs (nr integer PRIMARY KEY, made_at varchar(40),"
        " tokens_in integer, tokens_out integer, usd numeric, mood text)"
    )
    cursor.execute("INSERT INTO chat_costs VALUES (1, '2026-03-10T08:00:00Z', 7, 8, 0.25, 'good')")
"""

RUN = """
from django.core.management import execute_from_command_line
import shlex

def run(kind, line):
    print(">", line, flush=True)
    if kind == "sql":
        with connection.cursor() as cursor:
            cursor.execute(line)
        return
    python, *command = shlex.split(line)
    try:
        execute_from_command_line(command)
    except SystemExit as ended:
        print("exit code", ended.code)
"""


@pytest.mark.one_driver
def test_every_step_of_the_guide_works(tmp_path: Path, empty_database_url: str):
    """With UUIDs for keys; tests/test_importing.py has numbers."""
    printed = run_python(
        tmp_path,
        OWN_TRACKER
        + RUN
        + f"""
for step in {STEPS[:2]!r}:
    run(*step)
for step in {STEPS[2:-2]!r}:
    run(*step)
from usage_tracking import models as new
row = new.AIUsageLog.objects.select_related("user").get(success=False)
print(row.user.username, row.section, row.error_message, row.metadata, row.created_at == NOON)
print(new.AIUsageTracking.objects.get(user=bob).failed_requests)
row = new.AIUsageLog.objects.get(user=None)
print(row.total_tokens, str(row.cost)[:4])
run(*{STEPS[4]!r})
for step in {STEPS[-2:]!r}:
    run(*step)
print(new.AIUsageLog.objects.count())
""",
        DATABASE_URL=empty_database_url,
    )

    dry, real, mapped, rebuilt, again = (
        part for part in re.split(r"^> .*\n", printed, flags=re.MULTILINE) if "rows" in part
    )
    agree = "all daily totals are as in old_ai_usage_tracking\n"
    assert dry == f"31 rows read, 31 would be imported, 0 there already\n{agree}"
    assert real == f"31 rows read, 31 imported, 0 there already\n{agree}"
    assert mapped == (
        "columns of chat_costs left out: mood\n"
        "1 rows read, 1 imported, 0 there already\n"
        "1 rows are kept without user: theirs is gone, or was never known\n"
    )
    assert rebuilt == (
        "0 daily rows are out of step\n"
        "bob rag_pipeline 401: key [redacted] {'api_key': '[redacted]'} True\n"
        "1\n"
        "15 0.25\n"
    )
    assert again == f"31 rows read, 0 imported, 31 there already\n{agree}"
    assert printed.endswith("\n32\n")
    assert "exit code" not in printed


def test_the_guide_has_the_steps_that_are_run():
    assert [line.split()[:3] for kind, line in STEPS if kind == "console"] == [
        ["python", "manage.py", name]
        for name in ("migrate", *["import_ai_usage"] * 3, "rebuild_ai_usage")
    ]
