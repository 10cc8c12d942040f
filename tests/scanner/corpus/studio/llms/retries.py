"""Requests that something else makes for us: retries, pools, executors."""

import asyncio
import functools
import time
from concurrent.futures import ThreadPoolExecutor, as_completed

import backoff
import openai
import stripe
import tenacity
from anthropic import Anthropic, AsyncAnthropic
from asgiref.sync import sync_to_async
from langchain_openai import ChatOpenAI
from openai import AsyncOpenAI, OpenAI
from retry.api import retry_call
from tenacity import AsyncRetrying, Retrying, stop_after_attempt, wait_exponential
from twilio.rest import Client as Twilio

from studio.web.models import Note

executor = ThreadPoolExecutor(4)
claude = Anthropic()


class Assistant:
    def __init__(self):
        self.client = OpenAI()
        self.twilio = Twilio()
        self._send = self.client.chat.completions.create

    def _retry(self, fn, *args, **kwargs):
        for attempt in range(3):
            try:
                return fn(*args, **kwargs)  #: not
            except openai.RateLimitError:
                time.sleep(2**attempt)

    def ask(self, **kw):
        return self._retry(self.client.chat.completions.create, **kw)  #: site openai chat

    def embed(self, texts):
        return self._retry(self.client.embeddings.create, model="text-embedding-3-small", input=texts)  #: site openai embeddings

    def names(self):
        return self._retry(self.client.models.list)  #: not

    def upload(self, file):
        return self._retry(self.client.files.create, file=file, purpose="batch")  #: not

    def sms(self, number, text):
        return self._retry(self.twilio.messages.create, to=number, body=text)  #: not


def persistent(body):
    return Retrying(stop=stop_after_attempt(4))(claude.messages.create, **body)  #: site anthropic chat


def persistent_pay(amount):
    return Retrying(stop=stop_after_attempt(4))(stripe.PaymentIntent.create, amount=amount)  #: not


def guarded(text):
    send = tenacity.retry(wait=wait_exponential())(claude.messages.create)  #: site anthropic chat
    return send(model="claude", max_tokens=5, messages=[{"role": "user", "content": text}])  #: not


async def patient(text):
    client = AsyncOpenAI()
    async for attempt in AsyncRetrying(stop=stop_after_attempt(3)):
        with attempt:
            return await client.responses.create(model="gpt-4o", input=text)  #: site openai chat


def decorated(texts):
    create = backoff.on_exception(backoff.expo, openai.RateLimitError)(OpenAI().embeddings.create)  #: site openai embeddings
    return create(model="m", input=texts)  #: not


def legacy(body):
    return retry_call(claude.messages.create, fkwargs=body, tries=3)  #: site anthropic chat


async def hurried(messages):
    client = AsyncAnthropic()
    return await asyncio.wait_for(client.messages.create(model="c", max_tokens=9, messages=messages), 30)  #: site anthropic chat


def many(bodies):
    futures = [executor.submit(claude.messages.create, **body) for body in bodies]  #: site anthropic chat
    return [future.result() for future in as_completed(futures)]  #: not


def many_charges(amounts):
    return [executor.submit(stripe.Charge.create, amount=amount) for amount in amounts]  #: not


def classifier():
    client = OpenAI()
    ask = functools.partial(client.responses.create, model="gpt-4o-mini", temperature=0)  #: site openai chat
    return lambda text: ask(input=text)  #: not


def saver(user):
    return functools.partial(Note.objects.create, author=user)  #: not


async def threaded(messages):
    loop = asyncio.get_running_loop()
    client = OpenAI()
    return await loop.run_in_executor(None, lambda: client.chat.completions.create(model="m", messages=messages))  #: site openai chat


async def threaded_partial(messages):
    client = OpenAI()
    loop = asyncio.get_event_loop()
    call = functools.partial(client.chat.completions.create, model="m", messages=messages)  #: site openai chat
    return await loop.run_in_executor(executor, call)  #: not


async def stored(text):
    return await sync_to_async(Note.objects.create)(text=text)  #: not


def mapped(questions):
    llm = ChatOpenAI(model="gpt-4o-mini")
    with ThreadPoolExecutor() as pool:
        return list(pool.map(llm.invoke, questions))  #: site langchain chat


class Later:
    """Calls what it is given when it is asked to."""

    def __init__(self, fn, **kwargs):
        self.fn, self.kwargs = fn, kwargs

    def __call__(self):
        return self.fn(**self.kwargs)  #: not


def queue(bodies):
    return [Later(claude.messages.create, **body) for body in bodies]  #: site anthropic chat
