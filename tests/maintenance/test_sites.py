"""Maintenance commands and jobs on whole sites: a second database, django-extensions, Ctrl-C."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.support.children import make_site, run_python
from tests.support.sites import manage


def test_commands_work_on_another_database(tmp_path: Path, empty_database_url: str):
    printed = run_python(
        tmp_path,
        """
        import datetime as dt
        from django.contrib.auth.models import User
        from django.core.management import call_command
        from django.db import connections
        call_command("migrate", database="other", verbosity=0)
        from usage_tracking.models import AIUsageLog, AIUsageTracking
        user = User.objects.using("other").create(username="ada")
        AIUsageLog.objects.using("other").create(
            user_id=user.pk, section="chat", prompt_tokens=1, completion_tokens=2,
            created_at=dt.datetime(2026, 1, 2, 12, tzinfo=dt.UTC),
        )
        AIUsageTracking.objects.using("other").update(total_tokens=0)
        with connections["other"].cursor() as cursor:
            cursor.execute("CREATE TABLE old AS SELECT 5 AS id, user_id, 7 AS prompt_tokens,"
                           " 8 AS completion_tokens, created_at FROM ai_usage_log")
        database = {"database": "other", "no_color": True}
        call_command("rebuild_ai_usage", **database)
        call_command("import_ai_usage", "--from", "old", **database)
        call_command("reprice_ai_usage", **database)
        call_command("prune_ai_usage", "--keep-days", "0", **database)
        print(AIUsageTracking.objects.using("other").get().total_tokens)
        """,
        settings=f"""
        import environ
        DATABASES["other"] = environ.Env().db_url_config({empty_database_url!r})
        DATABASES["default"] = {{
            "ENGINE": "django.db.backends.sqlite3", "NAME": "{tmp_path}/default.sqlite3"
        }}
        """,
    )

    assert re.sub("before [0-9-]+", "before TODAY", printed) == (
        "2026-01-02  ada (1): total_tokens +3\n1 daily rows rebuilt\n"
        "1 rows read, 1 imported, 0 exist already\n"
        "MODEL    ROWS  CHANGED  KEPT  OLD COST USD  NEW COST USD  STILL UNPRICED\n"
        "unknown     2        0     0      0.000000      0.000000               2\n"
        "Total       2        0     0      0.000000      0.000000               2\n"
        "0 of 2 rows repriced\n"
        "2 rows of days before TODAY removed\n18\n"
    )


def test_jobs_of_django_extensions_deliver_and_rebuild(tmp_path: Path, empty_database_url: str):
    printed = run_python(
        tmp_path,
        """
        from django.core.management import call_command
        from django.contrib.auth.models import User
        call_command("migrate", verbosity=0)
        from usage_tracking import outbox
        from usage_tracking.models import AIUsageLog, AIUsageTracking
        from tests.support.builders import make_event
        from usage_tracking import daily
        user = User.objects.create(username="ada")
        box = outbox.Outbox(outbox.get().directory)
        box.put(make_event(user=user))
        box.close()
        call_command("runjobs", "hourly")
        AIUsageTracking.objects.update(total_tokens=0)
        call_command("runjobs", "daily")
        print(AIUsageLog.objects.count(), daily.drift())
        """,
        settings="""
        INSTALLED_APPS = [*INSTALLED_APPS, "django_extensions"]
        LOGGING = {"version": 1, "disable_existing_loggers": False, "root": {"level": "WARNING"},
            "handlers": {"out": {"class": "logging.StreamHandler", "stream": "ext://sys.stdout"}},
            "loggers": {"ai_usage_tracker": {"level": "WARNING", "handlers": ["out"]}}}
        """,
        DATABASE_URL=empty_database_url,
    )

    assert printed == (
        "1 calls delivered\n1 files of dead processes taken over\n"
        "[TRACK_WARNING] A daily row was out of step with its logs and was mended - "
        "User: user:1, Date: 2026-03-14, Lacked: {'total_tokens': '230'}\n1 {}\n"
    )


@pytest.mark.costly
def test_ctrl_c_at_any_time_causes_no_drift_and_the_next_run_continues(
    tmp_path: Path, empty_database_url: str
):
    printed = run_python(
        tmp_path,
        """
        import functools
        from django.core.management import call_command
        from django.contrib.auth.models import User
        call_command("migrate", verbosity=0)
        from tests.support.builders import make_log
        from tests.support.interrupts import interrupt
        from usage_tracking import daily
        from usage_tracking.maintenance import legacy_import, prune
        from usage_tracking.models import AIUsageLog, AIUsageTracking
        from django.db import connection

        prune.prune = functools.partial(prune.prune, batch=20)
        legacy_import.BATCH = 20
        user = User.objects.create(username="ada")
        logs = AIUsageLog.objects.bulk_create([make_log(user=user) for _ in range(1000)])
        with connection.cursor() as cursor:
            cursor.execute("CREATE TABLE old AS SELECT CAST(id AS varchar(40)) AS id, user_id,"
                           " prompt_tokens, completion_tokens, created_at FROM ai_usage_log")
            cursor.execute("CREATE INDEX old_id ON old (id)")
        # Run once first: an interrupted `import` statement fails in ways that are not tested here.
        call_command("prune_ai_usage", "--keep-days", "0", "--dry-run", verbosity=0)
        call_command("import_ai_usage", "--from", "old", "--dry-run", verbosity=0)

        def interrupted(*arguments, moments):
            # The exit codes, and whether an end left a part of the rows.
            ended, rows = set(), set()
            for at in moments:
                ended.add(interrupt(*arguments, at=at))
                rows.add(AIUsageLog.objects.count())
            return ended, any(0 < count < 1000 for count in rows)

        moments = range(300, 12_000, 977)  # a batch takes some thousand calls
        ended, is_partial = interrupted("prune_ai_usage", "--keep-days", "0", moments=moments)
        print(ended <= {130, 0}, 130 in ended, daily.drift())
        print(is_partial)
        call_command("prune_ai_usage", "--keep-days", "0", verbosity=0)
        print(AIUsageLog.objects.count(), AIUsageTracking.objects.get().total_requests)

        AIUsageTracking.objects.all().delete()  # another site, before its import
        moments = range(300, 30_000, 2477)  # here a batch takes more than ten thousand
        ended, is_partial = interrupted("import_ai_usage", "--from", "old", moments=moments)
        print(ended <= {130, 0}, 130 in ended, daily.drift())
        print(is_partial)
        call_command("import_ai_usage", "--from", "old", verbosity=0)
        print(AIUsageLog.objects.count(), AIUsageTracking.objects.get().total_requests)
        """,
        DATABASE_URL=empty_database_url,
    )

    assert printed == "True True {}\nTrue\n0 1000\nTrue True {}\nTrue\n1000 1000\n"


@pytest.mark.costly
def test_ctrl_c_while_rows_are_repriced_causes_no_drift(tmp_path: Path, empty_database_url: str):
    printed = run_python(
        tmp_path,
        """
        from decimal import Decimal
        from django.core.management import call_command
        from django.contrib.auth.models import User
        call_command("migrate", verbosity=0)
        from tests.support.builders import make_log
        from tests.support.interrupts import interrupt
        from usage_tracking import daily
        from usage_tracking.maintenance import reprice
        from usage_tracking.models import AIUsageLog

        reprice.BATCH = reprice.SQLITE_BATCH = 20
        user = User.objects.create(username="ada")
        wrong = {"usage_source": "reported", "cost": Decimal("0.5")}
        AIUsageLog.objects.bulk_create([make_log(user=user, **wrong) for _ in range(1000)])
        # Run once first: an interrupted `import` statement fails in ways that are not tested here.
        call_command("reprice_ai_usage", "--dry-run", verbosity=0)
        moments = range(300, 30_000, 2977)
        ended = [interrupt("reprice_ai_usage", at=at) for at in moments]
        print(set(ended) <= {130, 0}, 130 in ended, daily.drift())
        print(0 < AIUsageLog.objects.filter(cost=wrong["cost"]).count() < 1000)
        call_command("reprice_ai_usage", verbosity=0)
        print(AIUsageLog.objects.filter(cost=Decimal("0.001175")).count(), daily.drift())
        """,
        DATABASE_URL=empty_database_url,
    )

    assert printed == "True True {}\nTrue\n1000 {}\n"


@pytest.mark.costly
def test_control_c_in_diagnose_rebuild_and_flush_leaves_nothing_behind(
    tmp_path: Path, empty_database_url: str
):
    """Interrupt before, during and after the work of the commands."""
    printed = run_python(
        tmp_path,
        """
        import datetime as dt
        from django.core.management import call_command
        from django.contrib.auth.models import User
        call_command("migrate", verbosity=0)
        from tests.support.builders import make_event, make_log
        from tests.support.interrupts import interrupt
        from usage_tracking import daily, outbox
        from usage_tracking.models import AIUsageLog, AIUsageTracking

        def moments(*arguments, calls):
            return {interrupt(*arguments, at=at) for at in range(500, calls, calls // 7)}

        user = User.objects.create(username="ada")
        day = dt.timedelta(days=1)
        AIUsageLog.objects.bulk_create(
            [make_log(user=user, created_at=make_log().created_at + n * day) for n in range(70)]
        )

        def put(number, **changes):
            box = outbox.Outbox(outbox.get().directory)
            for _ in range(number):
                box.put(make_event(user=user, **changes))
            box.close()

        put(1, created_at=make_log().created_at - day)
        # Run once first: an interrupted `import` statement fails in ways that are not tested here.
        call_command("flush_ai_usage", verbosity=0)
        interrupt("diagnose_ai_usage", "--skip-sdks")
        AIUsageTracking.objects.update(total_tokens=0)
        print(moments("rebuild_ai_usage", calls=120_000) - {0, 130})
        call_command("rebuild_ai_usage", verbosity=0)
        print(daily.drift(), AIUsageLog.objects.count(), AIUsageTracking.objects.count())

        put(1800)
        print(moments("flush_ai_usage", calls=200_000) - {0, 130})
        call_command("flush_ai_usage", verbosity=0)
        print(daily.drift(), AIUsageLog.objects.count())

        days = list(AIUsageTracking.objects.order_by("pk").values())
        print(moments("diagnose_ai_usage", "--skip-sdks", calls=40_000) - {0, 1, 130})
        call_command("flush_ai_usage", verbosity=0)
        print(AIUsageLog.objects.filter(metadata__has_key="diagnose_ai_usage").count())
        print(days == list(AIUsageTracking.objects.order_by("pk").values()), daily.drift())
        """,
        DATABASE_URL=empty_database_url,
    )

    assert printed == "set()\n{} 71 71\nset()\n{} 1871\nset()\n0\nTrue {}\n"


@pytest.mark.process
@pytest.mark.parametrize(
    ("command", "code"),
    [
        (["usage_today"], 2),
        (["flush_ai_usage"], 0),
        (["rebuild_ai_usage"], 2),
        (["prune_ai_usage", "--keep-days", "1"], 2),
        (["reprice_ai_usage"], 2),
        (["import_ai_usage", "--from", "old"], 2),
    ],
)
def test_unavailable_database_gives_no_traceback(tmp_path: Path, command: list[str], code: int):
    env = make_site(tmp_path) | {"DATABASE_URL": f"sqlite:///{tmp_path}/none/db.sqlite3"}

    ended = manage(*command, env=env, directory=tmp_path)

    assert ended.code == code
    assert "Traceback" not in ended.err
    assert ended.err.startswith("CommandError: ") == (code == 2)
