"""Retrieval over the handbook. Models come from `platform_ai`, a package of another team."""
import logging
from dataclasses import dataclass, field

from django.conf import settings
from django.utils.module_loading import import_string
from platform_ai import LLMFactory, get_embeddings, get_llm, get_reranker, load_chat_model, make_llm
from platform_ai.registry import registry

from gateway.catalogue.models import Product

logger = logging.getLogger(__name__)
PROMPT = "Answer from the context.\n\n{context}\n\nQuestion: {question}"


@dataclass
class Retriever:
    collection: str
    k: int = 5
    embeddings: object = field(default_factory=get_embeddings)

    def search(self, text):
        vector = self.embeddings.embed_query(text)  #: site langchain embeddings
        return Product.nearest(vector)[: self.k]  #: not

    def index(self, documents):
        texts = [d.text for d in documents]
        rows = self.embeddings.embed_documents(texts)  #: site langchain embeddings
        return list(zip(documents, rows))


def rerank(question, documents):
    reranker = get_reranker()
    return reranker.compress_documents(documents, query=question)  #: site


async def rerank_async(question, documents):
    compressor = get_reranker(top_n=3)
    return await compressor.acompress_documents(documents, question)  #: site


def answer(question, context):
    model = load_chat_model("default")
    prompt = PROMPT.format(context=context, question=question)  #: not
    return model.invoke(prompt).content  #: site langchain chat


def answer_stream(question, context):
    llm = make_llm(streaming=True)
    for chunk in llm.stream(PROMPT.format(context=context, question=question)):  #: site langchain chat
        yield chunk.content


async def answer_async(question, context):
    chat = LLMFactory.create(settings.CHAT_MODEL, temperature=0)
    reply = await chat.ainvoke([("user", question), ("system", context)])  #: site langchain chat
    return reply.content


async def events(messages):
    model = registry.get_llm("assistant")
    async for part in model.astream(messages):  #: site langchain chat
        yield part


def batch(questions):
    return get_llm("small").batch(questions)  #: site langchain chat


def structured(text, schema):
    extractor = get_llm().with_structured_output(schema)
    return extractor.invoke(text)  #: site langchain chat


def with_tools(messages, tools):
    agent_llm = load_chat_model(settings.CHAT_MODEL).bind_tools(tools)
    return agent_llm.invoke(messages)  #: site langchain chat


def dotted(text):
    embedder = import_string(settings.EMBEDDER_CLASS)()
    return embedder.embed_query(text)  #: site langchain embeddings


def similar(texts):
    model = registry.get_embedding_model("bge")
    return model.embed_documents(texts)  #: site langchain embeddings


async def similar_async(text):
    embeddings = get_embeddings()
    return await embeddings.aembed_query(text)  #: site langchain embeddings


class HandbookBot:
    def __init__(self, tenant):
        self.tenant = tenant
        self.llm = LLMFactory.for_tenant(tenant)
        self.embedder = get_embeddings(tenant)
        self.judges = {"strict": make_llm("strict"), "mild": make_llm("mild")}
        self.fallbacks = [make_llm(name) for name in ("a", "b")]

    def reply(self, question):
        vector = self.embedder.embed_query(question)  #: site langchain embeddings
        context = "\n".join(str(pk) for pk in Product.nearest(vector))
        return self.llm.invoke(PROMPT.format(context=context, question=question))  #: site langchain chat

    def judge(self, text, how="strict"):
        return self.judges[how].invoke(text)  #: site langchain chat

    def any_answer(self, text):
        for model in self.fallbacks:
            try:
                return model.invoke(text)  #: site langchain chat
            except TimeoutError:
                logger.warning("next model")
        return None

    async def areply(self, messages):
        return await self.llm.agenerate([messages])  #: site langchain chat

    def tokens(self, text):
        return self.llm.get_num_tokens(text)  #: not

    def name(self):
        return self.llm.get_name()  #: not


def condense(history, model=None):
    model = model or get_llm("small")
    return model.predict("\n".join(history))  #: site langchain chat


def route(question, candidates):
    """`candidates` maps a topic to what `load_chat_model` gave."""
    models = {topic: load_chat_model(name) for topic, name in candidates.items()}
    for topic, candidate in models.items():
        if candidate.invoke(f"Is this about {topic}? {question}").content == "yes":  #: site langchain chat
            return topic
    return None
