"""docs/billing.md: its settings, commands, options and SQL are those of the code."""

from __future__ import annotations

import datetime as dt
import re
import shlex
from decimal import Decimal
from typing import Any

import pytest
from django.core.management import load_command_class
from django.db import connection

from tests.support.children import ROOT
from usage_tracking import checks
from usage_tracking.billing.families import FAMILIES
from usage_tracking.billing.sources import SOURCES
from usage_tracking.models import AIProviderBill
from usage_tracking.reports.reconciled import KINDS

PAGE = (ROOT / "docs" / "billing.md").read_text()
KEYS = ("OPENAI_ADMIN_KEY", "ANTHROPIC_ADMIN_KEY", "OPENROUTER_MANAGEMENT_KEY")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)


def first_cells(heading: str) -> list[str]:
    """Return the first cells of the first table below a heading."""
    below = PAGE.partition(f"\n{heading}\n")[2].partition("\n#")[0]
    return re.findall(r"^\| `(.+?)` \|", below, re.MULTILINE)


LINES = [*"".join(blocks("console")).splitlines(), *"".join(blocks("cron")).splitlines()]
COMMANDS = sorted(
    {line.partition("python manage.py ")[2] for line in LINES}
    | set(re.findall(r"`python manage.py ([^`]+)`", PAGE))
)


@pytest.mark.parametrize("has_keys", [True, False])
def test_settings_load_with_and_without_the_keys(has_keys, settings, monkeypatch):
    for name in KEYS:
        monkeypatch.setenv(name, f"{name}-0001") if has_keys else monkeypatch.delenv(name, False)
    written: dict[str, Any] = {}

    exec(blocks("python")[0], written)

    settings.AI_USAGE_BILLING = written["AI_USAGE_BILLING"]
    assert list(settings.AI_USAGE_BILLING) == list(SOURCES)
    assert checks.check_settings() == []


@pytest.mark.parametrize("command", COMMANDS)
def test_commands_accept_their_options(command):
    name, *options = shlex.split(command)
    if name != "migrate":
        parser = load_command_class("usage_tracking", name).create_parser("manage.py", name)
        parser.parse_args(options)


def test_providers_are_those_of_the_code():
    assert re.findall(r'^\| [\w ]+ \| `"(\w+)"` \|', PAGE, re.MULTILINE) == list(FAMILIES)


def test_explanations_are_listed_in_their_order():
    assert tuple(first_cells("### Explanations")) == KINDS


def test_options_of_the_command_are_listed():
    parser = load_command_class("usage_tracking", "reconcile_ai_usage").create_parser("", "")
    listed = {cell.split()[0] for cell in first_cells("## Run it every day")}

    own = {name for action in parser._actions for name in action.option_strings}
    assert listed <= own
    assert own - listed <= {
        *("--database", "--version", "--verbosity", "--settings", "--pythonpath", "--traceback"),
        *("--no-color", "--force-color", "--skip-checks", "--help", "-h", "-v"),
    }


@pytest.mark.django_db
def test_statements_show_a_bill():
    bill = {"provider": "openai", "day": dt.date(2026, 11, 20)}
    usage = AIProviderBill(
        **bill, family="completions", model_name="gpt-4o", requests=2, prompt_tokens=30
    )
    amount = AIProviderBill(**bill, family="costs", line_item="gpt-4o, input", cost=Decimal(3))
    nothing = AIProviderBill(provider="openai", day=dt.date(2026, 11, 21), requests=0)
    AIProviderBill.objects.bulk_create([usage, amount, nothing])

    by_model, by_line, days = map(answer, blocks("sql"))

    assert by_model == [("openai", "gpt-4o", 2, 30, None)]
    assert [(provider, line, float(usd)) for provider, line, usd in by_line] == [
        ("openai", "gpt-4o, input", 3.0)
    ]
    assert [(provider, str(day)) for provider, day, _ in days] == [
        ("openai", "2026-11-20"),
        ("openai", "2026-11-21"),
    ]


def answer(sql: str) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(sql)
        return [tuple(row) for row in cursor.fetchall()]
