"""Sites without `fcntl`, forks and `pread`, as tests/support/platforms.py simulates them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import pytest

from project.stub import StubProvider
from tests.smallest import make_smallest_site
from tests.support.children import ROOT
from tests.support.platforms import NO_LOCKS, PLATFORMS, WINDOWS
from tests.support.waiting import awaiting_output
from tests.test_smallest_site import CALL, python

pytestmark = [
    pytest.mark.process,
    pytest.mark.costly,
    pytest.mark.one_database,
    pytest.mark.skipif(sys.platform != "linux", reason="simulated with /proc and locks of Linux"),
]

SETUP = """
import django
django.setup()
from tests.support.builders import make_event
from usage_tracking import outbox
from usage_tracking.delivery import delivery
from usage_tracking.events import utc_now
from usage_tracking.models import AIUsageLog

box = outbox.get()
def put():
    box.put(make_event(created_at=utc_now()))
"""


@pytest.fixture
def site(tmp_path: Path, database_url: str) -> dict[str, str]:
    return make_smallest_site(tmp_path, database_url)


def run_on(platform: str, code: str, site: dict[str, str], directory: Path) -> str:
    return python(PLATFORMS[platform] + SETUP + dedent(code), site, directory)


def outbox_of(directory: Path) -> list[str]:
    return sorted(path.suffix for path in (directory / ".ai_usage_outbox").glob("*"))


@pytest.mark.server
@pytest.mark.parametrize("platform", ["windows", "no locks"])
def test_site_records_a_call_and_delivers_it(tmp_path, site, platform):
    with StubProvider() as stub:
        printed = python(PLATFORMS[platform] + CALL % stub.openai_url, site, tmp_path)

    assert printed == "ada 1\n"
    assert outbox_of(tmp_path) == [""], "only .gitignore"


@pytest.mark.parametrize("platform", ["windows", "no locks"])
def test_lines_are_the_same_as_on_posix(tmp_path, site, platform):
    code = """
    for _ in range(3):
        put()
    header, *lines = next(box.directory.glob("*-*.jsonl")).read_bytes().splitlines(keepends=True)
    print(len(lines), all(line.endswith(b"}\\n") and b"\\r" not in line for line in lines))
    print(sum(len(batch) for batch in box.batches(2, lambda event: False)), box.is_empty())
    """

    assert run_on(platform, code, site, tmp_path) == "3 True\n3 True\n"


@pytest.mark.parametrize(
    ("platform", "delivered", "left"),
    [("posix", 2, []), ("windows", 2, []), ("no locks", 0, [".jsonl"])],
)
def test_file_of_a_dead_process_is_adopted_where_a_lock_tells_its_death(
    tmp_path, site, platform, delivered, left
):
    run_on(platform, "put(); put(); sys.stdout.flush(); os._exit(0)", site, tmp_path)

    code = "print(box.has_orphans(), delivery.deliver().written, AIUsageLog.objects.count())"
    printed = run_on(platform, code, site, tmp_path)

    assert printed == f"{delivered > 0} {delivered} {delivered}\n"
    assert outbox_of(tmp_path) == ["", *left]


def test_file_of_a_living_process_is_let_be_on_windows(tmp_path, site):
    living = WINDOWS + SETUP + "put(); print('put', flush=True); input(); put(); delivery.deliver()"
    with (
        subprocess.Popen(
            [sys.executable, "-c", living],
            cwd=tmp_path,
            env=os.environ | site,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        ) as process,
        awaiting_output(process),
    ):
        assert process.stdout is not None
        assert process.stdout.readline() == "put\n"
        code = """
        print(box.has_orphans(), delivery.deliver().written, box.other_segments())
        print(box.forget(lambda user_id, username: True))
        """
        printed = run_on("windows", code, site, tmp_path)
        process.communicate("\n")

    assert printed == "False 0 Others(living=1, elsewhere=0, denied=0)\n0\n"
    assert process.returncode == 0
    printed = run_on("windows", "print(AIUsageLog.objects.count())", site, tmp_path)
    assert printed == "2\n"
    assert outbox_of(tmp_path) == [""]


def test_file_that_another_process_reads_is_removed_later_on_windows(tmp_path, site):
    code = """
    put()
    with next(box.directory.glob("*-*.jsonl")).open("rb") as reader:
        print(delivery.deliver().written, len(reader.read().splitlines()))
        print(delivery.deliver().written, delivery.deliver().adopted, len(box.segments()))
    print(delivery.deliver().adopted, len(box.segments()))
    """

    assert run_on("windows", code, site, tmp_path) == "1 1\n0 0 1\n0 0\n"


def test_new_file_that_another_process_locks_first_is_given_up_on_windows(tmp_path, site):
    code = """
    taken = []
    def rename(source, target, rename=os.rename):
        rename(source, target)
        if not taken:
            other = os.open(target, os.O_RDWR | os.O_BINARY)
            usage_tracking.system.files.lock(other)
            taken.append(other)
    os.rename = rename

    put()
    print(len(box.segments()), delivery.deliver().written)
    usage_tracking.system.files.close(taken[0])
    print(delivery.deliver().written, len(box.segments()))
    """

    assert run_on("windows", code, site, tmp_path) == "2 1\n0 0\n"


@pytest.mark.parametrize("platform", ["windows", "no locks"])
def test_refused_events_are_set_aside_and_come_back(tmp_path, site, platform):
    code = """
    put()
    for reason in ("one", "two"):
        box.dead_letter(make_event(created_at=utc_now()), reason)
    print([letter.reason for letter in box.dead_letters()], box.retry_dead_letters())
    print(delivery.deliver().written, box.dead_letters())
    """

    assert run_on(platform, code, site, tmp_path) == "['one', 'two'] 2\n3 []\n"


def test_commands_run_on_windows(tmp_path, site):
    code = """
    import io
    from django.contrib.auth.models import User
    from django.core.management import call_command
    User.objects.create(username="ada")
    put()
    call_command("flush_ai_usage")
    call_command("usage_today", stdout=io.StringIO())
    sys.executable = ""  # another process would run on this system, where these locks are none
    call_command("diagnose_ai_usage", "--skip-sdks", verbosity=0)
    """

    assert run_on("windows", code, site, tmp_path) == "1 calls delivered\n"


def test_every_module_is_importable_without_what_posix_has(tmp_path):
    code = """
from importlib import import_module
from pathlib import Path
import django, project, usage_tracking
django.setup()
for package in (usage_tracking, project):
    root = Path(package.__file__).parent
    for path in sorted(root.rglob("*.py")):
        names = path.relative_to(root.parent).with_suffix("").parts
        if path.stem not in {"__init__", "__main__"}:
            import_module(".".join(names))
print("all")
"""
    env = {"DJANGO_SETTINGS_MODULE": "tests.settings", "PYTHONPATH": str(ROOT)}

    assert python(NO_LOCKS + code, env, tmp_path) == "all\n"
