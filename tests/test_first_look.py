"""What a newcomer sees: the end of `migrate`, and the log line of the first call."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.smallest import make_smallest_site, python

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
