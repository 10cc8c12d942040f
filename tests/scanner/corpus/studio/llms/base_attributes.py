"""Attributes that validators and base classes set."""

from typing import Any, Dict, Optional

import anthropic
import attr
import openai
import voyageai
from celery import Task, shared_task
from langchain.agents import AgentExecutor
from langchain.chains import ConversationChain, LLMChain, RetrievalQA
from langchain.chains.base import Chain
from langchain_core.embeddings import Embeddings
from langchain_core.language_models.llms import LLM
from langchain_core.language_models.chat_models import SimpleChatModel
from langchain_core.prompts import PromptTemplate
from langchain_google_genai import ChatGoogleGenerativeAI
from langchain_openai import AzureChatOpenAI
from ollama import Client as OllamaClient
from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, model_validator
from rest_framework import viewsets
from rest_framework.response import Response

from django.core.management.base import BaseCommand
from django.utils.functional import cached_property
from django.views.generic import FormView

from studio.web.models import Note


class PlatformChat(SimpleChatModel):
    client: Any = None
    async_client: Any = None
    sync_store: Any = None
    base_url: str = "http://models.internal/v1"

    @model_validator(mode="before")
    @classmethod
    def build(cls, values: Dict) -> Dict:
        params = {"base_url": values.get("base_url"), "api_key": "x"}
        values["client"] = openai.OpenAI(**params).chat.completions
        values["async_client"] = openai.AsyncOpenAI(**params).chat.completions
        values["sync_store"] = Note.objects
        return values

    def _call(self, messages, stop=None, run_manager=None, **kwargs):
        self.sync_store.create(text=str(messages))  #: not
        response = self.client.create(model="house", messages=messages)  #: site openai chat
        return response.choices[0].message.content

    async def _acall(self, messages):
        return await self.async_client.create(model="house", messages=messages)  #: site openai chat

    @property
    def _llm_type(self):
        return "platform"


class OllamaRaw(LLM):
    host: str
    _client: OllamaClient = PrivateAttr()

    def model_post_init(self, context):
        self._client = OllamaClient(host=self.host)

    def _call(self, prompt: str, stop: Optional[list] = None, run_manager=None, **kwargs) -> str:
        return self._client.generate(model="llama3", prompt=prompt)["response"]  #: site ollama completion

    def pull(self):
        return self._client.pull("llama3")  #: not

    @property
    def _llm_type(self):
        return "ollama-raw"


class VoyageRaw(BaseModel, Embeddings):
    model_config = ConfigDict(arbitrary_types_allowed=True)
    client: voyageai.Client = Field(default_factory=voyageai.Client)

    def embed_documents(self, texts):
        return self.client.embed(texts, model="voyage-3").embeddings  #: site voyageai embeddings

    def embed_query(self, text):
        return self.embed_documents([text])[0]  #: not


class Checked(BaseModel):
    model_config = ConfigDict(arbitrary_types_allowed=True)
    client: Any = None

    @model_validator(mode="after")
    def connect(self):
        self.client = self.client or anthropic.Anthropic()
        return self

    def check(self, text):
        return self.client.messages.create(model="c", max_tokens=9, messages=[{"role": "user", "content": text}])  #: site anthropic chat


@attr.s(auto_attribs=True)
class Writer:
    client: anthropic.Anthropic = attr.Factory(anthropic.Anthropic)
    drafts: list = attr.Factory(list)

    def write(self, messages):
        self.drafts.append(messages)
        return self.client.messages.create(model="c", max_tokens=9, messages=messages)  #: site anthropic chat


class CarefulGemini(ChatGoogleGenerativeAI):
    def _generate(self, messages, *args, **kwargs):
        try:
            return super()._generate(messages, *args, **kwargs)  #: site langchain chat
        except ValueError:
            return super(CarefulGemini, self)._generate(messages[-1:], *args, **kwargs)  #: site langchain chat


class RegionalAzure(AzureChatOpenAI):
    def _stream(self, *args, **kwargs):
        for chunk in ChatParent._stream(self, *args, **kwargs):  #: site langchain chat
            yield chunk

    def with_json(self, messages):
        return self.client.with_raw_response.create(messages=messages, response_format={"type": "json_object"})  #: site


ChatParent = AzureChatOpenAI


class TranslationChain(Chain):
    llm_chain: LLMChain
    prompt: PromptTemplate

    @property
    def input_keys(self):
        return ["text"]

    @property
    def output_keys(self):
        return ["out"]

    def _call(self, inputs, run_manager=None):
        self.prompt.format_prompt(**inputs)  #: not
        out = self.llm_chain.predict(text=inputs["text"], callbacks=run_manager)  #: site langchain chain
        return {"out": out}

    async def _acall(self, inputs, run_manager=None):
        return {"out": await self.llm_chain.apredict(text=inputs["text"])}  #: site langchain chain


class SavedConversation(ConversationChain):
    def _call(self, inputs, run_manager=None):
        output = super()._call(inputs, run_manager=run_manager)  #: site langchain chain
        self.memory.save_context(inputs, output)  #: not
        return output


class SourcedQA(RetrievalQA):
    def _call(self, inputs, run_manager=None):
        docs = self._get_docs(inputs["query"], run_manager=run_manager)  #: site langchain
        answer = self.combine_documents_chain.run(input_documents=docs, question=inputs["query"])  #: site langchain chain
        return {"result": answer}


class LimitedExecutor(AgentExecutor):
    def _call(self, inputs, run_manager=None):
        self.lookup_tool("search")  #: not
        return super()._call(inputs, run_manager)  #: site langchain


class ClaudeTask(Task):
    abstract = True
    _client = None

    @property
    def client(self):
        if self._client is None:
            self._client = anthropic.Anthropic()
        return self._client

    def on_failure(self, *args):
        super().on_failure(*args)  #: not


@shared_task(bind=True, base=ClaudeTask)
def digest(self, pk):
    note = Note.objects.get(pk=pk)
    answer = self.client.messages.create(model="c", max_tokens=9, messages=[{"role": "user", "content": note.text}])  #: site anthropic chat
    self.update_state(state="DONE")  #: not
    return answer.id


class ClaudeViewMixin:
    @cached_property
    def claude(self):
        return anthropic.Anthropic()

    def stream_reply(self, messages):
        return self.claude.messages.stream(model="c", max_tokens=9, messages=messages)  #: site anthropic chat


class ReplyView(ClaudeViewMixin, FormView):
    def form_valid(self, form):
        self.claude.messages.count_tokens(model="c", messages=[])  #: not
        self.claude.messages.create(model="c", max_tokens=9, messages=[])  #: site anthropic chat
        Note.objects.create(text=form.cleaned_data["text"])  #: not
        return super().form_valid(form)  #: not


class ModelViewSet(viewsets.ViewSet):
    llm = None

    def get_llm(self):
        return self.llm

    def create(self, request):
        return Response(self.get_llm().invoke(request.data["text"]).content)  #: site langchain chat


class AzureViewSet(ModelViewSet):
    llm = AzureChatOpenAI(azure_deployment="gpt-4o")

    def create(self, request):
        return super().create(request)  #: not


class Command(BaseCommand):
    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)  #: not
        self.client = anthropic.Anthropic()

    def handle(self, *args, **options):
        batch = self.client.messages.batches.create(requests=[])  #: site anthropic batch
        self.client.messages.batches.retrieve(batch.id)  #: not
        self.client.messages.create(model="c", max_tokens=9, messages=[])  #: site anthropic chat
