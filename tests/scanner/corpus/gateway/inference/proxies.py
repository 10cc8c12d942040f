"""LiteLLM, Ray Serve, BentoML and two proxies that other teams run."""
import asyncio
from functools import cached_property

import aiohttp
import httpx
from django.conf import settings

from gateway.core.http import build_async_client, get_session

PROXY = settings.AI_PROXY["URL"]


class ProxyClient:
    """The corporate proxy; it speaks no dialect of anybody else."""

    def __init__(self, api_key, model=None):
        self._key = api_key
        self._model = model or "default"
        self._root = PROXY + "/api/v3"

    @cached_property
    def _http(self):
        return httpx.Client(headers={"x-api-key": self._key}, timeout=settings.AI_PROXY["TIMEOUT"])

    def _body(self, messages, tools=None):
        body = {"model": self._model, "messages": messages}
        if tools:
            body["tools"] = tools
        return body

    def ask(self, question, tools=None):
        history = [{"role": "user", "content": question}]
        return self._http.post(f"{self._root}/converse", json=self._body(history, tools)).json()  #: site unknown chat

    def ask_with_file(self, question, document_id):
        body = self._body([{"role": "user", "content": question}])
        body["attachments"] = [document_id]
        result = self._http.post(self._root + "/converse/documents", json=body)  #: site unknown chat
        return result.json()

    def upload(self, handle):
        return self._http.post(f"{self._root}/files", files={"file": handle}).json()["id"]  #: not

    def usage(self, month):
        return self._http.get(f"{self._root}/usage", params={"month": month}).json()  #: not

    def budget(self, team, amount):
        return self._http.post(f"{self._root}/budgets", json={"team": team, "model": self._model, "amount": amount})  #: not


class RayDeployment:
    def __init__(self, route):
        self.route = route
        self.client = build_async_client(base_url=settings.RAY_SERVE_URL)

    async def infer(self, prompt):
        response = await self.client.post(self.route + "/generate", json={"prompt": prompt, "model": "mixtral"})  #: site unknown completion
        return response.text

    async def many(self, prompts):
        return await asyncio.gather(*(self.infer(p) for p in prompts))

    async def deployments(self):
        return (await self.client.get("/api/serve/applications/")).json()  #: not

    async def redeploy(self, config):
        await self.client.put("/api/serve/applications/", json=config)  #: not


async def bento_sentiment(texts):
    async with aiohttp.ClientSession(settings.BENTO_URL) as session:
        async with session.post("/v1/predict_sentiment", json={"model": "roberta", "input": texts}) as r:  #: site unknown
            return await r.json()


async def bento_image(prompt, negative=""):
    params = {"prompt": prompt, "negative_prompt": negative, "num_inference_steps": 30}
    timeout = aiohttp.ClientTimeout(total=300)
    async with aiohttp.ClientSession(timeout=timeout) as http, http.post(settings.BENTO_URL + "/txt2img", json=params) as r:  #: site unknown image
        return await r.read()


async def litellm_embed(lines):
    client = build_async_client()
    try:
        r = await client.post(  #: site unknown embeddings
            f"{settings.LLM_GATEWAY_URL}/embeddings",
            json={"model": settings.EMBEDDING_MODEL, "input": lines},
        )
        return [d["embedding"] for d in r.json()["data"]]
    finally:
        await client.aclose()


def litellm_new_key(user):
    body = {"user_id": str(user.pk), "models": ["gpt-4o"], "max_budget": 10}
    return get_session().post(f"{settings.LLM_GATEWAY_URL}/key/generate", json=body).json()["key"]  #: not


def litellm_spend(user):
    return get_session().get(f"{settings.LLM_GATEWAY_URL}/spend/logs", params={"user_id": user.pk}).json()  #: not


def litellm_count(messages):
    body = {"model": settings.CHAT_MODEL, "messages": messages}
    return get_session().post(f"{settings.LLM_GATEWAY_URL}/utils/token_counter", json=body).json()["total_tokens"]  #: not


def llama_cpp(text, grammar=None):
    body = {"prompt": text, "n_predict": 128, "cache_prompt": True}
    if grammar is not None:
        body["grammar"] = grammar
    return get_session().post("http://llama-cpp:8080/completion", json=body).json()["content"]  #: site unknown completion


def old_claude_proxy(text):
    data = {"prompt": f"\n\nHuman: {text}\n\nAssistant:", "model": "claude-2", "max_tokens_to_sample": 300}
    return get_session().post(PROXY + "/v1/complete", json=data).json()["completion"]  #: site


def llama_cpp_slots():
    return get_session().get("http://llama-cpp:8080/slots").json()  #: not
