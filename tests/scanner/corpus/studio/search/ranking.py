"""Retrievers, rerankers and evaluators of LangChain."""

from functools import cached_property

from langchain.evaluation import EvaluatorType, load_evaluator
from langchain.retrievers import (
    ContextualCompressionRetriever,
    EnsembleRetriever,
    MultiQueryRetriever,
)
from langchain.retrievers.document_compressors import (
    CrossEncoderReranker,
    LLMChainExtractor,
)
from langchain_chroma import Chroma
from langchain_cohere import CohereRerank
from langchain_community.cross_encoders import HuggingFaceCrossEncoder
from langchain_community.retrievers import BM25Retriever, TFIDFRetriever
from langchain_community.vectorstores import FAISS, PGVector
from langchain_core.documents import Document
from langchain_huggingface import HuggingFaceEmbeddings
from langchain_openai import ChatOpenAI, OpenAIEmbeddings
from langchain_text_splitters import RecursiveCharacterTextSplitter
from langchain_voyageai import VoyageAIRerank
from whoosh.index import open_dir

llm = ChatOpenAI(model="gpt-4o")


def rerank(question, documents):
    compressor = CohereRerank(model="rerank-v3.5", top_n=3)
    return compressor.compress_documents(documents, question)  #: site langchain rerank


def rerank_voyage(question, documents):
    return VoyageAIRerank(model="rerank-2").compress_documents(documents=documents, query=question)  #: site langchain rerank


def rerank_locally(question, documents):
    scorer = HuggingFaceCrossEncoder(model_name="bge-reranker")
    return CrossEncoderReranker(model=scorer).compress_documents(documents, question)  #: not


def extract(question, documents):
    extractor = LLMChainExtractor.from_llm(llm)
    return extractor.compress_documents(documents, question)  #: site langchain


class Shelf:
    def __init__(self, name):
        self.store = Chroma(collection_name=name, embedding_function=OpenAIEmbeddings())
        self.splitter = RecursiveCharacterTextSplitter(chunk_size=500)

    @cached_property
    def retriever(self):
        base = self.store.as_retriever(search_kwargs={"k": 20})
        return ContextualCompressionRetriever(base_compressor=CohereRerank(model="r"), base_retriever=base)

    def find(self, question):
        return self.retriever.invoke(question)  #: site langchain

    def add(self, texts):
        parts = self.splitter.create_documents(texts)  #: not
        return self.store.add_documents(parts)  #: site langchain embeddings

    def near(self, text):
        return self.store.max_marginal_relevance_search(text, k=4)  #: site langchain embeddings

    def by_vector(self, vector):
        return self.store.similarity_search_by_vector(vector)  #: not

    def forget(self, ids):
        return self.store.delete(ids)  #: not


def wide(question, vectors: FAISS):
    many = MultiQueryRetriever.from_llm(retriever=vectors.as_retriever(), llm=llm)
    return many.invoke(question)  #: site langchain


def hybrid(question, texts, database):
    words = BM25Retriever.from_texts(texts)
    words.invoke(question)  #: not
    meaning = PGVector(connection_string=database, embedding_function=OpenAIEmbeddings()).as_retriever()
    return EnsembleRetriever(retrievers=[words, meaning], weights=[0.5, 0.5]).invoke(question)  #: site langchain


def offline(question, texts):
    TFIDFRetriever.from_documents([Document(page_content=text) for text in texts]).invoke(question)  #: not
    local = FAISS.from_texts(texts, HuggingFaceEmbeddings(model_name="all-MiniLM-L6-v2"))  #: not
    return local.similarity_search(question)  #: not


def whoosh(question):
    with open_dir("index").searcher() as searcher:
        return searcher.search(question)  #: not


def judge(prediction, question):
    evaluator = load_evaluator("criteria", llm=llm, criteria="conciseness")  #: not
    return evaluator.evaluate_strings(prediction=prediction, input=question)  #: site langchain


def judge_pair(one, other, question):
    evaluator = load_evaluator(EvaluatorType.PAIRWISE_STRING, llm=llm)
    return evaluator.evaluate_string_pairs(prediction=one, prediction_b=other, input=question)  #: site langchain


def compare(one, other):
    evaluator = load_evaluator("string_distance")
    return evaluator.evaluate_strings(prediction=one, reference=other)  #: not


def compare_exactly(one, other):
    return load_evaluator(EvaluatorType.EXACT_MATCH).evaluate_strings(prediction=one, reference=other)  #: not
