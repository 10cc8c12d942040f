"""Subclasses that hand their requests to helpers, mixins, and compositions."""

from langchain_openai import ChatOpenAI, AzureChatOpenAI
from langchain_anthropic import ChatAnthropic
from langchain_core.runnables import RunnableParallel, RunnableLambda, RunnableBranch, RunnablePassthrough
from langchain_core.embeddings import Embeddings
from langchain.chains import LLMChain
from llama_index.llms.openai import OpenAI as LI
from openai import AsyncOpenAI, OpenAI
from tenacity import retry, Retrying, AsyncRetrying
import backoff


class RetryingChat(ChatOpenAI):
    def _generate(self, messages, stop=None, **kw):
        return self.completion_with_retry(messages=messages, **kw)  #: site

    async def _agenerate(self, messages, **kw):
        return await super()._agenerate(messages, **kw)  #: site

    def _stream(self, messages, **kw):
        for chunk in self._with_retry(self.client.create, messages=messages):  #: site
            yield chunk

    def _with_retry(self, fn, **kw):
        return fn(**kw)  #: not


class Mixin:
    def _generate(self, messages, **kw):
        return super()._generate(messages, **kw)  #: site


class MixedClaude(Mixin, ChatAnthropic):
    def go(self, m):
        return self._generate(m)  #: not


class RetryingIndexModel(LI):
    def chat(self, messages, **kw):
        return self._retry(super().chat, messages)  #: site

    def _retry(self, fn, *a):
        return fn(*a)  #: not


class RetryingClient(OpenAI):
    def ask(self, **kw):
        return self._with(self.chat.completions.create, **kw)  #: site

    def _with(self, fn, **kw):
        for attempt in Retrying():
            with attempt:
                return fn(**kw)  #: not


class OwnEmbeddings(Embeddings):
    def __init__(self):
        self.client = OpenAI()

    def embed_query(self, t):
        return self.client.embeddings.create(model="m", input=t)  #: site

    def embed_documents(self, ts):
        return [self.embed_query(t) for t in ts]  #: not


model = ChatOpenAI()


def compose(t):
    c = {"a": model, "b": RunnableLambda(len)} | RunnableLambda(str)
    c.invoke(t)  #: site
    RunnableParallel({"x": RunnableLambda(len)}).invoke(t)  #: not
    x = RunnablePassthrough().assign(a=model)
    x.invoke(t)  #: site
    y = RunnablePassthrough().assign(a=len)
    y.invoke(t)  #: not
    RunnableBranch((len, model), model).with_config(tags=[]).ainvoke(t)  #: site
    return RunnableLambda(lambda v: model.invoke(v)).invoke(t)  #: site
