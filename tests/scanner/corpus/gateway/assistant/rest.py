"""Providers' APIs without their SDKs: the image of the worker must stay small."""
import json
import os
from urllib.parse import urljoin

import httpx
import requests
from django.conf import settings

from gateway.core.http import auth_headers, build_async_client, get_session

OPENAI = "https://api.openai.com/v1"
HOSTS = {"mistral": "https://api.mistral.ai/v1", "deepseek": "https://api.deepseek.com"}


def openai_request(endpoint, body):
    """`endpoint` is "chat/completions", "embeddings", …"""
    response = get_session().post(f"https://api.openai.com/v1/{endpoint}", json=body, headers=auth_headers(settings.OPENAI_KEY))  #: site openai
    response.raise_for_status()
    return response.json()


def answer(question):
    return openai_request("chat/completions", {"model": "gpt-4o", "messages": [{"role": "user", "content": question}]})  #: not


def vector(text):
    return openai_request("embeddings", {"model": "text-embedding-3-small", "input": text})  #: not


def claude(version, payload):
    headers = {"x-api-key": os.environ["ANTHROPIC_API_KEY"], "anthropic-version": version}
    path = payload.pop("_path", "messages")
    return requests.post("https://api.anthropic.com/v1/{}".format(path), json=payload, headers=headers, timeout=60).json()  #: site anthropic


def by_vendor(vendor, messages, model):
    url = HOSTS[vendor] + "/chat/completions"
    return requests.post(url, json={"model": model, "messages": messages}).json()  #: site


def gemini(model, contents, method="generateContent"):
    url = f"https://generativelanguage.googleapis.com/v1beta/models/{model}:{method}"
    body = {"contents": contents}
    if settings.GEMINI_SAFETY:
        body["safetySettings"] = settings.GEMINI_SAFETY
    return get_session().post(url, json=body, params={"key": settings.GEMINI_KEY}).json()  #: site google


def azure(deployment, operation, body):
    url = f"https://{settings.AZURE_RESOURCE}.openai.azure.com/openai/deployments/{deployment}/{operation}"
    return requests.post(url, params={"api-version": "2024-06-01"}, json=body, headers={"api-key": settings.AZURE_KEY})  #: site azure


class Cohere:
    API = "https://api.cohere.com"

    def __init__(self, key, version="v2"):
        self.session = get_session()
        self.session.headers.update(auth_headers(key))
        self.version = version

    def _call(self, name, **body):
        return self.session.post("/".join([self.API, self.version, name]), json=body).json()  #: site cohere

    def rerank(self, query, docs):
        return self._call("rerank", query=query, documents=docs, model="rerank-v3.5")  #: not

    def chat(self, messages):
        return self._call("chat", messages=messages, model="command-r")  #: not

    def check_key(self):
        return self.session.post(f"{self.API}/v1/check-api-key").json()["valid"]  #: not


async def vertex(project, model, instances):
    url = (
        f"https://{settings.GCP_REGION}-aiplatform.googleapis.com/v1/projects/{project}"
        f"/locations/{settings.GCP_REGION}/publishers/google/models/{model}:predict"
    )
    async with build_async_client() as client:
        r = await client.post(url, json={"instances": instances, "parameters": {"sampleCount": 1}})  #: site google prediction
    return r.json()["predictions"]


def huggingface(model, text):
    host = "https://router.huggingface.co/hf-inference/models/"
    return requests.post(urljoin(host, model), json={"inputs": text, "options": {"wait_for_model": True}}).json()  #: site huggingface


def cloudflare(account, model, prompt):
    base = "https://api.cloudflare.com/client/v4/accounts/%s/ai/run/%s"
    return httpx.post(base % (account, model), json={"prompt": prompt}, headers=auth_headers(settings.CF_TOKEN)).json()  #: site cloudflare


def elevenlabs(voice_id, text, fmt="mp3_44100_128"):
    url = f"https://api.elevenlabs.io/v1/text-to-speech/{voice_id}"
    body = json.dumps({"text": text, "model_id": "eleven_multilingual_v2"})
    return requests.post(url, params={"output_format": fmt}, data=body).content  #: site elevenlabs speech


def cloudflare_purge(zone, files):
    return httpx.post(f"https://api.cloudflare.com/client/v4/zones/{zone}/purge_cache", json={"files": files})  #: not


def openai_file(file_id):
    return requests.get(f"{OPENAI}/files/{file_id}/content").content  #: not


def openai_delete(kind, object_id):
    return requests.delete(f"{OPENAI}/{kind}/{object_id}").ok  #: not


def openai_upload(handle, purpose="batch"):
    return requests.post(f"{OPENAI}/files", files={"file": handle}, data={"purpose": purpose}).json()  #: not


def gemini_count(model, contents):
    url = f"https://generativelanguage.googleapis.com/v1beta/models/{model}:countTokens"
    return requests.post(url, json={"contents": contents}, params={"key": settings.GEMINI_KEY}).json()["totalTokens"]  #: not


def claude_count(messages):
    return requests.post("https://api.anthropic.com/v1/messages/count_tokens", json={"messages": messages}).json()  #: not


def elevenlabs_voices():
    return requests.get("https://api.elevenlabs.io/v1/voices").json()["voices"]  #: not


def google_maps(place):
    return requests.post(f"https://places.googleapis.com/v1/places:{place}", json={"textQuery": place}).json()  #: not
