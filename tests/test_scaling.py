"""The row table partitioned by month, with the statements of docs/scaling.md."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.support.children import ROOT, run_python

SCALING = (ROOT / "docs" / "scaling.md").read_text()
CUT, MONTH = re.findall(r"^```sql\n(.*?)^```", SCALING, re.DOTALL | re.MULTILINE)


@pytest.mark.postgres
def test_table_partitioned_by_month_works_like_a_single_table(
    tmp_path: Path, empty_database_url: str
) -> None:
    (tmp_path / "cut.sql").write_text(CUT)
    (tmp_path / "month.sql").write_text(MONTH)

    printed = run_python(
        tmp_path,
        """
        import datetime as dt
        from pathlib import Path
        from django.contrib.auth.models import User
        from django.core.management import call_command
        from django.db import connection
        from freezegun import freeze_time
        call_command("migrate", verbosity=0)
        from tests.support.builders import make_event, save_log
        from usage_tracking import daily
        from usage_tracking.events import uuid7
        from usage_tracking.models import AIUsageLog, AIUsageTracking
        from usage_tracking.delivery.writer import store

        def execute(sql):
            with connection.cursor() as cursor:
                cursor.execute(sql)
                return cursor.fetchall() if cursor.description else []

        def indexes():
            found = execute("SELECT indexdef FROM pg_indexes WHERE tablename = 'ai_usage_log'")
            return sorted(sql.replace(" ON ONLY ", " ON ") for sql, in found)

        def parts():
            counted = "SELECT tableoid::regclass, count(*) FROM ai_usage_log GROUP BY 1 ORDER BY 1"
            return {name.removeprefix("ai_usage_log_"): n for name, n in execute(counted)}

        def call(moment):
            return make_event(user=ada, id=uuid7(moment), created_at=moment)

        ada = User.objects.create(username="ada")
        december = dt.datetime(2026, 12, 31, 23, 59, 59, tzinfo=dt.UTC)
        january = dt.datetime(2027, 1, 10, 12, tzinfo=dt.UTC)
        with freeze_time(december - dt.timedelta(days=9)):
            for user in (ada, ada, None):
                save_log(user=user, created_at=dt.datetime.now(dt.UTC))
        before = indexes()
        execute(Path("cut.sql").read_text())
        execute(Path("month.sql").read_text())
        print(indexes() == before)

        calls = [call(december), *(call(january) for _ in range(3))]
        print(len(store(calls, using="default").rows), len(store(calls, using="default").rows))
        store([call(dt.datetime(2027, 2, 1, tzinfo=dt.UTC))], using="default")
        with freeze_time(january):
            log = save_log(user=ada, created_at=january)
        print(parts())
        log.prompt_tokens = 1
        log.save()
        AIUsageLog.objects.filter(pk=calls[1].id).update(prompt_tokens=2)
        AIUsageLog.objects.filter(pk=calls[2].id).delete()
        print(daily.drift(), AIUsageLog.objects.count())

        with freeze_time("2027-02-02 12:00"):
            call_command("prune_ai_usage", "--keep-days", "20", verbosity=0)
        execute("DROP TABLE ai_usage_log_2027_01")
        print(parts(), daily.drift())
        print(sum(day.total_requests for day in AIUsageTracking.objects.all()))
        """,
        DATABASE_URL=empty_database_url,
    )

    assert printed.splitlines() == [
        "True",
        "4 0",
        "{'before_2027': 4, 'default': 1, '2027_01': 4}",
        "{} 8",
        # Calls without a user are kept, because no daily row counts them.
        "{'before_2027': 1, 'default': 1} {}",
        "7",
    ]
