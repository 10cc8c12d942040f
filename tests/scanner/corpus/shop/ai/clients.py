"""Example in a docstring: client.chat.completions.create(model="gpt-4o")."""
import functools
from typing import Optional, Union, TYPE_CHECKING

from django.conf import settings
from openai import OpenAI, AsyncOpenAI, AzureOpenAI as Azure
import openai as oa

if TYPE_CHECKING:
    from anthropic import Anthropic

_client: Optional[OpenAI] = None
_cache = {}


def get_client() -> Optional[OpenAI]:
    global _client
    if _client is None:
        _client = OpenAI(api_key=settings.OPENAI_API_KEY)
    return _client


@functools.lru_cache(maxsize=1)
def get_claude():
    try:
        from anthropic import Anthropic
    except ImportError:
        return None
    return Anthropic(api_key="x")


def by_name(name):
    if name in _cache:
        return _cache[name]
    if name == "azure":
        made = Azure(azure_endpoint="https://x.openai.azure.com")
    else:
        made = oa.OpenAI()
    _cache[name] = made
    return made


def make(provider: str):
    return {"openai": OpenAI, "async": AsyncOpenAI}[provider]()


class Lazy:
    _instance = None

    def __new__(cls):
        if cls._instance is None:
            cls._instance = super().__new__(cls)
            cls._instance.client = OpenAI()
        return cls._instance

    def ask(self, text):
        return self.client.chat.completions.create(model="gpt-4o", messages=[text])  #: site openai chat


def direct(text):
    answer = oa.chat.completions.create(model="gpt-4o", messages=[])  #: site openai chat
    client = OpenAI()
    client.models.list()  #: not
    client.files.create(file=open("x"), purpose="batch")  #: not
    client.files.list()  #: not
    client.beta.assistants.create(model="gpt-4o")  #: not
    client.beta.threads.create()  #: not
    client.beta.threads.messages.create(thread_id="t", role="user", content=text)  #: not
    client.beta.threads.runs.create(thread_id="t", assistant_id="a")  #: site openai agent
    client.beta.threads.runs.create_and_poll(thread_id="t", assistant_id="a")  #: site openai agent
    client.beta.threads.runs.retrieve(run_id="r", thread_id="t")  #: not
    client.beta.vector_stores.create(name="x")  #: not
    client.responses.create(model="gpt-5", input=text)  #: site openai chat
    client.responses.retrieve("id")  #: not
    client.embeddings.create(model="m", input=text)  #: site openai embeddings
    client.images.generate(prompt=text)  #: site openai image
    client.images.edit(prompt=text, image=b"")  #: site openai image
    client.moderations.create(input=text)  #: site openai moderation
    client.audio.speech.create(model="tts-1", input=text, voice="x")  #: site openai speech
    client.audio.transcriptions.create(model="whisper-1", file=b"")  #: site openai transcription
    client.batches.create(input_file_id="f", endpoint="/v1/chat/completions", completion_window="24h")  #: site openai batch
    client.batches.retrieve("b")  #: not
    client.beta.chat.completions.parse(model="m", messages=[], response_format=dict)  #: site openai chat
    client.chat.completions.with_raw_response.create(model="m", messages=[])  #: site openai chat
    client.with_options(timeout=3).chat.completions.create(model="m", messages=[])  #: site openai chat
    client.fine_tuning.jobs.create(training_file="f", model="m")  #: not
    with client.audio.speech.with_streaming_response.create(model="tts-1", voice="x", input=text) as r:  #: site openai speech
        r.stream_to_file("x")
    return answer
