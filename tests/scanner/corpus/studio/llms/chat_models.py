"""Chat models of the house on top of LangChain."""

from __future__ import annotations

import logging
from typing import Any, AsyncIterator, Iterator, List, Optional

from langchain_anthropic import ChatAnthropic
from langchain_core.language_models.chat_models import BaseChatModel
from langchain_core.messages import BaseMessage, HumanMessage
from langchain_core.outputs import ChatGenerationChunk, ChatResult
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.tools import BaseTool
from langchain_ollama import OllamaLLM
from langchain_openai import ChatOpenAI, OpenAIEmbeddings

log = logging.getLogger(__name__)


class TenantChatOpenAI(ChatOpenAI):
    """Adds the tenant's header, and keeps the raw answer for billing."""

    tenant: str = "default"

    def _generate(
        self,
        messages: List[BaseMessage],
        stop: Optional[List[str]] = None,
        run_manager: Any = None,
        **kwargs: Any,
    ) -> ChatResult:
        message_dicts, params = self._create_message_dicts(messages, stop)  #: not
        params = {**params, **kwargs, "extra_headers": {"X-Tenant": self.tenant}}
        response = self.client.create(messages=message_dicts, **params)  #: site
        return self._create_chat_result(response)  #: not

    async def _agenerate(self, messages, stop=None, run_manager=None, **kwargs):
        message_dicts, params = self._create_message_dicts(messages, stop)
        response = await self.async_client.create(messages=message_dicts, **params)  #: site
        return self._create_chat_result(response)

    def warm_up(self):
        self.root_client.models.list()  #: not
        return self.root_client.responses.create(model=self.model_name, input="ping")  #: site openai chat

    async def awarm_up(self):
        client = self.root_async_client
        return await client.chat.completions.create(model=self.model_name, messages=[])  #: site openai chat


class AuditedClaude(ChatAnthropic):
    def _generate(self, messages, stop=None, run_manager=None, **kwargs):
        started = log.info("to claude: %s", len(messages))
        result = super()._generate(messages, stop, run_manager, **kwargs)  #: site langchain chat
        self._write_audit(result, started)  #: not
        return result

    def _stream(self, messages, stop=None, run_manager=None, **kwargs) -> Iterator[ChatGenerationChunk]:
        yield from super()._stream(messages, stop=stop, run_manager=run_manager, **kwargs)  #: site langchain chat

    def explain(self, text):
        # Its own override sends it.
        return self._generate([HumanMessage(content=text)])  #: not

    async def aexplain(self, text):
        return await self._agenerate([HumanMessage(content=text)])  #: site langchain chat

    def _write_audit(self, result, started):
        log.info("%s %s", result, started)


class RawClaude(ChatAnthropic):
    def _generate(self, messages, stop=None, run_manager=None, **kwargs):
        payload = self._get_request_payload(messages, stop=stop, **kwargs)  #: not
        data = self._client.messages.create(**payload)  #: site anthropic chat
        return self._format_output(data, **kwargs)  #: not


class RouterChat(BaseChatModel):
    """Sends short questions to the cheap model."""

    fast: BaseChatModel
    deep: BaseChatModel
    limit: int = 400

    def _pick(self, messages) -> BaseChatModel:
        return self.deep if sum(len(m.content) for m in messages) > self.limit else self.fast

    def _generate(self, messages, stop=None, run_manager=None, **kwargs):
        model = self._pick(messages)  #: not
        return model._generate(messages, stop=stop, run_manager=run_manager, **kwargs)  #: site langchain chat

    async def _agenerate(self, messages, stop=None, run_manager=None, **kwargs):
        return await self.fast._agenerate(messages, stop=stop, **kwargs)  #: site langchain chat

    async def _astream(self, messages, stop=None, **kwargs) -> AsyncIterator[ChatGenerationChunk]:
        async for chunk in self._pick(messages)._astream(messages, stop=stop):  #: site langchain chat
            yield chunk

    @property
    def _llm_type(self) -> str:
        return "router"


class FallbackChat(BaseChatModel):
    _llm: Any = None

    def __init__(self, **kwargs):
        super().__init__(**kwargs)  #: not
        self._llm = ChatOpenAI(model="gpt-4o")

    def _generate(self, messages, stop=None, run_manager=None, **kwargs):
        try:
            return self._llm._generate(messages, stop)  #: site langchain chat
        except TimeoutError:
            return self._canned(messages)  #: not

    def _canned(self, messages):
        return ChatResult(generations=[])

    @property
    def _llm_type(self):
        return "fallback"


class QuietOllama(OllamaLLM):
    def _generate(self, prompts, stop=None, run_manager=None, **kwargs):
        return super()._generate([p.strip() for p in prompts], stop=stop, **kwargs)  #: site langchain


class CachedEmbeddings(OpenAIEmbeddings):
    def embed_documents(self, texts, chunk_size=None):
        missing = [text for text in texts if text not in _VECTORS]
        for text, vector in zip(missing, super().embed_documents(missing)):  #: site langchain embeddings
            _VECTORS[text] = vector
        return [_VECTORS[text] for text in texts]

    def embed_long(self, texts):
        return self._get_len_safe_embeddings(texts, engine=self.deployment)  #: site langchain embeddings

    def embed_query(self, text):
        return self.embed_documents([text])[0]  #: not


_VECTORS = {}


class HousePrompt(ChatPromptTemplate):
    def invoke(self, input, config=None):
        return super().invoke({"tone": "friendly", **input}, config)  #: not


class LedgerTool(BaseTool):
    name: str = "ledger"
    description: str = "Reads the ledger"

    def _run(self, account: str) -> str:
        return account

    def peek(self, account):
        self._run(account)  #: not
        return super().invoke({"account": account})  #: not
