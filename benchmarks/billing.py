"""A billing job that knows only the API: October by day, user and model, page by page.

    DATABASE_URL=postgresql://... python -m benchmarks.billing [--rows N]

Fills the tables with N calls of 31 days by 300 users to 15 models, starts gunicorn, and reads the
report over HTTP. The sums of the lines must be those that SQL computes. Use a database without data
to keep: the tables are emptied first.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from decimal import Decimal

from benchmarks.site import site, statements

USERS, MODELS, LIMIT = 300, 15, 10_000
START, END = "2026-10-01", "2026-10-31"
QUERY = {
    "start": START,
    "end": END,
    "group_by": "day,user,model",
    "user": "all",
    "limit": str(LIMIT),
}
STATEMENTS = 3
CENT = Decimal("0.01")

FILL = f"""
INSERT INTO ai_usage_log (id, user_id, section, provider, model_name, operation, prompt_tokens,
    completion_tokens, usage_source, cost, response_time_ms, success, metadata, day, created_at)
SELECT gen_random_uuid(), CASE WHEN n % 100 <> 0 THEN 1 + abs(hashint8(n)::bigint) % {USERS} END,
    CASE WHEN n % 3 = 0 THEN 'chat' ELSE 'other' END, 'openai',
    'model-' || abs(hashint8(-n)::bigint) % {MODELS}, 'chat', n * 101 % 4000, n * 103 % 900,
    'reported', CASE WHEN n % 20 <> 0 THEN (n * 107 % 90000) * 0.0000001013 END,
    100 + n * 109 % 9000, n % 30 <> 0, '{{{{}}}}', (moment AT TIME ZONE 'UTC')::date, moment
FROM generate_series(0::bigint, {{rows}} - 1) AS numbers(n),
    LATERAL (SELECT timestamptz '{START} 00:00Z' + n * interval '31 days' / {{rows}}) AS m(moment)
"""


@dataclass
class Bill:
    """What the job has read."""

    requests: int = 0
    lines: int = 0
    calls: int = 0
    cost: Decimal = Decimal(0)
    bytes: int = 0
    seconds: list[float] = field(default_factory=list)


def main() -> None:
    """Print the requests, the seconds and the sums; exit with an error if a sum is wrong."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=1_000_000)
    options = parser.parse_args()
    with site("benchmarks.billing_settings"):
        from django.db import connection

        if connection.vendor != "postgresql":
            parser.error("DATABASE_URL must name a PostgreSQL database")
        token = fill(options.rows)
        print(f"{options.rows:,} calls of {USERS} users to {MODELS} models, {START} to {END}")
        most = count(token)
        with server() as url:
            bill = read(url, token)
        with connection.cursor() as cursor:
            started = time.perf_counter()
            cursor.execute(
                "SELECT COUNT(*), SUM(cost) FROM ai_usage_log WHERE day BETWEEN %s AND %s",
                [START, END],
            )
            calls, cost = cursor.fetchone()
            seconds = time.perf_counter() - started
        rows = options.rows
    print(f"statements of a request, at most: {most} (target {STATEMENTS}), and 1 for the token")
    print(
        f"{bill.requests} requests, {bill.lines:,} lines, {bill.bytes / 1e6:.1f} MB in "
        f"{sum(bill.seconds):.1f} s; first {bill.seconds[0]:.1f} s, last {bill.seconds[-1]:.1f} s"
    )
    print(f"calls: {bill.calls:,}, by SQL {calls:,}")
    print(f"cost:  {bill.cost}, by SQL {cost} in {seconds:.1f} s")
    is_right = bill.calls == calls == rows and bill.cost.quantize(CENT) == cost.quantize(CENT)
    if not is_right or most > STATEMENTS:
        raise SystemExit("NOT MET")


def fill(rows: int) -> str:
    """Replace the contents of the tables, and return the token of a client that may see them."""
    from django.contrib.auth.models import User
    from django.core.management import call_command
    from django.db import connection
    from rest_framework.authtoken.models import Token

    call_command("migrate", verbosity=0)
    call_command("flush", verbosity=0, interactive=False)
    User.objects.bulk_create(User(pk=n, username=f"user{n}") for n in range(1, USERS + 1))
    client = User.objects.create(pk=USERS + 1, username="billing", is_superuser=True)
    with connection.cursor() as cursor:
        cursor.execute(FILL.format(rows=rows))
        cursor.execute("VACUUM ANALYZE")  # as autovacuum does later
    token: str = Token.objects.create(user=client).key
    return token


def count(token: str) -> int:
    """Return the most statements of a page, without that of the authentication."""
    from rest_framework.test import APIClient

    client = APIClient(HTTP_AUTHORIZATION=f"Token {token}")
    numbers = []
    link = f"/usage/report/?{urllib.parse.urlencode(QUERY)}"
    for _ in range(2):
        with statements() as noted:
            answer = client.get(link)
        assert answer.status_code == 200, answer.content
        numbers.append(len(noted) - 1)
        link = answer.json()["next"]
    return max(numbers)


@contextmanager
def server() -> Iterator[str]:
    """Run gunicorn in a process of its own, and yield the URL."""
    application = "django.core.wsgi:get_wsgi_application()"
    command = [sys.executable, "-m", "gunicorn", "--bind=127.0.0.1:0", "--workers=1", application]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield next(
                found[0]
                for line in process.stderr or ()
                if (found := re.search(r"http://127\.0\.0\.1:\d+", line))
            )
        finally:
            process.terminate()


def read(url: str, token: str) -> Bill:
    """Read all pages and add up their lines."""
    bill = Bill()
    link: str | None = f"{url}/usage/report/?{urllib.parse.urlencode(QUERY)}"
    while link:
        request = urllib.request.Request(link, headers={"Authorization": f"Token {token}"})
        started = time.perf_counter()
        with urllib.request.urlopen(request) as response:
            body = response.read()
        bill.seconds.append(time.perf_counter() - started)
        page = json.loads(body)
        bill.requests += 1
        bill.bytes += len(body)
        bill.lines += len(page["results"])
        bill.calls += sum(line["calls"] for line in page["results"])
        bill.cost += sum(Decimal(line["cost"]) for line in page["results"] if line["cost"])
        link = page["next"]
    return bill


if __name__ == "__main__":
    main()
