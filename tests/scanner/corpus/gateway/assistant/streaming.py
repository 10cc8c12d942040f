"""Server-sent events in both directions."""
import json
from contextlib import asynccontextmanager

import httpx
import httpx_sse
import requests
import sseclient
from django.conf import settings
from django.http import StreamingHttpResponse
from httpx_sse import aconnect_sse, connect_sse

from gateway.core.http import BaseService, build_async_client, get_session

DONE = "[DONE]"


def sync_events(messages):
    body = {"model": settings.CHAT_MODEL, "messages": messages, "stream": True}
    with httpx.Client(timeout=None) as client, connect_sse(client, "POST", f"{settings.LLM_GATEWAY_URL}/chat", json=body) as source:  #: site unknown chat
        for event in source.iter_sse():
            if event.data == DONE:
                return
            yield json.loads(event.data)["choices"][0]["delta"].get("content", "")


async def async_events(prompt):
    payload = {"inputs": prompt, "parameters": {"max_new_tokens": 200}, "stream": True}
    client = build_async_client(base_url=settings.TGI_URL)
    async with aconnect_sse(client, "POST", "/generate_stream", json=payload) as source:  #: site unknown completion
        async for event in source.aiter_sse():
            yield event.json()["token"]["text"]


async def groq_events(body):
    async with httpx.AsyncClient() as client:
        async with httpx_sse.aconnect_sse(  #: site groq chat
            client,
            method="POST",
            url="https://api.groq.com/openai/v1/chat/completions",
            json=body,
        ) as events:
            async for sse in events.aiter_sse():
                yield sse.data


def sseclient_events(question):
    data = {"model": "sonar", "messages": [{"role": "user", "content": question}], "stream": True}
    response = get_session().post("https://api.perplexity.ai/chat/completions", json=data, stream=True)  #: site perplexity chat
    for event in sseclient.SSEClient(response).events():  #: not
        if event.data != DONE:
            yield json.loads(event.data)


class Streams(BaseService):
    service_url = settings.VLLM_BASE_URL

    def tokens(self, prompt, **options):
        body = {"model": settings.CHAT_MODEL, "prompt": prompt, "stream": True} | options
        with self.http.stream("POST", self.url("/v1/generate"), json=body) as response:  #: site unknown completion
            for line in response.iter_lines():
                yield line.removeprefix("data: ")

    @asynccontextmanager
    async def open(self, messages):
        async with httpx.AsyncClient(headers=self.headers()) as client:
            async with client.stream("POST", self.service_url + "/chat", json=self.body(messages)) as response:  #: site unknown chat
                yield response

    def body(self, messages):
        return {"model": settings.CHAT_MODEL, "messages": messages, "stream": True}

    def download(self, path, target):
        with self.http.stream("GET", self.url(path)) as response:  #: not
            for chunk in response.iter_bytes():
                target.write(chunk)


def follow_deploy(deploy_id):
    with httpx.Client() as client:
        with connect_sse(client, "GET", f"https://ci.corp.example/deploys/{deploy_id}/events") as source:  #: not
            yield from source.iter_sse()


def follow_orders():
    messages = sseclient.SSEClient("https://shop.corp.example/orders/stream")  #: not
    for message in messages:
        yield message.data


async def export_rows(query):
    async with httpx.AsyncClient() as client:
        async with client.stream("POST", f"{settings.REPORTS_URL}/export", json={"query": query, "format": "csv"}) as r:  #: not
            async for line in r.aiter_lines():
                yield line


def chat_view(request):
    messages = json.loads(request.body)["messages"]
    return StreamingHttpResponse(sync_events(messages), content_type="text/event-stream")  #: not


def upload_stream(handle):
    return requests.post(f"{settings.REPORTS_URL}/ingest/stream", data=handle, stream=True)  #: not
