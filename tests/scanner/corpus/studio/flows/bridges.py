"""One request that is written with two calls."""

import asyncio
import threading

import anyio
from agents import Agent as HelperAgent, Runner
from anthropic import Anthropic, AsyncAnthropic
from asgiref.sync import async_to_sync, sync_to_async
from channels.db import database_sync_to_async
from crewai import Crew
from langchain_openai import ChatOpenAI
from litellm import acompletion, completion
from openai import AsyncOpenAI, OpenAI
from pydantic_ai import Agent

from django.core.management.base import BaseCommand

from studio.web.models import Note

agent = Agent("anthropic:claude-3-5-sonnet-latest")
helper = HelperAgent(name="helper")
client = AsyncOpenAI()
blocking = OpenAI()
llm = ChatOpenAI(model="gpt-4o-mini")


def reply(text):
    return async_to_sync(agent.run)(text).output  #: site agents agent


def reply_sdk(text):
    return async_to_sync(client.responses.create)(model="gpt-4o", input=text)  #: site openai chat


def run_once(text):
    return asyncio.run(client.responses.create(model="gpt-4o", input=text))  #: site openai chat


def run_helper(text):
    return asyncio.run(Runner.run(helper, text))  #: site agents agent


async def in_thread(messages):
    return await sync_to_async(blocking.chat.completions.create)(model="m", messages=messages)  #: site openai chat


async def in_thread_long(messages):
    create = sync_to_async(blocking.chat.completions.create, thread_sensitive=False)  #: site openai chat
    return await create(model="m", messages=messages)  #: not


async def to_thread(text):
    return await asyncio.to_thread(llm.invoke, text)  #: site langchain chat


async def any_thread(crew: Crew):
    return await anyio.to_thread.run_sync(crew.kickoff)  #: site agents agent


async def all_at_once(texts):
    return await asyncio.gather(*[llm.ainvoke(text) for text in texts])  #: site langchain chat


async def as_tasks(texts):
    async with asyncio.TaskGroup() as group:
        return [group.create_task(acompletion(model="gpt-4o", messages=[{"role": "user", "content": text}])) for text in texts]  #: site litellm chat


async def shielded(messages):
    task = asyncio.ensure_future(AsyncAnthropic().messages.create(model="c", max_tokens=4, messages=messages))  #: site anthropic chat
    return await asyncio.shield(task)  #: not


def in_background(text):
    worker = threading.Thread(target=completion, kwargs={"model": "m", "messages": [text]})  #: site litellm chat
    worker.start()  #: not
    return worker


def save_in_background(note):
    threading.Thread(target=note.save).start()  #: not


def from_other_loop(loop, text):
    future = asyncio.run_coroutine_threadsafe(client.responses.create(model="m", input=text), loop)  #: site openai chat
    return future.result(timeout=30)  #: not


async def helper_chat(text):
    return await client.chat.completions.create(model="m", messages=[{"role": "user", "content": text}])  #: site openai chat


def view(request):
    return async_to_sync(helper_chat)(request.POST["text"])  #: not


class Command(BaseCommand):
    def handle(self, *args, **options):
        asyncio.run(helper_chat(options["text"]))  #: not
        async_to_sync(self.store)(options["text"])  #: not

    async def store(self, text):
        await sync_to_async(Note.objects.create)(text=text)  #: not
        await database_sync_to_async(Note.objects.filter(text=text).first)()  #: not
        await asyncio.to_thread(print, text)  #: not
        await asyncio.to_thread(blocking.models.list)  #: not
        claude = Anthropic()
        await database_sync_to_async(claude.messages.create)(model="c", max_tokens=9, messages=[])  #: site anthropic chat
