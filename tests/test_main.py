"""`python -m usage_tracking` and `--version`, as a newcomer types them."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import django
import pytest
from django.core.management import load_command_class

from tests.support.children import ROOT
from tests.test_commands import COMMANDS
from usage_tracking import __main__ as main
from usage_tracking.system import release

NAME = f"django-usage-tracking {release.version()}"


@pytest.mark.process
@pytest.mark.parametrize(
    ("options", "second"),
    [
        ([], "Record every AI call your Django site makes: "),
        (["-OO"], "\nRun a command in your site"),
    ],
)
def test_it_works_without_a_site(tmp_path: Path, options: list[str], second: str):
    env = {name: value for name, value in os.environ.items() if name != "DJANGO_SETTINGS_MODULE"}
    ended = subprocess.run(
        [sys.executable, *options, "-m", "usage_tracking"],
        cwd=tmp_path,
        env=env | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )

    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout.startswith(f"{NAME}\n{second}")


def test_every_command_is_listed_with_what_it_does(capsys):
    assert main.main([]) == 0

    lines = capsys.readouterr().out.splitlines()
    listed = {line.split()[0]: line.split(None, 1)[1] for line in lines if line.startswith("  ")}
    assert set(COMMANDS) <= set(listed)
    assert all(listed[name].endswith(".") for name in COMMANDS)
    assert "python manage.py COMMAND" in lines
    assert "  python -m usage_tracking.scanner PATH" in lines
    assert lines[-1].startswith("Documentation: ")


def test_lines_fit_a_terminal(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "50")
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)

    main.main([])

    assert max(map(len, capsys.readouterr().out.splitlines()[:-1])) <= 50


def test_version(capsys):
    with pytest.raises(SystemExit) as ended:
        main.main(["--version"])

    assert (ended.value.code, capsys.readouterr().out) == (0, f"{NAME}\n")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["usage_today", "--json"], "run it in your site: python manage.py usage_today --json"),
        (["usage_tody"], "unrecognized arguments: usage_tody"),
    ],
)
def test_other_arguments_are_refused(capsys, arguments: list[str], message: str):
    with pytest.raises(SystemExit) as ended:
        main.main(arguments)

    assert ended.value.code == 2
    assert capsys.readouterr().err.endswith(f"error: {message}\n")


def test_version_is_that_of_the_project():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]

    assert release.version() == project["version"]


def test_copy_of_the_package_has_no_version(monkeypatch, tmp_path: Path):
    version = release.version.__wrapped__  # not the cached one
    monkeypatch.setattr(release, "DISTRIBUTION", "no-such-distribution")

    assert version() == "unknown"  # another project's file
    monkeypatch.setattr(release, "_PROJECT", tmp_path / "pyproject.toml")
    assert version() == "unknown"
    assert release.documentation() == "the folder docs of the source"


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_prints_our_version(name: str):
    command = load_command_class("usage_tracking", name)

    assert command.get_version() == f"{NAME} (Django {django.get_version()})"
