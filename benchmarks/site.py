"""Set up a benchmark's site: a temporary directory, and the stub in a separate process."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import django

from tests.support.environment import DIRECTORY_VARIABLE

if TYPE_CHECKING:
    from django.contrib.auth.models import User


@contextmanager
def site(settings: str = "benchmarks.settings") -> Iterator[None]:
    """Set up Django, with an outbox in a temporary directory."""
    with tempfile.TemporaryDirectory() as directory:
        os.environ |= {
            "SITE_DIRECTORY": directory,
            DIRECTORY_VARIABLE: directory,
            "DJANGO_SETTINGS_MODULE": settings,
        }
        django.setup()
        yield


@contextmanager
def web_site() -> Iterator[User]:
    """Set up a site with visitors and an emptied database, and yield the visitor alice."""
    with stub(), site("benchmarks.web_settings"):
        from django.contrib.auth.models import User
        from django.core.management import call_command
        from django.db import connections

        from usage_tracking.delivery import delivery

        call_command("migrate", verbosity=0)
        call_command("flush", verbosity=0, interactive=False)
        yield User.objects.create(username="alice")
        delivery.stop()
        connections.close_all()


def empty_tables() -> None:
    """Delete all rows and daily rows."""
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM ai_usage_tracking")
        cursor.execute("DELETE FROM ai_usage_log")


@contextmanager
def statements() -> Iterator[list[tuple[str, Any]]]:
    """Collect the statements of this thread's connection, with their parameters."""
    from django.db import connection

    noted: list[tuple[str, Any]] = []

    def note(execute: Any, sql: str, parameters: Any, *rest: Any) -> Any:
        noted.append((sql, parameters))
        return execute(sql, parameters, *rest)

    with connection.execute_wrapper(note):
        yield noted


@contextmanager
def stub() -> Iterator[str]:
    """Run the stub in a separate process, so that its CPU is not measured. Yields host:port."""
    command = [sys.executable, "-m", "project.stub", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            if process.stdout is None:
                raise RuntimeError("the stub has no output")
            host_port = process.stdout.readline().rpartition("http://")[2].split()[0].strip("/.,")
            os.environ["STUB"] = host_port
            yield host_port
        finally:
            process.terminate()
