"""HTTP requests without an SDK: to servers of one's own, and through helpers of the project."""

from __future__ import annotations

import pytest

from tests.scanner.trees import only_finding, scan_tree

IMPORTS = """\
import asyncio, functools, json, posixpath
from dataclasses import asdict, dataclass
from threading import Thread
from urllib.parse import urljoin
import aiohttp, httpx, httpx2, requests, urllib3
from asgiref.sync import sync_to_async
from yarl import URL
MODELS = "http://models:9000"
@dataclass
class Completion:
    prompt: str
    max_tokens: int = 5
post_text = functools.partial(requests.post, MODELS + "/generate")
def ask(q, settings, messages):
"""

REQUESTS = [
    # the body
    'payload = {"temperature": 0}\n    payload.setdefault("prompt", q)\n'
    '    requests.post(settings.ANY, json={**payload, "max_tokens": 3})',
    "requests.post(settings.ANY, json=asdict(Completion(q)))",
    'payload = {"model": "m"}\n    payload |= {"messages": messages}\n'
    "    requests.post(settings.ANY, data=json.dumps(payload).encode())",
    'requests.post(MODELS + "/transcribe", files={"audio": q})',
    # the URL
    'httpx.post(URL(MODELS) / "generate", json={"prompt": q})',
    'httpx.post(httpx.URL(MODELS).join("/embed"), json={"inputs": q})',
    'httpx.post(posixpath.join(MODELS, "rerank"), json={"query": q, "texts": []})',
    'httpx.post(urljoin(MODELS, "/v1/models/x:predict"), json={"instances": [q]})',
    'httpx2.Client(base_url=MODELS).post("/generate", json={"prompt": q})',
    'httpx.post("%(base)s/generate" % {"base": MODELS}, json={"prompt": q})',
    'requests.post("{base}/generate".format(base=MODELS), json={"prompt": q})',
    'url = MODELS\n    url += "/generate"\n    requests.post(url, json={"prompt": q})',
    # the call
    'urllib3.PoolManager().request("POST", MODELS + "/generate", body=json.dumps({"prompt": q}))',
    'requests.request(url=MODELS + "/generate", method="POST", json={"prompt": q})',
    'asyncio.to_thread(requests.post, MODELS + "/generate", json={"prompt": q})',
    'sync_to_async(requests.post)(MODELS + "/generate", json={"prompt": q})',
    'Thread(target=requests.post, args=(MODELS + "/generate",), kwargs={"json": {"prompt": q}})',
    'post_text(json={"prompt": q})',
    'prepared = requests.Request("POST", MODELS + "/generate", json={"prompt": q}).prepare()\n'
    "    requests.Session().send(prepared)",
]

OTHER_REQUESTS = [
    'requests.request("GET", MODELS + "/generate", json={"prompt": q})',
    'requests.post(MODELS + "/tokenize", json={"model": "m", "prompt": q})',
    'requests.post(MODELS + "/v1/messages/count_tokens", json={"model": "m", "messages": q})',
    'requests.post("https://pdf.example/generate", json={"template": q})',
    'requests.post("https://cloud.example/v1/instances", json={"instances": [q], "region": "eu"})',
    'requests.post("https://auth.example/authorize", data={"prompt": "consent"})',
    'requests.post("https://cars.example/offers", json={"model": "x", "input": q})',
    'requests.post("https://rooms.example/chat", json={"text": q})',
]


@pytest.mark.parametrize("code", REQUESTS)
def test_request_to_a_model_is_found(tmp_path, code):
    finding = only_finding(tmp_path, f"{IMPORTS}    {code}\n")

    assert finding.confidence == "likely"


@pytest.mark.parametrize("code", OTHER_REQUESTS)
def test_other_request_is_not_found(tmp_path, code):
    assert scan_tree(tmp_path, {"app/views.py": f"{IMPORTS}    {code}\n"}).findings == ()


HELPERS = """\
import requests

def submit(url, document, **options):
    return _send("POST", url, json=document, **options)

def _send(verb, url, **keywords):
    return requests.Session().request(verb, url, **keywords).json()

class Service:
    host = ""

    def __init__(self, version="v1"):
        self.root = f"https://{self.host}/{version}"

    def call(self, path, **fields):
        return submit(self.root + path, fields)
"""

CALLERS = """\
from asgiref.sync import sync_to_async
from core.rest import Service, submit

class Contacts(Service):
    host = "crm.example"

    def add(self, name):
        return self.call("/contacts", model=name, input=name)

class Chat(Service):
    host = "api.deepseek.com"

    def ask(self, messages):
        return self.call("/chat/completions", messages=messages)  # 14

def vector(text):
    return submit("http://models:9000/embed", {"inputs": text})  # 17

def note(text):
    return submit("https://crm.example/notes", {"inputs": text})

async def later(text):
    return await sync_to_async(submit)("http://models:9000/generate", {"prompt": text})  # 23
"""


def test_request_of_a_helper_is_found_at_the_callers_that_ask_a_model(tmp_path):
    report = scan_tree(
        tmp_path, {"core/__init__.py": "", "core/rest.py": HELPERS, "app/ai.py": CALLERS}
    )

    assert [(each.line, each.provider, each.kind) for each in report.findings] == [
        (14, "deepseek", "chat"),
        (17, "unknown", "embeddings"),
        (23, "unknown", "completion"),
    ]
    assert "https://api.deepseek.com/v1/chat/completions through _send() in" in (
        report.findings[0].reason
    )


def test_helper_that_asks_only_models_is_itself_the_call_site(tmp_path):
    finding = only_finding(
        tmp_path,
        """
        import requests

        def openai(path, body):
            return requests.post(f"https://api.openai.com/v1/{path}", json=body)

        def ask(messages):
            return openai("chat/completions", {"model": "m", "messages": messages})

        def vector(text):
            return openai("embeddings", {"model": "m", "input": text})
        """,
    )

    assert (finding.line, finding.provider) == (4, "openai")


def test_request_with_an_absolute_url_does_not_go_to_the_base_of_its_client(tmp_path):
    report = scan_tree(
        tmp_path,
        {
            "app/views.py": """
            import httpx
            client = httpx.Client(base_url="https://api.mistral.ai")

            def contact(data):
                return client.send(httpx.Request("POST", "https://crm.example/x", json=data))
            """
        },
    )

    assert report.findings == ()


STATUSES = {
    '"http://own/v1/chat/completions", json={"model": "m", "messages": q}': "captured",
    '"http://own/rerank", json={"model": "m", "query": q, "documents": []}': "captured",
    # answers of a form that capture does not know
    '"http://own/rerank", json={"query": q, "texts": []}': "invisible",
    '"http://own/v1/models/x:predict", json={"instances": [q]}': "invisible",
    '"http://own/generate", json={"inputs": q}': "invisible",
    'settings.ANY_URL, json={"model": "m", "messages": q}': "unknown",
}


@pytest.mark.parametrize("arguments", STATUSES)
def test_status_is_what_capture_does_with_the_path(tmp_path, arguments):
    finding = only_finding(
        tmp_path, f"import requests\ndef ask(q, settings):\n    requests.post({arguments})\n"
    )

    assert finding.status == STATUSES[arguments]
