"""Clients that packages outside of this project make, and objects that look like them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Optional
from functools import partial, lru_cache
import asyncio, tenacity, backoff
from django.apps import apps
from torchvision.models import get_model as tv_get_model
from keras.models import load_model
from ai_platform import LLMClient, get_chat_model, build_llm, llm_factory, get_provider, EmbeddingService
from ai_platform.services import text_generation_service, get_completion_client
from internal.sdk import Gateway, create_agent_client
import ai_platform
from oembed import providers


@dataclass
class Desk:
    llm: Any = field(default_factory=build_llm)
    embedder: Any = field(default_factory=lambda: ai_platform.get_embedder())

    def a(self, q):
        return self.llm.generate(prompt=q, max_tokens=4)  #: site

    def b(self, q):
        return self.embedder.embed(q)  #: site

    def c(self, qs):
        return self.embedder.embed_documents(qs)  #: site


def complete_in_block(q):
    with LLMClient() as client:
        return client.complete(q)  #: site


async def read_session(q):
    async with ai_platform.client_session() as s:
        return await s.get("x")  #: not


def generate_by_service(q):
    svc = text_generation_service
    return svc.generate(prompt=q, temperature=0.1)  #: site


def complete_by_getter(q):
    return get_completion_client("gpt").completion(messages=[{"role": "user", "content": q}])  #: site


def ask_each(models: dict[str, Any], q):
    for name, model in models.items():
        yield model.generate(messages=[{"role": "user", "content": q}], max_tokens=9)  #: site


def ask_listed(q, names):
    clients = [get_provider(n) for n in names]
    return [c.chat([{"role": "user", "content": q}]) for c in clients]  #: site


def classify_image(q):
    model = tv_get_model("resnet50")
    model.generate(q)  #: not
    return load_model("x.h5").predict(q)  #: not


def store_prompt(q):
    M = apps.get_model("app", "Note")
    return M.objects.create(prompt=q)  #: not


def embed_video(url):
    p = providers.get_provider(url)
    return p.embed(url)  #: not


class Svc:
    def __init__(self, provider_name: str):
        self._client = llm_factory(provider_name)
        self._emb = EmbeddingService()

    def ask(self, q):
        return self._client.chat(messages=[{"role": "user", "content": q}])  #: site

    async def aask(self, q):
        return await asyncio.to_thread(self._client.complete, prompt=q)  #: site

    def vec(self, t):
        return self._emb.embed_text(t)  #: site

    def retry(self, q):
        return tenacity.Retrying()(self._client.generate, prompt=q)  #: site

    def close(self):
        self._client.close()  #: not


def ask_annotated(llm: Optional["LLMClient"], q):
    return llm.ask(q)  #: site


def invoke_chat_model(q):
    model = get_chat_model("x")
    return model.invoke(input=q)  #: site


def run_agent_client(agent_client, q):
    return agent_client.run(q)  #: not


def generate_rows(generator, rows):
    return generator.generate(rows)  #: not


def generate_report(report_service, data):
    return report_service.generate(data=data, model="monthly")  #: not


def complete_chat(chat, text):
    return chat.complete(text)  #: not


def answer_bot(bot, message):
    bot.send_message(message)  #: not
    return bot.chat(message)  #: not


def complete_by_parameter(completion_service, q):
    return completion_service.complete(prompt=q, model="m")  #: site


def chat_over_gateway(q):
    client = Gateway()
    return client.chat(messages=[{"role": "user", "content": q}], model="x")  #: site


def stream_service(stream, service, q):
    service.stream(q)  #: not
    return service.invoke(q)  #: not


def generate_by_provider(provider, messages):
    return provider.generate(messages=messages)  #: site


def generate_by_translator(translator, q):
    return translator.generate(prompt=q)  #: not
