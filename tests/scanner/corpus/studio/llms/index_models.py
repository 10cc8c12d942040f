import typing as t

from huggingface_hub import InferenceClient
from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.bridge.pydantic import PrivateAttr
from llama_index.core.llms import ChatMessage, CompletionResponse, CustomLLM, LLMMetadata
from llama_index.core.llms.callbacks import llm_completion_callback
from llama_index.core.node_parser import SentenceSplitter
from llama_index.core.query_engine import CustomQueryEngine
from llama_index.core.response_synthesizers import BaseSynthesizer
from llama_index.core.retrievers import BaseRetriever
from llama_index.embeddings.openai import OpenAIEmbedding
from llama_index.llms.openai import OpenAI
from llama_index.llms.openai.utils import from_openai_message, to_openai_message_dicts
from openai import OpenAI as SyncOpenAI


class MeteredOpenAI(OpenAI):
    def _chat(self, messages: t.Sequence[ChatMessage], **kwargs):
        dicts = to_openai_message_dicts(messages, model=self.model)  #: not
        response = self._get_client().chat.completions.create(messages=dicts, stream=False, **self._get_model_kwargs(**kwargs))  #: site openai chat
        return from_openai_message(response.choices[0].message, [])  #: not

    async def _achat(self, messages, **kwargs):
        aclient = self._get_aclient()
        return await aclient.chat.completions.create(messages=messages, model=self.model)  #: site openai chat

    def _complete(self, prompt, **kwargs):
        return super()._complete(prompt.strip(), **kwargs)  #: site llamaindex completion


class TracedOpenAI(OpenAI):
    def chat(self, messages, **kwargs):
        with open("/dev/null"):
            return super().chat(messages, **kwargs)  #: site llamaindex chat

    def _stream_chat(self, messages, **kwargs):
        yield from super()._stream_chat(messages, **kwargs)  #: site llamaindex chat

    def short(self, text):
        return self._chat([ChatMessage(role="user", content=text)], max_tokens=30)  #: site llamaindex chat


class GatewayLLM(CustomLLM):
    model_name: str = "house-7b"
    _client: t.Any = PrivateAttr()

    def __init__(self, base_url: str, **kwargs):
        super().__init__(**kwargs)  #: not
        self._client = SyncOpenAI(base_url=base_url, api_key="x")

    @property
    def metadata(self) -> LLMMetadata:
        return LLMMetadata(model_name=self.model_name)

    @llm_completion_callback()
    def complete(self, prompt, formatted=False, **kwargs):
        raw = self._client.completions.create(model=self.model_name, prompt=prompt)  #: site openai completion
        return CompletionResponse(text=raw.choices[0].text)

    @llm_completion_callback()
    def stream_complete(self, prompt, formatted=False, **kwargs):
        def parts():
            yield self.complete(prompt)  #: not

        return parts()


class TeiEmbedding(BaseEmbedding):
    _client: InferenceClient = PrivateAttr()

    def __init__(self, url, **kwargs):
        super().__init__(**kwargs)
        self._client = InferenceClient(url)

    def _get_text_embedding(self, text):
        return self._client.feature_extraction(text)[0]  #: site huggingface embeddings

    def _get_query_embedding(self, query):
        return self._get_text_embedding(f"query: {query}")  #: not

    async def _aget_query_embedding(self, query):
        return self._get_query_embedding(query)  #: not


class NormalisedEmbedding(OpenAIEmbedding):
    def _get_text_embeddings(self, texts):
        vectors = super()._get_text_embeddings(texts)  #: site llamaindex embeddings
        return [self._normalise(vector) for vector in vectors]  #: not

    def _normalise(self, vector):
        return vector


class CitedEngine(CustomQueryEngine):
    retriever: BaseRetriever
    response_synthesizer: BaseSynthesizer
    llm: OpenAI

    def custom_query(self, query_str: str):
        nodes = self.retriever.retrieve(query_str)  #: site llamaindex embeddings
        draft = self.response_synthesizer.synthesize(query_str, nodes)  #: site llamaindex chat
        return self.llm.complete(f"Add citations to {draft}")  #: site llamaindex completion


class ParagraphSplitter(SentenceSplitter):
    def split_text(self, text):
        return [part for block in text.split("\n\n") for part in super().split_text(block)]  #: not
