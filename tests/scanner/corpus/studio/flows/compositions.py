"""Chains in LangChain's expression language."""

from operator import itemgetter

from langchain_community.retrievers import BM25Retriever
from langchain_community.vectorstores import FAISS
from langchain_core.output_parsers import JsonOutputParser, StrOutputParser
from langchain_core.prompts import ChatPromptTemplate, PromptTemplate
from langchain_core.runnables import (
    RunnableBranch,
    RunnableConfig,
    RunnableLambda,
    RunnableParallel,
    RunnablePassthrough,
    chain as as_chain,
)
from langchain_openai import ChatOpenAI, OpenAIEmbeddings
from openai import OpenAI

model = ChatOpenAI(model="gpt-4o-mini")
prompt = ChatPromptTemplate.from_template("{text}")
answer = prompt | model | StrOutputParser()
title = PromptTemplate.from_template("Title of {text}") | model


def both(text):
    fan = RunnableParallel(answer=answer, title=title)
    return fan.invoke({"text": text})  #: site langchain chain


def counts(text):
    fan = RunnableParallel(words=lambda x: len(x.split()), upper=str.upper)
    return fan.invoke(text)  #: not


def branch(text):
    router = RunnableBranch((lambda x: "sum" in x["text"], title), answer)
    return router.invoke({"text": text})  #: site langchain chain


def plain_branch(value):
    router = RunnableBranch((lambda x: isinstance(x, str), lambda x: x.upper()), lambda x: str(x))
    return router.invoke(value)  #: not


def rag(question, texts):
    retriever = FAISS.from_texts(texts, OpenAIEmbeddings()).as_retriever()  #: site langchain embeddings
    pipeline = {"context": retriever, "text": RunnablePassthrough()} | prompt | model
    return pipeline.invoke(question)  #: site langchain chain


def mapped(text):
    combined = {"draft": answer, "text": itemgetter("text")} | PromptTemplate.from_template("{draft} {text}")
    return combined.invoke({"text": text})  #: site langchain chain


def assigned(text):
    keep = RunnablePassthrough.assign(answer=answer)
    return keep.invoke({"text": text})  #: site langchain chain


def assigned_length(text):
    keep = RunnablePassthrough.assign(length=lambda x: len(x["text"]))
    return keep.invoke({"text": text})  #: not


def only_prompt(text):
    chain = prompt | RunnableLambda(lambda value: value.to_string())
    return chain.invoke({"text": text})  #: not


def only_parse(text):
    return (RunnablePassthrough() | JsonOutputParser()).invoke(text)  #: not


def ask_sdk(text):
    return OpenAI().responses.create(model="gpt-4o", input=text).output_text  #: site openai chat


def wrapped(text):
    return RunnableLambda(ask_sdk).invoke(text)  #: not


def wrapped_in_chain(text):
    steps = RunnableLambda(str.strip) | RunnableLambda(ask_sdk)
    return steps.invoke(text)  #: not


@as_chain
def two_steps(text):
    draft = answer.invoke({"text": text})  #: site langchain chain
    return title.invoke({"text": draft})  #: site langchain chain


def decorated(text):
    return two_steps.invoke(text)  #: not


def found(question, texts):
    vectors = FAISS.from_texts(texts, OpenAIEmbeddings())  #: site langchain embeddings
    lookup = itemgetter("question") | vectors.as_retriever(search_kwargs={"k": 2})
    return lookup.invoke({"question": question})  #: site langchain


def found_by_words(question, texts):
    lookup = itemgetter("question") | BM25Retriever.from_texts(texts)
    return lookup.invoke({"question": question})  #: not


def batched(texts):
    return answer.batch([{"text": text} for text in texts], RunnableConfig(max_concurrency=4))  #: site langchain chain


async def streamed(text):
    async for event in answer.astream_events({"text": text}, version="v2"):  #: site langchain chain
        yield event


def each(texts):
    return answer.map().invoke([{"text": text} for text in texts])  #: site langchain chain


def piped(text):
    return prompt.pipe(model, StrOutputParser()).invoke({"text": text})  #: site langchain chain


def picked(text):
    both = RunnableParallel({"answer": answer, "raw": RunnablePassthrough()})
    return both.pick("answer").invoke({"text": text})  #: site langchain chain


def make(kind):
    chains = {"answer": answer, "title": title}
    return chains[kind].with_retry(stop_after_attempt=2).with_config(tags=[kind])


def made(kind, text):
    return make(kind).invoke({"text": text})  #: site langchain chain


def fallback(text):
    safe = title.with_fallbacks([prompt | ChatOpenAI(model="gpt-4o")])
    return safe.invoke({"text": text})  #: site langchain chain


def structured(text):
    chain = prompt | model.bind_tools([]) | RunnableLambda(lambda message: message.tool_calls)
    return chain.invoke({"text": text})  #: site langchain chain
