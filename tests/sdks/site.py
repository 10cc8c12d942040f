"""A sync and an async page, each of which makes one AI call with a new client.

A site imports its SDK at the top of a module, or in the view to start faster. The setting
SDK_AT_MODULE_LEVEL selects one of the two.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.urls import path

if settings.SDK_AT_MODULE_LEVEL:
    import_module(settings.SDK)

MESSAGES = [{"role": "user", "content": "Why is the sky blue?"}]
CHAT: Any = {"model": "gpt-4o-mini", "messages": MESSAGES}
CLAUDE: Any = {"model": "claude-haiku-4-5", "max_tokens": 100, "messages": MESSAGES}
GEMINI: Any = {"model": "gemini-2.5-flash", "contents": "Why is the sky blue?"}
GOOGLE: Any = {"base_url": settings.STUB_URL + "/google"}


def options(path: str) -> Any:
    """Options without retries, so that a refused call fails at once."""
    return {"base_url": settings.STUB_URL + path, "api_key": "any", "max_retries": 0}


def openai() -> object:
    from openai import OpenAI

    return OpenAI(**options("/openai/v1")).chat.completions.create(**CHAT)


async def aopenai() -> object:
    from openai import AsyncOpenAI

    return await AsyncOpenAI(**options("/openai/v1")).chat.completions.create(**CHAT)


def groq() -> object:
    from groq import Groq

    return Groq(**options("/groq")).chat.completions.create(**CHAT)


async def agroq() -> object:
    from groq import AsyncGroq

    return await AsyncGroq(**options("/groq")).chat.completions.create(**CHAT)


def anthropic() -> object:
    from anthropic import Anthropic

    return Anthropic(**options("/anthropic")).messages.create(**CLAUDE)


async def aanthropic() -> object:
    from anthropic import AsyncAnthropic

    return await AsyncAnthropic(**options("/anthropic")).messages.create(**CLAUDE)


def google() -> object:
    from google import genai

    client = genai.Client(api_key="any", http_options=GOOGLE)
    return client.models.generate_content(**GEMINI)


async def agoogle() -> object:
    from google import genai

    client = genai.Client(api_key="any", http_options=GOOGLE)
    return await client.aio.models.generate_content(**GEMINI)


CALLS: dict[str, Any] = {
    "openai": (openai, aopenai),
    "groq": (groq, agroq),
    "anthropic": (anthropic, aanthropic),
    "google.genai": (google, agoogle),
}
call, acall = CALLS[settings.SDK]


def sync_page(request: HttpRequest) -> HttpResponse:
    return HttpResponse(type(call()).__name__)


async def async_page(request: HttpRequest) -> HttpResponse:
    return HttpResponse(type(await acall()).__name__)


urlpatterns = [path("sync/", sync_page), path("async/", async_page)]
