"""A client that a real generator writes from the schema makes a billing run, on a real server."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.management import call_command
from rest_framework.authtoken.models import Token

from tests.support.builders import NOON, make_user, save_log
from usage_tracking.models import AIUsageLog

pytest.importorskip("drf_spectacular")
pytest.importorskip("openapi_python_client")

pytestmark = [pytest.mark.costly, pytest.mark.process]

#: The job of a billing system: it records October's calls, and bills them page by page.
JOB = """
import sys
from collections import Counter
from datetime import UTC, date, datetime
from decimal import Decimal
from urllib.parse import parse_qs, urlsplit

from billing_client import AuthenticatedClient
from billing_client.api.ai_usage import usage_logs_create, usage_logs_list, usage_report
from billing_client.models import RecordMany, Section, SectionEnum, TrustedRecord
from billing_client.models import UsageReportGroupByItem as By

site, token, *users = sys.argv[1:]
client = AuthenticatedClient(base_url=site, token=token, raise_on_unexpected_status=True)

calls = [
    TrustedRecord(
        section=SectionEnum.CHAT,
        user=int(users[n % 2]) if n % 5 else None,
        provider="openai",
        model=f"model-{n % 3}",
        prompt_tokens=100 + n,
        cost="0.0100000001",
        created_at=datetime(2026, 10, 1 + n, 12, tzinfo=UTC),
        idempotency_key=f"october/{n}",
    )
    for n in range(20)
]
sent = [
    usage_logs_create.sync(client=client, body=RecordMany(calls=calls)) for _ in range(2)
]
print(sent[0].created, sent[0].repeated, sent[1].created, sent[1].repeated)
again = usage_logs_create.sync(client=client, body=calls[0])
print(again.id == sent[0].results[0].id, again.user, again.cost, again.created_at)
lone = TrustedRecord(section=SectionEnum.CHAT, cost=0.25, created_at=calls[0].created_at)
rows = [
    usage_logs_create.sync(client=client, body=lone, idempotency_key="header") for _ in range(2)
]
print(rows[0].id == rows[1].id, rows[0].cost)

def bill(start, end):
    total, lines, pages, cursor = Counter(), [], 0, "*"
    while cursor:
        page = usage_report.sync(
            client=client,
            start=start,
            end=end,
            group_by=[By.DAY, By.USER, By.MODEL],
            user="all",
            limit=4,
            cursor=cursor,
        )
        pages += 1
        for line in page.results:
            lines.append(line)
            total[line.user] += Decimal(line.cost or 0)
        cursor = page.next_ and parse_qs(urlsplit(page.next_).query)["cursor"][0]
    return total, lines, pages

total, lines, pages = bill(date(2026, 10, 1), date(2026, 10, 31))
print(pages, len(lines), sum(line.calls for line in lines), sum(total.values()))
print(type(lines[0].day).__name__, *sorted({type(line.user).__name__ for line in lines}))
total, lines, pages = bill(datetime(2026, 10, 2, tzinfo=UTC), datetime(2026, 10, 3, tzinfo=UTC))
print(len(lines), [(line.day.isoformat(), line.model, line.prompt_tokens) for line in lines])

page = usage_logs_list.sync(client=client, user="all", cursor="*", limit=5, provider="openai")
print(len(page.results), page.results[0].cost, page.next_ is not None)
wrong = usage_report.sync_detailed(client=client, start=date(2026, 10, 2), end=date(2026, 10, 1))
print(int(wrong.status_code), wrong.parsed["end"])
"""


def test_it_bills_october(live_server: Any, tmp_path: Path):
    root = User.objects.create_superuser("root")
    users = [make_user(name) for name in ("ada", "bob")]
    save_log(user=users[0], created_at=NOON)
    schema = tmp_path / "schema.yml"
    call_command("spectacular", "--validate", "--fail-on-warn", f"--file={schema}")
    run(
        [sys.executable, "-m", "openapi_python_client", "generate", "--path", schema],
        ["--output-path", tmp_path / "billing_client", "--meta", "none"],
    )
    (tmp_path / "job.py").write_text(JOB)

    printed = run(
        [sys.executable, "-W", "error", tmp_path / "job.py", live_server.url],
        [Token.objects.create(user=root).key, *(str(user.pk) for user in users)],
    )

    assert printed.splitlines() == [
        "20 0 0 20",
        "True None 0.0100000001 2026-10-01 12:00:00+00:00",
        "True 0.2500000000",
        "6 21 21 0.45000000",
        "date NoneType int",
        "1 [('2026-10-02', 'model-1', 101)]",
        "5 0.0100000001 True",
        "400 ['The end, 2026-10-01, is before the start, 2026-10-02.']",
    ]
    assert AIUsageLog.objects.count() == 22


def run(command: list[Any], more: list[Any]) -> str:
    ended = subprocess.run(
        [*command, *more], capture_output=True, text=True, timeout=120, check=False
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout
