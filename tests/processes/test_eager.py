"""Celery in one process: the sender in a message, and eager tasks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import celery
import pytest
from django.contrib.auth.models import User

from project.stub import StubProvider
from tests.processes.celery_app import ask
from tests.processes.test_celery import _broker, recorded_calls
from usage_tracking import ai_usage

__all__ = ["_broker"]  # a fixture
pytestmark = [pytest.mark.one_driver, pytest.mark.server]


@pytest.fixture(autouse=True)
def _site(stub: StubProvider, settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.AI_USAGE_GATEWAYS = {f"{stub.host_port}/openai": "openai"}
    monkeypatch.setenv("STUB", stub.host_port)


def test_eager_task_is_part_of_the_block_that_calls_it(stub: StubProvider, user: User) -> None:
    with ai_usage(section="chat", user=user) as usage:
        ask.apply(["eager"])
        assert usage.calls == 1

    assert recorded_calls(stub) == {"eager": ("worker", "chat", None)}


def test_message_names_its_sender(user: User, tmp_path: Path) -> None:
    with ai_usage(section="chat", user=user, metadata={"order": 7}):
        ask.delay("later")

    (message,) = (tmp_path / "broker" / "queue").iterdir()
    sent = json.loads(json.loads(message.read_text())["headers"]["ai_usage"])
    assert sent == {
        "section": "chat",
        "metadata": {"order": 7},
        "user": [str(user.pk), "worker"],
    }


def test_decorated_task_checks_the_arguments_that_it_is_sent_with() -> None:
    app = celery.Celery("own", set_as_current=False)

    @ai_usage(section="chat")
    def answer(question: str, order: int) -> None: ...

    @ai_usage(section="chat")
    def bound(self: Any, question: str, order: int) -> None: ...

    for task in (app.task(answer), app.task(bound, bind=True)):
        with pytest.raises(TypeError, match="missing 1 required positional argument: 'order'"):
            task.delay("why")
