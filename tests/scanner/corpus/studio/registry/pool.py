"""One client per tenant, opened when first needed."""

import contextvars
import threading
import weakref
from collections import defaultdict, deque
from dataclasses import dataclass, field
from functools import lru_cache, singledispatchmethod
from typing import NamedTuple

import anthropic
import redis
from elasticsearch import Elasticsearch
from langchain_core.language_models import BaseChatModel
from langchain_openai import ChatOpenAI
from mistralai import Mistral
from openai import AsyncOpenAI, OpenAI


class ClientPool:
    def __init__(self):
        self._clients = {}
        self._caches = {}
        self._ring = deque()
        self._lock = threading.Lock()

    def register(self, name, key):
        with self._lock:
            self._clients[name] = OpenAI(api_key=key)
            self._caches[name] = redis.Redis(db=len(self._caches))
            self._ring.append(self._clients[name])

    def broadcast(self, text):
        return [c.responses.create(model="gpt-4o", input=text) for c in self._clients.values()]  #: site openai chat

    def ask(self, name, messages):
        client = self._clients.get(name)
        if client is None:
            raise KeyError(name)
        return client.beta.chat.completions.parse(model="gpt-4o", messages=messages)  #: site openai chat

    def rotate(self, text):
        self._ring.rotate(1)  #: not
        return self._ring[0].moderations.create(input=text)  #: site openai moderation

    def flush(self):
        for c in self._caches.values():
            c.flushdb()  #: not


class LazyPool:
    _by_region: dict = {}

    @classmethod
    def _open(cls, region):
        return anthropic.AnthropicBedrock(aws_region=region)

    def complete(self, region, messages):
        client = self._by_region.setdefault(region, self._open(region))
        return client.messages.create(model="c", max_tokens=5, messages=messages)  #: site anthropic chat

    def complete_in_all(self, messages):
        for region, client in self._by_region.items():
            yield region, client.messages.create(model="c", max_tokens=5, messages=messages)  #: site anthropic chat


class Tier(NamedTuple):
    name: str
    client: Mistral
    limit: int = 100


class Store(NamedTuple):
    name: str
    client: Elasticsearch


TIERS = [Tier("free", Mistral(api_key="a")), Tier("pro", Mistral(api_key="b"), 1000)]
STORES = [Store("main", Elasticsearch()), Store("old", Elasticsearch("http://old"))]


def by_tier(name, messages):
    for tier in TIERS:
        if tier.name == name:
            return tier.client.chat.complete(model="mistral-small", messages=messages)  #: site mistral chat


def by_store(text):
    return [store.client.search(index="notes", q=text) for store in STORES]  #: not


def cheapest(messages):
    _, client, _ = min(TIERS, key=lambda tier: tier.limit)
    return client.chat.complete(model="mistral-tiny", messages=messages)  #: site mistral chat


@dataclass
class Panel:
    models: list[BaseChatModel] = field(default_factory=list)
    raw: "list[OpenAI]" = field(default_factory=list)
    seen: list = field(default_factory=list)

    def add(self, name):
        self.models.append(ChatOpenAI(model=name))  #: not
        self.raw.append(OpenAI())

    def vote(self, question):
        self.seen.append(question)
        answers = [model.invoke(question) for model in self.models]  #: site langchain chat
        return answers, self.raw[-1].responses.create(model="o3", input=question)  #: site openai chat


panel = Panel()
panel.add("gpt-4o")


def jury(question):
    first, *others = panel.models
    return first.invoke(question), [other.stream(question) for other in others]  #: site langchain chat


clients = {}
clients.update({"small": AsyncOpenAI(), "large": AsyncOpenAI(timeout=300)})
queues = {}
queues.update({"small": redis.Redis(), "large": redis.Redis(db=1)})


async def sized(size, messages):
    queues[size].publish("asked", size)  #: not
    return await clients[size].chat.completions.create(model="m", messages=messages)  #: site openai chat


KEYS = {"a": "k1", "b": "k2"}
by_key = {name: anthropic.Anthropic(api_key=key) for name, key in KEYS.items()}


def spread(messages):
    for name in KEYS:
        yield by_key[name].messages.create(model="c", max_tokens=5, messages=messages)  #: site anthropic chat


current = contextvars.ContextVar("current_llm")
current_user = contextvars.ContextVar("current_user", default=None)


def enter(model="gpt-4o"):
    current.set(ChatOpenAI(model=model))


def continue_with(text):
    current_user.get()  #: not
    return current.get().invoke(text)  #: site langchain chat


_weak = weakref.WeakValueDictionary()


def weak_client(name):
    client = _weak.get(name)
    if client is None:
        client = _weak[name] = OpenAI()
    return client


def speak(name, text):
    return weak_client(name).audio.speech.create(model="tts-1", voice="nova", input=text)  #: site openai speech


_memo = defaultdict(list)


def remember(name):
    _memo["clients"].append(anthropic.Anthropic())
    _memo["names"].append(name)


def recall(messages):
    _memo["names"].count("x")  #: not
    return _memo["clients"][0].messages.create(model="c", max_tokens=5, messages=messages)  #: site anthropic chat


@lru_cache(maxsize=None)
def _both():
    return {"sync": OpenAI(), "async": AsyncOpenAI()}


def transcribe(file):
    return _both()["sync"].audio.transcriptions.create(model="whisper-1", file=file)  #: site openai transcription


class Reader:
    def __init__(self):
        self.parts = (OpenAI(), redis.Redis())

    @singledispatchmethod
    def read(self, value):
        raise TypeError(value)

    @read.register
    def _(self, value: str):
        client, cache = self.parts
        cache.get(value)  #: not
        return client.responses.create(model="gpt-4o", input=value)  #: site openai chat

    @read.register
    def _(self, value: list):
        return [self.read(part) for part in value]  #: not
