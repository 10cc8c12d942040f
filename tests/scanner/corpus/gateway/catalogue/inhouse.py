"""Clients whose own helper method talks to models only, or to everything."""
import abc

import requests
from django.conf import settings

from gateway.core.http import BaseService, ServiceError


class ModelServer(abc.ABC):
    """Serves models and nothing else: its one request is every caller's."""

    root: str

    def __init__(self):
        self._session = requests.Session()

    def _generate(self, path, prompt, **params):
        body = {"prompt": prompt, "model": self.model_name(), **params}
        response = self._session.post(self.root + path, json=body, timeout=60)  #: site unknown
        if response.status_code == 429:
            raise ServiceError("busy")
        return response.json()["text"]

    @abc.abstractmethod
    def model_name(self): ...


class Writer(ModelServer):
    root = settings.WRITER_URL

    def model_name(self):
        return "writer-13b"

    def title(self, text):
        return self._generate("/generate", f"Title: {text}", max_tokens=20)  #: not

    def teaser(self, text):
        return self._generate("/generate", f"Teaser: {text}")  #: not


class Platform(BaseService):
    """The platform team's API: users, jobs, and among others a model."""

    service_url = settings.PLATFORM_URL

    def _request(self, method, path, **kwargs):
        response = self.session.request(method, self.url(path), headers=self.headers(), **kwargs)  #: not
        response.raise_for_status()
        return response.json()

    def user(self, pk):
        return self._request("GET", f"/users/{pk}")  #: not

    def invite(self, email):
        return self._request("POST", "/invitations", json={"email": email})  #: not

    def job(self, name, inputs):
        return self._request("POST", "/jobs", json={"name": name, "schedule": inputs})  #: not

    def chat(self, messages):
        return self._request("POST", "/ai/chat", json={"model": "platform-large", "messages": messages})  #: site unknown chat

    def embed(self, texts):
        body = {"input": texts, "model": "platform-embed"}
        return self._request("POST", "/ai/embeddings", json=body)["data"]  #: site unknown embeddings

    def moderate(self, text):
        return self._request("POST", "/ai/v1/moderations", json={"input": text, "model": "platform-guard"})["flagged"]  #: site unknown moderation
