"""Models from modules that the scan does not see: what they are called has to do."""

import json

import requests
from warehouse.ai import build_chain, get_embeddings, get_llm, vision_llm
from litellm import completion as ask
from warehouse.celery import filter_chain, get_worker, tasks_chain
from warehouse.gateway import acompletion, gateway
from warehouse.graphs import compiled_graph

from .unseen import llm, make_agent


def by_function(question):
    model = get_llm(temperature=0)
    model.invoke(question)  #: site langchain chat
    get_embeddings().embed_query(question)  #: site langchain embeddings
    build_chain().invoke({"question": question})  #: site langchain chain
    model.frobnicate(question)  #: not
    return get_llm().with_structured_output(dict).invoke(question)  #: site langchain chat


def by_variable(question):
    llm.invoke(question)  #: site langchain chat
    vision_llm.invoke(question)  #: site langchain chat
    return compiled_graph.invoke({"question": question})  #: site langchain agent


async def by_attribute(self, question):
    await self.model.ainvoke(question)  #: site langchain chat
    return await self.summary_chain.ainvoke(question)  #: site langchain chain


def by_messages(question):
    return make_agent().invoke({"messages": [("user", question)]})  #: site langchain agent


def nothing_is_asked(self, context, command):
    self.workflow.invoke()  #: not
    context.invoke(command)  #: not
    filter_chain.run(command)  #: not
    tasks_chain.apply_async()  #: not
    get_worker().invoke(command)  #: not
    self.model.predict([1])  #: not


def by_body(server, question):
    body = {"model": "local", "messages": [{"role": "user", "content": question}]}
    requests.post(server.address, json=body)  #: site unknown chat
    requests.post(server.address, data=json.dumps(body))  #: site unknown chat
    asked = dict(model="local", prompt=question)
    requests.post(server.address, json=asked)  #: site unknown completion
    filled = {}
    filled["model"] = "local"
    filled["messages"] = [question]
    requests.post(server.address, json=filled)  #: site unknown chat
    requests.post(server.address, json={"model": "estate", "doors": 5})  #: not
    requests.post(server.address, json={"messages": [question], "to": "team"})  #: not
    requests.get(server.address, params=body)  #: not


async def by_what_is_said(question, letter):
    await acompletion(messages=[question])  #: site unknown chat
    gateway.create_chat_completion(messages=[question])  #: site unknown chat
    gateway.create_chat_completion(letter)  #: not
    return gateway.deliver(messages=[letter])  #: not


def again(function, question):
    return function(model="small", messages=[question])  #: not


def handed_on_once(question):
    return again(ask, question)  #: site litellm chat
