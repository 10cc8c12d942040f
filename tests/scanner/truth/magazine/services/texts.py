"""Services that ask a model, without a section of their own."""

from __future__ import annotations

from dataclasses import dataclass, field

from ...ai import client


def headline(text: str) -> str:
    return client.responses.create(model="service_in_block", input=text).output_text


def teaser(text: str) -> str:
    return client.responses.create(model="service_of_two_views", input=text).output_text


def exported(text: str) -> str:
    return client.responses.create(model="service_read_by_name", input=text).output_text


def listed(text: str) -> str:
    return client.responses.create(model="service_in_all", input=text).output_text


@dataclass
class Rewriter:
    """A dataclass with a method that asks."""

    tone: str = "dry"
    seen: list[str] = field(default_factory=list)

    def rewrite(self, text: str) -> str:
        self.seen.append(text)
        return self._ask(text)

    def _ask(self, text: str) -> str:
        return client.responses.create(model="dataclass_method", input=text).output_text
