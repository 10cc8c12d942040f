"""Chains of the helpers, histories and nested runnables."""

from operator import attrgetter, itemgetter

from deepeval.metrics import AnswerRelevancyMetric, GEval
from deepeval.test_case import LLMTestCase
from langchain.chains import create_history_aware_retriever, create_retrieval_chain
from langchain.chains.combine_documents import create_stuff_documents_chain
from langchain_core.chat_history import InMemoryChatMessageHistory
from langchain_core.output_parsers import PydanticOutputParser, StrOutputParser
from langchain_core.prompts import ChatPromptTemplate, MessagesPlaceholder
from langchain_core.runnables import (
    RunnableGenerator,
    RunnableMap,
    RunnablePassthrough,
    RunnableSequence,
    RunnableWithMessageHistory,
)
from langchain_openai import ChatOpenAI
from langchain_text_splitters import CharacterTextSplitter
from pydantic import BaseModel


class Answer(BaseModel):
    text: str


class Tutor:
    prompt = ChatPromptTemplate.from_messages([("system", "You teach"), MessagesPlaceholder("history"), ("human", "{text}")])
    histories: dict = {}

    def __init__(self, retriever, level="easy"):
        self.llm = ChatOpenAI(model="gpt-4o" if level == "hard" else "gpt-4o-mini")
        self.retriever = retriever
        self.parser = PydanticOutputParser(pydantic_object=Answer)
        self.chain = self._build()
        self.with_history = RunnableWithMessageHistory(self.chain, self._history, input_messages_key="text")

    def _build(self):
        return (
            RunnablePassthrough.assign(context=itemgetter("text") | self.retriever)
            | self.prompt
            | self.llm
            | StrOutputParser()
        )

    def _history(self, key):
        return self.histories.setdefault(key, InMemoryChatMessageHistory())

    def ask(self, text):
        return self.chain.invoke({"text": text, "history": []})  #: site langchain chain

    def ask_again(self, key, text):
        self._history(key).clear()  #: not
        return self.with_history.invoke({"text": text}, config={"configurable": {"session_id": key}})  #: site langchain chain

    def fill(self, text):
        self.prompt.invoke({"text": text, "history": []})  #: not
        return (self.prompt | attrgetter("messages")).invoke({"text": text, "history": []})  #: not

    def check(self, text):
        return self.parser.invoke(text)  #: not

    def documents(self):
        stuff = create_stuff_documents_chain(self.llm, self.prompt)
        aware = create_history_aware_retriever(self.llm, self.retriever, self.prompt)
        return create_retrieval_chain(aware, stuff)

    def ask_documents(self, text):
        return self.documents().invoke({"input": text, "history": []})["answer"]  #: site langchain chain

    def several(self, text):
        steps = RunnableMap({"short": self.chain, "long": self.prompt | self.llm})
        return steps.invoke({"text": text, "history": []})  #: site langchain chain

    def nested(self, text):
        steps = {"draft": {"inner": self.chain}, "text": itemgetter("text")} | RunnablePassthrough()
        return steps.invoke({"text": text, "history": []})  #: site langchain chain

    def sequence(self, text):
        return RunnableSequence(self.prompt, self.llm).invoke({"text": text, "history": []})  #: site langchain chain

    def lengths(self, text):
        steps = RunnableMap({"length": len, "upper": str.upper}) | RunnablePassthrough()
        return steps.invoke(text)  #: not

    def letters(self, text):
        return list(RunnableGenerator(lambda parts: (part.upper() for part in parts)).stream(text))  #: not

    def split(self, text):
        return CharacterTextSplitter().invoke(text) if text else None  #: not


def extend(chain_of: Tutor, text):
    longer = chain_of.chain | StrOutputParser()
    longer |= str.strip
    return longer.invoke({"text": text, "history": []})  #: site langchain chain


def build_steps(llm: ChatOpenAI, extra):
    chain = ChatPromptTemplate.from_template("{text}")
    for step in [llm, StrOutputParser(), *extra]:
        chain = chain | step
    return chain


def loop_built(text):
    return build_steps(ChatOpenAI(), []).invoke({"text": text})  #: site langchain chain


def evaluate(question, answer):
    case = LLMTestCase(input=question, actual_output=answer)
    AnswerRelevancyMetric(threshold=0.7).measure(case)  #: site deepeval
    return GEval(name="tone", criteria="polite", evaluation_params=[]).measure(case)  #: site deepeval
