"""Every command and every SQL statement of docs/monitoring.md runs."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from django.core.management import get_commands, load_command_class
from django.db import connection, transaction

from tests.support.children import ROOT
from tests.support.commands import run_command
from tests.support.sites import make_calls
from usage_tracking import errors
from usage_tracking.health import Thresholds
from usage_tracking.management.commands.diagnose_ai_usage import THRESHOLDS

MONITORING = (ROOT / "docs" / "monitoring.md").read_text()
README = (ROOT / "README.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", MONITORING, re.DOTALL | re.MULTILINE)


LINES = sorted({line for block in blocks("console") for line in block.splitlines()})
MANAGE = "python manage.py "
COMMANDS = [shlex.split(line)[2:] for line in LINES if line.startswith(MANAGE)]
SHELL = [line for line in LINES if not line.startswith(MANAGE)]
CRON = [line.split(maxsplit=5)[5] for block in blocks("cron") for line in block.splitlines()]
INLINE = sorted(set(re.findall(r"`python manage.py ([^`]+)`", MONITORING)))


@pytest.fixture
def site(tmp_path: Path, database_url: str, django_user_model) -> dict[str, str]:
    """The demo with recorded calls. `python` and `manage.py` are in an operator's usual places."""
    make_calls(django_user_model.objects.create_superuser("john_doe"))
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


@pytest.mark.costly
@pytest.mark.one_database
def test_shell_lines_run(site: dict[str, str], tmp_path: Path, subtests: pytest.Subtests) -> None:
    """The cron line starts `manage.py` as an operator does."""
    for command in (*SHELL, *CRON):
        with subtests.test(command):
            ended = subprocess.run(
                ["sh", "-ec", command.replace("/srv/site", str(tmp_path))],
                cwd=tmp_path,
                env=site,
                capture_output=True,
                text=True,
                timeout=120,
                check=False,
            )

            assert (ended.returncode, ended.stderr) == (0, ""), ended.stdout


@pytest.mark.server
@pytest.mark.django_db
def test_commands_run(
    django_user_model, subtests: pytest.Subtests, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        errors, "failures", Counter()
    )  # discards errors of other tests in this process
    make_calls(django_user_model.objects.create_superuser("john_doe"))

    # The SDKs take seconds each time. tests/health/test_diagnose.py tests them.
    skip = {"diagnose_ai_usage": ["--skip-sdks"]}
    commands = {
        (name, *skip.get(name, []), *(a for a in arguments if a != "--skip-sdks"))
        for name, *arguments in COMMANDS
    }
    for name, *arguments in sorted(commands):
        with subtests.test(" ".join((name, *arguments))):
            ended = run_command(name, *arguments)

            assert (ended.code, ended.err) == (0, ""), ended.out


@pytest.mark.parametrize("command", INLINE)
def test_command_in_the_text_exists(command: str) -> None:
    name, *arguments = shlex.split(command)
    found = load_command_class(get_commands()[name], name)

    found.create_parser("manage.py", name).parse_args(
        arguments
    )  # raises if the arguments are invalid


@pytest.mark.django_db
def test_statements_run(django_user_model, subtests: pytest.Subtests) -> None:
    make_calls(django_user_model.objects.create_user("ada"), 3)
    make_calls(None, 1, success=False)

    for statement in blocks("sql"):
        with subtests.test(statement), transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(statement)
            cursor.fetchall()


def test_drift_statement_finds_drift(db: None, django_user_model) -> None:
    (statement,) = [block for block in blocks("sql") if "counted" in block]
    make_calls(django_user_model.objects.create_user("ada"), 3)
    with connection.cursor() as cursor:
        cursor.execute(statement)
        assert cursor.fetchall() == []
        cursor.execute("UPDATE ai_usage_tracking SET total_requests = 2")
        cursor.execute(statement)
        assert [row[2:] for row in cursor.fetchall()] == [(3, 2)]


def test_docs_have_commands_and_statements() -> None:
    assert len(COMMANDS) > 10
    assert len(SHELL) > 5
    assert len(CRON) == 1
    assert len(blocks("sql")) >= 7


def test_table_of_thresholds_matches_the_command() -> None:
    thresholds = dict(re.findall(r"^\| `--([a-z-]+)` \| ([\d.]+) \|", MONITORING, re.MULTILINE))

    assert thresholds == {
        name.replace("_", "-"): f"{getattr(Thresholds(), name):g}" for name in THRESHOLDS
    }


def test_links_have_targets() -> None:
    for target in re.findall(r"\]\(((?!https?:)[^)#]+)\)", README):
        assert (ROOT / target).exists(), target
