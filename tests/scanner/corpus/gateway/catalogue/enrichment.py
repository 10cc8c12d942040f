"""Product texts, attributes and vectors, over the site's generic HTTP helpers."""
import logging

from django.conf import settings

from gateway.catalogue.models import Product
from gateway.core.http import APIClient, apost_json, build_async_client, post_json

logger = logging.getLogger(__name__)
LLM = settings.LLM_GATEWAY_URL
llm_api = APIClient(settings.LLM_GATEWAY_URL, token="t")
search_api = APIClient(settings.SEARCH_URL)


def describe(product: Product) -> str:
    payload = {
        "model": settings.CHAT_MODEL,
        "messages": [
            {"role": "system", "content": "Write two sentences."},
            {"role": "user", "content": product.raw_text},
        ],
    }
    reply = post_json(f"{LLM}/v1/chat/completions", payload, timeout=120)  #: site unknown chat
    return reply["choices"][0]["message"]["content"]


def vectors(products):
    texts = [p.name for p in products]
    body = {"model": settings.EMBEDDING_MODEL, "input": texts}
    return [row["embedding"] for row in post_json(LLM + "/v1/embeddings", body)["data"]]  #: site unknown embeddings


def openai_direct(product):
    return post_json(  #: site openai chat
        "https://api.openai.com/v1/chat/completions",
        {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": product.name}]},
        headers={"Authorization": f"Bearer {settings.OPENAI_KEY}"},
    )


async def translate(product, language):
    client = build_async_client()
    data = {"inputs": f"<2{language}> {product.name}", "parameters": {"max_new_tokens": 50}}
    answer = await apost_json(client, f"{settings.TGI_URL}/generate", data=data)  #: site unknown completion
    return answer["generated_text"]


def attributes(product):
    return llm_api.post("/v1/chat/completions", {"model": "qwen", "messages": [{"role": "user", "content": product.raw_text}]})  #: site unknown chat


def keywords(product):
    api = APIClient("https://api.together.xyz", token=settings.TOGETHER_KEY)
    return api.post("/v1/completions", {"model": "llama", "prompt": f"Keywords: {product.name}"})["choices"]  #: site together completion


def category(product):
    instances = [product.features()]
    url = f"{settings.KSERVE_INGRESS}/v1/models/category:predict"
    return post_json(url, {"instances": instances})["predictions"][0]  #: site unknown prediction


def index(product):
    search_api.post(f"/products/_doc/{product.pk}", {"name": product.name, "model": product.model})  #: not


def find(text):
    return search_api.post("/products/_search", {"query": {"match": {"name": text}}})["hits"]["hits"]  #: not


def crm_note(product, text):
    return post_json(f"{settings.CRM_URL}/notes", {"subject": product.name, "text": text})  #: not


def slack(text):
    post_json(settings.SLACK_WEBHOOK, {"text": text})  #: not


def payment(order):
    post_json("https://api.adyen.com/v71/payments", {"amount": order.total, "model": "instalments"})  #: not


async def ping(client):
    return await apost_json(client, f"{settings.REPORTS_URL}/ping", data={"from": "catalogue"})  #: not


def available_models():
    return llm_api.get("/v1/models")["data"]  #: not


def new_key(team):
    return llm_api.post("/key/generate", {"team": team, "models": ["qwen"]})  #: not
