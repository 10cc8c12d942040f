"""Celery tasks, sent by views and by the beat."""

from __future__ import annotations

from functools import partial

import celery
from celery import Task, chain, group, shared_task
from celery import shared_task as job
from django.db import transaction
from django.http import HttpResponse

from tests.scanner.truth.ai import client
from usage_tracking import ai_section, ai_usage

app = celery.Celery("truth", broker="memory://")
app.conf.update(
    task_ignore_result=True,
    worker_hijack_root_logger=False,
    broker_transport_options={"polling_interval": 0.01},
)
app.conf.beat_schedule = {
    name: {"task": f"tests.scanner.truth.tasks.{name}", "schedule": 3600}
    for name in (
        *("beat_plain", "beat_section", "beat_usage_above", "beat_usage_below", "beat_block"),
        *("beat_by_alias", "beat_by_partial", "beat_by_app", "default_name_is_mapped"),
        *("sent_by_both", "sends_from_task", "sends_from_marked", "beat_class", "beat_retries"),
        *("beat_chained", "beat_of_base", "beat_of_marked_base", "beat_hook", "sends_links"),
    )
} | {
    "explicit": {"task": "truth.mapped.explicit", "schedule": 3600},
    "unmapped": {"task": "truth.unmapped", "schedule": 3600},
}
bound_task = partial(shared_task, bind=True)


@shared_task
def beat_plain():
    client.responses.create(model="beat_plain", input="Hi")


@shared_task
@ai_section("chat")
def beat_section():
    client.responses.create(model="section_on_task", input="Hi")


@ai_usage("chat")
@shared_task
def beat_usage_above():
    """The worker runs the task, not its wrapper."""
    client.responses.create(model="usage_above_task", input="Hi")


@shared_task
@ai_usage("chat")
def beat_usage_below():
    client.responses.create(model="usage_below_task", input="Hi")


@shared_task
def beat_block():
    with ai_usage("chat"):
        client.responses.create(model="block_in_task", input="Hi")


@job
def beat_by_alias():
    client.responses.create(model="task_by_alias", input="Hi")


@bound_task
def beat_by_partial(self):
    client.responses.create(model="task_by_partial", input="Hi")


@app.task(name="tests.scanner.truth.tasks.beat_by_app")
def beat_by_app():
    client.responses.create(model="task_by_app", input="Hi")


@shared_task
def default_name_is_mapped():
    client.responses.create(model="task_default_name_mapped", input="Hi")


@shared_task(name="truth.mapped.explicit")
def explicit_name_is_mapped():
    client.responses.create(model="task_explicit_name_mapped", input="Hi")


@shared_task(name="truth.unmapped")
def mapped_in_vain():
    client.responses.create(model="task_name_unmapped", input="Hi")


class Nightly(Task):
    name = "tests.scanner.truth.tasks.beat_class"

    def run(self):
        client.responses.create(model="task_class", input="Hi")


@shared_task(bind=True, max_retries=1, default_retry_delay=0)
@ai_usage("chat")
def beat_retries(self):
    client.responses.create(model="task_retries", input="Hi")
    if not self.request.retries:
        raise self.retry()


@shared_task
def sent_in_block():
    client.responses.create(model="task_sent_in_block", input="Hi")


@shared_task
def applied_in_block(text):
    client.responses.create(model="task_applied_in_block", input=text)


@shared_task
def sent_by_both():
    client.responses.create(model="task_sent_by_both", input="Hi")


@shared_task
def sent_by_marked_view():
    client.responses.create(model="task_sent_by_marked_view", input="Hi")


@shared_task
def sent_by_view():
    client.responses.create(model="task_sent_by_view", input="Hi")


@shared_task
def in_chain(text=""):
    client.responses.create(model="task_in_chain", input="Hi")


@shared_task
def in_group():
    client.responses.create(model="task_in_group", input="Hi")


@shared_task
def sent_by_task():
    client.responses.create(model="task_sent_by_plain_task", input="Hi")


@shared_task
def sends_from_task():
    sent_by_task.delay()


@shared_task
def sent_by_marked_task():
    client.responses.create(model="task_sent_by_task_with_block", input="Hi")


@shared_task
@ai_usage("chat")
def sends_from_marked():
    sent_by_marked_task.apply_async()


@shared_task
def called_directly():
    client.responses.create(model="task_called_directly", input="Hi")


@shared_task
def signature_sent_later():
    client.responses.create(model="task_signature_sent_later", input="Hi")


@shared_task
def sent_by_name():
    client.responses.create(model="task_sent_by_name", input="Hi")


def send_in_block(request):
    with ai_usage("chat"):
        sent_in_block.delay()
        applied_in_block.apply_async(args=["Hi"], countdown=0)
        chain(in_chain.s(), in_chain.s()).delay()
        group(in_group.s(), in_group.s())()
        sent_by_both.delay()
        called_directly()
        signature = signature_sent_later.si()
        app.send_task("tests.scanner.truth.tasks.sent_by_name")
    signature.delay()
    return HttpResponse()


@ai_section("chat")
def send_by_marked_view(request):
    sent_by_marked_view.delay()
    return HttpResponse()


def send_by_view(request):
    sent_by_view.delay()
    return HttpResponse()


def _of_tasks():
    client.responses.create(model="helper_of_tasks", input="Hi")


@shared_task
@ai_usage("chat")
def beat_chained():
    _of_tasks()


class TrackedTask(Task):
    def __call__(self, *args, **kwargs):
        with ai_usage("chat"):
            return super().__call__(*args, **kwargs)


class MarkedTask(Task):
    ai_section = "chat"


class HookedTask(Task):
    def on_success(self, retval, task_id, args, kwargs):
        client.responses.create(model="task_on_success", input="Hi")


@shared_task(base=TrackedTask)
def beat_of_base():
    client.responses.create(model="task_of_base_with_block", input="Hi")


@shared_task(base=MarkedTask)
def beat_of_marked_base():
    client.responses.create(model="task_of_marked_base", input="Hi")


@shared_task(base=HookedTask)
@ai_usage("chat")
def beat_hook():
    client.responses.create(model="task_with_hook", input="Hi")


@shared_task
def added_in_block():
    client.responses.create(model="periodic_task_added_in_block", input="Hi")


with ai_usage("chat"):
    app.add_periodic_task(3600, added_in_block.s(), name="added")


@shared_task
def linked(result=None):
    client.responses.create(model="task_linked_in_block", input="Hi")


@shared_task
def sent_with_link():
    client.responses.create(model="task_sent_with_link", input="Hi")


@shared_task
def sends_links():
    with ai_usage("chat"):
        sent_with_link.apply_async(link=linked.s())


@shared_task
def eager():
    client.responses.create(model="task_applied_eagerly", input="Hi")


@shared_task
def eager_outside():
    client.responses.create(model="task_applied_eagerly_outside", input="Hi")


def apply_eagerly(request):
    with ai_usage("chat"):
        eager.apply()
    eager_outside.apply()
    return HttpResponse()


@shared_task
def sent_on_commit():
    client.responses.create(model="task_sent_on_commit_in_block", input="Hi")


@shared_task
def delayed_on_commit():
    client.responses.create(model="task_sent_on_commit_after_block", input="Hi")


def send_on_commit(request):
    with ai_usage("chat"), transaction.atomic():
        transaction.on_commit(sent_on_commit.delay)
    with transaction.atomic(), ai_usage("chat"):
        transaction.on_commit(delayed_on_commit.delay)
    return HttpResponse()


app.register_task(Nightly())
