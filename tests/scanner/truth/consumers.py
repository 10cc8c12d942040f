"""Channels consumers."""

from __future__ import annotations

from channels.consumer import AsyncConsumer
from channels.exceptions import StopConsumer
from channels.generic.websocket import (
    AsyncJsonWebsocketConsumer,
    AsyncWebsocketConsumer,
    WebsocketConsumer,
)

from tests.scanner.truth.ai import aclient, client
from usage_tracking import ai_section, ai_usage


class PlainConsumer(WebsocketConsumer):
    def receive(self, text_data=None, bytes_data=None):
        client.responses.create(model="consumer_plain", input="Hi")
        self.send("done")


@ai_section("chat")
class MarkedConsumer(AsyncWebsocketConsumer):
    async def receive(self, text_data=None, bytes_data=None):
        await self.answer()
        await self.send("done")

    async def answer(self):
        await aclient.responses.create(model="consumer_marked", input="Hi")


class AttributeConsumer(AsyncJsonWebsocketConsumer):
    ai_section = "chat"

    async def receive_json(self, content, **kwargs):
        await aclient.responses.create(model="consumer_attribute", input="Hi")
        await self.send_json("done")


class MappedConsumer(WebsocketConsumer):
    def receive(self, text_data=None, bytes_data=None):
        client.responses.create(model="consumer_mapped", input="Hi")
        self.send("done")


class MethodConsumer(AsyncWebsocketConsumer):
    @ai_usage(section="chat")
    async def receive(self, text_data=None, bytes_data=None):
        await aclient.responses.create(model="consumer_usage_on_method", input="Hi")
        await self.send("done")


class SectionMethodConsumer(WebsocketConsumer):
    @ai_section("chat")
    def receive(self, text_data=None, bytes_data=None):
        client.responses.create(model="consumer_section_on_method", input="Hi")
        self.send("done")


class EventConsumer(AsyncConsumer):
    async def websocket_connect(self, message):
        await self.send({"type": "websocket.accept"})

    async def websocket_receive(self, message):
        await self.chat_message(message)
        await self.send({"type": "websocket.send", "text": "done"})

    async def websocket_disconnect(self, message):
        raise StopConsumer

    async def chat_message(self, event):
        await aclient.responses.create(model="consumer_event", input="Hi")


CONSUMERS = [
    *(PlainConsumer, MarkedConsumer, AttributeConsumer, MappedConsumer, MethodConsumer),
    *(SectionMethodConsumer, EventConsumer),
]
