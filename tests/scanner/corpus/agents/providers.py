import base64

import boto3
import cohere
import dashscope
import google.generativeai as genai
import ollama
import replicate
import vertexai
import voyageai
from elevenlabs.client import ElevenLabs
from google import genai as new_genai
from google.genai import types
from groq import Groq
from huggingface_hub import InferenceClient
from mistralai import Mistral
from ollama import Client as OllamaClient, chat
from together import Together
from vertexai.generative_models import GenerativeModel
from zhipuai import ZhipuAI

genai.configure(api_key="x")
vertexai.init(project="x")


def google(text):
    model = genai.GenerativeModel("gemini-pro")
    model.generate_content(text)  #: site google chat
    model.count_tokens(text)  #: not
    session = model.start_chat(history=[])
    session.send_message(text)  #: site google chat
    genai.embed_content(model="x", content=text)  #: site google embeddings
    genai.list_models()  #: not
    genai.upload_file("x")  #: not
    GenerativeModel("gemini").generate_content([text])  #: site google chat
    client = new_genai.Client(api_key="x")
    client.models.generate_content(model="x", contents=text)  #: site google chat
    client.models.embed_content(model="x", contents=text)  #: site google embeddings
    client.models.list()  #: not
    client.models.count_tokens(model="x", contents=text)  #: not
    client.files.upload(file="x")  #: not
    types.GenerateContentConfig(temperature=0)  #: not
    talk = client.chats.create(model="x")  #: not
    talk.send_message(text)  #: site google chat
    for chunk in client.models.generate_content_stream(model="x", contents=text):  #: site google chat
        print(chunk)


async def asynchronous(text):
    client = new_genai.Client()
    await client.aio.models.generate_content(model="x", contents=text)  #: site google chat
    talk = client.aio.chats.create(model="x")
    await talk.send_message(text)  #: site google chat
    return await genai.GenerativeModel("x").generate_content_async(text)  #: site google chat


def amazon(text):
    bedrock = boto3.client("bedrock-runtime", region_name="us-east-1")
    bedrock.invoke_model(modelId="x", body=text)  #: site aws chat
    bedrock.converse(modelId="x", messages=[])  #: site aws chat
    boto3.Session().client(service_name="bedrock-runtime").converse_stream(modelId="x")  #: site aws chat
    agents = boto3.client("bedrock-agent-runtime")
    agents.retrieve_and_generate(input={})  #: site aws chat
    agents.invoke_agent(agentId="x", sessionId="y", inputText=text)  #: site aws agent
    boto3.client("s3").put_object(Bucket="x", Key="y", Body=text)  #: not
    boto3.client("lambda").invoke(FunctionName="x")  #: not
    boto3.client("bedrock").list_foundation_models()  #: not
    boto3.client("sns").publish(Message=text)  #: not
    boto3.client("events").invoke_api(text)  #: not


def others(text):
    co = cohere.Client("x")
    co.chat(message=text)  #: site cohere chat
    co.embed(texts=[text], model="x")  #: site cohere embeddings
    co.rerank(query=text, documents=[])  #: site cohere rerank
    co.tokenize(text=text)  #: not
    Mistral(api_key="x").chat.complete(model="x", messages=[])  #: site mistral chat
    Groq().chat.completions.create(model="x", messages=[])  #: site groq chat
    Groq().audio.transcriptions.create(file=b"", model="x")  #: site groq transcription
    ollama.chat(model="x", messages=[])  #: site ollama chat
    ollama.generate(model="x", prompt=text)  #: site ollama completion
    ollama.embeddings(model="x", prompt=text)  #: site ollama embeddings
    ollama.list()  #: not
    ollama.pull("x")  #: not
    OllamaClient(host="x").chat(model="x", messages=[])  #: site ollama chat
    chat(model="x", messages=[])  #: site ollama chat
    Together().chat.completions.create(model="x", messages=[])  #: site together chat
    replicate.run("owner/model", input={})  #: site replicate prediction
    replicate.Client(api_token="x").run("owner/model")  #: site replicate prediction
    replicate.models.get("x")  #: not
    hf = InferenceClient(token="x")
    hf.text_generation(text)  #: site huggingface completion
    hf.chat_completion(messages=[])  #: site huggingface chat
    hf.feature_extraction(text)  #: site huggingface embeddings
    hf.text_to_image(text)  #: site huggingface image
    hf.get_model_status("x")  #: not
    voyageai.Client().embed([text], model="x")  #: site voyageai embeddings
    ElevenLabs().text_to_speech.convert(text=text, voice_id="x")  #: site elevenlabs speech
    ElevenLabs().voices.get_all()  #: not
    dashscope.Generation.call(model="qwen", messages=[])  #: site dashscope chat
    ZhipuAI(api_key="x").chat.completions.create(model="glm-4", messages=[])  #: site openai chat
    base64.b64encode(b"x")  #: not
