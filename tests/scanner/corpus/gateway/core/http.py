"""HTTP plumbing that every app of the site uses."""
import logging
import threading

import httpx
import requests
from requests.adapters import HTTPAdapter
from urllib3.util.retry import Retry

log = logging.getLogger(__name__)
_local = threading.local()


def get_session() -> requests.Session:
    """One session per thread, with retries."""
    if getattr(_local, "session", None) is None:
        session = requests.Session()
        adapter = HTTPAdapter(max_retries=Retry(total=3, backoff_factor=0.3))
        session.mount("http://", adapter)
        session.mount("https://", adapter)
        _local.session = session
    return _local.session


def build_async_client(base_url="", **kwargs):
    kwargs.setdefault("timeout", httpx.Timeout(60, connect=5))
    return httpx.AsyncClient(base_url=base_url, **kwargs)


def auth_headers(token):
    return {"Authorization": f"Bearer {token}", "Accept": "application/json"}


class ServiceError(Exception):
    pass


def post_json(url, payload, timeout=30, headers=None):
    """Post to any service, ours or other people's."""
    response = get_session().post(url, json=payload, timeout=timeout, headers=headers)  #: not
    if response.status_code >= 400:
        raise ServiceError(f"{url} answered {response.status_code}")
    return response.json()


async def apost_json(client, url, *, data):
    response = await client.post(url, json=data)  #: not
    response.raise_for_status()
    return response.json()


class APIClient:
    """Thin JSON client; one instance per remote service."""

    def __init__(self, base, token=None, timeout=20):
        self.base = base.rstrip("/")
        self.timeout = timeout
        self._http = get_session()
        self._headers = auth_headers(token) if token else {}

    def _send(self, method, path, **kwargs):
        response = self._http.request(method, self.base + path, headers=self._headers, timeout=self.timeout, **kwargs)  #: not
        response.raise_for_status()
        return response.json()

    def get(self, path, **params):
        return self._send("GET", path, params=params)  #: not

    def post(self, path, body):
        return self._send("POST", path, json=body)  #: not


class BaseService:
    """Base of the clients of internal services: subclasses name the host."""

    service_url = None
    timeout = 30

    def __init__(self, tenant=None):
        self.tenant = tenant
        self.session = get_session()
        self.http = httpx.Client(timeout=self.timeout)

    def headers(self):
        return {"X-Tenant": str(self.tenant or "default")}

    def url(self, path):
        return f"{self.service_url}{path}"
