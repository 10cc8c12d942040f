"""SDKs that one site in a hundred has."""

import os

import requests
import speech_recognition
from chromadb.utils.embedding_functions import (
    DefaultEmbeddingFunction,
    OpenAIEmbeddingFunction,
)
from django.conf import settings
from gigachat import GigaChat
from pinecone import Pinecone
from sparkai.llm.llm import ChatSparkLLM
from stability_sdk import client as stability
from tencentcloud.hunyuan.v20230901 import hunyuan_client
from xinference_client import Client


def talk(question):
    with GigaChat(credentials=os.environ["GIGACHAT"]) as giga:
        giga.chat(question)  #: site gigachat chat
        giga.get_models()  #: not
    ChatSparkLLM(spark_app_id="x").generate([question])  #: site spark chat
    hunyuan_client.HunyuanClient(None, "x").ChatCompletions(question)  #: site hunyuan chat
    model = Client("http://localhost:9997").get_model("qwen")
    return model.chat(question)  #: site xinference chat


def hear(audio):
    recognizer = speech_recognition.Recognizer()
    recognizer.recognize_whisper_api(audio)  #: site others transcription
    return recognizer.recognize_sphinx(audio)  #: not


def paint(text):
    return stability.StabilityInference(key="x").generate(prompt=text)  #: site stability image


def place(texts):
    pinecone = Pinecone(api_key="x")
    pinecone.inference.embed(model="e5", inputs=texts)  #: site pinecone embeddings
    pinecone.Index("texts").query(vector=[0.1])  #: not
    OpenAIEmbeddingFunction(api_key="x")(texts)  #: site openai embeddings
    return DefaultEmbeddingFunction()(texts)  #: not


def named_by_a_setting(body):
    endpoint = getattr(settings, "TUTOR_CHAT_COMPLETION_API", None)
    requests.post(endpoint, data=body)  #: site unknown request
    requests.post(f"{settings.GATEWAY}/agent/chat_completion/", json=body)  #: site unknown chat
    requests.post("https://modelslab.com/api/v6/images/text2img", json=body)  #: site modelslab request
    requests.post("https://modelslab.com/api/v6/images/fetch/7", json=body)  #: not
    return requests.post(settings.NOTIFY_ENDPOINT, data=body)  #: not
