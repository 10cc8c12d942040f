"""Channels consumers."""

from __future__ import annotations

from channels.generic.websocket import AsyncWebsocketConsumer, WebsocketConsumer

from tests.scanner.fixed.ai import aclient, client
from usage_tracking import ai_section


# fix: decorate the class Chat with @ai_section("…")
@ai_section("chat")  # fixed
class Chat(WebsocketConsumer):
    def receive(self, text_data=None, bytes_data=None):
        client.responses.create(model="consumer", input="Hi")
        self.send("done")


# fix: decorate the class AsyncChat with @ai_section("…")
@ai_section("chat")  # fixed
class AsyncChat(AsyncWebsocketConsumer):
    async def receive(self, text_data=None, bytes_data=None):
        await self.answer()
        await self.send("done")

    async def answer(self):
        await aclient.responses.create(model="async_consumer", input="Hi")
