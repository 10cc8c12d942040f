"""Subclasses of the SDKs' clients and resources, and mixins."""

import anthropic
import openai
import stripe
from anthropic.resources.messages import Messages
from google import genai
from openai.resources.chat.completions import Completions
from slack_sdk import WebClient
from twilio.rest import Client as TwilioClient

from django.db import models


class TenantOpenAI(openai.OpenAI):
    def ask(self, text, model="gpt-4o-mini"):
        return self.chat.completions.create(model=model, messages=[{"role": "user", "content": text}])  #: site openai chat

    def think(self, text):
        return self.with_options(timeout=600).responses.create(model="o3", input=text)  #: site openai chat

    def knows(self, name):
        return any(model.id == name for model in self.models.list())  #: not

    def keep(self, path):
        return self.files.create(file=open(path, "rb"), purpose="assistants")  #: not

    def raw(self, body):
        return self.post("/chat/completions", body=body, cast_to=object)  #: site openai chat


class MeteredCompletions(Completions):
    def create(self, *args, **kwargs):
        kwargs.setdefault("stream_options", {"include_usage": True})
        return super().create(*args, **kwargs)  #: site openai chat


class MeteredMessages(Messages):
    def create(self, **kwargs):
        response = super().create(**kwargs)  #: site anthropic chat
        self.count_tokens(messages=[], model="claude")  #: not
        return response


class Desk(anthropic.AsyncAnthropic):
    async def reply(self, thread):
        return await self.messages.create(model="claude-sonnet-4", max_tokens=500, messages=thread)  #: site anthropic chat

    async def live(self, thread):
        async with self.messages.stream(model="claude-sonnet-4", max_tokens=500, messages=thread) as stream:  #: site anthropic chat
            async for text in stream.text_stream:
                yield text


class Gem(genai.Client):
    def caption(self, image):
        return self.models.generate_content(model="gemini-2.0-flash", contents=[image, "Caption"])  #: site google chat


class ClaudeMixin:
    client: anthropic.Anthropic
    model = "claude-3-5-haiku-latest"

    def complete(self, text):
        return self.client.messages.create(model=self.model, max_tokens=9, messages=[{"role": "user", "content": text}])  #: site anthropic chat


class LetterWriter(ClaudeMixin):
    def __init__(self):
        self.client = anthropic.Anthropic()

    def write(self, name):
        return self.complete(f"Dear {name}")  #: not


class Notifier(TwilioClient):
    def notify(self, number, text):
        return self.messages.create(to=number, from_="+100", body=text)  #: not


class Shop(stripe.StripeClient):
    def charge(self, amount):
        return self.payment_intents.create({"amount": amount, "currency": "eur"})  #: not


class Room(WebClient):
    def say(self, text):
        return super().chat_postMessage(channel="#ai", text=text)  #: not


class MessageManager(models.Manager):
    def create(self, **kwargs):
        return super().create(**kwargs)  #: not

    def chat(self, thread, text):
        return self.model.objects.create(thread=thread, text=text)  #: not


class Report:
    def _generate(self, rows):
        return rows


class PdfReport(Report):
    def _generate(self, rows):
        return super()._generate(rows)  #: not

    def build(self, rows):
        return self._generate(rows)  #: not
