from abc import ABC, abstractmethod

from . import clients
from .clients import by_name, get_client, get_claude, make

__all__ = ["Writer", "Base", "describe"]


class Base(ABC):
    model = "gpt-4o"

    def __init__(self, client=None):
        self.client = client or get_client()
        self._setup()

    def _setup(self):
        self.claude = get_claude()
        self.alias = self.client

    @property
    def azure(self):
        return by_name("azure")

    @abstractmethod
    def run(self, text): ...

    def save(self, **values):
        return values


class Writer(Base):
    def run(self, text):
        answer = self.client.chat.completions.create(model=self.model, messages=[])  #: site openai chat
        self.save(text=answer)  #: not
        return answer

    def summary(self, text):
        return self.claude.messages.create(model="claude", max_tokens=5, messages=[])  #: site anthropic chat

    def other(self, text):
        return self.azure.chat.completions.create(model="gpt", messages=[])  #: site openai chat

    def stream(self, text):
        with self.claude.messages.stream(model="claude", max_tokens=5, messages=[]) as stream:  #: site anthropic chat
            yield from stream.text_stream

    def aliased(self, text):
        chat = self.alias.chat
        return chat.completions.create(model="m", messages=[])  #: site openai chat

    def half(self, text):
        completions = self.client.chat.completions
        return completions.create(model="m", messages=[])  #: site openai chat

    def bound(self, text):
        ask = self.claude.messages.create
        return ask(model="m", max_tokens=1, messages=[])  #: site anthropic chat

    def count(self, text):
        return self.claude.messages.count_tokens(model="m", messages=[])  #: not

    def batch(self):
        return self.claude.messages.batches.create(requests=[])  #: site anthropic batch

    def results(self, batch):
        return self.claude.messages.batches.results(batch)  #: not


def describe(product):
    writer = Writer()
    writer.run(product.text)  #: not
    return make("openai").embeddings.create(model="m", input=product.text)  #: site openai embeddings


def either(flag, text):
    client, claude = get_client(), get_claude()
    chosen = claude if flag else None
    (chosen or claude).messages.create(model="m", max_tokens=1, messages=[])  #: site anthropic chat
    return clients.get_claude().completions.create(prompt=text)  #: site anthropic completion


class Holder:
    clients = {"a": get_claude()}
    pool = [get_claude(), get_claude()]

    def ask(self):
        self.clients["a"].messages.create(model="m", max_tokens=1, messages=[])  #: site anthropic chat
        for each in self.pool:
            each.messages.create(model="m", max_tokens=2, messages=[])  #: site anthropic chat
        return [c.messages.create(**{}) for c in self.pool]  #: site anthropic chat
