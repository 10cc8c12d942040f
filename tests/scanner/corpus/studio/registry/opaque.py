"""Containers whose calls say nothing about what they are."""

import collections
import contextvars
import itertools
import queue
import threading

import anthropic
import cohere
import redis
import twilio.rest
from langchain_openai import ChatOpenAI
from pydantic_ai import Agent

from django.apps import apps


class Hub:
    def __init__(self):
        self._by_name = {}
        self._sms = {}
        self._line = collections.deque()

    def register(self, name, key):
        self._by_name[name] = anthropic.Anthropic(api_key=key)
        self._sms[name] = twilio.rest.Client(name, key)
        self._line.append(cohere.ClientV2(key))

    def send(self, name, **body):
        return self._by_name[name].messages.create(**body)  #: site anthropic chat

    def send_all(self, **body):
        return [client.messages.create(**body) for client in self._by_name.values()]  #: site anthropic chat

    def sms(self, name, **body):
        return self._sms[name].messages.create(**body)  #: not

    def sms_all(self, **body):
        return [client.messages.create(**body) for client in self._sms.values()]  #: not

    def next(self, **body):
        client = self._line.popleft()
        self._line.append(client)
        return client.chat(**body)  #: site cohere chat


_state = threading.local()
_agent = contextvars.ContextVar("agent")
_bus = contextvars.ContextVar("bus")
_ready = queue.SimpleQueue()
_turns = itertools.cycle([anthropic.Anthropic(api_key="a"), anthropic.Anthropic(api_key="b")])
_texts = itertools.cycle([twilio.rest.Client("a"), twilio.rest.Client("b")])


def prepare():
    _state.agent = Agent("openai:gpt-4o")
    _state.bus = redis.Redis()
    _agent.set(Agent("openai:gpt-4o-mini"))
    _bus.set(twilio.rest.Client())
    _ready.put(ChatOpenAI())


def act(text):
    _state.bus.publish("x", text)  #: not
    return _state.agent.run_sync(text)  #: site agents agent


def act_in_context(text, **body):
    _bus.get().messages.create(**body)  #: not
    return _agent.get().run_sync(text)  #: site agents agent


def take(text):
    return _ready.get().invoke(text)  #: site langchain chat


def turn(**body):
    next(_texts).messages.create(**body)  #: not
    return next(_turns).messages.create(**body)  #: site anthropic chat


def make_claude():
    return anthropic.Anthropic()


def make_sms():
    return twilio.rest.Client()


FACTORIES = {}
FACTORIES["claude"] = make_claude
SENDERS = {"sms": make_sms}


def made(**body):
    SENDERS["sms"]().messages.create(**body)  #: not
    return FACTORIES["claude"]().messages.create(**body)  #: site anthropic chat


def from_app(text):
    config = apps.get_app_config("opaque")
    config.bus.invoke(text)  #: not
    return config.brain.invoke(text)  #: site langchain chat
