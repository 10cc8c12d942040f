"""Migrations: complete whatever the site's settings, and never over a table of the site's own."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.children import run_python

CREATE = """
from django.core.management import call_command
from django.db import connection

def execute(sql):
    with connection.cursor() as cursor:
        cursor.execute(sql)

def tables():
    return [name for name in connection.introspection.table_names() if name.startswith("ai_")]
"""


EVERYTHING_ELSE = """
DEFAULT_AUTO_FIELD = "django.db.models.AutoField"
AI_USAGE_SECTIONS = {"support": "Support"}
AI_USAGE_DEFAULT_SECTION = "support"
AI_USAGE_DAY_TIMEZONE = "Asia/Tokyo"
AI_USAGE_ENABLED = False
LANGUAGE_CODE = "de"
USE_TZ = False
"""


@pytest.mark.process
@pytest.mark.parametrize(
    "settings", ['DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"', EVERYTHING_ELSE]
)
def test_settings_need_no_migration(tmp_path: Path, settings: str):
    printed = run_python(
        tmp_path,
        """
        from django.core.management import call_command
        call_command("makemigrations", "usage_tracking", "--check", "--dry-run")
        """,
        settings=settings,
        DATABASE_URL=f"sqlite:///{tmp_path}/db.sqlite3",
    )

    assert printed == "No changes detected in app 'usage_tracking'\n"


class TestForeignTable:
    def test_foreign_table_is_refused_and_left_alone_and_the_way_out_works(
        self, tmp_path: Path, empty_database_url: str
    ):
        printed = run_python(
            tmp_path,
            f"""{CREATE}
execute("CREATE TABLE ai_usage_log (tokens integer)")
execute("INSERT INTO ai_usage_log VALUES (42)")
try:
    call_command("migrate", "usage_tracking", verbosity=0)
except RuntimeError as error:
    print(error)
print(tables())
execute("ALTER TABLE ai_usage_log RENAME TO old_ai_usage_log")
call_command("migrate", "usage_tracking", verbosity=0)
print(tables())
with connection.cursor() as cursor:
    cursor.execute("SELECT * FROM old_ai_usage_log")
    print(cursor.fetchall())
""",
            DATABASE_URL=empty_database_url,
        )

        assert printed == (
            "usage_tracking cannot create ai_usage_log: a table of that name exists, probably of "
            "the site's own tracker. Rename it first, for example with ALTER TABLE ai_usage_log "
            "RENAME TO old_ai_usage_log, then migrate again; its rows stay.\n"
            "['ai_usage_log']\n['ai_usage_log', 'ai_usage_tracking']\n[(42,)]\n"
        )

    def test_two_foreign_tables_are_both_named(self, tmp_path: Path, empty_database_url: str):
        printed = run_python(
            tmp_path,
            f"""{CREATE}
execute("CREATE TABLE ai_usage_log (tokens integer)")
execute("CREATE TABLE ai_usage_tracking (tokens integer)")
try:
    call_command("migrate", "usage_tracking", verbosity=0)
except RuntimeError as error:
    print(str(error).partition(":")[0])
""",
            DATABASE_URL=empty_database_url,
        )

        assert printed == "usage_tracking cannot create ai_usage_log, ai_usage_tracking\n"

    def test_history_of_an_app_of_the_same_name_does_not_hide_its_tables(
        self, tmp_path: Path, empty_database_url: str
    ):
        printed = run_python(
            tmp_path,
            f"""{CREATE}
from django.db.migrations.recorder import MigrationRecorder
call_command("migrate", "auth", verbosity=0)
MigrationRecorder(connection).record_applied("usage_tracking", "0001_initial")
execute("CREATE TABLE ai_usage_log (tokens integer)")
try:
    call_command("migrate", "usage_tracking", verbosity=0)
except RuntimeError as error:
    print(str(error).partition(":")[0])
execute("ALTER TABLE ai_usage_log RENAME TO old_ai_usage_log")
call_command("migrate", "usage_tracking", verbosity=0)
print(tables())
""",
            DATABASE_URL=empty_database_url,
        )

        assert printed == (
            "usage_tracking cannot create ai_usage_log\n['ai_usage_log', 'ai_usage_tracking']\n"
        )


def test_migrations_can_be_undone_and_done_again(tmp_path: Path, empty_database_url: str):
    printed = run_python(
        tmp_path,
        f"""{CREATE}
for target in ([], ["zero"], []):
    call_command("migrate", "usage_tracking", *target, verbosity=0)
    print(tables())
""",
        DATABASE_URL=empty_database_url,
    )

    tables = "['ai_usage_log', 'ai_usage_tracking']\n"
    assert printed == f"{tables}[]\n{tables}"
