"""Vector stores ask the model of their embeddings, unless it runs in the process itself."""

from langchain_community.llms import HuggingFacePipeline, LlamaCpp
from langchain_community.vectorstores import FAISS, MongoDBAtlasVectorSearch
from langchain_core.vectorstores import VectorStore
from langchain_huggingface import HuggingFaceEmbeddings
from langchain_openai import OpenAIEmbeddings
from langchain_pinecone import PineconeVectorStore

local = HuggingFaceEmbeddings(model_name="small")


def keep(index, texts):
    store = PineconeVectorStore(index=index, embedding=OpenAIEmbeddings())
    store.add_documents(texts)  #: site langchain embeddings
    store.as_retriever().invoke(texts[0])  #: site langchain embeddings
    atlas = MongoDBAtlasVectorSearch(index, embedding=OpenAIEmbeddings())
    return atlas.similarity_search(texts[0])  #: site langchain embeddings


class Shelf:
    def __init__(self, store: VectorStore):
        self.store = store

    def add(self, texts):
        self.store.add_texts(texts)  #: site langchain embeddings


def handed_in(texts, embeddings):
    return FAISS.from_texts(texts, embeddings)  #: site langchain embeddings


def in_the_process(texts):
    store = FAISS.from_texts(texts, local)  #: not
    store.similarity_search(texts[0])  #: not
    embeddings = local
    embeddings.embed_query(texts[0])  #: not
    llm = LlamaCpp(model_path="small.gguf")
    llm.invoke(texts[0])  #: not
    llm = HuggingFacePipeline.from_model_id(model_id="small")
    return llm.invoke(texts[0])  #: not
