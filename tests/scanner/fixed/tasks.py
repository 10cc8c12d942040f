"""Tasks of Celery and Django, sent without a request."""

from __future__ import annotations

from functools import partial
from typing import Any

import celery
import django
from celery import Task, shared_task

from tests.scanner.fixed.ai import client
from usage_tracking import ai_usage

django_task: Any
if django.VERSION >= (6, 0):
    from django.tasks import task as django_task
else:
    from django_tasks import task as django_task

app = celery.Celery("fixed", broker="memory://")
app.conf.update(
    task_ignore_result=True,
    worker_hijack_root_logger=False,
    broker_transport_options={"polling_interval": 0.01},
)
bound_task = partial(shared_task, bind=True)


@shared_task
def plain():
    # fix: put the statement at line +3 into `with ai_usage(section="…"):`,
    #   or add the task's name to AI_USAGE_SECTION_MAP
    with ai_usage(section="chat"):  # fixed
        client.responses.create(model="shared_task", input="Hi")


@shared_task
def mapped():
    # The name is in the settings.
    # fix: put the statement at line +2 into `with ai_usage(section="…"):`,
    #   or add the task's name to AI_USAGE_SECTION_MAP
    client.responses.create(model="mapped_task", input="Hi")


@app.task
def of_app():
    # fix: put the statement at line +3 into `with ai_usage(section="…"):`,
    #   or add the task's name to AI_USAGE_SECTION_MAP
    with ai_usage(section="chat"):  # fixed
        client.responses.create(model="task_of_app", input="Hi")


@bound_task
def by_partial(self):
    # fix: put the statement at line +3 into `with ai_usage(section="…"):`,
    #   or add the task's name to AI_USAGE_SECTION_MAP
    with ai_usage(section="chat"):  # fixed
        client.responses.create(model="task_by_partial", input="Hi")


class Nightly(Task):
    name = "fixed.nightly"

    def run(self):
        # fix: put the statement at line +3 into `with ai_usage(section="…"):`,
        #   or add the task's name to AI_USAGE_SECTION_MAP
        with ai_usage(section="chat"):  # fixed
            self.write("Hi")

    def write(self, text):
        client.responses.create(model="class_task", input=text)


app.register_task(Nightly())


@django_task
def of_django():
    # fix: put the statement at line +3 into `with ai_usage(section="…"):`,
    #   or add the task's name to AI_USAGE_SECTION_MAP
    with ai_usage(section="chat"):  # fixed
        client.responses.create(model="django_task", input="Hi")
