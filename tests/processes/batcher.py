"""A process of a site that submits batches to three providers, or polls for them, with the SDKs.

python -m tests.processes.batcher submit BATCHES USER_ID...
python -m tests.processes.batcher poll < the output of the submission
"""

from __future__ import annotations

import io
import json
import os
import sys
from typing import Any

import anthropic
import django
import openai
from google import genai

SECTIONS = ("chat", "knowledge_qa", "rag_pipeline", "chat", "knowledge_qa")


class Clients:
    """The clients of the three providers, which are the stub."""

    def __init__(self) -> None:
        url = f"http://{os.environ['STUB']}"
        self.openai = openai.OpenAI(base_url=f"{url}/openai/v1", api_key="any")
        self.anthropic = anthropic.Anthropic(base_url=f"{url}/anthropic", api_key="any")
        options: Any = {"base_url": f"{url}/google"}
        self.google = genai.Client(api_key="any", http_options=options)

    def submit(self, provider: str, prompts: list[str]) -> str:
        """Submit a batch and return its id."""
        messages = [[{"role": "user", "content": prompt}] for prompt in prompts]
        if provider == "openai":
            lines = [
                {
                    "custom_id": str(number),
                    "method": "POST",
                    "url": "/v1/chat/completions",
                    "body": {"model": "gpt-4o", "messages": each},
                }
                for number, each in enumerate(messages)
            ]
            content = "\n".join(map(json.dumps, lines)).encode()
            file = self.openai.files.create(file=io.BytesIO(content), purpose="batch")
            return self.openai.batches.create(
                input_file_id=file.id, endpoint="/v1/chat/completions", completion_window="24h"
            ).id
        if provider == "anthropic":
            requests: Any = [
                {
                    "custom_id": str(number),
                    "params": {"model": "claude-sonnet-4-5", "max_tokens": 9, "messages": each},
                }
                for number, each in enumerate(messages)
            ]
            return self.anthropic.messages.batches.create(requests=requests).id
        contents: Any = [
            {"contents": [{"parts": [{"text": prompt}], "role": "user"}]} for prompt in prompts
        ]
        return str(self.google.batches.create(model="gemini-2.5-flash", src=contents).name)

    def poll(self, provider: str, batch_id: str) -> bool:
        """Poll once, read the results of a batch that has ended, and return whether it has."""
        if provider == "openai":
            batch = self.openai.batches.retrieve(batch_id)
            if batch.output_file_id:
                self.openai.files.content(batch.output_file_id)
            return batch.status == "completed"
        if provider == "anthropic":
            ended = self.anthropic.messages.batches.retrieve(batch_id).processing_status == "ended"
            if ended:
                for _ in self.anthropic.messages.batches.results(batch_id):
                    pass
            return ended
        return self.google.batches.get(name=batch_id).state == "JOB_STATE_SUCCEEDED"


def submit(clients: Clients, batches: int, users: list[int]) -> None:
    from django.contrib.auth.models import User

    from usage_tracking import ai_usage

    for number in range(batches):
        turn = number % len(users)
        user = User.objects.get(pk=users[turn])
        for provider in ("openai", "anthropic", "google"):
            # The more polls, the later some process sees the end.
            prompts = [
                f"[stub queued={3 + number % 5} cached=5 usage={100 + number}/{10 + each}]"
                for each in range(3)
            ]
            with ai_usage(section=SECTIONS[turn], user=user):
                batch_id = clients.submit(provider, prompts)
            assert not clients.poll(provider, batch_id)
            print(provider, batch_id, user.username, SECTIONS[turn], flush=True)


def poll(clients: Clients) -> None:
    """Poll for each batch in turn until all have ended."""
    waiting = [line.split()[:2] for line in sys.stdin]
    while waiting:
        waiting = [batch for batch in waiting if not clients.poll(*batch)]


def main() -> None:
    django.setup()
    clients = Clients()
    if sys.argv[1] == "submit":
        submit(clients, int(sys.argv[2]), [int(user) for user in sys.argv[3:]])
    else:
        poll(clients)


if __name__ == "__main__":
    main()
