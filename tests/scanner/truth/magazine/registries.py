"""Functions and objects that code finds by a name, a registry or a hook."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from concurrent.futures import ThreadPoolExecutor, as_completed
from enum import Enum
from functools import cached_property, partial, partialmethod, reduce
from operator import methodcaller
from typing import Any, Generic, TypeVar

from django.dispatch import Signal, receiver
from django.http import HttpResponse

from usage_tracking import ai_usage

from ..ai import client

T = TypeVar("T")
HANDLERS: dict[str, Any] = {}
published = Signal()
archived = Signal()


def handler(name):
    def register(function):
        HANDLERS[name] = function
        return function

    return register


@handler("greet")
def registered(text="Hi"):
    client.responses.create(model="registered", input=text)


def call_registered(request):
    with ai_usage("chat"):
        registered()
    HANDLERS["greet"]()
    return HttpResponse()


class Callable_:
    def __call__(self, text):
        return client.responses.create(model="callable_in_block", input=text)


def callable_in_block(request):
    with ai_usage("chat"):
        Callable_()("Hi")
    return HttpResponse()


class Both:
    def __call__(self, text):
        return client.responses.create(model="callable_everywhere", input=text)


both = Both()


def callable_everywhere(request):
    with ai_usage("chat"):
        both("Hi")
    list(map(both, ["Hi"]))
    return HttpResponse()


class Step(ABC, Generic[T]):
    def run(self, text):
        with ai_usage("chat"):
            return self.work(text)

    @abstractmethod
    def work(self, text): ...


class FirstStep(Step[str]):
    def work(self, text):
        return client.responses.create(model="template_method", input=text)


class SecondStep(Step[str]):
    def work(self, text):
        return client.responses.create(model="template_method_direct", input=text)


def template_method(request):
    FirstStep().run("Hi")
    SecondStep().run("Hi")
    SecondStep().work("Hi")
    return HttpResponse()


class Lazy:
    @cached_property
    def summary(self):
        return client.responses.create(model="cached_property_in_block", input="Hi")

    @property
    def title(self):
        return client.responses.create(model="property_by_getattr", input="Hi")

    def answer(self, text, tone):
        return client.responses.create(model="partial_method", input=text)

    short = partialmethod(answer, tone="dry")

    def __str__(self):
        return client.responses.create(model="str_outside", input="Hi").output_text

    def __len__(self):
        return len(client.responses.create(model="len_outside", input="Hi").output_text)

    def __getitem__(self, key):
        if key:
            raise IndexError
        return client.responses.create(model="getitem_outside", input="Hi").output_text


def magic(request):
    lazy = Lazy()
    with ai_usage("chat"):
        text = lazy.summary
        lazy.title  # noqa: B018 -- a property
        lazy.answer("Hi", "dry")
        lazy.__str__()
        lazy.__len__()
        lazy.__getitem__(0)
    getattr(lazy, "title")  # noqa: B009 -- read by its name
    lazy.short("Hi")
    return HttpResponse(f"{lazy}{len(lazy)}{[*lazy]}{text}")


class Kind(Enum):
    SHORT = "short"

    def ask(self):
        return client.responses.create(model="enum_method", input=self.value)


def enum_method(request):
    for kind in Kind:
        with ai_usage("chat"):
            kind.ask()
    return HttpResponse()


def by_methodcaller(request):
    service = Called()
    with ai_usage("chat"):
        service.asked("Hi")
    methodcaller("asked", "Hi")(service)
    return HttpResponse()


class Called:
    def asked(self, text):
        return client.responses.create(model="by_methodcaller", input=text)


@receiver(published)
def on_published(sender, **kwargs):
    client.responses.create(model="receiver_in_block", input="Hi")


@receiver([published, archived])
def on_both(sender, **kwargs):
    client.responses.create(model="receiver_of_two", input="Hi")


def send_signals(request):
    with ai_usage("chat"):
        published.send(sender=None)
    archived.send_robust(sender=None)
    return HttpResponse()


def reduced(request):
    with ai_usage("chat"):
        reduce(fold, ["a", "b"])
    return HttpResponse()


def fold(one, two):
    client.responses.create(model="reduced", input=one)
    return one + two


def futures(request):
    with ai_usage("chat"), ThreadPoolExecutor(2) as pool:
        jobs = {pool.submit(pooled, text): text for text in ("a", "b")}
        for job in as_completed(jobs):
            job.result()
    return HttpResponse()


def pooled(text):
    client.responses.create(model="futures", input=text)


class Worker(threading.Thread):
    def run(self):
        client.responses.create(model="worker_started_outside", input="Hi")


def worker(request):
    with ai_usage("chat"):
        thread = Worker()
    thread.start()
    thread.join()
    return HttpResponse()


def thread_of_partial(request):
    with ai_usage("chat"):
        thread = threading.Thread(target=partial(threaded, "Hi"), daemon=True)
        thread.start()
        thread.join()
    return HttpResponse()


def threaded(text):
    client.responses.create(model="thread_of_partial", input=text)


def thread_list(request):
    threads = []
    with ai_usage("chat"):
        for _ in range(2):
            threads.append(threading.Thread(target=listed_thread))
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    return HttpResponse()


def listed_thread():
    client.responses.create(model="thread_list", input="Hi")


def done_callback(request):
    with ThreadPoolExecutor(1) as pool:
        with ai_usage("chat"):
            job = pool.submit(len, "Hi")
        job.add_done_callback(when_done)
    return HttpResponse()


def when_done(job):
    client.responses.create(model="done_callback", input="Hi")
