"""An ASGI application outside Django that uses the site's settings."""

from __future__ import annotations

from typing import Any

from asgiref.sync import sync_to_async
from django.contrib.auth import get_user_model
from django.core.asgi import get_asgi_application

from tests.views import aask
from usage_tracking.asgi import AIUsageASGIMiddleware

get_asgi_application()


async def answer(scope: Any, receive: Any, send: Any) -> None:
    text = (await aask()).id.encode()
    await send({"type": "http.response.start", "status": 200, "headers": []})
    for part in (text[:5], text[5:]):
        await send({"type": "http.response.body", "body": part, "more_body": True})
    await send({"type": "http.response.body"})


tracked = AIUsageASGIMiddleware(answer)


async def application(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] != "http":
        return
    user = await sync_to_async(get_user_model().objects.get)(username="ada")
    await tracked({**scope, "user": user}, receive, send)
