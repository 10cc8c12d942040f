"""What a newcomer sees: the end of `migrate`, and the first call by the README."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import venv
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import pytest

from project.stub import StubProvider
from tests.smallest import make_smallest_site, python
from tests.support.children import ROOT
from tests.support.waiting import run, wait_until

pytestmark = [pytest.mark.process, pytest.mark.one_database]

NEXT = "Next, check the whole setup:\n    python manage.py diagnose_ai_usage\n"
MIGRATE = """
import io
import django
django.setup()
from django.core.management import call_command

def migrate(*arguments, **options):
    out = io.StringIO()
    call_command("migrate", *arguments, stdout=out, no_color=True, **options)
    return out.getvalue()
"""


def test_migrate_ends_with_the_next_step_when_it_creates_the_tables(
    tmp_path: Path, empty_database_url: str
):
    env = make_smallest_site(tmp_path, empty_database_url)

    printed = python(
        MIGRATE
        + """
print("--plan", "diagnose" in migrate("--plan"))
print("another app", "diagnose" in migrate("contenttypes"))
first = migrate()
print(first[first.index("Next"):], end="")
print("again", "diagnose" in migrate())
print("zero", "diagnose" in migrate("usage_tracking", "zero"))
print("after zero", migrate().count("diagnose"))
migrate("usage_tracking", "zero", verbosity=0)
print("verbosity 0", repr(migrate(verbosity=0)))
migrate("usage_tracking", "zero", verbosity=0)
from django.test.utils import setup_test_environment
setup_test_environment()
print("in tests", "diagnose" in migrate(verbosity=2))
call_command("flush", interactive=False)
""",
        env,
        tmp_path,
    )

    assert printed == (
        "--plan False\nanother app False\n"
        + NEXT
        + "again False\nzero False\nafter zero 1\nverbosity 0 ''\nin tests False\n"
    )


ROUTED = """
DATABASES["usage"] = {"ENGINE": "django.db.backends.sqlite3", "NAME": str(BASE_DIR / "usage.db")}
DATABASE_ROUTERS = ["smallest_settings.Router"]


class Router:
    def db_for_read(self, model, **hints):
        return "usage" if model._meta.app_label == "usage_tracking" else None

    db_for_write = db_for_read

    def allow_migrate(self, db, app_label, **hints):
        return (db == "usage") == (app_label == "usage_tracking")
"""


def test_next_step_is_named_only_for_the_database_with_the_tables(
    tmp_path: Path, empty_database_url: str
):
    env = make_smallest_site(tmp_path, empty_database_url, ROUTED)

    printed = python(
        MIGRATE
        + """
for alias in ("default", "usage", "usage"):
    print(alias, migrate(database=alias).count("diagnose"))
""",
        env,
        tmp_path,
    )

    assert printed == "default 0\nusage 1\nusage 0\n"


class Shell:
    """A newcomer's shell: an active virtual environment and a directory.

    The environment has a pip of its own, and those of other environments are not on the path.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        environment = directory / "venv"
        venv.create(environment, with_pip=True)
        constraints = directory / "constraints.txt"
        # A constraint has no extras.
        constraints.write_text(
            re.sub(r"\[.*?\]", "", (ROOT / "requirements.txt").read_text(), flags=re.MULTILINE)
        )
        left_out = ("PYTHON", "DJANGO_", "PYTEST", "DATABASE_URL", "AI_USAGE_", "VIRTUAL_ENV")
        self.env = {
            **{name: value for name, value in os.environ.items() if not name.startswith(left_out)},
            "PATH": os.pathsep.join((str(environment / "bin"), os.defpath)),
            "PYTHONUNBUFFERED": "1",
            "PIP_CONSTRAINT": str(constraints),
            "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        }
        for command in ("pip", "python"):
            found = shutil.which(command, path=self.env["PATH"])
            assert found == str(environment / "bin" / command)

    def run(self, line: str) -> str:
        ended = run(["sh", "-ec", line], cwd=self.directory, env=self.env)
        assert ended.returncode == 0, f"{line}\n{ended.stdout}\n--- stderr\n{ended.stderr}"
        return ended.stdout

    @contextmanager
    def started(self, line: str) -> Iterator[Path]:
        """Run `line` in the background during the block; yields the file with its output."""
        log = self.directory / "console.log"
        with log.open("w") as file:
            process = subprocess.Popen(
                ["sh", "-ec", f"exec {line}"],
                cwd=self.directory,
                env=self.env,
                stdout=file,
                stderr=file,
                start_new_session=True,
            )
        try:
            yield log
        finally:
            # With its children: `runserver` restarts itself as a child.
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


README = (ROOT / "README.md").read_text()
INSTALL = README.partition("\n## Install in a site\n")[2].partition("\n## ")[0]


@pytest.mark.costly
@pytest.mark.server
def test_new_project_records_its_first_call_by_the_readme(tmp_path: Path):
    """Follow the README word for word, in a virtual environment.

    The package comes from this tree instead of PyPI, and the answer from a stub, by the variable
    that the SDK documents. The releases are those of requirements.txt, and the port is a free one.
    """
    blocks = re.findall(r"^```(console|python)\n(.*?)^```", INSTALL, re.DOTALL | re.MULTILINE)
    assert [kind for kind, _ in blocks] == ["console", "python", "python", "console"]
    (pip_install, start), (migrate, runserver) = (blocks[n][1].splitlines() for n in (0, 3))
    places = re.findall(r"the end of `(mysite/\w+\.py)`", INSTALL)
    assert places == ["mysite/settings.py", "mysite/urls.py"]
    (address,) = re.findall(r"<(http://127\.0\.0\.1:8000/\w+/)>", INSTALL)
    shell = Shell(tmp_path)

    shell.run(pip_install.replace("django-usage-tracking", shlex.quote(str(ROOT))))
    shell.run(start)
    shell.directory = tmp_path / "mysite"
    for place, (_, code) in zip(places, blocks[1:3], strict=True):
        with (shell.directory / place).open("a") as file:
            file.write(code)
    with StubProvider() as stub:
        shell.env |= {"OPENAI_API_KEY": "any", "OPENAI_BASE_URL": stub.openai_url}
        assert shell.run(migrate).endswith(NEXT)
        port = free_port()
        with shell.started(f"{runserver} {port}") as log:
            answered = visit(address.replace("8000", str(port)), log)
            assert json.loads(answered)["tokens"] > 0
            assert "Section: chat" in wait_for_line("[TRACK_COMPLETE]", log)
        assert len(stub.journal) == 1

    page = shell.run("python manage.py usage_today")
    assert re.search(r"^Calls +1 +0 ", page, re.MULTILINE), page
    assert "Customer Chat" in page
    assert "gpt-4o-mini" in page


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def visit(url: str, log: Path) -> bytes:
    answers: list[bytes] = []

    def is_answered() -> bool:
        try:
            with urlopen(url, timeout=180) as answer:
                answers.append(answer.read())
        except URLError as error:
            if isinstance(error.reason, ConnectionRefusedError):
                return False
            raise
        return True

    wait_until(is_answered, awaited=f"an answer of {url}", seen=log.read_text)
    return answers[0]


def wait_for_line(text: str, log: Path) -> str:
    def lines() -> list[str]:
        return [line for line in log.read_text().splitlines() if text in line]

    wait_until(lines, awaited=f"a line with {text}", seen=log.read_text)
    return lines()[0]
