"""What all commands share: closed pipes, invalid arguments, broken sites."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from django.core.management import load_command_class

from tests.smallest import BROWSABLE_API, make_smallest_site
from tests.support import waiting
from tests.support.children import ROOT
from tests.support.commands import Ended
from tests.support.sites import manage
from tests.support.waiting import finish

COMMANDS = tuple(
    sorted(
        path.stem
        for path in (ROOT / "usage_tracking/management/commands").glob("*.py")
        if path.stem != "__init__"
    )
)
#: A command line that prints something, for each command, and its exit code.
LINES = {
    "diagnose_ai_usage --skip-sdks --user nobody": 2,
    "erase_ai_usage --user ada --dry-run": 0,
    "export_ai_usage --user ada": 0,
    "find_uninstrumented {site} --no-cache": 1,
    "flush_ai_usage": 0,
    "import_ai_usage --from nowhere": 2,
    "prune_ai_usage --keep-days 30 --dry-run": 0,
    "rebuild_ai_usage --dry-run": 1,
    "reconcile_ai_usage": 2,
    "reprice_ai_usage --dry-run": 0,
    "usage_report --by call --format csv": 0,
    "usage_today": 0,
    "usage_today --watch 86400": 0,
}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    """A site with a user, a wrong daily row and an untracked call."""
    directory = tmp_path_factory.mktemp("site")
    env = make_smallest_site(directory, f"sqlite:///{directory}/db.sqlite3")
    assert manage("migrate", "-v", "0", env=env, directory=directory).code == 0
    (directory / "views.py").write_text(
        "import grpc, openai\nopenai.OpenAI().responses.create(model='gpt-5', input='Hello')\n"
    )
    prepared = waiting.run(
        [
            sys.executable,
            "-c",
            "import django; django.setup()\n"
            "from django.contrib.auth.models import User\n"
            "from usage_tracking.models import AIUsageLog, AIUsageTracking\n"
            "ada = User.objects.create(username='ada')\n"
            "AIUsageLog.objects.create(user=ada, section='chat', prompt_tokens=1)\n"
            "AIUsageTracking.objects.update(total_tokens=7)\n",
        ],
        cwd=directory,
        env=os.environ | env,
    )
    assert prepared.returncode == 0, prepared.stderr
    return directory, env


def run(site: tuple[Path, dict[str, str]], line: str, **streams: object) -> Ended:
    """Run the line in a process; its standard streams are pipes unless given."""
    directory, env = site
    with subprocess.Popen(
        [sys.executable, "-m", "django", *line.format(site=directory).split()],
        cwd=directory,
        env=os.environ | env,
        text=True,
        **{"stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | streams,  # type: ignore[call-overload]
    ) as process:
        out, err = finish(process)
    return Ended(process.returncode, out, err)


@contextmanager
def pipe_without_reader() -> Iterator[int]:
    """Yield a pipe whose reader has left, as after `| head`, without a race."""
    reader, writer = os.pipe()
    os.close(reader)
    try:
        yield writer
    finally:
        os.close(writer)


@pytest.mark.process
class TestOutput:
    def test_every_command_has_a_line(self):
        assert {line.split()[0] for line in LINES} == set(COMMANDS)

    @pytest.mark.parametrize("line", LINES)
    def test_closed_pipe_changes_no_exit_code_and_no_message(self, site, line):
        with pipe_without_reader() as closed:
            ended = run(site, line, stdout=closed)

        assert ended.code == LINES[line], ended.err
        for word in ("Traceback", "Exception ignored", "BrokenPipe"):
            assert word not in ended.err

    def test_closed_stderr_changes_no_exit_code(self, site):
        with pipe_without_reader() as closed:
            assert run(site, "rebuild_ai_usage --dry-run", stdout=closed, stderr=closed).code == 1
            assert run(site, "usage_today --section nowhere", stderr=closed).code == 2

    def test_export_to_a_closed_pipe_is_no_error(self, site):
        directory, env = site
        command = f"{sys.executable} -m django export_ai_usage --user ada | head -c 1"
        ended = waiting.run(
            ["bash", "-c", f"set -o pipefail; {command}"], cwd=directory, env=os.environ | env
        )
        assert (ended.returncode, ended.stdout, ended.stderr) == (0, "{", "")

    @pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full on this system")
    def test_unwritable_output_is_an_error(self, site):
        with open("/dev/full", "w") as full:
            ended = run(site, "usage_today", stdout=full)

        assert ended.code == 2
        assert ended.err == "The output cannot be written: No space left on device.\n"

    def test_terminal_without_a_character_shows_its_escape_sequence(self, site):
        directory, env = site
        prepared = waiting.run(
            [
                sys.executable,
                "-c",
                "import django; django.setup()\n"
                "from django.contrib.auth.models import User\n"
                "from usage_tracking.models import AIUsageLog\n"
                "user = User.objects.get_or_create(username='\\u5c71')[0]\n"
                "AIUsageLog.objects.create(user=user, section='chat', prompt_tokens=1)\n",
            ],
            cwd=directory,
            env=os.environ | env,
        )
        assert prepared.returncode == 0, prepared.stderr
        ascii_site = (directory, env | {"PYTHONIOENCODING": "ascii"})

        assert "\n\\u5c71 " in run(ascii_site, "usage_today").out
        # JSON is UTF-8 everywhere.
        exported = run(ascii_site, "export_ai_usage --user \u5c71", encoding="utf-8")
        assert exported.code == 0, exported.err
        assert '"usage_tracking.aiusagelog"' in exported.out

    def test_scanner_without_a_site_ignores_a_closed_pipe(self, site):
        directory, _ = site
        command = [sys.executable, "-m", "usage_tracking.scanner", str(directory), "--no-cache"]
        with (
            pipe_without_reader() as closed,
            subprocess.Popen(
                command, cwd=ROOT, stdout=closed, stderr=subprocess.PIPE, text=True
            ) as process,
        ):
            _, errors = finish(process)
        assert (process.returncode, errors) == (1, "")


@pytest.mark.process
@pytest.mark.parametrize(
    "line",
    [
        "erase_ai_usage --user ada",
        "export_ai_usage --user ada",
        "prune_ai_usage --keep-days 30",
        "rebuild_ai_usage",
        "reconcile_ai_usage",
        "reprice_ai_usage last-month",
        "usage_today last-month",
    ],
)
def test_database_without_tables_needs_migrate(site, tmp_path: Path, line: str):
    directory, env = site
    empty = (directory, env | {"DATABASE_URL": f"sqlite:///{tmp_path}/empty.sqlite3"})

    ended = run(empty, line)

    assert (ended.code, ended.out) == (2, "")
    assert ended.err.splitlines()[-1].startswith(
        "CommandError: Database 'default' has no table ai_usage_log: "
        "run `manage.py migrate --database default`"
    )


@pytest.mark.process
def test_database_without_the_table_of_bills_needs_migrate(site, tmp_path: Path):
    directory, env = site
    older = (directory, env | {"DATABASE_URL": f"sqlite:///{tmp_path}/older.sqlite3"})
    assert run(older, "migrate -v0 usage_tracking 0003").code == 0

    ended = run(older, "reconcile_ai_usage")

    assert (ended.code, ended.out) == (2, "")
    assert ended.err.splitlines()[-1] == (
        "CommandError: Database 'default' has no table ai_usage_bill: run `manage.py migrate "
        "--database default`. Nothing was changed."
    )


@pytest.mark.parametrize("name", COMMANDS)
def test_invalid_value_of_an_argument_has_a_message(name, capsys):
    command = load_command_class("usage_tracking", name)
    command._called_from_command_line = True  # or the parser raises
    parser = command.create_parser("manage.py", name)
    shown = {}
    for action in parser._actions:
        for text in ("garbage", "", "-1", "9" * 5000, "nan", "\N{ARABIC-INDIC DIGIT ONE}"):
            if action.type is None or not action.option_strings:
                continue
            with pytest.raises(SystemExit) as ended:
                # If the value is valid, the parser stops at the unknown argument.
                parser.parse_args([f"{action.option_strings[-1]}={text}", "--no-such-argument"])
            assert ended.value.code == 2
            shown[action.dest, text[:9]] = capsys.readouterr().err.splitlines()[-1]

    # Without a message, argparse prints the name of the function that converts the value.
    without_message = re.compile(r"invalid (?!int\b|choice\b)\w+")
    assert not [line for line in shown.values() if without_message.search(line)]


NEEDED = (
    "CommandError: AI_USAGE_SECTION_MAP needs the site's URLs, but smallest_urls cannot be loaded: "
)


class TestBrokenSite:
    pytestmark = pytest.mark.process

    @pytest.mark.parametrize(
        ("settings", "urls", "code", "err"),
        [
            (
                "AI_USAGE_SECTION_MAP = {'shop': 'chat'}",
                "import no_such_module",
                2,
                f"{NEEDED}ModuleNotFoundError: No module named 'no_such_module'\n",
            ),
            (
                "AI_USAGE_SECTION_MAP = {'shop': 'chat'}",
                "urlpatterns = [",
                2,
                f"{NEEDED}SyntaxError: '[' was never closed (smallest_urls.py, line 1)\n",
            ),
            ("", "import no_such_module", 0, ""),  # the URLs are not needed
            ("del ROOT_URLCONF; AI_USAGE_SECTION_MAP = {'shop': 'chat'}", "", 0, ""),
            (
                "AI_USAGE_SECTION_MAP = ['shop']",
                "",
                2,
                "CommandError: AI_USAGE_SECTION_MAP must be of type dict, not ['shop'].\n",
            ),
        ],
    )
    def test_find_uninstrumented_needs_what_it_uses(
        self, tmp_path: Path, settings: str, urls: str, code: int, err: str
    ):
        database = f"sqlite:///{tmp_path}/db.sqlite3"
        env = make_smallest_site(tmp_path, database, f"{BROWSABLE_API}\n{settings}\n")
        assert manage("migrate", "--skip-checks", "-v0", env=env, directory=tmp_path).code == 0
        (tmp_path / "smallest_urls.py").write_text(urls)
        (tmp_path / "empty").mkdir()

        ended = manage("find_uninstrumented", "empty", "--no-cache", env=env, directory=tmp_path)

        assert (ended.code, ended.err) == (code, err)

    @pytest.mark.parametrize("urls", ["import no_such_module", "urlpatterns = ["])
    def test_diagnose_reports_broken_urls(self, tmp_path: Path, urls: str):
        database = f"sqlite:///{tmp_path}/db.sqlite3"
        env = make_smallest_site(tmp_path, database, BROWSABLE_API)
        assert manage("migrate", "-v", "0", env=env, directory=tmp_path).code == 0
        (tmp_path / "smallest_urls.py").write_text(urls)

        ended = manage("diagnose_ai_usage", "--skip-sdks", env=env, directory=tmp_path)

        assert "❌ The URLs of smallest_urls cannot be loaded: " in ended.out
        assert (ended.code, ended.err) == (1, "CommandError: 2 problems found.\n")

    def test_invalid_settings_exit_with_2(self, tmp_path: Path):
        database = f"sqlite:///{tmp_path}/db.sqlite3"
        env = make_smallest_site(tmp_path, database, "AI_USAGE_SECTIONS = 7\n")

        ended = manage("usage_today", env=env, directory=tmp_path)

        assert (ended.code, ended.out) == (2, "")
        assert "AI_USAGE_SECTIONS must be of type dict or list or tuple, not 7." in ended.err
