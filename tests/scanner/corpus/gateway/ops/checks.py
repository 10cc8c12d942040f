"""Health checks, reports, training and SQL: shapes of model calls without a model behind a wire."""
import datetime as dt

import algoliasearch.search_client
import httpx
import keras
import meilisearch
import sqlalchemy as sa
import torch
import typesense
from celery import chain, group
from django.conf import settings
from django.db import connection, connections
from elasticsearch import Elasticsearch
from keras.models import load_model
from reporting import ReportFactory, get_report, get_service
from sklearn.pipeline import make_pipeline
from torchvision.models import get_model
from transformers import AutoModelForCausalLM, AutoTokenizer

from gateway.core.http import build_async_client, get_session, post_json
from gateway.workers import tasks


def reachable():
    urls = [settings.VLLM_BASE_URL + "/health", settings.TGI_URL + "/health", f"{settings.TRITON_URL}/v2/health/ready"]
    return {url: get_session().get(url, timeout=1).ok for url in urls}  #: not


async def reachable_async():
    client = build_async_client(base_url=settings.LLM_GATEWAY_URL)
    return (await client.get("/health/liveliness")).status_code  #: not


def es():
    return Elasticsearch(settings.SEARCH_URL)


def search(text, vector):
    client = es()
    client.search(index="docs", query={"match": {"text": text}})  #: not
    client.search(index="docs", knn={"field": "embedding", "query_vector": vector})  #: not
    return client.index(index="docs", document={"text": text, "embedding": vector})  #: not


def search_raw(vector):
    body = {"query": {"knn": {"embedding": {"vector": vector, "k": 3}}}}
    return get_session().post(f"{settings.SEARCH_URL}/docs/_search", json=body).json()  #: not


def others(text):
    meilisearch.Client(settings.MEILI_URL).index("docs").search(text)  #: not
    typesense.Client({"api_key": "x"}).collections["docs"].documents.search({"q": text})  #: not
    return algoliasearch.search_client.SearchClient.create("a", "b").init_index("docs").search(text)  #: not


def sql(prompt):
    with connection.cursor() as cursor:
        cursor.execute("INSERT INTO prompts (text) VALUES (%s)", [prompt])  #: not
    with connections["replica"].cursor() as cursor:
        cursor.execute("SELECT model, count(*) FROM messages GROUP BY model")  #: not
    engine = sa.create_engine(settings.WAREHOUSE)
    with engine.connect() as db:
        stream = db.execution_options(stream_results=True).execute(sa.text("SELECT * FROM messages"))  #: not
        return list(stream)


def report(data):
    monthly = get_report("monthly")
    monthly.generate(data)  #: not
    yearly = ReportFactory.create("yearly")
    yearly.generate(data=data, since=dt.date.today())  #: not
    return yearly.render()  #: not


def service(name):
    exporter = get_service(name)
    exporter.run(dt.date.today())  #: not
    exporter.stream(open("/dev/null", "wb"))  #: not
    return exporter.complete()  #: not


def train(x, y):
    model = keras.Sequential([keras.layers.Dense(1)])
    model.fit(x, y)  #: not
    model.predict(x)  #: not
    make_pipeline().fit(x, y).predict(x)  #: not
    old = load_model("churn.keras")
    return old.predict(x)  #: not


def vision(batch):
    model = get_model("resnet50", weights="DEFAULT")
    model.eval()
    with torch.no_grad():
        return model(batch)  #: not


def local_text(prompt):
    tokenizer = AutoTokenizer.from_pretrained("gpt2")
    model = AutoModelForCausalLM.from_pretrained("gpt2")
    output = model.generate(**tokenizer(prompt, return_tensors="pt"), max_new_tokens=20)  #: not
    return tokenizer.decode(output[0])  #: not


def jobs(names):
    chain(tasks.first.s(), tasks.second.s())()  #: not
    group(tasks.first.s(name) for name in names).apply_async()  #: not
    return tasks.first.delay(names)  #: not


def deploy(version):
    post_json(f"{settings.DEPLOY_URL}/deployments", {"model": "site", "version": version, "inputs": {}})  #: not
    return httpx.post("https://sentry.io/api/0/organizations/corp/releases/", json={"version": version})  #: not


def weather(city):
    return get_session().post("https://weather.corp.example/forecast", json={"model": "icon-eu", "city": city}).json()  #: not


def translate_catalog(messages):
    """Messages of gettext."""
    return get_session().post(f"{settings.WEBLATE_URL}/api/translations/", json={"messages": messages}).json()  #: not


def car_listing(car):
    return get_session().post("https://cars.corp.example/api/offers", json={"make": car.make, "model": car.model, "input": car.fuel})  #: not
