"""Connectors of the automation builder: one way out, many services behind it."""
import json
from urllib.request import Request, urlopen

import aiohttp
import httpx
import requests
from django.conf import settings
from httpx_sse import aconnect_sse

from gateway.core.http import auth_headers, get_session


def call(method, url, *, token=None, body=None, timeout=30):
    response = requests.request(method, url, json=body, headers=auth_headers(token) if token else None, timeout=timeout)  #: not
    return response.json() if response.content else None


def fetch_json(url, data=None):
    request = Request(url, data=json.dumps(data).encode() if data is not None else None)
    with urlopen(request) as answer:  #: not
        return json.load(answer)


async def async_call(session, method, url, **kwargs):
    async with session.request(method, url, **kwargs) as response:  #: not
        return await response.json()


async def events(url, body):
    """Yield the events of any service that streams them."""
    async with httpx.AsyncClient(timeout=None) as client:
        async with aconnect_sse(client, "POST", url, json=body) as source:  #: not
            async for event in source.aiter_sse():
                yield event


class Connector:
    host = ""
    token_setting = ""

    def perform(self, path, payload=None, method="POST"):
        return call(method, f"https://{self.host}{path}", token=getattr(settings, self.token_setting), body=payload)  #: not


class HubSpot(Connector):
    host = "api.hubapi.com"
    token_setting = "HUBSPOT_TOKEN"

    def contact(self, email):
        return self.perform("/crm/v3/objects/contacts", {"properties": {"email": email}})  #: not

    def conversation(self, thread, text):
        return self.perform(f"/conversations/v3/conversations/threads/{thread}/messages", {"type": "MESSAGE", "text": text})  #: not


class DeepSeek(Connector):
    host = "api.deepseek.com"
    token_setting = "DEEPSEEK_TOKEN"

    def chat(self, text, **options):
        payload = {"model": "deepseek-chat", "messages": [{"role": "user", "content": text}]}
        payload.update(options)
        return self.perform("/chat/completions", payload)  #: site deepseek chat

    def balance(self):
        return self.perform("/user/balance", method="GET")  #: not


class Gateway(Connector):
    host = "llm-gateway.corp.example"
    token_setting = "LLM_GATEWAY_TOKEN"

    def embed(self, texts):
        return self.perform(path="/v1/embeddings", payload={"model": "bge-m3", "input": texts})["data"]  #: site unknown embeddings

    def rerank(self, query, documents):
        return self.perform("/v1/rerank", {"model": "bge-reranker", "query": query, "documents": documents})  #: site unknown rerank

    def models(self):
        return self.perform("/v1/models", method="GET")  #: not


def draw(prompt):
    body = {"model": "gpt-image-1", "prompt": prompt, "size": "1024x1024"}
    return call("POST", "https://api.openai.com/v1/images/generations", token=settings.OPENAI_KEY, body=body)  #: site openai image


def guess(row):
    return fetch_json(f"{settings.KSERVE_INGRESS}/v1/models/lead-score:predict", {"instances": [row]})["predictions"]  #: site unknown prediction


def rates():
    return fetch_json("https://api.frankfurter.dev/v1/latest")  #: not


def geocode(address):
    return fetch_json(f"{settings.MAPS_URL}/geocode", {"input": address, "language": "de"})  #: not


async def ask(messages):
    async with aiohttp.ClientSession(headers=auth_headers("k")) as session:
        body = {"model": "command-r", "messages": messages}
        return await async_call(session, "POST", "https://api.cohere.com/v2/chat", json=body)  #: site cohere chat


async def jira(summary):
    async with aiohttp.ClientSession() as session:
        body = {"fields": {"summary": summary, "project": {"key": "OPS"}}}
        return await async_call(session, "POST", f"{settings.JIRA_URL}/rest/api/3/issue", json=body)  #: not


async def ask_stream(text):
    async for event in events(f"{settings.TGI_URL}/generate_stream", {"inputs": text}):  #: site unknown completion
        yield event.json()["token"]["text"]


async def build_log(job):
    async for event in events(f"{settings.CI_URL}/jobs/{job}/log", {"follow": True}):  #: not
        yield event.data


def raw_lines(messages):
    """Read the events by hand."""
    session = get_session()
    body = json.dumps({"model": settings.CHAT_MODEL, "messages": messages, "stream": True})
    headers = {"Accept": "text/event-stream", "Content-Type": "application/json"}
    with session.request("POST", settings.LLM_GATEWAY_URL + "/chat", data=body, headers=headers, stream=True) as response:  #: site unknown chat
        for line in response.iter_lines(decode_unicode=True):
            if line.startswith("data: ") and line != "data: [DONE]":
                yield json.loads(line[6:])


def zapier(hook, values):
    return call("POST", f"https://hooks.zapier.com/hooks/catch/{hook}/", body=values)  #: not
