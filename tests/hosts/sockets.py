"""WebSockets of a site: Channels consumers and an application outside Django."""

from __future__ import annotations

from typing import Any

from channels.auth import AuthMiddlewareStack
from channels.generic.websocket import AsyncWebsocketConsumer, WebsocketConsumer
from channels.routing import ProtocolTypeRouter, URLRouter
from django.core.asgi import get_asgi_application
from django.urls import path

from tests.views import aask, ask
from usage_tracking import ai_section
from usage_tracking.asgi import AIUsageASGIMiddleware

django = get_asgi_application()


@ai_section("chat")
class Chat(AsyncWebsocketConsumer):
    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        await self.send(text_data=(await aask(text_data or "")).id)


class SyncChat(WebsocketConsumer):
    ai_section = "knowledge_qa"

    def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        self.send(text_data=ask(text_data or "").id)


@ai_section("rag_pipeline")
async def plain(scope: Any, receive: Any, send: Any) -> None:
    while (message := await receive())["type"] != "websocket.disconnect":
        if message["type"] == "websocket.connect":
            await send({"type": "websocket.accept"})
        else:
            await send({"type": "websocket.send", "text": (await aask(message["text"])).id})


application = ProtocolTypeRouter(
    {
        "http": django,
        "websocket": AuthMiddlewareStack(
            URLRouter(
                [
                    path("async/", Chat.as_asgi()),
                    path("sync/", SyncChat.as_asgi()),
                    path("plain/", AIUsageASGIMiddleware(plain)),  # type: ignore[arg-type]
                ]
            )
        ),
    }
)
