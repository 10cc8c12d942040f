import asyncio
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from asgiref.sync import async_to_sync, sync_to_async
from celery import shared_task
from openai import AsyncOpenAI, OpenAI
from tenacity import retry

from shop.ai.clients import get_claude, get_client
from shop.ai.services import Writer


def with_retry(function, *args, **kwargs):
    for _ in range(3):
        try:
            return function(*args, **kwargs)  #: not
        except Exception:
            continue


@shared_task
def handed_on(text):
    client = OpenAI()
    with_retry(client.chat.completions.create, model="m", messages=[])  #: site openai chat
    ask = partial(client.responses.create, model="gpt-5")  #: site openai chat
    ask(input=text)  #: not
    with ThreadPoolExecutor() as pool:
        pool.submit(client.embeddings.create, model="m", input=text)  #: site openai embeddings
        pool.submit(Writer().run, text)  #: not
        pool.map(get_claude().messages.create, [])  #: site anthropic chat
    with_retry(print, text)  #: not


async def asynchronous(text):
    client = AsyncOpenAI()
    await client.chat.completions.create(model="m", messages=[])  #: site openai chat
    await sync_to_async(get_client().chat.completions.create)(model="m", messages=[])  #: site openai chat
    await asyncio.to_thread(get_claude().messages.create, model="m", max_tokens=1, messages=[])  #: site anthropic chat
    loop = asyncio.get_event_loop()
    await loop.run_in_executor(None, lambda: get_claude().messages.create(model="m", max_tokens=1))  #: site anthropic chat
    other = await sync_to_async(get_claude)()
    await other.messages.create(model="m", max_tokens=1, messages=[])  #: site anthropic chat
    third = await asyncio.to_thread(get_claude)
    third.messages.create(model="m", max_tokens=1, messages=[])  #: site anthropic chat
    await asyncio.gather(*[client.embeddings.create(model="m", input=t) for t in text])  #: site openai embeddings
    async with AsyncOpenAI() as inner:
        await inner.responses.create(model="m", input="x")  #: site openai chat
    await client.close()  #: not
    return async_to_sync(client.responses.create)(model="m", input="x")  #: site openai chat


def fallback(text):
    try:
        return get_client().chat.completions.create(model="a", messages=[])  #: site openai chat
    except Exception:
        return get_claude().messages.create(model="b", max_tokens=1, messages=[])  #: site anthropic chat


def parameters(text, client: "OpenAI", other: OpenAI | None = None, third=None):
    client.images.generate(prompt=text)  #: site openai image
    client.batches.create(input_file_id="x")  #: site openai batch
    third.messages.create(**text)  #: site anthropic chat
    return other.chat.completions.create(model="m", messages=[])  #: site openai chat


def start():
    return parameters("x", OpenAI(), third=get_claude())  #: not


@retry(stop=3)
def decorated():
    claude = get_claude
    return claude().messages.create(model="m", max_tokens=1, messages=[])  #: site anthropic chat


def walrus():
    if (claude := get_claude()) is not None:
        claude.messages.create(model="m", max_tokens=1, messages=[])  #: site anthropic chat
    first, *rest = [get_claude()]
    first.messages.create(model="m", max_tokens=1, messages=[])  #: site anthropic chat
    match text := "x":
        case "x":
            getattr(first, "messages").create(model="m", max_tokens=1, messages=[])  #: site anthropic chat
