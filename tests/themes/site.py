"""Serve the site: `python -m tests.themes.site [--theme NAME] [--calls N] [--source DIRECTORY]`.

Prints one line of JSON when it listens: its URL, the session key of a superuser, and the paths of
its pages. Each response has the header X-Statements, the number of SQL statements of the request.
Ends when its standard input closes.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import django
from django.http import HttpRequest, HttpResponseBase

THEMES = ("stock", "unfold", "jazzmin", "grappelli")
LOGS = "/admin/usage_tracking/aiusagelog/"
DAILY = "/admin/usage_tracking/aiusagetracking/"


def main() -> None:
    """Fill the database if it is empty, and serve."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--theme", choices=THEMES, default="stock")
    parser.add_argument("--calls", type=int, default=2_000)
    parser.add_argument("--users", type=int, default=300)
    parser.add_argument("--source", help="the checkout of another revision to serve")
    options = parser.parse_args()
    if options.source:
        # Its modules are found through the package, and those of the tests here.
        sys.path.insert(0, options.source)
        importlib.import_module("usage_tracking")
        sys.path.remove(options.source)
    os.environ |= {"THEME": options.theme, "DJANGO_SETTINGS_MODULE": "tests.themes.settings"}
    django.setup()
    session = prepare(options.calls, options.users)
    with serving() as url:
        print(json.dumps({"url": url, "session": session, "pages": pages()}), flush=True)
        sys.stdin.read()


def prepare(calls: int, users: int) -> str:
    """Migrate and fill the database unless that is done, and return the session of a superuser."""
    from django.contrib.auth.models import User
    from django.core.management import call_command
    from django.test import Client

    from tests.themes.calls import fill

    call_command("migrate", verbosity=0)
    root = User.objects.filter(username="root").first() or fill(calls, users)
    client = Client()
    client.force_login(root)
    return client.cookies["sessionid"].value


@contextmanager
def serving() -> Iterator[str]:
    """Serve the site and its static files on a free port, and yield the URL."""
    from django.contrib.staticfiles.handlers import StaticFilesHandler
    from django.core.servers.basehttp import ThreadedWSGIServer, WSGIRequestHandler
    from django.core.wsgi import get_wsgi_application

    class QuietHandler(WSGIRequestHandler):
        def log_message(self, *args: Any) -> None:
            """Log nothing."""

    server = ThreadedWSGIServer(("127.0.0.1", 0), QuietHandler)
    server.set_app(StaticFilesHandler(get_wsgi_application()))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def pages() -> dict[str, str]:
    """Return the paths of the pages by name."""
    import datetime as dt

    from tests.themes.calls import FAILURE, SUCCESS, UNPRICED
    from usage_tracking.models import AIUsageTracking, today

    day = today()
    newest = AIUsageTracking.objects.order_by("-date", "-total_requests")
    row, busiest = newest.values_list("pk", "user")[0]
    yesterday = day - dt.timedelta(days=1)
    week = f"start_date={day - dt.timedelta(days=6)}&end_date={day}"
    return {
        "index": "/admin/",
        "app": "/admin/usage_tracking/",
        "list": LOGS,
        "list-filtered": f"{LOGS}?section=chat&provider=openai&{week}",
        "list-search": f"{LOGS}?q=gpt-4o",
        "list-failures": f"{LOGS}?success__exact=0",
        "list-page-2": f"{LOGS}?p=2",
        "daily": DAILY,
        "daily-filtered": f"{DAILY}?start_date={yesterday}&end_date={yesterday}",
        "call-success": f"{LOGS}{SUCCESS}/change/",
        "call-failure": f"{LOGS}{FAILURE}/change/",
        "call-unpriced": f"{LOGS}{UNPRICED}/change/",
        "daily-row": f"{DAILY}{row}/change/",
        "dashboard": f"{LOGS}dashboard/",
        "dashboard-day": f"{LOGS}dashboard/?start_date={yesterday}&end_date={yesterday}",
        "dashboard-filtered": f"{LOGS}dashboard/?section=chat&{week}",
        "user": f"/admin/auth/user/{busiest}/change/",
        "own": "/usage/",
    }


def count_statements(
    get_response: Callable[[HttpRequest], HttpResponseBase],
) -> Callable[[HttpRequest], HttpResponseBase]:
    """Middleware that adds the header X-Statements."""
    from django.db import connection

    def answer(request: HttpRequest) -> HttpResponseBase:
        number = 0

        def count(execute: Any, *arguments: Any) -> Any:
            nonlocal number
            number += 1
            return execute(*arguments)

        with connection.execute_wrapper(count):
            response = get_response(request)
        response.headers["X-Statements"] = str(number)
        return response

    return answer


if __name__ == "__main__":
    main()
