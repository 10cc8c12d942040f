"""A library that the scanner does not know, and that a scan of the site does not read."""

from __future__ import annotations

import os
from typing import Any

from openai import OpenAI


def completion(*, messages: list[Any]) -> Any:
    """Send a request with a client that is captured."""
    with OpenAI(base_url=f"http://{os.environ['STUB']}/openai/v1", api_key="any") as client:
        return client.chat.completions.create(model="unknown", messages=messages)
