"""docs/billing.md agrees with the code, and its statements, settings and commands work."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
from django.core.management import get_commands, load_command_class
from django.db import connection

from usage_tracking.billing.families import FAMILIES
from usage_tracking.models import AIProviderBill
from usage_tracking.reports.reconciled import KINDS

#: Options that every command has, or that docs/commands.md explains.
COMMON = {
    *("--help", "--version", "--verbosity", "--settings", "--pythonpath", "--traceback"),
    *("--no-color", "--force-color", "--skip-checks", "--database"),
}
PAGE = (Path(__file__).parent.parent / "docs" / "billing.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)


COMMANDS = [
    line.partition("python manage.py ")[2]
    for block in (*blocks("console"), *blocks("cron"))
    for line in block.splitlines()
] + re.findall(r"`python manage.py ([^`]+)`", PAGE)

VARIABLES = re.findall(r'env(?:\.list)?\("(\w+)"', PAGE)


def accounts() -> dict[str, dict[str, Any]]:
    """What the settings file of the page makes of the environment."""
    (code,) = [block for block in blocks("python") if "import environ" in block]
    names: dict[str, Any] = {}
    exec(compile(code, "docs/billing.md", "exec"), names)
    found: dict[str, dict[str, Any]] = names["AI_USAGE_BILLING"]
    return found


def test_providers_are_those_of_the_code() -> None:
    assert re.findall(r'^\| [\w ]+ \| `"(\w+)"` \|', PAGE, re.MULTILINE) == list(FAMILIES)


def test_explanations_are_those_of_the_code_in_their_order() -> None:
    assert tuple(re.findall(r"^\| `(\w+)` \| [A-Z]", PAGE, re.MULTILINE)) == KINDS


def test_settings_without_keys_have_no_account(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)

    assert accounts() == {}


def test_settings_read_keys_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.setenv(name, name.lower())

    found = accounts()

    assert list(found) == list(FAMILIES)
    assert [each.get("key") for each in found.values()] == [
        "openai_admin_key",
        "anthropic_admin_key",
        "openrouter_management_key",
        None,
    ]


@pytest.mark.parametrize("command", sorted(set(COMMANDS)))
def test_command_exists_with_these_options(command: str) -> None:
    name, *arguments = shlex.split(command)
    found = load_command_class(get_commands()[name], name)

    found.create_parser("manage.py", name).parse_args(arguments)  # raises if they are invalid


@pytest.mark.django_db
def test_statements_find_what_was_billed(subtests: pytest.Subtests) -> None:
    AIProviderBill.objects.create(
        provider="openai", day="2026-11-20", family="completions", model_name="gpt-4o", requests=2
    )
    AIProviderBill.objects.create(
        provider="openai", day="2026-11-20", family="costs", line_item="storage", cost="0.5"
    )

    for statement in blocks("sql"):
        with subtests.test(statement), connection.cursor() as cursor:
            cursor.execute(statement)
            assert [row[0] for row in cursor.fetchall()] == ["openai"]


def test_every_option_of_the_command_is_in_the_table() -> None:
    command = load_command_class(get_commands()["reconcile_ai_usage"], "reconcile_ai_usage")
    own = {
        option
        for action in command.create_parser("manage.py", "")._actions
        for option in action.option_strings
        if option.startswith("--") and option not in COMMON
    }

    assert set(re.findall(r"^\| `(--[a-z-]+)", PAGE, re.MULTILINE)) == own
