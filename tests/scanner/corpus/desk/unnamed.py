"""Calls on objects whose names and makers say nothing."""

from corp_parts import box, find_part, make_part
from llama_cpp import Llama
from vllm import LLM


def vectors(texts):
    return make_part("v").embed_documents(texts)  #: site


def picture(text):
    return box.get("painter").text_to_image(text)  #: site


def typed(text, schema):
    return find_part().with_structured_output(schema).invoke(text)  #: site


def roles(text):
    return find_part().invoke([("system", "Be short."), ("human", text)])  #: site


def state(text):
    return find_part().invoke({"messages": [("user", text)]})  #: site


def limited(text):
    return find_part().complete(text, max_tokens=9)  #: site


def prompted(text):
    return find_part().generate(prompt=text, temperature=0)  #: site


def sorted_docs(text, docs):
    return find_part().rerank(query=text, documents=docs)  #: site


def checked(text):
    return find_part().moderate(input=text)  #: site


def read(text):
    return find_part().invoke(text).content  #: site


def in_process(texts):
    return LLM("m").generate(texts)  #: not


def on_disk(text):
    return Llama("m").create_chat_completion(messages=text)  #: not


def members(team):
    return find_part().invoke([{"role": "admin", "user": team}])  #: not


def password():
    return find_part().generate(length=20)  #: not


def command(name):
    return find_part().invoke(name, verbose=True)  #: not


def job(number):
    return find_part().complete(number, result="ok")  #: not


def comment(row, person):
    return row.moderate(by=person)  #: not
