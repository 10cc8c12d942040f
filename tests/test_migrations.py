"""Migrations are complete with any settings and never change a site's own table."""

from __future__ import annotations

from pathlib import Path

import pytest
from django.db import connection

from tests.support.children import run_python

CREATE = """
from django.core.management import CommandError, call_command
from django.db import connection

def refused(**options):
    try:
        call_command("migrate", "usage_tracking", verbosity=0, **options)
    except CommandError as error:
        print(error)

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


class TestTakenNames:
    def test_foreign_table_is_rejected_until_it_is_renamed(
        self, tmp_path: Path, empty_database_url: str
    ):
        printed = run_python(
            tmp_path,
            f"""{CREATE}
execute("CREATE TABLE ai_usage_log (tokens integer)")
execute("INSERT INTO ai_usage_log VALUES (42)")
refused()
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
            "usage_tracking cannot create ai_usage_log: a table of this name exists. "
            "Rename it: ALTER TABLE ai_usage_log RENAME TO old_ai_usage_log.\n"
            "Then migrate again. See docs/migrating.md for the steps.\n"
            "['ai_usage_log']\n['ai_usage_bill', 'ai_usage_log', 'ai_usage_tracking']\n[(42,)]\n"
        )

    def test_table_with_the_name_of_a_later_one_is_rejected(
        self, tmp_path: Path, empty_database_url: str
    ):
        printed = run_python(
            tmp_path,
            f"""{CREATE}
execute("CREATE TABLE ai_usage_bill (amount integer)")
refused()
print(tables())
execute("ALTER TABLE ai_usage_bill RENAME TO old_ai_usage_bill")
call_command("migrate", "usage_tracking", verbosity=0)
print(tables())
""",
            DATABASE_URL=empty_database_url,
        )

        assert printed.startswith(
            "usage_tracking cannot create ai_usage_bill: a table of this name exists. "
            "Rename it: ALTER TABLE ai_usage_bill RENAME TO old_ai_usage_bill.\n"
            "Then migrate again."
        )
        assert printed.endswith("\n['ai_usage_bill', 'ai_usage_log', 'ai_usage_tracking']\n")

    def test_every_taken_name_is_listed(self, tmp_path: Path, empty_database_url: str):
        """Index names are unique in a schema, and on SQLite in the file."""
        printed = run_python(
            tmp_path,
            f"""{CREATE}
execute("CREATE TABLE ai_usage_log (tokens integer)")
execute("CREATE TABLE other (tokens integer)")
execute("CREATE VIEW ai_usage_tracking AS SELECT 1 AS one")
execute("CREATE INDEX ai_usage_log_day ON other (tokens)")
refused()
execute("ALTER TABLE ai_usage_log RENAME TO old_ai_usage_log")
execute("DROP VIEW ai_usage_tracking")
execute("DROP INDEX ai_usage_log_day")
call_command("migrate", "usage_tracking", verbosity=0)
print(tables())
""",
            DATABASE_URL=empty_database_url,
        )

        sqlite = connection.vendor == "sqlite"
        expected = [
            "usage_tracking cannot create ai_usage_log: a table of this name exists. "
            "Rename it: ALTER TABLE ai_usage_log RENAME TO old_ai_usage_log.",
            "usage_tracking cannot create ai_usage_tracking: a view of this name exists. "
            + (
                "Drop it: DROP VIEW ai_usage_tracking."
                if sqlite
                else "Rename it: ALTER VIEW ai_usage_tracking RENAME TO old_ai_usage_tracking."
            ),
            "usage_tracking cannot create the index ai_usage_log_day: other has an index of this "
            "name. "
            + (
                "Drop it: DROP INDEX ai_usage_log_day."
                if sqlite
                else "Rename it: ALTER INDEX ai_usage_log_day RENAME TO old_ai_usage_log_day."
            ),
            "Then migrate again. See docs/migrating.md for the steps.",
            "['ai_usage_bill', 'ai_usage_log', 'ai_usage_tracking']",
        ]
        assert printed.splitlines() == expected

    @pytest.mark.postgres
    def test_names_in_another_schema_are_free(self, tmp_path: Path, empty_database_url: str):
        """A site with a schema per customer has `public` in its search path too."""
        printed = run_python(
            tmp_path,
            f"""{CREATE}
execute("CREATE TABLE public.ai_usage_log (tokens integer)")
execute("CREATE SCHEMA customer")
execute("SET search_path TO customer, public")
call_command("migrate", "usage_tracking", verbosity=0)
with connection.cursor() as cursor:
    cursor.execute("SELECT count(*) FROM customer.ai_usage_tracking")
    print(cursor.fetchall())
""",
            DATABASE_URL=empty_database_url,
        )

        assert printed == "[(0,)]\n"

    def test_fake_initial_does_not_accept_foreign_tables(
        self, tmp_path: Path, empty_database_url: str
    ):
        printed = run_python(
            tmp_path,
            f"""{CREATE}
execute("CREATE TABLE ai_usage_log (tokens integer)")
execute("CREATE TABLE ai_usage_tracking (tokens integer)")
refused(fake_initial=True)
""",
            DATABASE_URL=empty_database_url,
        )

        assert printed.count("cannot create") == 2

    def test_history_of_an_app_with_the_same_name_does_not_hide_its_tables(
        self, tmp_path: Path, empty_database_url: str
    ):
        printed = run_python(
            tmp_path,
            f"""{CREATE}
from django.db.migrations.recorder import MigrationRecorder
call_command("migrate", "auth", verbosity=0)
MigrationRecorder(connection).record_applied("usage_tracking", "0001_initial")
execute("CREATE TABLE ai_usage_log (tokens integer)")
refused()
execute("ALTER TABLE ai_usage_log RENAME TO old_ai_usage_log")
call_command("migrate", "usage_tracking", verbosity=0)
print(tables())
""",
            DATABASE_URL=empty_database_url,
        )

        assert printed.startswith("usage_tracking cannot create ai_usage_log: a table")
        assert printed.endswith("\n['ai_usage_bill', 'ai_usage_log', 'ai_usage_tracking']\n")


def test_plan_and_sql_are_shown_while_names_are_taken(tmp_path: Path, empty_database_url: str):
    printed = run_python(
        tmp_path,
        f"""{CREATE}
execute("CREATE TABLE ai_usage_log (tokens integer)")
call_command("migrate", plan=True)
call_command("sqlmigrate", "usage_tracking", "0001")
print(tables())
""",
        DATABASE_URL=empty_database_url,
    )

    assert "Create model AIUsageLog" in printed
    assert 'CREATE TABLE "ai_usage_log"' in printed
    assert printed.endswith("\n['ai_usage_log']\n")


def test_migrations_are_reversible(tmp_path: Path, empty_database_url: str):
    printed = run_python(
        tmp_path,
        f"""{CREATE}
for target in ([], ["zero"], []):
    call_command("migrate", "usage_tracking", *target, verbosity=0)
    print(tables())
""",
        DATABASE_URL=empty_database_url,
    )

    tables = "['ai_usage_bill', 'ai_usage_log', 'ai_usage_tracking']\n"
    assert printed == f"{tables}[]\n{tables}"
