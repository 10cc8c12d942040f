"""Backends register themselves; views pick one by name."""

from abc import ABC, abstractmethod
from functools import singledispatch

import cohere
import groq
import requests
from openai import OpenAI

BACKENDS = {}
HANDLERS = {}
EXPORTERS = {}


def register(name):
    def wrap(target):
        BACKENDS[name] = target
        return target

    return wrap


def handles(kind):
    def wrap(fn):
        HANDLERS.setdefault(kind, []).append(fn)
        return fn

    return wrap


class Backend(ABC):
    @abstractmethod
    def complete(self, text): ...

    def complete_all(self, texts):
        return [self.complete(text) for text in texts]  #: not


@register("groq")
class GroqBackend(Backend):
    def __init__(self):
        self._sdk = groq.Groq()

    def complete(self, text):
        return self._sdk.chat.completions.create(model="llama3", messages=[{"role": "user", "content": text}])  #: site groq chat


@register("cohere")
class CohereBackend(Backend):
    sdk_class = cohere.ClientV2

    def complete(self, text):
        return self.sdk_class().chat(model="command-r", messages=[{"role": "user", "content": text}])  #: site cohere chat


@register("echo")
class EchoBackend(Backend):
    def complete(self, text):
        return text


def complete_with(name, text):
    return BACKENDS[name]().complete(text)  #: not


@handles("title")
def title(client: OpenAI, text):
    return client.responses.create(model="gpt-4o-mini", input=f"Title: {text}")  #: site openai chat


@handles("title")
def shout(client, text):
    return text.upper()


def handle(kind, text):
    client = OpenAI()
    return [fn(client, text) for fn in HANDLERS[kind]]  #: not


def make_openai():
    return OpenAI()


def make_groq():
    return groq.Groq()


PROVIDERS = {}
PROVIDERS["openai"] = make_openai
PROVIDERS["groq"] = make_groq
SESSIONS = {"default": requests.Session}


def by_name(name, messages):
    client = PROVIDERS[name]()
    return client.chat.completions.create(model="m", messages=messages)  #: site


def fetch(name, url):
    return SESSIONS[name]().get(url)  #: not


SDKS = {"cohere": (cohere.Client, "command-r"), "groq": (groq.Groq, "llama3")}


def rank(query, documents):
    factory, model = SDKS["cohere"]
    return factory().rerank(query=query, documents=documents, model=model)  #: site cohere rerank


class CsvExporter:
    def complete(self, rows):
        return rows

    def generate(self, rows):
        return ",".join(rows)


EXPORTERS["csv"] = CsvExporter


def export(kind, rows):
    exporter = EXPORTERS[kind]()
    exporter.complete(rows)  #: not
    return exporter.generate(rows)  #: not


@singledispatch
def describe(item):
    return str(item)


@describe.register
def _(item: dict):
    return OpenAI().responses.create(model="m", input=str(item))  #: site openai chat


def describe_all(items):
    return [describe(item) for item in items]  #: not
