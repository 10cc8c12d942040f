"""Letters and codes of a clinic. `medai` is installed on the server and not in this repository."""
from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from django.apps import apps
from django.conf import settings
from django.core.cache import cache
from medai import build_models, container, get_chat_client, get_chat_model, get_prompt, get_tool, open_llm
from medai.vectors import get_embedder, get_embedding_client

LETTER = "Write a letter to {doctor} about:\n{text}"


class ChatBackend(Protocol):
    async def generate(self, messages: list[dict[str, Any]]) -> str: ...


@dataclass
class Desk:
    llm: ChatBackend
    temperature: float = 0

    async def letter(self, visit):
        messages = [{"role": "user", "content": LETTER.format(doctor=visit.doctor, text=visit.text)}]
        return await self.llm.generate(messages=messages)  #: site unknown chat


def code(visit):
    llm, embeddings = build_models(settings.CLINIC)
    vector = embeddings.embed_query(visit.text)  #: site langchain embeddings
    known = visit.nearest_codes(vector)
    return llm.invoke(f"Choose one of {known} for: {visit.text}").content  #: site langchain chat


def check(visit):
    if llm := get_chat_model("checker", optional=True):
        return llm.invoke([("human", visit.text)]).content  #: site langchain chat
    return ""


async def stream_letter(visit):
    async with open_llm("letters") as llm:
        async for token in llm.astream(LETTER.format(doctor=visit.doctor, text=visit.text)):  #: site langchain chat
            yield token


def injected(visit):
    return container.llm().invoke(visit.text)  #: site langchain chat


def by_app(visit):
    return apps.get_app_config("clinic").llm.invoke(visit.text)  #: site langchain chat


def cached(visit):
    def ask():
        client = get_chat_client()
        return client.chat(messages=[{"role": "user", "content": visit.text}], model="med-70b")  #: site unknown chat

    return cache.get_or_set(f"visit:{visit.pk}", ask)  #: not


_llm = None


def lazy_llm():
    global _llm
    if _llm is None:
        _llm = get_chat_model(settings.CLINIC_MODEL)
    return _llm


def translate(text, language):
    return lazy_llm().invoke(f"Translate into {language}: {text}")  #: site langchain chat


def vectors(visits):
    embedder = get_embedder()
    client = get_embedding_client()
    many = embedder.embed_documents([v.text for v in visits])  #: site langchain embeddings
    one = client.embed(model=settings.EMBEDDING_MODEL, input="query: cough")  #: site unknown embeddings
    return many, one


class Assistant:
    def __init__(self):
        self._models = {}

    def _model(self, name):
        if name not in self._models:
            self._models[name] = get_chat_model(name)
        return self._models[name]

    def ask(self, name, text):
        return self._model(name).invoke(text)  #: site langchain chat

    def ask_all(self, text):
        return {name: model.invoke(text) for name, model in self._models.items()}  #: site langchain chat

    def prompt(self, **values):
        return get_prompt("letter").invoke(values)  #: not

    def look_up(self, code_):
        return get_tool("icd10").invoke({"code": code_})  #: not
