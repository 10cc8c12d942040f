"""Workers of the queue, which have the standard library and what the base image brings."""
import http.client
import io
import json
import os
import ssl
import urllib.request
from urllib.error import HTTPError
from urllib.parse import urlencode, urlsplit

import certifi
import niquests
import pycurl
import urllib3
from tornado.httpclient import AsyncHTTPClient, HTTPClient, HTTPRequest

POOL = urllib3.PoolManager(num_pools=4, ca_certs=certifi.where())
GATEWAY = os.environ["LLM_GATEWAY"]
TIMEOUT = urllib3.Timeout(connect=2, read=60)


def encode(messages, model="llama-3.1-8b"):
    return json.dumps({"model": model, "messages": messages}).encode()


def with_urllib(messages):
    request = urllib.request.Request(f"{GATEWAY}/chat", data=encode(messages), method="POST")
    request.add_header("Content-Type", "application/json")
    try:
        with urllib.request.urlopen(request, timeout=60, context=ssl.create_default_context()) as answer:  #: site unknown chat
            return json.load(answer)
    except HTTPError as error:
        raise RuntimeError(error.read()) from error


def with_opener(prompt):
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    body = json.dumps({"inputs": prompt, "parameters": {"max_new_tokens": 20}}).encode("utf-8")
    req = urllib.request.Request(GATEWAY + "/generate", body, {"Content-Type": "application/json"})
    return json.loads(opener.open(req).read())["generated_text"]  #: site unknown completion


def with_http_client(texts):
    parts = urlsplit(GATEWAY)
    connection = http.client.HTTPSConnection(parts.netloc, timeout=30)
    body = json.dumps({"model": "e5-large", "input": texts})
    connection.request("POST", "/embed", body=body, headers={"Content-Type": "application/json"})  #: site unknown embeddings
    response = connection.getresponse()
    return json.loads(response.read())["data"]


def with_pool(messages):
    response = POOL.request("POST", GATEWAY + "/v1/chat/completions", body=encode(messages), timeout=TIMEOUT)  #: site unknown chat
    return json.loads(response.data)


def with_pool_json(query, documents):
    body = {"model": "jina-reranker", "query": query, "documents": documents, "top_n": 3}
    return urllib3.request("POST", f"{GATEWAY}/rerank", json=body).json()["results"]  #: site unknown rerank


def with_urlopen(rows):
    http_pool = urllib3.HTTPConnectionPool("kserve.ml", port=80, maxsize=2)
    encoded = json.dumps({"instances": rows}).encode()
    return http_pool.urlopen("POST", "/v1/models/churn:predict", body=encoded, headers={"Host": "churn.ml"}).data  #: site unknown prediction


def with_niquests(prompt):
    with niquests.Session(multiplexed=True) as session:
        answer = session.post(f"{GATEWAY}/completion", json={"prompt": prompt, "n_predict": 64})  #: site unknown completion
        session.gather()
        return answer.json()["content"]


async def with_niquests_async(messages):
    async with niquests.AsyncSession() as session:
        reply = await session.post(GATEWAY + "/chat", json={"model": "phi-4", "messages": messages})  #: site unknown chat
        return reply.json()


async def with_tornado(messages):
    client = AsyncHTTPClient()
    response = await client.fetch(  #: site unknown chat
        f"{GATEWAY}/v1/chat/completions",
        method="POST",
        body=encode(messages),
        request_timeout=120,
    )
    return json.loads(response.body)


def with_tornado_request(text):
    request = HTTPRequest(
        url="http://tgi:8080/generate",
        method="POST",
        headers={"Content-Type": "application/json"},
        body=json.dumps({"inputs": text}),
    )
    return json.loads(HTTPClient().fetch(request).body)["generated_text"]  #: site unknown completion


def with_curl(messages):
    buffer = io.BytesIO()
    c = pycurl.Curl()
    c.setopt(c.URL, "https://api.openai.com/v1/chat/completions")
    c.setopt(c.POSTFIELDS, encode(messages))
    c.setopt(c.WRITEDATA, buffer)
    c.perform()  #: site openai chat
    c.close()
    return json.loads(buffer.getvalue())


def fetch_feed(url):
    c = pycurl.Curl()
    buffer = io.BytesIO()
    c.setopt(c.URL, url)
    c.setopt(c.WRITEDATA, buffer)
    c.perform()  #: not
    return buffer.getvalue()


def models():
    return json.load(urllib.request.urlopen(f"{GATEWAY}/v1/models"))  #: not


def recaptcha(token):
    data = urlencode({"secret": os.environ["RECAPTCHA"], "response": token}).encode()
    return json.load(urllib.request.urlopen("https://www.google.com/recaptcha/api/siteverify", data))["success"]  #: not


def sms(number, text):
    connection = http.client.HTTPSConnection("api.sms.example")
    connection.request("POST", "/messages", body=json.dumps({"to": number, "messages": [text]}))  #: not
    return connection.getresponse().status


def search_index(query):
    return POOL.request("POST", "http://opensearch:9200/_search", body=json.dumps({"query": query, "size": 5})).data  #: not


async def callback(url, job):
    await AsyncHTTPClient().fetch(url, method="POST", body=json.dumps({"job": job, "model": "importer"}))  #: not


def invoice(session: niquests.Session, order):
    return session.post("https://billing.corp.example/generate", json={"order": order.pk, "format": "pdf"})  #: not
