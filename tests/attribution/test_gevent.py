"""Greenlets inherit the scope. The tests use child processes, which gevent patches permanently."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.children import run_python

pytest.importorskip("gevent")  # an optional dependency
pytestmark = pytest.mark.process

#: Runs before everything else on a site, like gunicorn's worker does it.
PATCHED = "from gevent import monkey; monkey.patch_all()"
FIRST = {"patched": PATCHED, "not patched": ""}

CODE = """
import gevent, gevent.pool, gevent.threadpool, threading
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar
from gevent.greenlet import Greenlet
from django.contrib.auth.models import User
from usage_tracking import ai_usage, propagate
from usage_tracking.attribution import resolve, scope

theirs = ContextVar("theirs", default="nothing")
ADA = User(pk=7, username="ada")

def found(_=None):
    here = resolve.attribution()
    return (here.user.username if here.user else None, here.section, theirs.get())

def in_thread():
    seen = []
    thread = threading.Thread(target=lambda: seen.append(found()))
    thread.start()
    thread.join()
    return seen[0]

def started(greenlet):
    greenlet.start()
    return greenlet.get()

class Own(Greenlet):
    def _run(self):
        return found()

def in_executor():
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(found).result()

def raw():
    seen = []
    gevent.spawn_raw(propagate(lambda: seen.append(found())))
    gevent.sleep(0)
    return seen[0]

WAYS = {
    "spawn": lambda: gevent.spawn(found).get(),
    "spawn_later": lambda: gevent.spawn_later(0, found).get(),
    "start": lambda: started(Greenlet(found)),
    "subclass": lambda: started(Own()),
    "pool": lambda: gevent.pool.Pool(2).spawn(found).get(),
    "map": lambda: gevent.pool.Pool(2).map(found, [1])[0],
    "imap": lambda: list(gevent.pool.Pool(2).imap_unordered(found, [1]))[0],
    "nested": lambda: gevent.spawn(lambda: gevent.spawn(found).get()).get(),
    "threadpool": lambda: gevent.get_hub().threadpool.spawn(found).get(),
    "threadpool apply": lambda: gevent.threadpool.ThreadPool(1).apply(found),
    "native executor": lambda: gevent.threadpool.ThreadPoolExecutor(1).submit(found).result(),
    "thread": in_thread,
    "executor": in_executor,
    "raw, propagated": raw,
}
"""


def run(directory: Path, code: str, first: str, settings: str = "") -> str:
    return run_python(directory, CODE + code, settings=settings, first=first).strip()


@pytest.mark.parametrize("first", FIRST)
def test_greenlet_inherits_only_the_scope(tmp_path: Path, first: str) -> None:
    code = """
theirs.set("something")
for name, way in WAYS.items():
    with ai_usage(section="chat", user=ADA):
        inside = way()
    outside = way()
    expected = (("ada", "chat", "nothing"), (None, "other", "nothing"))
    if (inside, outside) != expected:
        print(name, inside, outside)
assert found() == (None, "other", "something")
"""

    assert run(tmp_path, code, FIRST[first]) == ""


def test_greenlets_of_two_users_do_not_mix(tmp_path: Path) -> None:
    code = """
from gevent.event import Event
go = [Event(), Event()]

def visit(number):
    with ai_usage(section="chat", user=User(pk=number + 1, username=str(number))):
        work = [gevent.spawn(found), gevent.spawn_later(0, found)]
        go[number].set()
        go[1 - number].wait()
        return {one.get()[0] for one in work} | {found()[0]}

print([one.get() for one in [gevent.spawn(visit, number) for number in (0, 1)]])
"""

    assert run(tmp_path, code, PATCHED) == "[{'0'}, {'1'}]"


def test_context_that_the_site_sets_on_a_greenlet_is_kept(tmp_path: Path) -> None:
    code = """
from contextvars import copy_context
theirs.set("something")
with ai_usage(section="chat", user=ADA):
    greenlet = Greenlet(found)
    greenlet.gr_context = copy_context()
    print(started(greenlet))
"""

    assert run(tmp_path, code, "") == "('ada', 'chat', 'something')"


def test_greenlets_are_not_patched_if_threads_are_not(tmp_path: Path) -> None:
    code = """
with ai_usage(section="chat", user=ADA):
    print(gevent.spawn(found).get(), gevent.get_hub().threadpool.apply(found))
    print(gevent.spawn(propagate(found)).get())
"""

    printed = run(tmp_path, code, "", "AI_USAGE_PROPAGATE_THREADS = False\n")

    assert printed.splitlines() == [
        "(None, 'other', 'nothing') (None, 'other', 'nothing')",
        "('ada', 'chat', 'nothing')",
    ]


def test_uninstall_restores_gevent(tmp_path: Path) -> None:
    code = """
from usage_tracking.attribution import threads
for install in (threads.uninstall, threads.install):
    install()
    with ai_usage(section="chat", user=ADA):
        print(gevent.spawn(found).get()[0], gevent.get_hub().threadpool.apply(found)[0])
"""

    assert run(tmp_path, code, "").splitlines() == ["None None", "ada ada"]
