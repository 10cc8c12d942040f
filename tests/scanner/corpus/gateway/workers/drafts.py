"""Requests to the racks in the cellar, and to the services beside them."""

import functools
import json

import aiohttp
import httpx
import requests
import tritonclient.grpc as triton_grpc
import tritonclient.grpc.aio as triton_aio
import tritonclient.http as triton_http
import websocket
import websockets
from pydantic import BaseModel

from django.conf import settings


class Rack:
    """One method for all paths."""

    PATHS = {"talk": "/v1/chat/completions", "vector": "/v1/embeddings", "names": "/v1/models"}

    def __init__(self, address):
        self.address = address
        self.web = httpx.Client(timeout=9)

    def ask(self, verb, what, **rest):
        return getattr(self.web, verb)(self.address + self.PATHS[what], **rest).json()

    def talk(self, turns):
        return self.ask("post", "talk", json={"model": "phi", "messages": turns})  #: site unknown chat

    def vector(self, words):
        return self.ask("post", what="vector", json={"model": "gte", "input": words})  #: site unknown embeddings

    def names(self):
        return self.ask("get", "names")  #: not


def transmit(address, document, *, seconds=4):
    return requests.post(address, json=document, timeout=seconds).json()


complete = functools.partial(transmit, "http://rack-2:8000/v1/completions", seconds=90)  #: not
enlist = functools.partial(transmit, "http://staff:8000/people")  #: not


def finish(sentence):
    return complete({"model": "phi", "prompt": sentence})  #: site unknown completion


def enlist_person(name):
    return enlist({"name": name})  #: not


class Sender:
    def __init__(self, root):
        self.embed = functools.partial(self.transmit, root + "/v1/embeddings")

    def transmit(self, address, document):
        return requests.post(address, json=document).json()

    def vectors(self, words):
        return self.embed({"input": words})  #: site unknown embeddings

    def note(self, words):
        return self.transmit("http://staff:8000/remarks", {"input": words})  #: not


def queued(job, sentence):
    job = requests.post(f"https://jobs.example/v2/{job}/runsync", json={"input": {"prompt": sentence}})  #: site unknown
    return job.json()


def wrapped(sentence):
    turns = [{"role": "user", "content": sentence}]
    return requests.post("http://rack-3:9000/work", json={"data": {"messages": turns}}).json()  #: site unknown chat


def wrapped_image(sentence):
    body = {"payload": {"prompt": sentence, "negative_prompt": "blur"}}
    return httpx.post(settings.STUDIO_URL, content=json.dumps(body)).json()  #: site unknown image


def wrapped_order(item):
    return requests.post("http://shop:9000/orders", json={"data": {"items": [item]}}).json()  #: not


def wrapped_flow(item):
    return requests.post("http://flows:9000/runs", json={"conf": {"prompt": item}}).json()  #: not


def warm(sentence):
    return requests.post("http://rack-4:9000/reply", json={"prompt": sentence, "temperature": 0.2}).text  #: site unknown completion


def until(sentence, address):
    return requests.post(address, json={"prompt": sentence, "stop": ["\n"]}).text  #: site unknown completion


def streamed(sentence, address):
    return httpx.post(address, json={"prompt": sentence, "stream": True, "top_k": 3}).text  #: site unknown completion


def turns(sentence, address):
    lines = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": sentence}]
    return httpx.post(address, json={"messages": lines}).json()  #: site unknown chat


def letters(sentence, address):
    return httpx.post(address, json={"messages": [{"to": "a@example.com", "content": sentence}]}).json()  #: not


def socket_reply(sentence):
    line = websocket.create_connection("ws://rack-5:5005/stream")
    line.send(json.dumps({"prompt": sentence, "max_new_tokens": 60}))  #: site unknown completion
    return line.recv()


async def socket_turns(sentence):
    async with websockets.connect("ws://rack-5:5006/turns") as line:
        await line.send(json.dumps({"messages": [{"role": "user", "content": sentence}]}))  #: site unknown chat
        return await line.recv()


async def socket_of_session(sentence):
    async with aiohttp.ClientSession() as web, web.ws_connect("ws://rack-5:5007/go") as line:
        await line.send_json({"prompt": sentence, "temperature": 0})  #: site unknown completion


async def socket_prices(share):
    async with websockets.connect("wss://prices.example/feed") as line:
        await line.send(json.dumps({"subscribe": share, "input": "bid"}))  #: not


def tensors(tensor):
    return triton_http.InferenceServerClient("rack-6:8000").infer("phi", [tensor])  #: site unknown prediction


def tensors_by_grpc(tensor):
    server = triton_grpc.InferenceServerClient("rack-6:8001")
    server.load_model("phi")  #: not
    return server.infer(model_name="phi", inputs=[tensor])  #: site unknown prediction


async def tensors_later(tensor):
    async with triton_aio.InferenceServerClient("rack-6:8001") as server:
        return await server.infer("phi", [tensor])  #: site unknown prediction


class BoatIn(BaseModel):
    model: str
    prompt: str = ""


def other_services(model, query, rows, document):
    requests.post("http://harbour/boats", json=BoatIn(model=model).model_dump())  #: not
    requests.post("http://harbour/boats", json={"model": model, "prompt": query})  #: not
    requests.post("https://hooks.slack.com/services/T/B", json={"model": model, "prompt": query})  #: not
    requests.post("https://eu1.make.com/abc", json={"model": model, "messages": query})  #: not
    requests.post("http://shop/invoices/generate", json={"model": model, "input": document})  #: not
    requests.post("http://shop/password/generate", json={"inputs": query})  #: not
    requests.post("http://reports.example/generate", json={"prompt": query})  #: not
    requests.post("http://scores:5000/invocations", json={"dataframe_split": rows})  #: not
    requests.post("http://scores:5000/invocations", json={"dataframe_records": rows})  #: not
    requests.post("http://desk/remarks", json={"model": "Remark", "input": query, "messages": []})  #: not


def test_reply(browser):
    answer = browser.post("/chat", json={"messages": [{"role": "user", "content": "hi"}]})  #: not
    assert answer.ok
