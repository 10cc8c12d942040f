"""Functions whose decorator sends their text to a model."""

from enum import Enum

import click
import ell
import instructor
import marvin
import outlines
from celery import shared_task
from jinja2 import Template
from langchain_core.tools import tool
from magentic import chatprompt, prompt, SystemMessage
from marvin import ai_fn
from mirascope import llm, prompt_template
from mirascope.core import openai as mira_openai
from openai import OpenAI
from pydantic import BaseModel


class Review(BaseModel):
    stars: int


class Mood(Enum):
    GOOD = "good"
    BAD = "bad"


@ell.simple(model="gpt-4o-mini")
def greet(name: str):
    """You are a friendly host."""
    return f"Greet {name}"


@ell.complex(model="gpt-4o", tools=[])
def plan(history):
    return history


@prompt("Write a haiku about {topic}")
def haiku(topic: str) -> str: ...


@chatprompt(SystemMessage("You are terse"))
def terse(text: str) -> str: ...


@prompt("Stars of {text}")
async def stars(text: str) -> Review: ...


@llm.call(provider="openai", model="gpt-4o-mini", response_model=Review)
@prompt_template("Rate: {text}")
def rate(text: str): ...


@mira_openai.call("gpt-4o-mini", stream=True)
def recommend(genre: str) -> str:
    return f"Recommend a {genre} book"


@ai_fn
def sentiment(text: str) -> float:
    """Return the sentiment between -1 and 1."""


@marvin.fn
def colours(n: int, mood: str) -> list[str]:
    """Return n colours that fit the mood."""


@outlines.prompt
def template(name):
    """Hello {{ name }}"""


@prompt_template("Only a text: {text}")
def only_text(text): ...


@tool
def distance(a: str, b: str) -> int:
    """How far a is from b."""
    return abs(len(a) - len(b))


@shared_task
def send_greeting(name):
    return greet(name)  #: site agents chat


@click.command()
@click.option("--name", prompt=True)
def command(name):
    click.prompt("Sure?")  #: not
    template(name)  #: not
    only_text(name)  #: not
    send_greeting.delay(name)  #: not
    distance.invoke({"a": "x", "b": name})  #: not
    Template("{{ name }}").render(name=name)  #: not
    click.echo(haiku(topic=name))  #: site agents chat
    click.echo(terse(name))  #: site agents chat


async def review(text):
    plan([text])  #: site agents chat
    rate(text)  #: site
    for chunk in recommend("fantasy"):  #: site
        print(chunk)
    return await stars(text)  #: site agents chat


def feelings(texts):
    moods = [sentiment(text) for text in texts]  #: site agents chat
    return list(zip(moods, colours(3, mood="calm")))  #: site agents chat


def patched(text):
    client = instructor.from_openai(OpenAI())
    return client.chat.completions.create(model="gpt-4o", response_model=Review, messages=[])  #: site openai chat


def patched_short(text):
    client = instructor.from_provider("anthropic/claude-3-5-haiku-latest")
    return client.create(response_model=Review, messages=[{"role": "user", "content": text}])  #: site
