import json
import os
import urllib.request
from http.client import HTTPSConnection
from urllib.parse import urljoin

import aiohttp
import httpx
import requests
from django.conf import settings

from shop import settings as plain

BASE = "https://api.openai.com/v1"
URL = f"{BASE}/chat/completions"
GEMINI = "https://generativelanguage.googleapis.com/v1beta/models/{model}:generateContent?key={key}"
HF = "https://api-inference.huggingface.co/models/"


def by_hand(text, key):
    requests.post(URL, json={})  #: site openai chat
    requests.post("https://api.anthropic.com/v1/messages", headers={}, json={})  #: site anthropic chat
    requests.post(url=BASE + "/embeddings", json={})  #: site openai embeddings
    requests.post(GEMINI.format(model="gemini-pro", key=key), json={})  #: site google chat
    requests.post("%s/images/generations" % BASE, json={})  #: site openai image
    requests.request("POST", URL, json={})  #: site openai chat
    requests.post(urljoin("https://api.mistral.ai", "v1/chat/completions"), json={})  #: site mistral chat
    requests.post(settings.OPENAI_URL + "/chat/completions", json={})  #: site openai chat
    requests.post(f"{settings.OLLAMA_URL}/api/generate", json={})  #: site ollama completion
    requests.post(f"{plain.DEEPSEEK_BASE}/chat/completions", json={})  #: site deepseek chat
    requests.post(f"{HF}{text}", json={})  #: site huggingface prediction
    requests.post(os.environ.get("X", "https://api.groq.com/openai/v1") + "/chat/completions", json={})  #: site groq chat
    httpx.post(URL, json={})  #: site openai chat
    urllib.request.urlopen(urllib.request.Request(URL, data=b"{}"))  #: site openai chat
    request = urllib.request.Request(URL, data=b"{}")
    with urllib.request.urlopen(request, timeout=3) as answer:  #: site openai chat
        json.load(answer)
    requests.get("https://api.openai.com/v1/models")  #: not
    requests.post("https://api.openai.com/v1/files", files={})  #: not
    requests.post(settings.STRIPE_URL + "/charges", json={})  #: not
    requests.post(plain.WEATHER_URL, json={})  #: not
    requests.get(URL)  #: not
    requests.post("https://hooks.slack.com/services/x", json={})  #: not
    requests.post(f"https://api.telegram.org/bot{key}/sendMessage", json={})  #: not
    requests.post("https://graph.facebook.com/v1/me/messages", json={})  #: not
    requests.post("http://localhost:8000/api/chat/", json={})  #: not
    requests.post("https://api.weather.example/generate", json={})  #: not
    requests.post("https://oauth2.googleapis.com/token", data={})  #: not
    requests.post("https://fcm.googleapis.com/v1/projects/x/messages:send", json={})  #: not
    connection = HTTPSConnection("api.openai.com")
    connection.request("POST", "/v1/chat/completions", "{}")  #: site openai chat
    connection.request("GET", "/v1/models")  #: not


class Api:
    base_url = "https://openrouter.ai/api/v1"

    def __init__(self):
        self.session = requests.Session()
        self.url = f"{self.base_url}/chat/completions"
        self.http = httpx.Client(base_url="https://api.together.xyz/v1")

    def ask(self):
        self.session.post(self.url, json={})  #: site openrouter chat
        self.http.post("/chat/completions", json={})  #: site together chat
        self.session.get(f"{self.base_url}/models")  #: not
        return self._post("/completions", {})

    def _post(self, path, body):
        return self.session.post(f"{self.base_url}{path}", json=body)  #: site openrouter

    def save(self):
        return self.session.post("https://example.org/api/save", json={})  #: not


async def asynchronous():
    async with aiohttp.ClientSession() as session:
        async with session.post(URL, json={}) as answer:  #: site openai chat
            await answer.json()
        async with session.post("https://example.org/x") as answer:  #: not
            await answer.json()
    async with httpx.AsyncClient(timeout=3) as client:
        await client.post(URL, json={})  #: site openai chat
        async with client.stream("POST", URL, json={}) as answer:  #: site openai chat
            await answer.aread()
        await client.post("https://example.org/hook", json={})  #: not


def send(url, body):
    return requests.post(url, json=body)  #: site openai chat


def use():
    return send(URL, {})  #: not


def hook(url, body):
    return requests.post(url, json=body)  #: not


def use_hook():
    return hook("https://example.org/hook", {})  #: not
