"""Graphs whose nodes are not plain functions, and other double spellings."""

import asyncio
from functools import partial
from itertools import starmap

from anthropic import Anthropic
from asgiref.sync import async_to_sync, sync_to_async
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import RunnableLambda
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI
from langgraph.func import entrypoint, task
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode
from langgraph_supervisor import create_supervisor

llm = ChatOpenAI(model="gpt-4o")
claude = Anthropic()


@tool
def weather(city: str) -> str:
    """The weather in a city."""
    return city


def call_model(state, model):
    return {"messages": [model.invoke(state["messages"])]}  #: site langchain chat


def partial_node(question):
    builder = StateGraph(MessagesState)
    builder.add_node("model", partial(call_model, model=llm))
    builder.add_node("tools", ToolNode([weather]))
    builder.add_edge(START, "model")
    builder.add_edge("tools", "model")
    return builder.compile().invoke({"messages": [question]})  #: not


def lambda_node(question):
    builder = StateGraph(MessagesState)
    builder.add_node("model", lambda state: {"messages": [llm.invoke(state["messages"])]})  #: site langchain chat
    builder.set_entry_point("model")
    return builder.compile().invoke({"messages": [question]})  #: not


def wrapped_node(question):
    def node(state):
        return claude.messages.create(model="c", max_tokens=9, messages=state["messages"])  #: site anthropic chat

    builder = StateGraph(MessagesState)
    builder.add_node("model", RunnableLambda(node))
    builder.set_entry_point("model")
    graph = builder.compile()
    return graph.batch([{"messages": [question]}])  #: not


def chain_node(question):
    builder = StateGraph(MessagesState)
    reply = ChatPromptTemplate.from_template("{messages}") | llm | (lambda message: {"messages": [message]})
    builder.add_node("model", reply)
    builder.add_edge(START, "model")
    builder.add_edge("model", END)
    return builder.compile().invoke({"messages": [question]})  #: site langchain agent


def tools_only(call):
    builder = StateGraph(MessagesState)
    builder.add_node("tools", ToolNode([weather]))
    builder.add_edge(START, "tools")
    return builder.compile().invoke({"messages": [call]})  #: not


def supervised(question):
    supervisor = create_supervisor([], model=llm, prompt="Choose")
    return supervisor.compile().invoke({"messages": [question]})  #: site langchain agent


@task
def outline(topic):
    return llm.invoke(f"Outline of {topic}").content  #: site langchain chat


@entrypoint()
def essay(topic):
    return outline(topic).result()  #: not


def write_essay(topic):
    return essay.invoke(topic)  #: not


class Pipeline:
    def __init__(self):
        self.model = llm.with_structured_output(dict)
        builder = StateGraph(dict)
        for name, node in {"classify": self.classify, "log": self.log}.items():
            builder.add_node(name, node)
        builder.set_entry_point("classify")
        self.graph = builder.compile()

    def classify(self, state):
        return self.model.invoke(state["text"])  #: site langchain chat

    def log(self, state):
        return state

    def run(self, text):
        return [part for part in self.graph.stream({"text": text})]  #: not


def in_loop(text):
    loop = asyncio.new_event_loop()
    return loop.run_until_complete(llm.ainvoke(text))  #: site langchain chat


async def in_lambda(text):
    return await sync_to_async(lambda: llm.invoke(text))()  #: site langchain chat


def each(questions):
    return list(map(llm.invoke, questions))  #: site langchain chat


def each_length(questions):
    return list(map(llm.get_num_tokens, questions))  #: not


def ask(system, question):
    return claude.messages.create(model="c", max_tokens=9, system=system, messages=[question])  #: site anthropic chat


def pairs(rows):
    return list(starmap(ask, rows))  #: not


async def ask_async(system, question):
    return await sync_to_async(ask)(system, question)  #: not


async def ask_in_thread(system, question):
    return await asyncio.to_thread(ask, system, question)  #: not


def back_again(system, question):
    return async_to_sync(ask_async)(system, question)  #: not


async def first_of(questions):
    tasks = [asyncio.create_task(llm.ainvoke(question)) for question in questions]  #: site langchain chat
    done, pending = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)  #: not
    for one in pending:
        one.cancel()  #: not
    return done.pop().result()
