"""Nothing that can wait happens between the site's call and the library's own method.

In a process of its own for each transport, so that each call is the first of its kind there.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support.children import run_python

pytestmark = [pytest.mark.process]

CODE = """
import asyncio, inspect, json, os, sys, threading, types
from importlib import import_module
from django.contrib.auth.models import User
from django.db import connections
from django.http import HttpRequest
from django.utils.functional import SimpleLazyObject
from usage_tracking import ai_usage, capture, outbox, recorder
from usage_tracking.middleware import AIUsageMiddleware

URL, BODY = "https://api.openai.com/v1/chat/completions", {"model": "gpt-4o", "messages": []}
watching, found, reached = False, [], []

class Sent(BaseException):
    pass

def note(event, *args):
    if watching:
        found.append(f"{event} {args[0] if args else ''}")

def audit(event, args):
    if event.partition(".")[0] in {"import", "open", "socket", "sqlite3", "subprocess"}:
        note(event, *args)

def execute(original, sql, *rest):
    note("SQL", sql)
    return original(sql, *rest)

class Watched:
    "A lock of ours that says when it is taken."
    def __init__(self, lock, name):
        self.lock, self.name = lock, name
    def acquire(self, *args, **options):
        note("lock", self.name)
        return self.lock.acquire(*args, **options)
    def release(self):
        self.lock.release()
    def __enter__(self):
        return self.acquire()
    def __exit__(self, *_):
        self.release()

def watch_locks():
    names = []
    owners = [m for n, m in sys.modules.items() if n.partition(".")[0] == "usage_tracking"]
    seen = set()
    while owners:
        owner = owners.pop()
        for name, value in list(getattr(owner, "__dict__", {}).items()):
            if isinstance(value, (type(threading.Lock()), type(threading.RLock()))):
                setattr(owner, name, Watched(value, name))
                names.append(name)
            elif type(value).__module__.startswith("usage_tracking.") and id(value) not in seen:
                seen.add(id(value))
                owners.append(value)
    return names

def original(*args, **options):
    global watching
    watching = False
    reached.append("sent")
    raise Sent

async def aoriginal(*args, **options):
    original()

def record(event, attributed, response_id="", attempt=None):
    "In place of the recorder's: the exchange was ours."
    reached.append("pending" if attributed.pending else "recorded")

def target():
    "Class, method, its arguments."
    name = os.environ["TRANSPORT"]
    package = name.partition(" ")[0]
    if package in {"httpx", "httpx2"}:
        module = import_module(package)
        kind = module.AsyncClient if name.endswith("async") else module.Client
        client = kind()
        return kind, "send", (client, client.build_request("POST", URL, json=BODY)), {}
    if name == "requests":
        import requests
        session = requests.Session()
        request = requests.Request("POST", URL, json=BODY)
        return requests.Session, "send", (session, session.prepare_request(request)), {}
    if name == "botocore":
        from botocore.awsrequest import AWSRequest
        from botocore.httpsession import URLLib3Session
        request = AWSRequest(method="POST", url=URL, data=json.dumps(BODY)).prepare()
        return URLLib3Session, "send", (URLLib3Session(), request), {}
    import aiohttp
    return aiohttp.ClientSession, "_request", (aiohttp.ClientSession(), "POST", URL), {"json": BODY}

def call():
    global watching
    hooked = getattr(kind, method)
    watching = True
    try:
        answer = hooked(*args, **options)
        if inspect.iscoroutine(answer):
            answer.send(None)
            note("await")
        note("answered without the original")
    except Sent:
        pass
    finally:
        watching = False

def view(request):
    call()

def lazy():
    return SimpleLazyObject(lambda: User.objects.get(username="ada"))

def outside():
    call()

def in_a_request():
    request = HttpRequest()
    request.user = lazy()
    AIUsageMiddleware(view)(request)

def in_a_block():
    with ai_usage(section="chat", user=lazy(), metadata={"a": 1}):
        call()

async def main():
    global kind, method, args, options
    kind, method, args, options = target()
    capture.uninstall()
    is_async = inspect.iscoroutinefunction(getattr(kind, method))
    setattr(kind, method, aoriginal if is_async else original)
    capture.install(True)
    outbox.get()
    recorder.record = record
    for connection in connections.all():
        connection.execute_wrappers.append(execute)
    locks = watch_locks()
    assert {"gate", "_lock", "_start_lock"} <= set(locks), locks
    sys.addaudithook(audit)
    result = {}
    for situation in (outside, in_a_request, in_a_block):
        found.clear()
        reached.clear()
        situation()
        result[situation.__name__] = [*reached, *found]
    print(json.dumps(result), flush=True)
    os._exit(0)  # clients are open

asyncio.run(main())
"""


@pytest.mark.parametrize(
    "transport",
    ["httpx", "httpx async", "httpx2", "httpx2 async", "requests", "aiohttp", "botocore"],
)
def test_nothing_is_imported_queried_locked_or_awaited_before_the_request(
    tmp_path: Path, transport: str
) -> None:
    printed = run_python(tmp_path, CODE, TRANSPORT=transport)

    # Everything else that is seen on the way comes after these.
    assert json.loads(printed.splitlines()[-1]) == {
        "outside": ["sent", "recorded"],
        "in_a_request": ["sent", "pending"],
        "in_a_block": ["sent", "pending"],
    }
