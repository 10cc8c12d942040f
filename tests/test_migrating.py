"""Run the blocks of docs/migrating.md on whole sites that have their own tracker."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from django.apps import apps
from django.core.management.base import CommandError
from django.db import connection, models
from django.db.migrations import Migration, operations
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.state import ProjectState

from tests.support.builders import make_user
from tests.support.children import make_site
from tests.support.waiting import run
from usage_tracking import migrating

pytestmark = pytest.mark.one_driver

Step = tuple[str, str]

_GUIDE = (Path(__file__).parent.parent / "docs" / "migrating.md").read_text()
#: Heading → its blocks, with their languages.
BLOCKS: dict[str, list[Step]] = {
    section.partition("\n")[0]: re.findall(r"```(\w+)\n(.*?)```", section, re.DOTALL)
    for section in _GUIDE.split("\n## ")[1:]
}
GIVE_NAMES, MIGRATE, LOOK, IMPORT, CHECK, DROP, BACK, NO_MODEL, OTHER_ORDER = BLOCKS
EDIT_MODELS, EDIT_SETTINGS, MAKE_MIGRATION, EDIT_MIGRATION = BLOCKS[GIVE_NAMES]

SETTINGS = """
from tests.settings import *

ROOT_URLCONF = "site_urls"
INSTALLED_APPS = [{apps}]
MIDDLEWARE = [
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
]
"""

LOG = """
class AIUsageLog(models.Model):
    id = models.UUIDField(primary_key=True, default=uuid.uuid4)
    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="old_logs")
    section = models.CharField(max_length=50, db_index=True)
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
        db_table = "ai_usage_log"
        indexes = [
            models.Index(fields=["user", "-created_at"]),
            models.Index(fields=["-created_at"], name="log_created"),
        ]
"""
DAILY = """
class AIUsageTracking(models.Model):
    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="old_days")
    date = models.DateField(null=False, db_index=True)
    total_requests = models.IntegerField(default=0)
    total_prompt_tokens = models.IntegerField(default=0)
    total_completion_tokens = models.IntegerField(default=0)
    total_tokens = models.IntegerField(default=0)
    total_response_time_ms = models.IntegerField(default=0)
    average_response_time_ms = models.FloatField(default=0)
    successful_requests = models.IntegerField(default=0)
    failed_requests = models.IntegerField(default=0)

    class Meta:
        db_table = "ai_usage_tracking"
        constraints = [models.UniqueConstraint(fields=["user", "date"], name="day_of_user")]
"""
IMPORTS = "import uuid\nfrom django.conf import settings\nfrom django.db import models\n"
REFERENCE = 'log = models.ForeignKey("{label}.AIUsageLog", models.SET_NULL, null=True)'
ANSWER = f"""
class Answer(models.Model):
    text = models.TextField()
    {REFERENCE}
"""

# The old tracker at work.
DATA = """
from datetime import datetime, timedelta, UTC
from django.apps import apps
from django.contrib.auth.models import User

models = {model._meta.object_name: model for model in apps.get_models()}
Log, Day, Answer = (models.get(n) for n in ("AIUsageLog", "AIUsageTracking", "Answer"))

def track(user, section, prompt, completion, ms, at, success=True, error=None, metadata=None):
    values = dict(section=section, response_time_ms=ms, success=success, model_name="gpt-4o")
    if Log:
        log = Log.objects.create(
            user=user, prompt_tokens=prompt, completion_tokens=completion, created_at=at,
            total_tokens=prompt + completion, error_message=error, metadata=metadata or {}, **values
        )
        Answer.objects.create(text=section, log=log)
    if Day:
        day, _ = Day.objects.get_or_create(user=user, date=at.date())
        day.total_requests += 1
        day.total_prompt_tokens += prompt
        day.total_completion_tokens += completion
        day.total_tokens += prompt + completion
        day.total_response_time_ms += ms
        day.average_response_time_ms = day.total_response_time_ms / day.total_requests
        day.successful_requests += success
        day.failed_requests += not success
        day.save()

ada, bob = User.objects.create(username="ada"), User.objects.create(username="bob")
NOON = datetime(2026, 3, 14, 12, tzinfo=UTC)
for number in range(30):
    track(ada, "chat", 100 + number, 10, 700, NOON - timedelta(hours=5 * number))
track(bob, "rag", 5, 0, 90, NOON, False, "401: key sk-abcdefghijklmnop", {"api_key": "x"})
"""

CHAT_COSTS = """
execute(
    "CREATE TABLE chat_costs (nr integer PRIMARY KEY, made_at varchar(40),"
    " tokens_in integer, tokens_out integer, usd numeric, mood text)"
)
execute("INSERT INTO chat_costs VALUES (1, '2026-03-10T08:00:00Z', 7, 8, 0.25, 'good')")
"""

# What the site's own tests do: the runner makes a database from zero.
OWN_TESTS = """
from django.contrib.auth.models import User
from django.test import TestCase

from usage_tracking import track_ai_usage
from usage_tracking.models import AIUsageLog

class OwnTests(TestCase):
    def test_call_is_recorded(self):
        track_ai_usage(
            User.objects.create(username="eve"), "chat",
            prompt_tokens=1, completion_tokens=2, response_time_ms=3,
        )
        self.assertEqual(AIUsageLog.objects.get().total_tokens, 3)
"""

RECORD = """
from django.contrib.auth.models import User
from usage_tracking import track_ai_usage
eve = User.objects.create(username="eve")
track_ai_usage(eve, "chat", prompt_tokens=1, completion_tokens=2, response_time_ms=3)
"""

# Reads steps, one process for all that need no new code.
DRIVER = """
import json, shlex, sys
import django
django.setup()
from django.core.management import execute_from_command_line
from django.db import connection

def execute(sql):
    with connection.cursor() as cursor:
        cursor.execute(sql)

def has(name):
    return name in connection.introspection.table_names()

def dump():
    found = {}
    with connection.cursor() as cursor:
        for table in sorted(connection.introspection.table_names(cursor)):
            if table.removeprefix("old_") in ("ai_usage_log", "ai_usage_tracking", "chat_answer"):
                columns = connection.introspection.get_table_description(cursor, table)
                names = ", ".join(sorted(column.name for column in columns))
                cursor.execute(f"SELECT {names} FROM {table} ORDER BY id")
                rows = [list(map(str, row)) for row in cursor.fetchall()]
                constraints = connection.introspection.get_constraints(cursor, table)
                found[table] = rows, sorted(
                    [name, c["columns"], c["primary_key"], c["unique"], c["foreign_key"]]
                    for name, c in constraints.items()
                )
    print("dump:", json.dumps(found))

for language, text in json.load(sys.stdin):
    if language == "python":
        exec(text)
    elif language == "sql":
        for statement in text.strip().split(";\\n"):
            execute(statement)
    else:
        for line in text.strip().splitlines():
            print("$", line, flush=True)
            try:
                execute_from_command_line(shlex.split(line)[1:])
            except SystemExit as ended:
                if ended.code:
                    sys.exit(ended.code)
"""
DUMP: Step = ("python", "dump()")


def command(line: str) -> Step:
    return "console", f"python manage.py {line}"


#: What Django writes for the same label and models is the same.
_MIGRATIONS: dict[tuple[str, str], dict[str, str]] = {}


class Site:
    """A project with its own app that tracks calls, and an app that refers to its log."""

    def __init__(self, directory: Path, database: str, *, models: str = LOG + DAILY, label: str):
        self.directory, self.database, self.label = directory, database, label
        self.environment = make_site(directory)
        apps = ["django.contrib.auth", "django.contrib.contenttypes", label, "chat"]
        self.write("site_settings.py", SETTINGS.format(apps=", ".join(map(repr, apps))))
        with (directory / "site_settings.py").open("a") as settings:
            settings.write(f"AI_USAGE_OUTBOX = {str(directory / 'outbox')!r}\n")
        self.write("site_urls.py", "urlpatterns = []\n")
        for app in (label, "chat"):
            self.write(f"{app}/__init__.py", "")
            self.write(f"{app}/migrations/__init__.py", "")
        self.write(f"{label}/models.py", IMPORTS + models.replace(", db_index=True", ""))
        answers = IMPORTS + ANSWER.format(label=label)
        self.write("chat/models.py", answers if "AIUsageLog" in models else IMPORTS)
        made = _MIGRATIONS.get((label, models))
        if made is None:
            made = _MIGRATIONS[label, models] = self._make_migrations(models)
        for name, text in made.items():
            self.write(name, text)
        self.write(f"{label}/models.py", IMPORTS + models + 'later = "0002"\n')

    def _make_migrations(self, models: str) -> dict[str, str]:
        """Return the migrations that Django writes, by name."""
        self.run(command("makemigrations"))
        if "db_index" in models:
            self.write(f"{self.label}/models.py", IMPORTS + models)
            self.run(command(f"makemigrations {self.label} --name indexes"))
        files = self.directory.glob("*/migrations/0*.py")
        return {str(file.relative_to(self.directory)): file.read_text() for file in files}

    def write(self, name: str, text: str) -> None:
        path = self.directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def edit(self, name: str, pattern: str, new: str) -> None:
        path = self.directory / name
        text, number = re.subn(pattern, new, path.read_text(), flags=re.DOTALL)
        assert number == 1, f"{pattern} matches {number} times in\n{path.read_text()}"
        path.write_text(text)

    def run(self, *steps: Step, database: str = "", fails: bool = False) -> str:
        """Run the steps; return their output, and stderr too if they fail."""
        named = [(kind, re.sub(r"\btracking\b", self.label, text)) for kind, text in steps]
        ended = run(
            [sys.executable, "-W", "error", "-B", "-c", DRIVER],
            cwd=self.directory,
            env=self.environment | {"DATABASE_URL": database or self.database},
            input=json.dumps(named),
        )
        printed = f"{ended.stdout}\n--- stderr\n{ended.stderr}"
        assert bool(ended.returncode) is fails, printed
        return printed if fails else ended.stdout

    def edit_models(self) -> None:
        """Apply the first block of step 1."""
        block = EDIT_MODELS[1]
        for name, table in re.findall(r'class (\w+)\(.*?db_table = "(\w+)"', block, re.DOTALL):
            path = f"{self.label}/models.py"
            if f"class {name}(" in (self.directory / path).read_text():
                pattern = rf'(class {name}\(.*?db_table = )"\w+"'
                self.edit(path, pattern, rf'\g<1>"{table}"')

    def edit_settings(self, *, first: bool = False) -> None:
        for line in EDIT_SETTINGS[1].splitlines():
            name = line.split()[0]
            new = re.sub(r"\[\.\.\., ([^\]]*)\]", rf"[*{name}, \1]", line)
            if first and name == "INSTALLED_APPS":
                new = re.sub(r"\[\.\.\., ([^\]]*)\]", rf"[\1, *{name}]", line)
            with (self.directory / "site_settings.py").open("a") as settings:
                settings.write(f"{new}\n")

    def edit_migration(self) -> None:
        header, line = EDIT_MIGRATION[1].rstrip().split("\n")
        (path,) = (self.directory / self.label / "migrations").glob("*rename_old_tables.py")
        self.edit(str(path.relative_to(self.directory)), re.escape(header), f"{header}\n{line}")

    def give_names(self, *, first: bool = False) -> None:
        """Apply step 1."""
        self.edit_models()
        self.edit_settings(first=first)
        self.run(MAKE_MIGRATION)
        self.edit_migration()

    def drop(self) -> None:
        """Apply step 6."""
        reference = REFERENCE.format(label=self.label)
        self.edit("chat/models.py", re.escape(reference), "")
        self.run(*BLOCKS[DROP])
        for name in ("AIUsageTracking", "AIUsageLog"):
            self.edit(f"{self.label}/models.py", rf"class {name}\(.*?(?=class |later)", "")
            self.run(*BLOCKS[DROP])


def dumps(printed: str) -> list[dict[str, Any]]:
    return [json.loads(found) for found in re.findall(r"^dump: (.*)$", printed, re.MULTILINE)]


def without_names(dump: dict[str, Any]) -> dict[str, Any]:
    """Return the contents of the old tables, and their constraints and indexes without names.

    An index that Django has named has the name of its table in its own.
    """
    found = {}
    for table, (rows, constraints) in dump.items():
        kept = [str(constraint[1:]).replace("old_", "") for constraint in constraints]
        found[table.removeprefix("old_")] = rows, sorted(kept)
    return found


def old_tables(dump: dict[str, Any]) -> dict[str, Any]:
    tables = {name: dump[name] for name in dump if name.startswith("old_") or "answer" in name}
    return without_names(tables)


IMPORTED: Step = (
    "python",
    """
from usage_tracking.models import AIUsageLog, AIUsageTracking
row = AIUsageLog.objects.select_related("user").get(success=False)
row.metadata.pop("cost_source")
print(row.user.username, row.section, row.error_message, row.metadata, row.created_at.isoformat())
print(AIUsageTracking.objects.get(user__username="bob").failed_requests, "failed")
print(AIUsageLog.objects.count(), AIUsageTracking.objects.count())
""",
)
AGREE = "all daily totals match old_ai_usage_tracking\n"
TEST: Step = command("test -v 0")


@pytest.mark.costly
@pytest.mark.parametrize(
    ("label", "first"),
    [("tracking", False), ("zz_costs", True)],
)
def test_guide_works_with_data_on_a_fresh_database_and_backwards(
    tmp_path: Path, new_database_url: Callable[[], str], label: str, first: bool
):
    site = Site(tmp_path, new_database_url(), label=label)
    (before,) = dumps(site.run(command("migrate"), ("python", DATA), DUMP))
    assert len(before["ai_usage_log"][0]) == len(before["chat_answer"][0]) == 31

    site.give_names(first=first)
    look, bring, mapped = *BLOCKS[LOOK], *BLOCKS[IMPORT]
    printed = site.run(
        *BLOCKS[MIGRATE],
        DUMP,
        command("makemigrations --check"),
        look,
        bring,
        *BLOCKS[CHECK],
        IMPORTED,
        command("migrate"),
        bring,
        ("python", "connection.check_constraints()"),
    )
    (renamed,) = dumps(printed)
    assert old_tables(renamed) == without_names(before)
    assert renamed["ai_usage_log"][0] == renamed["ai_usage_tracking"][0] == []
    assert "No changes detected" in printed
    assert f"31 rows read, 31 would be imported, 0 exist already\n{AGREE}" in printed
    assert f"31 rows read, 31 imported, 0 exist already\n{AGREE}" in printed
    assert "0 daily rows do not match AIUsageLog\n" in printed
    assert (
        "bob rag 401: key [redacted] {'api_key': '[redacted]'} 2026-03-14T12:00:00+00:00\n"
        "1 failed\n31 8\n"
    ) in printed
    assert "No migrations to apply" in printed
    assert f"31 rows read, 0 imported, 31 exist already\n{AGREE}" in printed

    site.write(f"{label}/tests.py", OWN_TESTS)
    fresh = new_database_url()
    site.run(command("migrate"), command("makemigrations --check"), TEST, database=fresh)

    printed = site.run(
        *BLOCKS[BACK],
        DUMP,
        command("migrate"),
        DUMP,
        ("python", CHAT_COSTS),
        bring,
        mapped,
        IMPORTED,
    )
    back, again = dumps(printed)
    assert back == before
    assert again == renamed
    assert "columns of chat_costs skipped: mood\n1 rows read, 1 imported" in printed
    assert "\n32 8\n" in printed

    site.drop()
    printed = site.run(
        DUMP, IMPORTED, command("makemigrations --check"), TEST, ("python", RECORD), IMPORTED
    )
    (dropped,) = dumps(printed)
    assert sorted(dropped) == ["ai_usage_log", "ai_usage_tracking", "chat_answer"]
    assert "\n32 8\n" in printed
    assert printed.endswith("\n33 9\n")
    site.run(command("migrate"), database=fresh)


@pytest.mark.costly
@pytest.mark.parametrize(("models", "lacks"), [(LOG, "tracking"), (DAILY, "log")])
def test_site_with_one_of_the_tables(
    tmp_path: Path, new_database_url: Callable[[], str], models: str, lacks: str
):
    site = Site(tmp_path, new_database_url(), models=models, label="spending")
    (before,) = dumps(site.run(command("migrate"), ("python", DATA), DUMP))
    site.give_names()

    ((_, bring),) = BLOCKS[IMPORT][:1]
    alone = ("console", re.sub(" --daily .*", "", bring))
    steps = [alone, IMPORTED] if models == LOG else []
    printed = site.run(*BLOCKS[MIGRATE], DUMP, *steps, *BLOCKS[BACK], DUMP)

    renamed, back = dumps(printed)
    assert f"old_ai_usage_{lacks}" not in renamed
    assert old_tables(renamed) == without_names(before)
    assert back == before
    assert ("\n31 8\n" in printed) is (models == LOG)
    site.run(command("migrate"), database=new_database_url())


@pytest.mark.costly
def test_taken_names_of_indexes_constraints_and_relations(
    tmp_path: Path, new_database_url: Callable[[], str]
):
    names = {
        "old_logs": "ai_usage_logs",
        "old_days": "ai_usage_tracking",
        "log_created": "ai_usage_log_created",
        "day_of_user": "ai_usage_tracking_user_date",
    }
    models = LOG + DAILY
    for own, taken in names.items():
        models = models.replace(f'"{own}"', f'"{taken}"')
    site = Site(tmp_path, new_database_url(), models=models, label="tracking")
    (before,) = dumps(site.run(command("migrate"), ("python", DATA), DUMP))
    site.edit_models()
    site.edit_settings()

    said = site.run(MAKE_MIGRATION, fails=True)

    for check in ("fields.E304", "fields.E305", "models.E030", "models.E032"):
        assert check in said
        assert check in _GUIDE
    for own, taken in names.items():
        site.edit("tracking/models.py", f'"{taken}"(?=[,)])', f'"{own}"')
    site.run(MAKE_MIGRATION)
    site.edit_migration()
    printed = site.run(*BLOCKS[MIGRATE], DUMP, BLOCKS[IMPORT][0], IMPORTED, *BLOCKS[BACK], DUMP)
    renamed, back = dumps(printed)
    assert old_tables(renamed) == without_names(before)
    assert back == before
    assert "\n31 8\n" in printed
    site.run(command("migrate"), database=new_database_url())


@pytest.mark.costly
def test_tables_without_a_model(tmp_path: Path, new_database_url: Callable[[], str]):
    site = Site(tmp_path, new_database_url(), label="tracking")
    (before,) = dumps(site.run(command("migrate"), ("python", DATA), DUMP))
    site.edit("site_settings.py", "'tracking', 'chat'", "")
    site.edit_settings()

    said = site.run(*BLOCKS[MIGRATE], fails=True)
    printed = site.run(
        *BLOCKS[NO_MODEL], *BLOCKS[MIGRATE], DUMP, BLOCKS[IMPORT][0], IMPORTED, command("migrate")
    )

    assert "usage_tracking cannot create ai_usage_log: a table of this name exists. Ren" in said
    (renamed,) = dumps(printed)
    assert old_tables(renamed) == without_names(before)
    assert f"31 rows read, 31 imported, 0 exist already\n{AGREE}" in printed
    assert "\n31 8\n" in printed
    site.run(command("migrate"), database=new_database_url())


@pytest.mark.costly
@pytest.mark.postgres  # the order is Django's, the same on every database
class TestOtherOrders:
    """The messages of `migrate`, that nothing is lost, and that the guide's table helps."""

    def test_models_deleted_after_a_rename_by_sql(
        self, tmp_path: Path, new_database_url: Callable[[], str]
    ):
        site = Site(tmp_path, new_database_url(), label="tracking")
        site.run(command("migrate"), ("python", DATA))
        models = (tmp_path / "tracking/models.py").read_text()
        answers = (tmp_path / "chat/models.py").read_text()
        site.edit_settings()
        assert "models.E028" in site.run(*BLOCKS[MIGRATE], fails=True)
        site.write("tracking/models.py", "")
        site.write("chat/models.py", IMPORTS + ANSWER.replace(REFERENCE, ""))
        (before,) = dumps(
            site.run(
                *BLOCKS[NO_MODEL],
                command("migrate usage_tracking"),
                BLOCKS[IMPORT][0],
                DUMP,
                command("makemigrations"),
            )
        )

        said = site.run(*BLOCKS[MIGRATE], fails=True)

        assert "tracking.0003_" in said
        assert "changes the table ai_usage_" in said
        assert "Nothing was migrated." in said
        assert "record the migration that renames it as applied" in said
        for app in ("tracking", "chat"):
            for path in (tmp_path / app / "migrations").glob("*_remove_*"):
                path.unlink()
        for path in (tmp_path / "tracking/migrations").glob("0003_*"):
            path.unlink()
        site.write("tracking/models.py", models)
        site.write("chat/models.py", answers)
        site.edit_models()
        site.run(MAKE_MIGRATION)
        assert "changes the table ai_usage_log of usage_tracking" in site.run(
            *BLOCKS[MIGRATE], fails=True
        )
        site.edit_migration()
        assert "InconsistentMigrationHistory" in site.run(*BLOCKS[MIGRATE], fails=True)
        printed = site.run(
            *BLOCKS[OTHER_ORDER],
            *BLOCKS[MIGRATE],
            DUMP,
            command("makemigrations --check"),
            BLOCKS[IMPORT][0],
            IMPORTED,
        )
        (after,) = dumps(printed)
        assert after == before
        assert f"31 rows read, 0 imported, 31 exist already\n{AGREE}" in printed
        assert "\n31 8\n" in printed
        site.run(command("migrate"), database=new_database_url())

    def test_models_deleted_before_anything_was_renamed(
        self, tmp_path: Path, new_database_url: Callable[[], str]
    ):
        site = Site(tmp_path, new_database_url(), models=LOG, label="tracking")
        (before,) = dumps(site.run(command("migrate"), ("python", DATA), DUMP))
        site.edit_settings()
        site.write("tracking/models.py", "")
        site.write("chat/models.py", IMPORTS + ANSWER.replace(REFERENCE, ""))
        site.run(command("makemigrations"))

        said = site.run(*BLOCKS[MIGRATE], fails=True)

        assert re.search(
            r"CommandError: tracking\.0003_\w+ would drop your own table ai_usage_log, which has "
            "rows, before usage_tracking creates its table of this name. Nothing was migrated.",
            said,
        )
        assert dumps(site.run(DUMP)) == [before]
        # A fresh database has nothing to lose, so the table may be dropped.
        site.run(*BLOCKS[MIGRATE], database=new_database_url())
        printed = site.run(command("migrate tracking"), *BLOCKS[MIGRATE], DUMP)
        assert sorted(dumps(printed)[0]) == ["ai_usage_log", "ai_usage_tracking", "chat_answer"]

    def test_rename_by_sql_before_ours_are_created(
        self, tmp_path: Path, new_database_url: Callable[[], str]
    ):
        site = Site(tmp_path, new_database_url(), label="tracking")
        (before,) = dumps(site.run(command("migrate"), ("python", DATA), DUMP))
        site.give_names()

        said = site.run(*BLOCKS[NO_MODEL], *BLOCKS[MIGRATE], fails=True)
        printed = site.run(
            *BLOCKS[OTHER_ORDER], *BLOCKS[MIGRATE], DUMP, BLOCKS[IMPORT][0], IMPORTED
        )

        assert re.search(
            r'no such table: (main\.)?ai_usage_log|relation "ai_usage_log" does not exist', said
        )
        (renamed,) = dumps(printed)
        assert old_tables(renamed) == without_names(before)
        assert "\n31 8\n" in printed

    def test_migration_without_run_before(
        self, tmp_path: Path, new_database_url: Callable[[], str]
    ):
        """Without dependencies, Django orders apps by label."""
        site = Site(tmp_path, new_database_url(), label="zz_costs")
        (before,) = dumps(site.run(command("migrate"), ("python", DATA), DUMP))
        site.edit_models()
        site.edit_settings()
        site.run(MAKE_MIGRATION)

        ours = site.run(command("migrate usage_tracking"), fails=True)
        production = site.run(*BLOCKS[MIGRATE], fails=True)
        fresh = new_database_url()
        said = site.run(*BLOCKS[MIGRATE], database=fresh, fails=True)

        assert (
            "usage_tracking cannot create ai_usage_log: a table of this name exists. It belongs to "
            "zz_costs.AIUsageLog. Set the db_table of this model to 'old_ai_usage_log', run "
            'makemigrations, and add run_before = [("usage_tracking", "0001_ai_usage")] to the new '
            "migration.\n"
        ) in ours
        for migration, printed in (("0003_rename_old_tables", production), ("0002_indexes", said)):
            assert re.search(
                f"CommandError: zz_costs.{migration} cannot be applied: its operation "
                '"[^"]*" changes the table ai_usage_(log|tracking) of usage_tracking. '
                r'Nothing was migrated. Add run_before = \[\("usage_tracking", "0001_ai_usage"\)\] '
                "to the migration that renames your own table.",
                printed,
            )
        site.edit_migration()
        printed = site.run(*BLOCKS[MIGRATE], DUMP)
        (renamed,) = dumps(printed)
        assert old_tables(renamed) == without_names(before)
        site.run(*BLOCKS[MIGRATE], database=fresh)

    def test_way_back_without_run_before(self, tmp_path: Path, new_database_url: Callable[[], str]):
        site = Site(tmp_path, new_database_url(), label="tracking")
        (before,) = dumps(site.run(command("migrate"), ("python", DATA), DUMP))
        site.edit_models()
        site.edit_settings()
        site.run(MAKE_MIGRATION)
        site.run(*BLOCKS[MIGRATE])

        said = site.run(*BLOCKS[BACK], fails=True)

        assert "tracking.0003_rename_old_tables cannot be unapplied" in said
        assert "Run `migrate usage_tracking zero` first" in said
        printed = site.run(command("migrate usage_tracking zero"), *BLOCKS[BACK], DUMP)
        assert dumps(printed) == [before]

    @pytest.mark.parametrize("name", ["Log", "Bill"])
    def test_table_that_django_named(
        self, tmp_path: Path, new_database_url: Callable[[], str], name: str
    ):
        """The model `Log` of an app `ai_usage` has the table ai_usage_log by default."""
        models = f"class {name}(models.Model):\n    tokens = models.IntegerField(default=0)\n"
        site = Site(tmp_path, new_database_url(), models=models, label="ai_usage")
        table = f'    class Meta:\n        db_table = "old_ai_usage_{name.lower()}"\n'
        site.edit("ai_usage/models.py", "(?=later)", table)
        site.edit_settings()
        site.run(MAKE_MIGRATION)

        said = site.run(command("migrate usage_tracking"), command("migrate"), fails=True)

        changed = f'"Create model {name}" changes the table ai_usage_{name.lower()} of usage_track'
        assert f"its operation {changed}" in said
        site.edit_migration()
        site.run(command("migrate"), database=new_database_url())

    def test_own_table_with_the_name_of_a_later_one(
        self, tmp_path: Path, new_database_url: Callable[[], str]
    ):
        models = "class Bill(models.Model):\n    tokens = models.IntegerField(default=0)\n"
        site = Site(tmp_path, new_database_url(), models=models, label="ai_usage")
        site.run(command("migrate"), ("sql", "INSERT INTO ai_usage_bill (tokens) VALUES (1)"))
        site.edit("ai_usage/models.py", "class Bill.*(?=later)", "")
        site.edit_settings()
        site.run(command("makemigrations ai_usage"), command("migrate usage_tracking 0003"))

        said = site.run(command("migrate"), fails=True)

        assert "would drop your own table ai_usage_bill, which has rows, before usage_" in said
        assert "To drop them, run `migrate ai_usage` first." in said
        site.run(command("migrate ai_usage"), command("migrate"))


def test_guide_has_the_blocks_that_are_run():
    commands = [
        line.split()[2]
        for blocks in BLOCKS.values()
        for kind, block in blocks
        for line in block.splitlines()
        if kind == "console"
    ]
    assert commands == [
        "makemigrations",
        "migrate",
        *["import_ai_usage"] * 3,
        "rebuild_ai_usage",
        "makemigrations",
        "migrate",
        "migrate",
    ]
    assert [len(BLOCKS[name]) for name in (NO_MODEL, OTHER_ORDER)] == [1, 1]


@pytest.mark.django_db
class TestRefusals:
    """The messages, without a site."""

    LOG = operations.CreateModel(
        "Log", [("id", models.AutoField(primary_key=True))], {"db_table": "ai_usage_log"}
    )

    @pytest.mark.parametrize(
        ("operation", "touches"),
        [
            (operations.AddField("log", "tokens", models.IntegerField(default=0)), True),
            (operations.DeleteModel("Log"), True),
            (operations.AlterModelTable("log", "old_ai_usage_log"), True),
            (operations.AlterModelOptions("log", {"ordering": ["id"]}), False),
            (operations.SeparateDatabaseAndState([], [operations.DeleteModel("Log")]), False),
            (operations.SeparateDatabaseAndState([operations.DeleteModel("Log")]), True),
            (operations.RunSQL("SELECT 1"), False),
        ],
        ids=lambda value: type(value).__name__,
    )
    def test_operation_touches_the_table_of_its_model(self, operation, touches):
        state = ProjectState()
        self.LOG.state_forwards("tracking", state)

        found = migrating._touched([operation], "tracking", state, {"ai_usage_log"})

        assert {table for _, _, table in found} <= {"ai_usage_log"}
        assert bool(found) is touches

    @pytest.mark.parametrize(
        ("table", "backwards", "applied", "remedy"),
        [
            (
                "ai_usage_log",
                True,
                True,
                "Run `migrate usage_tracking zero` first, which drops ai_usage_log, "
                "ai_usage_tracking, ai_usage_bill.",
            ),
            ("ai_usage_log", False, True, "record the migration that renames it as applied"),
            ("ai_usage_log", False, False, 'Add run_before = [("usage_tracking", "0001_ai_usage")'),
            (
                "ai_usage_bill",
                True,
                True,
                "Run `migrate usage_tracking 0003` first, which drops ai_usage_bill.",
            ),
            (
                "ai_usage_bill",
                False,
                False,
                'Add run_before = [("usage_tracking", "0004_provider_bill")',
            ),
        ],
    )
    def test_refusal_names_the_remedy(self, table, backwards, applied, remedy):
        step = migrating._PlannedMigration(Migration("0002_more", "tracking"), backwards, {table})

        with pytest.raises(CommandError, match=re.escape(remedy)) as refused:
            migrating._refuse(step, self.LOG, table, connection, applied=applied)

        assert "tracking.0002_more cannot be" in str(refused.value)

    def test_every_table_is_protected(self):
        loader = MigrationLoader(None)
        tables = migrating._tables(loader.project_state(), "usage_tracking")
        created = {
            tables[operation.name_lower]: key
            for key, migration in loader.disk_migrations.items()
            if key[0] == "usage_tracking"
            for operation in migration.operations
            if isinstance(operation, operations.CreateModel) and operation.name_lower in tables
        }

        assert created == migrating.TABLES

    def test_table_with_rows_is_not_dropped(self):
        make_user()
        step = migrating._PlannedMigration(Migration("0002_away", "tracking"), backwards=False)
        gone = operations.DeleteModel("Log")

        with pytest.raises(CommandError, match="would drop your own table auth_user"):
            migrating._refuse(step, gone, "auth_user", connection, applied=False)
        for table in ("no_such_table", "auth_group"):
            migrating._refuse(step, gone, table, connection, applied=False)

    def test_taken_names_are_reported(self):
        editor = SimpleNamespace(connection=connection)
        with pytest.raises(CommandError, match="cannot create ai_usage_log: a table of this name"):
            migrating.refuse_taken_names(apps, editor, ["ai_usage_log_user"])

    def test_model_with_the_name_of_a_later_table_goes_before_its_migration(self):
        editor = SimpleNamespace(connection=connection)
        with pytest.raises(CommandError) as refused:
            migrating.refuse_taken_names(apps, editor, [], migrating.BILLS)
        assert 'add run_before = [("usage_tracking", "0004_provider_bill")]' in str(refused.value)
