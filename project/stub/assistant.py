"""Answers of the stub, and their token counts.

Both depend only on the prompt and its directives: the same question has the same answer and counts
in every run, and different questions differ.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from itertools import cycle, islice
from zlib import crc32

from project.stub.orders import Orders, without_orders

_WORD = re.compile(r"\w+|[^\w\s]")
_ADVICE = (
    "Start with the smallest thing that could work, then measure it before you add more.",
    "Write down what good would look like first; the next step is usually obvious after that.",
    "Two short experiments will teach you more here than one long discussion.",
    "Keep the part that people already like, and change only what they complain about.",
    "Ask the person who has to live with the result; they often know the answer already.",
    "Do the boring version today and the clever one only if the boring one falls short.",
)
_CLOSING = (
    "Shall I go into detail?",
    "Tell me what you have tried and I can be more specific.",
    "That is the short version.",
    "I can draft the first step if you like.",
)
_ABROAD = "Grüße aus Zürich — 東京 сказало «да» 🙂, naïve café."
_FILLER = " ".join(_ADVICE).split()
_TOPIC_CHARACTERS = 60


def answer_to(prompt: str, orders: Orders) -> str:
    """Return the answer to `prompt`."""
    if orders.words:
        return " ".join(islice(cycle(_FILLER), orders.words))
    seed = _seed(prompt)
    text = " ".join(
        (
            f"You asked about “{_topic(prompt)}”.",
            _ADVICE[seed % len(_ADVICE)],
            _CLOSING[seed // 7 % len(_CLOSING)],
        )
    )
    return f"{text} {_ABROAD}" if orders.fragments else text


def prompt_tokens(prompt: str, orders: Orders) -> int:
    """Return all prompt tokens, including cache reads and writes."""
    if orders.usage:
        return orders.usage[0]
    # The seed adds an offset, so that prompts of the same length have different counts.
    fresh = len(_WORD.findall(without_orders(prompt))) + 7 + _seed(prompt) % 11
    return fresh + orders.cached + orders.cache_write + orders.grow


def completion_tokens(prompt: str, answer: str, orders: Orders) -> int:
    """Return all completion tokens, including reasoning."""
    if orders.usage:
        return orders.usage[1]
    return len(_WORD.findall(answer)) + _seed(prompt) // 11 % 7 + orders.reasoning


def pieces(answer: str) -> Iterator[str]:
    """Split the answer as a model streams it: one to three words at a time."""
    words = re.findall(r"\S+\s*", answer)
    sizes = cycle((1, 3, 2))
    at = 0
    while at < len(words):
        size = next(sizes)
        yield "".join(words[at : at + size])
        at += size


def embedding_of(text: str, dimensions: int) -> list[float]:
    """Return a unit vector that depends only on `text`."""
    numbers = random.Random(_seed(text))  # noqa: S311 - repeatable, not secret
    vector = [numbers.uniform(-1, 1) for _ in range(dimensions)]
    length = sum(number * number for number in vector) ** 0.5 or 1.0
    return [number / length for number in vector]


def _topic(prompt: str) -> str:
    lines = without_orders(prompt).splitlines()
    topic = next(
        (line.strip() for line in reversed(lines) if line.strip()), "nothing in particular"
    )
    topic = topic.rstrip("?.! ")
    if len(topic) > _TOPIC_CHARACTERS:
        topic = topic[:_TOPIC_CHARACTERS].rsplit(" ", 1)[0] + " …"
    return topic


def _seed(text: str) -> int:
    return crc32(without_orders(text).encode("utf-8", "surrogatepass"))
