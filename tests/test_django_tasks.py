"""Tasks of `django.tasks`, or of the `django_tasks` package if Django has none."""

from __future__ import annotations

from pathlib import Path

import django
import pytest

from project.stub import StubProvider
from tests.support.children import run_python
from tests.support.sites import manage

MODULE = "django.tasks" if django.VERSION >= (6, 0) else "django_tasks"
#: The package is an app. Django's tasks are not.
APPS = ["django_tasks_db"] if django.VERSION >= (6, 0) else ["django_tasks", "django_tasks_db"]

TASKS = f"""
import os, sys
import httpx
from {MODULE} import task
from usage_tracking import ai_usage

def call(text):
    url = f"http://{{os.environ['STUB']}}/openai/v1/chat/completions"
    body = {{"model": "gpt-4o-mini", "messages": [{{"role": "user", "content": text}}]}}
    httpx.post(url, json=body).raise_for_status()

@task
def ask(text):
    call(text)

@task
def fail(text):
    call(text)
    raise ValueError(text)

@task
@ai_usage(section="rag_pipeline", metadata={{"batch": 3}})
def ask_for_rag(text):
    call(text)
"""

ROWS = """
from usage_tracking.delivery import delivery
from usage_tracking.models import AIUsageLog
delivery.deliver()
names = ("user__username", "section", "metadata__django_task")
for row in AIUsageLog.objects.order_by("created_at").values_list(*names):
    print(*row)
"""


@pytest.fixture(scope="module")
def stub():
    with StubProvider() as provider:
        yield provider


@pytest.fixture
def site(tmp_path: Path, stub: StubProvider, empty_database_url: str):
    """Run code on a site whose tasks use the backend `backend`."""
    (tmp_path / "shop_tasks.py").write_text(TASKS)

    def run(code: str, backend: str, **settings: object) -> str:
        module = f"{MODULE}.backends.immediate.ImmediateBackend"
        chosen = module if backend == "immediate" else "django_tasks_db.DatabaseBackend"
        return run_python(
            tmp_path,
            code,
            settings=f"""
            INSTALLED_APPS = [*INSTALLED_APPS, *{APPS!r}]
            TASKS = {{"default": {{"BACKEND": {chosen!r}}}}}
            AI_USAGE_GATEWAYS = {{"{stub.host_port}/openai": "openai"}}
            """
            + "".join(f"\n            {name} = {value!r}" for name, value in settings.items()),
            DATABASE_URL=empty_database_url,
            STUB=stub.host_port,
        )

    return run


@pytest.mark.costly
@pytest.mark.one_database
def test_worker(site, tmp_path: Path, stub: StubProvider, empty_database_url: str):
    """A worker's calls have the task's section, no user, and are saved when the task ends."""
    site(
        """
        from django.core.management import call_command
        from django.contrib.auth.models import User
        call_command("migrate", verbosity=0)
        import shop_tasks
        from usage_tracking import ai_usage
        with ai_usage(section="chat", user=User.objects.create(username="ada")):
            shop_tasks.ask.enqueue("one")
            shop_tasks.fail.enqueue("two")
            shop_tasks.ask_for_rag.enqueue("three")
        """,
        "database",
        AI_USAGE_SECTION_MAP={"shop_tasks.fail": "knowledge_qa"},
    )
    env = {
        "DJANGO_SETTINGS_MODULE": "site_settings",
        "PYTHONPATH": f"{tmp_path}:{Path(__file__).parent.parent}",
        "DATABASE_URL": empty_database_url,
        "STUB": stub.host_port,
    }
    worked = manage("db_worker", "--batch", "--no-startup-delay", env=env, directory=tmp_path)
    assert worked.code == 0, worked.err

    assert site(ROWS, "database") == (
        "None other shop_tasks.ask\n"
        "None knowledge_qa shop_tasks.fail\n"
        "None rag_pipeline shop_tasks.ask_for_rag\n"
    )


def test_immediate_task_belongs_to_the_code_that_enqueued_it(site):
    printed = site(
        """
        import asyncio
        from django.core.management import call_command
        from django.contrib.auth.models import User
        call_command("migrate", verbosity=0)
        import shop_tasks
        from usage_tracking import ai_usage
        from usage_tracking.attribution import scope
        shop_tasks.ask.enqueue("nobody's")
        user = User.objects.create(username="ada")
        with ai_usage(section="chat", user=user) as usage:
            shop_tasks.ask.enqueue("hers")
            shop_tasks.fail.enqueue("hers")
            asyncio.run(shop_tasks.ask.aenqueue("hers"))
            shop_tasks.ask_for_rag.enqueue("hers")
            shop_tasks.call("hers, and no task's")
        print(usage.calls, scope.current())
        """
        + ROWS.replace("\n", "\n        "),
        "immediate",
    )

    assert printed == (
        "5 None\n"
        "None other shop_tasks.ask\n"
        "ada chat shop_tasks.ask\n"
        "ada chat shop_tasks.fail\n"
        "ada chat shop_tasks.ask\n"
        "ada rag_pipeline shop_tasks.ask_for_rag\n"
        "ada chat None\n"
    )
