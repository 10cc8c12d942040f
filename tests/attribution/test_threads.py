"""Threads and jobs of thread pools inherit the scope in which they are started."""

from __future__ import annotations

import _thread
import asyncio
import contextvars
import gc
import threading
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.pool import ThreadPool
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.http import HttpRequest, HttpResponse
from django.test import Client
from django.urls import path
from pytest_django import Settings

from tests.support import providers
from tests.support.cases import check_each
from tests.support.children import run_python
from tests.support.comparison import attributed, only_row, rows
from tests.support.providers import LIMIT, join, wait_for
from tests.views import ask
from usage_tracking import ai_usage, propagate
from usage_tracking.attribution import resolve, scope, threads

one_certificate, provider = providers.one_certificate, providers.provider
stub, user = providers.stub, providers.user


def section() -> str:
    return resolve.attribution().section


def in_thread(function: Callable[[], Any], kind: type[threading.Thread] = threading.Thread) -> Any:
    found: list[Any] = []
    thread = kind(target=lambda: found.append(function()))
    thread.start()
    join(thread)
    return found[0]


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(max_workers=1) as pool:
        yield pool


def test_thread_inherits_the_scope() -> None:
    with ai_usage(section="chat"):
        assert in_thread(section) == "chat"
    assert in_thread(section) == "other"


def test_subclass_of_thread_inherits_the_scope() -> None:
    found: list[str] = []

    class Worker(threading.Thread):
        def run(self) -> None:
            found.append(section())

    with ai_usage(section="chat"):
        worker = Worker()
        worker.start()
        join(worker)

    assert found == ["chat"]


def test_timer_inherits_the_scope() -> None:
    found: list[str] = []
    with ai_usage(section="chat"):
        timer = threading.Timer(0.001, lambda: found.append(section()))
        timer.start()
        join(timer)

    assert found == ["chat"]


def test_scope_at_start_wins_over_the_scope_at_creation() -> None:
    found: list[str] = []
    with ai_usage(section="chat"):
        thread = threading.Thread(target=lambda: found.append(section()))
    with ai_usage(section="rag_pipeline"):
        thread.start()
        join(thread)

    assert found == ["rag_pipeline"]


def test_thread_keeps_the_scope_after_the_block_ends() -> None:
    go = threading.Event()
    found: list[str] = []

    def work() -> None:
        wait_for(go, "the end of the block")
        found.append(section())
        with ai_usage(metadata={"late": True}):
            found.append(section())

    with ai_usage(section="chat"):
        thread = threading.Thread(target=work)
        thread.start()
    go.set()
    join(thread)

    assert found == ["chat", "chat"]
    assert scope.open_units == {}


def test_no_other_context_variable_is_inherited() -> None:
    theirs: contextvars.ContextVar[str] = contextvars.ContextVar("theirs", default="none")
    theirs.set("mine")
    with ai_usage(section="chat"):
        assert in_thread(theirs.get) == "none"


def test_thread_can_be_collected_after_it_has_run() -> None:
    with ai_usage(section="chat"):
        thread = threading.Thread(target=section)
        thread.start()
        join(thread)
    reference = weakref.ref(thread)
    gc.collect()
    gc.disable()
    try:
        del thread
        assert reference() is None
    finally:
        gc.enable()


def test_thread_started_twice_raises_pythons_error() -> None:
    with ai_usage(section="chat"):
        thread = threading.Thread(target=section)
        thread.start()
        join(thread)
        with pytest.raises(RuntimeError, match="only be started once"):
            thread.start()


def test_error_in_a_thread_is_reported_by_python(monkeypatch: pytest.MonkeyPatch) -> None:
    reported: list[Any] = []
    monkeypatch.setattr(threading, "excepthook", lambda args: reported.append(args.exc_type))

    def fail() -> None:
        raise KeyError

    with ai_usage(section="chat"):
        thread = threading.Thread(target=fail)
        thread.start()
        join(thread)

    assert reported == [KeyError]


class TestPool:
    def test_job_inherits_the_scope_of_its_submission(self, pool: ThreadPoolExecutor) -> None:
        assert pool.submit(section).result() == "other"
        with ai_usage(section="chat"):
            first = pool.submit(section)
        with ai_usage(section="rag_pipeline"):
            second = pool.submit(section)
        third = pool.submit(section)

        assert [job.result() for job in (first, second, third)] == [
            "chat",
            "rag_pipeline",
            "other",
        ]

    def test_worker_does_not_keep_the_scope_that_started_it(self, pool: ThreadPoolExecutor) -> None:
        """Otherwise all jobs would be attributed to the first user."""
        with ai_usage(section="chat"):
            assert pool.submit(section).result() == "chat"

        assert pool.submit(section).result() == "other"

    def test_map_inherits_the_scope(self, pool: ThreadPoolExecutor) -> None:
        with ai_usage(section="chat"):
            assert list(pool.map(lambda _: section(), range(3))) == ["chat"] * 3

    def test_arguments_results_and_errors_are_passed_through(
        self, pool: ThreadPoolExecutor
    ) -> None:
        def work(*args: Any, **kwargs: Any) -> Any:
            return args, kwargs

        with ai_usage(section="chat"):
            job = pool.submit(work, 1, fn=2, self=3)
            assert job.result() == ((1,), {"fn": 2, "self": 3})
            with pytest.raises(ZeroDivisionError):
                pool.submit(lambda: 1 / 0).result()

    async def test_executor_of_an_event_loop_inherits_the_scope(
        self, pool: ThreadPoolExecutor
    ) -> None:
        loop = asyncio.get_running_loop()
        async with ai_usage(section="chat"):
            assert await loop.run_in_executor(pool, section) == "chat"
        assert await loop.run_in_executor(pool, section) == "other"


class TestSetting:
    def test_no_scope_is_inherited_if_disabled(
        self, settings: Settings, pool: ThreadPoolExecutor
    ) -> None:
        settings.AI_USAGE_PROPAGATE_THREADS = False
        with ai_usage(section="chat"):
            assert in_thread(section) == "other"
            assert pool.submit(section).result() == "other"
            assert in_thread(propagate(section)) == "chat"

    def test_uninstall_restores_the_originals(self, pool: ThreadPoolExecutor) -> None:
        patched = threading.Thread.start, ThreadPoolExecutor.submit
        threads.uninstall()
        threads.uninstall()
        try:
            assert threading.Thread.start.__module__ == "threading"
            assert ThreadPoolExecutor.submit.__module__ == "concurrent.futures.thread"
            assert not hasattr(threading.Thread.start, "_ai_usage_original")
            with ai_usage(section="chat"):
                assert in_thread(section) == "other"
                assert pool.submit(section).result() == "other"
        finally:
            threads.install()
        assert threading.Thread.start is not patched[0]
        with ai_usage(section="chat"):
            assert in_thread(section) == "chat"

    def test_second_install_changes_nothing(self) -> None:
        patched = threading.Thread.start, ThreadPoolExecutor.submit
        threads.install()

        assert (threading.Thread.start, ThreadPoolExecutor.submit) == patched


class TestPropagate:
    def test_function_runs_in_the_scope_it_was_wrapped_in(self) -> None:
        with ai_usage(section="chat"):
            wrapped = propagate(section)

        assert wrapped() == "chat"
        assert scope.current() is None
        with ai_usage(section="rag_pipeline"):
            assert wrapped() == "chat"
            assert section() == "rag_pipeline"

    def test_unpatched_thread_inherits_by_propagate(self) -> None:
        found: list[str] = []
        done = threading.Event()

        def work() -> None:
            found.append(section())
            done.set()

        with ai_usage(section="chat"):
            _thread.start_new_thread(propagate(work), ())
            wait_for(done, "the end of the thread")

        assert found == ["chat"]

    def test_function_wrapped_outside_a_scope_runs_in_none(self) -> None:
        wrapped = propagate(section)
        with ai_usage(section="chat"):
            assert wrapped() == "other"

    def test_arguments_results_names_and_errors_are_kept(self) -> None:
        def divide(a: int, b: int = 1) -> float:
            """Divides."""
            return a / b

        wrapped = propagate(divide)

        assert wrapped(6, b=3) == 2
        assert (wrapped.__name__, wrapped.__doc__) == ("divide", "Divides.")
        with pytest.raises(ZeroDivisionError):
            wrapped(1, 0)
        assert scope.current() is None


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("stub")
class TestCalls:
    """A view's calls in threads belong to its user."""

    @staticmethod
    def visit(settings: Settings, view: Callable[[HttpRequest], HttpResponse], user: User) -> None:
        settings.ROOT_URLCONF = (path("", view),)
        client = Client()
        client.force_login(user)
        assert client.get("/").status_code == 200

    @staticmethod
    def ask_and_close() -> None:
        ask()
        connection.close()

    def test_calls_of_a_pool_belong_to_the_user(self, settings: Settings, user: User) -> None:
        def view(request: HttpRequest) -> HttpResponse:
            with ThreadPoolExecutor(max_workers=3) as pool, ai_usage(section="rag_pipeline"):
                for job in [pool.submit(self.ask_and_close) for _ in range(5)]:
                    job.result()
            return HttpResponse()

        self.visit(settings, view, user)

        assert [attributed(row) for row in rows()] == [("ada", "rag_pipeline")] * 5

    def test_call_of_a_thread_belongs_to_the_user(self, settings: Settings, user: User) -> None:
        def view(request: HttpRequest) -> HttpResponse:
            in_thread(self.ask_and_close)
            return HttpResponse()

        self.visit(settings, view, user)

        assert attributed(only_row()) == ("ada", "other")

    @pytest.mark.parametrize("looked", [True, False])
    def test_call_of_a_thread_that_outlives_the_request_belongs_to_the_user(
        self, settings: Settings, user: User, looked: bool
    ) -> None:
        go = threading.Event()
        started: list[threading.Thread] = []

        def work() -> None:
            wait_for(go, "the end of the block")
            self.ask_and_close()

        def view(request: HttpRequest) -> HttpResponse:
            if looked:
                assert request.user.is_authenticated
            started.append(threading.Thread(target=work))
            started[0].start()
            return HttpResponse()

        self.visit(settings, view, user)
        assert rows() == []
        go.set()
        join(started[0])

        assert attributed(only_row()) == ("ada", "other")

    def test_call_of_a_thread_long_after_the_request_is_unattributed(
        self,
        settings: Settings,
        user: User,
        monkeypatch: pytest.MonkeyPatch,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        """A library's worker thread that one user's request starts serves all users."""
        monkeypatch.setattr(resolve, "_warned_of_outliving", False)
        go = threading.Event()
        started: list[threading.Thread] = []

        def work() -> None:
            wait_for(go, "the end of the block")
            ask()
            ask()
            connection.close()

        def view(request: HttpRequest) -> HttpResponse:
            with ai_usage(section="chat"):
                started.append(threading.Thread(target=work))
                started[0].start()
            return HttpResponse()

        self.visit(settings, view, user)
        monkeypatch.setattr(scope, "OUTLIVE", -1)
        go.set()
        join(started[0])

        assert [attributed(row) for row in rows()] == [(None, "other")] * 2
        warnings = [text for text in caplog.messages if text.startswith("[TRACK_WARNING]")]
        assert len(warnings) == 1
        assert "ai_usage(user=" in warnings[0]


class TestThreadPool:
    """`multiprocessing.pool.ThreadPool`, whose workers run jobs of all users."""

    WAYS: dict[str, Callable[[ThreadPool], Any]] = {
        "apply": lambda pool: pool.apply(section),
        "apply_async": lambda pool: pool.apply_async(section).get(LIMIT),
        "apply_async by name": lambda pool: pool.apply_async(func=section).get(LIMIT),
        "map": lambda pool: pool.map(lambda _: section(), [1])[0],
        "map_async": lambda pool: pool.map_async(lambda _: section(), [1]).get(LIMIT)[0],
        "starmap": lambda pool: pool.starmap(lambda _: section(), [(1,)])[0],
        "imap": lambda pool: next(pool.imap(lambda _: section(), [1])),
        "imap_unordered": lambda pool: next(pool.imap_unordered(lambda _: section(), [1], 2)),
    }

    def test_job_belongs_to_the_user_who_submits_it(self) -> None:
        def check(way: str) -> None:
            with ai_usage(section="chat"), ThreadPool(1) as pool:
                assert self.WAYS[way](pool) == "chat"

        check_each(check, self.WAYS)

    def test_pool_started_by_one_user_serves_the_next(self) -> None:
        def check(way: str) -> None:
            with ai_usage(section="chat"):
                pool = ThreadPool(1)
            with pool:
                with ai_usage(section="rag_pipeline"):
                    assert self.WAYS[way](pool) == "rag_pipeline"
                assert self.WAYS[way](pool) == "other"

        check_each(check, self.WAYS)

    def test_patches_can_be_removed(self) -> None:
        threads.uninstall()
        try:
            with ai_usage(section="chat"), ThreadPool(1) as pool:
                assert pool.apply(section) == "other"
        finally:
            threads.install()
        with ai_usage(section="chat"), ThreadPool(1) as pool:
            assert pool.apply(section) == "chat"


@pytest.mark.process
def test_process_pool_does_not_keep_the_user_who_started_it(tmp_path: Path):
    """Its processes are forks that inherit all state, persist, and serve other users."""
    (tmp_path / "jobs.py").write_text(
        "from usage_tracking.attribution.resolve import attribution\n"
        "def section(_=None):\n"
        "    return attribution().section\n"
    )
    printed = run_python(
        tmp_path,
        """
        import multiprocessing, warnings
        from concurrent.futures import ProcessPoolExecutor
        import jobs
        from usage_tracking import ai_usage

        warnings.simplefilter("ignore")  # of forks beside threads, of which this is one
        context = multiprocessing.get_context("fork")
        with ai_usage(section="chat"):
            executor = ProcessPoolExecutor(1, mp_context=context)
            print(executor.submit(jobs.section).result(), *executor.map(jobs.section, [1]))
            pool = context.Pool(1)
            print(pool.apply(jobs.section), *pool.map(jobs.section, [1]))
            print(jobs.section())
        executor.shutdown()
        pool.terminate()
        """,
    )
    assert printed == "other other\nother other\nchat\n"


@pytest.mark.process
@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_propagated_job_of_a_process_pool_carries_the_scope(tmp_path: Path, method: str) -> None:
    (tmp_path / "jobs.py").write_text(
        "from usage_tracking.attribution.resolve import attribution\n"
        "def told(_=None):\n"
        "    here = attribution()\n"
        "    name = here.user.username if here.user else None\n"
        "    return name, here.section, dict(here.metadata)\n"
    )
    printed = run_python(
        tmp_path,
        f"""
        import multiprocessing, warnings
        from concurrent.futures import ProcessPoolExecutor
        from django.contrib.auth.models import User
        from django.utils.functional import SimpleLazyObject
        import jobs
        from usage_tracking import ai_usage, propagate

        warnings.simplefilter("ignore")  # of forks beside threads, of which this is one
        context = multiprocessing.get_context({method!r})
        ada, grace = User(pk=7, username="ada"), User(pk=8, username="grace")
        if __name__ == "__main__":
            executor = ProcessPoolExecutor(1, mp_context=context, initializer=django.setup)
            pool = context.Pool(1, django.setup)
            with ai_usage(section="chat", user=ada, metadata={{"a": 1}}):
                print(executor.submit(propagate(jobs.told)).result())
                print(*executor.map(propagate(jobs.told), [1]))
                print(pool.apply(propagate(jobs.told)))
            with ai_usage(section="rag_pipeline", user=grace):
                print(*pool.map(propagate(jobs.told), [1]))
            with ai_usage(section="chat", user=SimpleLazyObject(lambda: 1 / 0)):
                print(executor.submit(propagate(jobs.told)).result())
            print(executor.submit(propagate(jobs.told)).result(), pool.apply(jobs.told))
            executor.shutdown()
            pool.terminate()
        """,
    )
    assert printed.splitlines() == [
        *["('ada', 'chat', {'a': 1})"] * 3,
        "('grace', 'rag_pipeline', {})",
        "(None, 'chat', {})",
        "(None, 'other', {}) (None, 'other', {})",
    ]
