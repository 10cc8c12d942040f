"""Threads, executors, asyncio and processes."""

from __future__ import annotations

import asyncio
import multiprocessing
import threading
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from functools import partial
from multiprocessing.pool import ThreadPool

from asgiref.sync import async_to_sync, sync_to_async
from django.http import HttpResponse

from tests.scanner.truth.ai import aclient, client
from usage_tracking import ai_usage, propagate


def ask_in_thread():
    client.responses.create(model="thread_in_block", input="Hi")


def thread_in_block(request):
    with ai_usage("chat"):
        thread = threading.Thread(target=ask_in_thread)
        thread.start()
        thread.join()
    return HttpResponse()


def ask_in_plain_thread():
    client.responses.create(model="thread_of_view", input="Hi")


def thread_of_view(request):
    thread = threading.Thread(target=ask_in_plain_thread)
    thread.start()
    thread.join()
    return HttpResponse()


def ask_in_late_thread():
    client.responses.create(model="thread_started_after_block", input="Hi")


def thread_started_after_block(request):
    with ai_usage("chat"):
        thread = threading.Thread(target=ask_in_late_thread)
    thread.start()
    thread.join()
    return HttpResponse()


class Worker(threading.Thread):
    def run(self):
        client.responses.create(model="thread_subclass_in_block", input="Hi")


def thread_subclass(request):
    with ai_usage("chat"):
        worker = Worker()
        worker.start()
        worker.join()
    return HttpResponse()


def ask_submitted(text):
    return client.responses.create(model="submitted_in_block", input=text).output_text


def submitted_in_block(request):
    with ai_usage("chat"), ThreadPoolExecutor(2) as pool:
        return HttpResponse(pool.submit(ask_submitted, "Hi").result())


def ask_of_map(text):
    return client.responses.create(model="executor_map_in_block", input=text).output_text


def executor_map_in_block(request):
    with ThreadPoolExecutor(2) as pool, ai_usage("chat"):
        return HttpResponse(list(pool.map(ask_of_map, ["Hi", "Ho"])))


def submitted_method(request):
    with ai_usage("chat"), ThreadPoolExecutor(2) as pool:
        future = pool.submit(client.responses.create, model="submitted_method", input="Hi")
        return HttpResponse(future.result().output_text)


def submitted_method_outside(request):
    with ThreadPoolExecutor(2) as pool:
        future = pool.submit(client.responses.create, model="submitted_method_outside", input="Hi")
        with ai_usage("chat"):
            return HttpResponse(future.result().output_text)


def ask_in_thread_pool(text):
    return client.responses.create(model="thread_pool_in_block", input=text).output_text


def thread_pool_in_block(request):
    with ThreadPool(2) as pool, ai_usage("chat"):
        return HttpResponse(pool.map(ask_in_thread_pool, ["Hi"]))


async def _gathered(text):
    return (await aclient.responses.create(model="gather_in_block", input=text)).output_text


async def gather_in_block(request):
    async with ai_usage("chat"):
        return HttpResponse(await asyncio.gather(_gathered("Hi"), _gathered("Ho")))


async def _created():
    return (await aclient.responses.create(model="create_task_in_block", input="Hi")).output_text


async def create_task_in_block(request):
    async with ai_usage("chat"):
        task = asyncio.create_task(_created())
    return HttpResponse(await task)


async def _awaited_later():
    return (await aclient.responses.create(model="awaited_after_block", input="Hi")).output_text


async def awaited_after_block(request):
    async with ai_usage("chat"):
        coroutine = _awaited_later()
    return HttpResponse(await coroutine)


async def _in_group():
    await aclient.responses.create(model="task_group_in_block", input="Hi")


async def task_group_in_block(request):
    async with ai_usage("chat"), asyncio.TaskGroup() as group:
        group.create_task(_in_group())
    return HttpResponse()


def _to_thread():
    return client.responses.create(model="to_thread_in_block", input="Hi").output_text


async def to_thread_in_block(request):
    with ai_usage("chat"):
        return HttpResponse(await asyncio.to_thread(_to_thread))


def _synced():
    return client.responses.create(model="sync_to_async_in_block", input="Hi").output_text


async def sync_to_async_in_block(request):
    with ai_usage("chat"):
        return HttpResponse(await sync_to_async(_synced)())


async def _async_helper():
    return (await aclient.responses.create(model="async_to_sync_in_block", input="Hi")).output_text


def async_to_sync_in_block(request):
    with ai_usage("chat"):
        return HttpResponse(async_to_sync(_async_helper)())


async def _run():
    return (await aclient.responses.create(model="asyncio_run_in_block", input="Hi")).output_text


def asyncio_run_in_block(request):
    with ai_usage("chat"):
        return HttpResponse(asyncio.run(_run()))


async def run_in_executor_in_block(request):
    call = partial(client.responses.create, model="run_in_executor_in_block", input="Hi")
    with ai_usage("chat"):
        answer = await asyncio.get_running_loop().run_in_executor(None, call)
    return HttpResponse(answer.output_text)


def in_process(text):
    return client.responses.create(model="process_pool_in_block", input=text).output_text


def process_pool_in_block(request):
    fork = multiprocessing.get_context("fork")
    with ai_usage("chat"), ProcessPoolExecutor(1, mp_context=fork) as pool:
        return HttpResponse(pool.submit(in_process, "Hi").result())


def in_carried_process(text):
    return client.responses.create(model="process_pool_propagated", input=text).output_text


def process_pool_propagated(request):
    fork = multiprocessing.get_context("fork")
    with ai_usage("chat", user=request.user.pk), ProcessPoolExecutor(1, mp_context=fork) as pool:
        return HttpResponse(pool.submit(propagate(in_carried_process), "Hi").result())


def in_process_with_block(text):
    with ai_usage("chat"):
        return client.responses.create(model="block_in_process_pool", input=text).output_text


def block_in_process_pool(request):
    fork = multiprocessing.get_context("fork")
    with ProcessPoolExecutor(1, mp_context=fork) as pool:
        return HttpResponse(list(pool.map(in_process_with_block, ["Hi"])))


def of_process():
    client.responses.create(model="process_in_block", input="Hi")


def process_in_block(request):
    with ai_usage("chat"):
        process = multiprocessing.get_context("fork").Process(target=of_process)
        process.start()
        process.join()
    return HttpResponse()


def of_timer():
    client.responses.create(model="timer_in_block", input="Hi")


def timer_in_block(request):
    with ai_usage("chat"):
        timer = threading.Timer(0, of_timer)
        timer.start()
        timer.join()
    return HttpResponse()
