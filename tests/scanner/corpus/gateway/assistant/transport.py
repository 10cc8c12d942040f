"""Requests that are signed, logged or changed before they leave."""
import hashlib
import hmac
import json
import time

import httpx
import requests
from django.conf import settings

from gateway.core.http import build_async_client, get_session

CHAT_URL = f"{settings.LLM_GATEWAY_URL}/v1/chat/completions"


def sign(prepared, secret):
    digest = hmac.new(secret, prepared.body if isinstance(prepared.body, bytes) else prepared.body.encode(), hashlib.sha256)
    prepared.headers["X-Signature"] = digest.hexdigest()
    return prepared


def signed_chat(messages):
    body = {"model": settings.CHAT_MODEL, "messages": messages}
    request = requests.Request("POST", CHAT_URL, json=body, headers={"X-Time": str(int(time.time()))})
    prepared = request.prepare()
    sign(prepared, settings.GATEWAY_SECRET)
    with requests.Session() as session:
        response = session.send(prepared, timeout=60)  #: site unknown chat
    return response.json()


def signed_embedding(texts):
    session = get_session()
    prepared = session.prepare_request(
        requests.Request("POST", url=f"{settings.LLM_GATEWAY_URL}/embed", data=json.dumps({"model": "bge-m3", "input": texts}))
    )
    settings_for = session.merge_environment_settings(prepared.url, {}, None, None, None)
    return session.send(prepared, **settings_for).json()["data"]  #: site unknown embeddings


class Outgoing:
    def __init__(self, secret):
        self.secret = secret
        self.session = requests.Session()
        self.client = httpx.Client(base_url="https://api.mistral.ai", timeout=30)

    def openai(self, payload):
        req = requests.Request("POST", "https://api.openai.com/v1/responses", json=payload).prepare()
        return self.session.send(sign(req, self.secret), stream=True)  #: site openai chat

    def mistral(self, payload):
        request = self.client.build_request("POST", "/v1/chat/completions", json=payload)
        request.headers["x-request-id"] = str(time.monotonic())
        return self.client.send(request, stream=True)  #: site mistral chat

    def webhook(self, url, event):
        req = requests.Request("POST", url, json={"type": event.type, "data": event.data}).prepare()
        return self.session.send(sign(req, self.secret))  #: not

    def crm(self, contact):
        request = self.client.build_request("POST", f"{settings.CRM_URL}/contacts", json=contact)
        return self.client.send(request)  #: not


async def relay(request, upstream_path="/v1/messages"):
    """Hand a browser's request on to the gateway, body untouched."""
    client = build_async_client(base_url="https://api.anthropic.com")
    upstream = client.build_request("POST", upstream_path, content=request.body, headers={"x-api-key": settings.ANTHROPIC_KEY})
    return await client.send(upstream, stream=True)  #: site anthropic chat


async def relay_own(body):
    async with httpx.AsyncClient() as client:
        req = client.build_request(method="POST", url=f"{settings.TGI_URL}/generate_stream", json={"inputs": body["text"]})
        resp = await client.send(req, stream=True)  #: site unknown completion
        async for line in resp.aiter_lines():
            yield line


def raw_request(messages):
    req = httpx.Request("POST", CHAT_URL, json={"model": settings.CHAT_MODEL, "messages": messages})
    with httpx.Client(transport=httpx.HTTPTransport(retries=2)) as client:
        return client.send(req).json()  #: site unknown chat


def check_models():
    prepared = requests.Request("GET", "https://api.openai.com/v1/models").prepare()
    return requests.Session().send(prepared).ok  #: not


async def head(url):
    client = build_async_client()
    return await client.send(client.build_request("HEAD", url))  #: not


def send_mail(message, connection):
    return connection.send(message)  #: not


def send_to_channel(layer, name, text):
    return layer.send(name, {"type": "chat.message", "messages": [text]})  #: not
