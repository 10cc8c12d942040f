"""Run every entry point of the site as in production, and print what was recorded, as JSON.

The driver is in `tests`, which a scan skips: its calls are not calls of the site.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from io import StringIO
from pathlib import Path
from typing import Any

import django

from project.stub import StubProvider

WAIT = 60.0
SITE = Path(__file__).parent.parent

#: Further queries that the driver sends, to views with more than one path.
QUERIES = {
    "blocks/block_of_one_branch/": ("tracked",),
    "blocks/conditional_block/": ("tracked",),
    "blocks/conditional_section/": ("tracked",),
    "blocks/exit_stack_sometimes/": ("tracked",),
    "blocks/section_variable/": ("q",),
    "blocks/middleware_only/": ("summary",),
    "more/section_of_query/": ("section=chat",),
    "transports/urllib_recorded_sometimes/": ("record",),
    "trackers/tracked_in_except/": ("fail",),
    "trackers/tracked_in_branch/": ("bill",),
    "trackers/tracked_in_both_branches/": ("safe",),
    "trackers/returned_before_tracker/": ("bill",),
}
POSTS = (
    "class_views/UsageOnPost/",
    "class_views/MethodDecorator/",
    "site/NoteFormView/",
    "positions/created/",
)
#: It shows the error page of the site.
FAILING = ("positions/fails/",)
COMMANDS = ("truth_plain", "truth_section", "truth_usage", "truth_parts")


def routes(patterns: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield (path, view) of the site's routes without arguments; the admin is driven apart."""
    for pattern in patterns:
        path = f"{prefix}{pattern.pattern}"
        if path == "admin/":
            continue
        if hasattr(pattern, "url_patterns"):
            yield from routes(pattern.url_patterns, path)
        elif "(" not in path.replace("(?P<", ""):
            yield path.replace("^", "").replace("$", ""), pattern.callback


def get_all(
    patterns: Any,
    client: Any,
    user: Any,
    queries: Mapping[str, Sequence[str]],
    may_fail: Collection[str],
) -> list[str]:
    """Request every route, also with its `queries`; return those that fail and may not."""
    from asgiref.sync import iscoroutinefunction
    from django.test import AsyncClient

    failed = []
    for path, view in routes(patterns):
        for query in ("", *queries.get(path, ())):
            url = f"/{path}?{query}"
            if iscoroutinefunction(view):
                status = asyncio.run(visit(AsyncClient(raise_request_exception=False), user, url))
            else:
                response = client.get(url)
                b"".join(response)
                response.close()
                status = response.status_code
            if status >= 400 and path not in may_fail:
                failed.append(f"{url} {status} {getattr(response, 'exc_info', None)}")
    return failed


def drive_views(user: Any) -> list[str]:
    """Request every route; return the paths that fail."""
    from django.test import Client

    from tests.scanner.truth.urls import urlpatterns

    client = Client(raise_request_exception=False)
    client.force_login(user)
    failed = get_all(urlpatterns, client, user, QUERIES, (*POSTS, *FAILING))
    client.get("/missing/")
    for path in POSTS:
        client.post(f"/{path}", {"text": "Hi"})
    data: dict[str, Any] = {"_selected_action": ["1"]}
    client.get("/admin/auth/group/")
    for name in ("summarise", "summarise_in_block"):
        client.post("/admin/auth/group/", data | {"action": name})
    return failed


async def visit(client: Any, user: Any, url: str) -> int:
    await client.aforce_login(user)
    response = await client.get(url)
    if response.streaming:
        [part async for part in response]
    response.close()
    return int(response.status_code)


def drive_tasks() -> None:
    """Send what the beat sends, then let a worker run all tasks."""
    import threading

    from celery.contrib.testing.worker import start_worker

    from tests.scanner.truth.tasks import app

    finished = threading.Event()
    app.task(name="truth.finish")(finished.set)
    for entry in app.conf.beat_schedule.values():
        app.send_task(entry["task"])
    with start_worker(app, pool="solo", perform_ping_check=False, loglevel="CRITICAL"):
        # Two rounds: tasks send tasks, and these are behind the first sign.
        for _ in range(3):
            app.send_task("truth.finish")
            assert finished.wait(WAIT)
            finished.clear()


async def talk(consumer: Any) -> None:
    from asgiref.testing import ApplicationCommunicator

    scope = {"type": "websocket", "path": "/", "headers": []}
    socket = ApplicationCommunicator(consumer.as_asgi(), scope)
    await socket.send_input({"type": "websocket.connect"})
    await socket.receive_output(WAIT)
    await socket.send_input({"type": "websocket.receive", "text": '"Hi"'})
    await socket.receive_output(WAIT)
    await socket.send_input({"type": "websocket.disconnect", "code": 1000})
    await socket.wait(WAIT)


def drive(stub: StubProvider) -> dict[str, Any]:
    """Return case → number of requests, case → sections of its rows, and the scanner's report."""
    from django.contrib.auth.models import Group, User
    from django.core.management import call_command

    call_command("migrate", verbosity=0, skip_checks=True)
    user = User.objects.create_superuser("ada")
    Group.objects.create(pk=1, name="first")
    from tests.scanner.truth.consumers import CONSUMERS

    failed = drive_views(user)
    for name in COMMANDS:
        call_command(name)
    for consumer in CONSUMERS:
        asyncio.run(talk(consumer))
    drive_tasks()
    call_command("flush_ai_usage", verbosity=0)

    from usage_tracking.models import AIUsageLog

    sections: dict[str, list[str]] = {}
    for row in AIUsageLog.objects.order_by("created_at"):
        name = row.metadata.get("requested_model") or row.model_name
        sections.setdefault(name, []).append(row.section)
    report = StringIO()
    call_command(
        *("find_uninstrumented", str(SITE), "--no-cache", "--format=json", "--fail-on=never"),
        stdout=report,
    )
    return {
        "report": json.loads(report.getvalue()),
        "requests": Counter(served.requested_model for served in stub.journal),
        "sections": sections,
        "failed": failed,
    }


if __name__ == "__main__":
    with StubProvider() as provider:
        os.environ["STUB"] = provider.host_port
        django.setup()
        json.dump(drive(provider), sys.stdout)
