"""Every command and every SQL statement of docs/monitoring.md runs."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from django.db import connection

from tests.children import ROOT
from tests.sites import make_calls
from usage_tracking.health import Thresholds
from usage_tracking.management.commands.diagnose_ai_usage import THRESHOLDS

MONITORING = (ROOT / "docs" / "monitoring.md").read_text()
README = (ROOT / "README.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", MONITORING, re.DOTALL | re.MULTILINE)


COMMANDS = sorted({line for block in blocks("console") for line in block.splitlines()})
CRON = [line.split(maxsplit=5)[5] for block in blocks("cron") for line in block.splitlines()]
INLINE = sorted(set(re.findall(r"`python manage.py ([^`]+)`", MONITORING)))


@pytest.fixture
def site(tmp_path: Path, database_url: str, django_user_model) -> dict[str, str]:
    """The demo, with a past; `python` and `manage.py` are where an operator has them."""
    make_calls(django_user_model.objects.create_superuser("john_doe"))
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "python").symlink_to(sys.executable)
    shutil.copy(ROOT / "manage.py", tmp_path)
    (tmp_path / ".ai_usage_outbox").mkdir()
    log = tmp_path / "site.log"
    log.write_text(
        "INFO [TRACK_COMPLETE] of a call\n[TRACK_ERROR] of another\n[TRACK_EXCEPTION] of ours\n"
        "No AI call was seen in the ai_usage block\nDelivery failed\n"
    )
    return {
        **{name: value for name, value in os.environ.items() if not name.startswith("PYTEST")},
        "PATH": os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"])),
        "PYTHONPATH": str(ROOT),
        "DJANGO_SETTINGS_MODULE": "project.settings",
        "DATABASE_URL": database_url,
        "AI_USAGE_OUTBOX": str(tmp_path / ".ai_usage_outbox"),
        "LOG_FILE": str(log),
    }


@pytest.mark.one_driver
@pytest.mark.parametrize("command", [*COMMANDS, *CRON])
def test_command_runs(command: str, site: dict[str, str], tmp_path: Path) -> None:
    ended = subprocess.run(
        ["sh", "-ec", command.replace("/srv/site", str(tmp_path))],
        cwd=tmp_path,
        env=site,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )

    assert (ended.returncode, ended.stderr) == (0, "")


@pytest.mark.one_driver
@pytest.mark.parametrize("command", INLINE)
def test_command_in_the_text_exists(command: str, site: dict[str, str], tmp_path: Path) -> None:
    ended = subprocess.run(
        [sys.executable, "manage.py", *command.split(), "--help"],
        cwd=tmp_path,
        env=site,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )

    assert (ended.returncode, ended.stderr) == (0, "")


@pytest.mark.django_db
@pytest.mark.parametrize("statement", blocks("sql"))
def test_statement_runs(statement: str, django_user_model) -> None:
    make_calls(django_user_model.objects.create_user("ada"), 3)
    make_calls(None, 1, success=False)

    with connection.cursor() as cursor:
        cursor.execute(statement)
        cursor.fetchall()


def test_statement_for_drift_finds_it(db: None, django_user_model) -> None:
    (statement,) = [block for block in blocks("sql") if "counted" in block]
    make_calls(django_user_model.objects.create_user("ada"), 3)
    with connection.cursor() as cursor:
        cursor.execute(statement)
        assert cursor.fetchall() == []
        cursor.execute("UPDATE ai_usage_tracking SET total_requests = 2")
        cursor.execute(statement)
        assert [row[2:] for row in cursor.fetchall()] == [(3, 2)]


def test_there_is_something_to_run() -> None:
    assert len(COMMANDS) > 10
    assert len(CRON) == 1
    assert len(blocks("sql")) >= 7


def test_table_of_thresholds_is_that_of_the_command() -> None:
    told = dict(re.findall(r"^\| `--([a-z-]+)` \| ([\d.]+) \|", MONITORING, re.MULTILINE))

    assert told == {
        name.replace("_", "-"): f"{getattr(Thresholds(), name):g}" for name in THRESHOLDS
    }


def test_links_lead_somewhere() -> None:
    for target in re.findall(r"\]\(((?!https?:)[^)#]+)\)", README):
        assert (ROOT / target).exists(), target
