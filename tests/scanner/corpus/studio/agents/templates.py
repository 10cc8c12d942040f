"""Our own decorators, named as those of the libraries."""

import functools

from asgiref.sync import async_to_sync
from magentic import prompt as ask_model, prompt_chain

from studio.agents import prompted
from studio.agents.prompted import greet, haiku as short_poem, stars


def prompt(template):
    def wrap(fn):
        @functools.wraps(fn)
        def inner(**values):
            return template.format(**values)  #: not

        return inner

    return wrap


def simple(model):
    return lambda fn: fn


def call(provider, model):
    return lambda fn: fn


@prompt("Dear {name}")
def letter(name): ...


@simple(model="gpt-4o")
def labelled(text):
    return text


@call(provider="openai", model="gpt-4o")
def named(text):
    return text


class Poet:
    @ask_model("A limerick about {topic}")
    def limerick(self, topic: str) -> str: ...

    @prompt_chain("What is {topic}?", functions=[letter])
    def explain(self, topic: str) -> str: ...

    @prompt("Title: {topic}")
    def title(self, topic): ...

    def both(self, topic):
        self.title(topic=topic)  #: not
        return self.limerick(topic), self.explain(topic)  #: site agents chat


def view(request):
    letter(name="x")  #: not
    labelled("x")  #: not
    named("x")  #: not
    Poet().title(topic="x")  #: not
    greet("x")  #: site agents chat
    prompted.terse("x")  #: site agents chat
    prompted.template("x")  #: not
    Poet().limerick("x")  #: site agents chat
    short_poem(topic="x")  #: site agents chat
    return async_to_sync(stars)("x")  #: site agents chat
