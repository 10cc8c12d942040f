"""chat.completions.create( in a docstring, as in client.messages.create(...)."""
import logging
import re
import subprocess
import threading

import discord
import redis
import telebot
from celery import Celery
from click.testing import CliRunner
from django.core.management import call_command
from django.test import Client
from elasticsearch import Elasticsearch
from slack_sdk import WebClient
from sqlalchemy import create_engine
from telegram import Bot
from transformers import pipeline
from sentence_transformers import SentenceTransformer
import whisper

logger = logging.getLogger(__name__)
# client.chat.completions.create(model="gpt-4o", messages=[])
EXAMPLE = "client.chat.completions.create(model='gpt-4o')"


class Chain:
    def invoke(self, text):
        return text

    def run(self):
        return self.invoke("x")  #: not

    def stream(self):
        yield self.run()  #: not


class Gateway:
    """A gateway for payments."""

    def chat(self, text):
        return text

    def complete(self, order):
        return order

    def generate(self, report):
        return report

    def generate_content(self, page):
        return f"<p>{page}</p>"


class Page:
    def __init__(self):
        self.gateway = Gateway()
        self.chain = Chain()

    def build(self):
        self.gateway.complete(1)  #: not
        self.gateway.chat("x")  #: not
        self.gateway.generate("x")  #: not
        self.gateway.generate_content("x")  #: not
        self.chain.invoke("x")  #: not
        return self.chain.run()  #: not


def bots(text):
    Bot("x").send_message(chat_id=1, text=text)  #: not
    telebot.TeleBot("x").send_message(1, text)  #: not
    WebClient("x").chat_postMessage(channel="x", text=text)  #: not
    bot = telebot.TeleBot("x")
    bot.send_message(1, text)  #: not
    bot.run("x")  #: not
    discord.Client().run("token")  #: not
    channel = discord.utils.get([], name="x")
    channel.send_message(text)  #: not


def tools(text):
    subprocess.run(["ls"], check=True)  #: not
    CliRunner().invoke(bots, ["x"])  #: not
    call_command("migrate")  #: not
    Client().post("/api/chat/", {"x": 1})  #: not
    redis.Redis().set("x", "y")  #: not
    Elasticsearch().search(index="x")  #: not
    create_engine("x").connect()  #: not
    Celery("x").send_task("x")  #: not
    threading.Thread(target=bots).run()  #: not
    re.compile("x").match(text)  #: not
    logger.info("client.responses.create(%s)", text)  #: not


def local(text):
    generator = pipeline("text-generation", model="gpt2")
    generator(text)  #: not
    SentenceTransformer("x").encode(text)  #: not
    whisper.load_model("base").transcribe("x")  #: not


def django(queryset, form, request):
    queryset.create(text="x")  #: not
    queryset.objects.create(prompt="x")  #: not
    form.instance.embeddings.add(1)  #: not
    request.user.chats.create(title="x")  #: not
    request.user.images.create(file="x")  #: not
    request.session.create()  #: not
    serializer = form.get_serializer(data=request.data)
    serializer.save()  #: not
    queryset.stream()  #: not
    return queryset.model.generate()  #: not


def more(parser, template, tool, bot, model, tokenizer, form):
    parser.invoke("x")  #: not
    template.invoke({})  #: not
    tool.invoke({})  #: not
    tool.run("x")  #: not
    bot.send_message("x")  #: not
    model.fit([1])  #: not
    model.predict([1])  #: not
    tokenizer.encode("x")  #: not
    form.messages.create(text="x")  #: not
    form.messages.stream()  #: not
