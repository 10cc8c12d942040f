"""Keys that take turns, and other places that hold a client."""

import itertools
import queue
import random
import threading
from collections import ChainMap
from enum import Enum
from types import SimpleNamespace
from typing import TypedDict

import cohere
import httpx
import redis
from anthropic import Anthropic, AsyncAnthropic
from dependency_injector import containers, providers
from langchain_openai import ChatOpenAI
from openai import OpenAI

from django.conf import settings

KEYS = ["k1", "k2"]


class Rotating:
    def __init__(self, keys):
        self._clients = [Anthropic(api_key=key) for key in keys]
        self._turns = itertools.cycle(self._clients)
        self._proxies = itertools.cycle([httpx.Client(), httpx.Client()])

    def ask(self, messages):
        client = next(self._turns)
        next(self._proxies).get("http://example.org")  #: not
        return client.messages.create(model="c", max_tokens=9, messages=messages)  #: site anthropic chat

    def ask_any(self, messages):
        return random.choice(self._clients).messages.create(model="c", max_tokens=9, messages=messages)  #: site anthropic chat

    def ask_each(self, messages):
        for number, client in enumerate(self._clients):
            yield number, client.messages.create(model="c", max_tokens=9, messages=messages)  #: site anthropic chat

    def ask_named(self, names, messages):
        return {name: client.messages.create(model="c", max_tokens=9, messages=messages) for name, client in zip(names, self._clients)}  #: site anthropic chat


_local = threading.local()


def thread_client():
    if not hasattr(_local, "claude"):
        _local.claude = Anthropic()
        _local.redis = redis.Redis()
    return _local.claude


def ask_in_thread(messages):
    _local.redis.publish("asked", "1")  #: not
    return thread_client().messages.create(model="c", max_tokens=9, messages=messages)  #: site anthropic chat


def ask_local(messages):
    return _local.claude.messages.create(model="c", max_tokens=9, messages=messages)  #: site anthropic chat


idle = queue.Queue()
for key in KEYS:
    idle.put(Anthropic(api_key=key))
jobs = queue.Queue()


def borrow(messages):
    jobs.put(messages)
    jobs.get()  #: not
    client = idle.get(timeout=5)
    try:
        return client.messages.create(model="c", max_tokens=9, messages=messages)  #: site anthropic chat
    finally:
        idle.put(client)


services = SimpleNamespace(llm=ChatOpenAI(model="gpt-4o"), db=redis.Redis())


def answer(text):
    services.db.get(text)  #: not
    return services.llm.invoke(text)  #: site langchain chat


class Services(TypedDict):
    llm: ChatOpenAI
    reranker: cohere.ClientV2
    cache: redis.Redis


def with_services(services: Services, text):
    services["cache"].get(text)  #: not
    services["reranker"].rerank(model="r", query=text, documents=[])  #: site cohere rerank
    return services["llm"].invoke(text)  #: site langchain chat


class Container(containers.DeclarativeContainer):
    config = providers.Configuration()
    claude = providers.Singleton(Anthropic, api_key=config.key)
    chat = providers.Factory(ChatOpenAI, model="gpt-4o")
    cache = providers.Singleton(redis.Redis)


def injected(text):
    container = Container()
    container.cache().get(text)  #: not
    container.chat().invoke(text)  #: site langchain chat
    return container.claude().messages.create(model="c", max_tokens=9, messages=[])  #: site anthropic chat


class Vendor(Enum):
    ANTHROPIC = "anthropic"
    COHERE = "cohere"

    def client(self):
        return {Vendor.ANTHROPIC: Anthropic, Vendor.COHERE: cohere.ClientV2}[self]()


def by_vendor(messages):
    return Vendor.COHERE.client().chat(model="command-r", messages=messages)  #: site cohere chat


defaults = {"claude": Anthropic()}
overrides = {}
chosen = ChainMap(overrides, defaults)


def from_map(messages):
    return chosen["claude"].messages.create(model="c", max_tokens=9, messages=messages)  #: site anthropic chat


class Dispatcher:
    def __init__(self):
        for name, factory in (("claude", Anthropic), ("asynchronous", AsyncAnthropic)):
            setattr(self, name, factory())
        self._senders = {"openai": self._openai, "echo": self._echo}

    def _openai(self, text):
        return OpenAI().responses.create(model="m", input=text)  #: site openai chat

    def _echo(self, text):
        return text

    def send(self, name, text):
        return self._senders[name](text)  #: not

    def direct(self, messages):
        return self.claude.messages.create(model="c", max_tokens=9, messages=messages)  #: site anthropic chat

    def named(self, messages):
        return getattr(self, "claude").messages.create(model="c", max_tokens=9, messages=messages)  #: site anthropic chat


CALLS = {
    "claude": Anthropic().messages.create,  #: not
    "dump": redis.Redis().set,  #: not
}


def call(name, **body):
    return CALLS[name](**body)  #: site anthropic chat


class Registry:
    _items = {}

    @classmethod
    def register(cls, name, item):
        cls._items[name] = item

    @classmethod
    def get(cls, name):
        return cls._items[name]


Registry.register("chat", ChatOpenAI(model="gpt-4o-mini"))


def registered(text):
    return Registry.get("chat").invoke(text)  #: site langchain chat


class ToolRegistry:
    _items = {}

    @classmethod
    def register(cls, name, item):
        cls._items[name] = item

    @classmethod
    def get(cls, name):
        return cls._items[name]


ToolRegistry.register("redis", redis.Redis())


def tooled(text):
    return ToolRegistry.get("redis").invoke(text)  #: not


def client_for(user):
    model = settings.TENANT_MODELS.get(user.plan, "gpt-4o-mini")
    cached = user.__dict__.setdefault("_llms", {})
    if model not in cached:
        cached[model] = ChatOpenAI(model=model)
    return cached[model]


def ask_for(user, text):
    return client_for(user).invoke(text)  #: site langchain chat
