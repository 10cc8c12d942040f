"""Clients of the providers' SDKs, configured from the settings.

Each SDK is imported on first use: importing all of them takes seconds, and most management commands
need none of them.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from django.conf import settings

if TYPE_CHECKING:
    from anthropic import Anthropic
    from google.genai import Client as Gemini
    from openai import AsyncOpenAI, OpenAI

CHAT_MODEL = "gpt-4o-mini"
DRAFT_MODEL = "gpt-5-mini"
EMBEDDING_MODEL = "text-embedding-3-small"
CLAUDE_MODEL = "claude-haiku-4-5"
GEMINI_MODEL = "gemini-2.5-flash"


@cache
def openai_client() -> OpenAI:
    """Return the client of this process for OpenAI."""
    from openai import OpenAI

    return OpenAI(base_url=_setting("OPENAI_URL"), api_key=_setting("OPENAI_KEY"))


def async_openai_client() -> AsyncOpenAI:
    """Return a new client: its connections belong to the event loop that opened them."""
    from openai import AsyncOpenAI

    return AsyncOpenAI(base_url=_setting("OPENAI_URL"), api_key=_setting("OPENAI_KEY"))


@cache
def anthropic_client() -> Anthropic:
    """Return the client of this process for Anthropic."""
    from anthropic import Anthropic

    return Anthropic(base_url=_setting("ANTHROPIC_URL"), api_key=_setting("ANTHROPIC_KEY"))


@cache
def gemini_client() -> Gemini:
    """Return the client of this process for Gemini."""
    from google.genai import Client
    from google.genai.types import HttpOptions

    options = HttpOptions(base_url=_setting("GEMINI_URL"))
    return Client(api_key=_setting("GEMINI_KEY"), http_options=options)


def _setting(name: str) -> str:
    # By name, because the type checker only knows the settings of the tests.
    value: str = getattr(settings, name)
    return value
