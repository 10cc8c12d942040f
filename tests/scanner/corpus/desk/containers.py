"""Clients that one function puts into a container and another takes out."""

from contextvars import ContextVar
from collections import OrderedDict, defaultdict
import openai, anthropic, redis, boto3
from openai import OpenAI
from langchain_openai import ChatOpenAI
from flask import g

CLIENTS = OrderedDict()
_pool = set()
_handlers = []
var: ContextVar[OpenAI] = ContextVar("c")
plain = ContextVar("p")


def fill_containers(app):
    CLIENTS["a"] = anthropic.Anthropic()
    _pool.add(ChatOpenAI())
    plain.set(anthropic.Anthropic())
    g.claude = anthropic.Anthropic()


def ask_contained(q, **b):
    CLIENTS["a"].messages.create(**b)  #: site
    next(iter(CLIENTS.values())).messages.create(**b)  #: site
    plain.get().messages.create(**b)  #: site
    g.claude.messages.create(**b)  #: site
    m = _pool.pop()
    m.invoke(q)  #: site
    for each in _pool:
        each.invoke(q)  #: site


class Manager:
    instances = {}

    def __init__(self):
        self.by_name = defaultdict(dict)
        self.pairs = []
        self.queue = []

    def add(self, n):
        self.by_name[n]["client"] = anthropic.Anthropic()
        self.pairs.append((n, anthropic.Anthropic()))
        self.queue.extend([anthropic.Anthropic(), anthropic.Anthropic()])
        Manager.instances[n] = self

    def ask(self, n, **b):
        self.by_name[n]["client"].messages.create(**b)  #: site
        for name, c in self.pairs:
            c.messages.create(**b)  #: site
        self.queue[0].messages.create(**b)  #: site
        Manager.instances[n].queue.pop().messages.create(**b)  #: site


class Holder:
    pass


holder = Holder()


def hold():
    holder.client = anthropic.Anthropic()


def ask_held(**b):
    holder.client.messages.create(**b)  #: site


def ask_merged(**b):
    all_ = {**{"x": anthropic.Anthropic()}, "y": redis.Redis()}
    all_["x"].messages.create(**b)  #: site
    first, *rest = [anthropic.Anthropic(), anthropic.Anthropic()]
    rest[0].messages.create(**b)  #: site
    lst = [anthropic.Anthropic()] * 2
    lst[1].messages.create(**b)  #: site
    d = dict(a=anthropic.Anthropic())
    d |= {"b": anthropic.Anthropic()}
    d["b"].messages.create(**b)  #: site
    d.get("a", None).messages.create(**b)  #: site
    d.copy()["a"].messages.create(**b)  #: site
    sorted(d.items())[0][1].messages.create(**b)  #: site
    return list(map(lambda c: c.messages.create(**b), d.values()))  #: site
