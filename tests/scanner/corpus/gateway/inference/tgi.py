"""Text Generation Inference and Text Embeddings Inference."""
import json
from typing import Any

import requests
from django.conf import settings

TGI = getattr(settings, "TGI_URL", "http://tgi:8080")
TEI = getattr(settings, "TEI_URL", "http://tei:8080")


def _parameters(**extra: Any) -> dict[str, Any]:
    return {"max_new_tokens": 400, "do_sample": False, **extra}


def summarize(article) -> str:
    payload = {"inputs": f"Summarize:\n{article.text}", "parameters": _parameters()}
    r = requests.post(f"{TGI}/generate", data=json.dumps(payload), headers={"Content-Type": "application/json"})  #: site unknown completion
    r.raise_for_status()
    return r.json()["generated_text"]


def stream_summary(article):
    payload = {"inputs": article.text, "parameters": _parameters(details=True), "stream": True}
    with requests.post(TGI + "/generate_stream", json=payload, stream=True, timeout=90) as r:  #: site unknown completion
        for raw in r.iter_lines():
            if raw.startswith(b"data:"):
                yield json.loads(raw[5:])["token"]["text"]


def embed_batch(texts: list[str]) -> list[list[float]]:
    return requests.post(TEI.rstrip("/") + "/embed", json={"inputs": texts, "truncate": True}).json()  #: site unknown embeddings


def rerank(query: str, texts: list[str]):
    body = {"query": query, "texts": texts, "raw_scores": False}
    return requests.post("{}/rerank".format(TEI), json=body, timeout=5).json()  #: site unknown rerank


def legacy_root(text):
    """Before 1.0 we called the compatibility route at the root."""
    args = {"inputs": text}
    args.update(parameters=_parameters())
    return requests.post(TGI, json=args).json()[0]["generated_text"]  #: site unknown


def info():
    return requests.get(f"{TGI}/info").json()["model_id"]  #: not


def count_tokens(text):
    return len(requests.post(f"{TEI}/tokenize", json={"inputs": text}).json()[0])  #: not


def decode(ids):
    return requests.post(f"{TEI}/decode", json={"ids": ids}).json()  #: not


def metrics():
    return requests.get(f"{TGI}/metrics").text  #: not


def validate_form(values):
    """Our form builder also has `inputs`, of another sort."""
    return requests.post(f"{settings.FORMS_URL}/validate", json={"inputs": values, "schema": "contact"}).json()  #: not
