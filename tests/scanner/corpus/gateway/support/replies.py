"""Suggested replies. Which client answers is configured; the code of the clients is elsewhere."""
import asyncio
import importlib

from asgiref.sync import async_to_sync
from corp_llm import create_client, get_llm_service, get_model, llm_manager
from corp_llm.providers import ProviderRegistry, get_provider
from django.conf import settings
from django.http import JsonResponse

from gateway.core.http import ServiceError

SYSTEM = {"role": "system", "content": "You are polite."}


def to_messages(ticket):
    return [SYSTEM] + [{"role": m.role, "content": m.text} for m in ticket.messages.all()]


async def suggest(ticket):
    service = await get_llm_service()
    return await service.generate(messages=to_messages(ticket))  #: site unknown chat


async def suggest_many(tickets):
    service = await get_llm_service("bulk")
    calls = [service.acompletion(messages=to_messages(t), model=settings.CHAT_MODEL) for t in tickets]  #: site
    return await asyncio.gather(*calls)


def tone(text):
    provider = get_provider(settings.LLM_PROVIDER)
    return provider.complete(prompt=f"Tone of this text? {text}")  #: site


def reply(ticket):
    llm_client = create_client(settings.LLM_BACKEND)
    return llm_client.chat(to_messages(ticket))  #: site unknown chat


def stream_reply(ticket):
    model = get_model(settings.CHAT_MODEL)
    for chunk in model.stream(to_messages(ticket)):  #: site
        yield chunk


def first_line(prompt):
    model = get_model("small", temperature=0)
    output = model.generate(prompt=prompt, max_tokens=30)  #: site unknown
    return output.text.splitlines()[0]


def by_manager(prompt):
    llm = llm_manager.current()
    return llm.complete(prompt)  #: site


def by_loader(name, messages):
    module = importlib.import_module(f"corp_llm.backends.{name}")
    backend = module.get_llm()
    return backend.chat(messages=messages, temperature=0.1)  #: site unknown chat


class Drafts:
    provider_class = None

    def __init__(self, llm=None, provider=None):
        self.llm = llm or get_model(settings.CHAT_MODEL)
        self.provider = provider or ProviderRegistry.get("default")

    def draft(self, ticket):
        return self.llm.generate(messages=to_messages(ticket), stop=["--"])  #: site unknown chat

    def shorten(self, text):
        return self.provider.chat_completion([{"role": "user", "content": f"Shorter: {text}"}])  #: site

    def embed(self, text):
        return self.provider.embed(text=text, model=settings.EMBEDDING_MODEL)  #: site unknown embeddings

    def save(self, ticket, text):
        return ticket.drafts.create(text=text, model=settings.CHAT_MODEL)  #: not


def summarize(llm_service, ticket):
    return llm_service.chat(messages=to_messages(ticket), max_tokens=80)  #: site unknown chat


def ensemble(ticket, llms):
    drafts = []
    for llm in llms:
        drafts.append(llm.generate(messages=to_messages(ticket)))  #: site unknown chat
    return drafts


def fastest(prompt):
    clients = {name: create_client(name) for name in settings.LLM_BACKENDS}
    llm = clients.get(settings.FASTEST)
    if llm is None:
        raise ServiceError("not configured")
    return llm.acomplete(prompt=prompt)  #: site


def view(request, pk):
    ticket = request.user.tickets.get(pk=pk)
    text = async_to_sync(suggest)(ticket)  #: not
    Drafts().save(ticket, text)
    return JsonResponse({"text": text})
