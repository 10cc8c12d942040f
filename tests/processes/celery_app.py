"""A Celery app whose broker is a directory, so that real workers need no service."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any
from uuid import uuid4

import celery
import httpx
from kombu.transport import TRANSPORT_ALIASES, filesystem
from kombu.utils.json import dumps

from tests.support.environment import DIRECTORY_VARIABLE


class _Channel(filesystem.Channel):
    def _put(self, queue: Any, payload: Any, **_: Any) -> None:  # type: ignore[override]
        """Write atomically. With kombu's version, a worker can read a partially written file."""
        name = f"{time.monotonic_ns():020}_{uuid4()}.{queue}.msg"
        hidden = Path(self.data_folder_out, f".{name}")
        hidden.write_text(dumps(payload))
        hidden.rename(hidden.with_name(name))


class Transport(filesystem.Transport):
    Channel = _Channel


TRANSPORT_ALIASES["directory"] = f"{__name__}:Transport"

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.processes.settings")

app = celery.Celery("site", set_as_current=False, fixups=["celery.fixups.django:fixup"])


def use_directory(directory: Path) -> None:
    """Use a directory as the broker."""
    folders = {name: directory / "broker" / name for name in ("queue", "control", "done")}
    for folder in folders.values():
        folder.mkdir(parents=True, exist_ok=True)
    app.conf.update(
        broker_url="directory://",
        broker_transport_options={
            "data_folder_in": str(folders["queue"]),
            "data_folder_out": str(folders["queue"]),
            "control_folder": str(folders["control"]),
            "polling_interval": 0.02,
        },
        task_ignore_result=True,
        worker_hijack_root_logger=False,
        beat_schedule={"nightly": {"task": "site.tasks.ask", "schedule": 0.2, "args": ["beat"]}},
        beat_schedule_filename=str(directory / "schedule"),
    )


if directory := os.environ.get(DIRECTORY_VARIABLE):
    use_directory(Path(directory))


def call(text: str) -> None:
    """Call the stub. `text` identifies the call in its journal."""
    url = f"http://{os.environ['STUB']}/openai/v1/chat/completions"
    messages = [{"role": "user", "content": text}]
    httpx.post(url, json={"model": "gpt-4o-mini", "messages": messages}).raise_for_status()


@app.task(name="site.tasks.ask")
def ask(text: str) -> None:
    call(text)


@app.task(name="site.tasks.tell_rows")
def tell_rows() -> None:
    from usage_tracking.models import AIUsageLog

    call(f"rows: {AIUsageLog.objects.count()}")


@app.task(name="site.reports.ask")
def report(text: str) -> None:
    call(text)


@app.task(name="site.tasks.ask_again", bind=True, max_retries=2, default_retry_delay=0)
def ask_again(self: Any, text: str) -> None:
    call(f"{text} {self.request.retries}")
    if self.request.retries < 2:
        raise self.retry()


@app.task(name="site.tasks.pass_on")
def pass_on(text: str) -> None:
    call(text)
    ask.delay(f"{text} passed on")


@app.task(name="site.tasks.ask_on")
def ask_on(number: int, step: int) -> None:
    """Call the stub endlessly."""
    call(f"{number}")
    ask_on.delay(number + step, step)


@app.task(name="site.tasks.fail")
def fail(text: str) -> None:
    call(text)
    raise ValueError(text)
