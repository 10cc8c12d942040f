"""Code that no request reaches first."""

from __future__ import annotations

import multiprocessing
import threading
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from functools import partial  # noqa: F401 -- before the fix

from django.http import StreamingHttpResponse

from tests.scanner.fixed.ai import aclient, client
from usage_tracking import ai_usage

# fix: put the statement at line +2 into `with ai_usage(section="…"):`
with ai_usage(section="chat"):  # fixed
    MOTTO = client.responses.create(model="at_import", input="Hi").output_text


def of_one_view():
    return client.responses.create(model="several_3", input="Hi").output_text


def of_covered_and_plain_view():
    return client.responses.create(model="one_of_two_covered", input="Hi").output_text


def of_two_views(text):
    # fix: put the statements at lines +2 and +4 into `with ai_usage(section="…"):`
    with ai_usage(section="chat"):  # fixed
        answer = client.responses.create(model="of_two_views_1", input=text)
        if answer.output_text:
            answer = client.responses.create(model="of_two_views_2", input=answer.output_text)
    return answer.output_text


def tool(text):
    # fix: put the statement at line +2 into `with ai_usage(section="…"):`
    with ai_usage(section="chat"):  # fixed
        return client.responses.create(model="unknown_callers", input=text).output_text


TOOLS = {"ask": tool}


# fix: move the call into a function decorated with @ai_usage(section="…")
@ai_usage(section="chat")  # fixed
def rephrase(text):  # fixed
    # before: rephrase = lambda text: client.responses.create(model="lambda", input=text)
    return client.responses.create(model="lambda", input=text)  # fixed


# fix: move the call into a function decorated with @ai_usage(section="…")
@ai_usage(section="chat")  # fixed
def greet():  # fixed
    # before: greet = partial(client.responses.create, model="partial", input="Hi")
    return client.responses.create(model="partial", input="Hi")  # fixed


TOOLS["greet"] = lambda text: greet().output_text


def returned():
    # fix: move the call into a function decorated with @ai_usage(section="…")
    # before: return lambda text: client.responses.create(model="returned", input=text)
    @ai_usage(section="chat")  # fixed
    def ask(text):  # fixed
        return client.responses.create(model="returned", input=text)  # fixed

    return ask  # fixed


def ranked(words):
    # fix: move the call into a function decorated with @ai_usage(section="…")
    # before: key = lambda word: client.responses.create(model="ranked", input=word).output_text
    @ai_usage(section="chat")  # fixed
    def key(word):  # fixed
        return client.responses.create(model="ranked", input=word).output_text  # fixed

    return sorted(words, key=key)


def submitted():
    with ThreadPoolExecutor(1) as pool:
        # fix: put the statement at line +2 into `with ai_usage(section="…"):`
        with ai_usage(section="chat"):  # fixed
            future = pool.submit(client.responses.create, model="submitted", input="Hi")
        return future.result().output_text


def with_inner_function(text):
    def ask(words):
        return client.responses.create(model="inner_function", input=words).output_text

    # fix: put the statement at line +2 into `with ai_usage(section="…"):`
    with ai_usage(section="chat"):  # fixed
        return ask(f"{text}!")


TOOLS |= {
    "returned": lambda text: returned()(text).output_text,
    "ranked": lambda text: ranked([text]),
    "submitted": lambda text: submitted(),
    "inner": with_inner_function,
}


def retry(function, *args, **kwargs):
    return function(*args, **kwargs)


def of_thread(answers):
    # fix: put the statement at line +2 into `with ai_usage(section="…"):`
    with ai_usage(section="chat"):  # fixed
        answers.append(client.responses.create(model="of_thread", input="Hi").output_text)


def in_thread():
    answers: list[str] = []
    thread = threading.Thread(target=of_thread, args=[answers])
    thread.start()
    thread.join()
    return answers


def of_process(text):
    # fix: put the statement at line +2 into `with ai_usage(section="…"):`
    with ai_usage(section="chat"):  # fixed
        return client.responses.create(model="of_process", input=text).output_text


def in_processes():
    fork = multiprocessing.get_context("fork")
    with ProcessPoolExecutor(1, mp_context=fork) as pool:
        return list(pool.map(of_process, ["Hi"]))


def streamed():
    def body():
        # fix: put the statement at line +2 into `with ai_usage(section="…"):`
        with ai_usage(section="chat"):  # fixed
            for event in client.responses.create(model="streamed", input="Hi", stream=True):
                yield event.type

    return StreamingHttpResponse(body())


def async_streamed():
    async def body():
        # fix: put the statement at line +2 into `with ai_usage(section="…"):`
        with ai_usage(section="chat"):  # fixed
            yield (await aclient.responses.create(model="async_streamed", input="Hi")).output_text

    return StreamingHttpResponse(body())
