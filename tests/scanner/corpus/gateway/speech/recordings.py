"""Recordings of calls: transcripts, voices and summaries from machines in our own racks."""
from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import requests
from django.conf import settings
from pydantic import BaseModel
from tenacity import retry, stop_after_attempt

RACK = "http://gpu-rack-2.lan:9000"
post = partial(requests.post, timeout=settings.RACK_TIMEOUT)
pool = ThreadPoolExecutor(4)


@dataclass
class Turn:
    role: str
    content: str


class Completion(BaseModel):
    model: str = "mistral-nemo"
    prompt: str
    max_tokens: int = 200


@contextmanager
def rack_session():
    session = requests.Session()
    session.auth = (settings.RACK_USER, settings.RACK_PASSWORD)
    try:
        yield session
    finally:
        session.close()


class HttpMixin:
    session_class = requests.Session
    _session = None

    @property
    def http(self):
        if self._session is None:
            self._session = self.session_class()
        return self._session


class Transcriber(HttpMixin):
    base = f"{RACK}/whisper"

    def transcribe(self, path: Path, language=None):
        form = {"model": "large-v3"}
        if language:
            form["language"] = language
        with path.open("rb") as handle:
            return self.http.post(self.base + "/v1/audio/transcriptions", files={"file": handle}, data=form).json()["text"]  #: site unknown transcription

    def short(self, data: bytes):
        return self.http.post(f"{self.base}/asr", params={"output": "json"}, files={"audio_file": data}).json()["text"]  #: site

    def languages(self):
        return self.http.get(self.base + "/languages").json()  #: not

    def archive(self, path: Path):
        with path.open("rb") as handle:
            self.http.post(f"{settings.ARCHIVE_URL}/recordings", files={"file": handle}, data={"model": "zoom-h4"})  #: not


def speak(text, voice="nova"):
    body = {"model": "kokoro", "input": text, "voice": voice}
    return post(RACK + "/v1/audio/speech", json=body).content  #: site unknown speech


@retry(stop=stop_after_attempt(3))
def summary(turns: list[Turn]):
    body = {"model": "mistral-nemo", "messages": [asdict(turn) for turn in turns]}
    with rack_session() as session:
        return session.post(RACK + "/summaries", json=body).json()  #: site unknown chat


def next_words(text):
    completion = Completion(prompt=text)
    with rack_session() as session:
        reply = session.post(f"{RACK}/complete", json=completion.model_dump())  #: site unknown completion
    return reply.json()["text"]


def from_row(endpoint, turns):
    """`endpoint` is a row of the database: address, token and model."""
    body = {"model": endpoint.model, "stream": False}
    body |= {"messages": [{"role": t.role, "content": t.content} for t in turns]}
    return requests.post(endpoint.url, json=body, headers={"Authorization": endpoint.token}).json()  #: site unknown chat


def in_pool(prompts):
    url = RACK + "/generate"
    futures = [pool.submit(requests.post, url, json={"inputs": prompt}) for prompt in prompts]  #: site unknown completion
    return [future.result().json() for future in futures]


async def in_thread(messages):
    body = {"model": "mistral-nemo", "messages": messages}
    response = await asyncio.to_thread(requests.post, f"{RACK}/v1/chat/completions", json=body)  #: site unknown chat
    return response.json()


async def ticket_in_thread(recording):
    await asyncio.to_thread(requests.post, settings.CRM_URL + "/calls", json={"id": recording.pk})  #: not


def hang_up(call):
    post(f"{settings.PBX_URL}/calls/{call}/complete", json={"reason": "prompt ended"})  #: not


def play_prompt(call, name):
    """A prompt is a sound file of the telephone system."""
    post(f"{settings.PBX_URL}/calls/{call}/play", json={"prompt": name, "mode": "queue"})  #: not


def publish(recording):
    with rack_session() as session:
        session.post(f"{settings.CRM_URL}/recordings", json={"title": recording.title, "input": recording.line})  #: not


def in_pool_webhooks(urls, event):
    return [pool.submit(requests.post, url, json={"event": event}) for url in urls]  #: not
