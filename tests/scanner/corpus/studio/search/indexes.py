"""LlamaIndex behind the help pages."""

import chromadb
from chromadb.utils.embedding_functions import OpenAIEmbeddingFunction
from llama_index.core import (
    PromptTemplate,
    Settings,
    SimpleDirectoryReader,
    StorageContext,
    SummaryIndex,
    VectorStoreIndex,
    load_index_from_storage,
)
from llama_index.core.agent.workflow import FunctionAgent
from llama_index.core.evaluation import FaithfulnessEvaluator
from llama_index.core.node_parser import SentenceSplitter
from llama_index.core.postprocessor import SimilarityPostprocessor
from llama_index.core.query_engine import RetrieverQueryEngine, SubQuestionQueryEngine
from llama_index.llms.openai import OpenAI
from llama_index.postprocessor.cohere_rerank import CohereRerank

from django.conf import settings as django_settings

Settings.llm = OpenAI(model="gpt-4o-mini")


class HelpPages:
    _index = None

    @classmethod
    def index(cls):
        if cls._index is None:
            context = StorageContext.from_defaults(persist_dir="help")  #: not
            cls._index = load_index_from_storage(context)  #: not
        return cls._index

    def rebuild(self, folder):
        pages = SimpleDirectoryReader(folder).load_data()  #: not
        nodes = SentenceSplitter().get_nodes_from_documents(pages)  #: not
        return VectorStoreIndex(nodes)  #: site llamaindex embeddings

    def ask(self, text):
        engine = self.index().as_query_engine(similarity_top_k=4)
        return str(engine.query(text))  #: site llamaindex chat

    async def ask_async(self, text):
        return await self.index().as_query_engine(streaming=True).aquery(text)  #: site llamaindex chat

    def talk(self, history, text):
        return self.index().as_chat_engine(chat_mode="context").chat(text, chat_history=history)  #: site llamaindex chat

    def talk_stream(self, text):
        engine = self.index().as_chat_engine()
        engine.reset()  #: not
        for token in engine.stream_chat(text).response_gen:  #: site llamaindex chat
            yield token

    def nodes(self, text):
        found = self.index().as_retriever(similarity_top_k=10).retrieve(text)  #: site llamaindex embeddings
        kept = SimilarityPostprocessor(similarity_cutoff=0.7).postprocess_nodes(found)  #: not
        return CohereRerank(top_n=3).postprocess_nodes(kept, query_str=text)  #: site llamaindex rerank


def title(text):
    prompt = PromptTemplate("Title: {text}")
    prompt.format(text=text)  #: not
    Settings.llm.predict(prompt, text=text)  #: site llamaindex
    return Settings.llm.complete(f"Title: {text}")  #: site llamaindex completion


def vector(text):
    return Settings.embed_model.get_text_embedding(text)  #: site llamaindex embeddings


def engine(index):
    return RetrieverQueryEngine.from_args(index.as_retriever(), llm=Settings.llm)


def ask_engine(pages, text):
    index = SummaryIndex.from_documents(pages)  #: not
    engine(index).query(text)  #: site llamaindex chat
    return SubQuestionQueryEngine.from_defaults(query_engine_tools=[]).query(text)  #: site llamaindex chat


def faithful(text, answer):
    judge = FaithfulnessEvaluator(llm=OpenAI(model="gpt-4o"))
    return judge.evaluate_response(query=text, response=answer)  #: site llamaindex


async def agent(text):
    return await FunctionAgent(tools=[], llm=Settings.llm).run(user_msg=text)  #: site llamaindex agent


def collection(texts, question):
    client = chromadb.PersistentClient("chroma")
    hosted = client.get_or_create_collection("help", embedding_function=OpenAIEmbeddingFunction(api_key="x"))
    hosted.add(documents=texts, ids=texts)  #: site openai embeddings
    local = client.get_or_create_collection("local")
    local.add(documents=texts, ids=texts)  #: not
    return local.query(query_texts=[question]), django_settings.DEBUG  #: not
