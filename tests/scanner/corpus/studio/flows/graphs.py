"""LangGraph: the requests are in the nodes, not in the graph."""

import operator
from typing import Annotated, TypedDict

from langchain_anthropic import ChatAnthropic
from langchain_core.messages import AnyMessage
from langchain_openai import ChatOpenAI
from langgraph.graph import END, START, MessageGraph, MessagesState, StateGraph
from langgraph.prebuilt import create_react_agent
from openai import OpenAI

writer_model = ChatOpenAI(model="gpt-4o")
sdk = OpenAI()


class Draft(TypedDict):
    topic: str
    text: str
    notes: Annotated[list, operator.add]


def write(state: Draft):
    return {"text": writer_model.invoke(state["topic"]).content}  #: site langchain chat


def criticise(state: Draft):
    reply = sdk.responses.create(model="o4-mini", input=state["text"])  #: site openai chat
    return {"notes": [reply.output_text]}


def good_enough(state: Draft):
    return END if len(state["notes"]) > 2 else "write"


def editorial():
    builder = StateGraph(Draft)
    builder.add_node("write", write)
    builder.add_node("criticise", criticise)
    builder.add_edge(START, "write")
    builder.add_edge("write", "criticise")
    builder.add_conditional_edges("criticise", good_enough)
    return builder.compile()  #: not


desk = editorial()


def article(topic):
    return desk.invoke({"topic": topic, "notes": []})["text"]  #: not


async def article_stream(topic):
    async for update in desk.astream({"topic": topic, "notes": []}):  #: not
        yield update


def trim(state):
    return {"text": state["text"].strip()}


def plain(text):
    builder = StateGraph(Draft)
    builder.add_node(trim)
    builder.add_edge(START, "trim")
    return builder.compile().invoke({"text": text})  #: not


class Support:
    def __init__(self):
        self.llm = ChatAnthropic(model="claude-3-5-sonnet-latest")
        graph = StateGraph(MessagesState)
        graph.add_node("reply", self.reply)
        graph.set_entry_point("reply")
        self.app = graph.compile()

    def reply(self, state):
        return {"messages": [self.llm.invoke(state["messages"])]}  #: site langchain chat

    async def handle(self, messages: list[AnyMessage]):
        return await self.app.ainvoke({"messages": messages})  #: not


def with_agent(question):
    researcher = create_react_agent(writer_model, tools=[])
    builder = StateGraph(MessagesState)
    builder.add_node("research", researcher)
    builder.add_edge(START, "research")
    graph = builder.compile()
    return graph.invoke({"messages": [question]})  #: site langchain agent


def with_model(question):
    builder = MessageGraph()
    builder.add_node("model", writer_model)
    builder.add_edge(START, "model")
    for update in builder.compile().stream([question]):  #: site langchain agent
        print(update)


def team(question):
    helper = create_react_agent(ChatAnthropic(model="c"), tools=[])

    def ask_helper(state):
        return {"messages": helper.invoke(state)["messages"][-1:]}  #: site langchain agent

    builder = StateGraph(MessagesState)
    builder.add_node("helper", ask_helper)
    builder.set_entry_point("helper")
    return builder.compile().invoke({"messages": [question]})  #: not
