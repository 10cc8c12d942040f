"""The README, CONTRIBUTING, docs/settings.md and the hooks of pre-commit agree with the code."""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Iterator
from inspect import signature
from pathlib import Path
from types import ModuleType

import pytest
import yaml
from django.contrib.auth.models import User
from django.test import Client
from django.urls import path
from pytest_django import Settings

import usage_tracking
from project.stub import StubProvider
from tests.support.comparison import assert_recorded_as_served
from tests.support.providers import one_certificate, provider, stub
from usage_tracking import conf
from usage_tracking.capture import TRANSPORTS
from usage_tracking.capture.sessions import CLOSED, CROWDED
from usage_tracking.formats import READERS
from usage_tracking.formats.reader import Reader
from usage_tracking.models import AIUsageLog, AIUsageTracking
from usage_tracking.templatetags.ai_usage import ai_usage_summary
from usage_tracking.views import my_usage

__all__ = ["one_certificate", "provider", "stub"]

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text()
SETTINGS = (ROOT / "docs" / "settings.md").read_text()
INSTALLATION = (ROOT / "docs" / "installation.md").read_text()
CAPTURE = (ROOT / "docs" / "capture.md").read_text()
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
LINKING = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").glob("*.md"))]
MAKEFILE = (ROOT / "Makefile").read_text()


def section(title: str, page: str = README) -> str:
    found = page.partition(f"\n## {title}\n")[2].partition("\n## ")[0]
    assert found, title
    return found


def python_blocks(page: str) -> list[str]:
    return re.findall(r"```python\n(.*?)```", page, re.DOTALL)


def first_cells(page: str) -> list[str]:
    return re.findall(r"^\| `([^`]+)` \|", page, re.MULTILINE)


def test_readme_fits_two_minutes() -> None:
    assert len(README.splitlines()) <= 150


def test_example_runs_as_it_stands(
    client: Client,
    db: None,
    monkeypatch: pytest.MonkeyPatch,
    settings: Settings,
    stub: StubProvider,
) -> None:
    """The real SDK calls the stub over HTTP; both URLs are set outside of the pasted code."""
    _settings, code = python_blocks(section("Install in a site"))
    monkeypatch.setenv("OPENAI_API_KEY", "any")
    monkeypatch.setenv("OPENAI_BASE_URL", stub.openai_url)
    site = ModuleType("site_of_the_readme")
    vars(site).update(path=path, urlpatterns=[])  # as in the file of a new project
    exec(compile(code, "README.md", "exec"), vars(site))
    settings.ROOT_URLCONF = site
    ada = User.objects.create_user("ada")
    client.force_login(ada)

    with site.client:
        answer = client.get("/ask/").json()

    (served,) = stub.journal
    row = AIUsageLog.objects.get()
    day = AIUsageTracking.objects.get()
    assert answer["text"]
    assert_recorded_as_served([row], [served])
    assert answer["tokens"] == row.total_tokens == day.total_tokens
    assert (row.user, row.section, row.success) == (ada, "chat", True)
    assert row.cost is not None
    assert (day.user, day.total_requests) == (ada, 1)


def test_options_of_the_own_page_and_summary_are_those_of_the_code() -> None:
    listed = first_cells(section("Show users their own usage", INSTALLATION))

    assert set(listed) == set(signature(ai_usage_summary).parameters) - {"context"}
    assert {*listed} - {"month"} == set(signature(my_usage).parameters) - {"request"}


def test_settings_table_lists_every_setting_and_no_other() -> None:
    listed = re.findall(r"^\| `AI_USAGE_(\w+)`", SETTINGS, re.MULTILINE)

    assert sorted(listed) == sorted(conf.SETTINGS)


def test_default_sections_are_those_of_the_code() -> None:
    told = re.findall(r"^\| `(\w+)` \| (.+) \|$", section("Sections", SETTINGS), re.MULTILINE)

    assert dict(told) == conf.DEFAULT_SECTIONS


def test_transports_and_wire_formats_are_those_of_the_code() -> None:
    (line,) = re.findall(r"^\| `AI_USAGE_CAPTURE`.*", SETTINGS, re.MULTILINE)

    assert re.findall(r"`(\w+)`", line.partition("transports:")[2]) == list(TRANSPORTS)
    assert first_cells(section("Wire formats", CAPTURE)) == list(READERS)


def test_every_reason_for_unknown_usage_is_explained() -> None:
    kinds = [Reader, *subclasses_of(Reader)]
    reasons = {reason for kind in kinds for reason in (kind.in_progress, kind.no_usage)}
    explained = section("Streams", CAPTURE)

    assert {one for one in reasons | {CLOSED, CROWDED} if f"`{one}`" not in explained} == set()


def subclasses_of(kind: type[Reader]) -> Iterator[type[Reader]]:
    for each in kind.__subclasses__():
        yield from (each, *subclasses_of(each))


def test_public_names_that_are_shown_exist() -> None:
    shown = set()
    for page in PAGES:
        for block in python_blocks(page.read_text()):
            for node in ast.walk(ast.parse(block)):
                if isinstance(node, ast.ImportFrom) and node.module == "usage_tracking":
                    shown |= {name.name for name in node.names}

    assert shown <= set(usage_tracking.__all__)
    assert {"ai_usage", "track_ai_usage", "AIUsageTracker", "ai_section", "propagate"} <= shown
    assert all(getattr(usage_tracking, name) for name in usage_tracking.__all__)


def test_first_two_commands_are_targets_of_the_makefile() -> None:
    commands = re.findall(r"^make (\w+)", section("Try it"), re.MULTILINE)

    assert commands == ["demo", "test"]
    assert all(f"\n{command}:" in MAKEFILE for command in commands)


def test_targets_in_contributing_exist() -> None:
    targets = set(re.findall(r"\bmake ([a-z][a-z0-9-]+)", CONTRIBUTING))

    assert {"check", "test", "bench"} <= targets
    assert {target for target in targets if f"\n{target}:" not in MAKEFILE} == set()


def test_hooks_of_pre_commit_run_the_pinned_ruff() -> None:
    config = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())
    (ours,) = [repo for repo in config["repos"] if repo["repo"] == "local"]
    entries = [shlex.split(hook["entry"]) for hook in ours["hooks"]]

    assert [entry[:2] for entry in entries] == [
        [".venv/bin/ruff", "check"],
        [".venv/bin/ruff", "format"],
    ]
    assert {hook["language"] for hook in ours["hooks"]} == {"system"}
    assert "ruff==" in (ROOT / "requirements.txt").read_text()


def anchors(page: Path) -> set[str]:
    """The anchors that GitHub gives to the headings of a page."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading).lower().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", LINKING, ids=lambda page: page.name)
def test_links_lead_to_pages_and_headings(page: Path) -> None:
    for target in re.findall(r"\]\(((?!https?:)[^)]+)\)", page.read_text()):
        name, _, anchor = target.partition("#")
        found = page.parent / name if name else page
        assert found.exists(), target
        assert not anchor or anchor in anchors(found), target
