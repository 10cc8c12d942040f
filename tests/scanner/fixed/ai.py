"""The clients of the site."""

from __future__ import annotations

import os

from openai import AsyncOpenAI, OpenAI

URL = f"http://{os.environ['STUB']}/openai/v1"
client = OpenAI(base_url=URL, api_key="any", max_retries=0)
aclient = AsyncOpenAI(
    base_url=URL,
    api_key="any",
    max_retries=0,
    default_headers={"Connection": "close"},  # each request has an event loop of its own
)
