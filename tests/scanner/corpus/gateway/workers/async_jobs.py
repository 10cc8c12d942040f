"""aiohttp jobs; the session lives as long as the worker."""
import asyncio
import json

import aiohttp
from django.conf import settings


class Runner:
    endpoint = settings.VLLM_BASE_URL

    def __init__(self):
        self._session: aiohttp.ClientSession | None = None
        self.semaphore = asyncio.Semaphore(8)

    async def session(self) -> aiohttp.ClientSession:
        if self._session is None or self._session.closed:
            self._session = aiohttp.ClientSession(json_serialize=json.dumps)
        return self._session

    async def rewrite(self, text):
        http = await self.session()
        async with self.semaphore:
            async with http.post(self.endpoint + "/v1/chat/completions", json=self.payload(text)) as response:  #: site unknown chat
                response.raise_for_status()
                return await response.json()

    def payload(self, text):
        messages = [{"role": "system", "content": "Rewrite."}, {"role": "user", "content": text}]
        return {"model": settings.CHAT_MODEL, "messages": messages}

    async def complete(self, text):
        session = await self.session()
        response = await session.request("POST", f"{self.endpoint}/generate", json={"prompt": text, "n": 2})  #: site unknown completion
        return await response.json()

    async def embed(self, rows):
        body = {"inputs": [row.text for row in rows], "normalize": True}
        async with (await self.session()).post(settings.TEI_URL + "/embed", data=json.dumps(body)) as r:  #: site unknown embeddings
            return await r.json()

    async def health(self):
        http = await self.session()
        async with http.get(self.endpoint + "/health") as r:  #: not
            return r.status == 200

    async def publish(self, row):
        http = await self.session()
        async with http.post(f"{settings.CRM_URL}/publish", json={"text": row.text, "messages": 0}) as r:  #: not
            return r.status

    async def store(self, name, content):
        http = await self.session()
        await http.put(f"{settings.BUCKET_URL}/{name}", data=content)  #: not


def moderate_all(comments):
    async def one(session, comment):
        payload = {"model": "llama-guard", "messages": []}
        payload["messages"].append({"role": "user", "content": comment.text})
        async with session.post(f"{settings.LLM_GATEWAY_URL}/guard", json=payload) as r:  #: site unknown
            return (await r.json())["choices"][0]["message"]["content"] == "safe"

    async def everyone():
        async with aiohttp.ClientSession() as session:
            return await asyncio.gather(*[one(session, comment) for comment in comments])

    return asyncio.run(everyone())


async def report_progress(job):
    async with aiohttp.ClientSession() as session:
        await session.post(settings.PROGRESS_URL, json={"job": job.pk, "percent": job.percent})  #: not
