"""Count rows after rollbacks, calls recorded twice, and writes that bypass the tracker.

python -m benchmarks.counts
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from benchmarks.callers import found
from benchmarks.site import empty_tables, web_site
from benchmarks.table import FULL, Row, print_rows, scaled

if TYPE_CHECKING:
    from django.contrib.auth.models import User


def measure(part: float = FULL) -> Iterator[Row]:
    """Yield the rows of this benchmark."""
    times = scaled(20, part, 2)
    with web_site() as alice:
        yield rolled_back(alice, times)
        yield recorded_twice(alice, times)
        yield written_past_the_tracker(alice)
        yield written_past_the_orm(alice)


def rolled_back(alice: User, times: int) -> Row:
    """Count the rows of calls in code that is rolled back."""
    from django.db import transaction
    from django.test import Client

    from tests.processes.celery_app import app
    from tests.views import ask
    from usage_tracking import ai_usage, track_ai_usage

    def task() -> None:
        with transaction.atomic():
            ask()
            raise RollbackError

    def block() -> None:
        with suppress(RollbackError), transaction.atomic():
            with ai_usage(section="chat", user=alice):
                ask()
            raise RollbackError

    def by_hand() -> None:
        with suppress(RollbackError), transaction.atomic():
            track_ai_usage(alice, "chat", 150, 80)
            raise RollbackError

    client = Client(raise_request_exception=False)
    ways: list[Callable[[], object]] = [
        lambda: client.get("/raising/"),
        lambda: client.get("/rollback/"),
        app.task(task).apply,
        block,
        by_hand,
    ]
    empty_tables()
    for _ in range(times):
        for way in ways:
            way()
    made, rows = times * len(ways), len(found())
    return Row(
        "rows kept after a rollback of a view, task, block or explicit tracking code",
        "all",
        f"{rows} of {made}",
        met=rows == made,
        invariant=True,
    )


class RollbackError(Exception):
    """Roll back the transaction."""


def recorded_twice(alice: User, times: int) -> Row:
    """Count the rows of calls that are captured and recorded by hand."""
    from django.test import Client

    from tests.views import ask
    from usage_tracking import track_ai_usage

    client = Client()
    client.force_login(alice)
    empty_tables()
    for _ in range(times):
        client.get("/handwritten/")
        usage = ask().usage
        track_ai_usage(alice, "chat", usage.prompt_tokens, usage.completion_tokens)
    calls, rows = 2 * times, len(found())
    return Row(
        "rows per call that is captured and also tracked by hand",
        "1",
        f"{rows / calls:.2f} ({rows} of {calls})",
        met=rows == calls,
        invariant=True,
    )


def written_past_the_tracker(alice: User) -> Row:
    """Check the daily rows after writes through the ORM and the API."""
    from django.contrib.auth.models import User

    from usage_tracking import daily
    from usage_tracking.models import AIUsageLog

    other = User.objects.create(username="other")
    logs = AIUsageLog.objects

    def save() -> None:
        log = new(alice)
        log.save()
        log.prompt_tokens = 7
        log.save()

    ways: list[Callable[[], object]] = [
        lambda: logs.create(user=alice, section="chat", prompt_tokens=1, completion_tokens=2),
        lambda: logs.bulk_create([new(alice), new(other), new(None)]),
        save,
        lambda: logs.filter(user=alice).update(completion_tokens=11),
        lambda: logs.filter(user=other).update(user=alice),
        lambda: logs.filter(user=alice)[0].delete(),
        lambda: logs.filter(pk__in=list(logs.values_list("pk", flat=True)[:2])).delete(),
        lambda: post(alice),
    ]
    empty_tables()
    logs.bulk_create([new(alice), new(other)])
    in_step = 0
    for way in ways:
        way()
        in_step += daily.drift() == {}
    return Row(
        "daily rows match the log after create, bulk_create, save, update, update(user), delete, "
        "queryset delete, POST",
        "8 of 8",
        f"{in_step} of {len(ways)}",
        met=in_step == len(ways),
        invariant=True,
    )


def written_past_the_orm(alice: User) -> Row:
    """Check that drift finds raw SQL writes, and that rebuild fixes the daily rows."""
    from django.db import connection

    from usage_tracking import daily

    found_and_mended = 0
    for sql in (
        "UPDATE ai_usage_log SET prompt_tokens = 1000",
        "DELETE FROM ai_usage_log WHERE prompt_tokens = 1001",
        "DELETE FROM ai_usage_tracking",
    ):
        empty_tables()
        new(alice).save()
        new(alice, prompt_tokens=1001).save()
        with connection.cursor() as cursor:
            cursor.execute(sql)
        drift_was_found = bool(daily.drift())
        daily.rebuild()
        found_and_mended += drift_was_found and daily.drift() == {}
    return Row(
        "raw SQL (update, delete) and deleted daily rows: differences found and rebuilt",
        "all",
        f"{found_and_mended} of 3",
        met=found_and_mended == 3,
        invariant=True,
    )


def new(user: User | None, **changes: Any) -> Any:
    """Return an unsaved row."""
    from tests.support.builders import make_log
    from usage_tracking.events import utc_now

    return make_log(user=user, created_at=utc_now(), **changes)


def post(user: User) -> None:
    """Record a call with the API."""
    from rest_framework.test import APIClient

    client = APIClient()
    client.force_authenticate(user)
    answer = client.post(
        "/api/usage/logs/",
        {"section": "chat", "prompt_tokens": 5, "completion_tokens": 6, "model_name": "gpt-4o"},
        format="json",
    )
    if answer.status_code != 201:
        raise RuntimeError(answer.content)


if __name__ == "__main__":
    print_rows(measure())
