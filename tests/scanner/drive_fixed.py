"""Run every entry point of a copy of the site `fixed`, and print what was recorded, as JSON."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections import Counter
from io import StringIO
from pathlib import Path
from typing import Any

import django

from project.stub import StubProvider
from tests import scanner
from tests.scanner.truth.tests.drive import WAIT, get_all, talk

TOOLS = ("greet", "returned", "ranked", "submitted", "inner")
#: Views that answer only a POST.
POSTS = ("OfOwnBase/", "NoteView/")
#: Further queries that the driver sends, to views with more than one path.
QUERIES = {"plain/": ("notes",), "unknown_callers/": [f"tool={name}" for name in TOOLS]}


def drive_views(user: Any) -> list[str]:
    """Request every route; return the paths that fail."""
    from django.test import Client

    from tests.scanner.fixed.urls import urlpatterns

    client = Client(raise_request_exception=False)
    client.force_login(user)
    failed = get_all(urlpatterns, client, user, QUERIES, POSTS)
    for path in POSTS:
        client.post(f"/{path}", {"text": "Hi"})
    client.post("/admin/auth/group/", {"_selected_action": ["1"], "action": "summarise"})
    return failed


def drive_tasks() -> None:
    """Send the tasks without a request, and let a worker run them."""
    import threading

    from celery.contrib.testing.worker import start_worker

    from tests.scanner.fixed import tasks

    tasks.of_django.enqueue()
    finished = threading.Event()
    tasks.app.task(name="fixed.finish")(finished.set)
    for task in (tasks.plain, tasks.mapped, tasks.of_app, tasks.by_partial):
        task.delay()
    tasks.app.send_task("fixed.nightly")
    with start_worker(tasks.app, pool="solo", perform_ping_check=False, loglevel="CRITICAL"):
        tasks.app.send_task("fixed.finish")
        assert finished.wait(WAIT)


def drive(stub: StubProvider, site: Path) -> dict[str, Any]:
    """Return case → number of requests, case → sections of its rows, and the scanner's reports."""
    from django.contrib.auth.models import Group, User
    from django.core.management import call_command

    from tests.scanner.fixed.consumers import AsyncChat, Chat

    call_command("migrate", verbosity=0, skip_checks=True)
    user = User.objects.create_superuser("ada")
    Group.objects.create(pk=1, name="first")
    failed = drive_views(user)
    call_command("fixed_notes")
    for consumer in (Chat, AsyncChat):
        asyncio.run(talk(consumer))
    drive_tasks()
    call_command("flush_ai_usage", verbosity=0)

    from usage_tracking.models import AIUsageLog

    sections: dict[str, list[str]] = {}
    for row in AIUsageLog.objects.order_by("created_at"):
        name = row.metadata.get("requested_model") or row.model_name
        sections.setdefault(name, []).append(row.section)
    reports = {}
    for name, options in (("json", ["--format=json"]), ("text", []), ("diff", ["--diff"])):
        out, notes = StringIO(), StringIO()
        command = ["find_uninstrumented", str(site), "--no-cache", "--fail-on=never", *options]
        call_command(*command, stdout=out, stderr=notes)
        reports[name] = out.getvalue()
        reports[f"{name} notes"] = notes.getvalue()
    return {
        "reports": reports,
        "requests": Counter(served.requested_model for served in stub.journal),
        "sections": sections,
        "failed": failed,
    }


if __name__ == "__main__":
    copy = Path(sys.argv[1])
    scanner.__path__.insert(0, str(copy.parent))
    with StubProvider() as provider:
        os.environ["STUB"] = provider.host_port
        os.environ["ADDRESS"] = f"http://{provider.host_port}/openai/v1/chat/completions"
        django.setup()
        json.dump(drive(provider, copy), sys.stdout)
